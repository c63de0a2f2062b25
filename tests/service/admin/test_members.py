"""The members' list and a member's page: finding, looking, and everything done about one."""

from __future__ import annotations

import re

import pytest

from jhub_tokens.ledger.acts import ActFilter
from jhub_tokens.ledger.idle import LOOK_AGAIN_MS
from tests.service.admin.conftest import Office, text_of
from tests.service.conftest import HOUR_MS, until
from tests.service.stub_hub import StubHub, User


def names_in(page: str) -> list[str]:
    return re.findall(r'jt-who"><a href="[^"]*">([^<]*)</a>', page)


async def test_the_list_filters_sorts_and_goes_on_where_it_ended(
    office: Office, hub: StubHub, grace: User
) -> None:
    for number in range(30):
        await office.story.join(hub.add_user(f"member-{number:02}"))
    await office.story.run(grace, "gpu")
    first = await office.visitor.get("admin?size=25")
    assert names_in(first.text)[:3] == ["ada", "admin", "grace"]
    onward = re.search(r'rel="next" href="\?([^"]+)"', first.text)
    assert onward is not None
    second = await office.visitor.get("admin?" + onward[1].replace("&amp;", "&"))
    assert names_in(second.text) == [f"member-{number:02}" for number in range(22, 30)]
    back = re.search(r'rel="prev" href="\?([^"]+)"', second.text)
    assert back is not None
    again = await office.visitor.get("admin?" + back[1].replace("&amp;", "&"))
    assert names_in(again.text) == names_in(first.text)
    for query, names in (
        ("state=running", ["grace"]),
        ("plan=pro", ["grace"]),
        ("q=GRA", ["grace"]),
        ("q=%25", []),
        (
            "sort=-balance&size=25&q=r&state=active",
            ["grace", *[f"member-{n:02}" for n in range(24)]],
        ),
    ):
        page = await office.visitor.get(f"admin?{query}")
        found = names_in(page.text)
        assert found[:1] == names[:1] and len(found) == len(names), query
    made_up = await office.visitor.get("admin?after=bm90IGpzb24&sort=sideways&state=odd")
    assert names_in(made_up.text)[:1] == ["ada"], "what makes no sense does not matter"


async def test_who_is_low_and_who_is_used_up(office: Office, ada: User) -> None:
    await office.story.run(ada, "cpu")
    for hours, state, badge in ((41, "low", "low"), (9, "dry", "used up")):
        await office.story.pass_ms(hours * HOUR_MS)
        # The warden may have come before the proof that she ran so long; it comes again.
        await office.story.pass_ms(LOOK_AGAIN_MS)

        async def listed(state: str = state, badge: str = badge) -> bool:
            page = await office.visitor.get(f"admin?state={state}")
            return names_in(page.text) == ["ada"] and f">{badge}</span>" in page.text

        await until(listed, f"ada is listed as {state}")


async def test_the_list_comes_as_a_file_and_that_is_logged(office: Office) -> None:
    file = await office.visitor.get("admin/members.csv?plan=pro")
    assert file.headers["Content-Disposition"] == 'attachment; filename="members.csv"'
    header, line = file.text.splitlines()
    assert header.startswith("member,member_id,state,plan,balance_tokens")
    assert line.startswith(f"grace,{office.grace},active,pro,300")
    log = await office.visitor.get("admin/audit?kind=exported")
    assert "the list of members as a file" in text_of(log.text)


async def test_a_look_at_a_member_is_logged_once_in_a_while(office: Office) -> None:
    for path in ("", "/as-member", "/statement", "", "/as-member"):
        page = await office.visitor.get(f"admin/members/{office.ada}{path}")
        assert page.status_code == 200
    looks = office.ledger.oversight.acts(ActFilter(frozenset({"looked"}))).acts
    assert {(act.actor, act.name) for act in looks} == {("admin", "ada")}
    assert {act.subject for act in looks} == {"member", "as-member", "statement"}
    assert len(looks) == 3
    office.story.clock.advance_ms(11 * 60_000)
    await office.visitor.get(f"admin/members/{office.ada}/as-member")
    assert len(office.ledger.oversight.acts(ActFilter(frozenset({"looked"}))).acts) == 4


async def test_as_the_member_sees_it_is_marked_and_does_nothing(office: Office) -> None:
    page = await office.visitor.get(f"admin/members/{office.ada}/as-member")
    assert "You see the page of ada." in text_of(page.text)
    assert "Basic 50 tokens" in text_of(page.text)
    inside = page.text[page.text.index("<fieldset disabled>") : page.text.index("</fieldset>")]
    assert page.text.count("<form") == inside.count("<form") > 0, "every form is switched off"


async def test_a_plan_is_changed_taken_back_and_left_to_the_rules(office: Office) -> None:
    page = await office.visitor.get(f"admin/members/{office.ada}")
    done = await office.visitor.submit(page, "/plan", plan="pro", when="next", reason="promoted")
    page = await office.visitor.client.get(done.headers["location"])
    assert "ada will have the plan Pro from Thu 24 Dec" in text_of(page.text)
    back = await office.visitor.submit(page, "/plan/revoke")
    page = await office.visitor.client.get(back.headers["location"])
    assert "ada keeps the plan." in text_of(page.text)
    rules = await office.visitor.submit(page, "/plan/rules")
    assert rules.status_code == 303
    same = await office.visitor.submit(page, "/plan", plan="basic", when="", reason="")
    assert same.status_code == 409 and "The plan is Basic already." in same.text
    kinds = [act.kind for act in office.ledger.oversight.acts().acts if act.kind != "looked"]
    assert sorted(kinds) == ["follows_rules", "plan_changed", "plan_kept"]


async def test_a_session_is_refunded_from_the_members_page(office: Office, ada: User) -> None:
    run = await office.story.run(ada, "cpu")
    await office.story.pass_ms(4 * HOUR_MS)
    await office.story.end(run["start_key"])
    assert office.balance(office.ada) == 46
    page = await office.visitor.get(f"admin/members/{office.ada}")
    wrong = await office.visitor.submit(page, "/refund", tokens="9", reason="the disk failed")
    assert wrong.status_code == 409 and "At most 4 tokens" in wrong.text
    assert 'value="the disk failed"' in wrong.text, "what was typed is kept"
    sent = {"tokens": "", "reason": "the disk failed"}
    first = await office.visitor.submit(wrong, "/refund", **sent)
    again = await office.visitor.submit(wrong, "/refund", **sent)
    assert first.status_code == again.status_code == 303
    assert office.balance(office.ada) == 50


async def test_an_administrator_stops_a_server(office: Office, ada: User) -> None:
    await office.story.run(ada, "cpu")
    page = await office.visitor.get(f"admin/members/{office.ada}")
    done = await office.visitor.submit(page, "/stop")
    assert done.status_code == 303
    (order,) = office.ledger.standing_stops()
    assert (order.member.name, order.reason) == ("ada", "ordered")
    await office.visitor.submit(page, "/stop")
    assert len(office.ledger.standing_stops()) == 1, "one order"
    own = await office.visitor.get(f"admin/members/{office.ada}/as-member")
    assert "an administrator stopped it" in text_of(own.text)
    log = await office.visitor.get("admin/audit?kind=stopped")
    assert "Server stopped" in text_of(log.text)


@pytest.mark.parametrize(
    ("form", "fields", "words"),
    [
        ("/freeze", {"reason": " "}, "Give a reason of 3 to 500 characters"),
        ("/plan", {"plan": "gold", "when": "", "reason": ""}, "There is no such plan"),
        ("/plan", {"plan": "pro", "when": "soon", "reason": ""}, "Choose when."),
    ],
)
async def test_what_is_wrong_stands_at_its_field(
    office: Office, form: str, fields: dict[str, str], words: str
) -> None:
    page = await office.visitor.get(f"admin/members/{office.ada}")
    answer = await office.visitor.submit(page, form, **fields)
    assert answer.status_code in (404, 422)
    assert words in text_of(answer.text) or answer.status_code == 404
