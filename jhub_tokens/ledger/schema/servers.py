"""What running servers say of themselves, and what their members say of them."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Table, text

from jhub_tokens.ledger.schema.base import identifier, instant, metadata

__all__ = ["server_reports"]

# A session without a row has reported nothing, and nobody wants it kept running.
server_reports = Table(
    "server_reports",
    metadata,
    identifier("session_id", ForeignKey("sessions.session_id"), primary_key=True),
    instant("keep_until_ms"),  # run until then even if idle
    # What kept it busy at the last report: kernels, jobs, ssh, …; and when it last was.
    Column("busy", JSON, nullable=False, server_default=text("'[]'")),
    instant("active_ms"),
    instant("reported_ms"),
)
