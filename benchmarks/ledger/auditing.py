"""How long an audit takes: ``python -m benchmarks.ledger.auditing [--members N] [--rounds N]``.

The books are made by the ledger itself, with one usage of every member in each round, sealed, and
audited. ``--database`` names empty books in PostgreSQL; by default they are in SQLite.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from sqlalchemy import func, select

from benchmarks.ledger.worlds import EPOCH_MS, MINUTE_MS, HubTold, catalogue
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger, open_ledger, schema
from jhub_tokens.ledger.batches import change_wallets
from jhub_tokens.ledger.store import Store, open_engine
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.wire import Identity, ServerSeen

__all__ = ["main"]


def main() -> None:
    """Make books, audit them, and print how long it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger.auditing")
    parser.add_argument("--members", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--database", metavar="URL")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jhub-bench-") as folder:
        url = arguments.database or f"sqlite:///{Path(folder) / 'books.sqlite'}"
        clock = ManualClock(EPOCH_MS)
        ledger = open_ledger(url, clock, catalogue)
        try:
            _live(ledger, url, clock, arguments.members, arguments.rounds)
            _measure(ledger, url)
        finally:
            ledger.close()


def _live(ledger: Ledger, url: str, clock: ManualClock, members: int, rounds: int) -> None:
    hub = HubTold(ledger)
    starts = []
    wallet_ids = []
    for number in range(members):
        created = "2026-01-01T00:00:00Z"
        identity = Identity(hub_user_id=number + 1, created=created, name=f"member-{number}")
        member = ledger.ensure_member(identity)
        key = f"start-{number:06}"
        ledger.admit(member.member_id, server_name="", start_key=key, profile="cpu")
        wallet_ids.append(member.wallet_id)
        starts.append((identity, key))
    store = Store(open_engine(url))
    ready_ms = clock.now_ms()
    for _ in range(rounds):
        seen = [
            ServerSeen(
                member=identity,
                start_key=key,
                ready_age_ms=clock.now_ms() - ready_ms,
                alive_age_ms=0,
            )
            for identity, key in starts
        ]
        hub.tell(seen)
        with store.write() as connection:
            now_ms = clock.now_ms()
            change_wallets(connection, catalogue(), now_ms, wallet_ids, OpenWallet.advance)
        clock.advance_ms(MINUTE_MS)
    store.close()


def _measure(ledger: Ledger, url: str) -> None:
    begun = time.perf_counter()
    seals = ledger.seals.make()
    sealed_s = time.perf_counter() - begun
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    findings = ledger.audit()
    audited_s = time.perf_counter() - begun
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    store = Store(open_engine(url))
    with store.read() as connection:
        entries = connection.execute(select(func.count()).select_from(schema.entries)).scalar_one()
    store.close()
    print(
        f"{entries} entries audited in {audited_s:.2f} s: "
        f"{audited_s / entries * 1_000_000:.1f} s per million; the process grew by "
        f"{grown_kib / 1024:.0f} MiB; {len(findings)} findings; "
        f"{sum(seal.heads_count for seal in seals)} heads sealed in {sealed_s:.2f} s"
    )


if __name__ == "__main__":
    main()
