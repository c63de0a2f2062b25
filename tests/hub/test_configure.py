"""`configure` adds to a hub's configuration whatever the order, and takes nothing away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.auth import DummyAuthenticator
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner
from traitlets.config import Config

from jhub_authenticator import MembershipMixin
from jhub_spawner import TokenGate, TokenWorkspaceSpawner, gated
from jhub_tokens.hub import configure as exported
from jhub_tokens.hub.configure import TEMPLATES, ConfigurationError, configure
from jhub_tokens.hub.merging import merge_member_scopes, merge_roles, merge_service

OURS = [
    "access:services!service=tokens",
    "custom:jhub-tokens:read!user",
    "custom:jhub-tokens:start!user",
    "custom:jhub-tokens:server!user",
]
CALL = 'configure(c, catalogue="no-such.yaml", state_dir="state")'
OPERATOR = """
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.services = [{"name": "cull", "url": "http://127.0.0.1:1"}]
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": ["self", "read:hub"]},
    {"name": "cull", "scopes": ["list:users"], "services": ["cull"]},
]
c.JupyterHub.template_paths = ["/operator"]
c.JupyterHub.template_vars = {"announcement": "hello"}
c.JupyterHub.custom_scopes = {"custom:operator:x": {"description": "x"}}
c.Spawner.environment = {"A": "b"}
"""
APPENDING = (
    OPERATOR.replace("services = [", "services.extend([")
    .replace(':1"}]', ':1"}])')
    .replace("load_roles = [", "load_roles.extend([")
    .replace('["cull"]},\n]', '["cull"]},\n])')
)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)

    def load(text: str) -> Any:
        path = tmp_path / "jupyterhub_config.py"
        path.write_text(f"from jhub_tokens.hub import configure\nc = get_config()\n{text}")
        JupyterHub.clear_instance()
        app = JupyterHub.instance()
        app.load_config_file(str(path))
        return app

    yield load
    JupyterHub.clear_instance()


@pytest.mark.parametrize(
    "text",
    [
        OPERATOR + CALL,
        CALL + OPERATOR,
        f"{CALL}\n{OPERATOR}\n{CALL}",
        APPENDING + CALL,
        f"{CALL}\n{APPENDING}",
    ],
    ids=["after", "before", "twice", "appending, after", "appending, before"],
)
def test_merged_with_what_the_operator_has(load: Any, text: str) -> None:
    app = load(text)
    roles = {role["name"]: role for role in app.load_roles}
    assert len(roles) == len(app.load_roles), "a role defined twice aborts the hub's start"
    assert set(roles["user"]["scopes"]) == {"self", "read:hub", *OURS}
    assert roles["cull"]["services"] == ["cull"]
    assert roles["jhub-tokens-tokens"]["services"] == ["tokens"]
    assert sorted(service["name"] for service in app.services) == ["cull", "tokens"]
    assert set(app.custom_scopes) >= {"custom:operator:x", "custom:jhub-tokens:read"}
    paths = app.template_paths
    assert paths.index("/operator") < paths.index(str(TEMPLATES))
    assert app.template_vars["announcement"] == "hello"
    assert "jhub_tokens" in app.template_vars
    assert issubclass(app.spawner_class, TokenGate)
    assert issubclass(app.spawner_class, SimpleLocalProcessSpawner)
    assert issubclass(app.authenticator_class, MembershipMixin)
    assert issubclass(app.authenticator_class, DummyAuthenticator)


def test_the_service_can_be_started_from_what_is_configured(load: Any, tmp_path: Path) -> None:
    app = load(CALL)
    [service] = app.services
    assert service["environment"]["JHUB_TOKENS_CATALOGUE"] == str(tmp_path / "no-such.yaml")
    assert service["environment"]["JHUB_TOKENS_DATABASE"].startswith("sqlite:///")
    token = tmp_path / "state" / "service-token"
    assert token.read_text().strip() == service["api_token"]
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700
    assert service["api_token"] not in " ".join(service["command"])
    [again] = load(CALL).services
    assert again["api_token"] == service["api_token"]


def test_a_hub_that_names_no_spawner_keeps_its_default(load: Any) -> None:
    assert issubclass(load(CALL).spawner_class, LocalProcessSpawner)
    assert not issubclass(load(CALL).spawner_class, TokenWorkspaceSpawner)


def test_the_demo_that_names_no_spawner_gets_the_embedded_one(load: Any) -> None:
    demo = "from jhub_authenticator import DemoAuthenticator\n"
    demo += "c.JupyterHub.authenticator_class = DemoAuthenticator\n"
    assert load(demo + CALL).spawner_class is TokenWorkspaceSpawner
    assert load(CALL + "\n" + demo).spawner_class is TokenWorkspaceSpawner


def test_members_get_their_scopes_without_undoing_the_operators() -> None:
    # JupyterHub 6 ignores extra_user_scopes where the role "user" is defined.
    assert merge_member_scopes([], {"read:hub"}, OURS) == ([], {"read:hub", *OURS})
    roles, extra = merge_member_scopes([], None, OURS)
    assert extra is None
    assert roles == [{"name": "user", "scopes": ["self", *OURS]}]
    assert merge_member_scopes(roles, None, OURS) == (roles, None)
    roles, extra = merge_member_scopes([{"name": "user", "description": "d"}], None, OURS)
    assert roles == [{"name": "user", "description": "d", "scopes": ["self", *OURS]}]


def test_what_the_operator_sets_for_our_own_names_stays() -> None:
    ours = {"name": "tokens", "url": "a", "environment": {"A": "1", "B": "1"}}
    operators = {"name": "tokens", "url": "b", "environment": {"B": "2"}}
    assert merge_service([operators], ours) == [
        {"name": "tokens", "url": "b", "environment": {"A": "1", "B": "2"}}
    ]
    role = {"name": "r", "scopes": ["a"], "description": "mine"}
    merged = merge_roles([role], {"name": "r", "scopes": ["a", "b"], "description": "theirs"})
    assert merged == [{"name": "r", "scopes": ["a", "b"], "description": "mine"}]


def test_nothing_of_the_operators_is_changed_in_place() -> None:
    scopes = ["self"]
    merge_member_scopes([{"name": "user", "scopes": scopes}], None, OURS)
    assert scopes == ["self"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "catalogue"),
        ({"catalogue": "x", "service_url": "http://a"}, "service_url"),
        ({"managed": False}, "service_url"),
        ({"managed": False, "service_url": "ftp://a"}, "service_url"),
        ({"managed": False, "service_url": "http://a:1"}, "token"),
        ({"managed": False, "service_url": "http://a:1", "token": "short"}, "token"),
        ({"catalogue": "x", "state_dir": "/dev/null/x"}, "state_dir"),
    ],
)
def test_mistakes_name_the_argument(
    arguments: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"configure\(\): {says}"):
        configure(Config(), **arguments)
    assert exported is configure


def test_a_gated_class_is_still_configured_by_its_bases_name() -> None:
    cls = gated("jupyterhub.spawner.SimpleLocalProcessSpawner")
    assert cls.__name__ == "TokenSimpleLocalProcessSpawner"
    assert gated(cls) is cls
    assert "SimpleLocalProcessSpawner" in cls.section_names()  # type: ignore[attr-defined]
