"""What all tables share: one metadata, and the three kinds of column that books are made of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String

__all__ = ["grains", "identifier", "instant", "metadata"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def identifier(name: str, *args: object, **options: object) -> Column[str]:
    """Return a column for an opaque id."""
    return Column(name, String(64), *args, **options)  # type: ignore[arg-type]


def grains(name: str, *, nullable: bool = False) -> Column[int]:
    """Return a column for an amount; 0 unless it may be missing."""
    return Column(name, BigInteger, nullable=nullable, server_default=None if nullable else "0")


def instant(name: str, *, nullable: bool = True) -> Column[int]:
    """Return a column for an instant, in milliseconds since the epoch."""
    return Column(name, BigInteger, nullable=nullable)
