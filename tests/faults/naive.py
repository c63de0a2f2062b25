"""The control: a plain table of balances, as quota code is often written.

It reads, adds or subtracts, and writes back; it ticks each server and decrements; it knows no
keys. Undisturbed it is exact, so what it loses or doubles is the faults' doing.
"""

from typing import Any

from sqlalchemy import NullPool, create_engine, event, text

from tests.faults.processes import Request, freeze_self_before
from tests.ledger.conftest import catalogue

TABLES = (
    "CREATE TABLE balances (member VARCHAR(64) PRIMARY KEY, grains BIGINT NOT NULL)",
    "CREATE TABLE meters (member VARCHAR(64) PRIMARY KEY, rate BIGINT, ticked_ms BIGINT)",
)


def _engine(url: str) -> Any:
    # Each statement is kept at once, as with a framework that commits on its own.
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _on_connect(connection: Any, _record: object) -> None:
            connection.execute("PRAGMA busy_timeout = 10000")
            connection.execute("PRAGMA journal_mode = WAL")

    return engine


def create(url: str, opening: dict[str, int]) -> None:
    """Make the tables, with an opening balance in grains for each member by name."""
    engine = _engine(url)
    with engine.connect() as connection:
        for table in TABLES:
            connection.execute(text(table))
        for member, grains in opening.items():
            row = {"member": member, "grains": grains}
            connection.execute(text("INSERT INTO balances VALUES (:member, :grains)"), row)
            connection.execute(text("INSERT INTO meters VALUES (:member, NULL, NULL)"), row)
    engine.dispose()


def balances(url: str) -> dict[str, int]:
    """Return what each member has left, in grains."""
    engine = _engine(url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT member, grains FROM balances"))
        found = {member: grains for member, grains in rows}
    engine.dispose()
    return found


class NaiveBooks:
    """Performs the same requests as the real books."""

    def __init__(self, url: str, freeze_before: str | None = None) -> None:
        if freeze_before is not None:
            freeze_self_before(freeze_before)
        self.engine = _engine(url)
        self.rates = {p.name: p.rate_mtok_h for p in catalogue().profiles.values()}

    def perform(self, request: Request) -> None:
        facts = request.facts
        with self.engine.connect() as connection:
            if request.kind == "grant":
                assert request.member is not None
                self._add(connection, request.member.name, facts["amount_grains"])
            elif request.kind == "admit":
                assert request.member is not None
                row = {"member": request.member.name, "rate": self.rates[facts["profile"]]}
                setting = "UPDATE meters SET rate = :rate, ticked_ms = NULL WHERE member = :member"
                connection.execute(text(setting), row)
            elif request.kind == "observe":
                for server in facts["servers"]:
                    if server.ready_age_ms is not None:
                        ready_ms = request.at_ms - server.ready_age_ms
                        self._tick(connection, server.member.name, ready_ms, request.at_ms)
                for end in facts["ended"]:
                    assert request.member is not None
                    ready_ms = request.at_ms - end.ready_age_ms
                    ended_ms = request.at_ms - end.ended_age_ms
                    self._tick(connection, request.member.name, ready_ms, ended_ms)

    def _tick(self, connection: Any, member: str, ready_ms: int, to_ms: int) -> None:
        query = text("SELECT rate, ticked_ms FROM meters WHERE member = :member")
        rate, ticked_ms = connection.execute(query, {"member": member}).one()
        since_ms = ready_ms if ticked_ms is None else ticked_ms
        self._add(connection, member, -rate * (to_ms - since_ms))
        ticked = text("UPDATE meters SET ticked_ms = :to_ms WHERE member = :member")
        connection.execute(ticked, {"member": member, "to_ms": to_ms})

    @staticmethod
    def _add(connection: Any, member: str, grains: int) -> None:
        query = text("SELECT grains FROM balances WHERE member = :member")
        left = connection.execute(query, {"member": member}).scalar_one()
        changed = text("UPDATE balances SET grains = :grains WHERE member = :member")
        connection.execute(changed, {"member": member, "grains": left + grains})
