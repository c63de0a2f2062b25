"""Alembic's environment: runs on the connection that `jhub_tokens.ledger.migrate` hands over."""

from alembic import context

from jhub_tokens.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # The whole upgrade is one transaction, begun by the caller: all of it, or nothing.
    transactional_ddl=False,
)
context.run_migrations()
