"""Fixtures: worlds on either database, as many as a test asks for, audited at its end.

Import `new_worlds` (and `one_world`) where they are used; they are found as ``new_world`` and
``world``.
"""

import shutil
import uuid

import pytest

from tests.ledger.conftest import World

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class WorldMaker:
    """Makes worlds, each on a database of its own."""

    def __init__(self, database, new_url):
        self.database = NAMES[database]
        self.is_sqlite = database == "sqlite"
        self.new_url = new_url
        self.made = []

    def __call__(self, **options):
        world = World(self.new_url(), **options)
        self.made.append(world)
        return world

    def let_go(self, world):
        """Close a world without an audit, as one that a control has spoilt on purpose."""
        self.made.remove(world)
        world.ledger.close()

    def end(self, *worlds):
        """Audit worlds and close them, without any given: all."""
        ended = worlds or tuple(self.made)
        findings = [finding for world in ended for finding in world.ledger.audit()]
        for world in ended:
            self.let_go(world)
        assert not findings, "\n".join(map(str, findings))


@pytest.fixture(
    name="new_world", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def new_worlds(request, tmp_path):
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")

        def new_url():
            path = tmp_path / f"{uuid.uuid4().hex}.sqlite"
            shutil.copy(template, path)
            return f"sqlite:///{path}"
    else:
        new_url = request.getfixturevalue("postgres_template")
    maker = WorldMaker(request.param, new_url)
    yield maker
    maker.end()


@pytest.fixture(name="world")
def one_world(new_world):
    return new_world()
