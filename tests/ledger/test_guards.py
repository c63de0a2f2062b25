"""Guards are checked at each start by what they do, not by what they are called."""

import hashlib

import pytest
from sqlalchemy import text

from jhub_tokens.ledger import DatabaseProblem, guards, open_ledger
from jhub_tokens.ledger.posting import postgresql_triggers, sqlite_triggers
from jhub_tokens.ledger.store import Store, open_engine

ON_BOTH = {
    "dropped": (["DROP TRIGGER guard_entries_update{on}"], "guard_entries_update is missing"),
}
NO_GUARD = "SELECT 1 WHERE FALSE"
ON_SQLITE = {
    **ON_BOTH,
    "does nothing": (
        [
            "DROP TRIGGER guard_entries_update",
            f"CREATE TRIGGER guard_entries_update BEFORE UPDATE ON entries BEGIN {NO_GUARD}; END",
        ],
        "guard_entries_update is not what these books put there",
    ),
    "only sometimes": (
        [
            "DROP TRIGGER guard_transactions_delete",
            "CREATE TRIGGER guard_transactions_delete BEFORE DELETE ON transactions "
            "WHEN OLD.number > 9 BEGIN SELECT RAISE(ABORT, 'transactions are append-only'); END",
        ],
        "guard_transactions_delete is not what these books put there",
    ),
    "closed months stay open": (
        [
            "DROP TRIGGER post_transactions",
            f"CREATE TRIGGER post_transactions AFTER INSERT ON transactions BEGIN {NO_GUARD}; END",
        ],
        "post_transactions is not what these books put there",
    ),
    "on another table": (
        [
            "DROP TRIGGER guard_entries_update",
            "CREATE TRIGGER guard_entries_update BEFORE UPDATE ON remarks BEGIN "
            "SELECT RAISE(ABORT, 'entries are append-only'); END",
        ],
        "guard_entries_update is not what these books put there",
    ),
}
AGAIN = "CREATE TRIGGER guard_entries_update {how} EXECUTE FUNCTION {function}()"
DROP = "DROP TRIGGER guard_entries_update ON entries"
LETS_PASS = (
    "CREATE FUNCTION lets_pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
)
ON_POSTGRESQL = {
    **ON_BOTH,
    "switched off": (
        ["ALTER TABLE entries DISABLE TRIGGER guard_entries_update"],
        "guard_entries_update is switched off",
    ),
    "for replicas only": (
        ["ALTER TABLE entries ENABLE REPLICA TRIGGER guard_entries_update"],
        "guard_entries_update is switched off",
    ),
    "all switched off": (
        ["ALTER TABLE transactions DISABLE TRIGGER ALL"],
        "guard_transactions_delete is switched off",
    ),
    "on another table": (
        [
            DROP,
            AGAIN.format(how="BEFORE UPDATE ON remarks", function="refuse_change"),
        ],
        "guard_entries_update is missing",
    ),
    "another function": (
        [DROP, LETS_PASS, AGAIN.format(how="BEFORE UPDATE ON entries", function="lets_pass")],
        "guard_entries_update calls a function that is not ours",
    ),
    "the function replaced": (
        [
            LETS_PASS.replace(
                "CREATE FUNCTION lets_pass", "CREATE OR REPLACE FUNCTION refuse_change"
            )
        ],
        "calls a function that is not ours",
    ),
    "closed months stay open": (
        [
            LETS_PASS.replace(
                "CREATE FUNCTION lets_pass", "CREATE OR REPLACE FUNCTION post_money_moves"
            )
        ],
        "post_money_moves calls a function that is not ours",
    ),
    "closing switched off": (
        ["ALTER TABLE transactions DISABLE TRIGGER post_transactions"],
        "post_transactions is switched off",
    ),
    "after, for each row": (
        [
            DROP,
            AGAIN.format(how="AFTER UPDATE ON entries FOR EACH ROW", function="refuse_change"),
        ],
        "guard_entries_update does not fire for every change",
    ),
    "another operation": (
        [DROP, AGAIN.format(how="BEFORE INSERT ON entries", function="refuse_change")],
        "guard_entries_update does not fire for every change",
    ),
    "some columns": (
        [DROP, AGAIN.format(how="BEFORE UPDATE OF from_ms ON entries", function="refuse_change")],
        "guard_entries_update does not fire for every change",
    ),
    "a condition": (
        [
            DROP,
            AGAIN.format(how="BEFORE UPDATE ON entries WHEN (1 > 2)", function="refuse_change"),
        ],
        "guard_entries_update does not fire for every change",
    ),
    "passed by": (
        ["ALTER DATABASE {database} SET session_replication_role = 'replica'"],
        "session_replication_role is 'replica'",
    ),
}


def spoil(url, statements):
    store = Store(open_engine(url))
    names = {
        "on": "" if store.is_sqlite else " ON entries",
        "database": store.engine.url.database,
    }
    with store.write() as connection:
        for statement in statements:
            connection.execute(text(statement.format(**names)))
    store.close()


def cases(database, found):
    mark = pytest.mark.postgresql if database == "postgresql" else ()
    return [
        pytest.param(database, *case, id=f"{database}-{name}", marks=mark)
        for name, case in found.items()
    ]


@pytest.mark.parametrize(
    ("database_url", "statements", "said"),
    cases("sqlite", ON_SQLITE) + cases("postgresql", ON_POSTGRESQL),
    indirect=["database_url"],
)
def test_a_guard_that_does_not_guard_is_noticed_at_start(database_url, statements, said):
    open_ledger(database_url).close()
    spoil(database_url, statements)
    with pytest.raises(DatabaseProblem) as problem:
        open_ledger(database_url)
    assert said in problem.value.message
    assert problem.value.remedy


def test_what_the_triggers_say_changes_with_a_migration_only():
    """At a start they are compared with the code: a new text here needs a revision that puts it in.

    `posting.install_posting` and `guards.install_guards` do; then this is the new text's.
    """
    said = [guards._FUNCTION, *map(str, postgresql_triggers().items())]
    said += [guards._on_sqlite("entries", "UPDATE"), *map(str, sqlite_triggers().items())]
    assert hashlib.sha256("\n".join(said).encode()).hexdigest()[:16] == "57b4c3678b74576f"


@pytest.mark.postgresql
def test_guards_may_also_be_there_always(service_books):
    url = service_books()
    always = "ALTER TABLE entries ENABLE ALWAYS TRIGGER guard_entries_update"
    spoil(service_books.owner_url(url), [always])
    open_ledger(url).close()
