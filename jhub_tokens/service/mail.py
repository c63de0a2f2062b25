"""Notices by e-mail: plain text in the member's language, through the operator's mail server."""

from __future__ import annotations

import asyncio
import socket
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

import aiosmtplib

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger.outbox import EMAIL, Delivery
from jhub_tokens.service.channel_settings import MailSettings
from jhub_tokens.service.channels import NotSent
from jhub_tokens.service.notice_texts import notice_subject, notice_text
from jhub_tokens.service.notice_words import WORDS
from jhub_tokens.service.texts import utc

__all__ = ["Mailer"]

_TIMEOUT_S = 15.0


class Mailer:
    """The channel of e-mail.

    Parameters
    ----------
    settings
        The mail server.
    public_url
        The service's address as a browser sees it.
    """

    names = (EMAIL,)

    def __init__(self, settings: MailSettings, public_url: str) -> None:
        self._settings = settings
        self._public_url = public_url
        self._domain = Address(addr_spec=settings.sender).domain
        self._own_name: str | None = None

    async def send(self, delivery: Delivery, catalogue: Catalogue) -> None:
        """Send a notice to its member.

        Raises
        ------
        NotSent
            If the member has no confirmed address any more, or the server does not take it.
        """
        if delivery.email is None:
            raise NotSent("the member has no confirmed address any more", for_good=True)
        await self._hand_over(self.notice_message(delivery, delivery.email, catalogue))

    async def send_confirmation(
        self, address: str, *, member_name: str, title: str, language: str, path: str, hours: int
    ) -> None:
        """Ask an address whether it wants a member's notices; `path` leads to the answer.

        Raises
        ------
        NotSent
            If the server does not take it.
        """
        words = WORDS.get(language, WORDS["en"])
        values = {"name": member_name, "title": title, "hours": hours}
        url = f"{self._public_url}{path}"
        text = words.confirm_text.format_map({**values, "url": url}) + "\n"
        message = self._message(address, language, text)
        message["Subject"] = _one_line(words.confirm_subject.format_map(values))
        await self._hand_over(message)

    def notice_message(
        self, delivery: Delivery, address: str, catalogue: Catalogue
    ) -> EmailMessage:
        """Return a notice as a message: the same one at every attempt."""
        notice = delivery.notice
        words = WORDS.get(notice.language, WORDS["en"])
        settings_url = f"{self._public_url}settings"
        footer = words.footer.format(console_url=self._public_url, settings_url=settings_url)
        text = f"{notice_text(notice, catalogue, None)}\n\n-- \n{footer}\n"
        message = self._message(address, notice.language, text)
        message["Subject"] = f"[{_one_line(catalogue.title)}] " + _one_line(
            notice_subject(notice, catalogue)
        )
        message["Date"] = format_datetime(utc(notice.created_ms))
        # Stable, so that a receiver who gets it twice can tell.
        message["Message-ID"] = f"<{notice.notice_id}@{self._domain}>"
        message["List-Unsubscribe"] = f"<{settings_url}>"
        return message

    async def close(self) -> None:
        """Do nothing: a connection lasts as long as its message."""

    def _message(self, address: str, language: str, text: str) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._settings.sender
        message["To"] = address
        message["Auto-Submitted"] = "auto-generated"  # no out-of-office answers
        message.set_content(text)
        message["Content-Language"] = language
        return message

    async def _hand_over(self, message: EmailMessage) -> None:
        settings = self._settings
        if self._own_name is None:
            # The library would look it up in the event loop, and a broken resolver takes seconds.
            self._own_name = await asyncio.to_thread(socket.getfqdn)
        try:
            await aiosmtplib.send(
                message,
                hostname=settings.host,
                port=settings.port,
                username=settings.username or None,
                password=settings.password or None,
                local_hostname=self._own_name,
                timeout=_TIMEOUT_S,
                use_tls=settings.security == "tls",
                start_tls=settings.security == "starttls",
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = error.recipients[0]
            for_good = refused.code >= 500
            raise NotSent(f"{refused.code} {refused.message}", for_good=for_good) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise NotSent(f"{type(error).__name__}: {error}") from None


def _one_line(text: str) -> str:
    """Return a text for a header: a catalogue's title or a profile's may have line breaks."""
    return " ".join(text.split())
