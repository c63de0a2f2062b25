"""Erasing a member's personal data: who it was is forgotten, what was booked stays.

Transactions and entries hold opaque ids only, so nothing that hashes, sums or reports depend on
is touched: an audit is as clean and a report the same before and after. `personal` says of every
column of text what becomes of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, cast, delete, insert, or_, select, update

from jhub_tokens.catalogue import Catalogue, Plan
from jhub_tokens.i18n import _, ngettext
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.credits import check_reason
from jhub_tokens.ledger.finance_records import Erasure
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.ledger.subscriptions import ERASED_PLAN, terms_of
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.units import format_tokens

__all__ = ["erase_member", "erasures"]

_members, _sessions, _invoices = schema.members, schema.sessions, schema.invoices
_BOUGHT = ("topup", "voucher")


def erasures(connection: Connection, catalogue: Catalogue, now_ms: int) -> tuple[Erasure, ...]:
    """Return the erasures, the latest first."""
    table = schema.erasures
    query = select(table).order_by(table.c.erased_ms.desc(), table.c.erasure_id)
    return tuple(_record(row) for row in connection.execute(query).mappings())


def _record(row: Any) -> Erasure:
    return Erasure(row["member_id"], row["erased_ms"], row["actor"], row["reason"])


def erase_member(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    *,
    actor: str,
    reason: str,
    write_off: bool,
) -> Erasure:
    """Erase a member's personal data; see `FinanceBooks.erase_member`."""
    check_reason(reason)
    wallet = load_wallet(connection, catalogue, now_ms, member_id)
    table = schema.erasures
    done = (
        connection.execute(select(table).where(table.c.member_id == member_id)).mappings().first()
    )
    if done is not None:
        return _record(done)
    _refuse_running(connection, member_id)
    wallet.advance()
    _refuse_bought(wallet)
    _refuse_fees(connection, member_id)
    if not write_off:
        _refuse_owing(connection, wallet, member_id)
    if connection.dialect.name == "sqlite":
        # Otherwise what is deleted stays readable in the file until its page is used again.
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
    close_wallet(wallet, catalogue)
    _end_subscription(wallet, now_ms)
    _forget(connection, wallet, member_id, now_ms)
    row = {
        "erasure_id": new_id(),
        "member_id": member_id,
        "erased_ms": now_ms,
        "actor": actor,
        "reason": reason.strip(),
    }
    connection.execute(insert(table), row)
    return _record(row)


# --- what stands against it --------------------------------------------------------------------


def _refuse_running(connection: Connection, member_id: str) -> None:
    """Refuse while servers run, whoever pays for them."""
    running = select(_sessions.c.session_id).where(
        _sessions.c.member_id == member_id, _sessions.c.settled.is_(False)
    )
    count = len(connection.execute(running).all())
    if count:
        message = ngettext(
            "A server of this member runs or is not booked to its end. Stop it, wait until the "
            "hub has reported that, and try again.",
            "%(count)s servers run or are not booked to their end. Stop them, wait until the "
            "hub has reported that, and try again.",
            count,
        )
        raise LedgerError("servers_run", message, "member_id")


def _refuse_bought(wallet: OpenWallet) -> None:
    left = sum(g["remaining_grains"] for g in wallet.grants.values() if g["source"] in _BOUGHT)
    if left:
        raise LedgerError(
            "tokens_bought",
            _(
                "The member has %(left)s tokens left that were bought. Pay them back if they are "
                "owed, take the balance back with a correction, and try again.",
                left=format_tokens(left, 3),
            ),
            "member_id",
        )


def _refuse_fees(connection: Connection, member_id: str) -> None:
    accounts = schema.payment_accounts
    running = select(accounts.c.provider).where(
        accounts.c.member_id == member_id, accounts.c.ended_ms.is_(None)
    )
    provider = connection.execute(running.limit(1)).scalar()
    if provider is not None:
        raise LedgerError(
            "fees_run",
            _(
                "The member pays a plan's fee through %(provider)s. End that subscription at "
                "%(provider)s, and try again when it has told so.",
                provider=provider,
            ),
            "member_id",
        )


def _refuse_owing(connection: Connection, wallet: OpenWallet, member_id: str) -> None:
    """Refuse while there is anything to be paid or given back by the member."""
    unpaid = select(_invoices.c.invoice_id).where(_unpaid(member_id))
    missing = select(_invoices.c.missing_grains).where(
        _invoices.c.member_id == member_id, _invoices.c.missing_grains > 0
    )
    owed = sum(connection.execute(missing).scalars()) + int(wallet.row["debt_grains"])
    count = len(connection.execute(unpaid).all())
    owes = []
    if count:
        owes.append(ngettext("%(count)s unpaid invoice", "%(count)s unpaid invoices", count))
    if owed:
        owes.append(_("%(tokens)s tokens", tokens=format_tokens(owed, 3)))
    if owes:
        what = _("%(one)s and %(other)s", one=owes[0], other=owes[1]) if owes[1:] else owes[0]
        raise LedgerError(
            "owes",
            _(
                "The member owes %(what)s. Have it settled, or write it off with this request.",
                what=what,
            ),
            "write_off",
        )


def _unpaid(member_id: str) -> Any:
    return (
        (_invoices.c.member_id == member_id)
        & _invoices.c.paid_ms.is_(None)
        & _invoices.c.voided_ms.is_(None)
    )


# --- forgetting --------------------------------------------------------------------------------


def _end_subscription(wallet: OpenWallet, now_ms: int) -> None:
    """Let periods go on with nothing in them: what is left of the present one lapses with it."""
    changes, subscriptions = schema.plan_changes, schema.subscriptions
    subscription_id = wallet.subscription["subscription_id"]
    waiting = update(changes).where(
        changes.c.subscription_id == subscription_id,
        changes.c.applied_ms.is_(None),
        changes.c.revoked_ms.is_(None),
    )
    wallet.connection.execute(waiting.values(revoked_ms=now_ms))
    nothing = Plan(name=ERASED_PLAN, title="Erased", allotment_mtok=0)
    wallet.connection.execute(
        update(subscriptions)
        .where(subscriptions.c.subscription_id == subscription_id)
        .values(
            plan=ERASED_PLAN,
            terms=terms_of(nothing, wallet.subscription),
            next_plan=None,
            trial_plan=None,
            trial_until_ms=None,
            pinned=True,
            cost_centre=None,
        )
    )


def _forget(connection: Connection, wallet: OpenWallet, member_id: str, now_ms: int) -> None:
    member = _members.c.member_id == member_id
    name = connection.execute(select(_members.c.name).where(member)).scalar_one()
    mine = select(_sessions.c.session_id).where(_sessions.c.member_id == member_id)
    servers = select(_sessions.c.server_name).where(_sessions.c.member_id == member_id)
    told = {name, *connection.execute(servers.distinct()).scalars()} - {""}
    _forget_notices(connection, member_id, told)
    for table in (
        schema.member_facts,
        schema.member_settings,
        schema.ssh_keys,
        schema.voucher_tries,
    ):
        connection.execute(delete(table).where(table.c.member_id == member_id))
    reports = schema.server_reports
    connection.execute(delete(reports).where(reports.c.session_id.in_(mine)))
    _forget_remarks(connection, wallet.wallet_id, mine, now_ms)
    _forget_keys(connection, wallet.wallet_id, mine)
    said, done = schema.admin_act_remarks, schema.admin_acts
    about = select(done.c.act_id).where(done.c.member_id == member_id)
    connection.execute(update(said).where(said.c.act_id.in_(about)).values(reason=""))
    changes, orders = schema.plan_changes, schema.stop_orders
    of_mine = changes.c.subscription_id == wallet.subscription["subscription_id"]
    connection.execute(update(changes).where(of_mine).values(actor="", reason=""))
    connection.execute(update(orders).where(orders.c.session_id.in_(mine)).values(detail=None))
    connection.execute(
        update(_sessions)
        .where(_sessions.c.member_id == member_id)
        .values(server_name="", hub_started=None)
    )
    connection.execute(update(_invoices).where(_unpaid(member_id)).values(voided_ms=now_ms))
    connection.execute(
        update(_invoices)
        .where(_invoices.c.member_id == member_id)
        .values(actor="", checkout_url="")
    )
    _forget_questions(connection, member_id)
    teams = schema.team_members
    connection.execute(
        update(teams)
        .where(teams.c.member_id == member_id, teams.c.left_ms.is_(None))
        .values(left_ms=now_ms)
    )
    connection.execute(update(teams).where(teams.c.member_id == member_id).values(invited=False))
    invitations = schema.team_invitations
    connection.execute(
        update(invitations)
        .where(
            or_(invitations.c.member_id == member_id, invitations.c.invited_by == member_id),
            invitations.c.answered_ms.is_(None),
        )
        .values(answered_ms=now_ms, answer="withdrawn")
    )
    # Whoever signs in with this hub account again is a new member: to know them again, their
    # account would have to be remembered.
    connection.execute(
        update(_members)
        .where(member)
        .values(
            hub_user_id=0,
            hub_created=f"erased {member_id}"[:64],
            name=f"erased-{member_id[:12]}",
            holds_name=False,
            state="erased",
            last_used_ms=None,
        )
    )


def _of_member(transaction_id: Any, wallet_id: str, sessions: Any) -> ColumnElement[bool]:
    """Return the condition for a transaction to be the wallet's, or about one of the sessions."""
    t, e = schema.transactions, schema.entries
    booked = select(t.c.transaction_id).where(t.c.wallet_id == wallet_id)
    about = select(e.c.transaction_id).where(e.c.session_id.in_(sessions))
    return or_(transaction_id.in_(booked), transaction_id.in_(about))


def _forget_remarks(connection: Connection, wallet_id: str, sessions: Any, now_ms: int) -> None:
    """Empty what was said; the transaction keeps a salted hash, which nobody can guess from."""
    remarks = schema.remarks
    said = update(remarks).where(_of_member(remarks.c.transaction_id, wallet_id, sessions))
    connection.execute(said.values(actor="", reason="", salt="", erased_ms=now_ms))


def _forget_keys(connection: Connection, wallet_id: str, sessions: Any) -> None:
    """Replace the keys of requests, which callers choose; the answers hold ids and amounts."""
    table = schema.idempotency
    booked = table.c.answer["transaction_id"].as_string()
    query = select(table.c.caller, table.c.key).where(_of_member(booked, wallet_id, sessions))
    for caller, key in connection.execute(query).all():
        this = update(table).where(table.c.caller == caller, table.c.key == key)
        connection.execute(this.values(key=f"erased-{new_id()}"))


def _forget_questions(connection: Connection, member_id: str) -> None:
    """Empty what the member asked and what was answered; that there was a question stays."""
    asked, answers = schema.questions, schema.question_answers
    mine = select(asked.c.question_id).where(asked.c.member_id == member_id)
    connection.execute(update(answers).where(answers.c.question_id.in_(mine)).values(text=""))
    connection.execute(update(asked).where(asked.c.member_id == member_id).values(text=""))


def _forget_notices(connection: Connection, member_id: str, told: Set[str]) -> None:
    """Delete the member's notices, and others' that tell of the member or of their servers."""
    n, d = schema.notices, schema.deliveries
    texts = [cast(n.c.params, Text).contains(json.dumps(word), autoescape=True) for word in told]
    others = select(n.c.notice_id, n.c.params).where(n.c.member_id != member_id, or_(*texts))
    found = (
        [
            row.notice_id
            for row in connection.execute(others)
            if not told.isdisjoint(_values(row.params))
        ]
        if texts
        else []
    )
    of_member = select(n.c.notice_id).where(n.c.member_id == member_id)
    for which in (of_member, found):
        connection.execute(delete(d).where(d.c.notice_id.in_(which)))
        connection.execute(delete(n).where(n.c.notice_id.in_(which)))


def _values(value: Any) -> Iterator[Any]:
    """Yield every text in a notice's parameters."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _values(part)
    elif isinstance(value, list):
        for part in value:
            yield from _values(part)
