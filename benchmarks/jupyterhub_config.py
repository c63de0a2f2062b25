"""The configuration of a measured hub: the same with and without jhub-tokens, but for one call."""

import json
import os
from pathlib import Path

from benchmarks import in_hub, probe

c = get_config()  # type: ignore[name-defined]  # noqa: F821

settings = json.loads(Path(os.environ["BENCHMARK_SETTINGS"]).read_text(encoding="utf-8"))
directory = Path(settings["directory"])

c.JupyterHub.bind_url = f"http://127.0.0.1:{settings['port']}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{settings['hub_port']}"
c.JupyterHub.db_url = f"sqlite:///{directory / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(directory / "cookie_secret")
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{settings['proxy_port']}"
c.ConfigurableHTTPProxy.auth_token = settings["api_token"]
c.ConfigurableHTTPProxy.command = settings["proxy_command"]
c.ConfigurableHTTPProxy.pid_file = str(directory / "proxy.pid")
c.JupyterHub.log_level = "WARN"

# An answer to a start or a stop comes when it is done: its time is the measure.
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 120, "slow_stop_timeout": 120}
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.init_spawners_timeout = -1  # start-up includes all the servers that run already

# Signing in and looking at the start page must start nothing.
c.JupyterHub.redirect_to_server = False
c.Spawner.options_form = "<label>Anything else? <input name='wish'></label>"

c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.DummyAuthenticator.password = settings["api_token"]

if settings["server"] == "shared":
    c.JupyterHub.spawner_class = in_hub.SharedServerSpawner
    c.SharedServerSpawner.shared_port = settings["shared_port"]
    c.JupyterHub.cleanup_servers = False
elif settings["server"] == "kubernetes":
    from benchmarks.kubernetes import in_hub as on_kubernetes

    on_kubernetes.configure(c, settings)
else:
    # Not at the top: where memory is measured, the plain hub must not load anything of ours.
    from jhub_spawner import WorkspaceProcessSpawner

    c.JupyterHub.spawner_class = WorkspaceProcessSpawner
    c.WorkspaceProcessSpawner.workspaces_dir = str(directory / "workspaces")
    c.Spawner.start_timeout = c.Spawner.http_timeout = 90
if settings["look_often"]:
    in_hub.look_often()

scopes = ["admin:users", "admin:servers", "access:services", "access:servers"]
if settings["ours"]:
    from jhub_tokens.hub import configure

    configure(
        c,
        catalogue=directory / "catalogue.yaml",
        state_dir=directory / "tokens",
        service_environment=settings.get("service_environment"),
    )
    scopes.append("custom:jhub-tokens:read")

c.JupyterHub.services = [{"name": "benchmarks", "api_token": settings["api_token"]}]
c.JupyterHub.load_roles = [{"name": "benchmarks", "services": ["benchmarks"], "scopes": scopes}]

if settings["probe"]:
    probe.start(Path(settings["probe"]), ours=settings["ours"])
