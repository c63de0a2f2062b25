"""Writing operations of the ledger's parts: payments, vouchers, seals, settings, the outbox.

Orders of an invoice, requests to confirm an address and leases of deliveries move no money and
carry no key: who asks again, asks anew.
"""

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.ledger import LedgerError
from jhub_tokens.ledger.ends import ClusterEnd
from jhub_tokens.ledger.oversight_records import BulkLine
from tests.faults.operations import HOUR_MS, MINUTE_MS, giving, in_team, operation, running
from tests.ledger import test_break_glass as glass
from tests.ledger import test_idle as idle
from tests.ledger.test_finance import DECEMBER_MS
from tests.ledger.test_outbox import Outcome
from tests.ledger.test_payments import Refunded as PaymentRefunded
from tests.ledger.test_payments import event, fee, order, paid
from tests.ledger.test_questions import answer, ask, ran
from tests.ledger.test_refunds import session_of
from tests.ledger.test_self_service import PLANS
from tests.ledger.test_ssh_keys import KEY
from tests.ledger.test_teams import TEAMS
from tests.ledger.test_vouchers import make

DAY_MS = 24 * HOUR_MS


# --- refunds and vouchers ---------------------------------------------------------------------


def refunding(world, key):
    session_id = session_of(world, key)["session_id"]
    return lambda ledger: ledger.refund_session(
        session_id,
        amount_grains=None,
        actor="admin",
        reason="the disk had failed",
        caller="test",
        key="refund-key-1",
    )


@operation("refund_session", "that-runs")
def refund_running(world):
    *_, key = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    return refunding(world, key)


@operation("refund_session", "that-ended-in-a-period-gone-by")
def refund_late(world):
    member, _, key = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    world.clock.set_ms(world.ledger.wallet_view(member.member_id).period_end_ms + HOUR_MS)
    world.hub.tell()
    world.ledger.advance_due()
    return refunding(world, key)


@operation("vouchers.make", "batch", answers_again=False)
def make_batch(world):
    def act(ledger):
        # The codes are shown once and are random: what is compared is the batch.
        try:
            return make(world, 3, key="batch-key-1")[0]
        except LedgerError as refusal:
            assert refusal.code == "batch_made"

    return act


@operation("vouchers.redeem", "first")
def redeem(world):
    member, *_ = running(world)
    _, (code,) = make(world)
    return lambda ledger: ledger.vouchers.redeem(member.member_id, code)


@operation("vouchers.revoke", "batch")
def revoke_batch(world):
    batch, _ = make(world, 3)
    return lambda ledger: ledger.vouchers.revoke(batch.batch_id, actor="admin")


# --- administrators ----------------------------------------------------------------------------


@operation("servers.order_stop", "running")
def order_stop(world):
    *_, key = running(world)
    session_id = session_of(world, key)["session_id"]
    return lambda ledger: ledger.servers.order_stop(session_id, actor="boss", reason="too hot")


@operation("oversight.note", "once-an-hour")
def looked_at(world):
    member, _ = world.join()
    return lambda ledger: ledger.oversight.note(
        "looked", "boss", member_id=member.member_id, once_in_ms=HOUR_MS
    )


def begun(ledger, member):
    lines = [BulkLine(member.member_id, amount_grains=3_600_000_000)]
    return ledger.oversight.begin_bulk(
        "topup", lines, actor="boss", reason="for all", caller="boss", key="bulk-key"
    )


@operation("oversight.begin_bulk", "top-up")
def bulk_begins(world):
    member, _ = world.join()
    return lambda ledger: begun(ledger, member)


@operation("oversight.carry_out", "top-up", answers_again=False)
def bulk_line(world):
    member, _ = world.join()
    act_id = begun(world.ledger, member)
    return lambda ledger: ledger.oversight.carry_out(act_id, 1)


# --- questions ---------------------------------------------------------------------------------


@operation("questions.ask", "first")
def ask_question(world):
    member, session_id = ran(world)
    return lambda ledger: ask(world, member, session_id)


@operation("questions.answer", "in-words")
def answer_question(world):
    asked = ask(world, *ran(world))
    return lambda ledger: answer(world, asked)


@operation("questions.answer", "with-a-refund")
def answer_with_refund(world):
    asked = ask(world, *ran(world))
    return lambda ledger: answer(world, asked, refund=True)


# --- payments ---------------------------------------------------------------------------------


@operation("payments.order", "invoice", anew=True)
def invoice(world):
    member, _ = world.join()
    return lambda ledger: order(world, member)


@operation("payments.offer_checkout", "link")
def offer(world):
    member, _ = world.join()
    invoice_id = order(world, member).invoice_id
    return lambda ledger: ledger.payments.offer_checkout(invoice_id, "https://pay.example/1")


@operation("payments.mark_paid", "by-hand")
def paid_by_hand(world):
    member, _ = world.join()
    invoice_id = order(world, member, "manual").invoice_id
    return lambda ledger: ledger.payments.mark_paid(invoice_id, actor="ada", caller="user:ada")


def taking(*facts):
    told = event(*facts, name="evt_1")
    return lambda ledger: ledger.payments.take(told)


@operation("payments.take", "paid", answers_again=False)
def take_paid(world):
    member, *_ = running(world)
    return taking(paid(order(world, member)))


@operation("payments.take", "refunded", answers_again=False)
def take_refunded(world):
    member, *_ = running(world)
    world.ledger.payments.take(event(paid(order(world, member))))
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    return taking(PaymentRefunded("pi_1", 500))


@operation("payments.take", "first-fee", answers_again=False)
def take_fee(world):
    member, _ = world.join()
    return taking(fee("begun", member=member), fee("paid", "in_1"))


@operation("payments.take", "fee-failed", answers_again=False)
def take_failure(world):
    member, _ = world.join()
    world.ledger.payments.take(event(fee("begun", member=member), fee("paid", "in_1")))
    return taking(fee("failed", "in_2"))


@operation("payments.freeze_overdue", "one", answers_again=False, goes_on=True)
def freeze_overdue(world):
    member, *_ = running(world)
    world.ledger.payments.take(event(fee("begun", member=member), fee("paid", "in_1")))
    world.ledger.payments.take(event(fee("failed", "in_2")))
    world.clock.advance_ms(8 * DAY_MS)
    world.hub.tell()
    return lambda ledger: ledger.payments.freeze_overdue()


# --- break-glass ------------------------------------------------------------------------------


@operation("break_glass.take", "runs-and-has-run")
def take_through(world):
    outage = glass.Outage(world)
    for name, key, end in (("lara", "through-1", True), ("rolf", "through-2", False)):
        _, identity = world.join(name)
        glass.run(outage, identity, 30, key=key, end=end)
    told = outage.report()
    return lambda ledger: ledger.break_glass.take(told)


# --- finance ----------------------------------------------------------------------------------


# The repeat finds less to do, and says so.
@operation("directory.sync", "two-are-gone", in_steps=True, answers_again=False)
def sync_directory(world):
    running(world)
    world.join("smith")
    gone = {name: "the account is disabled" for name in ("lara", "smith")}
    return lambda ledger: ledger.directory.sync({}, gone)


@operation("finance.close_month", "first", in_steps=True)
def close_month(world):
    _, _, key = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    world.clock.set_ms(DECEMBER_MS + HOUR_MS)
    world.hub.tell()
    while world.ledger.advance_due().wallets:
        pass
    return lambda ledger: ledger.finance.close_month(
        "2026-11", actor="boss", reason="the month is over"
    )


@operation("finance.erase_member", "who-ran-and-paid")
def erase_member(world):
    member, _, key = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.end(key)
    return lambda ledger: ledger.finance.erase_member(
        member.member_id, actor="boss", reason="they asked for it", write_off=True
    )


# --- seals ------------------------------------------------------------------------------------


@operation("seals.make", "first", answers_again=False)
def seal(world):
    running(world)
    return lambda ledger: ledger.seals.make()


# --- running servers' own matters --------------------------------------------------------------


def reporting(member, busy, active_ms):
    return lambda ledger: ledger.servers.report(member.member_id, "", busy, active_ms)


@operation("servers.report", "first")
def first_report(world):
    member, *_ = running(world)
    return reporting(member, ["kernels"], world.clock.now_ms())


@operation("servers.report", "of-something-else")
def later_report(world):
    member, *_ = running(world)
    reporting(member, ["kernels"], world.clock.now_ms())(world.ledger)
    world.clock.advance_ms(HOUR_MS)
    return reporting(member, ["jobs", "kernels"], world.clock.now_ms())


@operation("servers.keep_running", "two-hours")
def keep_running(world):
    member, *_ = running(world)
    until_ms = world.clock.now_ms() + 2 * HOUR_MS
    return lambda ledger: ledger.servers.keep_running(member.member_id, "", until_ms)


@operation("servers.ask_stop", "first")
def ask_stop(world):
    member, *_ = running(world)
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    return lambda ledger: ledger.servers.ask_stop(member.member_id, "")


def unused(world, minutes):
    """A member with a GPU server that reports, and that nothing has used for so long."""
    world.catalogue = parse_catalogue(idle.IDLE, "idle.yaml")
    member, _, _ = running(world)
    server = idle.Reports(world, member)
    server.use()
    server.pass_time(minutes * MINUTE_MS)
    return member


@operation("servers.report", "after-a-warning")
def report_after_warning(world):
    member = unused(world, 55)
    return reporting(member, ["page"], world.clock.now_ms())


@operation("servers.keep_running", "after-a-warning")
def keep_running_after_warning(world):
    member = unused(world, 55)
    until_ms = world.clock.now_ms() + 2 * HOUR_MS
    return lambda ledger: ledger.servers.keep_running(member.member_id, "", until_ms)


@operation("advance_due", "idle-warning", answers_again=False)
def idle_warning(world):
    unused(world, 50)
    world.clock.advance_ms(MINUTE_MS)
    return lambda ledger: ledger.advance_due()


@operation("advance_due", "idle-stop", answers_again=False)
def idle_stop(world):
    unused(world, 59)
    world.clock.advance_ms(MINUTE_MS)
    return lambda ledger: ledger.advance_due()


@operation("admit", "files-only")
def files_only(world):
    world.catalogue = parse_catalogue(idle.IDLE, "idle.yaml")
    member, _ = world.join()
    world.give(member, -100, kind="adjustment")
    return lambda ledger: ledger.admit(
        member.member_id, server_name="", start_key="start-key-1", profile="files"
    )


# --- settings and the outbox ------------------------------------------------------------------


@operation("member_settings.change", "language")
def change_settings(world):
    member, _ = world.join()
    return lambda ledger: ledger.member_settings.change(
        member.member_id, language="zh", zone=None, channels=("email",), urgency="warning"
    )


@operation("member_settings.ask_email", "first", anew=True)
def ask_email(world):
    member, _ = world.join()
    return lambda ledger: ledger.member_settings.ask_email(member.member_id, "a@example.org")


def confirmed(world):
    member, _ = world.join()
    world.ledger.member_settings.ask_email(member.member_id, "a@example.org")
    return member, lambda ledger: ledger.member_settings.confirm_email(
        member.member_id, "a@example.org"
    )


@operation("member_settings.confirm_email", "first")
def confirm_email(world):
    return confirmed(world)[1]


@operation("member_settings.remove_email", "confirmed")
def remove_email(world):
    member, confirm = confirmed(world)
    confirm(world.ledger)
    return lambda ledger: ledger.member_settings.remove_email(member.member_id)


@operation("ssh_keys.add", "first")
def add_key(world):
    member, _ = world.join()
    return lambda ledger: ledger.ssh_keys.add(member.member_id, KEY, "laptop")


@operation("ssh_keys.remove", "the-one")
def remove_key(world):
    member, _ = world.join()
    key_id = world.ledger.ssh_keys.add(member.member_id, KEY, "laptop").key_id
    return lambda ledger: ledger.ssh_keys.remove(member.member_id, key_id)


# --- members' own choices, and teams -----------------------------------------------------------


def choosing(world, act, plan):
    world.catalogue = parse_catalogue(PLANS.replace("SELF", "upgrade, trial, pause"), "plans.yaml")
    member, identity = world.join()
    world.hub.run(member, identity, "cpu")
    world.clock.advance_ms(HOUR_MS)
    world.hub.tell()
    return lambda ledger: ledger.self_service.choose(
        member.member_id, act, plan, actor="lara", key="key-of-form-1"
    )


@operation("self_service.choose", "upgrade")
def choose_upgrade(world):
    return choosing(world, "upgrade", "pro")


@operation("self_service.choose", "upgrade-that-waits")
def choose_later(world):
    return choosing(world, "upgrade", "late")


@operation("self_service.choose", "trial")
def choose_trial(world):
    return choosing(world, "trial", "pro")


@operation("teams.ensure", "first")
def ensure_team(world):
    world.catalogue = parse_catalogue(TEAMS, "teams.yaml")
    return lambda ledger: ledger.teams.ensure("physics")


def inviting(world):
    owner, _ = in_team(world)
    guest, identity = world.join("mia")
    invite = lambda ledger: ledger.teams.invite("physics", "mia", owner.member_id)  # noqa: E731
    return guest, identity, invite


@operation("teams.invite", "first")
def invite(world):
    return inviting(world)[2]


@operation("teams.withdraw", "waiting")
def withdraw(world):
    *_, invite = inviting(world)
    invitation_id = invite(world.ledger).invitation_id
    return lambda ledger: ledger.teams.withdraw("physics", invitation_id)


def answering(world, *, accept):
    guest, identity, invite = inviting(world)
    invitation_id = invite(world.ledger).invitation_id
    act = lambda ledger: ledger.teams.answer(  # noqa: E731
        guest.member_id, invitation_id, accept=accept
    )
    return guest, identity, act


@operation("teams.answer", "accept")
def accept(world):
    return answering(world, accept=True)[2]


@operation("teams.answer", "decline")
def decline(world):
    return answering(world, accept=False)[2]


@operation("teams.remove", "whose-server-runs")
def remove_guest(world):
    guest, identity, act = answering(world, accept=True)
    act(world.ledger)
    key = world.hub.start(guest, identity, "gpu", payer="physics")
    world.hub.ready(key)
    return lambda ledger: ledger.teams.remove("physics", guest.member_id)


def credited(world):
    member, _ = world.join()
    giving(member, 5, "topup")(world.ledger)
    return lambda ledger: ledger.outbox.route(email=False, webhooks=["webhook"])


@operation("outbox.route", "to-a-webhook", answers_again=False)
def route(world):
    return credited(world)


@operation("outbox.claim", "one", anew=True)
def claim(world):
    credited(world)(world.ledger)
    return lambda ledger: ledger.outbox.claim(lease_ms=60_000)


@operation("outbox.settle", "sent")
def settle(world):
    credited(world)(world.ledger)
    (delivery,) = world.ledger.outbox.claim(lease_ms=60_000)
    return lambda ledger: ledger.outbox.settle([Outcome(delivery, "sent")])


# --- what the cluster tells -------------------------------------------------------------------


def cluster_ended(world, key, ended_ms, reason="oom"):
    end = ClusterEnd(session_of(world, key)["session_id"], ended_ms, reason)
    return lambda ledger: ledger.cluster.end([end])


@operation("cluster.end", "first", answers_again=False)
def cluster_first(world):
    *_, key = running(world)
    world.clock.advance_ms(HOUR_MS)
    return cluster_ended(world, key, world.clock.now_ms())


@operation("cluster.end", "after-the-hub-posts-a-return", answers_again=False)
def cluster_after_the_hub(world):
    *_, key = running(world)
    world.clock.advance_ms(2 * HOUR_MS)
    world.hub.end(key)
    return cluster_ended(world, key, world.clock.now_ms() - HOUR_MS)


@operation("cluster.end", "of-a-lost-one-charges-more", answers_again=False)
def cluster_of_a_lost_one(world):
    *_, key = running(world)
    world.hub.tell()
    world.clock.advance_ms(2 * HOUR_MS)
    world.hub.vanish(key)
    world.hub.tell()
    return cluster_ended(world, key, world.clock.now_ms() - HOUR_MS, "deleted")


@operation("cluster.end", "waits-for-the-hub", answers_again=False)
def cluster_waits(world):
    member, identity = world.join()
    key = world.hub.start(member, identity)
    return cluster_ended(world, key, world.clock.now_ms())
