"""One act on many members: written down whole first, then carried out one member at a time.

The list is written in one transaction under the caller's key, so that what was confirmed is what
is done, and a form that is sent twice is one act. Each line is then a transaction of its own,
with the note of what became of it: whatever breaks off in between, the lines that are done are
done once, those that wait can be gone on with, and a line that is refused stops no other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from jhub_tokens import i18n
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.credits import grant
from jhub_tokens.ledger.membership import set_frozen
from jhub_tokens.ledger.oversight_records import Action, BulkAct, BulkItem, BulkLine
from jhub_tokens.ledger.plans import change_plan
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.refunds import refund_session
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.ledger.servers import order_stop

__all__ = ["LINES_MAX", "begin", "carry_out", "read_act", "waiting_lines"]

#: Members of one act at most.
LINES_MAX = 2000
_acts, _items, _s = schema.bulk_acts, schema.bulk_items, schema.sessions


def begin(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    action: Action,
    lines: Sequence[BulkLine],
    actor: str,
    reason: str,
    caller: str,
    key: str,
) -> str:
    """Write an act down; see `OversightBooks.begin_bulk`."""
    _check(connection, catalogue, action, lines)
    request = [action, reason, [list(astuple(line)) for line in lines]]
    digest = hashlib.sha256(json.dumps(request).encode()).hexdigest()
    known = _known(connection, caller, key, digest)
    if known is not None:
        return known
    act_id = new_id()
    row = {
        "act_id": act_id,
        "caller": caller,
        "key": key,
        "request_hash": digest,
        "actor": actor,
        "action": action,
        "reason": reason,
        "members": len(lines),
        "made_ms": now_ms,
    }
    try:
        with connection.begin_nested():
            connection.execute(insert(_acts), row)
    except IntegrityError:  # the same form, at the same time
        known = _known(connection, caller, key, digest)
        assert known is not None, "somebody else has just written it"
        return known
    items = [
        {
            "act_id": act_id,
            "line": number,
            "member_id": line.member_id,
            "amount_grains": line.amount_grains,
            "plan": line.plan,
            "starts": line.when,
            "from_ms": line.from_ms,
            "to_ms": line.to_ms,
        }
        for number, line in enumerate(lines, start=1)
    ]
    connection.execute(insert(_items), items)
    return act_id


def _known(connection: Connection, caller: str, key: str, digest: str) -> str | None:
    query = select(_acts).where(_acts.c.caller == caller, _acts.c.key == key)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    if row["request_hash"] != digest:
        message = _("This form was sent before with other content. Begin again with the list.")
        raise LedgerError("idempotency_conflict", message, "key")
    return str(row["act_id"])


def _check(
    connection: Connection, catalogue: Catalogue, action: Action, lines: Sequence[BulkLine]
) -> None:
    if not 1 <= len(lines) <= LINES_MAX:
        message = _(
            "One act is about 1 to %(most)s members; make several of them.", most=f"{LINES_MAX:,}"
        )
        raise LedgerError("bad_count", message, "members")
    wanted = {line.member_id for line in lines}
    if len(wanted) < len(lines):
        raise LedgerError("bad_count", _("A member is named twice."), "members")
    if action == "plan":
        for plan in {line.plan for line in lines}:
            if plan not in catalogue.plans:
                raise LedgerError("unknown_plan", _("There is no such plan."), "plan")
    members = schema.members
    ids, known = sorted(wanted), 0
    for first in range(0, len(ids), 500):
        some = members.c.member_id.in_(ids[first : first + 500])
        known += connection.execute(select(func.count()).where(some)).scalar_one()
    if known < len(wanted):
        raise LedgerError("unknown_member", _("One of the members is not there."), "members")


def waiting_lines(
    connection: Connection, catalogue: Catalogue, now_ms: int, act_id: str
) -> tuple[int, ...]:
    """Return the lines of an act that nothing has become of yet."""
    query = select(_items.c.line).where(_items.c.act_id == act_id, _items.c.state == "waiting")
    return tuple(connection.execute(query.order_by(_items.c.line)).scalars())


def carry_out(
    connection: Connection, catalogue: Catalogue, now_ms: int, act_id: str, line: int
) -> bool:
    """Carry out one line; see `OversightBooks.carry_out`."""
    this = (_items.c.act_id == act_id, _items.c.line == line)
    query = select(_items, _acts.c.action, _acts.c.actor, _acts.c.reason, _acts.c.caller)
    query = query.join(_acts, _acts.c.act_id == _items.c.act_id).where(*this)
    row = connection.execute(query.with_for_update(of=_items)).mappings().first()
    if row is None or row["state"] != "waiting":
        return False
    try:
        # What is written down is read by others, each in a language of their own.
        with i18n.speaking(i18n.SOURCE), connection.begin_nested():
            became: dict[str, Any] = {"state": "done", **_do(connection, catalogue, now_ms, row)}
    except LedgerError as refusal:
        became = {"state": "refused", "code": refusal.code, "message": refusal.message}
    connection.execute(update(_items).where(*this).values(done_ms=now_ms, **became))
    return True


def _do(connection: Connection, catalogue: Catalogue, now_ms: int, row: Any) -> dict[str, Any]:
    member_id, actor, reason = row["member_id"], row["actor"], row["reason"]
    match row["action"]:
        case "topup" | "adjustment":
            booked = grant(
                connection, catalogue, now_ms, member_id,
                amount_grains=row["amount_grains"], kind=row["action"], actor=actor, reason=reason,
                caller=row["caller"], key=f"bulk-{row['act_id']}-{row['line']}",
            )  # fmt: skip
            return {
                "moved_grains": booked.amount_grains,
                "balance_grains": booked.balance_grains,
            }
        case "plan":
            change_plan(
                connection, catalogue, now_ms, member_id,
                plan=row["plan"], when=row["starts"], actor=actor, reason=reason,
            )  # fmt: skip
        case "freeze" | "unfreeze":
            set_frozen(
                connection, catalogue, now_ms, member_id,
                frozen=row["action"] == "freeze", actor=actor, reason=reason,
            )  # fmt: skip
        case "stop":
            return {"done": _stop_all(connection, catalogue, now_ms, member_id, actor, reason)}
        case "refund":
            return _refund_span(connection, catalogue, now_ms, row)
    return {}


def _stop_all(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    actor: str,
    reason: str,
) -> int:
    """Order all servers of a member to stop; return how many."""
    runs = select(_s.c.session_id).where(
        _s.c.member_id == member_id, _s.c.settled.is_(False), _s.c.ended_ms.is_(None)
    )
    session_ids = connection.execute(runs.order_by(_s.c.session_id)).scalars().all()
    if not session_ids:
        raise LedgerError("not_running", _("No server of this member runs."))
    for session_id in session_ids:
        order_stop(connection, catalogue, now_ms, session_id, actor=actor, reason=reason)
    return len(session_ids)


def _refund_span(
    connection: Connection, catalogue: Catalogue, now_ms: int, row: Any
) -> dict[str, Any]:
    """Refund what a member's servers used between two instants, as far as it can be."""
    query = select(_s).where(
        _s.c.member_id == row["member_id"],
        _s.c.rate_mtok_h > 0,
        _s.c.ready_ms < row["to_ms"],
        or_(_s.c.ended_ms.is_(None), _s.c.ended_ms > row["from_ms"]),
    )
    moved = sessions = 0
    balance = None
    for session in connection.execute(query.order_by(_s.c.session_id)).mappings().all():
        ended_ms = now_ms if session["ended_ms"] is None else session["ended_ms"]
        span_ms = min(row["to_ms"], ended_ms) - max(row["from_ms"], session["ready_ms"])
        amounts = [session["rate_mtok_h"] * span_ms, None] if span_ms > 0 else []
        for amount in amounts:  # if that is more than can be refunded: all that can be
            try:
                with connection.begin_nested():
                    booked = refund_session(
                        connection, catalogue, now_ms, session["session_id"],
                        amount_grains=amount, actor=row["actor"], reason=row["reason"],
                        caller=row["caller"],
                        key=f"bulk-{row['act_id']}-{row['line']}-{session['session_id']}",
                    )  # fmt: skip
            except LedgerError as refusal:
                if refusal.code == "nothing_to_refund":
                    break
                if refusal.code != "more_than_charged":
                    raise
            else:
                moved += booked.amount_grains
                balance = booked.balance_grains
                sessions += 1
                break
    if not sessions:
        message = _("Nothing that was used in that time can be refunded.")
        raise LedgerError("nothing_to_refund", message)
    return {"done": sessions, "moved_grains": moved, "balance_grains": balance}


# --- reading -----------------------------------------------------------------------------------


def read_act(
    connection: Connection, catalogue: Catalogue, now_ms: int, act_id: str, limit: int
) -> BulkAct | None:
    """Return an act with its lines, what was refused and what waits first."""
    query = select(_acts).where(_acts.c.act_id == act_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    of_act = _items.c.act_id == act_id
    counted = select(_items.c.state, func.count()).where(of_act).group_by(_items.c.state)
    counts = {state: count for state, count in connection.execute(counted)}
    members = schema.members
    listed = (
        select(_items, members.c.name)
        .join(members, members.c.member_id == _items.c.member_id)
        .where(of_act)
        .order_by(_items.c.state.desc(), _items.c.line)
        .limit(limit + 1)
    )
    items = connection.execute(listed).mappings().all()
    return BulkAct(
        act_id,
        row["actor"],
        row["action"],
        row["reason"],
        row["members"],
        row["made_ms"],
        counts.get("waiting", 0),
        counts.get("done", 0),
        counts.get("refused", 0),
        tuple(
            BulkItem(
                item["line"],
                item["member_id"],
                item["name"],
                item["amount_grains"],
                item["plan"],
                item["starts"],
                item["from_ms"],
                item["to_ms"],
                item["state"],
                item["code"],
                item["message"],
                item["done"],
                item["moved_grains"],
                item["balance_grains"],
            )
            for item in items[:limit]
        ),
        len(items) > limit,
    )
