"""PostgreSQL: an owner who makes the schema, and a service's role that owns nothing.

That every operation works for such a role is in ``tests/faults/test_service_role.py``.
"""

import re
import uuid
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from jhub_tokens.cli import main
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import DatabaseProblem, migrate, open_ledger
from jhub_tokens.ledger.privileges import grant_privileges, privileges
from jhub_tokens.ledger.schema import metadata
from jhub_tokens.ledger.store import Store, open_engine
from tests.ledger.conftest import NOVEMBER_MS, World

pytestmark = pytest.mark.postgresql


@pytest.fixture
def books(service_books):
    """Books with rows in them: the URLs of the service and of the owner."""
    url = service_books()
    world = World(url)
    member, _ = world.join()
    world.give(member, 1)
    world.ledger.close()
    return url, service_books.owner_url(url)


def run(url, statement):
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            return connection.execute(text(statement))
    finally:
        engine.dispose()


FORBIDDEN = [
    *(
        f"{change} {table}{rest}"
        for table in ("entries", "transactions", "remarks", "idempotency", "tombstones")
        for change, rest in (("DELETE FROM", ""), ("TRUNCATE", ""))
    ),
    "UPDATE entries SET amount_grains = 0",
    "UPDATE transactions SET hash = ''",
    "UPDATE alembic_version SET version_num = '0001'",
    "DELETE FROM wallets",
    "DELETE FROM members",
    "TRUNCATE voucher_tries",
    "DROP TABLE entries",
    "DROP TRIGGER guard_entries_update ON entries",
    "ALTER TABLE entries DISABLE TRIGGER guard_entries_update",
    "ALTER TABLE entries DISABLE TRIGGER ALL",
    "ALTER TABLE entries ADD COLUMN x integer",
    "ALTER TABLE entries RENAME TO entries_of_old",
    "CREATE TRIGGER x BEFORE INSERT ON entries EXECUTE FUNCTION refuse_change()",
    "CREATE RULE x AS ON INSERT TO entries DO INSTEAD NOTHING",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RETURN NULL; END $$",
    "CREATE TABLE mine (x integer)",
    "SET session_replication_role = 'replica'",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_services_role_cannot(books, statement):
    url, owner = books
    counts = "SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM remarks)"
    with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
        run(url, statement)
    engine = create_engine(owner)
    with engine.connect() as connection:
        assert min(connection.execute(text(counts)).one()) > 0
    engine.dispose()


def test_every_table_has_its_privileges():
    assert privileges().keys() - {"alembic_version"} == metadata.tables.keys()
    for table in migrate.GUARDED_TABLES:
        assert privileges()[table] == ("SELECT", "INSERT")


def test_the_guide_says_what_is_granted():
    guide = (Path(__file__).parents[2] / "docs/operator-guide.md").read_text(encoding="utf-8")
    section = guide[guide.index("What it is granted") : guide.index("It can truncate nothing")]
    told, others = {}, ()
    for line in section.splitlines():
        if line.startswith("| `") or line.startswith("| all"):
            tables, granted = (re.findall(r"`(\w+)`", cell) for cell in line.split("|")[1:3])
            told |= dict.fromkeys(tables, tuple(granted))
            others = others if tables else tuple(granted)
    assert privileges() == {table: told.get(table, others) for table in privileges()}


# --- opening ----------------------------------------------------------------------------------


@pytest.fixture
def make_database(service_books):
    """Make empty databases; returns the URLs of the service's role and of the owner."""

    def make():
        name = f"empty_{uuid.uuid4().hex}"
        service_books.execute(f"CREATE DATABASE {name}")
        owner = service_books.url(name)
        who = {"username": service_books.role, "password": service_books.password}
        return service_books.url(name, **who), owner

    return make


def tables(url):
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            return connection.execute(text(query)).scalar_one()
    finally:
        engine.dispose()


def migrate_to(url, revision):
    store = Store(open_engine(url))
    config = migrate._config()
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    store.close()


def grant(url, role):
    store = Store(open_engine(url))
    with store.write() as connection:
        grant_privileges(connection, role)
    store.close()


def problem_of(url, **options):
    with pytest.raises(DatabaseProblem) as caught:
        open_ledger(url, **options)
    return caught.value


def test_a_role_that_owns_nothing_tries_no_ddl(make_database):
    url, owner = make_database()
    problem = problem_of(url)
    assert "no schema yet" in problem.message and "does not own it" in problem.message
    assert "jhub-tokens migrate" in problem.remedy
    assert tables(owner) == 0


def test_an_older_schema_waits_for_its_owner(make_database):
    url, owner = make_database()
    migrate_to(owner, "0001")
    run(owner, f"GRANT SELECT ON alembic_version TO {make_url(url).username}")
    problem = problem_of(url)
    assert "schema 0001" in problem.message and "does not own it" in problem.message
    assert "as the owner" in problem.remedy


def test_an_owner_may_be_forbidden_to_upgrade_by_itself(make_database):
    _, owner = make_database()
    problem = problem_of(owner, may_migrate=False)
    assert "may not change it" in problem.message
    assert tables(owner) == 0
    open_ledger(owner).close()
    open_ledger(owner, may_migrate=False).close()


def test_a_role_without_its_privileges_is_told_which(make_database):
    url, owner = make_database()
    role = make_url(url).username
    open_ledger(owner).close()
    problem = problem_of(url)
    assert "may not read the books" in problem.message
    assert f"--grant-to {role}" in problem.remedy
    grant(owner, role)
    open_ledger(url).close()
    run(owner, f"REVOKE INSERT ON tombstones FROM {role}")
    problem = problem_of(url)
    assert "INSERT" in problem.message and "tombstones" in problem.message
    assert f"--grant-to {role}" in problem.remedy


def test_what_a_role_had_before_is_taken_away(make_database):
    url, owner = make_database()
    role = make_url(url).username
    open_ledger(owner).close()
    run(owner, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    grant(owner, role)
    with pytest.raises(DBAPIError, match="permission denied"):
        run(url, "DELETE FROM wallets")
    with pytest.raises(DBAPIError, match="permission denied"):
        run(url, "TRUNCATE entries CASCADE")


# --- the command ------------------------------------------------------------------------------


def test_the_owners_command(make_database, capsys):
    url, owner = make_database()
    role = make_url(url).username
    assert main(["migrate", "--database", owner, "--check"]) == 1
    assert "no schema yet" in capsys.readouterr().out
    assert tables(owner) == 0
    assert main(["migrate", "--database", owner, "--grant-to", role]) == 0
    out = capsys.readouterr().out
    assert "created" in out and role in out
    assert main(["migrate", "--database", owner]) == 0
    assert "is there already" in capsys.readouterr().out
    assert main(["migrate", "--database", url, "--check"]) == 0
    ledger = open_ledger(url, ManualClock(NOVEMBER_MS))
    assert ledger.audit() == ()
    ledger.close()


def test_the_command_upgrades_and_says_from_where(make_database, capsys):
    _, owner = make_database()
    migrate_to(owner, "0001")
    assert main(["migrate", "--database", owner, "--check"]) == 1
    assert "schema 0001" in capsys.readouterr().out
    assert main(["migrate", "--database", owner]) == 0
    assert "upgraded from 0001" in capsys.readouterr().out


def test_what_is_shown_is_what_is_granted(make_database, capsys):
    url, owner = make_database()
    role = make_url(url).username
    assert main(["migrate", "--database", owner, "--show-grants", role]) == 1
    assert "without --show-grants first" in capsys.readouterr().err
    open_ledger(owner).close()
    assert main(["migrate", "--database", owner, "--show-grants", role]) == 0
    statements = capsys.readouterr().out
    assert f"GRANT SELECT, INSERT ON TABLE entries TO {role};" in statements
    assert "may not read" in problem_of(url).message, "shown, not run"
    run(owner, statements)
    open_ledger(url).close()


def test_a_role_that_cannot_be_held_back_is_refused(make_database, capsys):
    url, owner = make_database()
    superuser = make_url(owner).username
    assert main(["migrate", "--database", owner, "--grant-to", superuser]) == 1
    assert "owns the tables" in capsys.readouterr().err
    assert main(["migrate", "--database", owner, "--grant-to", "no-such-role"]) == 1
    assert "no role 'no-such-role'" in capsys.readouterr().err
    assert main(["migrate", "--database", url, "--grant-to", "postgres"]) == 1
    assert "may not read the books" in capsys.readouterr().err


def test_sqlite_has_no_roles(tmp_path, capsys):
    path = str(tmp_path / "books.sqlite")
    assert main(["migrate", "--database", path, "--grant-to", "tokens"]) == 2
    assert "SQLite has no roles" in capsys.readouterr().err
    assert main(["migrate", "--database", path]) == 0
    assert main(["migrate", "--database", path, "--check"]) == 0
    assert main(["migrate"]) == 2
    assert "no database" in capsys.readouterr().err
