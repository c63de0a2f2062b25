"""A newer release opens books that an older one wrote, and the older one goes on beside it.

For each released schema `data/` holds books with something of everything in them, and every
statement that the release's operations make next; `data/make_0001.py` says how they are made.
"""

import shutil
import uuid
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData, create_engine, inspect, make_url, select, text
from sqlalchemy.exc import DBAPIError

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import DatabaseProblem, migrate, open_ledger, schema
from jhub_tokens.ledger.store import Store, open_engine
from tests.ledger.conftest import HOUR_MS, Hub, catalogue

DATA = Path(__file__).parent / "data"
MIGRATIONS = Path(migrate.__file__).parent / "migrations"
RELEASED = sorted(path.stem.removeprefix("books_") for path in DATA.glob("books_*.sql"))


def statements(name):
    lines = (DATA / name).read_text(encoding="ascii").splitlines()
    return [line for line in lines if line and not line.startswith("--")]


def chain():
    """Return this checkout's revisions, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = migrate.ScriptDirectory.from_config(config)
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


class OldBooks:
    """Books as a release left them, and that release's connection to them."""

    def __init__(self, url, revision):
        self.url = url
        self.revision = revision
        self.store = Store(open_engine(url))
        self.migrate(revision)
        with self.store.write() as connection:
            self.run(connection, f"books_{revision}.sql")
        metadata = MetaData()
        metadata.reflect(self.store.engine)
        self.tables = [t for t in metadata.sorted_tables if t.name != "alembic_version"]
        self.opened = {table.name: self.rows(table) for table in self.tables}
        self.clock = ManualClock(max(row.observed_ms for row in self.opened["hubs"]))

    def migrate(self, revision):
        """Bring the schema to a revision of this checkout."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self.store.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    def columns(self):
        """Return (table, column) → its type, and whether something must be given for it."""
        found = inspect(self.store.engine)
        return {
            (table, column["name"]): (
                str(column["type"]),
                not column["nullable"] and column["default"] is None,
            )
            for table in found.get_table_names()
            for column in found.get_columns(table)
        }

    def run(self, connection, name):
        """Run a file's statements as the driver gets them, without parameters."""
        for statement in statements(name):
            if self.store.is_sqlite:
                statement = statement.replace(" FOR UPDATE SKIP LOCKED", "")
                statement = statement.replace(" FOR UPDATE", "")
            connection.connection.cursor().execute(statement)

    def rows(self, table):
        """Return a table's rows in the columns that this release knows."""
        with self.store.read() as connection:
            return sorted(connection.execute(select(table)).all(), key=repr)

    def all_rows(self):
        return {table.name: self.rows(table) for table in self.tables}

    def go_on(self):
        """Write and read all that this release does next."""
        with self.store.write() as connection:
            self.run(connection, f"writes_{self.revision}.sql")
        with self.store.read() as connection:
            self.run(connection, f"reads_{self.revision}.sql")
        self.clock.set_ms(max(row.observed_ms for row in self.all_rows()["hubs"]))

    def open_new(self):
        """Open the books with this checkout's release."""
        rules = catalogue()
        return open_ledger(self.url, self.clock, lambda: rules)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def empty_url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'old.sqlite'}"
        return
    server = request.getfixturevalue("postgres_url")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"old_{uuid.uuid4().hex}"
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    yield make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=RELEASED)
def old(request, empty_url):
    books = OldBooks(empty_url, request.param)
    yield books
    books.store.close()


def run_on(old, ledger):
    """Let all that runs go on for an hour and end; each must be charged to the millisecond."""
    hub = Hub(ledger, old.clock)
    rows = [row for row in old.all_rows()["sessions"] if row.ended_ms is None]
    running = [row for row in rows if row.ready_ms is not None]
    assert running, "something runs in these books"
    members = {row.member_id: row for row in old.all_rows()["members"]}
    before = {row.member_id: ledger.wallet_view(row.member_id).balance_grains for row in rows}
    begin_ms = old.clock.now_ms()
    for row in rows:
        member = members[row.member_id]
        identity = {
            "hub_user_id": member.hub_user_id,
            "created": member.hub_created,
            "name": member.name,
        }
        hub.servers[row.start_key] = [identity, row.server_name, row.ready_ms]
    for _ in range(2):
        old.clock.advance_ms(HOUR_MS // 2)
        hub.tell()
        ledger.advance_due()
    for row in rows:
        hub.stop(row.start_key)
    hub.tell()
    after = {row.session_id: row for row in old.all_rows()["sessions"]}
    dry = {order.session_id for order in old.all_rows()["stop_orders"] if order.reason == "dry"}
    for row in running:
        end_ms = begin_ms + HOUR_MS
        assert after[row.session_id].ended_ms == end_ms
        assert after[row.session_id].charged_grains == row.rate_mtok_h * (end_ms - row.ready_ms)
        balance = ledger.wallet_view(row.member_id).balance_grains
        if row.session_id in dry:
            assert (balance, after[row.session_id].end_reason) == (0, "dry")
        else:
            assert balance == before[row.member_id] - row.rate_mtok_h * HOUR_MS
    return len(running)


@pytest.mark.slow_on_postgresql
def test_an_upgrade_keeps_everything_and_what_runs_goes_on(old, figure):
    ledger = old.open_new()
    assert ledger.audit() == ()
    assert old.all_rows() == old.opened
    (order,) = ledger.standing_stops()
    stopped = [n for n in old.opened["notices"] if n.kind == "stopped_dry"]
    ran = run_on(old, ledger)
    assert ledger.standing_stops() == ()
    rows = old.all_rows()
    assert [n for n in rows["notices"] if n.kind == "stopped_dry"] == stopped
    assert [o.order_id for o in rows["stop_orders"]] == [order.order_id]
    assert ledger.audit() == ()
    ledger.close()
    count = sum(map(len, old.opened.values()))
    figure(
        f"upgrade from {old.revision}, {old.store.engine.dialect.name}",
        f"{count} rows as they were, {ran} running sessions charged to the millisecond",
    )


@pytest.mark.slow_on_postgresql
def test_the_previous_release_goes_on_beside_the_new_one(old, figure):
    ledger = old.open_new()
    # A wallet that the older release leaves alone meanwhile.
    member = ledger.member_by_name("rosa")
    opening = ledger.wallet_view(member.member_id).balance_grains
    money = {"kind": "topup", "actor": "admin", "reason": "a test", "caller": "new"}
    amount = 3_600_000_000
    ledger.grant(member.member_id, amount_grains=amount, key="grant-before", **money)
    old.go_on()
    assert ledger.audit() == ()
    ledger.grant(member.member_id, amount_grains=amount, key="grant-after", **money)
    assert ledger.wallet_view(member.member_id).balance_grains == opening + 2 * amount
    run_on(old, ledger)
    assert ledger.audit() == ()
    ledger.close()
    files = [f"{kind}_{old.revision}.sql" for kind in ("writes", "reads")]
    written, read = (len(statements(name)) for name in files)
    figure(
        f"release of {old.revision} beside the new schema, {old.store.engine.dialect.name}",
        f"{written} of its writes and {read} of its reads work, the audit is clean",
    )


def fill_finance(old):
    """Put a row into each table of finance; the triggers post the move of money late."""
    member_id = "SELECT min(member_id) FROM members"
    for statement in (
        "INSERT INTO closed_months VALUES ('2026-11', 'UTC', 0, 2, 3, 'boss', 'over')",
        "INSERT INTO closed_reports VALUES ('2026-11', 0, '', 3)",
        "INSERT INTO closed_figures VALUES ('2026-11', 0, '', '', '', '', '', '', '', '', '', '0')",
        f"INSERT INTO erasures SELECT 'e', ({member_id}), 3, 'boss', 'asked for'",
        "INSERT INTO money_moves (move_id, kind, provider, member_id, amount_minor, currency,"
        f" at_ms, booked_ms) SELECT 'm', 'topup', 'manual', ({member_id}), 1, 'EUR', 1, 3",
    ):
        with old.store.write() as connection:
            connection.execute(text(statement))


def test_the_guards_stand_after_an_upgrade(old):
    ledger = old.open_new()
    # SQLite's triggers have nothing to say of an empty table.
    ledger.seals.make()
    fill_finance(old)
    ledger.close()
    changes = ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}"]
    if not old.store.is_sqlite:
        changes.append("TRUNCATE {0} CASCADE")
    # The others have no rows yet; tests/ledger/test_break_glass.py changes them when they have.
    for table in ("entries", "transactions", "seals", "seal_heads"):
        column = schema.metadata.tables[table].columns.keys()[0]
        for change in changes:
            with (
                pytest.raises(DBAPIError, match="append-only"),
                old.store.write() as connection,
            ):
                connection.execute(text(change.format(table, column)))
    assert old.all_rows() == old.opened


# --- each revision by itself -------------------------------------------------------------------

#: What each revision since the newest release adds: tables, and columns to tables that there were.
#: A new revision is written down here, and so goes through the tests below; when a release is
#: made, its books are recorded as `data/make_0001.py` does, and the list begins anew.
ADDED = {
    "0002": {
        "plan_changes", "team_members", "teams", "wallet_periods", "grants.rolls_left",
        "sessions.cut_ms", "sessions.gpus", "sessions.max_run_ms", "sessions.noticed_ms",
        "sessions.stop_by_ms", "sessions.stop_by_reason", "sessions.stop_reason",
        "subscriptions.pinned", "subscriptions.team_id", "subscriptions.trial_plan",
        "subscriptions.trial_until_ms", "wallets.expiry_noticed_ms", "wallets.team_id",
    },
    "0003": {
        "admin_months", "invoices", "payment_accounts", "payment_bills", "payment_disputes",
        "payment_events", "payment_refunds", "voucher_batches", "voucher_tries", "vouchers",
        "sessions.refunded_grains",
    },
    "0004": {"deliveries", "member_settings", "notices.routed_ms"},
    "0005": {
        "seals", "seal_heads", "transactions.version", "transactions.actor", "transactions.reason",
        "transactions.remark_hash", "remarks.salt", "remarks.erased_ms",
    },
    "0006": {"break_glass_acts", "break_glass_ends", "break_glass_starts"},
    "0007": {
        "closed_figures", "closed_months", "closed_reports", "erasures", "late_postings",
        "money_moves", "subscriptions.cost_centre", "transactions.plan",
        "transactions.cost_centre", "invoices.voided_ms",
    },
    "0008": {"member_facts"},
    "0009": {"server_reports"},
    "0010": {"question_answers", "questions"},
    "0011": {
        "member_settings.follows_browser", "ssh_keys", "team_invitations", "team_members.invited",
    },
    "0012": {
        "admin_act_remarks", "admin_acts", "bulk_acts", "bulk_items", "wallets.balance_count",
        "wallets.balance_grains",
    },
    "0013": {
        "sessions.idle_stop_ms", "sessions.idle_warn_ms", "sessions.idle_warned_ms",
        "sessions.idle_noticed_ms", "sessions.hub_active_ms", "sessions.files",
    },
    "0014": {"cluster_ends"},
    "0015": set(),
}  # fmt: skip


def test_every_revision_is_released_or_written_down():
    revisions = chain()
    newest = RELEASED[-1]
    assert set(RELEASED) <= set(revisions)
    since = revisions[revisions.index(newest) + 1 :]
    assert since == list(ADDED), (
        f"revisions after {newest} must be in ADDED, in their order: with what they add, for a "
        "release that goes on beside them"
    )


def added_by(before, after):
    tables = {table for table, _ in before}
    return {
        table if table not in tables else f"{table}.{column}"
        for table, column in after.keys() - before.keys()
    }


@pytest.fixture(params=list(ADDED))
def step(request, old):
    """Books of a release just before a revision of this checkout, and that revision."""
    revisions = chain()
    old.migrate(revisions[revisions.index(request.param) - 1])
    return request.param


@pytest.mark.slow_on_postgresql
def test_a_revision_only_adds_and_the_release_goes_on(old, step):
    before = old.columns()
    old.migrate(step)
    after = old.columns()
    assert added_by(before, after) == ADDED[step]
    assert before.keys() <= after.keys(), "nothing goes"
    kept = {column: type_ for column, (type_, _) in before.items()}
    assert {column: after[column][0] for column in kept} == kept, "and nothing changes its type"
    tables = {table for table, _ in before}
    must_be_given = {
        column
        for column, (_, needed) in after.items()
        if needed and column[0] in tables and not before.get(column, ("", False))[1]
    }
    assert must_be_given == set(), "the older release gives nothing for what it does not know"
    assert old.all_rows() == old.opened
    old.go_on()
    ledger = old.open_new()
    assert ledger.audit() == ()
    ledger.close()


# --- controls: migrations that must not pass --------------------------------------------------

REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "control"
down_revision = {head!r}


def upgrade():
    {change}
"""
ADDS = 'op.add_column("wallets", sa.Column("note", sa.Text(), server_default="", nullable=False))'
RENAMES = 'op.alter_column("grants", "rolls", new_column_name="rolls_over")'
RENAMES_IN_BATCH = """
    with op.batch_alter_table("grants") as batch:
        batch.alter_column("rolls", new_column_name="rolls_over")
"""
UNGUARDS = 'op.execute("DROP TRIGGER guard_entries_update ON entries")'
# What it does is harmless; how SQLite does it, by a copy of the table, is not.
COPIES = """
    with op.batch_alter_table("{table}", recreate="always") as batch:
        batch.add_column(sa.Column("note", sa.Text()))
"""


@pytest.fixture
def add_migration(tmp_path, monkeypatch):
    """Add a migration of the test's own to the chain."""

    def add(change):
        folder = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, folder)
        config = Config()
        config.set_main_option("script_location", str(folder))
        head = migrate.ScriptDirectory.from_config(config).get_current_head()
        source = REVISION.format(head=head, change=change)
        (folder / "versions" / "control.py").write_text(source)
        monkeypatch.setattr(migrate, "_MIGRATIONS", folder)

    return add


def test_control_a_column_with_a_default_may_be_added(old, add_migration):
    add_migration(ADDS)
    migrate.upgrade(old.store)
    assert "note" in {c["name"] for c in inspect(old.store.engine).get_columns("wallets")}
    old.go_on()


def test_control_a_column_that_is_renamed_breaks_the_previous_release(old, add_migration):
    add_migration(RENAMES_IN_BATCH if old.store.is_sqlite else RENAMES)
    migrate.upgrade(old.store)
    driver = old.store.engine.dialect.dbapi
    with pytest.raises(driver.Error, match="rolls"):
        old.go_on()


def check_undone(old):
    with old.store.read() as connection:
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    assert version == old.revision
    assert old.all_rows() == old.opened


def test_control_a_migration_that_loses_a_guard_is_undone(old, add_migration):
    add_migration(COPIES.format(table="entries") if old.store.is_sqlite else UNGUARDS)
    with pytest.raises(DatabaseProblem, match="guard_entries"):
        old.open_new()
    check_undone(old)


def test_control_a_copy_of_a_table_that_others_refer_to_is_undone(old, add_migration):
    """On SQLite only books with rows in them show it: the old table cannot be dropped."""
    if not old.store.is_sqlite:
        pytest.skip("PostgreSQL alters a table in place")
    add_migration(COPIES.format(table="wallets"))
    with pytest.raises(DatabaseProblem, match="FOREIGN KEY"):
        old.open_new()
    check_undone(old)
