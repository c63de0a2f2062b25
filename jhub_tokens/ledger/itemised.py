"""The itemised statement: each session with its segments, the grants it burned, and questions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.questions import Question, questions_about
from jhub_tokens.ledger.reads import project
from jhub_tokens.ledger.records import StatementView
from jhub_tokens.ledger.statements import charges_within, statement, used_within
from jhub_tokens.ledger.wallet import OVERRUN, OpenWallet

__all__ = ["ItemisedStatement", "Segment", "itemised"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A span of one session that one grant paid for."""

    from_ms: int
    to_ms: int
    amount_grains: int
    grant_id: str
    source: str  # of the grant
    expires_ms: int | None  # the grant's
    booked: bool  # False: the session runs, and this is as of now


@dataclass(frozen=True, slots=True)
class ItemisedStatement:
    """A statement with what lies behind its lines, of one instant."""

    view: StatementView
    segments: dict[str, tuple[Segment, ...]]  # by session, in order of time
    questions: dict[str, Question]  # about this period's lines, by session


def itemised(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    from_ms: int,
    to_ms: int,
) -> ItemisedStatement:
    """Return the statement of [`from_ms`, `to_ms`) with its sessions' segments."""
    view = statement(connection, catalogue, now_ms, member_id, from_ms, to_ms)
    wallet = load_wallet(connection, catalogue, now_ms, member_id, lock=False)
    segments: dict[str, list[Segment]] = defaultdict(list)
    for session_id, segment in _booked(connection, wallet.wallet_id, from_ms, to_ms):
        segments[session_id].append(segment)
    for session_id, segment in _projected(wallet, from_ms, to_ms):
        segments[session_id].append(segment)
    return ItemisedStatement(
        view,
        {session_id: tuple(_merged(parts)) for session_id, parts in segments.items()},
        questions_about(connection, member_id, from_ms),
    )


def _booked(
    connection: Connection, wallet_id: str, from_ms: int, to_ms: int
) -> Iterator[tuple[str, Segment]]:
    """Yield what each grant has paid, by session."""
    t, e, g = schema.transactions, schema.entries, schema.grants
    paid = (
        select(
            e.c.session_id,
            e.c.from_ms,
            e.c.to_ms,
            e.c.amount_grains,
            g.c.grant_id,
            g.c.source,
            g.c.expires_ms,
        )
        .join(t, t.c.transaction_id == e.c.transaction_id)
        .join(g, g.c.grant_id == e.c.grant_id)
        .where(*used_within(wallet_id, from_ms, to_ms), e.c.account == "grant")
        .order_by(t.c.number, e.c.line)
    )
    for row in connection.execute(paid):
        yield (
            row.session_id,
            Segment(
                row.from_ms,
                row.to_ms,
                -int(row.amount_grains),
                row.grant_id,
                row.source,
                row.expires_ms,
                booked=True,
            ),
        )


def _projected(wallet: OpenWallet, from_ms: int, to_ms: int) -> Iterator[tuple[str, Segment]]:
    """Yield what the grants will have paid if all is booked up to now, by session."""
    view = project(wallet)
    granted = {grant.grant_id: grant for grant in view.walked.grants}
    for charge in charges_within(view, from_ms, to_ms):
        grant_id = charge.grant_id or OVERRUN
        source, expires_ms = OVERRUN, None
        if grant_id in wallet.grants:
            source = wallet.grants[grant_id]["source"]
            expires_ms = wallet.grants[grant_id]["expires_ms"]
        elif grant_id in granted:  # of a renewal that waits to be booked
            source, expires_ms = "plan", granted[grant_id].expires_ms
        yield (
            charge.session_id,
            Segment(
                charge.from_ms,
                charge.to_ms,
                charge.amount,
                grant_id,
                source,
                expires_ms,
                booked=False,
            ),
        )


def _merged(parts: Iterable[Segment]) -> Iterable[Segment]:
    """Yield segments as people see them: what a grant paid without a gap is one, however booked."""
    last: Segment | None = None
    for part in parts:
        if last is not None and _go_on(last, part):
            last = replace(
                last, to_ms=part.to_ms, amount_grains=last.amount_grains + part.amount_grains
            )
            continue
        if last is not None:
            yield last
        last = part
    if last is not None:
        yield last


def _go_on(last: Segment, part: Segment) -> bool:
    same = (last.grant_id, last.booked) == (part.grant_id, part.booked)
    return same and last.to_ms == part.from_ms
