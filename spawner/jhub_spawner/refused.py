"""A refused start, as an exception that both versions of JupyterHub show and survive.

JupyterHub 6 has `SpawnException` for this: it is shown to the member and does not count towards
``consecutive_failure_limit``. JupyterHub 5.5 counts every failed start, so that a handful of
empty balances in a row would stop the hub for everybody; `not_counted` undoes that exactly.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from tornado import web

from jhub_tokens import i18n, wire
from jhub_tokens.i18n import _

try:
    from jupyterhub.spawner import SpawnException
except ImportError:  # JupyterHub 5
    SpawnException = None

__all__ = ["StartRefused", "not_counted", "refusal_text", "unavailable"]

_STATUS: dict[str, HTTPStatus] = {
    "balance": HTTPStatus.FORBIDDEN,
    "plan": HTTPStatus.FORBIDDEN,
    "limit": HTTPStatus.FORBIDDEN,
    "gpus": HTTPStatus.FORBIDDEN,
    "spending_limit": HTTPStatus.FORBIDDEN,
    "team_cap": HTTPStatus.FORBIDDEN,
    "unknown_team": HTTPStatus.NOT_FOUND,
    "not_in_team": HTTPStatus.FORBIDDEN,
    "frozen": HTTPStatus.FORBIDDEN,
    "unknown_profile": HTTPStatus.NOT_FOUND,
    "unknown_image": HTTPStatus.UNPROCESSABLE_ENTITY,
    "retired_image": HTTPStatus.UNPROCESSABLE_ENTITY,
    "bad_choice": HTTPStatus.UNPROCESSABLE_ENTITY,
    "cancelled": HTTPStatus.CONFLICT,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}


def unavailable() -> wire.Refusal:
    """Return the refusal of a start while the token service cannot be reached."""
    return wire.Refusal(
        code="unavailable",
        message=_(
            "Your balance cannot be checked right now, so no server can be started. Running "
            "servers go on, and nothing is charged for this attempt."
        ),
        remedy=_(
            "Try again in a minute. If it stays like this, tell the operator of this hub, who can "
            "let servers start for a while."
        ),
    )


def refusal_text(refusal: wire.Refusal) -> str:
    """Return a refusal as plain text: why, when it resets and what to do instead.

    The message says what is missing; each other piece is added only where it is not said yet.
    """
    said = f"{refusal.message} {refusal.remedy}"
    parts = [refusal.message]
    if refusal.resets_at and refusal.resets_at not in said:
        parts.append(_("The next allotment comes %(when)s.", when=refusal.resets_at))
    others = [alternative.title for alternative in refusal.alternatives]
    if others and not any(title in said for title in others):
        titles = _(", ").join(others)
        parts.append(_("You can start instead: %(titles)s.", titles=titles))
    parts.append(refusal.remedy)
    blank = "" if i18n.language() == "zh" else " "
    return blank.join(part.strip() for part in parts if part.strip())


_Base: Any = SpawnException or web.HTTPError


class StartRefused(_Base):  # type: ignore[misc]
    """A start that is refused; the message is for the member, on pages and through the API.

    Parameters
    ----------
    refusal
        What the member is told.
    label, status
        For metrics and for HTTP, where they are not those of the refusal's code.
    """

    def __init__(
        self, refusal: wire.Refusal, *, label: str = "", status: HTTPStatus | None = None
    ) -> None:
        text = refusal_text(refusal)
        code = int(status or _STATUS[refusal.code])
        # The label goes into metrics and, on 5.5, into the HTTP status line: ASCII, no spaces.
        label = label or refusal.code
        if SpawnException is not None:
            super().__init__(text, reason=label, status_code=code)
        else:
            super().__init__(code, text, reason=label)
        self.refusal = refusal
        self.jupyterhub_message = text


def not_counted(spawner: Any) -> None:
    """Keep the refused start of `spawner` out of the hub's count of failures in a row.

    JupyterHub 5.5 adds one to ``settings["failure_count"]`` when the start's future fails, and
    stops the hub if that reaches the limit. Our callback runs directly after the hub's own, with
    nothing in between, and takes the one away again; until then this spawner has no limit, so
    that a refusal after four real failures does not become the fifth. JupyterHub 6 does not
    count a `SpawnException`.
    """
    future: asyncio.Future[Any] | None = spawner._spawn_future
    if SpawnException is not None or future is None or spawner.handler is None:
        return
    settings = spawner.handler.settings
    limit = spawner.consecutive_failure_limit
    spawner.consecutive_failure_limit = 0

    def restore(done: asyncio.Future[Any]) -> None:
        spawner.consecutive_failure_limit = limit
        if not done.cancelled() and isinstance(done.exception(), StartRefused):
            settings["failure_count"] -= 1

    future.add_done_callback(restore)
