"""However often and whenever a wallet is advanced, the same grants pay the same, to the grain.

The pure walk is cut at random instants and compared with a closed form; the ledger is given the
same facts with snapshots, passes of the warden and reads in between at random, and compared too.
"""

import random
from collections import defaultdict

import pytest
from sqlalchemy import select

from jhub_tokens import burndown
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.store import Store, open_engine
from tests.faults.closed_form import ClosedForm
from tests.faults.worlds import new_worlds  # noqa: F401  (a fixture)
from tests.ledger.conftest import HOUR_MS

TOKEN = 3_600_000_000
MINUTE_MS = 60_000
END_MS = 9 * HOUR_MS
MONTH_MS = 30 * 24 * HOUR_MS


def random_case(chance):
    """Return grants and meters of a busy month as plain tuples."""
    grants = []
    for index in range(chance.randint(1, 6)):
        starts_ms = chance.choice([0, 0, chance.randrange(MONTH_MS)])
        expires_ms = chance.choice([None, starts_ms + chance.randrange(1, MONTH_MS)])
        amount = chance.choice([TOKEN * chance.randint(1, 400), chance.randrange(50_000)])
        grants.append((f"g{index}", amount, chance.choice([0, 10]), index, starts_ms, expires_ms))
    meters = []
    for index in range(chance.randint(1, 5)):
        begin_ms = chance.randrange(MONTH_MS)
        end_ms = begin_ms + chance.choice([1, 999, HOUR_MS + 7, chance.randrange(MONTH_MS)])
        rate = chance.choice([0, 1, 7, 1_000, 10_000, 12_345])
        meters.append((f"s{index}", rate, begin_ms, end_ms))
    return grants, meters


def walked(grants, meters, instants):
    """Advance through `instants`; return who paid what and what is left."""
    wallet = burndown.Wallet(
        0,
        tuple(burndown.Grant(*grant) for grant in grants),
        tuple(burndown.Meter(*meter) for meter in meters),
    )
    paid = defaultdict(int)
    for instant in instants:
        outcome = burndown.advance(wallet, instant)
        for charge in outcome.charges():
            paid[charge.session_id, charge.grant_id] += charge.amount
        wallet = outcome.wallet
    return paid, {grant.grant_id: grant.remaining for grant in wallet.grants}


def rounded_per_step(meters, instants):
    """A naive meter: each step is rounded down to a millitoken, as samples often are."""
    charged, before_ms = 0, 0
    for instant in instants:
        for _, rate, begin_ms, end_ms in meters:
            duration_ms = max(0, min(instant, end_ms) - max(before_ms, begin_ms))
            charged += rate * duration_ms // 3_600_000 * 3_600_000
        before_ms = max(before_ms, instant)
    return charged


def test_any_cutting_of_the_walk_equals_the_closed_form(thorough, figure):
    cases = 5_000 if thorough else 300
    off = naive_off = 0
    for seed in range(cases):
        chance = random.Random(seed)
        grants, meters = random_case(chance)
        expected = ClosedForm(grants, meters).run(0, MONTH_MS)
        cuts = [chance.randrange(MONTH_MS) for _ in range(chance.choice([0, 1, 20]))]
        chance.shuffle(cuts)  # an earlier instant than the last one changes nothing
        paid, left = walked(grants, meters, [*cuts, MONTH_MS])
        assert paid == dict(expected.paid), seed
        assert left == expected.left, seed
        off += sum(abs(paid[key] - expected.paid[key]) for key in {*paid, *expected.paid})
        naive = rounded_per_step(meters, [*sorted(cuts), MONTH_MS])
        naive_off += naive != sum(expected.paid.values())
    assert naive_off > cases // 4
    figure("walks cut at random against the closed form", f"{cases} wallets, {off} grains off")
    figure("control: each step rounded", f"{naive_off} of {cases} wallets off")


# --- the same in the books ------------------------------------------------------------------


def random_life(chance):
    """Return the facts of some hours: when what happens, in milliseconds from the start."""
    facts = []
    for index in range(chance.randint(2, 3)):
        begin_ms = chance.randrange(2 * HOUR_MS)
        end_ms = begin_ms + chance.randrange(20 * MINUTE_MS, 6 * HOUR_MS)
        profile = chance.choice(["cpu", "gpu", "gpu"])
        facts += [(begin_ms, "begin", (f"s{index}", profile)), (end_ms, "end", (f"s{index}",))]
    for _ in range(chance.randint(0, 3)):
        facts.append((chance.randrange(8 * HOUR_MS), "credit", (chance.randint(1, 9),)))
    return sorted(facts)


class Life:
    """One telling of a life: the facts are given, what happens in between is up to chance."""

    def __init__(self, world, facts, chance):
        self.world = world
        self.facts = facts
        self.chance = chance  # None: nobody looks
        self.start_ms = world.clock.now_ms()
        self.keys = {}
        self.member, self.identity = world.join("lara")
        world.give(self.member, -90, kind="adjustment")  # ten tokens do not last

    def run(self):
        for at_ms, what, detail in self.facts:
            self.until(self.start_ms + at_ms)
            getattr(self, what)(*detail)
        self.until(self.start_ms + END_MS)
        self.world.hub.tell()
        self.world.give(self.member, 1)  # has everything booked
        return self.books()

    def until(self, at_ms):
        """Pass to an instant, with as many looks at the books as chance will have."""
        now_ms = self.world.clock.now_ms()
        looks = self.chance.randint(0, 3) if self.chance else 0
        for instant in sorted(self.chance.randint(now_ms, at_ms) for _ in range(looks)):
            self.world.clock.set_ms(instant)
            self.chance.choice([self.world.hub.tell, self.world.ledger.advance_due, self.read])()
        self.world.clock.set_ms(at_ms)

    def read(self):
        self.world.ledger.wallet_view(self.member.member_id)

    def begin(self, name, profile):
        self.keys[name] = self.world.hub.run(self.member, self.identity, profile, name)

    def end(self, name):
        self.world.hub.end(self.keys[name])

    def credit(self, tokens):
        self.world.give(self.member, tokens)

    def books(self):
        """Return what each kind of grant paid for each server."""
        entries, grants, sessions = schema.entries, schema.grants, schema.sessions
        query = (
            select(
                sessions.c.server_name,
                grants.c.source,
                grants.c.starts_ms,
                entries.c.amount_grains,
            )
            .join_from(entries, grants, grants.c.grant_id == entries.c.grant_id)
            .join(sessions, sessions.c.session_id == entries.c.session_id)
        )
        paid = defaultdict(int)
        store = Store(open_engine(self.world.url))
        with store.read() as connection:
            for name, source, starts_ms, amount in connection.execute(query):
                since_ms = starts_ms - self.start_ms if source == "topup" else 0
                paid[name, source, since_ms] -= amount
        store.close()
        return dict(paid)


def in_closed_form(facts):
    """Return the same from the facts alone."""
    rates = {"cpu": 1_000, "gpu": 10_000}
    grants = [("plan", 10 * TOKEN, 0, 0, 0, None)]
    ends = {detail[0]: at_ms for at_ms, what, detail in facts if what == "end"}
    meters = []
    for at_ms, what, detail in facts:
        if what == "begin":
            meters.append((detail[0], rates[detail[1]], at_ms, ends[detail[0]]))
        elif what == "credit":
            grants.append((at_ms, detail[0] * TOKEN, 10, len(grants), at_ms, None))
    named = {None: ("overrun", 0), "plan": ("plan", 0)}
    return {
        (session, *named.get(grant, ("topup", grant))): amount
        for (session, grant), amount in ClosedForm(grants, meters).run(0, END_MS).paid.items()
    }


@pytest.mark.slow_on_postgresql
def test_any_looking_at_the_books_equals_the_closed_form(new_world, thorough, figure):
    lives = {True: 150, False: 8}[thorough] // (1 if new_world.is_sqlite else 2)
    wrong = overran = 0
    for seed in range(lives):
        chance = random.Random(seed)
        facts = random_life(chance)
        expected = in_closed_form(facts)
        for looks in (None, chance):
            # Nobody is refused or stopped for want of tokens: what is missing is overrun.
            world = new_world(enforce=False)
            found = Life(world, facts, looks).run()
            wrong += found != expected
            new_world.end(world)  # a PostgreSQL server has connections for some tens of them
        overran += any(key[1] == "overrun" for key in expected)
    assert wrong == 0
    assert overran, "no life was long enough to matter"
    figure(
        f"lives looked at at random, {new_world.database}",
        f"{2 * lives} tellings of {lives} lives, {overran} with overrun, {wrong} off",
    )
