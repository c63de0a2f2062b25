"""Changes of plan and shares of a team over the API; starts that a team pays for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import CATALOGUE, HOUR_MS, Api, Story, identity, tokens
from tests.service.stub_hub import StubHub, User

TEAMS = """
teams:
  physics: {title: Physics, group: phys, plan: pro, member_cap: 40}
"""


@pytest.fixture
def catalogue_path(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.yaml"
    trial = "max_servers: 2, trial: {tokens: 5, duration: 7d}, spend_per_day: 60"
    path.write_text(CATALOGUE.replace("max_servers: 2", trial) + TEAMS)
    return path


@pytest.fixture
def physicist(hub: StubHub) -> User:
    user = hub.add_user("piet")
    user.groups = ["phys"]
    return user


async def test_a_plan_is_changed_tried_cancelled_and_kept(
    story: Story, ada: User, boss: Api
) -> None:
    member = await story.join(ada)
    path = f"api/v1/members/{member}"
    trial = await boss.post(f"{path}/trials", {"plan": "pro"})
    assert (trial.status_code, trial.json()["kind"]) == (201, "trial")
    assert (await boss.get(path)).json()["plan_title"] == "Pro"
    story.clock.advance_ms(1)  # changes of the same millisecond have no order
    again = await boss.post(f"{path}/trials", {"plan": "pro"})
    assert (again.status_code, again.json()["code"]) == (409, "tried_before")
    up = await boss.post(f"{path}/plan-changes", {"plan": "pro", "reason": "thesis"})
    assert (up.status_code, up.json()["actor"]) == (201, "admin")
    standing = (await boss.get(path)).json()
    # 250 tokens more a month, of which ten hours are over.
    assert (standing["plan"], tokens(standing["balance"])) == ("pro", 55 + 246.527)
    down = (await boss.post(f"{path}/cancellation", {"reason": "done"})).json()
    assert (down["plan"], down["at_ms"]) == ("basic", standing["period_end_ms"])
    for _ in range(2):
        kept = await boss.post(f"{path}/plan-changes/{down['change_id']}/revocation", None)
        assert kept.status_code == 200 and kept.json()["revoked_ms"]
    changes = (await boss.get(f"{path}/plan-changes")).json()["changes"]
    assert [change["kind"] for change in changes] == ["cancel", "chosen", "trial"]
    assert (await boss.post(f"{path}/follow-rules", None)).json()["plan"] == "pro"


async def test_only_who_may_grant_changes_plans(
    story: Story, hub: StubHub, ada: User, api: Callable[..., Api]
) -> None:
    member = await story.join(ada)
    own = api(hub.add_token(ada, "custom:jhub-tokens:read!user=ada"))
    assert (await own.get("api/v1/members/me/plan-changes")).json() == {"changes": []}
    refused = await own.post(f"api/v1/members/{member}/plan-changes", {"plan": "pro"})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("plan-changes", {"plan": "gold"}, 404, "unknown_plan"),
        ("plan-changes", {"plan": "basic"}, 409, "same_plan"),
        ("cancellation", {}, 409, "nothing_to_cancel"),
        ("trials", {"plan": "enterprise"}, 409, "no_trial"),
        ("plan-changes/none/revocation", None, 404, "unknown_change"),
    ],
)
async def test_what_cannot_be_changed_is_refused_with_a_code(
    story: Story, ada: User, boss: Api, path: str, body: Any, status: int, code: str
) -> None:
    member = await story.join(ada)
    answer = await boss.post(f"api/v1/members/{member}/{path}", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_team_pays_and_offers_say_who_can(
    story: Story, physicist: User, hub_side: Api, boss: Api
) -> None:
    member = await story.join(physicist)
    asked = {"member": identity(physicist)}
    offers = (await hub_side.post("api/v1/hub/offers", asked)).json()
    by_profile = {offer["profile"]: offer for offer in offers["offers"]}
    payers = {name: [p["payer"] for p in offer["payers"]] for name, offer in by_profile.items()}
    assert payers == {"cpu": ["", "physics"], "gpu": ["physics"], "gpu4": []}
    assert by_profile["gpu"]["open"] and not by_profile["gpu4"]["open"]
    admitted = await story.admit(physicist, "gpu", payer="physics", max_run_ms=HOUR_MS)
    assert admitted.status_code == 201
    assert tokens(admitted.json()["balance"]) == 300
    (team,) = (await boss.get(f"api/v1/members/{member}")).json()["teams"]
    assert (team["team"], tokens(team["cap"]), len(team["sessions"])) == ("physics", 40, 1)
    cap = f"api/v1/teams/physics/members/{member}/cap"
    assert (await boss.post(cap, {"tokens": "0.5"})).status_code == 200
    refused = await story.admit(physicist, "gpu", payer="physics", server_name="b")
    assert (refused.status_code, refused.json()["code"]) == (403, "team_cap")
    assert "begins anew" in refused.json()["refusal"]["message"]
    negative = await boss.post(cap, {"tokens": "-1"})
    assert (negative.status_code, negative.json()["field"]) == (422, "tokens")


async def test_starts_that_no_rule_allows_say_which(
    story: Story, grace: User, physicist: User
) -> None:
    await story.join(physicist)
    await story.join(grace)
    strange = await story.admit(grace, "cpu", payer="physics")
    assert (strange.status_code, strange.json()["code"]) == (403, "not_in_team")
    unknown = await story.admit(grace, "cpu", payer="chess")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_team")
    run = await story.run(grace, "gpu")
    await story.pass_ms(6 * HOUR_MS - 60_000)
    await story.end(run["start_key"])
    refused = await story.admit(grace, "gpu")
    assert (refused.status_code, refused.json()["code"]) == (403, "spending_limit")
    assert refused.json()["refusal"]["resets_at"].startswith("tomorrow 00:00")
