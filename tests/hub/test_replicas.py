"""Two token services on one PostgreSQL behind a balancer, and a real hub that starts neither.

Both run as a database role that owns no table and may not migrate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from jhub_tokens.ledger import open_ledger
from tests.hub.browser import Browser
from tests.hub.harness import HubProcess, eventually
from tests.hub.replicas import Balancer, Replica

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

TOKEN = "0123456789abcdef" * 4
ROOT_TOKEN = "a-token-of-somebody-who-may-do-all"
HOME = "/services/tokens/"
CALLBACK = "/services/tokens/oauth_callback"
A, B = 0, 1


@dataclass
class Site:
    """A hub, its two token services, and what divides the work between them."""

    hub: HubProcess
    replicas: list[Replica]
    balancer: Balancer
    database_url: str

    def at(self, replica: int) -> str:
        """Return the address of a replica's pages, past balancer and proxy."""
        return self.replicas[replica].url


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    books_maker: Any,
) -> Iterator[Site]:
    directory = Path(tmp_path_factory.mktemp("replicas"))
    database_url = books_maker()
    hub = HubProcess(directory)
    environment = {
        "JHUB_TOKENS_CATALOGUE": str(directory / "catalogue.yaml"),
        "JHUB_TOKENS_DATABASE": database_url,
        "JHUB_TOKENS_MIGRATE": "0",
        "JHUB_TOKENS_COOKIE_SECRET": "a-secret-that-all-the-replicas-share",
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub.hub_port}/hub/api",
    }
    replicas = [Replica(directory, name, environment) for name in ("a", "b")]
    balancer = Balancer(replicas)
    balancer.always = {"hub/stops": B}  # from the start: a poll waits for up to half a minute
    outside = (
        f"configure_kwargs = dict(managed=False, service_url='{balancer.url}', token='{TOKEN}')"
    )
    root = {"name": "root", "api_token": ROOT_TOKEN, "admin": True}
    hub.configure(before=outside, after=f"c.JupyterHub.services.append({root})")
    try:
        for replica in replicas:
            replica.start()
        for replica in replicas:
            replica.wait_ready()
        hub.start()
        yield Site(hub, replicas, balancer, database_url)
    finally:
        hub.close()
        balancer.close()
        for replica in replicas:
            replica.kill()
    ledger = open_ledger(database_url)
    findings = ledger.audit()
    ledger.close()
    assert findings == ()


@pytest.fixture(autouse=True)
def both_up(site: Site) -> Iterator[None]:
    """Leave both replicas running, and none of them preferred."""
    yield
    site.balancer.pinned.clear()
    for replica in site.replicas:
        if replica.status("healthz/live") != 200:
            replica.start()
            replica.wait_ready()


def join(site: Site, name: str) -> str:
    """Make a member; return the member's id."""
    site.hub.sign_in(name)
    return str(site.hub.member(name)["member_id"])


def begin(site: Site, name: str, replica: int) -> tuple[Browser, httpx.Response]:
    """Let somebody who is signed in to the hub ask a replica for a page: off to the hub."""
    browser = site.hub.sign_in(name)
    site.balancer.pinned = {HOME: replica}
    answer = browser.client.get(HOME, follow_redirects=False)
    assert answer.status_code == 302
    return browser, answer


def to_callback(browser: Browser, answer: httpx.Response) -> str:
    """Follow the hub's redirects to the address at which the service finishes."""
    while not answer.headers["location"].startswith(CALLBACK):
        answer = browser.client.get(answer.headers["location"], follow_redirects=False)
        assert answer.status_code == 302, answer.text
    return str(answer.headers["location"])


@pytest.mark.parametrize(("first", "second"), [(A, B), (B, A)])
def test_a_sign_in_begun_at_one_is_finished_at_the_other(
    site: Site, first: int, second: int
) -> None:
    site.balancer.served.clear()
    browser, answer = begin(site, "pro-1", first)
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    (cookie,) = [each for each in browser.client.cookies.jar if "oauth-state" in each.name]
    verifier_is_hidden = "verifier" not in query["state"][0] + str(cookie.value)
    assert verifier_is_hidden, "what the browser carries is sealed"
    site.balancer.pinned = {"oauth_callback": second, HOME: first}
    page = browser.client.get(to_callback(browser, answer))
    assert page.status_code == 200
    assert "pro-1" in page.text
    assert site.balancer.served_by("oauth_callback") == {second}
    for replica in (A, B):
        site.balancer.pinned = {"": replica}
        assert "pro-1" in browser.get(f"{HOME}statement").text
    assert site.balancer.served_by("statement") == {A, B}


def test_a_sign_in_counts_once_and_in_its_own_browser(site: Site) -> None:
    browser, answer = begin(site, "pro-2", A)
    callback = to_callback(browser, answer)
    carried = httpx.Cookies(browser.client.cookies)

    site.balancer.pinned = {"oauth_callback": B}
    with httpx.Client(base_url=site.hub.url) as victim:
        stolen = victim.get(callback)
        assert stolen.status_code == 403, "an address alone signs nobody in"
        assert "service-tokens" not in victim.cookies
    done = browser.client.get(callback, follow_redirects=False)
    assert done.status_code == 302
    assert done.headers["location"] == HOME
    assert not [each for each in browser.client.cookies.jar if "oauth-state" in each.name]
    for replica in (A, B):
        site.balancer.pinned = {"oauth_callback": replica}
        with httpx.Client(base_url=site.hub.url, cookies=carried) as again:
            repeated = again.get(callback)
        assert repeated.status_code >= 400, "the hub takes its code once"
        assert "service-tokens" not in repeated.cookies


def test_signed_out_is_signed_out_at_both(site: Site) -> None:
    browser = site.hub.sign_in("pro-3")
    for replica in (A, B):
        site.balancer.pinned = {"": replica}
        assert browser.get(HOME).status_code == 200
    browser.get("/hub/logout")
    for replica in (A, B):
        site.balancer.pinned = {"": replica}
        answer = browser.client.get(HOME, follow_redirects=False)
        assert answer.status_code == 302
        assert "oauth2/authorize" in answer.headers["location"]


def make_admin(site: Site, name: str, admin: bool) -> None:
    root = {"Authorization": f"token {ROOT_TOKEN}"}
    answer = site.hub.api("PATCH", f"users/{name}", json={"admin": admin}, headers=root)
    assert answer.status_code == 200, answer.text


def test_who_may_move_money_is_asked_of_the_hub_by_both(site: Site) -> None:
    member_id = join(site, "pro-4")
    site.hub.add_user("boss")
    make_admin(site, "boss", True)
    boss = site.hub.sign_in("boss")
    path = f"{HOME}admin/members/{member_id}"

    def form(shown_by: int) -> dict[str, str]:
        site.balancer.pinned = {"": shown_by}
        page = boss.get(path)
        found = re.search(r'<form method="post" action="[^"]+/grant".*?</form>', page.text, re.S)
        assert found, page.text
        fields = dict(re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', found[0]))
        return {**fields, "tokens": "1", "reason": "a test", "kind": "topup"}

    def send(fields: dict[str, str], to: int) -> httpx.Response:
        site.balancer.pinned = {"": to}
        return boss.client.post(f"{path}/grant", data=fields)

    assert "granted to pro-4" in send(form(shown_by=B), to=A).text
    forms = {replica: form(shown_by=replica) for replica in (A, B)}  # both know the admin now
    make_admin(site, "boss", False)
    balance = site.hub.standing("pro-4")["balance"]
    for replica in (A, B):
        assert send(forms[replica], to=1 - replica).status_code == 403
    assert site.hub.standing("pro-4")["balance"] == balance


def test_a_stop_ordered_at_one_reaches_the_hub_that_waits_at_the_other(site: Site) -> None:
    site.hub.add_user("pro-5")
    site.balancer.pinned = {"hub/snapshots": B, "/freeze": A}
    site.hub.start_server("pro-5")
    site.hub.wait_session("pro-5")
    path = f"members/{site.hub.member('pro-5')['member_id']}/freeze"
    answer = site.hub.tokens("POST", path, json={"reason": "a test"})
    assert answer.status_code == 200, answer.text
    # The agent hears of it by its poll: its next snapshot comes after half a minute only.
    site.hub.wait_stopped("pro-5", within_s=15)
    site.hub.wait_no_session("pro-5")
    assert site.balancer.served_by("/freeze") == {A}
    assert site.balancer.served_by("hub/stops") == {B}


def test_one_key_at_both_at_once_is_one_grant(site: Site) -> None:
    member_id = join(site, "pro-6")
    headers = dict(site.hub.client.headers)
    body = {"tokens": "5", "reason": "a test", "key": "the-same-for-all"}

    def grant(number: int) -> httpx.Response:
        url = f"{site.at(number % 2)}{HOME}api/v1/members/{member_id}/grants"
        return httpx.post(url, headers=headers, json=body, timeout=30)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(grant, range(6)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.text for answer in answers}) == 1
    assert site.hub.standing("pro-6")["balance"]["tokens"] == "305.000"


def test_servers_start_run_and_end_while_one_is_killed(site: Site) -> None:
    site.hub.add_user("pro-7")
    site.hub.start_server("pro-7")
    site.hub.wait_session("pro-7")
    site.replicas[A].kill()
    site.hub.start_server("pro-7", "second")
    site.hub.stop_server("pro-7")
    eventually(lambda: len(site.hub.standing("pro-7")["sessions"]) == 1, "one of them has ended")
    site.replicas[A].start()
    site.replicas[A].wait_ready()
    site.replicas[B].kill()
    site.hub.stop_server("pro-7", "second")
    site.hub.wait_no_session("pro-7")


def test_each_has_metrics_of_its_own_and_the_same_totals(site: Site) -> None:
    headers = {"Authorization": f"token {TOKEN}"}
    texts = [
        httpx.get(f"{replica.url}{HOME}metrics", headers=headers).text for replica in site.replicas
    ]
    name = "jhub_tokens_books_members"
    totals = {re.search(rf"^{name} (.*)$", each, re.M)[1] for each in texts}  # type: ignore[index]
    assert len(totals) == 1 and totals != {"0.0"}
    assert all("jhub_tokens_up 1.0" in each for each in texts)
