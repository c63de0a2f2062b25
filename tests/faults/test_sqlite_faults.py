"""A file that fails: no room, no right to write, somebody else's lock.

Each is said clearly, with what to do about it; nothing is lost, and once the cause is gone the
same ledger works again.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from jhub_tokens.ledger import DatabaseProblem, open_ledger
from jhub_tokens.wire import Identity, Snapshot
from tests.faults.contents import Contents
from tests.ledger.conftest import World

NOBODY = 65_534
CROWD = [Identity(hub_user_id=n, created="2026-02-01", name=f"n{n}") for n in range(50, 70)]


@pytest.fixture
def world(sqlite_template):
    # Not below pytest's own folder, which nobody else may enter.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        path = Path(folder, "books.sqlite")
        path.write_bytes(Path(sqlite_template).read_bytes())
        os.chmod(path, 0o666)
        made = World(f"sqlite:///{path}")
        made.path = path
        yield made
        assert made.ledger.audit() == ()
        made.ledger.close()


@pytest.fixture
def contents(world):
    read = Contents(world.url)
    yield read
    read.close()


@contextmanager
def pragma(statement):
    """Run a PRAGMA on each SQLite connection whenever it is taken from its pool."""

    def on_checkout(connection, *_):
        connection.execute(f"PRAGMA {statement}")

    event.listen(Pool, "checkout", on_checkout)
    try:
        yield
    finally:
        event.remove(Pool, "checkout", on_checkout)


def fill(world, member, rounds=400):
    """Book until it fails; return the problem and how many grants were answered."""
    for done in range(rounds):
        try:
            world.give(member, 1)
        except DatabaseProblem as problem:
            return problem, done
    raise AssertionError("it never failed")


# --- no room --------------------------------------------------------------------------------


def test_a_full_disk_says_so_and_loses_nothing(world, contents, figure):
    member, _ = world.join()
    with sqlite3.connect(world.path) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.close()
    with pragma(f"max_page_count = {pages + 3}"):
        problem, answered = fill(world, member)
        before = contents.dump()
        with pytest.raises(DatabaseProblem):  # a change of many rows needs a page for sure
            world.ledger.observe(Snapshot(epoch="a-full-disk", sequence=1, members=CROWD))
    assert problem.message == "The disk is full."
    assert "Make room" in problem.remedy
    assert contents.dump() == before
    assert world.tokens(member) == 100 + answered
    assert world.ledger.audit() == ()
    with pragma("max_page_count = 1000000"):  # there is room again
        world.give(member, 5)
    assert world.tokens(member) == 105 + answered
    figure("disk full, SQLite", f"{answered} grants answered, {answered} in the books")


def test_control_two_statements_by_themselves_lose_the_difference(tmp_path):
    """A naive book: first the balance, then the entry, each kept as soon as it is written."""
    naive = sqlite3.connect(tmp_path / "naive.sqlite", isolation_level=None)
    naive.execute("CREATE TABLE balance (amount)")
    naive.execute("CREATE TABLE entries (amount, remark)")
    naive.execute("INSERT INTO balance VALUES (0)")
    naive.execute("PRAGMA max_page_count = 8")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        for _ in range(100):
            naive.execute("UPDATE balance SET amount = amount + 1")
            naive.execute("INSERT INTO entries VALUES (1, ?)", ("x" * 2_000,))
    (balance,) = naive.execute("SELECT amount FROM balance").fetchone()
    (booked,) = naive.execute("SELECT sum(amount) FROM entries").fetchone()
    naive.close()
    assert balance == booked + 1


# In a process of its own: the limit holds for all that it writes.
LIMITED = """
import json, resource, signal, sys
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import DatabaseProblem
from tests.ledger.conftest import World

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
world = World(sys.argv[1])
member, _ = world.join()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
answered, problem = 0, None
try:
    for _ in range(2_000):
        world.give(member, 1)
        answered += 1
except DatabaseProblem as error:
    problem = [error.message, error.remedy]
balance = world.tokens(member)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
world.give(member, 5)
findings = [str(finding) for finding in world.ledger.audit()]
print(json.dumps([answered, problem, balance, world.tokens(member), findings]))
"""


@pytest.fixture
def limited(world):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, world.url, str(world.path.stat().st_size + 60_000)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_file_that_may_not_grow_loses_nothing(limited, world, figure):
    answered, problem, balance, later, findings = limited
    assert problem is not None and 0 < answered < 2_000
    assert balance == 100 + answered
    assert later == balance + 5  # the same ledger, once there is room
    assert findings == []
    figure("file size limit, SQLite", f"{answered} grants answered, {answered} in the books")


def test_a_file_that_may_not_grow_names_the_disk(limited):
    _, (message, remedy), *_ = limited
    assert "disk" in message.lower() and "reached" not in message
    assert "URL" not in remedy


# --- no right to write ----------------------------------------------------------------------


def as_nobody(url, *, write):
    """Open the books as a user without rights and read or write; return problem or balance."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:  # only the child gives up its rights
        answer = "it crashed"
        try:
            if os.geteuid() == 0:
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            world = World(url)
            member = world.ledger.member_by_name("lara")
            if write:
                world.give(member, 5)
            answer = ["", str(world.tokens(member))]
        except DatabaseProblem as problem:
            answer = [problem.message, problem.remedy]
        except BaseException as error:
            answer = ["crashed", repr(error)]
        finally:
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = json.load(pipe)
    os.waitpid(child, 0)
    return answer


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_read_only_says_so(what, world, contents):
    world.join()
    world.ledger.close()
    before = contents.dump()
    contents.close()  # the last connection leaves the file without a log beside it
    target = world.path if what == "file" else world.path.parent
    rights = target.stat().st_mode
    os.chmod(target, 0o444 if what == "file" else 0o555)
    message, remedy = as_nobody(world.url, write=True)
    assert message in ("The database is read-only.", "The database file cannot be opened.")
    assert "folder" in remedy
    os.chmod(target, rights)
    assert contents.dump() == before
    assert as_nobody(world.url, write=True) == ["", "105.0"]


# --- somebody else's lock -------------------------------------------------------------------

HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
database.execute("DELETE FROM notices")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def second_process(path):
    """Another process holds the write lock and has written what it never commits."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    try:
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def test_a_second_process_with_the_lock_is_named_and_reading_goes_on(world, contents):
    member, _ = world.join()
    world.give(member, 5)
    before = contents.dump()
    with second_process(world.path) as holder, pragma("busy_timeout = 50"):
        with pytest.raises(DatabaseProblem) as problem:
            world.give(member, 5, key="the-same-key")
        assert problem.value.message == "Another process holds the database."
        assert "wait" in problem.value.remedy
        assert world.tokens(member) == 105
        assert contents.dump() == before
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        world.give(member, 5, key="the-same-key")
    assert world.tokens(member) == 110


def test_opening_books_that_are_locked_says_so(world):
    with (
        second_process(world.path),
        pragma("busy_timeout = 50"),
        pytest.raises(DatabaseProblem, match="Another process holds the database"),
    ):
        open_ledger(world.url)
