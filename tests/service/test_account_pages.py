"""A member's own pages and their forms: access and keys, plan and tokens, settings, teams."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from jhub_tokens.catalogue import CatalogueError, parse_catalogue
from jhub_tokens.ledger import Ledger, schema
from jhub_tokens.ledger.own_data import LEFT_OUT, TAKEN_ALONG
from jhub_tokens.ledger.personal import TEXT_COLUMNS
from jhub_tokens.service.access import server_access
from jhub_tokens.service.settings import Settings, SettingsError
from jhub_tokens.service.ssh_settings import gateway_token_from, ssh_settings_from
from jhub_tokens.service.texts import tokens_text
from jhub_tokens.units import GRAINS_PER_TOKEN
from tests.ledger.test_ssh_keys import new_key
from tests.service.conftest import CATALOGUE, PREFIX, Api, Browser, Story
from tests.service.stub_hub import StubHub, User

Browsers = Callable[[User], Browser]

MORE = """
self_service: [upgrade, downgrade, pause, trial]
top_ups: [{tokens: 40, price: 4.50 EUR}]
teams:
  vision: {title: Vision, group: vision, plan: enterprise, member_cap: 100, owners: [grace]}
"""


@pytest.fixture
def catalogue_path(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.yaml"
    text = CATALOGUE.replace("max_servers: 2}", "max_servers: 2, trial: {tokens: 7, duration: 3d}}")
    path.write_text(text + MORE)
    return path


@pytest.fixture
def ssh_way(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "tunnel"))


@pytest.fixture
def settings(settings: Settings, ssh_way: str) -> Settings:
    return dataclasses.replace(settings, ssh=ssh_way, payments="manual")


def text_of(page) -> str:
    """Return what a page says, without its mark-up."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page.text)))


# --- access -------------------------------------------------------------------------------------


async def test_a_running_server_tells_how_it_is_reached(
    story: Story, browser: Browsers, grace: User, hub_side: Api
) -> None:
    await story.join(grace)
    await story.run(grace, "cpu", "my lab")
    visitor = browser(grace)
    page = await visitor.sign_in("access")
    assert f"{visitor.origin}/user/grace/my%20lab/" in page.text
    command = text_of(page)
    host = visitor.origin.replace("http", "ws", 1)
    assert "websocat --binary" in command and f"{host}/user/grace/my%%20lab/ssh/" in command
    assert "jovyan@jupyter-grace-my-lab-" in command and "Host jupyter-grace-my-lab-" in command
    (session,) = (await story.api.post("api/v1/hub/overview", {"member": {
        "hub_user_id": grace.hub_user_id, "created": grace.created, "name": "grace",
    }})).json()["sessions"]  # fmt: skip
    assert session["url"] == "/user/grace/my%20lab/", "the hub knows its own host"
    assert session["ssh_command"] is None, "and the service does not, unless it is told"


async def test_keys_are_added_and_removed_by_forms(
    story: Story, browser: Browsers, ada: User, ledger: Ledger
) -> None:
    member_id = await story.join(ada)
    visitor = browser(ada)
    page = await visitor.sign_in("access")
    assert "You have no key yet" in page.text
    key = new_key()
    answer = await visitor.submit(page, "/keys/add", key=f"{key.line} ada@home\n", name="")
    assert answer.status_code == 303
    page = await visitor.get("access")
    assert "The key “ada@home” opens your servers" in page.text and key.fingerprint in page.text
    again = await visitor.submit(page, "/keys/add", key=key.line, name="other")
    assert again.status_code == 409 and "You have this key already" in again.text
    assert 'value="other"' in again.text and key.line in again.text, "what was typed is kept"
    answer = await visitor.submit(page, "/keys/remove")
    assert answer.status_code == 303 and ledger.ssh_keys.of(member_id) == ()


async def test_a_private_key_is_neither_kept_nor_shown_again(
    story: Story, browser: Browsers, ada: User, capsys: pytest.CaptureFixture[str]
) -> None:
    await story.join(ada)
    visitor = browser(ada)
    page = await visitor.sign_in("access")
    secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END"
    answer = await visitor.submit(page, "/keys/add", key=secret, name="mine")
    assert answer.status_code == 422 and "do not use it any more" in answer.text
    assert 'aria-describedby="key-error"' in answer.text and 'value="mine"' in answer.text
    assert "c2VjcmV0" not in answer.text
    printed = capsys.readouterr()
    assert "c2VjcmV0" not in printed.out + printed.err


@pytest.mark.parametrize("ssh_way", [""], indirect=True)
async def test_without_ssh_the_page_says_so(story: Story, browser: Browsers, ada: User) -> None:
    await story.join(ada)
    await story.run(ada, "cpu")
    page = await browser(ada).sign_in("access")
    assert "lets nobody in by SSH" in page.text
    assert "websocat" not in page.text and "/keys/add" not in page.text


@pytest.mark.parametrize(
    ("way", "user", "name", "command"),
    [
        ("ssh.example.org:22", "jovyan", "ada", "ssh jovyan@ssh.example.org"),
        ("ssh.example.org:2222", "{username}", "ada", "ssh -p 2222 ada@ssh.example.org"),
        ("{username}.ssh.example.org:22", "x", "ada", "ssh x@ada.ssh.example.org"),
        ("h:22", "{username}--{server}", "ada", "ssh ada--default@h"),
        ("h:22", "{username}", "Ada; rm -rf", "ssh ada-rm-rf-"),
    ],
)
def test_a_gateway_finds_the_server_by_names(
    settings: Settings, way: str, user: str, name: str, command: str
) -> None:
    told = server_access(dataclasses.replace(settings, ssh=way, ssh_user=user), name, "")
    assert told.ssh_command is not None and told.ssh_command.startswith(command)
    assert ";" not in told.ssh_command


def test_each_member_has_a_host_of_their_own_where_the_hub_says_so(settings: Settings) -> None:
    own = dataclasses.replace(settings, hub_url="https://hub.example.org/jh/hub/")
    told = server_access(own, "ada", "", "https://elsewhere")
    assert told.url == "https://ada.hub.example.org/jh/user/ada/"
    assert told.ssh_config is not None and "wss://ada.hub.example.org/jh/user/ada/ssh/" in (
        told.ssh_config
    )


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, ("", "jovyan")),
        ({"JHUB_TOKENS_SSH": "off"}, ("", "jovyan")),
        ({"JHUB_TOKENS_SSH": "tunnel", "JHUB_TOKENS_SSH_USER": "me"}, ("tunnel", "me")),
        ({"JHUB_TOKENS_SSH": "ssh.example.org"}, ("ssh.example.org:22", "jovyan")),
        ({"JHUB_TOKENS_SSH": "{server}.h:2222"}, ("{server}.h:2222", "jovyan")),
        ({"JHUB_TOKENS_SSH": "gateway:ssh.example.org"}, ("gateway:ssh.example.org:22", "jovyan")),
        ({"JHUB_TOKENS_SSH": "gateway:{username}.h:22"}, None),
        ({"JHUB_TOKENS_SSH": "gateway:"}, None),
        ({"JHUB_TOKENS_SSH": "h:0"}, None),
        ({"JHUB_TOKENS_SSH": "h h:22"}, None),
        ({"JHUB_TOKENS_SSH": "{name}:22"}, None),
        ({"JHUB_TOKENS_SSH": "h", "JHUB_TOKENS_SSH_USER": "-oProxyCommand=x y"}, None),
        ({"JHUB_TOKENS_SSH": "h", "JHUB_TOKENS_SSH_USER": "{0}"}, None),
    ],
)
def test_what_the_operator_says_of_ssh(env: dict[str, str], wanted: object) -> None:
    if wanted is None:
        with pytest.raises(SettingsError, match="JHUB_TOKENS_SSH"):
            ssh_settings_from(env)
    else:
        assert ssh_settings_from(env) == wanted


@pytest.mark.parametrize(
    ("env", "sees_pods", "says"),
    [
        ({"JHUB_TOKENS_GATEWAY_TOKEN": "t" * 32}, True, None),
        ({}, True, "needs JHUB_TOKENS_GATEWAY_TOKEN"),
        ({"JHUB_TOKENS_GATEWAY_TOKEN": "short"}, True, "has 5 characters"),
        ({"JHUB_TOKENS_GATEWAY_TOKEN": "t" * 32}, False, "needs JHUB_TOKENS_CLUSTER"),
    ],
)
def test_a_gateway_that_cannot_work_is_refused(
    env: dict[str, str], sees_pods: bool, says: str | None
) -> None:
    way = "gateway:ssh.example.org:22"
    if says is None:
        assert gateway_token_from(env, way, sees_pods=sees_pods) == "t" * 32
        assert gateway_token_from({}, "tunnel", sees_pods=False) == ""
    else:
        with pytest.raises(SettingsError, match=says):
            gateway_token_from(env, way, sees_pods=sees_pods)


# --- plan ---------------------------------------------------------------------------------------


async def test_a_change_of_plan_is_told_first_and_done_once(
    story: Story, browser: Browsers, ada: User, api, hub: StubHub, ledger: Ledger
) -> None:
    member_id = await story.join(ada)
    visitor = browser(ada)
    page = await visitor.sign_in("plan")
    assert "Your plan is Basic: 50 tokens a month" in text_of(page)
    asked = await visitor.get("plan/change?act=upgrade&plan=pro")
    said = text_of(asked)
    assert "Begins at once" in said
    told = ledger.self_service.choices(member_id).find("upgrade", "pro")
    assert told is not None and 245 < told.added_grains / GRAINS_PER_TOKEN < 250
    assert f"{tokens_text(told.added_grains)}, the difference" in said
    assert "To pay Nothing" in said and "300 tokens a month" in said
    assert ledger.wallet_view(member_id).plan.name == "basic", "looking does nothing"
    answers = [await visitor.submit(asked, "plan/change") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303], "a double click"
    view = ledger.wallet_view(member_id)
    added = view.balance_grains - 50 * GRAINS_PER_TOKEN
    assert (view.plan.name, added) == ("pro", told.added_grains)
    page = await visitor.get("plan")
    assert "Your plan is now Pro." in page.text
    assert len(ledger.plan_changes(member_id)) == 1


async def test_a_change_that_waits_is_taken_back(
    story: Story, browser: Browsers, grace: User, ledger: Ledger
) -> None:
    member_id = await story.join(grace)
    visitor = browser(grace)
    page = await visitor.sign_in("plan")
    asked = await visitor.get("plan/change?act=downgrade&plan=basic")
    assert "No longer included: One GPU." in text_of(asked)
    assert "At most 1 server can run at a time then." in text_of(asked)
    await visitor.submit(asked, "plan/change")
    page = await visitor.get("plan")
    assert "Your plan changes to Basic Thu 24 Dec" in text_of(page)
    kept = await visitor.submit(page, "plan/keep")
    assert kept.status_code == 303
    again = await visitor.submit(page, "plan/keep")
    assert again.status_code == 303, "taken back already"
    (change,) = ledger.plan_changes(member_id)
    assert change.revoked_ms is not None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("plan/change?act=upgrade&plan=nothing", 409),
        ("plan/change?act=resume&plan=pro", 409),
        ("plan/change", 409),
        ("plan/top-up?tokens=41", 404),
        ("plan/top-up?tokens=x", 404),
        ("plan/fee?plan=pro", 404),
        ("plan/invoices/nothing", 404),
    ],
)
async def test_what_is_not_open_says_so(
    story: Story, browser: Browsers, ada: User, path: str, status: int
) -> None:
    await story.join(ada)
    visitor = browser(ada)
    await visitor.sign_in("plan")
    answer = await visitor.get(path)
    assert answer.status_code == status and "jt-tabs" in answer.text


async def test_a_form_without_its_key_or_of_another_act_does_nothing(
    story: Story, browser: Browsers, ada: User, ledger: Ledger
) -> None:
    member_id = await story.join(ada)
    visitor = browser(ada)
    await visitor.sign_in("plan")
    asked = await visitor.get("plan/change?act=trial&plan=pro")
    assert "7 tokens" in text_of(asked)
    for wrong in ({"key": ""}, {"key": "short"}, {"act": "free"}):
        answer = await visitor.submit(asked, "plan/change", **wrong)
        assert answer.status_code == 422, wrong
    answer = await visitor.submit(asked, "plan/change", plan="enterprise")
    assert answer.status_code == 409
    assert ledger.plan_changes(member_id) == ()
    await visitor.submit(asked, "plan/change")
    assert "You try Pro until" in text_of(await visitor.get("plan"))
    assert "trial of the plan Pro" in text_of(await visitor.get("statement"))
    visitor.client.headers["Accept-Language"] = "zh-CN"
    assert "试用套餐 Pro" in text_of(await visitor.get("statement"))


async def test_tokens_are_ordered_once_and_paid_by_hand(
    story: Story, browser: Browsers, ada: User, ledger: Ledger
) -> None:
    member_id = await story.join(ada)
    visitor = browser(ada)
    page = await visitor.sign_in("plan")
    assert "40 tokens · €4.50" in text_of(page)
    asked = await visitor.get("plan/top-up?tokens=40")
    assert "To pay €4.50, once" in text_of(asked)
    answers = [await visitor.submit(asked, "plan/top-up") for _ in range(2)]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    (invoice,) = ledger.payments.invoices(member_id)
    page = await visitor.client.get(answers[0].headers["location"])
    assert invoice.invoice_id[:8] in page.text and "Write to tokens@example.org." in page.text
    ledger.payments.mark_paid(invoice.invoice_id, actor="admin", caller="user:admin")
    assert "paid" in text_of(await visitor.get("plan"))
    assert ledger.wallet_view(member_id).balance_grains == 90 * GRAINS_PER_TOKEN


async def test_a_voucher_is_redeemed_here_and_a_wrong_one_kept(
    story: Story, browser: Browsers, ada: User, ledger: Ledger
) -> None:
    member_id = await story.join(ada)
    _, (code,) = ledger.vouchers.make(
        count=1, amount_grains=5 * GRAINS_PER_TOKEN, actor="a", caller="user:a", key="voucher-key"
    )
    visitor = browser(ada)
    page = await visitor.sign_in("plan")
    wrong = await visitor.submit(page, "plan/voucher", code="ABCD-EFGH")
    assert wrong.status_code >= 400 and 'value="ABCD-EFGH"' in wrong.text
    assert 'id="code-error"' in wrong.text
    await visitor.submit(page, "plan/voucher", code=code)
    assert "5 tokens added. New balance: 55 tokens." in (await visitor.get("plan")).text
    assert ledger.wallet_view(member_id).balance_grains == 55 * GRAINS_PER_TOKEN


# --- settings -----------------------------------------------------------------------------------


async def test_times_are_told_in_the_zone_that_was_chosen(
    story: Story, browser: Browsers, ada: User
) -> None:
    await story.join(ada)
    visitor = browser(ada)
    page = await visitor.sign_in("settings")
    assert "next Thu 24 Dec 00:00 CET" in text_of(await visitor.get("plan"))
    await visitor.submit(page, "settings/change", language="en", zone="Asia/Tokyo")
    assert "next Thu 24 Dec 08:00 JST" in text_of(await visitor.get("plan"))
    standing = await story.api.post("api/v1/hub/overview", {"member": {
        "hub_user_id": ada.hub_user_id, "created": ada.created, "name": "ada",
    }})  # fmt: skip
    assert standing.json()["period_end"] == "Thu 24 Dec 08:00 JST", "the hub's pages as well"
    wrong = await visitor.submit(page, "settings/change", language="en", zone="Mars/North")
    assert wrong.status_code == 422 and 'value="Mars/North"' in wrong.text


async def test_pages_speak_as_chosen_or_as_the_browser_says(
    story: Story, browser: Browsers, ada: User, ledger: Ledger
) -> None:
    member_id = await story.join(ada)
    visitor = browser(ada)
    page = await visitor.sign_in("settings")
    visitor.client.headers["Accept-Language"] = "zh-CN,zh;q=0.9"
    assert '<h1 class="h3 mb-3">设置</h1>' in (await visitor.get("settings")).text
    await visitor.submit(page, "settings/change", language="en", zone="")
    assert '<h1 class="h3 mb-3">Settings</h1>' in (await visitor.get("settings")).text
    await visitor.submit(page, "settings/change", language="browser", zone="")
    assert "设置" in (await visitor.get("settings")).text
    assert ledger.member_settings.of(member_id).language == "zh", "what is sent is in it, too"


async def test_ones_own_data_is_one_file(
    story: Story, browser: Browsers, ada: User, grace: User
) -> None:
    member_id = await story.join(ada)
    other_id = await story.join(grace)
    await story.run(ada, "cpu", "lab")
    visitor = browser(ada)
    await visitor.sign_in("settings")
    answer = await visitor.get("settings/export")
    assert answer.headers["content-disposition"].startswith('attachment; filename="jhub-tokens-')
    tables = answer.json()["tables"]
    assert [row["name"] for row in tables["members"]] == ["ada"]
    assert [row["server_name"] for row in tables["sessions"]] == ["lab"]
    assert tables["entries"] and tables["grants"]
    assert member_id in answer.text and other_id not in answer.text
    assert "salt" not in answer.text


def test_every_table_about_a_person_is_taken_along() -> None:
    about = {
        table
        for table, columns in TEXT_COLUMNS.items()
        if {"erased", "deleted"} & set(columns.values())
    }
    assert about - TAKEN_ALONG.keys() == LEFT_OUT.keys()
    assert TAKEN_ALONG.keys() <= schema.metadata.tables.keys()


# --- teams --------------------------------------------------------------------------------------


@pytest.fixture
def ursula(hub: StubHub) -> User:
    return hub.add_user("ursula", groups=["vision"])


async def test_an_owner_invites_sets_shares_and_sees_who_used_what(
    story: Story, browser: Browsers, grace: User, ada: User, ursula: User, ledger: Ledger
) -> None:
    for user in (grace, ada, ursula):
        await story.join(user)
    answer = await story.admit(ursula, "gpu4", payer="vision")
    assert answer.status_code == 201, answer.text
    owner, guest = browser(grace), browser(ada)
    page = await owner.sign_in("teams/vision")
    assert "Vision" in page.text and "ursula" in page.text and "3,000" in page.text
    wrong = await owner.submit(page, "vision/invite", name="nobody")
    assert wrong.status_code == 422 and "Nobody of this name" in wrong.text
    assert 'value="nobody"' in wrong.text
    assert (await owner.submit(page, "vision/invite", name="ada")).status_code == 303
    at_plan = await guest.sign_in("plan")
    assert "You are invited to the team Vision." in text_of(at_plan)
    accepted = await guest.submit(at_plan, "invitations/answer")
    assert accepted.status_code == 303
    assert "You are in the team Vision now." in (await guest.get("plan")).text
    own = text_of(await guest.get("teams/vision"))
    assert "100 tokens left of 100 tokens" in own and "ursula" not in own, "their own share only"

    member_id = ledger.member_by_name("ada").member_id
    page = await owner.get("teams/vision")
    for text, status in (("x", 422), ("-1", 422), ("12.5", 303)):
        answer = await owner.client.post(
            f"{PREFIX}teams/vision/share", data={**hidden(page), "member_id": member_id,
                                                 "tokens": text},
        )  # fmt: skip
        assert answer.status_code == status, text
    (payer,) = ledger.payers(member_id)
    assert payer.cap_grains == GRAINS_PER_TOKEN * 25 // 2
    answer = await owner.client.post(
        f"{PREFIX}teams/vision/remove", data={**hidden(page), "member_id": member_id}
    )
    assert answer.status_code == 303 and ledger.payers(member_id) == ()


def hidden(page) -> dict[str, str]:
    found = re.search(r'name="_xsrf" value="([^"]*)"', page.text)
    assert found
    return {"_xsrf": found[1]}


async def test_a_teams_pages_are_its_owners_alone(
    story: Story, browser: Browsers, grace: User, ada: User, ursula: User, admin: User,
    ledger: Ledger,
) -> None:  # fmt: skip
    for user in (grace, ada, ursula, admin):
        await story.join(user)
    pages = {user.name: browser(user) for user in (grace, ada, ursula, admin)}
    seen = {}
    for name, visitor in pages.items():
        await visitor.sign_in("plan")
        first = await visitor.get("teams/vision")
        second = await visitor.get("teams/vision/statement")
        seen[name] = (first.status_code, second.status_code)
    assert seen == {
        "grace": (200, 200), "admin": (200, 200), "ursula": (200, 403), "ada": (403, 403),
    }  # fmt: skip
    form = hidden(await pages["ursula"].get("plan"))
    for path in ("share", "invite", "withdraw", "remove"):
        body = {**form, "name": "ada", "member_id": "x", "invitation_id": "x", "tokens": "1"}
        answer = await pages["ursula"].client.post(f"{PREFIX}teams/vision/{path}", data=body)
        assert answer.status_code == 403, path
    assert (await pages["grace"].get("teams/nothing")).status_code == 403


async def test_an_invitation_is_answered_by_whom_it_is_for(
    story: Story, browser: Browsers, grace: User, ada: User, ursula: User, ledger: Ledger
) -> None:
    for user in (grace, ada, ursula):
        await story.join(user)
    owner_id = ledger.member_by_name("grace").member_id
    invitation = ledger.teams.invite("vision", "ada", owner_id)
    other = browser(ursula)
    form = hidden(await other.sign_in("plan"))
    body = {**form, "invitation_id": invitation.invitation_id, "answer": "accept"}
    answer = await other.client.post(f"{PREFIX}invitations/answer", data=body)
    assert answer.status_code == 404
    assert ledger.payers(ledger.member_by_name("ada").member_id) == ()


async def test_a_teams_statement_says_whose_each_line_is(
    story: Story, browser: Browsers, grace: User, ursula: User
) -> None:
    await story.join(grace)
    await story.join(ursula)
    answer = await story.admit(ursula, "gpu4", payer="vision")
    story.servers[answer.json()["start_key"]] = {
        "member": {"hub_user_id": ursula.hub_user_id, "created": ursula.created,
                   "name": "ursula", "groups": ["vision"]},
        "server_name": "", "start_key": answer.json()["start_key"],
        "ready_since": story.clock.now_ms(),
    }  # fmt: skip
    await story.snapshot()
    await story.pass_ms(3_600_000)
    visitor = browser(grace)
    page = await visitor.sign_in("teams/vision/statement")
    assert "ursula" in page.text and "2,970.00" in page.text
    assert (await visitor.get("teams/vision/statement?period=2020-01-01")).status_code == 404


def test_the_catalogue_tells_what_members_may_do() -> None:
    with pytest.raises(CatalogueError, match="self_service"):
        parse_catalogue(CATALOGUE + "self_service: [leave]\n", "c.yaml")
    assert parse_catalogue(CATALOGUE, "c.yaml").self_service == ()
