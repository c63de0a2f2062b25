"""The demo hub's configuration: a plain hub for this computer, and one call to `configure`."""

import json
import os
from pathlib import Path

from jhub_authenticator import DemoAuthenticator
from jhub_spawner import TokenWorkspaceSpawner
from jhub_tokens.hub import configure

c = get_config()  # type: ignore[name-defined]

demo = json.loads(Path(os.environ["JHUB_TOKENS_DEMO_SETTINGS"]).read_text(encoding="utf-8"))
state = Path(demo["state"])

# --- an ordinary hub, on this computer only ----------------------------------------------------

c.JupyterHub.bind_url = f"http://127.0.0.1:{demo['port']}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{demo['hub_port']}"
c.JupyterHub.db_url = f"sqlite:///{state / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(state / "jupyterhub_cookie_secret")
c.JupyterHub.allow_named_servers = True
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{demo['proxy_port']}"
c.ConfigurableHTTPProxy.auth_token = demo["proxy_token"]
c.ConfigurableHTTPProxy.command = demo["proxy_command"]
c.ConfigurableHTTPProxy.pid_file = str(state / "jupyterhub-proxy.pid")
c.Authenticator.admin_users = {"admin"}

c.JupyterHub.authenticator_class = DemoAuthenticator
c.DemoAuthenticator.password = demo["password"]
c.DemoAuthenticator.members = demo["members"]

c.JupyterHub.spawner_class = TokenWorkspaceSpawner
c.TokenWorkspaceSpawner.workspaces_dir = str(state / "workspaces")
# A first JupyterLab on a busy laptop may take longer than the hub's own half a minute.
c.Spawner.http_timeout = 90

# --- and the tokens -----------------------------------------------------------------------------

configure(
    c,
    catalogue=demo["catalogue"],
    state_dir=str(state / "tokens"),
    database_url=demo["database"],
    service_port=demo["service_port"],
    # For a look at pages that a demo has no use for itself.
    service_environment={
        name: value
        for name, value in os.environ.items()
        if name.startswith("JHUB_TOKENS_SSH") or name == "JHUB_TOKENS_PAYMENTS"
    },
)
