"""Starts by API tokens that may start some profiles only, for scheduled and automatic work."""

from __future__ import annotations

import dataclasses
from typing import Any

from jhub_spawner.choice import Choice
from jhub_tokens import wire
from jhub_tokens.hub.scopes import allowed_profiles
from jhub_tokens.i18n import _

__all__ = ["within_token"]


def within_token(spawner: Any, choice: Choice | wire.Refusal) -> Choice | wire.Refusal:
    """Return the choice if the API token of this request may start it, else why not.

    A token for one profile need not name it. Whoever is at a browser is not limited.
    """
    handler = spawner.handler
    if isinstance(choice, wire.Refusal) or not getattr(handler, "_token_authenticated", False):
        return choice
    user = spawner.user
    groups = [group.name for group in user.groups]
    allowed = allowed_profiles(handler.expanded_scopes, user.name, groups)
    if allowed is None or choice.profile in allowed:
        return choice
    if not choice.profile and len(allowed) == 1:
        return dataclasses.replace(choice, profile=next(iter(allowed)))
    names = _(", ").join(sorted(allowed)) or _("no profile of this member")
    return wire.Refusal(
        code="bad_choice",
        message=_("This API token may start %(names)s only.", names=names),
        remedy=_("Choose such a profile, or make a token with the scope for another one."),
    )
