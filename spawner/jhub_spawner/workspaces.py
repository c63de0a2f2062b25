"""A private directory for each member on this machine, the ``/workspace`` of a local server."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from jhub_tokens.hub.identity import created_text

__all__ = ["workspace_of"]


def workspace_of(user: Any, root: Path) -> Path:
    """Make and return the private directory of a hub user below `root`.

    It belongs to the identity of the member (hub user id and the instant it was created), not
    to the name: a rename keeps it, and who is deleted and created anew gets another. The name
    only makes it readable to the operator; its oddities never reach the file system.

    Raises
    ------
    OSError
        If the directory cannot be made, or is another user's.
    """
    identity = hashlib.sha256(f"{user.id}\n{created_text(user)}".encode()).hexdigest()[:12]
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for existing in root.glob(f"*-{identity}"):
        existing.chmod(0o700)
        return existing
    readable = re.sub(r"[^a-z0-9]+", "-", user.name.lower()).strip("-")[:40] or "member"
    path = root / f"{readable}-{identity}"
    path.mkdir(mode=0o700)
    return path
