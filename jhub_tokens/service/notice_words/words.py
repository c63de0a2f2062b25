"""What a language has to say for notices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Words"]


@dataclass(frozen=True, slots=True)
class Words:
    """One language's words.

    Parameters
    ----------
    notices
        Subject and text, by kind or by ``kind.reason``; ``….team`` where a team's tokens pay.
    why
        Why servers were stopped, by the stop's reason.
    will
        Why servers are going to be stopped, by the stop's reason.
    ended
        Why a server ended that nobody had ordered to stop, by the end's reason.
    one_server, servers, any_servers
        One server named, several named, and those that cannot be named.
    was, were
        The verb that goes with one server and with several.
    joined
        What stands between two servers.
    reason
        How a reason that somebody typed is added.
    renews
        How the instant of new tokens is added.
    footer
        What ends every e-mail.
    confirm_subject, confirm_text
        The e-mail that asks whether an address is right.
    """

    notices: Mapping[str, tuple[str, str]]
    why: Mapping[str, str]
    will: Mapping[str, str]
    ended: Mapping[str, str]
    one_server: str
    servers: str
    any_servers: str
    was: str
    were: str
    is_: str
    are: str
    joined: str
    reason: str
    renews: str
    footer: str
    confirm_subject: str
    confirm_text: str
