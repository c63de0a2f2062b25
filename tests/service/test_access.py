"""Who may do what: every kind of caller against every kind of route."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jhub_tokens.ledger import Ledger
from tests.service.conftest import SERVICE_TOKEN, Api, Browser, Story, identity
from tests.service.stub_hub import StubHub, User

READ, GRANT = "custom:jhub-tokens:read", "custom:jhub-tokens:grant"

#: caller → statuses of: own standing, own statement, another's standing, another's statement,
#: the list, a grant to another, a freeze of another, the hub side's overview, the metrics.
MATRIX = {
    "nobody": (401, 401, 401, 401, 401, 401, 401, 401, 401),
    "hub side": (403, 403, 403, 403, 403, 403, 403, 200, 200),
    "unknown token": (403, 403, 403, 403, 403, 403, 403, 403, 403),
    "member, full token": (200, 200, 403, 403, 403, 403, 403, 403, 403),
    "member, own reads only": (200, 200, 403, 403, 403, 403, 403, 403, 403),
    "member, no scope of ours": (403, 403, 403, 403, 403, 403, 403, 403, 403),
    "member, another's reads": (403, 403, 200, 200, 403, 403, 403, 403, 403),
    "staff, reads all": (200, 200, 200, 200, 200, 403, 403, 403, 200),
    "staff, grants": (200, 200, 200, 200, 200, 201, 200, 403, 200),
    "admin, full token": (200, 200, 200, 200, 200, 201, 200, 403, 200),
    "admin, own reads only": (200, 200, 403, 403, 403, 403, 403, 403, 403),
    "admin, no scope of ours": (403, 403, 403, 403, 403, 403, 403, 403, 403),
    "service, reads all": (403, 403, 200, 200, 200, 403, 403, 403, 200),
    "service, metrics": (403, 403, 403, 403, 403, 403, 403, 403, 200),
}


def token_of(caller: str, hub: StubHub) -> str | None:
    ada, admin = hub.users["ada"], hub.users["admin"]
    monitor = User("monitor", 0, "", kind="service")

    def own(user: User) -> list[str]:
        return [f"{READ}!user={user.name}"]

    created = f"read:users!user={ada.name}"
    match caller:
        case "nobody":
            return None
        case "hub side":
            return SERVICE_TOKEN
        case "unknown token":
            return "made-up"
        case "member, full token":
            return hub.add_token(ada, *own(ada), created, "access:services!service=tokens")
        case "member, own reads only":
            return hub.add_token(ada, *own(ada))
        case "member, no scope of ours":
            return hub.add_token(ada, created, "access:services!service=tokens")
        case "member, another's reads":
            return hub.add_token(ada, f"{READ}!user=grace")
        case "staff, reads all":
            return hub.add_token(ada, READ)
        case "staff, grants":
            return hub.add_token(ada, READ, GRANT)
        case "admin, full token":
            return hub.add_token(admin, *own(admin), "admin:users", "access:services")
        case "admin, own reads only":
            return hub.add_token(admin, *own(admin))
        case "admin, no scope of ours":
            return hub.add_token(admin, "read:users!user=admin", "access:services")
        case "service, reads all":
            return hub.add_token(monitor, READ)
        case "service, metrics":
            return hub.add_token(monitor, "read:metrics")
    raise AssertionError(caller)


@pytest.mark.parametrize("caller", MATRIX)
async def test_every_caller_at_every_route(
    caller: str,
    story: Story,
    hub: StubHub,
    ada: User,
    grace: User,
    admin: User,
    api: Callable[..., Api],
    ledger: Ledger,
) -> None:
    for user in (ada, admin):
        await story.join(user)
    other = await story.join(grace)
    client = api(token_of(caller, hub))
    grant = {"tokens": "5", "reason": "a test", "key": "key-of-the-matrix"}
    before = ledger.wallet_view(other).balance_grains
    answers = [
        await client.get("api/v1/members/me"),
        await client.get("api/v1/members/me/statement"),
        await client.get(f"api/v1/members/{other}"),
        await client.get(f"api/v1/members/{other}/statement"),
        await client.get("api/v1/members"),
        await client.post(f"api/v1/members/{other}/grants", grant),
        await client.post(f"api/v1/members/{other}/freeze", {"reason": "a test"}),
        await client.post("api/v1/hub/overview", {"member": identity(ada)}),
        await client.get("metrics"),
    ]
    assert tuple(answer.status_code for answer in answers) == MATRIX[caller]
    for answer in answers:
        if answer.status_code in (401, 403):
            assert answer.json()["code"] in ("not_signed_in", "forbidden")
            assert "grace" not in answer.text, "a refusal gives nothing away"
    granted = ledger.wallet_view(other).balance_grains - before
    assert (granted > 0) == (MATRIX[caller][5] == 201)


#: person → statuses of the pages: own console, own statement, members' list, another's page,
#: another's statement, grant to another, freeze of another.
PAGES = {
    "member": (200, 200, 403, 403, 403, 403, 403),
    "admin": (200, 200, 200, 200, 200, 303, 303),
}


@pytest.mark.parametrize("person", PAGES)
async def test_every_person_at_every_page(
    person: str,
    story: Story,
    hub: StubHub,
    ada: User,
    grace: User,
    admin: User,
    browser: Callable[[User], Browser],
) -> None:
    for user in (ada, admin):
        await story.join(user)
    other = await story.join(grace)
    visitor = browser(ada if person == "member" else admin)
    own = await visitor.sign_in()
    form = visitor.client.cookies.get("_xsrf", path="/services/tokens/")
    target = f"/services/tokens/admin/members/{other}"
    grant = {"_xsrf": form, "tokens": "5", "reason": "test", "kind": "topup", "key": "k" * 12}
    freeze = {"_xsrf": form, "reason": "a test"}
    answers = [
        own,
        await visitor.get("statement"),
        await visitor.get("admin"),
        await visitor.get(f"admin/members/{other}"),
        await visitor.get(f"admin/members/{other}/statement"),
        await visitor.client.post(f"{target}/grant", data=grant),
        await visitor.client.post(f"{target}/freeze", data=freeze),
    ]
    assert tuple(answer.status_code for answer in answers) == PAGES[person]
    if person == "member":
        assert all("grace" not in answer.text for answer in answers)


async def test_an_admin_demoted_meanwhile_moves_no_money(
    story: Story,
    hub: StubHub,
    grace: User,
    admin: User,
    browser: Callable[[User], Browser],
    ledger: Ledger,
) -> None:
    member = await story.join(grace)
    visitor = browser(admin)
    await visitor.sign_in("admin")
    page = await visitor.get(f"admin/members/{member}")
    admin.admin = False
    cached = await visitor.get(f"admin/members/{member}")
    assert cached.status_code == 200, "this answer comes from the cache; the next must not"
    answer = await visitor.submit(page, "/grant", tokens="5", reason="for myself", kind="topup")
    assert answer.status_code == 403
    assert ledger.wallet_view(member).balance_grains == 300 * 3_600_000_000
    assert (await visitor.get("admin")).status_code == 403, "and the cache is forgotten"


async def test_a_revoked_token_moves_no_money(
    story: Story, hub: StubHub, grace: User, ada: User, api: Callable[..., Api]
) -> None:
    member = await story.join(grace)
    token = hub.add_token(ada, READ, GRANT)
    client = api(token)
    assert (await client.get("api/v1/members")).status_code == 200
    del hub.tokens[token]
    grant = {"tokens": "5", "reason": "a test", "key": "key-of-a-thief"}
    answer = await client.post(f"api/v1/members/{member}/grants", grant)
    assert answer.status_code == 403


async def test_a_new_user_of_an_old_name_sees_nothing_of_the_old_books(
    story: Story,
    hub: StubHub,
    ada: User,
    grace: User,
    api: Callable[..., Api],
    browser: Callable[..., Browser],
) -> None:
    old = await story.join(ada)
    narrow = api(hub.add_token(ada, f"{READ}!user=ada"))
    others = api(hub.add_token(grace, f"{READ}!user=ada"))
    # What is known of the old user must not be taken for the new one's.
    assert (await narrow.get("api/v1/members/me")).status_code == 200
    assert (await others.get(f"api/v1/members/{old}")).status_code == 200
    ada.created, ada.hub_user_id = "2026-11-24T08:59:00.000000Z", 77
    assert (await others.get(f"api/v1/members/{old}")).status_code == 403
    fresh = api(hub.add_token(ada, f"{READ}!user=ada"))
    for path in ("api/v1/members/me", f"api/v1/members/{old}", f"api/v1/members/{old}/statement"):
        answer = await fresh.get(path)
        assert answer.status_code in (403, 404), path
    page = await browser(ada).sign_in()
    assert page.status_code == 404
    assert "still being set up" in page.text


async def test_a_renamed_member_keeps_the_books(
    story: Story, hub: StubHub, ada: User, browser: Callable[..., Browser]
) -> None:
    member = await story.join(ada)
    del hub.users["ada"]
    ada.name = "ada lovelace"
    hub.users[ada.name] = ada
    assert await story.join(ada) == member
    page = await browser(ada).sign_in()
    assert page.status_code == 200 and "ada lovelace" in page.text


async def test_the_hub_being_down_is_said(
    story: Story, hub: StubHub, ada: User, api: Callable[..., Api]
) -> None:
    await story.join(ada)
    hub.down = True
    answer = await api(hub.add_token(ada, READ)).get("api/v1/members")
    assert (answer.status_code, answer.json()["code"]) == (503, "hub_unavailable")
    # The hub side needs no answer of the hub.
    assert (await story.admit(ada, "cpu")).status_code == 201


async def test_a_token_in_the_address_signs_nobody_in(
    story: Story, hub: StubHub, ada: User, api: Callable[..., Api]
) -> None:
    await story.join(ada)
    token = hub.add_token(ada, READ)
    answer = await api().get(f"api/v1/members?token={token}")
    assert answer.status_code == 401
