"""Break-glass: with the service down an operator lets starts through; all is metered afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.hub.away import Service
from tests.hub.conftest import MakeHub
from tests.hub.harness import HubProcess, eventually

pytestmark = [pytest.mark.hub, pytest.mark.slow]


def glass(hub: HubProcess, *arguments: str) -> str:
    state = str(hub.directory / "state")
    done = subprocess.run(
        [sys.executable, "-m", "jhub_tokens", "break-glass", "--state-dir", state, *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_kept(hub: HubProcess) -> None:
    kept = hub.directory / "state" / "break-glass" / "catalogue.json"
    eventually(kept.exists, "the hub keeps the catalogue")


def session_of(hub: HubProcess, name: str) -> tuple[int, int, str]:
    """Return the member's one run that was ready, charged by the closed form."""

    def settled() -> list[tuple[int, int, str, int, int]]:
        return [row for row in hub.usage(name) if row[0] is not None and row[1] is not None]

    [(ready_ms, ended_ms, reason, charged, rate)] = eventually(settled, f"{name} is settled")
    assert rate == 60_000
    assert charged == rate * (ended_ms - ready_ms)
    return ready_ms, ended_ms, reason


def test_let_through_over_a_restart_and_metered_from_ready(make_hub: MakeHub) -> None:
    hub = make_hub().start()
    for name in ("across", "within", "after", "late"):
        hub.add_user(name)
    browser = hub.sign_in("across")
    wait_kept(hub)
    service = Service(hub)
    service.away()
    assert hub.post_start("across", {"profile": "cpu"}).status_code == 503

    glass(hub, "--minutes", "30", "--reason", "a class", "--by", "olga")
    refused = hub.post_start("across", {"profile": "gpu"})  # not for everybody
    assert refused.status_code == 403
    assert "this can be started: CPU" in refused.json()["message"]
    page = browser.get("/hub/spawn/across").text
    assert "jt-break-glass-form" in page
    assert "metered afterwards" in page
    times = {}
    for name in ("across", "within"):
        begun = time.time() * 1000
        hub.start_server(name)
        times[name] = (begun, time.time() * 1000)
    assert hub.post_start("across", {"profile": "cpu"}, "second").status_code == 403  # one each
    assert "jt-break-glass" in browser.get("/hub/home").text
    stopping = time.time() * 1000
    hub.stop_server("within")
    stopped = time.time() * 1000

    hub.kill()
    hub.start(ready=False)
    eventually(lambda: hub.answers(), "the hub answers", within_s=60)
    pid = hub.pid("across")
    hub.start_server("after")  # it is open still
    glass(hub, "--end", "--by", "olga")
    assert hub.post_start("late", {"profile": "cpu"}).status_code == 503

    service.back()
    session = hub.wait_session("across")
    assert times["across"][0] <= session["ready_at_ms"] <= times["across"][1] + 100
    assert hub.pid("across") == pid
    for name in ("across", "after"):
        hub.stop_server(name)
        assert session_of(hub, name)[2] == "stopped"
    ready_ms, ended_ms, reason = session_of(hub, "within")
    assert times["within"][0] <= ready_ms <= times["within"][1] + 100
    assert stopping - 100 <= ended_ms <= stopped + 100
    assert reason == "stopped"

    [act] = hub.tokens("GET", "break-glass").json()["acts"]
    assert (act["reason"], act["how"]) == ("a class", "command")
    assert act["actor"].endswith("(says: olga)") and act["ended_by"].endswith("(says: olga)")
    assert [start["name"] for start in act["starts"]] == ["across", "within", "after"]
    assert all(start["charged"] for start in act["starts"])
    member = hub.member("within")["member_id"]
    lines = hub.tokens("GET", f"members/{member}/statement").json()["lines"]
    assert [line["break_glass"] for line in lines if line["kind"] == "usage"] == [True]
    eventually(lambda: json.loads(glass(hub, "--status", "--json"))["acts"] == [], "it is tidied")
    for line in (
        "BREAK-GLASS IS OPEN",
        "BREAK-GLASS: the start of across",
        "BREAK-GLASS IS CLOSED",
    ):
        assert line in hub.log()


def test_a_living_refusal_stands_and_a_bad_act_is_none(make_hub: MakeHub) -> None:
    hub = make_hub().start()
    for name in ("poor-1", "member"):
        hub.add_user(name)
    wait_kept(hub)
    service = Service(hub)
    glass(hub, "--minutes", "30", "--reason", "a class")
    assert hub.post_start("poor-1", {"profile": "cpu"}).status_code == 403
    assert "BREAK-GLASS: the start" not in hub.log()
    service.away()
    [path] = hub.directory.joinpath("state", "break-glass").glob("act-*.json")
    good = path.read_text()
    for spoil in (
        lambda: path.chmod(0o606),
        lambda: path.write_text(good.replace("a class", "a party")),
        lambda: path.write_text("{}"),
        lambda: (path.unlink(), path.symlink_to("/etc/passwd")),
    ):
        spoil()
        assert hub.post_start("member", {"profile": "cpu"}).status_code == 503
        path.unlink()
        path.write_text(good)
        path.chmod(0o600)
    assert "BREAK-GLASS REFUSED" in hub.log()
    hub.start_server("member")  # the good one still holds
    service.back()
    hub.wait_session("member")
    hub.stop_server("member")
    session_of(hub, "member")
