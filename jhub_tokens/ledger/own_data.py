"""Everything the books hold about one person, for that person to take along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Select, or_, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.rows import Row

__all__ = ["LEFT_OUT", "TAKEN_ALONG", "own_data"]

#: Tables that may hold something personal and are not taken along, with the reason.
LEFT_OUT: Mapping[str, str] = {
    "idempotency": "keys of requests: what they did stands in the tables that they changed",
    "voucher_tries": "wrong codes tried within the last hour: their instants only",
}

_Members = Select[tuple[str]]
_Rows = Callable[[str], Select[Any]]


def _of(table: Any) -> _Rows:
    """Return the rows of a table that name their member."""
    return lambda member_id: select(table).where(table.c.member_id == member_id)


def _wallet(member_id: str) -> _Members:
    wallets = schema.wallets
    return select(wallets.c.wallet_id).where(wallets.c.member_id == member_id)


def _sessions(member_id: str) -> _Members:
    sessions = schema.sessions
    return select(sessions.c.session_id).where(sessions.c.member_id == member_id)


def _subscription(member_id: str) -> _Members:
    table = schema.subscriptions
    return select(table.c.subscription_id).where(table.c.member_id == member_id)


def _booked(member_id: str) -> _Members:
    """Return the transactions of the member's wallet, and what a team's wallet paid for them."""
    t, e = schema.transactions, schema.entries
    about = select(e.c.transaction_id).where(e.c.session_id.in_(_sessions(member_id)))
    own = t.c.wallet_id.in_(_wallet(member_id))
    return select(t.c.transaction_id).where(or_(own, t.c.transaction_id.in_(about)))


def _in_wallet(table: Any) -> _Rows:
    return lambda member_id: select(table).where(table.c.wallet_id.in_(_wallet(member_id)))


def _of_sessions(table: Any) -> _Rows:
    return lambda member_id: select(table).where(table.c.session_id.in_(_sessions(member_id)))


def _of_booked(table: Any) -> _Rows:
    return lambda member_id: select(table).where(table.c.transaction_id.in_(_booked(member_id)))


def _entries(member_id: str) -> Select[Any]:
    """Return the entries of the member's transactions; of a team's, those about the member."""
    e = schema.entries
    mine = or_(
        e.c.session_id.in_(_sessions(member_id)),
        e.c.transaction_id.in_(
            select(schema.transactions.c.transaction_id).where(
                schema.transactions.c.wallet_id.in_(_wallet(member_id))
            )
        ),
    )
    return select(e).where(mine)


def _plan_changes(member_id: str) -> Select[Any]:
    table = schema.plan_changes
    return select(table).where(table.c.subscription_id.in_(_subscription(member_id)))


def _deliveries(member_id: str) -> Select[Any]:
    n, d = schema.notices, schema.deliveries
    mine = select(n.c.notice_id).where(n.c.member_id == member_id)
    return select(d).where(d.c.notice_id.in_(mine))


def _answers(member_id: str) -> Select[Any]:
    asked, answers = schema.questions, schema.question_answers
    mine = select(asked.c.question_id).where(asked.c.member_id == member_id)
    return select(answers).where(answers.c.question_id.in_(mine))


def _act_remarks(member_id: str) -> Select[Any]:
    acts, remarks = schema.admin_acts, schema.admin_act_remarks
    about = select(acts.c.act_id).where(acts.c.member_id == member_id)
    return select(remarks).where(remarks.c.act_id.in_(about))


#: The tables that are taken along, with the rows of each.
TAKEN_ALONG: Mapping[str, _Rows] = {
    "members": _of(schema.members),
    "member_settings": _of(schema.member_settings),
    "member_facts": _of(schema.member_facts),
    "ssh_keys": _of(schema.ssh_keys),
    "notices": _of(schema.notices),
    "deliveries": _deliveries,
    "subscriptions": _of(schema.subscriptions),
    "plan_changes": _plan_changes,
    "wallets": _of(schema.wallets),
    "wallet_periods": _in_wallet(schema.wallet_periods),
    "grants": _in_wallet(schema.grants),
    "sessions": _of(schema.sessions),
    "server_reports": _of_sessions(schema.server_reports),
    "stop_orders": _of_sessions(schema.stop_orders),
    "transactions": _of_booked(schema.transactions),
    "remarks": _of_booked(schema.remarks),
    "entries": _entries,
    "invoices": _of(schema.invoices),
    "money_moves": _of(schema.money_moves),
    "payment_accounts": _of(schema.payment_accounts),
    "vouchers": _of(schema.vouchers),
    "questions": _of(schema.questions),
    "question_answers": _answers,
    "admin_acts": _of(schema.admin_acts),
    "admin_act_remarks": _act_remarks,
    "team_members": _of(schema.team_members),
    "team_invitations": _of(schema.team_invitations),
}
#: What hashes are made of: it would let others test guesses about a remark that was erased.
_SECRET = frozenset({"salt"})


def own_data(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> dict[str, list[Row]]:
    """Return the rows about a member, by table; see `Ledger.own_data`."""
    found = {
        name: [
            {column: value for column, value in row.items() if column not in _SECRET}
            for row in connection.execute(rows(member_id)).mappings()
        ]
        for name, rows in TAKEN_ALONG.items()
    }
    if not found["members"]:
        raise LedgerError("unknown_member", _("There is no such member."))
    return found
