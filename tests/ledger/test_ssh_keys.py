"""SSH keys of members: added once, found by many members at once, and gone when removed."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jhub_tokens.ledger import LedgerError
from jhub_tokens.ledger.ssh_keys import ADDED_IN_A_DAY_MAX, KEYS_MAX
from jhub_tokens.ssh_keys import read_public_key

from .conftest import HOUR_MS


def new_key():
    public = Ed25519PrivateKey.generate().public_key()
    return read_public_key(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


KEY = new_key()


def refused(act, *args):
    with pytest.raises(LedgerError) as refusal:
        act(*args)
    return refusal.value.code


def test_a_key_is_added_once_and_told_of(world):
    member, _ = world.join()
    books = world.ledger.ssh_keys
    added = books.add(member.member_id, KEY, "laptop")
    assert books.add(member.member_id, KEY, "laptop") == added, "the same, again"
    assert books.of(member.member_id) == (added,)
    assert (added.key, added.fingerprint, added.kind) == (KEY.line, KEY.fingerprint, "ED25519")
    (notice,) = [n for n in world.ledger.notices(member.member_id) if n.kind == "ssh_key_added"]
    assert notice.params == {"key_name": "laptop", "fingerprint": KEY.fingerprint}
    assert refused(books.add, member.member_id, KEY, "desktop") == "key_known"
    assert refused(books.add, member.member_id, new_key(), "laptop") == "key_name_used"
    assert refused(books.add, "nobody", KEY, "laptop") == "unknown_member"


def test_a_removed_key_opens_nothing_and_may_come_back(world):
    member, _ = world.join()
    books = world.ledger.ssh_keys
    first = books.add(member.member_id, KEY, "laptop")
    world.clock.advance_ms(HOUR_MS)
    removed = books.remove(member.member_id, first.key_id)
    assert removed.removed_ms == world.clock.now_ms()
    world.clock.advance_ms(HOUR_MS)
    assert books.remove(member.member_id, first.key_id) == removed, "once"
    assert books.of(member.member_id) == ()
    assert books.lines([member.member_id]) == {member.member_id: []}
    again = books.add(member.member_id, KEY, "laptop")
    assert again.key_id != first.key_id


def test_each_has_their_own(world):
    lara, _ = world.join("lara")
    rolf, _ = world.join("rolf")
    books = world.ledger.ssh_keys
    other = new_key()
    key_id = books.add(lara.member_id, KEY, "a").key_id
    books.add(lara.member_id, other, "b")
    books.add(rolf.member_id, KEY, "a")
    assert books.lines([lara.member_id, rolf.member_id]) == {
        lara.member_id: sorted([KEY.line, other.line]),
        rolf.member_id: [KEY.line],
    }
    assert refused(books.remove, rolf.member_id, key_id) == "unknown_key"


def test_a_key_opens_what_runs_of_those_who_hold_it(world):
    (lara, lara_is), (rolf, rolf_is) = world.join("lara"), world.join("rolf")
    books = world.ledger.ssh_keys
    assert books.opened_by(KEY.fingerprint) is None
    key_id = books.add(lara.member_id, KEY, "a").key_id
    assert books.opened_by(KEY.fingerprint) == (), "known, and nothing runs"
    world.hub.start(rolf, rolf_is)  # starting, and another's
    key = world.hub.run(lara, lara_is)
    (opened,) = books.opened_by(KEY.fingerprint)
    assert (opened.member_name, opened.server_name) == ("lara", "")
    books.add(rolf.member_id, KEY, "the same")
    assert books.opened_by(KEY.fingerprint) == (opened,), "his has only begun"
    world.hub.end(key)
    assert books.opened_by(KEY.fingerprint) == ()
    world.hub.run(lara, lara_is)
    books.remove(lara.member_id, key_id)
    assert books.opened_by(KEY.fingerprint) == ()


def test_there_are_so_many_and_no_more(world):
    member, _ = world.join()
    books = world.ledger.ssh_keys
    for number in range(KEYS_MAX):
        books.add(member.member_id, new_key(), f"key {number}")
    assert refused(books.add, member.member_id, KEY, "one more") == "too_many_keys"
    for key in books.of(member.member_id)[:2]:
        books.remove(member.member_id, key.key_id)
    for number in range(KEYS_MAX, ADDED_IN_A_DAY_MAX):
        added = books.add(member.member_id, new_key(), f"key {number}")
        books.remove(member.member_id, added.key_id)
    assert refused(books.add, member.member_id, KEY, "again") == "keys_changed_often"
    world.clock.advance_ms(25 * HOUR_MS)
    books.add(member.member_id, KEY, "the next day")


def test_at_once_one_of_two_wins(world):
    member, _ = world.join()
    books = world.ledger.ssh_keys

    def add(name):
        try:
            return books.add(member.member_id, KEY, name).name
        except LedgerError as refusal:
            return refusal.code

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(add, ("a", "b")))
    assert sorted(answers) in (["a", "key_known"], ["b", "key_known"])
    assert len(books.of(member.member_id)) == 1
