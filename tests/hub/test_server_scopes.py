"""What a real hub makes of servers' tokens: our scope beside the operator's, for one server."""

from __future__ import annotations

import psutil
import pytest

from tests.hub.conftest import MakeHub
from tests.hub.harness import HubProcess, eventually

SCOPES = '["users:activity!user", "access:servers!server", "read:users!user"]'
OPERATORS = {
    "the role server": ("", set()),
    "a list": (f"c.Spawner.server_token_scopes = {SCOPES}", {"read:users!user"}),
    "a callable": (
        f"c.Spawner.server_token_scopes = lambda spawner: {SCOPES}",
        {"read:users!user"},
    ),
}


@pytest.mark.parametrize(
    "operator",
    [
        "a list",
        pytest.param("the role server", marks=pytest.mark.slow),
        pytest.param("a callable", marks=pytest.mark.slow),
    ],
)
def test_servers_tokens_carry_one_scope_more(operator: str, make_hub: MakeHub) -> None:
    text, theirs = OPERATORS[operator]
    hub: HubProcess = make_hub(after=text).start()
    hub.add_user("pro-1")
    for server in ("", "second"):
        hub.start_server("pro-1", server)
        environ = server_environment(hub, server)
        token, url = environ["JUPYTERHUB_API_TOKEN"], environ["JHUB_TOKENS_SERVICE_URL"]
        assert url == f"{hub.url}/services/tokens/"
        mine = {"Authorization": f"token {token}"}
        scopes = set(hub.client.get("/hub/api/user", headers=mine).json()["scopes"])
        assert f"custom:jhub-tokens:server!server=pro-1/{server}" in scopes
        assert "users:activity!user=pro-1" in scopes
        for scope in theirs:
            assert f"{scope}=pro-1" in scopes
        assert not any(scope.startswith("custom:jhub-tokens:read") for scope in scopes)
        view = hub.client.post(f"{url}api/v1/server", headers=mine, json={}).json()
        assert (view["member"], view["server_name"]) == ("pro-1", server)
    # The second server stops itself, and nothing else.
    answer = hub.client.post(f"{url}api/v1/server/stop", headers=mine, json={})
    assert answer.status_code == 200, answer.text
    hub.wait_stopped("pro-1", "second")
    assert hub.servers("pro-1")[""]["ready"]


def server_environment(hub: HubProcess, server: str) -> dict[str, str]:
    """Return the environment of a running server of this hub."""

    def found() -> dict[str, str] | None:
        for process in psutil.process_iter():
            try:
                environ = process.environ()
            except (psutil.Error, OSError):
                continue
            ours = str(hub.directory) in environ.get("HOME", "")
            if ours and environ.get("JUPYTERHUB_SERVER_NAME") == server:
                return environ
        return None

    return eventually(found, f"the process of server {server!r}")
