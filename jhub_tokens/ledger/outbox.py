"""The outbox: notices on their way to members by e-mail and webhook, each at least once.

A notice is written in the transaction of its cause and nothing else happens there. Afterwards it
is *routed*: the outbox reads what its member has chosen and writes one delivery for each channel.
A worker *claims* deliveries that are due, which nobody else gets while the lease lasts, sends
them outside any transaction, and *settles* what became of them. Whoever dies in between leaves
a lease that ends, and the delivery is sent again under the same id.

No operation here touches a wallet, so none waits for a wallet's lock or holds one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, bindparam, exists, func, insert, select, update

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.notices import notice_record
from jhub_tokens.ledger.records import URGENCIES, NoticeRecord, Urgency
from jhub_tokens.ledger.rows import Row
from jhub_tokens.ledger.runner import Runner

__all__ = ["EMAIL", "Delivery", "Outbox", "OutboxState", "Outcome"]

#: The channel of e-mail; those of webhooks are named by the operator's settings.
EMAIL = "email"
#: A channel that begins to exist does not begin with what was said long ago.
STALE_MS = 24 * 3_600_000

_RANKS: dict[Urgency, int] = {"info": 0, "warning": 1, "danger": 2}
_notices, _settings = schema.notices, schema.member_settings
_deliveries, _members = schema.deliveries, schema.members


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice that is to be sent by one channel, leased to whoever holds this.

    Parameters
    ----------
    notice
        What is to be said, in whose language and zone.
    channel
        By which channel.
    attempts
        Which attempt this is, from 1.
    lease_until_ms
        Until when nobody else sends it.
    member_name
        The hub user's name.
    email
        The member's confirmed address, None if there is none (any more).
    """

    notice: NoticeRecord
    channel: str
    attempts: int
    lease_until_ms: int
    member_name: str
    email: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery: sent, to be tried again from an instant on, or given up."""

    delivery: Delivery
    state: Literal["sent", "waiting", "failed"]
    next_try_ms: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class OutboxState:
    """What there is to do: whether notices wait to be routed, and which deliveries wait."""

    unrouted: bool
    waiting: int
    next_try_ms: int | None


class Outbox:
    """The outbox's operations; every method is one transaction and blocks on the database.

    Parameters
    ----------
    runner
        Runs operations on the books.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def state(self) -> OutboxState:
        """Return what there is to do."""
        return self._runner.read(state)

    def route(self, *, email: bool, webhooks: Sequence[str] = (), limit: int = 500) -> int:
        """Give new notices their deliveries; return how many notices were looked at.

        `email` tells whether e-mail can be sent at all, `webhooks` are the channels that get
        everything.
        """
        return self._runner.write(route, email=email, webhooks=webhooks, limit=limit)

    def claim(self, *, lease_ms: int, limit: int = 20) -> tuple[Delivery, ...]:
        """Take deliveries that are due; nobody else gets them for `lease_ms`."""
        return self._runner.write(claim, lease_ms=lease_ms, limit=limit)

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Write down what became of claimed deliveries."""
        self._runner.write(settle, tuple(outcomes))


def state(connection: Connection, catalogue: Catalogue, now_ms: int) -> OutboxState:
    """Return what there is to do; see `Outbox.state`."""
    unrouted = connection.execute(select(exists().where(_notices.c.routed_ms.is_(None)))).scalar()
    waiting = select(func.count(), func.min(_deliveries.c.next_try_ms)).where(
        _deliveries.c.state == "waiting"
    )
    count, next_try_ms = connection.execute(waiting).one()
    return OutboxState(bool(unrouted), count, next_try_ms)


def route(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    *,
    email: bool,
    webhooks: Sequence[str],
    limit: int,
) -> int:
    """Give new notices their deliveries; see `Outbox.route`."""
    query = (
        select(_notices.c.notice_id, _notices.c.member_id, _notices.c.kind, _notices.c.created_ms)
        .where(_notices.c.routed_ms.is_(None))
        .order_by(_notices.c.created_ms)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(query).mappings().all()
    fresh = [row for row in rows if row["created_ms"] > now_ms - STALE_MS]
    wanted = _least_urgency(connection, {row["member_id"] for row in fresh}) if email else {}
    new: list[Row] = []
    for row in fresh:
        channels = list(webhooks)
        rank = _RANKS[URGENCIES.get(row["kind"], "info")]
        if rank >= wanted.get(row["member_id"], len(_RANKS)):
            channels.append(EMAIL)
        new += [
            {
                "notice_id": row["notice_id"],
                "channel": channel,
                "state": "waiting",
                "next_try_ms": now_ms,
            }
            for channel in channels
        ]
    if new:
        connection.execute(insert(_deliveries), new)
    if rows:
        looked_at = _notices.c.notice_id.in_([row["notice_id"] for row in rows])
        connection.execute(update(_notices).where(looked_at).values(routed_ms=now_ms))
    return len(rows)


def _least_urgency(connection: Connection, member_ids: set[str]) -> dict[str, int]:
    """Return the rank of what is sent by e-mail, for those members who get any."""
    if not member_ids:
        return {}
    query = select(_settings.c.member_id, _settings.c.urgency, _settings.c.channels).where(
        _settings.c.member_id.in_(member_ids), _settings.c.email_confirmed_ms.is_not(None)
    )
    return {
        row["member_id"]: _RANKS[row["urgency"]]
        for row in connection.execute(query).mappings()
        if EMAIL in row["channels"]
    }


_CLAIM = (
    update(_deliveries)
    .where(
        _deliveries.c.notice_id == bindparam("of_notice"),
        _deliveries.c.channel == bindparam("by_channel"),
    )
    .values(
        attempts=_deliveries.c.attempts + 1,
        next_try_ms=bindparam("until_ms"),
        lease_until_ms=bindparam("until_ms"),
    )
)


def claim(
    connection: Connection, catalogue: Catalogue, now_ms: int, *, lease_ms: int, limit: int
) -> tuple[Delivery, ...]:
    """Take deliveries that are due; see `Outbox.claim`."""
    due = (
        select(_deliveries.c.notice_id, _deliveries.c.channel)
        .where(_deliveries.c.state == "waiting", _deliveries.c.next_try_ms <= now_ms)
        .order_by(_deliveries.c.next_try_ms)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = [tuple(row) for row in connection.execute(due)]
    if not taken:
        return ()
    until_ms = now_ms + lease_ms
    connection.execute(
        _CLAIM,
        [
            {"of_notice": notice_id, "by_channel": channel, "until_ms": until_ms}
            for notice_id, channel in taken
        ],
    )
    found = _read(connection, {notice_id for notice_id, _ in taken}, until_ms)
    return tuple(found[key] for key in taken)


def _read(
    connection: Connection, notice_ids: set[str], until_ms: int
) -> dict[tuple[str, str], Delivery]:
    """Return deliveries of some notices, by notice and channel."""
    query = (
        select(
            _deliveries.c.channel,
            _deliveries.c.attempts,
            _members.c.name,
            _settings.c.email,
            _settings.c.email_confirmed_ms,
            _settings.c.language,
            _settings.c.zone,
            _notices,
        )
        .join(_notices, _notices.c.notice_id == _deliveries.c.notice_id)
        .join(_members, _members.c.member_id == _notices.c.member_id)
        .outerjoin(_settings, _settings.c.member_id == _notices.c.member_id)
        .where(_deliveries.c.notice_id.in_(notice_ids))
    )
    return {
        (row["notice_id"], row["channel"]): Delivery(
            notice_record(row),
            row["channel"],
            row["attempts"],
            until_ms,
            row["name"],
            row["email"] if row["email_confirmed_ms"] is not None else None,
        )
        for row in connection.execute(query).mappings()
    }


#: What was sent was sent, whoever has the lease by now.
_SENT = (
    update(_deliveries)
    .where(
        _deliveries.c.notice_id == bindparam("of_notice"),
        _deliveries.c.channel == bindparam("by_channel"),
        _deliveries.c.state == "waiting",
    )
    .values(
        state=bindparam("new_state"),
        done_ms=bindparam("at_ms"),
        last_error=bindparam("error"),
        lease_until_ms=None,
    )
)
#: A failure counts for the lease under which it happened only: a later one may be under way.
_NOT_SENT = _SENT.where(_deliveries.c.lease_until_ms == bindparam("lease_ms")).values(
    next_try_ms=bindparam("then_ms")
)


def settle(
    connection: Connection, catalogue: Catalogue, now_ms: int, outcomes: Sequence[Outcome]
) -> None:
    """Write down what became of claimed deliveries; see `Outbox.settle`."""
    sent, others = [], []
    for outcome in outcomes:
        values: Row = {
            "of_notice": outcome.delivery.notice.notice_id,
            "by_channel": outcome.delivery.channel,
            "new_state": outcome.state,
            "at_ms": None if outcome.state == "waiting" else now_ms,
            "error": outcome.error,
        }
        if outcome.state == "sent":
            sent.append(values)
        else:
            lease_ms = outcome.delivery.lease_until_ms
            others.append({**values, "lease_ms": lease_ms, "then_ms": outcome.next_try_ms})
    if sent:
        connection.execute(_SENT, sent)
    if others:
        connection.execute(_NOT_SENT, others)
