"""Acts on many members: chosen, previewed, confirmed once, and what became of each."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from jhub_tokens.ledger import Ledger
from tests.service.admin.conftest import Office, text_of
from tests.service.conftest import HOUR_MS, until
from tests.service.stub_hub import StubHub, User


async def preview(office: Office, action: str, members: list[str], **fields: str) -> httpx.Response:
    """Go from the list to the preview."""
    page = await office.visitor.get("admin")
    asked = await office.visitor.submit(page, "/bulk", action=action, member=members)
    assert asked.status_code == 200, text_of(asked.text)
    return await office.visitor.submit(asked, "/bulk", **fields)


async def confirm(office: Office, page: httpx.Response) -> httpx.Response:
    """Confirm a preview and see what became of it."""
    answer = await office.visitor.submit(page, "/confirm")
    assert answer.status_code == 303, text_of(answer.text)
    return await office.visitor.client.get(answer.headers["location"])


async def test_many_are_granted_once_after_a_preview(office: Office) -> None:
    both = [office.ada, office.grace]
    page = await preview(office, "topup", both, tokens="2.5", reason="Summer school")
    seen = text_of(page.text)
    assert "Nothing is done yet." in seen and "Do it to 2 members" in seen
    assert "balance 52.5 tokens" in seen and "balance 302.5 tokens" in seen
    assert office.balance(office.ada) == 50, "and indeed nothing is"
    first, second = await confirm(office, page), await confirm(office, page)
    assert first.url == second.url, "a double click is one act"
    assert (office.balance(office.ada), office.balance(office.grace)) == (52.5, 302.5)
    assert "All of it is done." in text_of(first.text)
    log = await office.visitor.get("admin/audit")
    assert "Act on many members" in text_of(log.text) and "Summer school" in log.text


async def test_what_is_refused_is_listed_and_stops_no_other(office: Office) -> None:
    both = [office.ada, office.grace]
    page = await preview(office, "adjustment", both, tokens="-60", reason="booked twice")
    assert "There is less than that to take back." in text_of(page.text)
    done = text_of((await confirm(office, page)).text)
    assert "Some were refused" in done
    assert re.search(r"Refused 1\b", done) and "no more can be taken back" in done
    assert (office.balance(office.ada), office.balance(office.grace)) == (50, 240)


async def test_everybody_who_matches_is_frozen_and_set_free(office: Office, grace: User) -> None:
    await office.story.run(grace, "cpu")
    page = await office.visitor.get("admin?state=running")
    asked = await office.visitor.submit(page, "/bulk", action="freeze", everybody="yes")
    assert "For 1 member." in text_of(asked.text)
    seen = await office.visitor.submit(asked, "/bulk", reason="maintenance")
    assert "frozen; servers stopped: 1" in text_of(seen.text)
    await confirm(office, seen)
    member = office.ledger.member(office.grace)
    assert member is not None and member.state == "frozen"
    assert len(office.ledger.standing_stops()) == 1
    await confirm(office, await preview(office, "unfreeze", [office.grace], reason="it is over"))
    member = office.ledger.member(office.grace)
    assert member is not None and member.state == "active"


async def test_servers_are_stopped_and_plans_changed(office: Office, ada: User) -> None:
    await office.story.run(ada, "cpu")
    both = [office.ada, office.grace]
    done = text_of(
        (await confirm(office, await preview(office, "stop", both, reason="power"))).text
    )
    assert "No server of this member runs." in done
    assert len(office.ledger.standing_stops()) == 1
    page = await preview(office, "plan", both, plan="pro", when="now", reason="a term long")
    assert "plan Pro, now" in text_of(page.text) and "The plan is Pro already." in text_of(
        page.text
    )
    await confirm(office, page)
    member = office.ledger.member(office.ada)
    assert member is not None and member.plan == "pro"


async def test_an_outage_is_refunded_to_all_whom_it_hit(office: Office, ada: User) -> None:
    run = await office.story.run(ada, "cpu")
    await office.story.pass_ms(6 * HOUR_MS)
    await office.story.end(run["start_key"])
    both = [office.ada, office.grace]
    span = {"from": "2026-11-24T12:00", "to": "2026-11-24T14:00", "reason": "an outage"}
    page = await preview(office, "refund", both, **span)
    done = text_of((await confirm(office, page)).text)
    assert office.balance(office.ada) == 46, "two of the six hours are given back"
    assert "Nothing that was used in that time can be refunded." in done


@pytest.mark.parametrize(
    ("action", "fields", "words"),
    [
        ("topup", {"tokens": "x", "reason": "why not"}, "Write a number of tokens"),
        ("topup", {"tokens": "-1", "reason": "why not"}, "A top-up is positive"),
        ("topup", {"tokens": "1", "reason": ""}, "Give a reason of 3 to 500"),
        ("plan", {"plan": "gold", "when": "", "reason": "why not"}, "Choose one of the plans"),
        (
            "refund",
            {"from": "then", "to": "2026-11-24", "reason": "why"},
            "Write an instant such as",
        ),
        ("refund", {"from": "2026-11-22", "to": "2026-11-21", "reason": "why"}, "must come after"),
        ("refund", {"from": "2026-11-22", "to": "2027-01-01", "reason": "why"}, "must be past"),
    ],
)
async def test_a_bad_field_is_named_and_what_was_typed_stays(
    office: Office, action: str, fields: dict[str, str], words: str
) -> None:
    page = await preview(office, action, [office.ada], **fields)
    assert page.status_code == 422
    assert words in text_of(page.text)
    for name, typed in fields.items():
        assert f'value="{typed}"' in page.text or name in ("plan", "when")
    assert office.ada in page.text, "nobody need be chosen anew"


async def test_a_form_that_somebody_has_been_at_does_nothing(office: Office) -> None:
    page = await preview(office, "topup", [office.ada], tokens="1", reason="a present")
    for lines in ("", "x", f"{office.ada};1", f"{office.ada};ten;;;;", f"{office.ada};1;;;;\n" * 2):
        answer = await office.visitor.submit(page, "/confirm", lines=lines)
        assert answer.status_code == 422, lines
    await confirm(office, page)
    other = await office.visitor.submit(page, "/confirm", reason="another present")
    assert other.status_code == 409 and "with other content" in text_of(other.text)
    nobody = await office.visitor.submit(page, "/confirm", lines="nobody;3600000000;;;;")
    assert nobody.status_code in (404, 409)
    assert office.balance(office.ada) == 51


async def test_a_file_grants_to_each_what_it_says(office: Office, hub: StubHub) -> None:
    await office.story.join(hub.add_user("Ünal, Ayşe"))
    page = await office.visitor.get("admin/members/import")
    text = f'\ufeffMember,Tokens,Remark\nada,1.5,x\n"Ünal, Ayşe",2\n\n{office.grace},3\n'
    seen = await send_file(office, page, text, action="topup", reason="by list")
    assert "Do it to 3 members" in text_of(seen.text)
    await confirm(office, seen)
    assert (office.balance(office.ada), office.balance(office.grace)) == (51.5, 303)


async def test_what_is_wrong_in_a_file_is_told_by_line_and_nothing_is_done(office: Office) -> None:
    page = await office.visitor.get("admin/members/import")
    text = "member,tokens\nada,1\nnobody,2\ngrace,many\nada,4\ngrace,0\n"
    wrong = await send_file(office, page, text, action="topup", reason="by list")
    seen = text_of(wrong.text)
    assert wrong.status_code == 422
    for words in (
        "4 lines are wrong; nothing was done",
        "Line 3 : There is no member “nobody”.",
        "Line 4 : Write a number of tokens",
        "Line 5 : This member stands in line 2 already.",
        "Line 6 : The amount is zero",
    ):
        assert words in seen
    assert "nobody,2" in wrong.text, "the lines are there to be corrected"
    assert office.balance(office.ada) == 50
    for bad, why in (
        ("ada,5\n", "The first line must name the columns"),
        ("member,tokens\n", "There is no line below"),
        ('member,tokens\n"ada,5\n', "This is not CSV"),
        ("", "Choose a file, or paste"),
    ):
        answer = await send_file(office, page, bad, action="topup", reason="by list")
        assert answer.status_code == 422 and why in text_of(answer.text), bad
    binary = await send_file(office, page, b"\xff\xfe\x00member", action="topup", reason="by list")
    assert "The file must be in UTF-8." in text_of(binary.text)
    plan = "member,plan,when\nada,gold,\ngrace,pro,soon\n"
    answer = await send_file(office, page, plan, action="plan", reason="by list")
    assert "There is no plan “gold”; there are basic, pro, enterprise." in text_of(answer.text)
    assert "“when” is now, next, or empty." in text_of(answer.text)


async def send_file(
    office: Office, page: httpx.Response, text: str | bytes, **fields: Any
) -> httpx.Response:
    hidden = dict(re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', page.text))
    content = text if isinstance(text, bytes) else text.encode()
    return await office.visitor.client.post(
        "/services/tokens/admin/members/import",
        data={**hidden, **fields},
        files={"file": ("members.csv", content, "text/csv")},
    )


async def test_an_act_that_broke_off_goes_on_where_it_stood(
    office: Office, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await preview(office, "topup", [office.ada, office.grace], tokens="1", reason="a gift")
    whole = ledger.oversight.carry_out

    def breaks_off(act_id: str, line: int) -> bool:
        if line == 2:
            raise OSError("the machine is gone")
        return whole(act_id, line)

    monkeypatch.setattr(ledger.oversight, "carry_out", breaks_off)
    half = await confirm(office, page)
    assert "Waiting 1" in text_of(half.text) and half.headers["Refresh"] == "2"
    monkeypatch.undo()
    await office.visitor.submit(half, "/continue")

    def done() -> bool:
        return (office.balance(office.ada), office.balance(office.grace)) == (51, 301)

    await until(done, "both have their token, and one each")
