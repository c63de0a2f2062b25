"""Controls: bookkeeping that loses or doubles something is found, by the same harness."""

from dataclasses import replace

import pytest
from sqlalchemy import insert, select

from jhub_tokens.ledger import schema
from jhub_tokens.simulation.scenario import Conditions
from tests.simulation.conftest import play, scenario

CALM = Conditions(failed_start=0, hung_stop=0, crash=0, lost=0, repeated=0)


class Wrapped:
    """A ledger with its findings kept quiet, so that only the simulator's own sums are left."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.done = False

    def __getattr__(self, name):
        return getattr(self.ledger, name)

    def audit(self):
        return ()


class Honest(Wrapped):
    """Changes nothing: what the harness must not object to."""


class DropsAnEnd(Wrapped):
    """Tells the books that a server ended a minute before it did."""

    def observe(self, snapshot):
        if snapshot.ended and snapshot.ended[0].ready_age_ms and not self.done:
            self.done = True
            early = snapshot.ended[0].model_copy(
                update={"ended_age_ms": snapshot.ended[0].ended_age_ms + 60_000}
            )
            snapshot = snapshot.model_copy(update={"ended": [early, *snapshot.ended[1:]]})
        return self.ledger.observe(snapshot)


class LosesAnEnd(Wrapped):
    """An end never arrives, though the agent is told that it did."""

    def observe(self, snapshot):
        if not (snapshot.ended and snapshot.ended[0].ready_age_ms) or self.done:
            return self.ledger.observe(snapshot)
        self.done = True
        report = self.ledger.observe(snapshot.model_copy(update={"ended": []}))
        keys = tuple(end.start_key for end in snapshot.ended)
        object.__setattr__(report, "ended", keys)
        return report


class DoublesACharge(Wrapped):
    """Books one charge twice, in balanced entries of a transaction of their own."""

    def totals(self):
        t, e = schema.transactions, schema.entries
        with self.ledger._store.write() as connection:
            usage = (
                connection.execute(select(t).where(t.c.kind == "usage").order_by(t.c.at_ms))
                .mappings()
                .first()
            )
            lines = (
                connection.execute(select(e).where(e.c.transaction_id == usage["transaction_id"]))
                .mappings()
                .all()
            )
            twin = {**usage, "transaction_id": "twin", "number": 1_000_000}
            connection.execute(insert(t), twin)
            connection.execute(insert(e), [{**line, "transaction_id": "twin"} for line in lines])
        return self.ledger.totals()


class ForgetsAnEntry(Wrapped):
    """Consumes without taking it from anybody: entries that do not sum to zero."""

    def totals(self):
        totals = self.ledger.totals()
        return {**totals, "balance_grains": totals["balance_grains"] + 1}


class IssuesTooMuch(Wrapped):
    """Grants a member a token that no plan promises."""

    def ensure_member(self, identity):
        member = self.ledger.ensure_member(identity)
        if not self.done:
            self.done = True
            self.ledger.grant(
                member.member_id, amount_grains=3_600_000_000, kind="topup", actor="x",
                reason="by mistake", caller="x", key="mistake-1",
            )  # fmt: skip
        return member


class SwapsMembers(Wrapped):
    """Shows one member's statement as another's; the sums are as they were."""

    def __init__(self, ledger):
        super().__init__(ledger)
        self.ids = []

    def ensure_member(self, identity):
        member = self.ledger.ensure_member(identity)
        self.ids.append(member.member_id)
        return member

    def statement(self, member_id, from_ms, to_ms):
        swapped = {self.ids[0]: self.ids[1], self.ids[1]: self.ids[0]}
        return self.ledger.statement(swapped.get(member_id, member_id), from_ms, to_ms)


class DeductsTooMuch(Wrapped):
    """Takes tokens for overrun that there was not."""

    def statement(self, member_id, from_ms, to_ms):
        view = self.ledger.statement(member_id, from_ms, to_ms)
        allotment = next(entry for entry in view.entries if entry.kind == "allotment")
        deduction = replace(allotment, kind="overrun", amount_grains=-1000)
        return replace(view, entries=(*view.entries, deduction))


def findings(database_url, wrap):
    planned = scenario(members=2, mix="idle:1", plan_mix="basic:1", conditions=CALM)
    return play(database_url, planned, wrap).conservation.findings


def test_honest_books_are_not_accused(database_url):
    assert findings(database_url, Honest) == ()


@pytest.mark.parametrize(
    ("wrap", "what"),
    [
        (DropsAnEnd, "consumption: "),
        (LosesAnEnd, "consumption: "),
        (DoublesACharge, "consumption: "),
        (ForgetsAnEntry, "issued: "),
        (IssuesTooMuch, "allotments: "),
        (SwapsMembers, "idle-1: the statements say "),
        (DeductsTooMuch, "idle-2: 2000 grains of overrun were deducted, only 0 remained"),
    ],
)
def test_what_is_lost_or_doubled_is_found(wrap, what, tmp_path):
    found = findings(f"sqlite:///{tmp_path}/books.sqlite", wrap)
    assert any(finding.startswith(what) for finding in found), found


def test_the_audit_speaks_too(tmp_path):
    class Forges(Wrapped):
        def audit(self):
            with self.ledger._store.write() as connection:
                grants = schema.grants
                connection.execute(
                    grants.update().values(remaining_grains=grants.c.remaining_grains + 1)
                )
            return self.ledger.audit()

    found = findings(f"sqlite:///{tmp_path}/books.sqlite", Forges)
    assert len([finding for finding in found if finding.startswith("audit: ")]) >= 2
