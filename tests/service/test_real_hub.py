"""The service under a real JupyterHub: managed start, OAuth, scopes, and closed books."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_ports
from tests.service.conftest import CATALOGUE

pytestmark = [pytest.mark.hub, pytest.mark.slow]

TOKEN = "0123456789abcdef" * 4
DEADLINE_S = 60

CONFIG = """
import os, sys
c = get_config()
public, internal, proxy, service = os.environ["PORTS"].split()
c.JupyterHub.bind_url = f"http://127.0.0.1:{public}"
c.JupyterHub.hub_port = int(internal)
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{proxy}"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"admin"}
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.custom_scopes = {
    "custom:jhub-tokens:read": {"description": "Read balances"},
    "custom:jhub-tokens:grant": {"description": "Grant tokens"},
}
reads = "custom:jhub-tokens:read!user"
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": ["self", "access:services!service=tokens", reads]},
    {"name": "tokens", "scopes": ["read:users"], "services": ["tokens"]},
]
c.JupyterHub.services = [
    {
        "name": "tokens",
        "url": f"http://127.0.0.1:{service}",
        "api_token": os.environ["TOKEN"],
        "command": [sys.executable, "-m", "jhub_tokens", "serve"],
        "environment": {
            "JHUB_TOKENS_CATALOGUE": "catalogue.yaml",
            "JHUB_TOKENS_DATABASE": "tokens.sqlite",
            "JHUB_TOKENS_EXIT_WITH_PARENT": "1",
            "PYTHONPATH": os.environ["PYTHONPATH"],
        },
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": ["read:users!user", reads],
    }
]
"""


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    give_up = time.monotonic() + DEADLINE_S
    while True:
        try:
            if result := condition():
                return result
        except httpx.TransportError:
            pass
        assert time.monotonic() < give_up, f"never happened: {what}"
        time.sleep(0.1)


@dataclass
class Hub:
    """A hub that runs in `folder` and is reached at `url`."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def log(self) -> str:
        return (self.folder / "hub.log").read_text()

    def sign_in(self, name: str) -> httpx.Client:
        """Sign in to the hub by its form; what a browser does, cookies included."""
        client = httpx.Client(base_url=self.url, follow_redirects=True, timeout=30)
        client.headers["Sec-Fetch-Mode"] = "navigate"
        page = client.get("/hub/login")
        token = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
        assert token
        form = {"username": name, "password": "x", "_xsrf": token[1]}
        client.post("/hub/login?next=%2Fhub%2Ftoken", data=form)
        return client

    def new_token(self, client: httpx.Client, name: str, *scopes: str) -> str:
        page = client.get("/hub/token").text
        found = re.search(r'xsrf_token: "([^"]+)"', page)
        assert found
        answer = client.post(
            f"/hub/api/users/{name}/tokens",
            params={"_xsrf": found[1]},
            json={"scopes": list(scopes)} if scopes else {},
            headers={"Referer": f"{self.url}/hub/token"},
        )
        return str(answer.raise_for_status().json()["token"])


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    assert shutil.which("configurable-http-proxy"), "configurable-http-proxy is not on the PATH"
    folder = tmp_path_factory.mktemp("hub")
    (folder / "jupyterhub_config.py").write_text(CONFIG)
    # With a mistake in it: the hub must come up all the same.
    (folder / "catalogue.yaml").write_text(CATALOGUE.replace("rate: 10", "rate: ten"))
    ports = free_ports(4)
    root = Path(__file__).parents[2]
    env = {**os.environ, "TOKEN": TOKEN, "PYTHONPATH": str(root),
           "PORTS": " ".join(map(str, ports))}  # fmt: skip
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub"], cwd=folder, env=env, stdout=log, stderr=log
        )
        hub = Hub(f"http://127.0.0.1:{ports[0]}", folder, process)
        try:
            wait_for(
                lambda: httpx.get(f"{hub.url}/hub/login").status_code == 200,
                "the hub is up in spite of the catalogue",
            )
            yield hub
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


def test_the_whole_way_through_a_real_hub(hub: Hub) -> None:
    ada = hub.sign_in("ada")
    closed = ada.get("/services/tokens/")
    assert closed.status_code == 503
    assert "cannot open its books" in closed.text and "Logout" in closed.text
    assert "catalogue.yaml" not in closed.text, "members are not told of the machine"
    admin = hub.sign_in("admin")
    assert "catalogue.yaml:16" in admin.get("/services/tokens/").text
    health = f"{hub.url}/services/tokens/healthz"
    stranger = httpx.get(health)
    assert stranger.status_code == 503
    assert "catalogue.yaml" not in stranger.text, "on loopback, but through the proxy"
    monitor = httpx.get(health, headers={"Authorization": f"token {TOKEN}"})
    assert "catalogue.yaml:16" in monitor.json()["message"]
    assert hub.log().count("service is unavailable") == 1, "said once, not every few seconds"

    (hub.folder / "catalogue.yaml").write_text(CATALOGUE)
    wait_for(
        lambda: httpx.get(f"{hub.url}/services/tokens/healthz").status_code == 200,
        "the corrected catalogue is used",
    )
    side = httpx.Client(
        base_url=f"{hub.url}/services/tokens/api/v1/",
        headers={"Authorization": f"token {TOKEN}"},
    )
    members = {}
    for number, name in enumerate(("admin", "ada"), start=1):
        users = {"Authorization": f"token {TOKEN}"}
        user = httpx.get(f"{hub.url}/hub/api/users/{name}", headers=users).json()
        identity = {"hub_user_id": number, "created": user["created"], "name": name}
        standing = side.post("hub/overview", json={"member": identity})
        members[name] = standing.raise_for_status().json()["member_id"]

    # OAuth through the proxy, then the pages by cookie.
    assert "50" in ada.get("/services/tokens/").text
    assert ada.get("/services/tokens/statement").status_code == 200
    assert ada.get("/services/tokens/admin").status_code == 403
    assert "Members" in admin.get("/services/tokens/admin").text
    page = admin.get(f"/services/tokens/admin/members/{members['ada']}")
    form = re.search(r'<form method="post" action="([^"]+/grant)".*?</form>', page.text, re.S)
    assert form
    hidden = dict(re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form[0]))
    granted = admin.post(
        form[1], data={**hidden, "tokens": "2.5", "reason": "a gift", "kind": "topup"}
    )
    assert "2.5 tokens granted to ada. New balance: 52.5 tokens." in granted.text

    # API tokens: what the hub says of each decides.
    own = hub.new_token(ada, "ada", "custom:jhub-tokens:read!user")
    narrow = hub.new_token(ada, "ada", "read:users!user")
    full = hub.new_token(admin, "admin")
    limited = hub.new_token(admin, "admin", "custom:jhub-tokens:read!user")

    def status(token: str, path: str) -> int:
        headers = {"Authorization": f"token {token}"}
        return httpx.get(f"{hub.url}/services/tokens/api/v1/{path}", headers=headers).status_code

    theirs = f"members/{members['ada']}"
    routes = ("members/me", "members", theirs)
    assert [status(own, path) for path in routes] == [200, 403, 200]
    assert [status(narrow, path) for path in routes] == [403, 403, 403]
    assert [status(full, path) for path in routes] == [200, 200, 200]
    assert [status(limited, path) for path in routes] == [200, 403, 403]

    # Signing out of the hub ends the session here as well.
    ada.get("/hub/logout")
    out = ada.get("/services/tokens/", follow_redirects=False)
    assert out.status_code == 302 and "oauth2/authorize" in out.headers["location"]
    for client in (ada, admin, side):
        client.close()
