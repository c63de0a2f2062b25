"""Facts of members: kept as they are told, and a membership suspended while its account is gone."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, insert, update
from sqlalchemy.engine import RowMapping

from jhub_tokens.facts import Facts
from jhub_tokens.ledger import schema

__all__ = ["PROVIDER", "are_news", "facts_in", "facts_now", "keep_facts", "note_frozen_by"]

#: Who acts in the books where the sign-in provider decides.
PROVIDER = "sign-in provider"
_t = schema.member_facts


def facts_in(row: RowMapping) -> Facts | None:
    """Return the facts in a member's row, None if nothing was told yet."""
    if row["facts"] is None:
        return None
    try:
        return Facts.model_validate(row["facts"])
    except ValidationError:  # a later release wrote them: asked again at the next sign-in
        return None


def facts_now(row: RowMapping, told: Facts | None) -> Facts | None:
    """Return the facts of a member in the light of what is told, None while there are none.

    Of an account that is gone nothing else can be known: what was, stays.
    """
    known = facts_in(row)
    if told is not None and told.gone and known is not None:
        return known.model_copy(update={"gone": told.gone})
    return told or known


def are_news(row: RowMapping, told: Facts | None) -> bool:
    """Tell whether what is told of a member changes anything in the books."""
    facts = facts_now(row, told)
    if facts is None:
        return False
    suspends = bool(facts.gone) and row["state"] == "active"
    returns = not facts.gone and bool(row["froze"])
    return suspends or returns or facts != facts_in(row)


def keep_facts(connection: Connection, now_ms: int, row: RowMapping, facts: Facts) -> None:
    """Keep what is told of the member in `row`."""
    values: dict[str, Any] = {"facts": facts.model_dump(mode="json"), "told_ms": now_ms}
    mine = _t.c.member_id == row["member_id"]
    if not connection.execute(update(_t).where(mine).values(values)).rowcount:
        connection.execute(insert(_t), {"member_id": row["member_id"], **values})


def note_frozen_by(connection: Connection, member_id: str, *, provider: bool) -> None:
    """Note whether a membership is frozen for its account alone."""
    mine = update(_t).where(_t.c.member_id == member_id, _t.c.froze.is_(not provider))
    connection.execute(mine.values(froze=provider))
