// A certified OpenID provider for the tests, with accounts that a test changes as it likes.
// usage: node provider.mjs MODULES PORT CLIENT_ID CLIENT_SECRET REDIRECT_URI
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { generateKeyPairSync } from "node:crypto";

const [modules, port, clientId, clientSecret, redirectUri] = process.argv.slice(2);
const entry = createRequire(`${modules}/`).resolve("oidc-provider");
const { default: Provider } = await import(pathToFileURL(entry).href);
const issuer = `http://127.0.0.1:${port}`;

const state = { accounts: {}, override: {}, ttl: 3600, accessTtl: 3600, down: false };

function key(kid) {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256" };
}

function makeProvider(kid) {
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        redirect_uris: [redirectUri],
        grant_types: ["authorization_code", "refresh_token"],
        token_endpoint_auth_method: "client_secret_post",
      },
    ],
    jwks: { keys: [key(kid)] },
    cookies: { keys: ["only for tests"] },
    claims: { openid: ["sub", "iss"], profile: ["preferred_username", "groups", "roles", "extra"], email: ["email", "email_verified"] },
    conformIdTokenClaims: false,
    scopes: ["openid", "profile", "email", "offline_access"],
    issueRefreshToken: async () => true,
    pkce: { required: () => true },
    ttl: {
      IdToken: () => state.ttl,
      AccessToken: () => state.accessTtl,
      RefreshToken: () => 86400,
      Session: () => 86400,
      Grant: () => 86400,
      Interaction: () => 3600,
    },
    async findAccount(_ctx, sub) {
      const account = state.accounts[sub];
      if (!account) return undefined;
      return { accountId: sub, claims: async () => ({ sub, ...account }) };
    },
    features: { devInteractions: { enabled: true } },
  });
  provider.use(async (ctx, next) => {
    await next();
    // What a broken or hostile provider would say instead.
    if (ctx.path === "/me" && ctx.body && typeof ctx.body === "object") {
      ctx.body = { ...ctx.body, ...state.override };
    }
  });
  return provider.callback();
}

let answer = makeProvider("first");

createServer((request, response) => {
  if (request.url.startsWith("/control/")) {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      const what = request.url.slice("/control/".length);
      if (what === "set") Object.assign(state, JSON.parse(body));
      if (what === "rotate") answer = makeProvider(`key-${Date.now()}`);
      response.end("{}");
    });
    return;
  }
  // Down altogether, or in one place only.
  if (state.down === true || (state.down && request.url.startsWith(state.down))) {
    response.statusCode = 503;
    response.end("down");
    return;
  }
  answer(request, response);
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
