"""What a member sees: sign-in, start page, home and error pages."""

from __future__ import annotations

import httpx
import pytest

from tests.hub.conftest import MakeHub
from tests.hub.harness import HubProcess

pytestmark = pytest.mark.hub

OAUTH = """
from oauthenticator.generic import GenericOAuthenticator
c.JupyterHub.authenticator_class = GenericOAuthenticator
c.GenericOAuthenticator.client_id = "tests"
c.GenericOAuthenticator.client_secret = "tests"
c.GenericOAuthenticator.authorize_url = "http://127.0.0.1:1/auth"
c.GenericOAuthenticator.token_url = "http://127.0.0.1:1/token"
c.GenericOAuthenticator.userdata_url = "http://127.0.0.1:1/me"
c.GenericOAuthenticator.login_service = "Somebody"
c.GenericOAuthenticator.allow_all = True
"""


def test_start_page_shows_open_and_closed_cards(hub: HubProcess) -> None:
    page = hub.sign_in("page-cards").get("/hub/spawn").text
    assert page.count('type="radio"') == 2
    assert 'value="cpu"' in page
    assert "Lasts until" in page
    closed = page.partition('data-profile="gpu"')[2]
    assert "disabled" in closed.partition(">One GPU<")[0]
    assert "jt-reason" in closed
    assert "60 tokens/h" in page


def test_start_by_the_form_with_the_image_of_the_chosen_card(hub: HubProcess) -> None:
    browser = hub.sign_in("pro-4")
    browser.post_spawn({"profile": "cpu", "image:cpu": "py-2", "image:gpu": "py-1"})
    server = hub.wait_server("pro-4")
    assert server["user_options"] == {"profile": "cpu", "image": "py-2"}
    home = browser.get("/hub/home").text
    assert 'id="jt-burn"' in home
    assert "60 tokens/h" in home
    hub.stop_server("pro-4")


def test_navigation_for_members_and_admins(hub: HubProcess) -> None:
    member, admin = hub.sign_in("page-nav"), hub.sign_in("admin")
    assert 'href="/services/tokens/"' in member.get("/hub/home").text
    assert ">API tokens<" in member.page.text and ">Token<" not in member.page.text
    assert "jt-nav-members" not in member.page.text
    assert ">Services<" not in member.page.text, "our links are not said twice"
    assert "jt-nav-members" in admin.get("/hub/home").text
    # The error page is rendered without asking anybody.
    missing = member.get("/hub/nothing-here")
    assert missing.status_code == 404
    assert "jt-nav-balance" in missing.text


def test_what_does_not_answer_is_told_in_both_languages(hub: HubProcess) -> None:
    """The proxy asks for this page, and tells neither who looks nor in which language."""
    page = hub.client.get("/hub/error/503").text
    assert "Running servers go on, and nothing is lost." in page
    assert "运行中的服务器不受影响" in page
    assert "Your server appears to be down" not in page


def test_whoever_shares_a_server_shares_no_balance(hub: HubProcess) -> None:
    owner, guest = hub.sign_in("page-owner"), hub.sign_in("page-guest")
    shared = hub.api("POST", "shares/page-owner/", json={"user": "page-guest"})
    assert shared.status_code == 200, shared.text
    assert "Your balance:" in owner.get("/user/page-owner/").text
    page = guest.get("/user/page-owner/")
    assert "page-owner" in page.text
    assert "Your balance:" not in page.text


def test_sign_in_refuses_impossible_names_clearly(hub: HubProcess) -> None:
    for name, says in [("a/b", "slash"), ("x" * 201, "too long"), ("a\u200bb", "control")]:
        page = hub.sign_in(name).page
        assert page.status_code == 400
        assert says in page.text
    assert "Invalid username or password" in hub.sign_in("somebody", "wrong").page.text


def test_the_environment_holds_what_the_profile_says_and_no_secret(hub: HubProcess) -> None:
    import psutil

    hub.add_user("page-env")
    hub.start_server("page-env")
    env = psutil.Process(hub.pid("page-env")).environ()
    assert env["FROM_PROFILE"] == "yes"
    assert env["HOME"].startswith(f"{hub.directory}/workspaces/page-env-")
    ours = {name for name in env if name.startswith(("JHUB_TOKENS_", "CONFIGPROXY_"))}
    assert ours == {"JHUB_TOKENS_SERVICE_URL"}  # an address, for the JupyterLab extension
    assert env["JHUB_GRACE_SECONDS"] == "5"  # the least, for a stop time of one second
    token = (hub.directory / "state" / "service-token").read_text().strip()
    assert token not in "".join(env.values())
    hub.stop_server("page-env")


def test_the_sign_in_page_shows_the_plans_in_the_reader_s_language(hub: HubProcess) -> None:
    page = httpx.get(f"{hub.url}/hub/login").text
    assert 'data-plan="pro"' in page
    assert "300 tokens a month" in page
    assert "One GPU" in page and ">Pro<" in page
    assert 'id="jt-languages"' in page
    chinese = httpx.get(f"{hub.url}/hub/login", headers={"Accept-Language": "zh-CN"}).text
    assert '<html lang="zh-CN">' in chinese
    assert "每月 300 个代币" in chinese
    assert "单 GPU" in chinese and ">专业版<" in chinese
    assert "One GPU" not in chinese and ">Pro<" not in chinese
    assert "用户名：" in chinese


def test_the_sign_in_page_needs_no_token_service(make_hub: MakeHub) -> None:
    hub = make_hub(after=OAUTH).start()
    hub.kill_service()
    page = httpx.get(f"{hub.url}/hub/login", params={"next": "/hub/home"}).text
    assert "Sign in with Somebody" in " ".join(page.split())
    assert 'data-plan="basic"' in page
    assert "one server at a time" in page
    chinese = httpx.get(f"{hub.url}/hub/login", headers={"Accept-Language": "zh-CN"}).text
    assert "单 GPU" in chinese and ">专业版<" in chinese


def test_a_refusal_is_in_the_reader_s_language(hub: HubProcess) -> None:
    browser = hub.sign_in("page-zh")
    browser.client.headers["Accept-Language"] = "zh-CN"
    page = browser.post_spawn({"profile": "gpu"}).text
    assert "您的套餐“Basic”不包含“单 GPU”" in page
    assert "启动服务器" in page, "the hub's own heading"
    assert "您的额度" in browser.get("/hub/spawn").text


def test_the_hub_s_admin_page_has_the_key_figures(hub: HubProcess) -> None:
    page = hub.sign_in("admin").get("/hub/admin").text
    assert 'id="jt-figures"' in page
    assert "Run dry within an hour" in page
    assert "/services/tokens/admin/fleet" in page
    assert "react-admin-hook" in page
