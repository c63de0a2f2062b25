"""Notices by e-mail and webhook, with a real mail server and a real receiver."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks.webhooks
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger
from jhub_tokens.ledger.outbox import Delivery
from jhub_tokens.service import outbox as outbox_module
from jhub_tokens.service.channel_settings import MailSettings, WebhookSettings
from jhub_tokens.service.outbox import ATTEMPTS_MAX, OutboxWorker, backoff_ms
from jhub_tokens.service.serve import RunningService
from jhub_tokens.service.settings import Settings
from jhub_tokens.service.webhook import signature
from tests.service.conftest import HOUR_MS, Api, Story, until
from tests.service.receivers import MailServer, Receiver
from tests.service.stub_hub import User

SECRET = b"a secret of at least 24 bytes, for tests"
PUBLIC_URL = "https://hub.example.org/services/tokens/"


@pytest.fixture
async def mail() -> AsyncIterator[MailServer]:
    server = MailServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
def settings(settings: Settings, mail: MailServer, receiver: Receiver) -> Settings:
    return dataclasses.replace(
        settings,
        public_url=PUBLIC_URL,
        mail=MailSettings("127.0.0.1", mail.port, "none", "tokens@hub.example.org"),
        webhook=WebhookSettings((receiver.url,), SECRET),
    )


@pytest.fixture(autouse=True)
def _rest_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_REST_S", 0.01)


@pytest.fixture
def worker(running: RunningService) -> OutboxWorker:
    return running.service.outbox


class World:
    """Gives a member notices and lets the outbox work."""

    def __init__(self, running: RunningService, ledger: Ledger, member_id: str) -> None:
        self.running = running
        self.ledger = ledger
        self.member_id = member_id
        self.number = 0
        self.told: set[str] = set()

    async def give(self) -> str:
        """Book a grant; return the id of its notice."""
        self.number += 1
        await asyncio.to_thread(
            self.ledger.grant,
            self.member_id,
            amount_grains=3_600_000_000,
            kind="topup",
            actor="admin",
            reason="a {prize}",
            caller="test",
            key=f"key-{self.number}",
        )
        notices = await asyncio.to_thread(self.ledger.notices, self.member_id, limit=100)
        (new,) = {notice.notice_id for notice in notices} - self.told
        self.told.add(new)
        return new

    async def work(self) -> None:
        """Let the outbox make one whole pass."""
        outbox = self.running.service.outbox
        for _ in range(2):  # the first one may have begun before
            before = outbox.passes
            outbox.wake()
            await until(lambda before=before: outbox.passes > before, "the outbox looks")

    def row(self, channel: str = "email") -> Any:
        """Return the only delivery of a channel."""
        from sqlalchemy import select

        from jhub_tokens.ledger import schema

        with self.ledger._store.read() as connection:
            rows = connection.execute(select(schema.deliveries)).mappings().all()
        (found,) = (row for row in rows if row["channel"].startswith(channel))
        return found


@pytest.fixture
async def ada_world(story: Story, ada: User, running: RunningService, ledger: Ledger) -> World:
    member_id = await story.join(ada)
    books = ledger.member_settings
    await asyncio.to_thread(books.ask_email, member_id, "ada@example.org")
    await asyncio.to_thread(books.confirm_email, member_id, "ada@example.org")
    return World(running, ledger, member_id)


async def test_a_notice_comes_by_mail_and_webhook(
    ada_world: World, mail: MailServer, receiver: Receiver
) -> None:
    notice_id = await ada_world.give()
    await ada_world.work()
    (message,) = mail.mails
    assert mail.recipients == ["ada@example.org"]
    assert message["Message-ID"] == f"<{notice_id}@hub.example.org>"
    assert message["Subject"] == "[Test] 1 token added to your balance"
    assert message["List-Unsubscribe"] == f"<{PUBLIC_URL}settings>"
    assert message["Date"] == "Tue, 24 Nov 2026 09:00:00 +0000"
    text = message.get_content().replace("\r\n", "\n")
    assert text.startswith("1 token added to your balance. Reason: a {prize}\n")
    assert f"{PUBLIC_URL}settings" in text
    (call,) = receiver.calls
    assert call[0]["webhook-id"] == notice_id
    body = json.loads(call[1])
    assert body["type"] == "notice.credited"
    assert (body["data"]["member"], body["data"]["notice_id"]) == ("ada", notice_id)
    await ada_world.work()
    assert len(mail.mails) == len(receiver.calls) == 1


async def test_the_language_is_the_members(
    ada_world: World, ledger: Ledger, mail: MailServer
) -> None:
    await asyncio.to_thread(
        ledger.member_settings.change,
        ada_world.member_id,
        language="zh",
        zone="Asia/Shanghai",
        channels=["email"],
        urgency="info",
    )
    await ada_world.give()
    await ada_world.work()
    (message,) = mail.mails
    assert message["Subject"] == "[Test] 您的额度增加了 1 个代币"
    assert message["Content-Language"] == "zh"
    assert "选择接收哪些邮件或不再接收" in message.get_content()


async def test_the_wardens_notices_are_sent_by_themselves(
    story: Story, ada: User, ada_world: World, mail: MailServer
) -> None:
    """Nobody wakes the outbox but the warden."""
    await story.run(ada, "cpu")
    await story.pass_ms(41 * HOUR_MS)
    await until(lambda: mail.mails, "the warning is sent")
    assert "You have used 80 %" in mail.mails[0].get_content()


# --- at least once ----------------------------------------------------------------------------


async def test_what_fails_is_tried_again_later_and_comes_once(
    ada_world: World, mail: MailServer, receiver: Receiver, clock: ManualClock, hub_side: Api
) -> None:
    mail.answers = ["451 try later", "451 try later"]
    receiver.statuses = [500, 301]
    notice_id = await ada_world.give()
    for attempt in (1, 2):
        await ada_world.work()
        assert mail.mails == []
        assert "451" in (await asyncio.to_thread(ada_world.row))["last_error"]
        clock.advance_ms(backoff_ms(attempt) - 1)
        await ada_world.work()
        assert len(receiver.calls) == attempt, "not before its time"
        clock.advance_ms(1)
    await ada_world.work()
    assert [m["Message-ID"] for m in mail.mails] == [f"<{notice_id}@hub.example.org>"]
    ids = {headers["webhook-id"] for headers, _ in receiver.calls}
    bodies = {body for _, body in receiver.calls}
    assert (len(receiver.calls), ids, len(bodies)) == (3, {notice_id}, 1)
    metrics = (await hub_side.get("metrics")).text
    assert 'jhub_tokens_deliveries_total{channel="email",outcome="sent"} 1.0' in metrics
    assert 'jhub_tokens_deliveries_total{channel="webhook",outcome="retried"} 2.0' in metrics


async def test_it_gives_up_at_last_and_says_why(
    ada_world: World, mail: MailServer, clock: ManualClock, hub_side: Api
) -> None:
    mail.answers = ["451 never"] * 99
    await ada_world.give()
    for _ in range(ATTEMPTS_MAX + 3):
        await ada_world.work()
        clock.advance_ms(backoff_ms(99))
    row = await asyncio.to_thread(ada_world.row)
    assert (row["state"], row["attempts"]) == ("failed", ATTEMPTS_MAX)
    assert "451 never" in row["last_error"].replace("(451, 'never')", "451 never")
    metrics = (await hub_side.get("metrics")).text
    assert 'jhub_tokens_deliveries_total{channel="email",outcome="given_up"} 1.0' in metrics


async def test_an_address_that_does_not_exist_is_not_tried_for_ever(
    ada_world: World, mail: MailServer
) -> None:
    mail.refusals = ["550 no such user"]
    await ada_world.give()
    await ada_world.work()
    row = await asyncio.to_thread(ada_world.row)
    assert (row["state"], row["attempts"]) == ("failed", 1)
    assert "no such user" in row["last_error"]


async def test_a_crash_after_sending_sends_again_under_the_same_id(
    ada_world: World,
    mail: MailServer,
    receiver: Receiver,
    clock: ManualClock,
    ledger: Ledger,
    worker: OutboxWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notice_id = await ada_world.give()

    def die(outcomes: object) -> None:
        raise RuntimeError("the power went")

    with monkeypatch.context() as dying:
        dying.setattr(ledger.outbox, "settle", die)
        worker.wake()
        await until(lambda: len(mail.mails) == len(receiver.calls) == 1, "both are sent")
        await ada_world_settles(worker)
    # Whoever comes next waits for the lease to end, and no longer.
    clock.advance_ms(outbox_module._LEASE_MS - 1)
    await ada_world.work()
    assert len(mail.mails) == 1
    clock.advance_ms(1)
    await ada_world.work()
    assert [m["Message-ID"] for m in mail.mails] == [f"<{notice_id}@hub.example.org>"] * 2
    assert [headers["webhook-id"] for headers, _ in receiver.calls] == [notice_id] * 2
    clock.advance_ms(24 * HOUR_MS)
    await ada_world.work()
    assert len(mail.mails) == 2


async def ada_world_settles(worker: OutboxWorker) -> None:
    """Wait until the failing pass is over."""
    failures = worker._metrics.outbox_failures
    await until(lambda: failures._value.get() >= 1, "the pass fails")


async def test_a_crash_before_sending_loses_nothing(
    ada_world: World, mail: MailServer, clock: ManualClock, ledger: Ledger
) -> None:
    await ada_world.give()
    await asyncio.to_thread(ledger.outbox.route, email=True)
    lost = await asyncio.to_thread(ledger.outbox.claim, lease_ms=outbox_module._LEASE_MS)
    assert len(lost) == 1, "taken by somebody who dies now"
    await ada_world.work()
    assert mail.mails == []
    clock.advance_ms(outbox_module._LEASE_MS)
    await ada_world.work()
    assert len(mail.mails) == 1


async def test_control_marking_before_sending_loses_what_a_crash_interrupts(
    ada_world: World, mail: MailServer, clock: ManualClock, ledger: Ledger
) -> None:
    """The naive order, under the same crash: the notice never comes."""
    await ada_world.give()
    await asyncio.to_thread(ledger.outbox.route, email=True)
    taken = await asyncio.to_thread(ledger.outbox.claim, lease_ms=outbox_module._LEASE_MS)
    sent = [outbox_module.Outcome(delivery, "sent") for delivery in taken]
    await asyncio.to_thread(ledger.outbox.settle, sent)  # and dies before it sends
    clock.advance_ms(24 * HOUR_MS)
    await ada_world.work()
    assert mail.mails == []


class Slow:
    """A channel that notes who sends what at the same time."""

    names = ("email",)
    under_way: dict[str, int] = {}
    sent: list[str] = []
    most = 0

    async def send(self, delivery: Delivery, catalogue: object) -> None:
        notice_id = delivery.notice.notice_id
        self.under_way[notice_id] = self.under_way.get(notice_id, 0) + 1
        Slow.most = max(Slow.most, self.under_way[notice_id])
        await asyncio.sleep(0.005)
        self.under_way[notice_id] -= 1
        self.sent.append(notice_id)

    async def close(self) -> None:
        pass


async def test_two_workers_never_send_the_same_at_the_same_time(
    ada_world: World, running: RunningService, clock: ManualClock
) -> None:
    service = running.service
    Slow.sent.clear()
    for _ in range(30):
        await ada_world.give()
    # The service's own worker shall not take part: what it would send has another channel.
    service.outbox._channels.clear()
    workers = [
        OutboxWorker(service.books, service.workers, clock, service.metrics, [Slow()])
        for _ in range(2)
    ]
    await asyncio.gather(*(worker.work() for worker in workers))
    assert Slow.most == 1
    assert sorted(Slow.sent) == sorted(set(Slow.sent))
    assert len(Slow.sent) == 30


async def test_a_delivery_whose_text_cannot_be_made_holds_up_nobody(
    ada_world: World, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jhub_tokens.service import mail as mail_module

    bad: list[str] = []
    whole = mail_module.notice_text

    def text(notice: Any, *rest: Any) -> str:
        bad[:] = bad or [notice.notice_id]
        if notice.notice_id in bad:
            raise ValueError("a bug")
        return whole(notice, *rest)

    monkeypatch.setattr(mail_module, "notice_text", text)
    ids = {await ada_world.give(), await ada_world.give()}
    await ada_world.work()
    (good,) = ids - {*bad}
    assert [m["Message-ID"] for m in mail.mails] == [f"<{good}@hub.example.org>"]


async def test_a_removed_channel_is_given_up(
    ada_world: World, worker: OutboxWorker, clock: ManualClock, receiver: Receiver
) -> None:
    receiver.statuses = [500]
    await ada_world.give()
    await ada_world.work()
    for name in [name for name in worker._channels if name != "email"]:
        del worker._channels[name]
    clock.advance_ms(backoff_ms(1))
    await ada_world.work()
    row = await asyncio.to_thread(ada_world.row, "webhook")
    assert (row["state"], row["last_error"]) == ("failed", "the channel is not configured any more")


# --- signatures -------------------------------------------------------------------------------


def test_the_specifications_own_example() -> None:
    """From the reference implementations: the same secret, id, time and body."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    header = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert header == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_an_independent_verifier_agrees(
    ada_world: World, receiver: Receiver, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Then(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(clock.now_ms() / 1000, tz or UTC)

    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", Then)
    await ada_world.give()
    await ada_world.work()
    ((headers, body),) = receiver.calls
    verifier = Webhook("whsec_" + base64.b64encode(SECRET).decode())
    assert verifier.verify(body, headers)["type"] == "notice.credited"
    with pytest.raises(WebhookVerificationError):
        verifier.verify(body.replace(b"credited", b"Credited"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(b"another secret of enough bytes").verify(body, headers)


def test_waits_grow_and_are_bounded() -> None:
    waits = [backoff_ms(attempts) for attempts in range(1, ATTEMPTS_MAX + 1)]
    assert waits[:3] == [30_000, 60_000, 120_000]
    assert max(waits) == waits[-1] == backoff_ms(10_000) == 6 * HOUR_MS
    assert sorted(waits) == waits
