"""Makes books as release 0.1 (schema 0001) leaves them, and what it says to them next.

Run it from the root of a checkout whose newest migration is 0001::

    python -m tests.faults.data.make_0001

It writes, beside itself, SQL that both databases take:

``books_0001.sql``
    the rows, to be loaded after ``alembic upgrade 0001``;
``writes_0001.sql``
    each INSERT and UPDATE of the release's next operations, in order, with the values filled in;
``reads_0001.sql``
    each SELECT of the release's operations and pages, once.
"""

import json
import random
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import Engine, MetaData, create_engine, event, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.dml import Insert, Update
from sqlalchemy.sql.selectable import Select

from tests.ledger.conftest import HOUR_MS, World

FOLDER = Path(__file__).parent
REVISION = "0001"
MINUTE_MS = 60_000
DAY_MS = 24 * HOUR_MS


def literal(value: Any) -> str:
    """Return a value as SQL that both databases read."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=True)
    return "'" + str(value).replace("'", "''") + "'"


class Recorder:
    """Notes the statements of the books, as plain SQL."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.reads: dict[str, str] = {}  # by the statement without its values
        self._dialect = DefaultDialect(paramstyle="named")
        self._dialect.supports_native_boolean = True

    @contextmanager
    def recording(self) -> Iterator[None]:
        event.listen(Engine, "before_execute", self._note)
        try:
            yield
        finally:
            event.remove(Engine, "before_execute", self._note)

    def _note(self, _connection, statement, multiple, single, _options) -> None:
        if not isinstance(statement, Insert | Update | Select):
            return
        for values in multiple or [single]:
            compiled = statement.compile(
                dialect=self._dialect,
                column_keys=list(values) or None,
                compile_kwargs={"render_postcompile": True},
            )
            template = " ".join(str(compiled).split())
            parameters = compiled.construct_params(values or None)
            known = {name: literal(value) for name, value in parameters.items()}
            line = re.sub(r":(\w+)", lambda name, known=known: known[name[1]], template) + ";"
            if isinstance(statement, Select):
                self.reads.setdefault(template, line)
            else:
                self.writes.append(line)


def live_until_december(world: World) -> dict[str, Any]:
    """Bring the books to where the next release finds them; returns who and what runs."""
    rolf = world.join("rolf")
    key = world.hub.run(*rolf, profile="gpu")
    world.pass_time(3 * HOUR_MS, step_ms=HOUR_MS)
    world.hub.end(key)
    world.clock.advance_ms(30 * DAY_MS)  # into December: what was left rolls over
    world.hub.tell()
    world.ledger.advance_due()

    lara, smith, mia = world.join("lara"), world.join("smith"), world.join("mia")
    world.give(lara[0], 12.5, key="grant-to-lara")
    # Renamed, and by that on another plan from the next period on.
    renamed = mia[1].model_copy(update={"name": "rosa"})
    world.ledger.ensure_member(renamed)
    world.hub.tell(cancelled=["start-that-was-cancelled"])
    dry = world.hub.run(*smith)
    runs = world.hub.run(*lara, profile="gpu", name="it's")
    world.pass_time(118 * MINUTE_MS, step_ms=59 * MINUTE_MS)
    world.pass_time(2 * MINUTE_MS, step_ms=MINUTE_MS)
    return {"rolf": rolf, "lara": lara, "smith": smith, "dry": dry, "runs": runs}


def live_on(world: World, who: dict[str, Any]) -> None:
    """Do everything that writes, once."""
    ledger = world.ledger
    lara, smith = who["lara"][0], who["smith"][0]
    world.pass_time(MINUTE_MS)
    order = ledger.standing_stops()[0]
    ledger.record_stop_failure(order.order_id, "the hub did not answer")
    world.hub.end(who["dry"])
    world.give(lara, 3, key="grant-by-0001")
    world.give(lara, -1, kind="adjustment", key="adjustment-by-0001")
    new = world.join("nora")
    key = world.hub.start(*new, image="new")
    world.clock.advance_ms(MINUTE_MS)
    world.hub.ready(key)
    world.pass_time(10 * MINUTE_MS, step_ms=5 * MINUTE_MS)
    world.hub.end(key, world.clock.now_ms() - 7 * MINUTE_MS)
    world.hub.start(*who["rolf"])
    for frozen in (True, False):
        ledger.set_frozen(lara.member_id, frozen=frozen, actor="admin", reason="a test")
    world.hub.tell(cancelled=["another-cancelled-start"])
    world.pass_time(MINUTE_MS)
    notices = ledger.notices(smith.member_id, unseen_only=True)
    ledger.mark_notices_seen(smith.member_id, [n.notice_id for n in notices])


def look(world: World, who: dict[str, Any]) -> None:
    """Read everything that pages read."""
    ledger = world.ledger
    member_id = who["lara"][0].member_id
    ledger.member(member_id)
    ledger.member_by_name("lara")
    ledger.member_by_name("lara", who["lara"][1].created)
    ledger.wallet_view(member_id)
    ledger.prospects(member_id, list(world.catalogue.profiles.values()))
    (start_ms, end_ms), *_ = ledger.periods(member_id)
    ledger.statement(member_id, start_ms, end_ms)
    for state in ("active", "running", "dry"):
        ledger.members(search="a", state=state)
    ledger.totals()
    ledger.standing_stops()
    assert ledger.audit() == ()


def dump(url: str) -> list[str]:
    """Return the rows as INSERT statements, in an order that keeps foreign keys."""
    metadata = MetaData()
    engine = create_engine(url)
    metadata.reflect(engine)
    lines = []
    with engine.connect() as connection:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        assert revision == REVISION, f"this checkout writes schema {revision}, not {REVISION}"
        for table in metadata.sorted_tables:
            if table.name == "alembic_version":
                continue
            columns = ", ".join(column.name for column in table.columns)
            for row in connection.execute(table.select()):
                values = ", ".join(map(literal, row))
                lines.append(f"INSERT INTO {table.name} ({columns}) VALUES ({values});")
    engine.dispose()
    return lines


def write(name: str, about: str, lines: list[str]) -> None:
    header = f"-- {about}\n-- Made by make_0001.py; not to be changed by hand.\n"
    (FOLDER / name).write_text(header + "\n".join(lines) + "\n")


def main() -> None:
    numbers = random.Random(REVISION)

    def reproducible() -> uuid.UUID:
        return uuid.UUID(int=numbers.getrandbits(128), version=4)

    recorder = Recorder()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("uuid.uuid4", reproducible),
    ):
        url = f"sqlite:///{folder}/books.sqlite"
        world = World(url)
        who = live_until_december(world)
        assert world.ledger.audit() == ()
        write("books_0001.sql", "Books as release 0.1 leaves them.", dump(url))
        with recorder.recording():
            live_on(world, who)
            look(world, who)
        world.ledger.close()
    write("writes_0001.sql", "What release 0.1 writes to these books next.", recorder.writes)
    reads = list(recorder.reads.values())
    write("reads_0001.sql", "What release 0.1 asks of these books.", reads)


if __name__ == "__main__":
    main()
