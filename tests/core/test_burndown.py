"""The walk against a reference that does the same one millisecond at a time."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from jhub_tokens import burndown
from jhub_tokens.burndown import ALWAYS, Charge, Grant, Lapse, Meter, Need, Renewal, Renewed, Wallet

END_MS = 60


@st.composite
def wallets(draw):
    instant = st.integers(0, END_MS)
    grants = tuple(
        Grant(
            f"g{index}",
            draw(st.integers(0, 400)),
            priority=draw(st.sampled_from([0, 10])),
            age=index,
            starts_ms=draw(st.sampled_from([0, 0, 7])),
            expires_ms=draw(st.none() | st.integers(1, END_MS)),
            rolls=draw(st.sampled_from([0, 1, 2, ALWAYS])),
        )
        for index in range(draw(st.integers(0, 4)))
    )
    meters = []
    for index in range(draw(st.integers(0, 3))):
        from_ms = draw(instant)
        to_ms = draw(st.none() | st.integers(from_ms, END_MS + 5))
        meters.append(Meter(f"s{index}", draw(st.integers(0, 30)), from_ms, to_ms))
    starts = sorted(draw(st.sets(st.integers(1, END_MS), max_size=2)))
    renewals = tuple(
        Renewal(
            start,
            end,
            draw(st.integers(0, 300)),
            draw(st.sampled_from([0, 50, 1000])),
            draw(st.sampled_from([0, 1, 3, ALWAYS])),
            allotment_id=f"plan-{index}",
            rollover_id=f"rollover-{index}",
            age=100 + 2 * index,
        )
        for index, (start, end) in enumerate(pairwise([*starts, END_MS + 10]))
    )
    debt, deducts = draw(st.sampled_from([0, 0, 40])), draw(st.booleans())
    return Wallet(0, grants, tuple(meters), renewals, debt, deducts)


class Reference:
    """Every millisecond by itself, in the plainest words; shares no code with the walk."""

    def __init__(self, wallet):
        self.wallet = wallet
        self.grants = {g.grant_id: g for g in wallet.grants}
        self.left = {g.grant_id: g.remaining for g in wallet.grants}
        self.paid = {}  # (session, grant or None) → grains
        self.lapsed = {}
        self.debt = wallet.debt
        self.unpaid_at = []
        self.balances = {}

    def order(self, grant):
        expires = grant.expires_ms if grant.expires_ms is not None else 10**30
        return (grant.priority, expires, grant.age, grant.rolls)

    def run(self, to_ms):
        for now in range(to_ms + 1):
            self.renew(now)
            for key, grant in self.grants.items():
                if grant.expires_ms is not None and grant.expires_ms <= now and self.left[key]:
                    self.lapsed[key] = self.left[key]
                    self.left[key] = 0
            self.balances[now] = sum(self.left[g.grant_id] for g in self.usable(now))
            if now == to_ms:
                break
            for meter in self.wallet.meters:
                if meter.from_ms <= now and (meter.to_ms is None or now < meter.to_ms):
                    self.pay(meter, now)
        return self

    def renew(self, now):
        for renewal in self.wallet.renewals:
            if renewal.at_ms != now:
                continue
            room = renewal.rollover_cap
            made = {}
            for grant in sorted(self.grants.values(), key=self.order):
                if grant.rolls == 0:
                    continue
                part = min(room, self.left[grant.grant_id])
                self.left[grant.grant_id] -= part
                room -= part
                lives = ALWAYS if grant.rolls == ALWAYS else grant.rolls - 1
                made[lives] = made.get(lives, 0) + part
            repaid = min(self.debt, renewal.allotment)
            self.debt -= repaid
            span = (renewal.at_ms, renewal.expires_ms)
            for lives, amount in made.items():
                key = renewal.rollover_id + ("" if lives == ALWAYS else f"-{lives}")
                self.grants[key] = Grant(key, amount, 0, renewal.age, *span, lives)
                self.left[key] = amount
            key, amount = renewal.allotment_id, renewal.allotment - repaid
            self.grants[key] = Grant(key, amount, 0, renewal.age + 1, *span, renewal.rolls)
            self.left[key] = amount

    def usable(self, now):
        usable = [
            g
            for g in self.grants.values()
            if g.starts_ms <= now and (g.expires_ms is None or now < g.expires_ms)
        ]
        return sorted(usable, key=self.order)

    def pay(self, meter, now):
        owed = meter.rate_mtok_h
        for grant in self.usable(now):
            part = min(owed, self.left[grant.grant_id])
            if part:
                self.left[grant.grant_id] -= part
                self.add(meter.session_id, grant.grant_id, part)
                owed -= part
        if owed:
            self.unpaid_at.append(now)
            self.debt += owed if self.wallet.deducts else 0
            self.add(meter.session_id, None, owed)

    def add(self, session_id, grant_id, amount):
        self.paid[session_id, grant_id] = self.paid.get((session_id, grant_id), 0) + amount


def paid(events):
    total = {}
    for event in events:
        if isinstance(event, Charge):
            key = (event.session_id, event.grant_id)
            total[key] = total.get(key, 0) + event.amount
    return total


def remaining(wallet):
    return {g.grant_id: g.remaining for g in wallet.grants if g.remaining}


@given(wallets(), st.integers(0, END_MS))
def test_equals_the_reference_millisecond_by_millisecond(wallet, to_ms):
    reference = Reference(wallet).run(to_ms)
    outcome = burndown.advance(wallet, to_ms)
    assert paid(outcome.events) == reference.paid
    assert remaining(outcome.wallet) == {k: v for k, v in reference.left.items() if v}
    lapsed = {e.grant_id: e.amount for e in outcome.events if isinstance(e, Lapse)}
    assert lapsed == reference.lapsed
    assert outcome.wallet.debt == reference.debt
    assert outcome.dry_ms == (reference.unpaid_at[0] if reference.unpaid_at else None)
    assert outcome.wallet.balance() == reference.balances[to_ms]


@given(wallets(), st.lists(st.integers(0, END_MS), max_size=5), st.integers(0, END_MS))
def test_many_steps_equal_one(wallet, stops, to_ms):
    stepped, events = wallet, []
    for stop in [*sorted(s for s in stops if s < to_ms), to_ms]:
        outcome = burndown.advance(stepped, stop)
        stepped = outcome.wallet
        events.extend(outcome.events)
    whole = burndown.advance(wallet, to_ms)
    assert paid(events) == paid(whole.events)
    assert stepped == whole.wallet
    kinds = (Lapse, Renewed)
    assert [e for e in events if isinstance(e, kinds)] == [
        e for e in whole.events if isinstance(e, kinds)
    ]


@given(wallets(), st.integers(0, END_MS))
def test_nothing_comes_from_nothing(wallet, to_ms):
    outcome = burndown.advance(wallet, to_ms)
    granted = sum(g.remaining for g in wallet.grants)
    granted += sum(e.allotment.remaining for e in outcome.events if isinstance(e, Renewed))
    charged = sum(c.amount for c in outcome.charges() if c.grant_id is not None)
    lapsed = sum(e.amount for e in outcome.events if isinstance(e, Lapse))
    assert granted == charged + lapsed + sum(g.remaining for g in outcome.wallet.grants)


@given(wallets())
def test_dry_is_the_first_millisecond_that_is_not_paid(wallet):
    reference = Reference(wallet).run(END_MS)
    first = reference.unpaid_at[0] if reference.unpaid_at else None
    assert burndown.dry_at(wallet, END_MS) == first


@given(wallets(), st.integers(0, 800))
def test_low_is_the_first_instant_at_or_below_the_level(wallet, level):
    low_ms = burndown.low_at(wallet, level, END_MS)
    reference = Reference(wallet).run(END_MS)
    dry_ms = reference.unpaid_at[0] if reference.unpaid_at else END_MS
    instants = [ms for ms, balance in reference.balances.items() if balance <= level]
    if low_ms is None:
        assert not instants or instants[0] > dry_ms  # what comes after dry is not asked
    else:
        assert low_ms == instants[0]


@given(wallets(), st.lists(st.tuples(st.integers(0, 30), st.integers(0, END_MS)), max_size=3))
def test_a_need_is_carried_if_nothing_would_stay_unpaid(wallet, needs):
    missing = burndown.shortfall(wallet, [Need(*need) for need in needs])
    meters = tuple(Meter(f"n{i}", rate, 0, ms) for i, (rate, ms) in enumerate(needs))
    reference = Reference(replace(wallet, meters=meters)).run(END_MS)
    assert missing == sum(v for (_, grant), v in reference.paid.items() if grant is None)


@settings(max_examples=30)
@given(st.integers(1, 100), st.integers(0, 10**15), st.integers(1, 10**9))
def test_long_runs_follow_the_closed_form(rate, tokens, days_ms):
    wallet = Wallet(0, (Grant("g", tokens),), (Meter("s", rate, 0),))
    outcome = burndown.advance(wallet, days_ms)
    assert sum(c.amount for c in outcome.charges()) == rate * days_ms
    assert burndown.dry_at(wallet, 1 << 60) == tokens // rate


def test_the_last_millisecond_of_a_grant_is_split_in_session_order():
    wallet = Wallet(
        0, (Grant("old", 25), Grant("new", 100, age=1)), (Meter("a", 10, 0), Meter("b", 10, 0))
    )
    assert paid(burndown.advance(wallet, 2).events) == {
        ("a", "old"): 15,  # 10, then the first 5 of the second millisecond
        ("b", "old"): 10,
        ("a", "new"): 5,
        ("b", "new"): 10,
    }


def test_a_renewal_at_the_very_instant_counts_before_the_level_is_read():
    renewal = Renewal(6, 99, allotment=50)
    wallet = Wallet(0, (Grant("g", 18),), (Meter("a", 3, 0),), (renewal,))
    assert burndown.low_at(wallet, 0, 6) is None
    assert burndown.low_at(wallet, 49, 20) == 0
    assert burndown.low_at(replace(wallet, renewals=()), 0, 6) == 6


def test_an_earlier_instant_changes_nothing():
    wallet = Wallet(50, (Grant("g", 100),), (Meter("a", 10, 0),))
    outcome = burndown.advance(wallet, 40)
    assert outcome.wallet == wallet
    assert not outcome.events
