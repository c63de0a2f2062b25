"""From ready to the end a server is charged exactly, however it ends; before, nothing."""

from __future__ import annotations

import threading
import time

import httpx
import psutil
import pytest

from tests.hub.harness import HubProcess, eventually

pytestmark = pytest.mark.hub


def test_charged_from_ready_to_the_stop(hub: HubProcess) -> None:
    hub.add_user("life-stop")
    hub.start_server("life-stop")
    session = hub.wait_session("life-stop")
    before = hub.standing("life-stop")
    assert before["burn_mtok_h"] == 60_000
    assert before["runs_out_at_ms"] is not None
    stopping = time.time() * 1000
    hub.stop_server("life-stop")
    stopped = time.time() * 1000
    hub.wait_no_session("life-stop")
    [(ready_ms, ended_ms, reason, charged, rate)] = hub.usage("life-stop")
    assert ready_ms == session["ready_at_ms"]
    assert reason == "stopped"
    assert stopping - 50 <= ended_ms <= stopped + 50
    assert charged == rate * (ended_ms - ready_ms)


def test_shut_down_from_inside_is_charged_to_the_second(hub: HubProcess) -> None:
    browser = hub.sign_in("life-inside")
    hub.start_server("life-inside")
    hub.wait_session("life-inside")
    inside = time.time() * 1000
    assert browser.get("/user/life-inside/exit").status_code == 200
    hub.wait_no_session("life-inside")
    [(ready_ms, ended_ms, reason, charged, rate)] = hub.usage("life-inside")
    assert reason == "exited"
    assert inside - 50 <= ended_ms <= inside + 2_500  # polled each second, on a busy machine
    assert charged == rate * (ended_ms - ready_ms)
    assert "/user/life-inside/" not in hub.routes()


def test_killed_process_ends_the_session(hub: HubProcess) -> None:
    hub.add_user("life-killed")
    hub.start_server("life-killed")
    hub.wait_session("life-killed")
    psutil.Process(hub.pid("life-killed")).kill()
    hub.wait_no_session("life-killed")
    assert hub.usage("life-killed")[0][2] == "exited"


def test_runs_dry_and_starts_again_after_a_top_up(hub: HubProcess) -> None:
    browser = hub.sign_in("brief-1")  # 0.3 tokens at 60 an hour: 18 seconds
    hub.start_server("brief-1")
    hub.wait_session("brief-1")
    assert "/user/brief-1/" in hub.routes()
    hub.wait_stopped("brief-1", within_s=40)
    hub.wait_no_session("brief-1")
    assert "/user/brief-1/" not in hub.routes()
    home = browser.get("/hub/home").text
    assert "jt-standing" in home
    assert "jt-notice" in home, "home says why it was stopped"
    assert hub.post_start("brief-1", {"profile": "cpu"}).status_code == 403
    hub.grant("brief-1", "5")
    hub.start_server("brief-1")
    hub.stop_server("brief-1")


def test_two_starts_at_once_are_one_session(hub: HubProcess) -> None:
    hub.add_user("life-double")
    answers: list[int] = []

    def click() -> None:
        answers.append(hub.post_start("life-double", {"profile": "cpu"}).status_code)

    clicks = [threading.Thread(target=click) for _ in range(4)]
    for one in clicks:
        one.start()
    for one in clicks:
        one.join()
    hub.wait_server("life-double")
    hub.wait_session("life-double")
    assert len(hub.usage("life-double")) == 1, answers
    hub.stop_server("life-double")


def test_a_client_that_gives_up_gets_one_session_or_none(hub: HubProcess) -> None:
    hub.add_user("life-gave-up")
    with pytest.raises(httpx.TimeoutException):
        hub.api("POST", "users/life-gave-up/server", json={"profile": "cpu"}, timeout=0.05)
    eventually(
        lambda: not hub.user("life-gave-up")["pending"] and hub.members("life-gave-up"),
        "the start is over, one way or the other",
    )
    if hub.servers("life-gave-up"):
        hub.wait_session("life-gave-up")
        hub.stop_server("life-gave-up")
    hub.wait_no_session("life-gave-up")
    assert len(hub.usage("life-gave-up")) <= 1
