"""How a member wants to be told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from jhub_tokens.wire.base import Wire

__all__ = ["EmailOrder", "SettingsOrder", "SettingsView"]

Language = Literal["en", "zh"]
Urgency = Literal["info", "warning", "danger"]
Channels = Annotated[list[Literal["email"]], Field(max_length=1)]
Zone = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class SettingsView(Wire):
    """What a member has chosen."""

    language: Language  # of pages and of what is sent
    follows_browser: bool = False  # pages are in the browser's language instead
    zone: str | None  # to tell instants in; None: the billing zone
    channels: Channels  # beside the console, which has every notice
    urgency: Urgency  # the least urgent notices that are sent
    email: str | None  # confirmed
    email_asked: str | None  # waits to be confirmed
    email_offered: bool  # whether this hub sends e-mail


class SettingsOrder(Wire):
    """Everything a member may choose but the address."""

    language: Language
    follows_browser: bool = False
    zone: Zone | None = None
    channels: Channels = ["email"]
    urgency: Urgency = "info"


class EmailOrder(Wire):
    """An address to send notices to once it is confirmed; None forgets the present one."""

    email: Annotated[str, StringConstraints(max_length=254)] | None
