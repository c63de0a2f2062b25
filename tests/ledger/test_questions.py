"""Questions about a charge: asked once, answered once, and a refund with the answer."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from jhub_tokens.ledger import LedgerError, schema
from jhub_tokens.ledger.questions import OPEN_MAX
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS
from .test_refunds import session_of


def ran(world, name="lara", server=""):
    """A member with an ended session that cost ten tokens."""
    member, identity = world.join(name)
    return member, one_more(world, member, identity, server)


def one_more(world, member, identity, server=""):
    key = world.hub.run(member, identity, "gpu", server)
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    return session_of(world, key)["session_id"]


def ask(world, member, session_id, text="I had stopped it by then", category="too_long"):
    from_ms, to_ms = world.ledger.periods(member.member_id)[0]
    return world.ledger.questions.ask(
        member.member_id, session_id, from_ms=from_ms, to_ms=to_ms, category=category, text=text
    )


def answer(world, question, text="It ran until five, see the log", actor="admin", **options):
    return world.ledger.questions.answer(
        question.question_id, text=text, actor=actor, caller=f"user:{actor}", **options
    )


def refused(code, act, *args, **options):
    with pytest.raises(LedgerError) as caught:
        act(*args, **options)
    assert caught.value.code == code, caught.value
    return caught.value


def test_a_question_and_its_answer(world):
    member, session_id = ran(world)
    asked = ask(world, member, session_id)
    assert asked.answer is None
    assert asked.charged_grains == 10 * GRAINS_PER_TOKEN
    assert world.ledger.questions.of_member(member.member_id) == (asked,)
    span = world.ledger.periods(member.member_id)[0]
    items = world.ledger.itemised(member.member_id, *span)
    assert items.questions == {session_id: asked}
    answered = answer(world, asked)
    assert (answered.answer.outcome, answered.answer.actor) == ("answered", "admin")
    assert world.kinds(member) == ["answered"]
    assert world.balance(member) == 90 * GRAINS_PER_TOKEN
    assert world.ledger.questions.find(asked.question_id) == answered
    assert world.ledger.questions.find("none") is None


def test_a_refund_with_the_answer(world):
    member, session_id = ran(world)
    asked = ask(world, member, session_id)
    answered = answer(world, asked, "The node had failed", refund=True)
    assert (answered.answer.outcome, answered.charged_grains) == ("refunded", 0)
    assert answered.answer.refunded_grains == 10 * GRAINS_PER_TOKEN
    assert world.balance(member) == 100 * GRAINS_PER_TOKEN
    assert world.kinds(member) == ["refunded"], "one notice, with the words of the answer"
    again = answer(world, asked, "The node had failed", refund=True)
    assert again == answered, "told twice, done once"
    refused("answered_before", answer, world, asked, "Something else")
    assert world.balance(member) == 100 * GRAINS_PER_TOKEN


def test_a_part_is_refunded(world):
    member, session_id = ran(world)
    asked = ask(world, member, session_id)
    answered = answer(world, asked, refund=True, amount_grains=3 * GRAINS_PER_TOKEN)
    assert answered.answer.refunded_grains == 3 * GRAINS_PER_TOKEN
    assert world.balance(member) == 93 * GRAINS_PER_TOKEN


def test_a_refund_that_cannot_be_leaves_the_question_open(world):
    member, session_id = ran(world)
    asked = ask(world, member, session_id)
    too_much = {"refund": True, "amount_grains": 11 * GRAINS_PER_TOKEN}
    refused("more_than_charged", answer, world, asked, **too_much)
    assert world.ledger.questions.find(asked.question_id).answer is None
    answer(world, asked)


def test_a_line_is_asked_about_once(world):
    member, session_id = ran(world)
    asked = ask(world, member, session_id)
    assert ask(world, member, session_id) == asked, "a double click"
    refused("asked_before", ask, world, member, session_id, "And another thing")
    answer(world, asked)
    refused("asked_before", ask, world, member, session_id, "I do not agree")


def test_so_many_may_wait(world):
    member, identity = world.join()
    sessions = [one_more(world, member, identity, f"s{n}") for n in range(OPEN_MAX + 1)]
    asked = [ask(world, member, session_id) for session_id in sessions[:OPEN_MAX]]
    refused("too_many_open", ask, world, member, sessions[-1])
    answer(world, asked[0])
    ask(world, member, sessions[-1])


def test_what_cannot_be_asked(world):
    member, session_id = ran(world)
    other, others = ran(world, "rolf")
    refused("unknown_session", ask, world, member, others)
    refused("unknown_session", ask, world, member, "nonsense")
    refused("no_reason", ask, world, member, session_id, "  ")
    refused("bad_category", ask, world, member, session_id, category="weather")
    refused("unknown_question", world.ledger.questions.answer, "none", text="x", actor="a",
            caller="user:a")  # fmt: skip
    identity = world.identity("ida")
    free = world.ledger.ensure_member(identity)
    key = world.hub.run(free, identity, "free")
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    refused("nothing_charged", ask, world, free, session_of(world, key)["session_id"])
    refused("no_reason", answer, world, ask(world, other, others), " ")


def test_lists(world):
    members = [ran(world, name) for name in ("lara", "rolf", "rosa")]
    asked = []
    for member, session_id in members:
        world.clock.advance_ms(1000)
        asked.append(ask(world, member, session_id))
    answer(world, asked[1])
    listed = world.ledger.questions.listed

    def names(**options):
        found, total = listed(**options)
        return [q.member_name for q in found], total

    assert names() == (["lara", "rosa"], 2), "who has waited longest comes first"
    assert names(state="answered") == (["rolf"], 1)
    assert names(state="") == (["rosa", "rolf", "lara"], 3)
    assert names(state="", page=2, page_size=2) == (["lara"], 3)


def test_two_administrators_at_once(world):
    member, session_id = ran(world)
    asked = ask(world, member, session_id)
    at_once = threading.Barrier(2)

    def act(actor):
        at_once.wait()
        try:
            return answer(world, asked, f"says {actor}", actor, refund=True,
                          amount_grains=5 * GRAINS_PER_TOKEN)  # fmt: skip
        except LedgerError as refusal:
            return refusal.code

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(act, ["ann", "bob"]))
    assert outcomes.count("answered_before") == 1
    assert world.balance(member) == 95 * GRAINS_PER_TOKEN


def test_erasing_a_member_forgets_the_words(world):
    member, session_id = ran(world)
    answer(world, ask(world, member, session_id, "secret words"), "secret answer")
    world.ledger.finance.erase_member(
        member.member_id, actor="boss", reason="they asked", write_off=True
    )
    with world.ledger._store.read() as connection:
        texts = [
            *connection.execute(select(schema.questions.c.text)).scalars(),
            *connection.execute(select(schema.question_answers.c.text)).scalars(),
        ]
    assert texts == ["", ""]
