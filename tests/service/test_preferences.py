"""Members choose how they are told: the page, the API, and addresses that they confirm."""

from __future__ import annotations

import dataclasses
import re
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger
from jhub_tokens.ledger.member_settings import ASKS_MAX
from jhub_tokens.service.channel_settings import MailSettings
from jhub_tokens.service.channels import NotSent
from jhub_tokens.service.mail import Mailer
from jhub_tokens.service.settings import Settings
from tests.service.conftest import HOUR_MS, PREFIX, Api, Browser, Story
from tests.service.receivers import MailServer
from tests.service.stub_hub import StubHub, User

PUBLIC_URL = f"https://hub.example.org{PREFIX}"
Browsers = Callable[[User], Browser]


@pytest.fixture
async def mail() -> AsyncIterator[MailServer]:
    server = MailServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def settings(settings: Settings, mail: MailServer) -> Settings:
    mail_settings = MailSettings("127.0.0.1", mail.port, "none", "tokens@hub.example.org")
    return dataclasses.replace(settings, public_url=PUBLIC_URL, mail=mail_settings)


def link_of(mail: MailServer) -> str:
    """Return the path of the link in the latest message."""
    text = mail.mails[-1].get_content()
    found = re.search(rf"{re.escape(PUBLIC_URL)}(settings/confirm\?token=\S+)", text)
    assert found, text
    return found[1]


async def test_an_address_is_confirmed_by_the_link_sent_to_it(
    story: Story, ada: User, ledger: Ledger, browser: Browsers, mail: MailServer
) -> None:
    member_id = await story.join(ada)
    visitor = browser(ada)
    page = await visitor.sign_in("settings")
    assert "No address is confirmed" in page.text
    answer = await visitor.submit(page, "/settings/email", email=" ada@example.org ")
    assert answer.status_code == 303
    page = await visitor.get("settings")
    assert "A message is on its way to ada@example.org" in page.text
    assert ledger.member_settings.of(member_id).email is None, "not before it is confirmed"
    assert mail.recipients == ["ada@example.org"]
    assert "ada asked for notices of Test" in mail.mails[0].get_content()
    page = await visitor.get(link_of(mail))
    assert ledger.member_settings.of(member_id).email is None, "opening it confirms nothing yet"
    answer = await visitor.submit(page, "/settings/confirm")
    assert answer.status_code == 303, answer.text
    assert ledger.member_settings.of(member_id).email == "ada@example.org"
    page = await visitor.get("settings")
    assert "Notices are sent to ada@example.org from now on." in page.text
    await visitor.submit(page, "/settings/email/remove")
    assert ledger.member_settings.of(member_id).email is None
    again = await visitor.client.post(f"{PREFIX}settings/confirm", data=forged(visitor, mail))
    assert again.status_code == 422, "an old link does not bring it back"


def forged(visitor: Browser, mail: MailServer) -> dict[str, str]:
    """Return the confirming form with this visitor's XSRF token and the latest link."""
    xsrf = visitor.client.cookies.get("_xsrf", path=PREFIX)
    assert xsrf
    return {"_xsrf": xsrf, "token": link_of(mail).partition("token=")[2].replace("%7C", "|")}


async def test_a_link_is_worth_nothing_to_others_and_nothing_later(
    story: Story,
    ada: User,
    grace: User,
    ledger: Ledger,
    browser: Browsers,
    mail: MailServer,
    clock: ManualClock,
) -> None:
    members = {user.name: await story.join(user) for user in (ada, grace)}
    visitor, other = browser(ada), browser(grace)
    await visitor.submit(
        await visitor.sign_in("settings"), "/settings/email", email="v@example.org"
    )
    await other.sign_in("settings")
    assert (await other.get(link_of(mail))).status_code == 422
    posted = await other.client.post(f"{PREFIX}settings/confirm", data=forged(other, mail))
    assert posted.status_code == 422 and "not yours" in posted.text
    for token in ("", "x", "2|1:0|10:1795510800|19:jhub-tokens-address|4:eHg=|00"):
        assert (await visitor.get(f"settings/confirm?token={token}")).status_code == 422
    no_xsrf = forged(visitor, mail) | {"_xsrf": "x"}
    answer = await visitor.client.post(f"{PREFIX}settings/confirm", data=no_xsrf)
    assert answer.status_code == 403
    clock.advance_ms(48 * HOUR_MS + 1000)
    late = await visitor.client.post(f"{PREFIX}settings/confirm", data=forged(visitor, mail))
    assert late.status_code == 422 and "too old" in late.text
    for member_id in members.values():
        assert ledger.member_settings.of(member_id).email is None


@pytest.mark.parametrize(
    "address",
    ["", "ada", "ada@", "ada@localhost", "a b@example.org", "ä@example.org", "x@" + "y" * 255,
     "a@example.org\r\nBcc: b@example.org", "<a@example.org>", "a@example.org,b@example.org"],
)  # fmt: skip
async def test_what_is_no_address_is_said_at_the_field(
    address: str, story: Story, ada: User, browser: Browsers, mail: MailServer
) -> None:
    await story.join(ada)
    visitor = browser(ada)
    page = await visitor.sign_in("settings")
    answer = await visitor.submit(page, "/settings/email", email=address)
    assert answer.status_code == 422
    assert "write an address such as ada@example.org" in answer.text
    assert mail.mails == []


async def test_a_server_that_refuses_is_told_at_the_field(
    story: Story, ada: User, browser: Browsers, mail: MailServer
) -> None:
    await story.join(ada)
    visitor = browser(ada)
    page = await visitor.sign_in("settings")
    mail.refusals = ["550 no such user"]
    answer = await visitor.submit(page, "/settings/email", email="nobody@example.org")
    assert answer.status_code == 422
    assert "did not take the message" in answer.text and "nobody@example.org" in answer.text


async def test_language_zone_and_channels_are_chosen_on_the_page(
    story: Story, ada: User, ledger: Ledger, browser: Browsers
) -> None:
    member_id = await story.join(ada)
    visitor = browser(ada)
    page = await visitor.sign_in("settings")
    choice = {"language": "zh", "zone": "Asia/Shanghai", "urgency": "danger"}
    answer = await visitor.submit(page, "/settings/change", **choice)
    assert answer.status_code == 303
    chosen = ledger.member_settings.of(member_id)
    assert (chosen.language, chosen.zone, chosen.urgency) == ("zh", "Asia/Shanghai", "danger")
    assert chosen.channels == (), "the box was not ticked"
    page = await visitor.get("settings")
    assert "您的设置已保存。" in page.text, "in the language that was chosen"
    statement = (await visitor.get("statement")).text
    assert "时间以 Asia/Shanghai 为准" in statement, "lines are told there"
    assert "周期按 Europe/Berlin 起止。" in statement
    forbidden = (await visitor.get("admin/fleet")).text
    assert "admin/reports" not in forbidden, "no links to what is not open"
    wrong = await visitor.submit(page, "/settings/change", **{**choice, "zone": "Mars/North"})
    assert wrong.status_code == 422
    assert "没有这个时区" in wrong.text and "Mars/North" in wrong.text
    ledger.set_frozen(member_id, frozen=True, actor="boss", reason="unpaid")
    console = await visitor.get("")
    assert "您的会员资格已冻结" in console.text and "今天 17:00:00 CST" in console.text


# --- the API ----------------------------------------------------------------------------------


async def test_the_api_does_what_the_page_does(
    story: Story, ada: User, hub: StubHub, api: Callable[..., Api], mail: MailServer
) -> None:
    await story.join(ada)
    own = api(hub.add_token(ada, "tokens!user=ada", "custom:jhub-tokens:read!user=ada"))
    path = "api/v1/members/me/settings"
    assert (await own.get(path)).json() == {
        "language": "en",
        "follows_browser": True,
        "zone": None,
        "channels": ["email"],
        "urgency": "info",
        "email": None,
        "email_asked": None,
        "email_offered": True,
    }
    changed = await own.post(path, {"language": "zh", "channels": []})
    assert (changed.json()["language"], changed.json()["channels"]) == ("zh", [])
    wrong = await own.post(path, {"language": "en", "zone": "../../etc/passwd"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "zone")
    wrong = await own.post(path, {"language": "fr"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "language")
    asked = await own.post(f"{path}/email", {"email": "ada@example.org"})
    assert asked.json()["email_asked"] == "ada@example.org"
    assert mail.mails[0]["Subject"] == "请确认用于接收 Test 通知的邮箱地址"
    for _ in range(ASKS_MAX - 1):
        assert (await own.post(f"{path}/email", {"email": "v@example.org"})).status_code == 200
    flood = await own.post(f"{path}/email", {"email": "v@example.org"})
    assert (flood.status_code, flood.json()["code"]) == (429, "too_many_mails")
    forgotten = await own.post(f"{path}/email", {"email": None})
    assert forgotten.json()["email_asked"] is None


async def test_a_token_that_may_only_read_changes_nothing(
    story: Story, ada: User, hub: StubHub, api: Callable[..., Api], mail: MailServer
) -> None:
    await story.join(ada)
    reader = api(hub.add_token(ada, "custom:jhub-tokens:read!user=ada"))
    path = "api/v1/members/me/settings"
    assert (await reader.get(path)).status_code == 200
    assert (await reader.post(path, {"language": "zh"})).status_code == 403
    assert (await reader.post(f"{path}/email", {"email": "a@example.org"})).status_code == 403
    assert (await api().get(path)).status_code == 401
    assert mail.mails == []


# --- mail servers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for this machine that signs itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM) + private)
    return path


async def send(server: MailServer, security: str, **sign_in: str) -> None:
    """Send a message through a server."""
    settings = MailSettings("127.0.0.1", server.port, security, "t@example.org", **sign_in)  # type: ignore[arg-type]
    await Mailer(settings, PUBLIC_URL).send_confirmation(
        "a@example.org", member_name="ada", title="Test", language="en", path="x", hours=1
    )


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_mail_goes_over_tls_and_signs_in(
    security: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    if security == "tls":
        # aiosmtpd sees TLS of its own making only, hence the exception for signing in.
        server = MailServer(context, auth_require_tls=False)
    else:
        server = MailServer(tls_context=context, require_starttls=True)
    await server.start()
    try:
        with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
            await send(server, security)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with pytest.raises(NotSent, match="535"):
            await send(server, security, username="u", password="wrong")
        await send(server, security, username="u", password="secret")
        assert (server.secure, server.signed_in[-1]) == ([True], (b"u", b"secret"))
    finally:
        await server.stop()


async def test_starttls_is_never_given_up_for_a_server_without(mail: MailServer) -> None:
    with pytest.raises(NotSent):
        await send(mail, "starttls")
    assert mail.mails == []
