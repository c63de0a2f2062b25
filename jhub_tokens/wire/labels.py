"""The labels by which pods, claims and Secrets in a cluster tell whose and what they are.

The hub side writes them, the service's observer and operators' own tools read them. A label's
value is short and of few characters; what does not fit is cut and told apart by a hash, so
compare with `label_value`, never with the plain text.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = [
    "HUB",
    "MEMBER",
    "POOL",
    "PROFILE",
    "SESSION",
    "SPOT",
    "START_KEY",
    "label_value",
    "member_digest",
]

PREFIX: Final = "jhub-tokens"
SESSION: Final = f"{PREFIX}/session"  # the session id; missing on a start that went through unasked
START_KEY: Final = f"{PREFIX}/start-key"
PROFILE: Final = f"{PREFIX}/profile"
POOL: Final = f"{PREFIX}/pool"
SPOT: Final = f"{PREFIX}/spot"  # "true" where the nodes may go at short notice
HUB: Final = f"{PREFIX}/hub"
MEMBER: Final = f"{PREFIX}/member"  # see `member_digest`

_LENGTH_MAX = 63
_HASH_LENGTH = 10
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")


def label_value(text: str) -> str:
    """Return `text` as the value of a label: unchanged if it can be one."""
    if _VALUE.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[: _LENGTH_MAX - _HASH_LENGTH - 1]
    return f"{readable.strip('._-')}-{digest}".lstrip("-")


def member_digest(hub_user_id: int, created: str) -> str:
    """Return a short name of a member that outlives renames and is never given again."""
    return hashlib.sha256(f"{hub_user_id}\n{created}".encode()).hexdigest()[:16]
