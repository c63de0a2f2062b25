"""The fragments of hub configuration, loaded and executed by a real JupyterHub.

The chart's own configuration file is not ours; what it does with the values that we set is written
down here: the spawner's options, ``hub.config``, then ``hub.extraConfig`` in order of its names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helm.layers import EXAMPLE_CATALOGUE, installation

CONFIG = """\
import json, os
c = get_config()
hub = json.loads({hub!r})
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.db_url = "sqlite:///:memory:"
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.JupyterHub.services = []
c.JupyterHub.load_roles = []
c.KubeSpawner.namespace = "hub"
c.CryptKeeper.keys = ["{key}"]
c.Spawner.consecutive_failure_limit = hub["consecutiveFailureLimit"]
for section, values in hub.get("config", {{}}).items():
    c[section].update(values)
for name, text in sorted(hub["extraConfig"].items()):
    exec(compile(text, name, "exec"))
"""

#: Initialises the hub that the configuration file describes, and tells what came of it.
LOOK = """\
import asyncio, json, sys
from jupyterhub.app import JupyterHub

async def look():
    app = JupyterHub.instance()
    await app.initialize(["--config", sys.argv[1]])
    spawner = app.spawner_class
    found = {
        "spawner": [cls.__name__ for cls in spawner.__mro__],
        "authenticator": [cls.__name__ for cls in app.authenticator_class.__mro__],
        "services": {s["name"]: s.get("url") for s in app.services},
        "roles": [role["name"] for role in app.load_roles],
        "delete_pvc": spawner(config=app.config, _mock=True).delete_pvc,
        "subdomain_host": app.subdomain_host,
    }
    print("FOUND" + json.dumps(found))

asyncio.run(look())
"""


@pytest.mark.slow
@pytest.mark.parametrize("example", ["university", "company", "kind"])
def test_a_hub_takes_the_configuration(example: str, tmp_path: Path) -> None:
    hub: dict[str, Any] = installation(example)["jupyterhub"]["hub"]
    # Where the chart mounts things.
    for old, new in {
        "/etc/jhub-tokens/catalogue.yaml": str(EXAMPLE_CATALOGUE),
        "/usr/local/etc/jupyterhub/jhub-tokens/catalogue.yaml": str(EXAMPLE_CATALOGUE),
        "/var/lib/jhub-tokens": str(tmp_path / "state"),
        "/srv/jupyterhub/jhub-tokens": str(tmp_path / "state"),
    }.items():
        hub["extraConfig"] = {
            name: text.replace(f'"{old}"', f'"{new}"') for name, text in hub["extraConfig"].items()
        }
    if example == "kind":
        hub["config"]["DemoAuthenticator"] = {"password": "a-password-for-the-test"}
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(CONFIG.format(hub=json.dumps(hub), port=0, hub_port=0, key="0" * 64))
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {}}]\n"
    )
    environment = {
        **os.environ,
        "JHUB_TOKENS_SERVICE_TOKEN": "t" * 64,
        "OAUTH_CLIENT_SECRET": "s" * 32,
        "KUBECONFIG": str(kubeconfig),
    }
    answer = subprocess.run(
        [sys.executable, "-c", LOOK, str(config)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    line = next((x for x in answer.stdout.splitlines() if x.startswith("FOUND")), None)
    assert line, answer.stderr[-4000:]
    found = json.loads(line.removeprefix("FOUND"))
    assert "TokenGate" in found["spawner"] and "TokenKubeSpawner" in found["spawner"]
    assert found["delete_pvc"] is False
    assert "tokens" in found["services"]
    assert "jhub-tokens-tokens" in found["roles"]
    if example != "kind":
        assert found["services"]["tokens"] == "http://jhub-tokens:10150"
        assert "GenericOAuthenticator" in found["authenticator"]
        assert found["subdomain_host"].startswith("https://")
