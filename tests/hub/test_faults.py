"""Killing hub, service or both loses no charge and doubles none; away, the hub goes on."""

from __future__ import annotations

import os
import signal
import sqlite3
import time

import psutil
import pytest

from tests.hub.away import Service
from tests.hub.conftest import MakeHub
from tests.hub.harness import HubProcess, eventually

pytestmark = pytest.mark.hub


def charged_exactly(hub: HubProcess, name: str) -> tuple[int, int, str]:
    """Return begin, end and reason of the member's one session, charged by the closed form."""
    [(ready_ms, ended_ms, reason, charged, rate)] = hub.usage(name)
    assert charged == rate * (ended_ms - ready_ms)
    return ready_ms, ended_ms, reason


@pytest.mark.slow
def test_kill_9_of_the_hub(make_hub: MakeHub) -> None:
    hub = make_hub().start()
    for name in ("survivor", "victim"):
        hub.add_user(name)
        hub.start_server(name)
    sessions = {name: hub.wait_session(name) for name in ("survivor", "victim")}
    victim, service = psutil.Process(hub.pid("victim")), hub.service()
    hub.kill()
    eventually(lambda: not service.is_running(), "the orphaned service exits")
    [(last_proof_ms,)] = hub.books("select max(alive_to_ms) from sessions where ended_ms is null")
    victim.kill()  # dies while nobody looks

    hub.start()
    assert hub.wait_server("survivor")
    again = hub.wait_session("survivor")
    assert again["session_id"] == sessions["survivor"]["session_id"]
    hub.wait_no_session("victim")
    _, ended_ms, reason = charged_exactly(hub, "victim")
    assert reason == "lost"
    assert ended_ms <= last_proof_ms

    # Both at once, in the middle of the run.
    hub.kill_service()
    hub.kill()
    hub.start()
    assert hub.wait_session("survivor")["session_id"] == sessions["survivor"]["session_id"]
    hub.stop_server("survivor")
    hub.wait_no_session("survivor")
    ready_ms, _, reason = charged_exactly(hub, "survivor")
    assert ready_ms == sessions["survivor"]["ready_at_ms"]
    assert reason == "stopped"


@pytest.mark.slow
def test_without_the_service_the_hub_goes_on_and_settles_afterwards(make_hub: MakeHub) -> None:
    hub = make_hub().start()
    for name in ("suspended", "killed", "refused"):
        hub.add_user(name)
    for name in ("suspended", "killed"):
        hub.start_server(name)
        hub.wait_session(name)
    browser = hub.sign_in("suspended")

    # Suspended is worse than dead: it takes calls and never answers.
    service = hub.service()
    os.kill(service.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        answer = hub.post_start("refused", {"profile": "cpu"})
        assert time.monotonic() - begun < 3
        assert answer.status_code == 503
        assert "balance cannot be checked" in answer.json()["message"]
        assert "cannot be shown right now" in browser.get("/hub/home").text
        assert hub.sign_in("newcomer").page.status_code == 200
        stopping = time.time() * 1000
        hub.stop_server("suspended")
        stopped = time.time() * 1000
        eventually(lambda: "token service is away" in hub.log(), "the agent notices", within_s=40)
    finally:
        os.kill(service.pid, signal.SIGCONT)
    hub.wait_no_session("suspended", within_s=40)
    _, ended_ms, reason = charged_exactly(hub, "suspended")
    assert reason == "stopped"
    # What waited in the suspended service's socket is not booked as news.
    assert stopping - 1_100 <= ended_ms <= stopped + 1_100

    away = Service(hub)
    away.away()
    begun = time.monotonic()
    for _ in range(20):
        assert hub.post_start("refused", {"profile": "cpu"}).status_code == 503
    assert time.monotonic() - begun < 20 * 3
    for _ in range(20):
        page = browser.post_spawn({"profile": "cpu"})
        assert page.status_code == 503
    assert "balance cannot be checked" in page.text
    stopping = time.time() * 1000
    hub.stop_server("killed")
    stopped = time.time() * 1000
    away.back()
    hub.wait_no_session("killed", within_s=40)
    _, ended_ms, reason = charged_exactly(hub, "killed")
    assert reason == "stopped"
    assert stopping - 100 <= ended_ms <= stopped + 100
    hub.wait_no_session("refused")
    # What the suspended service admitted after all was cancelled before it began.
    assert all(usage[0] is None and usage[3] == 0 for usage in hub.usage("refused"))
    hub.start_server("newcomer")
    hub.stop_server("newcomer")


@pytest.mark.slow
def test_adopted_on_a_living_hub_and_removed_again(make_hub: MakeHub) -> None:
    hub = make_hub(enforce=False)
    configured = hub.directory.joinpath("jupyterhub_config.py").read_text()
    plain = configured.replace("configure(c, **configure_kwargs)", "").replace(
        "TokenWorkspaceSpawner\nc.W", "WorkspaceProcessSpawner\nc.W"
    )
    plain = plain.replace('"custom:jhub-tokens:read", "custom:jhub-tokens:grant",', "")
    plain = plain.replace("DemoAuthenticator\nc.Auth", "'dummy'\nc.Auth")
    hub.directory.joinpath("jupyterhub_config.py").write_text(plain)
    hub.start(ready=False)
    eventually(lambda: hub.answers(), "the plain hub answers", within_s=60)
    hub.add_user("living")
    assert hub.post_start("living", {}).status_code in (201, 202)
    hub.wait_server("living")
    pid = hub.pid("living")
    hub.kill()

    hub.directory.joinpath("jupyterhub_config.py").write_text(configured)
    adopted = time.time() * 1000
    hub.start()
    assert hub.wait_session("living")["ready_at_ms"] >= adopted
    assert hub.pid("living") == pid
    # A shadow: what the plan does not include is started all the same.
    hub.add_user("shadow")
    hub.start_server("shadow", profile="gpu")
    hub.stop_server("shadow")
    hub.kill()

    hub.start()  # the adopted server keeps its session over another restart
    hub.wait_session("living")
    assert len(hub.usage("living")) == 1
    hub.kill()

    hub.directory.joinpath("jupyterhub_config.py").write_text(plain)
    hub.start(ready=False)
    eventually(lambda: hub.answers(), "the plain hub answers", within_s=60)
    hub.wait_server("living")
    hub.stop_server("living")


@pytest.mark.slow
def test_the_last_known_stop_time_holds_while_the_service_is_away(make_hub: MakeHub) -> None:
    hub = make_hub().start()
    hub.add_user("brief-2")
    hub.start_server("brief-2")
    hub.wait_session("brief-2")
    eventually(lambda: hub.books("select 1 from sessions where alive_to_ms > ready_ms"), "a proof")
    # News is sent once the answer to what was sent before, with the stop time, is there.
    hub.add_user("later")
    hub.member("later")
    os.kill(hub.service().pid, signal.SIGSTOP)
    try:
        hub.wait_stopped("brief-2", within_s=40)
        assert "the token service is away and the balance has run out" in hub.log()
    finally:
        os.kill(hub.service().pid, signal.SIGCONT)
    hub.wait_no_session("brief-2", within_s=40)


@pytest.mark.slow
@pytest.mark.parametrize(
    "database", ["mysql://nobody@127.0.0.1/none", "sqlite:///{directory}/newer.sqlite"]
)
def test_a_bad_database_does_not_stop_the_hub(make_hub: MakeHub, database: str) -> None:
    hub = make_hub()
    url = database.format(directory=hub.directory)
    with sqlite3.connect(hub.directory / "newer.sqlite") as books:
        books.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        books.execute("INSERT INTO alembic_version VALUES ('9999')")
    hub.configure(before=f"configure_kwargs['database_url'] = {url!r}")
    hub.start(ready=False)
    eventually(lambda: hub.answers(), "the hub answers", within_s=60)
    assert hub.api("POST", "users/early").status_code == 201
    assert hub.post_start("early", {"profile": "cpu"}).status_code == 503
    assert "Traceback" not in hub.log()
    hub.configure()
    hub.kill()
    hub.start()  # its books are audited at the end like all others


@pytest.mark.slow
def test_a_hub_does_not_start_on_a_bad_catalogue_and_runs_on_when_it_goes_bad(
    make_hub: MakeHub,
) -> None:
    hub = make_hub()
    path = hub.directory.joinpath("catalogue.yaml")
    good = path.read_text()
    path.write_text(good + "  - {plan: por, members: [ada]}\n")
    hub.start(ready=False)
    assert hub.process is not None
    assert hub.process.wait(60) == 1
    line = good.count("\n") + 1
    assert f"catalogue.yaml:{line}: assign[3].plan: there is no plan 'por'" in hub.log()
    assert "Traceback" not in hub.log()
    path.write_text(good)
    hub.start()
    path.write_text("plans: [")
    hub.sign_in("early")
    hub.start_server("early")
    hub.stop_server("early")
    path.write_text(good)
