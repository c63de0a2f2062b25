"""Seals: what even somebody who can write to all of the database cannot hide."""

import json
from contextlib import closing

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.exported_seals import ExportedSeals, SealFileProblem, append_seals
from jhub_tokens.ledger.seals import Head, seal_hash
from jhub_tokens.ledger.store import Store, open_engine

from .conftest import HOUR_MS
from .tampering import e, found, head_follows, rehash, t, w

EVERY_MS = HOUR_MS
s, h = schema.seals, schema.seal_heads


@pytest.fixture
def sealed(world, tmp_path):
    """Two wallets of several transactions, sealed at 2 and 1, then at 5 and 1, and kept."""
    (lara, _), (rolf, _) = world.join("lara"), world.join("rolf")
    world.give(lara, 1)
    world.ledger.seals.make()
    for tokens in (2, 3, 4):
        world.give(lara, tokens)
    world.ledger.seals.make()
    world.give(lara, 5)  # not sealed yet
    world.lara, world.rolf = lara.wallet_id, rolf.wallet_id
    world.file = tmp_path / "seals.jsonl"
    append_seals(world.ledger.seals, world.file)
    return world


def with_file(world, *tampering, key=""):
    with closing(ExportedSeals([world.file], key)) as exported:
        return found(world, *tampering, exported=exported)


def edit(number):
    """Make an amount larger, and everything else in the database agree with it."""

    def tamper(connection):
        wallet_id = connection.execute(
            select(t.c.wallet_id).where(t.c.number == number, t.c.kind == "topup").limit(1)
        ).scalar_one()
        of = select(t.c.transaction_id).where(t.c.wallet_id == wallet_id, t.c.number == number)
        lines = connection.execute(select(e).where(e.c.transaction_id.in_(of))).all()
        for line in lines:
            this = (e.c.transaction_id == line.transaction_id, e.c.line == line.line)
            connection.execute(update(e).where(*this).values(amount_grains=line.amount_grains * 2))
            if line.grant_id is not None:
                more = {
                    "granted_grains": schema.grants.c.granted_grains * 2,
                    "remaining_grains": schema.grants.c.remaining_grains * 2,
                }
                grant = schema.grants.c.grant_id == line.grant_id
                connection.execute(update(schema.grants).where(grant).values(more))
                w = schema.wallets.c
                listed = {"balance_grains": w.balance_grains + line.amount_grains}
                connection.execute(
                    update(schema.wallets).where(w.wallet_id == wallet_id).values(listed)
                )
        connection.execute(
            update(t).where(t.c.transaction_id.in_(of)).values(change_grains=t.c.change_grains * 2)
        )
        # Idempotent answers and limits are others' business here.
        rehash(connection, wallet_id)

    return tamper


def cut(after, wallet=None):
    """Take the transactions after a number away, with all that they made."""

    def tamper(connection):
        wallet_id = connection.execute(
            select(t.c.wallet_id).where(t.c.number == 5).limit(1)
        ).scalar_one()
        of = select(t.c.transaction_id).where(t.c.wallet_id == wallet_id, t.c.number > after)
        gone = list(connection.execute(of).scalars())
        made = select(e.c.grant_id).where(e.c.transaction_id.in_(gone), e.c.grant_id.is_not(None))
        grants = list(connection.execute(made).scalars())
        for table in (schema.remarks, e, t):
            connection.execute(delete(table).where(table.c.transaction_id.in_(gone)))
        connection.execute(delete(schema.grants).where(schema.grants.c.grant_id.in_(grants)))
        connection.execute(delete(schema.idempotency))
        connection.execute(delete(schema.admin_months))
        head_follows(connection, wallet_id)

    return tamper


def drop_middle(connection):
    """Take transaction 3 away and number the later ones anew, hashes and all."""
    wallet_id, gone, grant_id = connection.execute(
        select(t.c.wallet_id, t.c.transaction_id, e.c.grant_id)
        .join(e)
        .where(t.c.number == 3, e.c.grant_id.is_not(None))
    ).one()
    for table in (schema.remarks, e, t):
        connection.execute(delete(table).where(table.c.transaction_id == gone))
    connection.execute(delete(schema.grants).where(schema.grants.c.grant_id == grant_id))
    connection.execute(delete(schema.idempotency))
    connection.execute(delete(schema.admin_months))
    grants = schema.grants
    connection.execute(
        update(grants).where(grants.c.wallet_id == wallet_id, grants.c.age > 2)
        .values(age=grants.c.age - 1)
    )  # fmt: skip
    for number in (4, 5, 6):
        this = (t.c.wallet_id == wallet_id, t.c.number == number)
        connection.execute(update(t).where(*this).values(number=number - 1))
    rehash(connection, wallet_id)


def drop_wallet(connection):
    """Take the whole of rolf's wallet away."""
    wallet_id = connection.execute(
        select(w.c.wallet_id).where(w.c.transactions_count == 1)
    ).scalar_one()
    of = select(t.c.transaction_id).where(t.c.wallet_id == wallet_id)
    gone = list(connection.execute(of).scalars())
    for table in (schema.remarks, e, t):
        connection.execute(delete(table).where(table.c.transaction_id.in_(gone)))
    for table in (schema.grants, schema.wallet_periods, w):
        connection.execute(delete(table).where(table.c.wallet_id == wallet_id))


def drop_seals(connection):
    """Take away everything that was sealed."""
    for table in (h, s):
        connection.execute(delete(table))


def reseal(connection):
    """Make all seals anew over what stands in the books now."""
    last = {row.wallet_id: row for row in connection.execute(select(w))}
    previous = ""
    for row in connection.execute(select(s).order_by(s.c.number)).all():
        heads = []
        lines = select(h).where(h.c.number == row.number).order_by(h.c.line)
        for head in connection.execute(lines).all():
            if head.wallet_id not in last:
                connection.execute(delete(h).where(h.c.number == row.number, h.c.line == head.line))
                continue
            count = min(head.transactions_count, last[head.wallet_id].transactions_count)
            this = select(t.c.hash).where(t.c.wallet_id == head.wallet_id, t.c.number == count)
            digest = connection.execute(this).scalar_one()
            heads.append(Head(head.wallet_id, count, digest))
            where = (h.c.number == row.number, h.c.line == head.line)
            connection.execute(
                update(h).where(*where).values(transactions_count=count, head_hash=digest)
            )
        digest = seal_hash(previous, row.number, row.sealed_ms, heads)
        connection.execute(
            update(s)
            .where(s.c.number == row.number)
            .values(previous_hash=previous, hash=digest, heads=len(heads))
        )
        previous = digest


TAMPERING = {
    "edit": (edit(4), "{lara}, transactions 3 to 5: were written anew"),
    "edit early": (edit(2), "{lara}, transactions 1 to 2: were written anew"),
    "tail": (cut(3), "{lara}, transactions 4 to 5: the tail was cut"),
    "middle": (drop_middle, "{lara}, transactions 3 to 5: were written anew"),
    "wallet": (drop_wallet, "{rolf}, transactions 1 to 1: the whole wallet is gone"),
}


def expected(world, message):
    return "wallet " + message.format(lara=world.lara, rolf=world.rolf)


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("name", TAMPERING)
def test_what_was_hashed_anew_is_found_by_the_seal(sealed, name):
    tampering, message = TAMPERING[name]
    findings = found(sealed, tampering)
    assert any(finding.startswith(expected(sealed, message)) for finding in findings), findings


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("name", TAMPERING)
def test_control_without_seals_it_is_not_found(sealed, name):
    if name.startswith("edit"):
        # What administrators moved would tell; somebody who writes to everything changes that.
        forget = [delete(schema.idempotency), delete(schema.admin_months)]
    else:
        forget = []

    def hide(connection):
        for statement in forget:
            connection.execute(statement)

    assert found(sealed, TAMPERING[name][0], hide, drop_seals) == []


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("name", TAMPERING)
@pytest.mark.parametrize("hide", [drop_seals, reseal])
def test_what_was_kept_outside_finds_it_though_the_seals_were_forged_too(sealed, name, hide):
    tampering, message = TAMPERING[name]
    findings = with_file(sealed, tampering, hide)
    assert any(finding.startswith(expected(sealed, message)) for finding in findings), findings
    assert any(
        f"seal 2: {what}" in " ".join(findings)
        for what in ("was kept outside and is gone", "is not the one that was kept")
    )


def test_the_untouched_book_is_clean(sealed):
    """The control: with and without what was kept."""
    assert found(sealed) == [] == with_file(sealed)


def test_what_is_after_the_last_seal_is_not_covered(sealed):
    """A cut of what was never sealed cannot be found: seal often."""
    assert found(sealed, cut(5)) == []


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM seals WHERE number = 1", "seal 2: seal 1 is missing before it"),
        ("DELETE FROM seals WHERE number = 2", "seal 2: has heads but is gone"),
        ("UPDATE seals SET sealed_ms = 1 WHERE number = 2", "seal 2: its hash does not fit"),
        ("UPDATE seals SET hash = 'x' WHERE number = 1", "seal 2: does not follow"),
        ("UPDATE seal_heads SET head_hash = 'x' WHERE number = 1", "seal 1: its hash does not"),
        ("DELETE FROM seal_heads WHERE number = 2", "seal 2: its hash does not fit"),
    ],
)
def test_what_was_done_to_the_seals_is_found(sealed, statement, message):
    assert any(finding.startswith(message) for finding in found(sealed, statement))


@pytest.mark.parametrize("statement", ["UPDATE {} SET number = number", "DELETE FROM {}"])
@pytest.mark.parametrize("table", ["seals", "seal_heads"])
def test_seals_are_append_only(sealed, table, statement):
    store = Store(open_engine(sealed.url))
    with pytest.raises(DBAPIError, match="append-only"), store.write() as connection:
        connection.execute(text(statement.format(table)))
    store.close()


# --- making them ------------------------------------------------------------------------------


def test_only_what_changed_is_sealed(world):
    seals = world.ledger.seals
    assert seals.make() == [] and seals.last() is None
    (lara, _), _ = world.join("lara"), world.join("rolf")
    (first,) = seals.make()
    assert (first.number, first.heads_count, first.previous_hash) == (1, 2, "")
    assert seals.make() == []
    world.give(lara, 1)
    (second,) = seals.make()
    assert (second.number, second.heads_count, second.previous_hash) == (2, 1, first.hash)
    (_, heads) = [seal.heads for seal in seals.after(0)]
    assert [head[:2] for head in heads] == [(lara.wallet_id, 2)]


def test_a_seal_is_made_when_it_is_due(world):
    lara, _ = world.join("lara")
    assert world.ledger.seals.make(every_ms=EVERY_MS)
    world.give(lara, 1)
    assert world.ledger.seals.make(every_ms=EVERY_MS) == []
    world.clock.advance_ms(EVERY_MS)
    assert world.ledger.seals.make(every_ms=EVERY_MS)


def test_many_heads_go_into_several_seals(world):
    for name in ("a", "b", "c", "d", "e"):
        world.join(name)
    made = world.ledger.seals.make(heads_max=2)
    assert [seal.heads_count for seal in made] == [2, 2, 1]
    assert found(world) == []


def test_a_seal_waits_for_no_wallet(world):
    """A wallet whose lock somebody holds is sealed as it was."""
    lara, _ = world.join("lara")
    if world.url.startswith("sqlite"):
        pytest.skip("SQLite has one writer")
    store = Store(open_engine(world.url))
    with store.write() as connection:
        connection.execute(select(w).with_for_update())
        (seal,) = world.ledger.seals.make()
    store.close()
    assert seal.heads_count == 1


# --- keeping them -----------------------------------------------------------------------------


def test_a_file_is_filled_up_with_what_it_lacks(sealed):
    assert append_seals(sealed.ledger.seals, sealed.file) == 0
    sealed.ledger.seals.make()
    whole = sealed.file.read_bytes()
    sealed.file.write_bytes(whole + b'{"seal": 3, "half a li')  # a crash in the middle
    assert append_seals(sealed.ledger.seals, sealed.file) == 1
    assert sealed.file.read_bytes().startswith(whole)
    assert with_file(sealed) == []
    numbers = [json.loads(line)["seal"] for line in sealed.file.read_text().splitlines()]
    assert numbers == [1, 2, 3]


def test_a_file_of_other_books_is_left_alone(sealed):
    first, second = sealed.file.read_text().splitlines()
    forged = {**json.loads(second), "hash": "0" * 64}
    sealed.file.write_text(f"{first}\n{json.dumps(forged)}\n")
    sealed.ledger.seals.make()
    with pytest.raises(SealFileProblem, match="its last seal, 2, is not in the books"):
        append_seals(sealed.ledger.seals, sealed.file)
    assert len(sealed.file.read_text().splitlines()) == 2
    assert any("its hash does not fit" in finding for finding in with_file(sealed))


def test_a_signature_tells_who_wrote_the_file(sealed, tmp_path):
    assert any("signature does not fit" in finding for finding in with_file(sealed, key="secret"))
    sealed.file = tmp_path / "signed.jsonl"
    append_seals(sealed.ledger.seals, sealed.file, "secret")
    assert with_file(sealed, key="secret") == []
    assert any("signature does not fit" in f for f in with_file(sealed, key="another"))


def test_the_service_s_log_will_do(sealed):
    """Without the heads it finds that seals were forged, if not where."""
    lines = [json.loads(line) for line in sealed.file.read_text().splitlines()]
    for line in lines:
        del line["heads"]
        line["event"] = "sealed"
    log = [{"event": "listening"}, *lines]
    sealed.file.write_text("".join(json.dumps(line) + "\n" for line in log))
    assert with_file(sealed) == []
    forged = with_file(sealed, edit(4), reseal)
    assert "seal 2: is not the one that was kept outside" in forged


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"seal": 1}', '{"seal": 1, "heads": 2}'])
def test_what_is_no_file_of_seals_is_named(sealed, line):
    sealed.file.write_text(sealed.file.read_text() + line + "\n")
    with pytest.raises(SealFileProblem, match="line 3: this is no seal"):
        ExportedSeals([sealed.file])


def test_a_file_that_is_not_there(sealed, tmp_path):
    with pytest.raises(SealFileProblem, match="cannot be read"):
        ExportedSeals([tmp_path / "none"])
    with pytest.raises(SealFileProblem, match="check the path"):
        append_seals(sealed.ledger.seals, tmp_path / "none" / "seals.jsonl")
