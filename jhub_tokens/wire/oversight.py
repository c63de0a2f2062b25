"""The key figures, for the hub's own admin page."""

from __future__ import annotations

from jhub_tokens.wire.base import Wire

__all__ = ["HubFigures"]


class HubFigures(Wire):
    """What goes on at one instant; see `jhub_tokens.ledger.oversight_records.Figures`."""

    as_of_ms: int
    members: int
    running: int  # servers that are metered
    starting: int
    burn_mtok_h: int
    burn: str  # for people, such as ``12 tokens/h``
    dry_within_hour: int  # wallets with servers that run dry within an hour
    balance_low: int  # members with a fifth of their allotment or less
