"""The main job once, with all parts real: a JupyterLab in a pod, on a volume, until it runs dry."""

from __future__ import annotations

from tests.hub.harness import eventually
from tests.kubernetes.conftest import MakeHub
from tests.kubernetes.harness import KubernetesHub

_FILE = "/user/brief-1/api/contents/kept.txt"


def test_a_member_starts_works_runs_dry_and_finds_the_files_again(make_hub: MakeHub) -> None:
    hub = make_hub(real_server=True).start()
    browser = hub.sign_in("brief-1")
    form = browser.get("/hub/spawn").text
    assert "Notebook" in form and "60 tokens/h" in form
    browser.post_spawn({"profile": "notebook"})
    hub.wait_server("brief-1")
    session = hub.wait_session("brief-1")
    assert session["profile"] == "notebook"

    assert "JupyterLab" in browser.get("/user/brief-1/lab").text
    written = hub.client.put(
        _FILE, json={"type": "file", "format": "text", "content": "worth keeping"}
    )
    assert written.status_code == 201, written.text
    pod = hub.pod("brief-1")
    assert pod["status"]["phase"] == "Running"

    # It is warned, and then stopped with everything on the claim.
    eventually(lambda: hub.notices("brief-1"), "a warning", within_s=60)
    hub.wait_no_session("brief-1", within_s=90)
    hub.wait_gone("brief-1")
    ended = hub.wait_ended("brief-1")
    assert ended.reason == "dry"
    assert ended.cost_is_exact
    refused = browser.post_spawn({"profile": "notebook"})
    assert "balance" in refused.text.lower()
    _check_statement(hub, "brief-1", ended.charged_grains)

    # Tokens come, and the files are there.
    hub.grant("brief-1", "2")
    hub.start_server("brief-1", profile="notebook")
    found = hub.client.get(_FILE).json()
    assert found["content"] == "worth keeping"
    hub.stop_server("brief-1")
    hub.wait_no_pod("brief-1")


def _check_statement(hub: KubernetesHub, name: str, charged_grains: int) -> None:
    path = f"members/{hub.member(name)['member_id']}/statement"
    statement = hub.tokens("GET", path).json()
    lines = statement["lines"]
    total = sum(int(line["amount"]["grains"]) for line in lines)
    opening, closing = (int(statement[key]["grains"]) for key in ("opening", "closing"))
    assert opening + total == closing
    used = sum(int(line["amount"]["grains"]) for line in lines if line["kind"] == "usage")
    assert -used == charged_grains > 0
