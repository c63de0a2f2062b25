"""Every route and every role: who is let through and who is refused, in one table.

A route that is added without a row fails here. A row has one sign for each role: ``y``, the role
is let through (whatever is answered then), or ``.``, it is refused: 401, 403, or sent to sign in.
What a route then does, and for whom, its own tests tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tornado.web import RequestHandler

from jhub_tokens.service.app import _MACHINE_ROUTES, API_ROUTES, PAGE_ROUTES
from jhub_tokens.service.settings import Settings
from tests.service.conftest import CATALOGUE, SERVICE_TOKEN, Api, Browser, Story, identity
from tests.service.stub_hub import StubHub, User

#: The member is ada, whom paths name; the owner's team is ada's; support reads all; the hub side
#: meters; a server speaks for itself; a gateway asks for ways.
ROLES = ("anonymous", "member", "other", "owner", "support", "admin", "hub", "server", "gateway")

ROWS = {
    # anonymous, member, other member, team owner, support, admin, hub side, a server, gateway
    "GET healthz": "yyyyyyyyy",
    "GET healthz/live": "yyyyyyyyy",
    "GET healthz/ready": "yyyyyyyyy",
    "GET metrics": "....yyy..",
    "GET api/v1/openapi.json": "yyyyyyyyy",
    "POST payments/{provider}": "yyyyyyyyy",
    "POST api/v1/hub/overview": "......y..",
    "POST api/v1/hub/offers": "......y..",
    "POST api/v1/hub/admissions": "......y..",
    "POST api/v1/hub/snapshots": "......y..",
    "GET api/v1/hub/stops": "......y..",
    "POST api/v1/hub/figures": "......y..",
    "GET api/v1/hub/catalogue": "......y..",
    "POST api/v1/hub/break-glass": "......y..",
    "GET api/v1/break-glass": "....yy...",
    "POST api/v1/directory": ".....y...",
    "GET api/v1/members": "....yy...",
    "GET api/v1/members/me/settings": ".yyyyy...",
    "POST api/v1/members/me/settings": ".yyyyy...",
    "POST api/v1/members/me/settings/email": ".yyyyy...",
    "GET api/v1/members/{member_id}": ".y..yy...",
    "GET api/v1/members/{member_id}/statement": ".y..yy...",
    "POST api/v1/members/{member_id}/grants": ".....y...",
    "POST api/v1/members/{member_id}/freeze": ".....y...",
    "POST api/v1/members/{member_id}/unfreeze": ".....y...",
    "GET api/v1/members/{member_id}/plan-changes": ".y..yy...",
    "POST api/v1/members/{member_id}/plan-changes": ".....y...",
    "POST api/v1/members/{member_id}/plan-changes/{change_id}/revocation": ".....y...",
    "POST api/v1/members/{member_id}/trials": ".....y...",
    "POST api/v1/members/{member_id}/cancellation": ".....y...",
    "POST api/v1/members/{member_id}/follow-rules": ".....y...",
    "POST api/v1/teams/{team}/members/{member_id}/cap": ".....y...",
    "POST api/v1/members/{member_id}/vouchers": ".yyyyy...",
    "GET api/v1/members/{member_id}/invoices": ".y..yy...",
    "POST api/v1/members/{member_id}/invoices": ".yyyyy...",
    "POST api/v1/members/{member_id}/fees": ".yyyyy...",
    "POST api/v1/members/{member_id}/erasure": ".....y...",
    "GET api/v1/finance/report": "....yy...",
    "GET api/v1/finance/prepaid": "....yy...",
    "GET api/v1/finance/trial-balance": "....yy...",
    "GET api/v1/finance/months": "....yy...",
    "POST api/v1/finance/months/{month}/close": ".....y...",
    "GET api/v1/finance/export": "....yy...",
    "GET api/v1/finance/erasures": "....yy...",
    "POST api/v1/invoices/{invoice_id}/paid": ".....y...",
    "POST api/v1/sessions/{session_id}/refund": ".....y...",
    "POST api/v1/server": ".......y.",
    "POST api/v1/server/keep-running": ".......y.",
    "POST api/v1/server/stop": ".......y.",
    "GET api/v1/vouchers": "....yy...",
    "POST api/v1/vouchers": ".....y...",
    "POST api/v1/vouchers/{batch_id}/revoke": ".....y...",
    "POST api/v1/hub/ssh-keys": "......y..",
    "POST api/v1/gateway/sign-ins": "........y",
    "POST api/v1/gateway/ways": "........y",
    "GET api/v1/cluster": "....yy...",
    "GET api/v1/members/{member_id}/statement.csv": ".y..yy...",
    "GET api/v1/members/{member_id}/usage": ".y..yy...",
    "GET api/v1/members/{member_id}/usage.csv": ".y..yy...",
    "GET api/v1/members/{member_id}/questions": ".y..yy...",
    "POST api/v1/members/{member_id}/questions": ".yyyyy...",
    "GET api/v1/members/{member_id}/volume-snapshots": ".y..yy...",
    "POST api/v1/members/{member_id}/volume-snapshots/{snapshot}/restore": ".y...y...",
    "GET api/v1/members/{member_id}/ssh-keys": ".y..yy...",
    "POST api/v1/members/{member_id}/ssh-keys": ".y.......",
    "POST api/v1/members/{member_id}/ssh-keys/{key_id}/removal": ".y.......",
    "GET api/v1/questions": "....yy...",
    "POST api/v1/questions/{question_id}/answer": ".....y...",
    "GET ": ".yyyyy...",
    "GET statement": ".yyyyy...",
    "POST notices/seen": ".yyy.y...",
    "GET settings": ".yyyyy...",
    "POST settings/change": ".yyyyy...",
    "POST settings/email": ".yyyyy...",
    "POST settings/email/remove": ".yyyyy...",
    "GET settings/confirm": ".yyyyy...",
    "POST settings/confirm": ".yyyyy...",
    "POST vouchers/redeem": ".yyyyy...",
    "GET events": ".yyyyy...",
    "POST servers/stop": ".yyyyy...",
    "GET usage": ".yyyyy...",
    "POST questions/ask": ".yyyyy...",
    "GET plan": ".yyyyy...",
    "GET plan/change": ".yyyyy...",
    "POST plan/change": ".yyyyy...",
    "POST plan/keep": ".yyyyy...",
    "POST plan/voucher": ".yyyyy...",
    "GET plan/top-up": ".yyyyy...",
    "POST plan/top-up": ".yyyyy...",
    "GET plan/fee": ".yyyyy...",
    "POST plan/fee": ".yyyyy...",
    "GET plan/invoices/{invoice_id}": ".yyyyy...",
    "GET teams/{team}": ".y.yyy...",
    "GET teams/{team}/statement": "...yyy...",
    "POST teams/{team}/share": "...y.y...",
    "POST teams/{team}/invite": "...y.y...",
    "POST teams/{team}/withdraw": "...y.y...",
    "POST teams/{team}/remove": "...y.y...",
    "POST invitations/answer": ".yyyyy...",
    "GET access": ".yyyyy...",
    "POST access/keys/add": ".yyyyy...",
    "POST access/keys/remove": ".yyyyy...",
    "GET settings/export": ".yyyyy...",
    "GET admin": "....yy...",
    "GET admin/members.csv": "....yy...",
    "POST admin/members/bulk": ".....y...",
    "POST admin/members/bulk/confirm": ".....y...",
    "GET admin/members/import": "....yy...",
    "POST admin/members/import": ".....y...",
    "GET admin/bulk/{act_id}": "....yy...",
    "POST admin/bulk/{act_id}/continue": ".....y...",
    "GET admin/members/{member_id}": "....yy...",
    "GET admin/members/{member_id}/statement": "....yy...",
    "GET admin/members/{member_id}/as-member": "....yy...",
    "POST admin/members/{member_id}/grant": ".....y...",
    "POST admin/members/{member_id}/freeze": ".....y...",
    "POST admin/members/{member_id}/unfreeze": ".....y...",
    "POST admin/members/{member_id}/plan": ".....y...",
    "POST admin/members/{member_id}/plan/revoke": ".....y...",
    "POST admin/members/{member_id}/plan/rules": ".....y...",
    "POST admin/members/{member_id}/refund": ".....y...",
    "POST admin/members/{member_id}/stop": ".....y...",
    "GET admin/fleet": "....yy...",
    "GET admin/fleet/stop": "....yy...",
    "POST admin/fleet/stop": ".....y...",
    "GET admin/reports": "....yy...",
    "GET admin/reports/report.csv": "....yy...",
    "GET admin/reports/export": "....yy...",
    "GET admin/reports/close": "....yy...",
    "POST admin/reports/close": ".....y...",
    "GET admin/catalogue": "....yy...",
    "GET admin/vouchers": "....yy...",
    "POST admin/vouchers": ".....y...",
    "POST admin/vouchers/{batch_id}/revoke": ".....y...",
    "GET admin/audit": "....yy...",
    "GET admin/audit.csv": "....yy...",
    "GET admin/audit/break-glass": "....yy...",
    "GET admin/health": "....yy...",
    "GET admin/health/verify": "....yy...",
    "POST admin/health/verify": "....yy...",
    "GET admin/questions": "....yy...",
    "POST admin/questions/{question_id}/answer": ".....y...",
}


def routes() -> Iterator[tuple[str, type[RequestHandler]]]:
    """Yield every method of every route, as a row is called, with its handler."""
    for path, handler in (*_MACHINE_ROUTES, *API_ROUTES, *PAGE_ROUTES):
        for method in ("get", "post"):
            if getattr(handler, method) is not getattr(RequestHandler, method):
                yield f"{method.upper()} {path}", handler


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    known = {row for row, _handler in routes()}
    assert known - ROWS.keys() == set(), "add a row for each: say who may and who may not"
    assert ROWS.keys() - known == set(), "these routes are gone"
    assert all(re.fullmatch(r"[y.]{9}", signs) for signs in ROWS.values())


GATEWAY_TOKEN = "the-token-of-service-and-gateway"
#: What is sent; where the right comes first a body need not make sense.
GRANT = {"tokens": "1", "reason": "a test", "key": "key-of-the-roles"}
BODIES: dict[str, dict[str, Any]] = {
    "api/v1/directory": {"accounts": []},
    "api/v1/members/me/settings": {"language": "en"},
    "api/v1/members/me/settings/email": {"email": None},
    "api/v1/members/{member_id}/grants": GRANT,
    "api/v1/members/{member_id}/freeze": {"reason": "a test"},
    "api/v1/members/{member_id}/unfreeze": {"reason": "a test"},
    "api/v1/members/{member_id}/plan-changes": {"plan": "pro", "reason": "a test"},
    "api/v1/members/{member_id}/trials": {"plan": "pro"},
    "api/v1/members/{member_id}/cancellation": {},
    "api/v1/teams/{team}/members/{member_id}/cap": {"tokens": "5"},
    "api/v1/members/{member_id}/vouchers": {"code": "AAAA-BBBB-CCCC-DDDD-EEEE"},
    "api/v1/members/{member_id}/invoices": {"tokens": "5"},
    "api/v1/members/{member_id}/fees": {"plan": "pro"},
    "api/v1/members/{member_id}/erasure": {"reason": "a test"},
    "api/v1/finance/months/{month}/close": {"reason": "a test"},
    "api/v1/sessions/{session_id}/refund": {"reason": "a test", "key": "key-of-the-roles"},
    "api/v1/server": {"busy": []},
    "api/v1/members/{member_id}/questions": {
        "session_id": "none",
        "category": "other",
        "text": "a test",
    },
    "api/v1/members/{member_id}/ssh-keys": {"key": "no key"},
    "api/v1/questions/{question_id}/answer": {"text": "a test"},
    "api/v1/server/keep-running": {"for_ms": None},
    "api/v1/vouchers": {"count": 1, "tokens": "1", "key": "key-of-vouchers"},
}
#: What everybody does for themselves alone: the member is always ``me``.
IN_PERSON = {
    "POST api/v1/members/{member_id}/fees",
    "POST api/v1/members/{member_id}/invoices",
    "POST api/v1/members/{member_id}/questions",
    "POST api/v1/members/{member_id}/vouchers",
}
QUERIES = {
    "api/v1/finance/report": "?from_month=2026-11&to_month=2026-11",
    "api/v1/finance/export": "?from_month=2026-11&to_month=2026-11",
    "admin/reports/export": "?from_month=2026-11&to_month=2026-11",
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Sell tokens: whoever may not buy is refused, rather than told that nothing is sold.

    And have a gateway.
    """
    return replace(settings, payments="manual", gateway_token=GATEWAY_TOKEN)


@pytest.fixture
def catalogue_path(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.yaml"
    teams = "teams:\n  lab: {title: Lab, group: lab, plan: pro, owners: [olga]}\n"
    teams += "top_ups:\n  - {tokens: 5, price: 1.00 EUR}\n"
    path.write_text(CATALOGUE + teams)
    return path


def scopes_of(role: str, name: str) -> list[str]:
    """Return what the token of a role may do, as the hub would say it."""
    own = [
        f"custom:jhub-tokens:read!user={name}",
        f"read:users!user={name}",
        f"tokens!user={name}",
        "access:services!service=tokens",
    ]
    more = {"support": ["custom:jhub-tokens:read"], "admin": ["admin:users"]}
    return [*own, *more.get(role, [])]


@pytest.mark.parametrize("role", ROLES)
async def test_every_role_at_every_route(
    role: str,
    story: Story,
    hub: StubHub,
    api: Callable[..., Api],
    browser: Callable[[User], Browser],
) -> None:
    users = {
        "member": hub.add_user("ada", groups=["lab"]),
        "other": hub.add_user("grace"),
        "owner": hub.add_user("olga", groups=["lab"]),
        "support": hub.add_user("sam"),
        "admin": hub.add_user("admin", admin=True),
    }
    ids = {name: await story.join(user) for name, user in users.items()}
    token = {"hub": SERVICE_TOKEN, "gateway": GATEWAY_TOKEN}.get(role)
    if role == "server":
        token = hub.add_token(users["member"], "custom:jhub-tokens:server!server=ada/")
    if role in users:
        token = hub.add_token(users[role], *scopes_of(role, users[role].name))
    programs = api(token)
    # People come with a browser; a support role is a token's, for a browser has no scopes.
    person = browser(users[role]) if role in ("member", "other", "owner", "admin") else None
    if person is not None:
        await person.sign_in()
    wrong = []
    for row, _handler in routes():
        may = ROWS.get(row, "." * 9)[ROLES.index(role)] == "y"
        if may != await _let_through(row, programs, person, ids["member"], users["member"]):
            wrong.append(row)
    assert not wrong, f"{role}: not as the table says"


async def _let_through(
    row: str, programs: Api, person: Browser | None, member_id: str, member: User
) -> bool:
    method, template = row.split(" ", 1)
    values = {
        "member_id": "me" if row in IN_PERSON else member_id,
        "team": "lab",
        "month": "2026-10",
    }
    path = re.sub(r"\{(\w+)\}", lambda name: values.get(name[1], "none"), template)
    path += QUERIES.get(template, "")
    if template == "events":
        # It never ends by itself: the first line tells.
        client = programs.client if person is None else person.client
        url = path if person is None else f"/services/tokens/{path}"
        async with client.stream("GET", url) as answer:
            return answer.status_code not in (401, 403)
    if person is None or template.startswith(("api/", "healthz", "metrics", "payments")):
        body = BODIES.get(template, {"member": identity(member)} if "hub/" in template else {})
        if template == "api/v1/hub/figures":
            body = {}
        answer = await (programs.get(path) if method == "GET" else programs.post(path, body))
    else:
        answer = await _by_browser(person, method, path)
    if answer.status_code == 302 and "oauth2/authorize" in answer.headers["location"]:
        return False
    assert answer.status_code < 500, (row, answer.text)
    return answer.status_code not in (401, 403)


async def _by_browser(person: Browser, method: str, path: str) -> httpx.Response:
    if method == "GET":
        return await person.get(path)
    xsrf = person.client.cookies.get("_xsrf", path="/services/tokens/")
    return await person.client.post(f"/services/tokens/{path}", data={"_xsrf": xsrf})
