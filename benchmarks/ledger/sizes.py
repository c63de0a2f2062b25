"""How large the books become: bytes and rows for each start, and for a member who does nothing."""

from __future__ import annotations

from benchmarks.ledger.copies import Model, populate
from benchmarks.ledger.databases import Site, open_sites
from benchmarks.ledger.tables import Part
from benchmarks.ledger.worlds import make_model

__all__ = ["run"]

_STARTS = 50  # of each member with a history: a month's


def run(databases: tuple[str, ...], *, quick: bool) -> Part:
    """Measure empty books, books of idle members, and books of members with a month of starts."""
    members = 500 if quick else 5_000
    part = Part(
        "sizes",
        "Size of the books on disk, indexes included",
        ("", "a member", "a start", "rows of entries for a start"),
        notes=[
            f"{members:,} members, once idle and once with {_STARTS} starts each, of ten minutes"
        ],
    )
    idle, busy = make_model("idle"), make_model("history", sessions=_STARTS)
    entries = (len(busy.rows["entries"]) - len(idle.rows["entries"])) / _STARTS
    with open_sites(databases) as sites:
        for site in sites:
            empty = _size(site, "empty", idle, 0)
            of_idle = _size(site, "idle", idle, members)
            of_busy = _size(site, "busy", busy, members)
            a_member = (of_idle - empty) / members
            a_start = (of_busy - of_idle) / (members * _STARTS)
            part.data[site.kind] = {"empty": empty, "idle": of_idle, "busy": of_busy}
            part.rows.append(
                (site.kind, f"{a_member:,.0f} B", f"{a_start:,.0f} B", f"{entries:.1f}")
            )
    return part


def _size(site: Site, name: str, model: Model, members: int) -> int:
    site.create(f"size_{name}")
    if members:
        populate(site, f"size_{name}", model, members)
    connection = site.bulk(f"size_{name}")
    try:
        if site.kind == "sqlite":
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            return int(pages) * int(connection.execute("PRAGMA page_size").fetchone()[0])
        return int(connection.execute("SELECT pg_database_size(current_database())").fetchone()[0])
    finally:
        connection.close()
