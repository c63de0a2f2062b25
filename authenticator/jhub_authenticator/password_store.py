"""Accounts with passwords in an SQLite file of their own: argon2id, and nothing that can be read.

Every method blocks, the ones that hash for a tenth of a second: call them in a thread.
"""

from __future__ import annotations

import os
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from jhub_tokens.i18n import _

__all__ = ["PASSWORD_LENGTH_MIN", "AccountError", "PasswordAccount", "PasswordStore"]

PASSWORD_LENGTH_MIN = 10
#: Hashing a text of any length would be a way to keep the machine busy.
PASSWORD_LENGTH_MAX = 1024
NAME_LENGTH_MAX = 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY,
    password TEXT NOT NULL,
    admin INTEGER NOT NULL DEFAULT 0,
    approved INTEGER NOT NULL DEFAULT 0
) STRICT
"""
#: Found first in every list of stolen passwords, and long enough.
_COMMON = ("password", "passwort", "1234567890", "qwertyuiop", "letmein", "jupyterhub", "iloveyou")

Verdict = Literal["wrong", "waiting", "member", "admin"]


class AccountError(Exception):
    """An account that cannot be made or changed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class PasswordAccount:
    """An account as a list shows it."""

    name: str
    admin: bool
    approved: bool


class PasswordStore:
    """The accounts of one hub.

    Parameters
    ----------
    path
        The file; made at first use, readable to its owner only.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).expanduser().absolute()
        # The library's own choice: argon2id by the parameters that RFC 9106 recommends.
        self._hasher = PasswordHasher()
        self._dummy = self._hasher.hash("nobody's password, so that a guess takes as long")

    def add(self, name: str, password: str, *, admin: bool = False, approved: bool = False) -> str:
        """Make an account and return its name as it is kept.

        Raises
        ------
        AccountError
            If the name is taken or cannot be one, or the password is too easily guessed.
        """
        name = _checked_name(name)
        hashed = self._hasher.hash(_checked_password(password, name))
        try:
            with self._open() as connection:
                connection.execute(
                    "INSERT INTO accounts VALUES (?, ?, ?, ?)", (name, hashed, admin, approved)
                )
        except sqlite3.IntegrityError:
            raise AccountError(
                _("The name %(name)s is taken; choose another one.", name=name)
            ) from None
        return name

    def verify(self, name: str, password: str) -> Verdict:
        """Tell whether the password is right; takes as long for a name that is not there."""
        name = name.strip().lower()
        with self._open() as connection:
            row = connection.execute(
                "SELECT password, admin, approved FROM accounts WHERE name = ?", (name,)
            ).fetchone()
        hashed = row[0] if row else self._dummy
        if len(password) > PASSWORD_LENGTH_MAX:
            password = ""
        try:
            self._hasher.verify(hashed, _normal(password))
        except (VerificationError, InvalidHashError):
            return "wrong"
        if row is None:
            return "wrong"
        if self._hasher.check_needs_rehash(hashed):
            self._write(
                "UPDATE accounts SET password = ? WHERE name = ? AND password = ?",
                (self._hasher.hash(_normal(password)), name, hashed),
            )
        if not row[2]:
            return "waiting"
        return "admin" if row[1] else "member"

    def set_password(self, name: str, password: str) -> None:
        """Change a password; raises `AccountError`."""
        name = name.strip().lower()
        hashed = self._hasher.hash(_checked_password(password, name))
        self._change("UPDATE accounts SET password = ? WHERE name = ?", hashed, name)

    def approve(self, name: str) -> None:
        """Let an account sign in; raises `AccountError`."""
        self._change("UPDATE accounts SET approved = ? WHERE name = ?", True, name)

    def set_admin(self, name: str, admin: bool) -> None:
        """Make somebody an administrator, or no more; raises `AccountError`."""
        self._change("UPDATE accounts SET admin = ? WHERE name = ?", admin, name)

    def remove(self, name: str) -> bool:
        """Remove an account; tell whether there was one."""
        return self._write("DELETE FROM accounts WHERE name = ?", (name.strip().lower(),)) > 0

    def accounts(self) -> list[PasswordAccount]:
        """Return all accounts, those that wait for approval first."""
        query = "SELECT name, admin, approved FROM accounts ORDER BY approved, name"
        with self._open() as connection:
            rows = connection.execute(query).fetchall()
        return [
            PasswordAccount(name, bool(admin), bool(approved)) for name, admin, approved in rows
        ]

    def _change(self, statement: str, value: object, name: str) -> None:
        if not self._write(statement, (value, name.strip().lower())):
            raise AccountError(_("There is no account %(name)s.", name=name[:NAME_LENGTH_MAX]))

    def _write(self, statement: str, values: tuple[object, ...]) -> int:
        with self._open() as connection:
            return connection.execute(statement, values).rowcount

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # Made by us with its mode, rather than by SQLite with that of the process.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        with closing(sqlite3.connect(self._path, timeout=10)) as connection, connection:
            connection.execute(_SCHEMA)
            yield connection


def _normal(password: str) -> str:
    # The same key presses give different code points on different machines.
    return unicodedata.normalize("NFKC", password)


def _checked_name(name: str) -> str:
    name = name.strip().lower()
    fits = name.isascii() and all(c.isalnum() or c in "._-" for c in name)
    if not name or not fits or not name[0].isalnum() or len(name) > NAME_LENGTH_MAX:
        raise AccountError(
            _(
                "A name has 1 to %(count)s letters a to z, digits, '.', '_' and '-', and begins "
                "with a letter or digit.",
                count=NAME_LENGTH_MAX,
            )
        )
    return name


def _checked_password(password: str, name: str) -> str:
    if len(password) < PASSWORD_LENGTH_MIN:
        raise AccountError(
            _("A password has at least %(count)s characters.", count=PASSWORD_LENGTH_MIN)
        )
    if len(password) > PASSWORD_LENGTH_MAX:
        raise AccountError(
            _("A password has at most %(count)s characters.", count=PASSWORD_LENGTH_MAX)
        )
    folded = password.casefold()
    rest = folded.replace(name, "")
    for common in _COMMON:
        rest = rest.replace(common, "")
    if len(rest) < PASSWORD_LENGTH_MIN // 2 or len(set(folded)) < 5:
        raise AccountError(
            _("This password is easily guessed; take a few words that do not belong together.")
        )
    return _normal(password)
