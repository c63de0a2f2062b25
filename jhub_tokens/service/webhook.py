"""Notices by webhook, signed as the Standard Webhooks specification says.

See https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from http import HTTPStatus

import aiohttp

from jhub_tokens import __version__
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.clock import Clock
from jhub_tokens.ledger.outbox import Delivery
from jhub_tokens.service.channel_settings import WebhookSettings
from jhub_tokens.service.channels import NotSent
from jhub_tokens.service.notice_texts import notice_severity, notice_subject, notice_text
from jhub_tokens.service.texts import utc

__all__ = ["Webhooks", "notice_body", "signature"]

_TIMEOUT_S = 15.0


class Webhooks:
    """The channels of the operator's webhooks.

    Parameters
    ----------
    settings
        Receivers and secret.
    clock
        What time it is, for the signature's timestamp.
    """

    def __init__(self, settings: WebhookSettings, clock: Clock) -> None:
        self._secret = settings.secret
        self._urls = settings.channels
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self.names = tuple(self._urls)

    async def send(self, delivery: Delivery, catalogue: Catalogue) -> None:
        """Post a notice.

        Raises
        ------
        NotSent
            If the receiver does not answer with a status of success; for good if it is gone.
        """
        body = notice_body(delivery, catalogue)
        notice_id, at_s = delivery.notice.notice_id, self._clock.now_ms() // 1000
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"jhub-tokens/{__version__}",
            "webhook-id": notice_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": signature(self._secret, notice_id, at_s, body),
        }
        try:
            # A redirect is a failure: where to is the operator's to say, not the receiver's.
            async with self._opened().post(
                self._urls[delivery.channel], data=body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError) as error:
            raise NotSent(f"{type(error).__name__}: {error}") from None
        if not 200 <= status < 300:
            gone = status == HTTPStatus.GONE
            raise NotSent(f"the receiver answered {status}", for_good=gone)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout)
        return self._session


def notice_body(delivery: Delivery, catalogue: Catalogue) -> bytes:
    """Return what is posted: the same bytes at every attempt."""
    notice = delivery.notice
    body = {
        "type": f"notice.{notice.kind}",
        "timestamp": utc(notice.created_ms).isoformat(),
        "data": {
            "notice_id": notice.notice_id,
            "kind": notice.kind,
            "severity": notice_severity(notice.kind),
            "member_id": notice.member_id,
            "member": delivery.member_name,
            "created_at_ms": notice.created_ms,
            "params": notice.params,
            "language": notice.language,
            "subject": notice_subject(notice, catalogue),
            "text": notice_text(notice, catalogue, None),
        },
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def signature(secret: bytes, message_id: str, at_s: int, body: bytes) -> str:
    """Return the header ``webhook-signature`` of version 1; `at_s` is in seconds."""
    signed = b".".join((message_id.encode(), str(at_s).encode(), body))
    digest = hmac.digest(secret, signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"
