"""How members want to be told: language, display zone, channels, and an address they confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.outbox import EMAIL
from jhub_tokens.ledger.records import Language, LedgerError, Urgency
from jhub_tokens.ledger.runner import Runner

__all__ = ["ASKS_MAX", "MemberSettings", "MemberSettingsBooks"]

#: Mails to an address that is not confirmed, before a day must pass without any.
ASKS_MAX = 5
_DAY_MS = 24 * 3_600_000
_table = schema.member_settings


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """What a member has chosen; nobody is sent anything before an address is confirmed.

    Parameters
    ----------
    language
        Of pages and of all that is sent.
    follows_browser
        Whether pages are in the language of the browser instead.
    zone
        In which instants are told; None: the billing zone.
    channels
        By which notices are sent, beside the console, which has them all.
    urgency
        The least urgent notices that are sent.
    email
        The confirmed address.
    email_asked
        An address that waits to be confirmed.
    """

    language: Language = "en"
    follows_browser: bool = True
    zone: str | None = None
    channels: tuple[str, ...] = (EMAIL,)
    urgency: Urgency = "info"
    email: str | None = None
    email_asked: str | None = None


class MemberSettingsBooks:
    """Members' settings; every method is one transaction and blocks on the database.

    Every method that writes raises `LedgerError` with the code ``unknown_member``.

    Parameters
    ----------
    runner
        Runs operations on the books.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def of(self, member_id: str) -> MemberSettings:
        """Return a member's settings; the defaults for whoever has chosen nothing."""
        return self._runner.read(settings_of, member_id)

    def language_of(self, name: str, created: str | None) -> Language | None:
        """Return the language that the hub user of this name has chosen, None for none."""
        return self._runner.read(speech_of, name, created)[0]

    def speech_of(self, name: str, created: str | None) -> tuple[Language | None, str | None]:
        """Return the language and the zone that a hub user has chosen, None for none."""
        return self._runner.read(speech_of, name, created)

    def change(
        self,
        member_id: str,
        *,
        language: Language,
        follows_browser: bool = False,
        zone: str | None,
        channels: Sequence[str],
        urgency: Urgency,
    ) -> MemberSettings:
        """Set everything but the address."""
        return self._runner.write(
            change,
            member_id,
            {
                "language": language,
                "follows_browser": follows_browser,
                "zone": zone,
                "channels": list(channels),
                "urgency": urgency,
            },
        )

    def ask_email(self, member_id: str, address: str) -> MemberSettings:
        """Note that `address` is about to be asked; the one confirmed before holds until then.

        Raises
        ------
        LedgerError
            ``too_many_mails`` if a member asks again and again.
        """
        return self._runner.write(ask_email, member_id, address)

    def confirm_email(self, member_id: str, address: str) -> MemberSettings:
        """Let notices go to `address`. Idempotent.

        Raises
        ------
        LedgerError
            ``not_asked`` if another address, or none, waits to be confirmed.
        """
        return self._runner.write(confirm_email, member_id, address)

    def remove_email(self, member_id: str) -> MemberSettings:
        """Forget the member's address. Idempotent."""
        removed = {"email": None, "email_confirmed_ms": None, "email_asked": None}
        return self._runner.write(change, member_id, removed)


def settings_of(
    connection: Connection, catalogue: Catalogue | None, now_ms: int, member_id: str
) -> MemberSettings:
    """Return a member's settings."""
    query = select(_table).where(_table.c.member_id == member_id)
    row = connection.execute(query).mappings().first()
    return MemberSettings() if row is None else _record(row)


def speech_of(
    connection: Connection, catalogue: Catalogue, now_ms: int, name: str, created: str | None
) -> tuple[Language | None, str | None]:
    """Return how a hub user wants to be spoken to; see `MemberSettingsBooks.speech_of`."""
    members = schema.members
    query = (
        select(_table.c.language, _table.c.follows_browser, _table.c.zone)
        .join(members, members.c.member_id == _table.c.member_id)
        .where(members.c.name == name)
        .order_by(members.c.hub_created.desc())
    )
    if created is not None:
        query = query.where(members.c.hub_created == created)
    row = connection.execute(query).first()
    if row is None:
        return None, None
    return (None if row.follows_browser else row.language), row.zone


def change(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    values: dict[str, Any],
) -> MemberSettings:
    """Change columns of a member's settings."""
    _locked(connection, member_id)
    return _update(connection, member_id, values)


def ask_email(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str, address: str
) -> MemberSettings:
    """Note that an address is about to be asked; see `MemberSettingsBooks.ask_email`."""
    row = _locked(connection, member_id)
    lately = row["email_asked_ms"] is not None and row["email_asked_ms"] > now_ms - _DAY_MS
    asks = row["email_asks"] + 1 if lately else 1
    if asks > ASKS_MAX:
        raise LedgerError(
            "too_many_mails",
            _(
                "%(count)s messages were sent to confirm an address; try again in a day.",
                count=ASKS_MAX,
            ),
            "email",
        )
    asked = {"email_asked": address, "email_asked_ms": now_ms, "email_asks": asks}
    return _update(connection, member_id, asked)


def confirm_email(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str, address: str
) -> MemberSettings:
    """Let notices go to an address; see `MemberSettingsBooks.confirm_email`."""
    row = _locked(connection, member_id)
    if row["email"] == address and row["email_asked"] is None:
        return _record(row)
    if row["email_asked"] != address:
        raise LedgerError(
            "not_asked",
            _("Another address was asked for since, or the address was removed."),
            "email",
        )
    confirmed = {"email": address, "email_confirmed_ms": now_ms, "email_asked": None}
    return _update(connection, member_id, {**confirmed, "email_asks": 0})


def _locked(connection: Connection, member_id: str) -> Any:
    """Return a member's row, locked; made with the defaults if there is none yet.

    The member's own row is locked first, so that two requests cannot both make one.
    """
    members = schema.members
    member = select(members.c.member_id).where(members.c.member_id == member_id)
    if connection.execute(member.with_for_update()).first() is None:
        raise LedgerError("unknown_member", _("There is no such member."))
    query = select(_table).where(_table.c.member_id == member_id).with_for_update()
    row = connection.execute(query).mappings().first()
    if row is not None:
        return row
    default = MemberSettings()
    values = {
        "member_id": member_id,
        "language": default.language,
        "follows_browser": default.follows_browser,
        "channels": list(default.channels),
        "urgency": default.urgency,
    }
    connection.execute(insert(_table).values(values))
    return connection.execute(query).mappings().one()


def _update(connection: Connection, member_id: str, values: dict[str, Any]) -> MemberSettings:
    connection.execute(update(_table).where(_table.c.member_id == member_id).values(values))
    return settings_of(connection, None, 0, member_id)


def _record(row: Any) -> MemberSettings:
    return MemberSettings(
        row["language"],
        row["follows_browser"],
        row["zone"],
        tuple(row["channels"]),
        row["urgency"],
        row["email"] if row["email_confirmed_ms"] is not None else None,
        row["email_asked"],
    )
