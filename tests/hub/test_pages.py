"""What a member sees: sign-in, start page, home and error pages."""

from __future__ import annotations

import pytest

from tests.hub.harness import HubProcess

pytestmark = pytest.mark.hub


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
    assert "60 tokens per hour" in home
    hub.stop_server("pro-4")


def test_navigation_for_members_and_admins(hub: HubProcess) -> None:
    member, admin = hub.sign_in("page-nav"), hub.sign_in("admin")
    assert 'href="/services/tokens/"' in member.get("/hub/home").text
    assert "jt-nav-members" not in member.page.text
    assert ">Services<" not in member.page.text, "our links are not said twice"
    assert "jt-nav-members" in admin.get("/hub/home").text
    # The error page is rendered without asking anybody.
    missing = member.get("/hub/nothing-here")
    assert missing.status_code == 404
    assert "jt-nav-balance" in missing.text


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
    token = (hub.directory / "state" / "service-token").read_text().strip()
    assert token not in "".join(env.values())
    hub.stop_server("page-env")
