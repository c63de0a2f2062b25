"""Fleet, reports, catalogue, vouchers, the log and health."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from jhub_tokens.service.serve import RunningService
from tests.service.admin.conftest import Office, text_of
from tests.service.conftest import CATALOGUE, HOUR_MS, until
from tests.service.stub_hub import User

DAY_MS = 24 * HOUR_MS


async def test_the_fleet_tells_what_runs_and_who_runs_dry(
    office: Office, ada: User, grace: User
) -> None:
    nothing = await office.visitor.get("admin/fleet")
    assert "Nothing runs." in text_of(nothing.text)
    await office.story.run(grace, "gpu", "training")
    await office.story.run(ada, "cpu")
    seen = text_of((await office.visitor.get("admin/fleet")).text)
    assert "Servers running 2" in seen and "Burn rate 11 tokens/h" in seen
    assert "One GPU 1 0 10 tokens/h" in seen and "Who runs dry" not in seen
    await office.story.pass_ms(29 * HOUR_MS + HOUR_MS // 2)
    page = await office.visitor.get("admin/fleet?profile=gpu")
    assert "Who runs dry within the hour" in page.text
    assert "grace" in page.text and "/admin/members/" + office.ada not in page.text
    done = await office.visitor.submit(page, "/fleet/stop")
    assert done.status_code == 303
    assert [order.member.name for order in office.ledger.standing_stops()] == ["grace"]
    gone = await office.visitor.submit(page, "/fleet/stop", session_id="none")
    assert gone.status_code == 404


async def test_reports_add_up_and_a_month_is_closed(office: Office, ada: User) -> None:
    run = await office.story.run(ada, "cpu")
    await office.story.pass_ms(4 * HOUR_MS)
    await office.story.end(run["start_key"])
    seen = text_of((await office.visitor.get("admin/reports")).text)
    assert "Basic 100 – 4" in seen, "two basic members' allotments, and what ada used"
    assert "Top consumers" in seen and "ada Basic 1 4" in seen
    by = await office.visitor.get("admin/reports?by=month&by=profile&by=source")
    assert "2026-11 CPU" in text_of(by.text)
    file = await office.visitor.get("admin/reports/report.csv?by=plan")
    assert file.text.splitlines()[0].startswith("month,plan,profile")
    wrong = await office.visitor.get("admin/reports?from_month=2026-13&to_month=x")
    assert wrong.status_code == 422 and "Write a month such as 2026-11." in text_of(wrong.text)
    back = await office.visitor.get("admin/reports?from_month=2026-11&to_month=2026-09")
    assert back.status_code == 422 and "the first one first" in text_of(back.text)
    page = await office.visitor.get("admin/reports")
    early = await office.visitor.submit(page, "/close", month="2026-11", reason="the books")
    assert early.status_code == 409 and "2026-11" in text_of(early.text)
    office.story.clock.advance_ms(8 * DAY_MS)
    await office.story.snapshot()
    await office.story.warden()
    page = await office.visitor.get("admin/reports")
    assert 'name="month" type="text" maxlength="7" autocomplete="off" value="2026-11"' in page.text
    done = await office.visitor.submit(page, "/close", month="2026-11", reason="the books")
    assert done.status_code == 303, text_of(done.text)
    page = await office.visitor.client.get(done.headers["location"])
    assert "2026-11 is closed: its figures never change." in text_of(page.text)
    books = await office.visitor.get(
        "admin/reports/export?from_month=2026-11&to_month=2026-11&names=true"
    )
    assert "attachment" in books.headers["Content-Disposition"] and "ada" in books.text
    log = text_of((await office.visitor.get("admin/audit")).text)
    assert "Month closed 2026-11" in log and "the books as a file" in log


async def test_the_catalogue_is_shown_as_it_is_in_force(
    office: Office, catalogue_path: Path, running: RunningService
) -> None:
    seen = text_of((await office.visitor.get("admin/catalogue")).text)
    assert "Pro pro 300" in seen and "TensorFlow 2.7 tf2.7-gpu retired" in seen
    catalogue_path.write_text(CATALOGUE.replace("tokens: 300", "tokens: many"))
    await until(lambda: running.service.books.source.problem, "the mistake is seen")
    broken = text_of((await office.visitor.get("admin/catalogue")).text)
    assert "the last good one is in force" in broken and "plans.pro.tokens" in broken
    assert "Pro pro 300" in broken
    health = text_of((await office.visitor.get("admin/health")).text)
    assert "The file has mistakes" in health


async def test_codes_are_shown_once_and_a_batch_is_withdrawn(office: Office) -> None:
    page = await office.visitor.get("admin/vouchers")
    wrong = await office.visitor.submit(
        page, "/vouchers", count="many", tokens="", expires="soon", note="Term"
    )
    assert wrong.status_code == 422
    assert "Write a whole number from 1 to 10000." in text_of(wrong.text)
    assert 'value="Term"' in wrong.text
    sent = {"count": "3", "tokens": "20", "expires": "2027-03-31", "note": "Term"}
    made = await office.visitor.submit(wrong, "/vouchers", **sent)
    assert made.status_code == 201, text_of(made.text)
    codes = re.search(r"<textarea[^>]*>([^<]*)</textarea>", made.text)
    file = re.search(r"base64,([^\"]+)\"", made.text)
    assert codes is not None and file is not None
    lines = base64.b64decode(file[1]).decode().split()
    assert lines == ["code", *codes[1].split()] and len(lines) == 4
    again = await office.visitor.submit(wrong, "/vouchers", **sent)
    assert again.status_code == 409 and "made the batch" in text_of(again.text)
    page = await office.visitor.get("admin/vouchers")
    assert "0 of 3" in page.text and codes[1].split()[0] not in page.text
    done = await office.visitor.submit(page, "/revoke")
    page = await office.visitor.client.get(done.headers["location"])
    assert "Withdrawn: 3 vouchers" in text_of(page.text)
    log = text_of((await office.visitor.get("admin/audit")).text)
    assert "Vouchers withdrawn" in log and "Vouchers made" in log


async def test_the_log_tells_who_did_what_to_whom(office: Office) -> None:
    page = await office.visitor.get(f"admin/members/{office.ada}")
    await office.visitor.submit(page, "/grant", tokens="5", reason="a prize", kind="topup")
    office.story.clock.advance_ms(DAY_MS)
    await office.visitor.submit(page, "/freeze", reason="unpaid fees")
    for query, there, not_there in (
        ("", ["Granted", "a prize", "Frozen", "unpaid fees", "Looked at"], []),
        ("kind=granted", ["a prize"], ["unpaid fees"]),
        ("member=ada&kind=frozen", ["unpaid fees"], ["a prize"]),
        ("member=grace", ["Nothing matches."], ["a prize"]),
        ("actor=nobody", ["Nothing matches."], ["a prize"]),
        ("from=2026-11-25", ["unpaid fees"], ["a prize"]),
        ("to=2026-11-24", ["a prize"], ["unpaid fees"]),
        ("member=no-such-member", ["Nothing matches."], ["a prize"]),
    ):
        page = await office.visitor.get(f"admin/audit?{query}")
        seen = text_of(page.text)
        assert all(word in seen for word in there), query
        assert not any(word in seen for word in not_there), query
    file = await office.visitor.get("admin/audit.csv?kind=granted")
    assert file.text.splitlines()[1].split(",")[1:4] == ["granted", "admin", "ada"]


async def test_the_log_goes_on_page_by_page_without_loss(office: Office) -> None:
    for number in range(60):
        office.ledger.oversight.note("looked", f"actor-{number:02}", member_id=office.ada)
    page = await office.visitor.get("admin/audit?kind=looked")
    onward = re.search(r'rel="next" href="\?([^"]+)"', page.text)
    assert onward is not None
    rest = await office.visitor.get("admin/audit?" + onward[1].replace("&amp;", "&"))
    actors = re.findall(r"actor-\d\d", page.text + rest.text)
    assert len(actors) == len(set(actors)) == 60, "all in one millisecond, and each once"


async def test_health_tells_of_a_silent_hub_and_verifies_the_books(
    office: Office, ada: User, running: RunningService
) -> None:
    silent = text_of((await office.visitor.get("admin/health")).text)
    assert "No hub has told anything yet." in silent
    await office.story.run(ada, "cpu")
    seen = text_of((await office.visitor.get("admin/health")).text)
    assert "Hub “hub” well" in seen and "schema" in seen
    office.story.clock.advance_ms(HOUR_MS)
    late = text_of((await office.visitor.get("admin/health")).text)
    assert "Hub “hub” bad last snapshot 1 h ago" in late
    page = await office.visitor.get("admin/health")
    assert (await office.visitor.submit(page, "/verify")).status_code == 303

    async def verified() -> bool:
        return "The books are clean" in (await office.visitor.get("admin/health")).text

    await until(verified, "the audit has ended")


@pytest.mark.parametrize("path", ["admin/fleet/stop", "admin/reports/close", "admin/health/verify"])
async def test_reloading_what_a_form_answered_does_nothing(office: Office, path: str) -> None:
    answer = await office.visitor.get(path)
    assert answer.status_code == 303
