"""A failure before and after every statement of every writing operation: all of it or nothing."""

import inspect
from contextlib import contextmanager

import pytest

from jhub_tokens.ledger import DatabaseProblem, Ledger
from jhub_tokens.ledger.acts import ActFilter
from jhub_tokens.ledger.break_glass import BreakGlassBooks
from jhub_tokens.ledger.directory import DirectoryBooks
from jhub_tokens.ledger.ends import ClusterBooks
from jhub_tokens.ledger.finance import FinanceBooks
from jhub_tokens.ledger.member_settings import MemberSettingsBooks
from jhub_tokens.ledger.outbox import Outbox
from jhub_tokens.ledger.oversight import OversightBooks
from jhub_tokens.ledger.oversight_records import MemberFilter
from jhub_tokens.ledger.owned_teams import TeamBooks
from jhub_tokens.ledger.payments import PaymentBooks
from jhub_tokens.ledger.questions import QuestionBooks
from jhub_tokens.ledger.seals import SealBooks
from jhub_tokens.ledger.self_service import SelfServiceBooks
from jhub_tokens.ledger.servers import ServerBooks
from jhub_tokens.ledger.ssh_keys import SshKeyBooks
from jhub_tokens.ledger.usage import UsageBooks
from jhub_tokens.ledger.vouchers import VoucherBooks
from tests.faults.contents import Contents, masked
from tests.faults.injection import Injector
from tests.faults.operations import HOUR_MS, OPERATIONS, giving, in_team, running
from tests.faults.operations_beside import order
from tests.faults.worlds import new_worlds, one_world  # noqa: F401  (fixtures)
from tests.ledger.test_ssh_keys import KEY

#: The parts of the ledger that have operations of their own.
PARTS = {
    "": Ledger,
    "break_glass.": BreakGlassBooks,
    "cluster.": ClusterBooks,
    "directory.": DirectoryBooks,
    "finance.": FinanceBooks,
    "member_settings.": MemberSettingsBooks,
    "outbox.": Outbox,
    "self_service.": SelfServiceBooks,
    "teams.": TeamBooks,
    "oversight.": OversightBooks,
    "payments.": PaymentBooks,
    "questions.": QuestionBooks,
    "seals.": SealBooks,
    "servers.": ServerBooks,
    "ssh_keys.": SshKeyBooks,
    "usage.": UsageBooks,
    "vouchers.": VoucherBooks,
}
#: Public methods that write nothing; each is run below and its statements looked at.
READS = {
    "audit": lambda ledger, member: ledger.audit(),
    "break_glass.acts": lambda ledger, member: ledger.break_glass.acts(),
    "break_glass.frozen": lambda ledger, member: ledger.break_glass.frozen(),
    "cluster.known": lambda ledger, member: ledger.cluster.known(["none"]),
    "cluster.open_sessions": lambda ledger, member: ledger.cluster.open_sessions(),
    "finance.closed_months": lambda ledger, member: ledger.finance.closed_months(),
    "finance.erasures": lambda ledger, member: ledger.finance.erasures(),
    "finance.export_page": lambda ledger, member: ledger.finance.export_page(0, 1 << 42),
    "finance.figures": lambda ledger, member: ledger.finance.figures("2026-11"),
    "finance.month_to_close": lambda ledger, member: ledger.finance.month_to_close(),
    "finance.prepaid": lambda ledger, member: ledger.finance.prepaid(ledger.now_ms()),
    "finance.report": lambda ledger, member: ledger.finance.report("2026-11", "2026-11", ["plan"]),
    "finance.span": lambda ledger, member: ledger.finance.span("2026-11", "2026-11"),
    "finance.trial_balance": lambda ledger, member: ledger.finance.trial_balance(ledger.now_ms()),
    "itemised": lambda ledger, member: ledger.itemised(member.member_id, 0, 1 << 42),
    "member": lambda ledger, member: ledger.member(member.member_id),
    "member_by_name": lambda ledger, member: ledger.member_by_name(member.name),
    "member_settings.of": lambda ledger, member: ledger.member_settings.of(member.member_id),
    "member_settings.language_of": lambda ledger, member: ledger.member_settings.language_of(
        member.name, None
    ),
    "member_settings.speech_of": lambda ledger, member: ledger.member_settings.speech_of(
        member.name, None
    ),
    "members": lambda ledger, member: ledger.members(),
    "notices": lambda ledger, member: ledger.notices(member.member_id),
    "own_data": lambda ledger, member: ledger.own_data(member.member_id),
    "oversight.acts": lambda ledger, member: ledger.oversight.acts(ActFilter()),
    "oversight.bulk_act": lambda ledger, member: ledger.oversight.bulk_act("none"),
    "oversight.figures": lambda ledger, member: ledger.oversight.figures(),
    "oversight.fleet": lambda ledger, member: ledger.oversight.fleet(),
    "oversight.matching": lambda ledger, member: ledger.oversight.matching(MemberFilter(), 5),
    "oversight.members": lambda ledger, member: ledger.oversight.members(MemberFilter()),
    "oversight.named": lambda ledger, member: ledger.oversight.named([member.name]),
    "oversight.pulse": lambda ledger, member: ledger.oversight.pulse(),
    "oversight.sessions": lambda ledger, member: ledger.oversight.sessions(member.member_id),
    "oversight.summaries": lambda ledger, member: ledger.oversight.summaries([member.member_id]),
    "oversight.top_consumers": lambda ledger, member: ledger.oversight.top_consumers(0, 1 << 42),
    "oversight.waiting_lines": lambda ledger, member: ledger.oversight.waiting_lines("none"),
    "outbox.state": lambda ledger, member: ledger.outbox.state(),
    "payers": lambda ledger, member: ledger.payers(member.member_id),
    "payments.fee_accounts": lambda ledger, member: ledger.payments.fee_accounts(member.member_id),
    "payments.invoice": lambda ledger, member: ledger.payments.invoice(
        ledger.payments.invoices(member.member_id)[0].invoice_id
    ),
    "payments.invoices": lambda ledger, member: ledger.payments.invoices(member.member_id),
    "periods": lambda ledger, member: ledger.periods(member.member_id),
    "ping": lambda ledger, member: ledger.ping(),
    "plan_changes": lambda ledger, member: ledger.plan_changes(member.member_id),
    "prospects": lambda ledger, member: ledger.prospects(member.member_id, []),
    "questions.find": lambda ledger, member: ledger.questions.find("none"),
    "questions.listed": lambda ledger, member: ledger.questions.listed(),
    "questions.of_member": lambda ledger, member: ledger.questions.of_member(member.member_id),
    "self_service.choices": lambda ledger, member: ledger.self_service.choices(member.member_id),
    "servers.state": lambda ledger, member: ledger.servers.state(member.member_id, ""),
    "ssh_keys.lines": lambda ledger, member: ledger.ssh_keys.lines([member.member_id]),
    "ssh_keys.of": lambda ledger, member: ledger.ssh_keys.of(member.member_id),
    "ssh_keys.opened_by": lambda ledger, member: ledger.ssh_keys.opened_by(KEY.fingerprint),
    "standing_stops": lambda ledger, member: ledger.standing_stops(),
    "statement": lambda ledger, member: ledger.statement(member.member_id, 0, 1 << 42),
    "statement_as_of": lambda ledger, member: ledger.statement_as_of(
        member.member_id, ledger.now_ms()
    ),
    "teams.periods": lambda ledger, member: ledger.teams.periods("physics"),
    "teams.statement": lambda ledger, member: ledger.teams.statement(
        "physics", member.member_id, 0, 1 << 42
    ),
    "teams.view": lambda ledger, member: ledger.teams.view("physics", member.member_id),
    "teams.waiting_for": lambda ledger, member: ledger.teams.waiting_for(member.member_id),
    "totals": lambda ledger, member: ledger.totals(),
    "seals.after": lambda ledger, member: list(ledger.seals.after(0)),
    "seals.hash_of": lambda ledger, member: ledger.seals.hash_of(1),
    "seals.last": lambda ledger, member: ledger.seals.last(),
    "usage.span": lambda ledger, member: ledger.usage.span(member.member_id, 0, 1 << 42, "UTC"),
    "vouchers.batches": lambda ledger, member: ledger.vouchers.batches(),
    "wallet_stamps": lambda ledger, member: ledger.wallet_stamps([member.member_id]),
    "wallet_view": lambda ledger, member: ledger.wallet_view(member.member_id),
}
NO_OPERATION = {"close", "now_ms"}
METHODS = sorted({operation.method for operation in OPERATIONS})

#: A content equal to the one before proves the repeat as well; some are repeated all the same.
REPEAT_EVERY = 11


class Bench:
    """An operation on its own database, put back to where it was as often as needed."""

    def __init__(self, world, act, *, in_steps=False):
        self.world = world
        self.in_steps = in_steps
        self.act = act
        self.contents = Contents(world.url)
        self.injector = Injector()
        self.half_done = []
        self.lost_answers = 0  # failures after which the operation turned out to be done

    def measure(self):
        """Run the operation undisturbed; learn its points and what it comes to."""
        self.contents.keep()
        self.before = self.contents.dump()
        with self.injector.run():
            self.answer = masked(self.act(self.world.ledger))
        self.points = self.injector.points
        self.after = self.contents.masked()
        assert self.contents.dump() != self.before, "the operation writes nothing"
        assert self.world.ledger.audit() == ()
        self.contents.restore()
        assert self.contents.dump() == self.before

    def fail(self, index, *, repeat, answers_again, anew=False):
        """Fail at a point; note where the books are neither as before nor as after."""
        what, when = self.points[index]
        with pytest.raises(DatabaseProblem), self.injector.run(fail_at=index):
            self.act(self.world.ledger)
        found = self.contents.dump()
        committed = found != self.before
        self.lost_answers += committed
        if committed and not self.in_steps and self.contents.masked() != self.after:
            self.half_done.append(f"{when} {what}")
        if committed and anew:
            self.contents.restore()
            return
        if not (repeat or committed):
            return
        answer = masked(self.act(self.world.ledger))
        if self.contents.masked() != self.after:
            self.half_done.append(f"repeated after a failure {when} {what}")
        if answers_again or not committed:
            assert answer == self.answer
        assert self.world.ledger.audit() == ()
        self.contents.restore()


@contextmanager
def bench(world, prepare, monkeypatch, *, in_steps=False):
    made = Bench(world, prepare(world), in_steps=in_steps)
    with made.injector.installed(monkeypatch):
        try:
            made.measure()
            yield made
        finally:
            made.contents.close()


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("method", METHODS)
def test_each_failure_leaves_all_or_nothing(method, new_world, monkeypatch, thorough, figure):
    points = half_done = 0
    forms = [operation for operation in OPERATIONS if operation.method == method]
    for operation in forms:
        steps = {"in_steps": operation.in_steps}
        with bench(new_world(), operation.prepare, monkeypatch, **steps) as made:
            for index in range(len(made.points)):
                repeat = thorough or index % REPEAT_EVERY == 0
                made.fail(
                    index,
                    repeat=repeat,
                    answers_again=operation.answers_again,
                    anew=operation.anew,
                )
            assert made.half_done == [], operation
            once = not (operation.goes_on or operation.in_steps)
            assert made.lost_answers == 1 or not once, operation
            points += len(made.points)
            half_done += len(made.half_done)
    figure(
        f"failures at every statement of {method} ({len(forms)} forms), {new_world.database}",
        f"{points} points, {half_done} half-done",
    )


def two_transactions(world):
    """A naive operation: it freezes and credits, each in a transaction of its own."""
    member, *_ = running(world)

    def act(ledger):
        ledger.set_frozen(member.member_id, frozen=True, actor="admin", reason="because")
        return giving(member, 5, "topup")(ledger)

    return act


def without_a_key(world):
    """A naive operation: each call books anew, so who got no answer books twice."""
    member, _ = world.join()
    return lambda ledger: (world.give(member, 5), None)[1]


@pytest.mark.parametrize(
    ("naive", "caught"), [(two_transactions, "before"), (without_a_key, "repeated")]
)
def test_control_naive_operations_are_caught(world, naive, caught, monkeypatch):
    with bench(world, naive, monkeypatch) as made:
        for index in range(len(made.points)):
            made.fail(index, repeat=False, answers_again=False)
        assert any(text.startswith(caught) for text in made.half_done)


def test_no_operation_was_forgotten(figure):
    public = {
        f"{prefix}{name}"
        for prefix, part in PARTS.items()
        for name, _ in inspect.getmembers(part, inspect.isfunction)
        if not name.startswith("_")
    }
    assert public == {*METHODS, *READS, *NO_OPERATION}
    assert not set(METHODS) & set(READS)
    figure("methods of Ledger that write, all under injected failures", len(METHODS))


def test_what_counts_as_a_read_writes_nothing(world, monkeypatch):
    member, *_ = running(world)
    order(world, member)
    world.ledger.seals.make()
    in_team(world)
    world.clock.advance_ms(HOUR_MS)
    injector = Injector()
    with injector.installed(monkeypatch):
        for name, read in READS.items():
            with injector.run():
                read(world.ledger, member)
            statements = [what for what, _ in injector.points]
            words = {word for s in statements for word in s.upper().split()}
            assert not words & {"INSERT", "UPDATE", "DELETE", "IMMEDIATE"}, name
