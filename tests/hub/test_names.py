"""Unusual names go through the whole story, and a wallet belongs to an identity, not to a name."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.hub.harness import HubProcess, eventually

pytestmark = pytest.mark.hub

NAMES = ["名前", "a@b.example", "dot.ted", "with space", "per%cent", "n" * 200, "quote'\"<b>&"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:12])
def test_the_whole_story(hub: HubProcess, name: str) -> None:
    browser = hub.sign_in(name)
    assert browser.page.status_code == 200, browser.page.text
    browser.post_spawn({"profile": "cpu"})
    hub.wait_server(name)
    hub.wait_session(name)
    page = browser.get(f"/user/{quote(name, safe='@')}/")
    assert page.status_code == 200
    hub.stop_server(name)
    hub.wait_no_session(name)
    assert hub.usage(name)[0][2] == "stopped"


def test_case_is_no_difference(hub: HubProcess) -> None:
    hub.sign_in("CaSe")
    hub.sign_in("case")
    eventually(lambda: hub.members("case"), "case is a member")
    assert not hub.members("CaSe")


def test_a_renamed_member_keeps_wallet_and_files(hub: HubProcess) -> None:
    hub.add_user("old-name")
    hub.start_server("old-name")
    hub.stop_server("old-name")
    member_id = hub.member("old-name")["member_id"]
    hub.grant("old-name", "7")
    assert hub.api("PATCH", "users/old-name", json={"name": "new-name"}).status_code == 200
    hub.start_server("new-name")
    where = hub.client.get("/services/tokens/healthz")
    assert where.status_code == 200
    assert hub.member("new-name")["member_id"] == member_id
    assert len(list(hub.directory.glob("workspaces/*-name-*"))) == 1
    hub.stop_server("new-name")


def test_who_is_deleted_and_created_anew_starts_anew(hub: HubProcess) -> None:
    hub.add_user("again")
    hub.start_server("again")
    hub.stop_server("again")
    hub.wait_no_session("again")
    first = hub.member("again")["member_id"]
    assert hub.api("DELETE", "users/again").status_code == 204
    hub.add_user("again")
    hub.start_server("again")
    hub.stop_server("again")
    members = eventually(
        lambda: [m for m in hub.members("again") if m["member_id"] != first], "a new member"
    )
    assert len(members) == 1
    assert len(list(hub.directory.glob("workspaces/again-*"))) == 2
