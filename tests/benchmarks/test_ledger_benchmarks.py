"""What the ledger's benchmarks rest on: copies that are sound books, and faithful replays."""

import dataclasses
import json
import re

import pytest

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger import __main__ as command
from benchmarks.ledger import copies
from benchmarks.ledger.admissions import _admit
from benchmarks.ledger.copies import FIRST_SUFFIX, copied, populate, suffix
from benchmarks.ledger.databases import SqliteSite, open_sites
from benchmarks.ledger.pgbench import find_pgbench, run_pgbench, script
from benchmarks.ledger.recording import Step, recording, replay, statements
from benchmarks.ledger.tables import Part, per_second
from benchmarks.ledger.worlds import catalogue, make_model
from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import open_ledger

pytestmark = pytest.mark.slow

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def idle():
    return make_model("idle")


@pytest.fixture(scope="module")
def due():
    return make_model("due")


@pytest.fixture(
    scope="module",
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)],
)
def site(request):
    with open_sites((request.param,)) as (site,):
        yield site


def rows(site, name, query):
    connection = site.connect(name)
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        return cursor.fetchall()
    finally:
        connection.close()


def audited(site, name):
    ledger = open_ledger(site.url(name), ManualClock(0), catalogue)
    try:
        return ledger.audit()
    finally:
        ledger.close()


# --- copies -----------------------------------------------------------------------------------


def test_a_copy_has_other_ids_and_the_same_hashes_of_other_things():
    assert copied(f"{ID}-0-plan", "87654321") == "0123456789abcdef0123456787654321-0-plan"
    assert copied(ID + ID, "87654321") == ID + ID
    assert suffix(7) == str(FIRST_SUFFIX + 7)


def test_copies_are_books_that_the_audit_accepts_and_the_warden_advances(site, idle, due):
    site.create("books")
    populate(site, "books", due, 4)
    populate(site, "books", due, 2, first=4)
    populate(site, "books", idle, 3, first=6)
    ledger = open_ledger(site.url("books"), ManualClock(due.now_ms), catalogue)
    try:
        assert ledger.audit() == ()
        assert ledger.totals()["members"] == 9
        done = ledger.advance_due()
        assert (done.wallets, done.notices) == (6, 6)
        assert ledger.audit() == ()
    finally:
        ledger.close()


def test_control_the_audit_sees_copies_whose_chain_is_not_computed_anew(tmp_path, due):
    wrong = dataclasses.replace(due, hashed={k: v + " " for k, v in due.hashed.items()})
    site = SqliteSite(tmp_path)
    site.create("books")
    populate(site, "books", wrong, 2)
    assert any("hash does not fit" in str(finding) for finding in audited(site, "books"))


def test_a_chain_that_hashes_otherwise_is_said_so(tmp_path, due):
    site = SqliteSite(tmp_path)
    site.create("books")
    with pytest.raises(BenchmarkError, match="no longer hashes"):
        populate(site, "books", dataclasses.replace(due, hashed={}), 1)


def test_indexes_that_were_dropped_for_filling_are_made_again(site, idle, monkeypatch):
    monkeypatch.setattr(copies, "_MANY", 2)
    query = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql <> '' ORDER BY name",
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    }[site.kind]
    site.create("books")

    def indexes() -> list[str]:
        # PostgreSQL writes the casts of a condition otherwise when it has read its own words.
        return [re.sub(r"::[a-z ]+(\[\])?|[()]", "", sql) for (sql,) in rows(site, "books", query)]

    before = indexes()
    populate(site, "books", idle, 2)
    assert indexes() == before


def test_a_model_survives_being_kept_as_json(due):
    assert copies.Model(**json.loads(json.dumps(dataclasses.asdict(due)))) == due


# --- recording and replaying ------------------------------------------------------------------


def test_a_replay_leaves_the_books_that_the_ledger_left(site, idle):
    site.create("members")
    populate(site, "members", idle, 3)
    site.copy("members", "ours")
    site.copy("members", "theirs")
    with recording() as recorder:
        ledger = open_ledger(site.url("ours"), ManualClock(idle.now_ms), catalogue)
        for number in (0, 1):
            with recorder.operation():
                _admit(ledger, idle, number)
        _admit(ledger, idle, 2)  # outside of an operation: not recorded
        ledger.close()
    first, second = recorder.operations
    assert statements(first) == statements(second) > 5
    assert first[-1].kind == "commit" or first[-1].text == "COMMIT"
    assert not any("PRAGMA" in step.text or step.text == "SELECT 1" for step in first)
    connection = site.connect("theirs")
    replay(connection, recorder.operations)
    connection.close()
    started = "SELECT * FROM sessions ORDER BY start_key"
    counted = "SELECT wallet_id, open_sessions FROM wallets ORDER BY wallet_id"
    assert rows(site, "theirs", started) == rows(site, "ours", started)[:2]
    assert rows(site, "theirs", counted)[:2] == rows(site, "ours", counted)[:2]
    assert audited(site, "theirs") == ()


def test_nothing_is_recorded_once_recording_is_over(tmp_path, idle):
    site = SqliteSite(tmp_path)
    site.create("members")
    populate(site, "members", idle, 1)
    with recording() as recorder:
        pass
    ledger = open_ledger(site.url("members"), ManualClock(idle.now_ms), catalogue)
    with recorder.operation():
        _admit(ledger, idle, 0)
    ledger.close()
    assert recorder.operations == [[]]


# --- pgbench ----------------------------------------------------------------------------------


def test_a_script_has_the_clients_digits_in_every_id_and_no_stray_variables():
    text = "UPDATE t SET a = %(a)s, b = %(b)s::VARCHAR, c = %(c)s, d = %(d)s WHERE id = %(id)s"
    values = {"a": 5, "b": "it's 12:30", "c": None, "d": True, "id": f"x-{ID}-plan"}
    lines = script([Step("execute", text, values), Step("commit")]).splitlines()
    assert lines[2:] == [
        "BEGIN;",
        "UPDATE t SET a = 5, b = E'it''s 12\\x3A30'::VARCHAR, c = NULL, d = true"
        " WHERE id = (E'x-0123456789abcdef01234567' || :digits || E'-plan');",
        "COMMIT;",
    ]


def test_a_batch_is_a_statement_for_each_row_and_a_begin_is_not_doubled():
    batch = Step("executemany", "INSERT INTO t VALUES (%s, %s)", [(1, ["a"]), (2, [])])
    lines = script([Step("execute", "BEGIN"), batch, Step("execute", "COMMIT")]).splitlines()
    assert lines[2:] == [
        "BEGIN;",
        "INSERT INTO t VALUES (1, ARRAY[E'a']);",
        "INSERT INTO t VALUES (2, ARRAY[]);",
        "COMMIT;",
    ]


@pytest.mark.postgresql
@pytest.mark.skipif(find_pgbench() is None, reason="pgbench is not on this machine")
def test_pgbench_admits_as_the_ledger_does(idle):
    with open_sites(("postgresql",)) as (site,):
        site.create("members")
        populate(site, "members", idle, 5)
        site.copy("members", "theirs")
        with recording() as recorder:
            ledger = open_ledger(site.url("members"), ManualClock(idle.now_ms), catalogue)
            with recorder.operation():
                _admit(ledger, idle, 4)
            ledger.close()
        took_s = run_pgbench(
            find_pgbench(), site.uri("theirs"), script(recorder.operations[0]),
            clients=2, transactions=4, first=FIRST_SUFFIX,
        )  # fmt: skip
        assert took_s > 0
        started = "SELECT start_key FROM sessions ORDER BY start_key"
        keys = [key for (key,) in rows(site, "theirs", started)]
        assert keys == [f"start-{'0' * 24}{suffix(number)}" for number in range(4)]
        # A hash does not end in a member's digits: all four got the recorded member's head.
        findings = [finding.message for finding in audited(site, "theirs")]
        assert len(findings) == 4, findings
        assert all("its tail was cut or changed" in message for message in findings)
        with pytest.raises(BenchmarkError, match="pgbench failed"):
            run_pgbench(
                find_pgbench(), site.uri("theirs"), "SELECT nothing;\n",
                clients=1, transactions=1, first=0,
            )  # fmt: skip


# --- what is printed --------------------------------------------------------------------------


def test_a_rate_is_the_median_of_the_rounds_with_its_spread():
    assert per_second([1.0, 2.0, 4.0], 100) == "50 [25, 100]/s"


def test_a_table_has_the_columns_of_its_part():
    part = Part("p", "Title", ("", "ours", "aim"), [("a", "12 ms", "≤ 5")], ["a note"])
    assert part.render().splitlines() == [
        "Title",
        "       ours   aim",
        "  ───────────────",
        "  a   12 ms   ≤ 5",
        "  · a note",
    ]


def test_an_unknown_part_is_named_with_those_that_exist(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks.ledger", "speed"])
    with pytest.raises(SystemExit) as exit:
        command.main()
    assert exit.value.code == 2
    assert "no part 'speed'; choose from admissions, settle" in capsys.readouterr().err
