// Keeps the overview up to date by one stream of events; the page works without it.
"use strict";

const WAIT_MIN_MS = 1000;
const WAIT_MAX_MS = 60000;
const WAIT_REFUSED_MS = 120000; // too many pages are open, or the service is busy
const HIDDEN_MS = 15000; // whoever looks elsewhere for so long needs no stream
const AWAY_AFTER = 4; // a service that restarts need not be told of
const SILENT_MS = 60000; // the service says something every 20 s

const overview = document.getElementById("overview");
let stream = null; // of the connection that is open or about to be
let waitMs = WAIT_MIN_MS;
let again = 0;
let hiding = 0;
let missed = 0; // times in a row that no stream could be opened

function show(id, shown) {
  const place = document.getElementById(id);
  if (place) place.hidden = !shown;
}

function replace(html) {
  const said = document.getElementById("overview-said");
  const before = overview.querySelector("[data-live]")?.dataset.eventsOf;
  const focused = overview.contains(document.activeElement) ? document.activeElement.id : "";
  const opened = [...overview.querySelectorAll("details[open]")].map((details) => details.id);
  overview.innerHTML = html;
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  const shown = overview.querySelector("[data-live]");
  // Figures that move are not read out; what starts, stops or is told is.
  if (shown && shown.dataset.eventsOf !== before) said.textContent = shown.dataset.say;
  document.dispatchEvent(new CustomEvent("jt:replaced"));
}

function take(message) {
  let name = "message";
  const data = [];
  for (const line of message.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5).trim());
  }
  if (name === "overview") replace(JSON.parse(data.join("\n")).html);
}

async function read(body, mine) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let silent = 0;
  const listen = () => {
    clearTimeout(silent);
    silent = setTimeout(() => mine.abort(), SILENT_MS);
  };
  try {
    for (;;) {
      listen();
      const { done, value } = await reader.read();
      if (done) return;
      waitMs = WAIT_MIN_MS;
      missed = 0;
      show("overview-away", false);
      const messages = (rest + value).split("\n\n");
      rest = messages.pop();
      messages.forEach(take);
    }
  } finally {
    clearTimeout(silent);
  }
}

async function connect() {
  clearTimeout(again);
  if (stream || document.hidden) return;
  const mine = new AbortController();
  stream = mine;
  const shown = overview.querySelector("[data-live]")?.dataset.stamp ?? "";
  try {
    const answer = await fetch(`${overview.dataset.events}?stamp=${encodeURIComponent(shown)}`, {
      headers: { Accept: "text/event-stream", "X-XSRFToken": document.body.dataset.xsrf },
      signal: mine.signal,
      cache: "no-store",
    });
    if (answer.status === 401 || answer.status === 403) {
      show("overview-out", true);
      return;
    }
    if (answer.ok) await read(answer.body, mine);
    else if (answer.status === 429 || answer.status === 503) waitMs = WAIT_REFUSED_MS;
  } catch {
    // The service is away, the network is, or the page let go of the stream itself.
  } finally {
    if (stream === mine) stream = null;
  }
  retry();
}

function retry() {
  clearTimeout(again);
  if (document.hidden) return; // comes back with the page
  missed += 1;
  show("overview-away", missed >= AWAY_AFTER);
  again = setTimeout(connect, waitMs * (0.75 + Math.random() / 2)); // not all at one instant
  waitMs = Math.min(WAIT_MAX_MS, waitMs * 2);
}

function letGo() {
  clearTimeout(again);
  stream?.abort();
  stream = null;
}

if (overview && window.ReadableStream && window.TextDecoderStream) {
  connect();
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(letGo, HIDDEN_MS);
    } else {
      waitMs = WAIT_MIN_MS;
      connect();
    }
  });
  window.addEventListener("online", () => {
    waitMs = WAIT_MIN_MS;
    connect();
  });
  window.addEventListener("pagehide", letGo);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) connect();
  });
}
