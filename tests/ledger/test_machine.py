"""Whatever happens in whatever order, the books equal an exact model that shares no code.

The model knows the truth: when servers really became ready and really ended, and when money
came. It recomputes every balance from the beginning, event by event, in plain integers. The
books learn the same facts late, twice or not at all, through snapshots, and are reopened at
any time.
"""

import shutil
import uuid

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jhub_tokens.ledger import LedgerError, NotAdmitted
from jhub_tokens.units import GRAINS_PER_TOKEN

from .conftest import HOUR_MS, World

RATES = {"cpu": 1_000, "gpu": 10_000, "free": 0}
ALLOTMENT = 100 * GRAINS_PER_TOKEN
NEED_MS = 150_000 + 300_000  # grace and stop time, and the minimum run


class Account:
    """The model of one member: facts only, no balances."""

    def __init__(self, boundaries, rollover):
        self.boundaries = boundaries  # starts of the periods, far into the future
        self.rollover = rollover
        self.credits = []  # (instant, grains), negative ones take back
        self.runs = {}  # start key → [rate, ready_ms or None, ended_ms or None, admitted_ms]

    def left_at(self, now_ms, extra=()):
        """Return (balance at now, what nobody could pay until then), replayed from the start."""
        runs = [r for r in self.runs.values() if r[1] is not None]
        spans = [(r[0], r[1], now_ms if r[2] is None else min(r[2], now_ms)) for r in runs]
        spans += list(extra)
        instants = {b for b in self.boundaries if b <= now_ms} | {now_ms}
        instants |= {t for t, _ in self.credits if t <= now_ms}
        instants |= {t for _, a, b in spans for t in (a, b) if t <= now_ms}
        plan = rolled = paid_for = unpaid = 0
        previous = None
        for instant in sorted(instants):
            if previous is not None:
                owed = sum(
                    rate * max(0, min(instant, b) - max(previous, a)) for rate, a, b in spans
                )
                for name in ("rolled", "plan", "paid_for"):
                    pot = {"rolled": rolled, "plan": plan, "paid_for": paid_for}[name]
                    part = min(owed, pot)
                    owed -= part
                    if name == "rolled":
                        rolled -= part
                    elif name == "plan":
                        plan -= part
                    else:
                        paid_for -= part
                unpaid += owed
            if instant in self.boundaries:
                rolled, plan = min(self.rollover, plan + rolled), ALLOTMENT
            for at_ms, amount in self.credits:
                if at_ms != instant:
                    continue
                if amount > 0:
                    paid_for += amount
                    continue
                owed = -amount
                part = min(owed, rolled)
                rolled, owed = rolled - part, owed - part
                part = min(owed, plan)
                plan, owed = plan - part, owed - part
                paid_for -= owed
            previous = instant
        return rolled + plan + paid_for, unpaid

    def carries(self, now_ms, rate, server_name):
        """Tell whether one more start is carried, by the rule of the design."""
        horizon_ms = now_ms + NEED_MS
        needs = [(rate, now_ms, horizon_ms)]
        for other in self.runs.values():
            if other[2] is None and other[4] != server_name:
                elapsed = 0 if other[1] is None else now_ms - other[1]
                needs.append((other[0], now_ms, now_ms + max(0, 300_000 - elapsed) + 150_000))
        frozen = Account(self.boundaries, self.rollover)
        frozen.credits = self.credits
        frozen.runs = {
            k: [r[0], r[1], now_ms if r[2] is None else r[2], r[3], r[4]]
            for k, r in self.runs.items()
        }
        before = frozen.left_at(now_ms)[1]
        return frozen.left_at(horizon_ms, needs)[1] == before


class Books(RuleBasedStateMachine):
    """Rules act on the true world; `tell` lets the books learn of it."""

    make_world = None  # set by the test

    @initialize()
    def begin(self):
        self.world = self.make_world()
        self.members = []
        self.accounts = {}
        self.told_ms = self.now_ms
        self.untold = set()
        self.old_snapshots = []
        for name in ("lara", "rolf"):
            member, identity = self.world.join(name)
            self.members.append((member, identity))
            start = self.world.ledger.periods(member.member_id)[0][0]
            boundaries = [start, *_months(start)]
            rollover = 50 * GRAINS_PER_TOKEN if name == "rolf" else 0
            self.accounts[member.member_id] = Account(boundaries, rollover)

    @property
    def now_ms(self):
        return self.world.clock.now_ms()

    # --- the world ------------------------------------------------------------------------

    @rule(duration_ms=st.sampled_from([1, 7, 999, 30_000, 123_456, HOUR_MS, 26 * HOUR_MS]))
    def time_passes(self, duration_ms):
        self.world.clock.advance_ms(duration_ms)

    @precondition(lambda self: not self.running())
    @rule(days=st.integers(1, 40))
    def weeks_pass(self, days):
        self.world.clock.advance_ms(days * 24 * HOUR_MS + 1)

    @rule(who=st.integers(0, 1), profile=st.sampled_from(list(RATES)), name=st.sampled_from("ab"))
    def start(self, who, profile, name):
        member, identity = self.members[who]
        account = self.accounts[member.member_id]
        if any(s[0] == identity and s[1] == name for s in self.world.hub.servers.values()):
            return  # the hub runs one server of a name
        self.tell()  # what is decided on a stale view is another rule's business
        carried = account.carries(self.now_ms, RATES[profile], name)
        try:
            key = self.world.hub.start(member, identity, profile, name)
        except NotAdmitted as refusal:
            assert refusal.code == "balance"
            assert not carried
        else:
            assert carried
            account.runs[key] = [RATES[profile], None, None, self.now_ms, name]

    @precondition(lambda self: self.starting())
    @rule(data=st.data())
    def becomes_ready(self, data):
        key = data.draw(st.sampled_from(self.starting()))
        self.world.hub.servers[key][2] = self.run_of(key)[1] = self.now_ms
        self.untold.add(key)

    @precondition(lambda self: self.world.hub.servers)
    @rule(data=st.data())
    def ends(self, data):
        key = data.draw(st.sampled_from(list(self.world.hub.servers)))
        self.world.hub.stop(key)
        self.run_of(key)[2] = self.now_ms

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def dies_unseen(self, data):
        """The hub dies with a server: charged to the last proof of life."""
        self.tell()
        key = data.draw(st.sampled_from(self.running()))
        self.run_of(key)[2] = self.told_ms
        del self.world.hub.servers[key]
        self.world.clock.advance_ms(data.draw(st.sampled_from([6_000, HOUR_MS])))
        self.world.hub.restart()
        self.tell()

    # --- money ----------------------------------------------------------------------------

    @rule(who=st.integers(0, 1), mtok=st.integers(1, 30_000), again=st.booleans())
    def top_up(self, who, mtok, again):
        member, _ = self.members[who]
        key = uuid.uuid4().hex
        for _ in range(1 + again):  # the second is the same request once more
            self.world.give(member, mtok / 1000, key=key)
        account = self.accounts[member.member_id]
        account.credits.append((self.now_ms, mtok * GRAINS_PER_TOKEN // 1000))

    @rule(who=st.integers(0, 1), mtok=st.integers(1, 60_000))
    def take_back(self, who, mtok):
        member, _ = self.members[who]
        account = self.accounts[member.member_id]
        self.tell()
        amount = mtok * GRAINS_PER_TOKEN // 1000
        enough = account.left_at(self.now_ms)[0] >= amount
        try:
            self.world.give(member, -mtok / 1000, kind="adjustment")
        except LedgerError as refusal:
            assert refusal.code == "insufficient"
            assert not enough
        else:
            assert enough
            account.credits.append((self.now_ms, -amount))

    # --- what the books learn -------------------------------------------------------------

    @rule()
    def tell(self):
        self.old_snapshots.append(self.world.hub.snapshot())
        self.world.hub.tell()
        self.told_ms = self.now_ms
        self.untold.clear()

    @precondition(lambda self: self.old_snapshots)
    @rule(data=st.data())
    def an_old_snapshot_arrives(self, data):
        old = data.draw(st.sampled_from(self.old_snapshots[-5:]))
        # Its facts carry ages, which the delay makes wrong: the agent never sends those again.
        self.world.ledger.observe(old.model_copy(update={"ended": []}))

    @rule()
    def warden(self):
        self.world.ledger.advance_due()

    @rule()
    def reopen(self):
        self.world.ledger.close()
        self.world.ledger = self.world.hub.ledger = self.world.open()

    # --- what must hold -------------------------------------------------------------------

    @invariant()
    def balances_equal_the_model(self):
        if not hasattr(self, "world"):
            return
        reported = not self.world.hub.ended and not self.unreported()
        for member, _ in self.members:
            view = self.world.ledger.wallet_view(member.member_id)
            assert view.balance_grains >= 0
            if reported:
                expected, _ = self.accounts[member.member_id].left_at(self.now_ms)
                assert view.balance_grains == expected

    def teardown(self):
        if not hasattr(self, "world"):
            return
        self.tell()
        self.world.ledger.advance_due()
        for member, _ in self.members:
            account = self.accounts[member.member_id]
            self.world.give(member, 0.001)  # has everything booked that is proven
            account.credits.append((self.now_ms, GRAINS_PER_TOKEN // 1000))
            charged = 0
            for rate, ready_ms, ended_ms, *_ in account.runs.values():
                if ready_ms is not None:
                    charged += rate * ((ended_ms or self.now_ms) - ready_ms)
            assert self.charged(member) == charged
        assert self.world.ledger.audit() == ()
        self.world.ledger.close()

    # --- helpers --------------------------------------------------------------------------

    def charged(self, member):
        periods = self.world.ledger.periods(member.member_id)
        view = self.world.ledger.statement(member.member_id, periods[-1][0], self.now_ms + 1)
        return -sum(e.amount_grains for e in view.entries if e.kind in ("usage", "return"))

    def run_of(self, key):
        return next(a.runs[key] for a in self.accounts.values() if key in a.runs)

    def starting(self):
        # In the order of their starts: keys are random, and hypothesis must meet the same choices
        # when it plays an example again.
        return [k for k, s in self.world.hub.servers.items() if s[2] is None]

    def running(self):
        if not hasattr(self, "world"):
            return []
        return [k for k, s in self.world.hub.servers.items() if s[2] is not None]

    def unreported(self):
        """Servers that became ready since the books were last told."""
        return self.untold & set(self.running())


def _months(start_ms, count=400):
    from jhub_tokens.periods import period

    return [period(start_ms, n, "Europe/Berlin", "anchored")[0] for n in range(1, count)]


#: How many lives of how many steps: two thousand steps in all, and for a night.
LIVES = {("sqlite", False): 44, ("postgresql", False): 11}
LIVES |= {("sqlite", True): 400, ("postgresql", True): 200}
STEPS = {False: 40, True: 60}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_books_equal_the_model(database, request, tmp_path, figure):
    thorough = request.config.getoption("--thorough")
    if database == "sqlite":
        template = request.getfixturevalue("sqlite_template")

        def new_url():
            path = tmp_path / f"{uuid.uuid4().hex}.sqlite"
            shutil.copy(template, path)
            return f"sqlite:///{path}"
    else:
        new_url = request.getfixturevalue("postgres_template")

    class Machine(Books):
        make_world = staticmethod(lambda: World(new_url()))
        steps = 0

        def check_invariants(self, *args, **options):
            Machine.steps += 1
            return super().check_invariants(*args, **options)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=LIVES[database, thorough],
            stateful_step_count=STEPS[thorough],
            suppress_health_check=list(HealthCheck),
            # Shrinking replays hundreds of worlds, which takes minutes: ask for it when needed.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )
    figure(f"the books against an exact model, {database}", f"{Machine.steps} steps, 0 breaks")
