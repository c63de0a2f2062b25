"""Finance over HTTP: reports, closes, exports and erasures, and who may."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest
from beancount import loader  # type: ignore[import-untyped]
from beancount.core.data import Transaction  # type: ignore[import-untyped]

from jhub_tokens.ledger.exports import ExportEntry, ExportTransaction
from jhub_tokens.service.export_text import export_writer, safe_cell
from tests.service.conftest import HOUR_MS, Api, Story, tokens
from tests.service.stub_hub import StubHub, User

MONTH = 31 * 24 * HOUR_MS


@pytest.fixture
def reader(hub: StubHub, grace: User, api: Callable[..., Api]) -> Api:
    return api(hub.add_token(grace, "custom:jhub-tokens:read"))


@pytest.fixture
def own(hub: StubHub, grace: User, api: Callable[..., Api]) -> Api:
    return api(hub.add_token(grace, "custom:jhub-tokens:read!user=grace", "read:users!user=grace"))


async def month_of_work(story: Story, grace: User, boss: Api) -> tuple[str, str]:
    """A month with a run and a bought top-up; returns the member and the month."""
    member = await story.join(grace)
    run = await story.run(grace, "gpu")
    await story.pass_ms(HOUR_MS)
    await story.end(run["start_key"])
    order = {"tokens": "7", "reason": '=HYPERLINK("http://x")', "key": "key-of-top-up"}
    assert (await boss.post(f"api/v1/members/{member}/grants", order)).status_code == 201
    month = (await boss.get("api/v1/finance/trial-balance")).json()["at"][:7]
    return member, month


async def test_a_month_is_reported_closed_and_exported(
    story: Story, grace: User, boss: Api, reader: Api
) -> None:
    _, month = await month_of_work(story, grace, boss)
    span = f"from_month={month}&to_month={month}"
    report = (await reader.get(f"api/v1/finance/report?{span}&by=profile&by=plan")).json()
    consumed = {row["profile"]: tokens(row["consumed"]) for row in report["rows"]}
    assert consumed["gpu"] == 10 and tokens(report["prepaid"]["bought"]) == 7
    assert not report["closed"]
    early = await boss.post(f"api/v1/finance/months/{month}/close", {"reason": "month end"})
    assert (early.status_code, early.json()["code"]) == (409, "month_runs")
    await story.pass_ms(MONTH)
    closed = await boss.post(f"api/v1/finance/months/{month}/close", {"reason": "month end"})
    assert closed.status_code == 200, closed.text
    again = await boss.post(f"api/v1/finance/months/{month}/close", {"reason": "once more"})
    assert again.json() == closed.json()
    assert (await reader.get("api/v1/finance/months")).json()["months"] == [closed.json()]
    final = (await reader.get(f"api/v1/finance/report?{span}")).json()
    assert final["closed"] and final["digests"] == {month: closed.json()["digest"]}

    sheet = await reader.get(f"api/v1/finance/export?{span}&names=true")
    assert sheet.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(sheet.text)))
    assert sum(int(row["amount_grains"]) for row in rows) == 0
    topup = [row for row in rows if row["kind"] == "topup"]
    assert {row["reason"] for row in topup} == {'\'=HYPERLINK("http://x")'}
    assert {row["member"] for row in topup} == {"grace"}
    plain = list(
        csv.DictReader(io.StringIO((await reader.get(f"api/v1/finance/export?{span}")).text))
    )
    assert {row["member"] + row["reason"] for row in plain} == {""}
    array = (await reader.get(f"api/v1/finance/export?{span}&form=json")).json()
    assert [item["transaction_id"] for item in array] == list(
        dict.fromkeys(row["transaction_id"] for row in rows)
    )
    journal = (await reader.get(f"api/v1/finance/export?{span}&form=beancount&names=true")).text
    entries, errors, _ = loader.load_string(journal)
    assert errors == []
    assert len([e for e in entries if isinstance(e, Transaction)]) == len(array)


async def test_statements_as_of_an_instant(story: Story, grace: User, boss: Api, own: Api) -> None:
    await month_of_work(story, grace, boss)
    at = (await boss.get("api/v1/finance/trial-balance")).json()["at_ms"] - 1
    path = f"api/v1/members/me/statement?as_of={at - HOUR_MS // 2}"
    closings = {}
    for basis in ("effective", "booked"):
        statement = (await own.get(f"{path}&basis={basis}")).json()
        assert statement["basis"] == basis
        closings[basis] = tokens(statement["closing"])
    # Half of the hour was used by then, which was not booked yet.
    assert closings == {"effective": 295, "booked": 300}
    for text, code in (("yesterday", "invalid"), (str(at + MONTH), "future_instant")):
        refused = await own.get(f"api/v1/members/me/statement?as_of={text}")
        assert (refused.status_code, refused.json()["code"]) == (422, code)
        assert refused.json()["field"] == "as_of"


async def test_a_member_is_erased(story: Story, grace: User, boss: Api, reader: Api) -> None:
    member = await story.join(grace)
    run = await story.run(grace, "gpu")
    path = f"api/v1/members/{member}/erasure"
    busy = await boss.post(path, {"reason": "asked for"})
    assert (busy.status_code, busy.json()["code"]) == (409, "servers_run")
    await story.pass_ms(HOUR_MS)
    await story.end(run["start_key"])
    done = await boss.post(path, {"reason": "asked for"})
    assert done.status_code == 200, done.text
    assert (await reader.get("api/v1/finance/erasures")).json()["erasures"] == [done.json()]
    listed = (await reader.get("api/v1/members?state=erased")).json()["members"]
    assert [row["name"] for row in listed] == [f"erased-{member[:12]}"]


async def test_only_those_who_may(story: Story, grace: User, own: Api, reader: Api) -> None:
    member = await story.join(grace)
    span = "from_month=2026-11&to_month=2026-11"
    for path in (
        f"finance/report?{span}", "finance/prepaid", "finance/trial-balance", "finance/months",
        "finance/erasures", f"finance/export?{span}",
    ):  # fmt: skip
        assert (await own.get(f"api/v1/{path}")).status_code == 403, path
    for path, body in (
        ("finance/months/2026-11/close", {"reason": "month end"}),
        (f"members/{member}/erasure", {"reason": "asked for"}),
    ):
        assert (await reader.post(f"api/v1/{path}", body)).status_code == 403, path


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("report?from_month=2026-13&to_month=2026-11", "from_month"),
        ("report?from_month=2026-11&to_month=2026-10", "to"),
        ("report?from_month=2026-11&to_month=2026-11&by=colour", "by"),
        ("export?from_month=2026-11&to_month=2026-11&form=xls", "form"),
        ("prepaid?as_of=2026-02-30", "as_of"),
    ],
)
async def test_a_bad_question_is_refused_at_its_field(boss: Api, path: str, field: str) -> None:
    answer = await boss.get(f"api/v1/finance/{path}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"].split("[")[0].split(".")[0] == field


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "  =1", "＝1"])
def test_formulas_are_defused(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["ada", "a=b", "", "2026-11-01"])
def test_other_text_is_left_alone(text: str) -> None:
    assert safe_cell(text) == text


def test_any_text_makes_a_sound_journal_and_array() -> None:
    nasty = 'quo"te \\ back\nline; "" 学生'
    entries = tuple(
        ExportEntry(n, account, source, amount, "g", "", "", None, None)
        for n, (account, source, amount) in enumerate(
            [("issued:topup", "", -(10**19)), ("grant", "topup", 10**19)]
        )
    )
    item = ExportTransaction(
        "t", "w", 1, "topup", 0, 0, 0, "plan", "centre", "team", "", nasty, nasty, nasty, entries
    )
    for form in ("json", "beancount", "csv"):
        writer = export_writer(form, "Europe/Berlin")
        text = writer.begin() + writer.write(item) + writer.write(item) + writer.end()
        if form == "json":
            assert [i["member"] for i in json.loads(text)] == [nasty, nasty]
            assert json.loads(text)[0]["entries"][1]["amount_grains"] == str(10**19)
        elif form == "beancount":
            found, errors, _ = loader.load_string(text)
            assert errors == []
            assert len([e for e in found if isinstance(e, Transaction)]) == 2
        else:
            rows = list(csv.DictReader(io.StringIO(text)))
            assert rows[1]["member"] == nasty and rows[1]["amount_grains"] == str(10**19)
