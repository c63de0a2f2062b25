"""The whole content of a database: read it, compare it, put it back."""

import json
import re
import sqlite3

from sqlalchemy import text

from jhub_tokens.ledger.schema import metadata
from jhub_tokens.ledger.store import Store, open_engine

#: Identifiers and hashes are random: two equal runs differ in them and in nothing else.
RANDOM = re.compile(r"[0-9a-f]{32,64}")


def masked(thing):
    """Return the text of `thing` with everything random in it made equal."""
    return RANDOM.sub("#", repr(thing))


class Contents:
    """What the tables of a ledger's database hold, read behind the ledger's back."""

    def __init__(self, url):
        self.store = Store(open_engine(url))
        self.tables = metadata.sorted_tables
        self.path = self.store.engine.url.database
        self.kept = None

    def close(self):
        self.store.close()

    def dump(self):
        """Return every row of every table, in an order that does not depend on chance."""
        if not self.store.is_sqlite:
            return self._dump_at_once()
        with self.store.read() as connection:
            return {
                table.name: sorted(
                    json.dumps(list(row))
                    for row in connection.exec_driver_sql(f"SELECT * FROM {table.name}")
                )
                for table in self.tables
            }

    def _dump_at_once(self):
        """Ask once for all tables: on a server each question costs a round trip."""
        found = {table.name: [] for table in self.tables}
        query = " UNION ALL ".join(f"SELECT '{name}', t::text FROM {name} t" for name in found)
        with self.store.read() as connection:
            for name, row in connection.exec_driver_sql(query):
                found[name].append(row)
        return {name: sorted(rows) for name, rows in found.items()}

    def masked(self):
        """Return the same with identifiers and hashes made equal."""
        return {name: sorted(map(masked, rows)) for name, rows in self.dump().items()}

    def keep(self):
        """Remember the content, for `restore`."""
        if self.store.is_sqlite:
            self.kept = sqlite3.connect(":memory:")
            with sqlite3.connect(self.path) as source:
                source.backup(self.kept)
            source.close()
            return
        with self.store.read() as connection:
            self.kept = [
                (table, [dict(row) for row in connection.execute(table.select()).mappings()])
                for table in self.tables
            ]

    def restore(self):
        """Put back what was kept, past the triggers that guard the entries."""
        if self.store.is_sqlite:
            with sqlite3.connect(self.path) as target:
                self.kept.backup(target)
            target.close()
            return
        with self.store.write() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            for table in reversed(self.tables):
                connection.execute(table.delete())
            for table, rows in self.kept:
                if rows:
                    connection.execute(table.insert(), rows)
