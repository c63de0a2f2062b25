"""What happens when members choose how to be told: settings, and addresses they confirm.

An address is written down as the member's only when that member, signed in, opens the link that
was sent to it: whoever types somebody else's address can neither read that mail nor have notices
sent there, and a mail scanner that follows the link confirms nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from zoneinfo import available_timezones

import structlog
from tornado.escape import url_escape
from tornado.web import create_signed_value, decode_signed_value

from jhub_tokens.clock import Clock
from jhub_tokens.i18n import _
from jhub_tokens.ledger.member_settings import MemberSettings
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.service.channel_settings import bad_address
from jhub_tokens.service.channels import NotSent
from jhub_tokens.service.errors import Problem, invalid
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.settings import Settings
from jhub_tokens.wire import SettingsOrder, SettingsView

__all__ = [
    "address_of_token",
    "address_token",
    "ask_email",
    "change",
    "confirm_email",
    "current",
    "remove_email",
]

log = structlog.get_logger(__name__)

LINK_HOURS = 48
_NAME = "jhub-tokens-address"


async def current(service: Service, member: MemberRecord) -> SettingsView:
    """Return what a member has chosen."""
    books = service.books.ledger.member_settings
    return _view(service, await service.workers.read(books.of, member.member_id))


async def change(service: Service, member: MemberRecord, order: SettingsOrder) -> SettingsView:
    """Set everything but the address.

    Raises
    ------
    Problem
        If there is no such time zone.
    """
    if order.zone is not None and order.zone not in available_timezones():
        message = _("There is no such time zone; write one such as Europe/Berlin.")
        raise invalid("zone", message)
    books = service.books.ledger.member_settings
    chosen = await service.workers.write(
        books.change,
        member.member_id,
        language=order.language,
        follows_browser=order.follows_browser,
        zone=order.zone,
        channels=order.channels,
        urgency=order.urgency,
    )
    return _view(service, chosen)


async def ask_email(service: Service, member: MemberRecord, address: str) -> SettingsView:
    """Send a link to `address` by which the member confirms it.

    Raises
    ------
    Problem
        If it is no address, if this hub sends no e-mail, or if the mail server does not take it.
    LedgerError
        If the member asks again and again.
    """
    if service.mailer is None:
        raise Problem(
            409,
            "no_mail",
            _("This hub sends no e-mail."),
            field="email",
            remedy=_("Notices are on the page Balance."),
        )
    if problem := bad_address(address):
        raise invalid("email", _("This is no e-mail address: %(problem)s.", problem=problem))
    books = service.books.ledger.member_settings
    chosen = await service.workers.write(books.ask_email, member.member_id, address)
    token = address_token(service.settings, service.clock, member.member_id, address)
    try:
        await service.mailer.send_confirmation(
            address,
            member_name=member.name,
            title=service.books.catalogue.title,
            language=chosen.language,
            path=f"settings/confirm?token={url_escape(token)}",
            hours=LINK_HOURS,
        )
    except NotSent as error:
        log.warning("address cannot be asked", member_id=member.member_id, error=str(error))
        raise Problem(
            502 if not error.for_good else 422,
            "mail_refused",
            _("The mail server did not take the message to this address."),
            field="email",
            remedy=_("Check the address, or try again later."),
        ) from None
    log.info("address asked", member_id=member.member_id)
    return _view(service, chosen)


async def confirm_email(service: Service, member: MemberRecord, token: str) -> SettingsView:
    """Let notices go to the address of a link that was sent to it.

    Raises
    ------
    Problem
        If the link is not this member's, or too old.
    LedgerError
        If the member asked for another address since.
    """
    address = address_of_token(service.settings, service.clock, member.member_id, token)
    books = service.books.ledger.member_settings
    chosen = await service.workers.write(books.confirm_email, member.member_id, address)
    log.info("address confirmed", member_id=member.member_id)
    return _view(service, chosen)


async def remove_email(service: Service, member: MemberRecord) -> SettingsView:
    """Forget the member's address."""
    books = service.books.ledger.member_settings
    return _view(service, await service.workers.write(books.remove_email, member.member_id))


def address_token(settings: Settings, clock: Clock, member_id: str, address: str) -> str:
    """Return what proves that its bearer has read a mail to `address`, signed and dated."""
    value = f"{member_id} {address}"
    signed = create_signed_value(_key(settings), _NAME, value, clock=lambda: clock.now_ms() / 1000)
    return signed.decode()


def address_of_token(settings: Settings, clock: Clock, member_id: str, token: str) -> str:
    """Return the address of a member's token.

    Raises
    ------
    Problem
        If it is not valid, not this member's, or too old.
    """
    value = decode_signed_value(
        _key(settings),
        _NAME,
        token,
        max_age_days=LINK_HOURS / 24,
        clock=lambda: clock.now_ms() / 1000,
    )
    owner, _space, address = (value or b"").decode().partition(" ")
    if not address or owner != member_id:
        raise Problem(
            422,
            "bad_link",
            _("This link is not complete, not yours, or too old; nothing was changed."),
            field="token",
            remedy=_("Sign in as the member who asked for it, or ask for a new one on this page."),
        )
    return address


def _key(settings: Settings) -> bytes:
    # Not the cookies' own: what is signed for one purpose is worth nothing for the other.
    return hmac.digest(settings.cookie_secret, b"jhub-tokens address", hashlib.sha256)


def _view(service: Service, chosen: MemberSettings) -> SettingsView:
    return SettingsView(
        language=chosen.language,
        follows_browser=chosen.follows_browser,
        zone=chosen.zone,
        channels=["email"] if "email" in chosen.channels else [],
        urgency=chosen.urgency,
        email=chosen.email,
        email_asked=chosen.email_asked,
        email_offered=service.mailer is not None,
    )
