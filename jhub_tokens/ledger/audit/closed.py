"""Auditing closed months: what was written down of them, and what the books give again."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from jhub_tokens.ledger.audit.findings import Finding
from jhub_tokens.ledger.figures import digest_of, span_figures
from jhub_tokens.ledger.months import STANDING, closed_figures, closed_months

__all__ = ["check_closed"]


def check_closed(connection: Connection) -> Iterator[Finding]:
    """Check that closed months join, are as they were written, and follow from the books.

    A month whose close broke off has no figures yet; closing it again writes them.
    """
    end_ms: int | None = None
    for done in reversed(closed_months(connection)):
        where = f"closed month {done.month}"
        if end_ms is not None and done.start_ms != end_ms:
            yield Finding(where, "does not begin where the month before it ends")
        end_ms = done.end_ms
        if not done.digest:
            continue
        written = closed_figures(connection, done.month)
        if len(written) != done.lines or digest_of(written) != done.digest:
            yield Finding(where, "its figures were changed after they were written")
        again = span_figures(connection, done.start_ms, done.end_ms)
        if [figure for figure in written if figure.section not in STANDING] != again:
            yield Finding(where, "the books give other figures than those that were written")
