"""Somebody who can write to all of the database, past every guard."""

from sqlalchemy import select, text, update

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.audit import audit
from jhub_tokens.ledger.chain import Entry, Naming, transaction_hash
from jhub_tokens.ledger.migrate import GUARDED_TABLES
from jhub_tokens.ledger.store import Store, open_engine

t, e, w = schema.transactions, schema.entries, schema.wallets


def found(world, *statements, exported=None):
    """Run SQL or functions of a connection behind the books' back; return what the audit says.

    All of it is undone.
    """
    store = Store(open_engine(world.url))
    try:
        with store.write() as connection:
            _unguard(connection, store.is_sqlite)
            for statement in statements:
                if callable(statement):
                    statement(connection)
                else:
                    done = connection.execute(text(statement))
                    assert done.rowcount, "the control changes nothing"
            findings = [str(f) for f in audit(connection, world.clock.now_ms(), exported)]
            connection.rollback()
        return findings
    finally:
        store.close()


def _unguard(connection, is_sqlite):
    for table in GUARDED_TABLES:
        for operation in ("update", "delete"):
            on = "" if is_sqlite else f" ON {table}"
            connection.execute(text(f"DROP TRIGGER IF EXISTS guard_{table}_{operation}{on}"))
    if is_sqlite:
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))
    else:
        connection.execute(text("SET session_replication_role = replica"))


def head_follows(connection, wallet_id):
    """Let the wallet's row agree with the chain as it is now."""
    last = connection.execute(
        select(t).where(t.c.wallet_id == wallet_id).order_by(t.c.number.desc()).limit(1)
    ).one()
    connection.execute(
        update(w)
        .where(w.c.wallet_id == wallet_id)
        .values(transactions_count=last.number, head_hash=last.hash)
    )


def rehash(connection, wallet_id):
    """Make a wallet's whole chain anew, so that it fits what stands in it now."""
    previous = ""
    rows = connection.execute(select(t).where(t.c.wallet_id == wallet_id).order_by(t.c.number))
    for row in rows.all():
        lines = connection.execute(
            select(e).where(e.c.transaction_id == row.transaction_id).order_by(e.c.line)
        )
        entries = [
            Entry(x.account, x.amount_grains, x.grant_id, x.session_id, x.from_ms, x.to_ms)
            for x in lines
        ]
        facts = (row.transaction_id, row.wallet_id, row.number, row.kind, row.at_ms, row.booked_ms)
        naming = Naming(row.actor, row.reason, row.remark_hash) if row.version == 2 else None
        digest = transaction_hash(previous, *facts, entries, naming)
        this = update(t).where(t.c.transaction_id == row.transaction_id)
        connection.execute(this.values(previous_hash=previous, hash=digest))
        previous = digest
    head_follows(connection, wallet_id)
