"""Files that only the hub's user and root may write; whatever else could be, is not believed.

Everything here blocks; the hub calls it in a thread.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

__all__ = ["UntrustedFile", "make_private_directory", "read_private", "write_private"]


class UntrustedFile(Exception):
    """A file is not to be believed; the message says why."""


def make_private_directory(path: Path) -> None:
    """Make a directory within an existing one, for the owner of that one only.

    Root may do it for the hub, which must then be able to write there.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def read_private(path: Path) -> bytes:
    """Return what a file holds.

    Raises
    ------
    UntrustedFile
        If somebody but its owner could have written it, or the owner is not the hub's user.
    OSError
        If it cannot be read.
    """
    _check(path.parent, path.parent.lstat(), stat.S_ISDIR)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        _check(path, os.fstat(descriptor), stat.S_ISREG)
        return file.read()


def _check(path: Path, found: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    if not is_kind(found.st_mode):
        raise UntrustedFile(f"{path} is a link or something else that it should not be")
    if found.st_uid not in (os.geteuid(), 0, _owner_if_root(path)):
        raise UntrustedFile(f"{path} belongs to another user (uid {found.st_uid})")
    if found.st_mode & 0o022:
        raise UntrustedFile(f"{path} can be written by others (mode {found.st_mode & 0o777:o})")


def _owner_if_root(path: Path) -> int:
    """Return whose file it may be beside our own: root looks after the hub's."""
    return path.parent.stat().st_uid if os.geteuid() == 0 else os.geteuid()


def write_private(path: Path, content: bytes, *, fresh: bool = False) -> None:
    """Write a file whole or not at all, for its owner only, and have it on the disk.

    Raises
    ------
    FileExistsError
        If it has to be `fresh` and is there already.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
            if os.geteuid() == 0:
                owner = path.parent.stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        if fresh:
            os.link(beside, path)
        else:
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
