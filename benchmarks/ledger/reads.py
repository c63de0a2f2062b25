"""Whether reading one member's balance and statement stays as fast while the books grow."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger.copies import Model, copied, populate, suffix
from benchmarks.ledger.databases import Site, cache_folder, open_sites
from benchmarks.ledger.tables import Part, milliseconds
from benchmarks.ledger.worlds import CATALOGUE, catalogue, make_model
from benchmarks.statistics import ratio_of_medians
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger, migrate, open_ledger

__all__ = ["fingerprint", "run"]

_AIM = "≤ 1.5"
_LINES = 50
_FIRST = ", not read before"
_WARM_UP = 3  # statements are compiled, connections made
_LONG_NUMBER = 80_000_000  # the copy with the long history, out of the others' way
_SEED = 20240229


def run(databases: tuple[str, ...], *, quick: bool) -> Part:
    """Read in turns from books of several sizes."""
    sizes = (10**4, 10**6) if quick else (10**4, 10**6, 10**7)
    history, reads = (500, 30) if quick else (5_000, 200)
    part = Part(
        "reads",
        f"Reads of one member's books by how many entries there are in all ({reads} each, by lot)",
        ("", *(f"{size:,} entries" for size in sizes), "largest / smallest [95 %]", "aim"),
        notes=[
            "median [smallest, largest]; a read of each size in turn; “not read before” is each"
            " member's first read, which may have to wait for the disk, the others follow it",
            f"the long history: {2 * history:,} entries of the member's own; its page is a"
            " late month's",
        ],
    )
    month, long = _kept_model(_LINES), _kept_model(history)
    with open_sites(databases, cached=True) as sites:
        for site in sites:
            names = [_books(site, month, long, size, history) for size in sizes]
            for title, times in _measure(site, names, month, long, reads).items():
                ratio = ratio_of_medians(times[-1], times[0])
                part.rows.append(
                    (
                        f"{site.kind}, {title}",
                        *map(milliseconds, times),
                        str(ratio),
                        "" if title.endswith(_FIRST) else _AIM,
                    )
                )
                part.data[f"{site.kind}, {title}"] = dict(zip(map(str, sizes), times, strict=True))
    return part


@dataclass(slots=True)
class _Books:
    """Opened books, and the members that are read."""

    ledger: Ledger
    members: list[str]
    long_ledger: Ledger
    times: dict[str, list[float]] = field(default_factory=dict)


def _measure(
    site: Site, names: list[tuple[str, int]], month: Model, long: Model, reads: int
) -> dict[str, list[list[float]]]:
    """Return the durations of each kind of read, by size."""
    dice = random.Random(_SEED)
    long_id = _member_id(long, _LONG_NUMBER)
    opened = []
    for name, members in names:
        numbers = [dice.randrange(members) for _ in range(reads + _WARM_UP)]
        opened.append(
            _Books(
                open_ledger(site.url(name), ManualClock(month.now_ms), catalogue),
                [_member_id(month, number) for number in numbers],
                open_ledger(site.url(name), ManualClock(long.now_ms), catalogue),
            )
        )
    try:
        period = _full_period(opened[0].ledger, opened[0].members[0])
        long_period = _full_period(opened[0].long_ledger, long_id)
        kinds: dict[str, Callable[[_Books, str], object]] = {
            "balance": lambda books, member_id: books.ledger.wallet_view(member_id),
            f"page of {_LINES} lines": lambda books, member_id: _page(
                books.ledger, member_id, period
            ),
            "balance, long history": lambda books, _: books.long_ledger.wallet_view(long_id),
            f"page of {_LINES} lines, long history": lambda books, _: _page(
                books.long_ledger, long_id, long_period
            ),
        }
        found: dict[str, list[list[float]]] = {}
        for title, read in kinds.items():
            first: list[list[float]] = [[] for _ in opened]
            again: list[list[float]] = [[] for _ in opened]
            for turn in range(reads + _WARM_UP):
                for index, books in enumerate(opened):
                    for times in (first, again):
                        begun = time.perf_counter()
                        read(books, books.members[turn])
                        times[index].append(time.perf_counter() - begun)
            found[title] = [samples[_WARM_UP:] for samples in again]
            if "long" not in title:  # that one is the same member every time
                found[title + _FIRST] = [samples[_WARM_UP:] for samples in first]
    finally:
        for books in opened:
            books.ledger.close()
            books.long_ledger.close()
    return found


def _full_period(ledger: Ledger, member_id: str) -> tuple[int, int]:
    """Return the latest period whose statement is a page of about the lines wanted."""
    for period in ledger.periods(member_id):
        if _LINES <= _page(ledger, member_id, period) <= _LINES + 3:
            return period
    raise BenchmarkError(f"no statement of the member has about {_LINES} lines")


def _page(ledger: Ledger, member_id: str, period: tuple[int, int]) -> int:
    return len(ledger.statement(member_id, *period).entries)


def _member_id(model: Model, number: int) -> str:
    digits = suffix(number)
    return copied(str(model.only("members")["member_id"]), digits)


# --- books that take minutes to make, kept ----------------------------------------------------


def _books(site: Site, month: Model, long: Model, size: int, history: int) -> tuple[str, int]:
    """Return the name of books with so many entries, made at the first call, and its members."""
    members = size // len(month.rows["entries"])
    name = f"reads_{size}_{history}_{fingerprint()}"
    if site.exists(name):
        return name, members
    print(f"Filling {site.kind} with {size:,} entries …", file=sys.stderr, flush=True)
    begun = time.monotonic()
    site.create(f"{name}_new")
    populate(site, f"{name}_new", long, 1, first=_LONG_NUMBER)
    populate(site, f"{name}_new", month, members)
    site.analyze(f"{name}_new")
    site.rename(f"{name}_new", name)
    print(f"… {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return name, members


def fingerprint() -> str:
    """Tell books apart by schema and catalogue."""
    versions = Path(migrate.__file__).with_name("migrations") / "versions"
    digest = hashlib.sha256(CATALOGUE.encode())
    paths = sorted(versions.glob("v*.py"))
    for path in paths:
        digest.update(path.read_bytes())
    return f"{paths[-1].stem}_{digest.hexdigest()[:8]}"


def _kept_model(sessions: int) -> Model:
    """Return a member with so many sessions behind them; kept, since books hold the ids."""
    path = cache_folder() / f"member_{sessions}_{fingerprint()}.json"
    if path.is_file():
        return Model(**json.loads(path.read_text(encoding="utf-8")))
    print(f"Making a member with {sessions:,} sessions …", file=sys.stderr, flush=True)
    model = make_model("history", sessions=sessions)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(model)), encoding="utf-8")
    fresh.rename(path)
    return model
