"""SSH public keys of members: added, removed, and given out to their running servers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select, update

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.notices import tell
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ssh_keys import PublicKey

__all__ = ["ADDED_IN_A_DAY_MAX", "KEYS_MAX", "OpenedServer", "SshKey", "SshKeyBooks"]

#: Keys that hold at once.
KEYS_MAX = 20
#: Removed keys stay in the books: whoever adds and removes again and again is stopped here.
ADDED_IN_A_DAY_MAX = 50
_DAY_MS = 24 * 3_600_000
_CHUNK = 1_000
_k, _m, _s = schema.ssh_keys, schema.members, schema.sessions


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key that opens, or opened, its member's servers."""

    key_id: str
    name: str
    key: str
    kind: str
    fingerprint: str
    added_ms: int
    removed_ms: int | None


@dataclass(frozen=True, slots=True)
class OpenedServer:
    """A running server that a key opens: whose it is, and which."""

    session_id: str
    member_name: str
    server_name: str


class SshKeyBooks:
    """The operations on SSH keys, each one transaction that blocks on the database.

    Parameters
    ----------
    runner
        Runs them.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def of(self, member_id: str) -> tuple[SshKey, ...]:
        """Return a member's keys that hold, the newest first."""
        return self._runner.read(_of, member_id)

    def lines(self, member_ids: Collection[str]) -> dict[str, list[str]]:
        """Return the lines for ``authorized_keys`` of each of many members, in a fixed order."""
        return self._runner.read(_lines, member_ids)

    def opened_by(self, fingerprint: str) -> tuple[OpenedServer, ...] | None:
        """Return the running servers that a key opens; None if the key is nobody's."""
        return self._runner.read(_opened_by, fingerprint)

    def add(self, member_id: str, key: PublicKey, name: str) -> SshKey:
        """Let a key open the member's servers; the same key with the same name: the same answer.

        Raises
        ------
        LedgerError
            ``unknown_member``, ``key_known`` under another name, ``key_name_used``,
            ``too_many_keys``, or ``keys_changed_often`` until a day has passed.
        """
        return self._runner.write(_add, member_id, key, name)

    def remove(self, member_id: str, key_id: str) -> SshKey:
        """Let a key open nothing any more. Idempotent.

        Raises
        ------
        LedgerError
            If the member never had such a key (``unknown_key``).
        """
        return self._runner.write(_remove, member_id, key_id)


def _of(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> tuple[SshKey, ...]:
    query = (
        select(_k)
        .where(_k.c.member_id == member_id, _k.c.removed_ms.is_(None))
        .order_by(_k.c.added_ms.desc(), _k.c.name)
    )
    return tuple(_record(row) for row in connection.execute(query).mappings())


def _lines(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_ids: Collection[str]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    wanted: Sequence[str] = sorted(set(member_ids))
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        query = (
            select(_k.c.member_id, _k.c.key)
            .where(_k.c.member_id.in_(some), _k.c.removed_ms.is_(None))
            .order_by(_k.c.member_id, _k.c.key)
        )
        for member_id, line in connection.execute(query):
            found[member_id].append(line)
    return {member_id: found[member_id] for member_id in wanted}


def _opened_by(
    connection: Connection, catalogue: Catalogue, now_ms: int, fingerprint: str
) -> tuple[OpenedServer, ...] | None:
    running = and_(
        _s.c.member_id == _k.c.member_id, _s.c.ready_ms.is_not(None), _s.c.ended_ms.is_(None)
    )
    query = (
        select(_s.c.session_id, _m.c.name, _s.c.server_name)
        .select_from(_k.join(_m, _m.c.member_id == _k.c.member_id).outerjoin(_s, running))
        .where(_k.c.fingerprint == fingerprint, _k.c.removed_ms.is_(None))
        .order_by(_m.c.name, _s.c.server_name)
    )
    found = connection.execute(query).all()
    if not found:
        return None
    # A member without a running server has a row without a session.
    return tuple(OpenedServer(*row) for row in found if row.session_id is not None)


def _add(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    key: PublicKey,
    name: str,
) -> SshKey:
    _lock(connection, member_id)
    present = _of(connection, catalogue, now_ms, member_id)
    for other in present:
        if other.fingerprint == key.fingerprint:
            if other.name == name:
                return other
            message = _("You have this key already, as “%(name)s”.", name=other.name)
            raise LedgerError("key_known", message, "key")
        if other.name == name:
            message = _(
                "Another of your keys is called “%(name)s”; choose another name.", name=name
            )
            raise LedgerError("key_name_used", message, "name")
    if len(present) >= KEYS_MAX:
        message = _("You have %(count)s keys, which is the most; remove one first.", count=KEYS_MAX)
        raise LedgerError("too_many_keys", message, "key")
    lately = select(func.count()).where(
        _k.c.member_id == member_id, _k.c.added_ms > now_ms - _DAY_MS
    )
    if connection.execute(lately).scalar_one() >= ADDED_IN_A_DAY_MAX:
        message = _(
            "You have added %(count)s keys today; try again in a day.", count=ADDED_IN_A_DAY_MAX
        )
        raise LedgerError("keys_changed_often", message, "key")
    row = {
        "key_id": new_id(),
        "member_id": member_id,
        "name": name,
        "key": key.line,
        "kind": key.kind,
        "fingerprint": key.fingerprint,
        "added_ms": now_ms,
        "removed_ms": None,
    }
    connection.execute(insert(_k), row)
    # Whoever took over a session would want to stay: its owner hears of it.
    params = {"key_name": name, "fingerprint": key.fingerprint}
    tell(connection, now_ms, member_id, "ssh_key_added", params)
    return _record(row)


def _remove(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str, key_id: str
) -> SshKey:
    query = select(_k).where(_k.c.key_id == key_id, _k.c.member_id == member_id).with_for_update()
    row = connection.execute(query).mappings().first()
    if row is None:
        raise LedgerError("unknown_key", _("You have no such key."), "key_id")
    if row["removed_ms"] is None:
        this = update(_k).where(_k.c.key_id == key_id)
        connection.execute(this.values(removed_ms=now_ms))
        row = connection.execute(query).mappings().one()
    return _record(row)


def _lock(connection: Connection, member_id: str) -> None:
    """Lock the member's own row, so that limits hold for requests at once."""
    member = select(_m.c.member_id).where(_m.c.member_id == member_id)
    if connection.execute(member.with_for_update()).first() is None:
        raise LedgerError("unknown_member", _("There is no such member."))


def _record(row: Any) -> SshKey:
    return SshKey(
        row["key_id"],
        row["name"],
        row["key"],
        row["kind"],
        row["fingerprint"],
        row["added_ms"],
        row["removed_ms"],
    )
