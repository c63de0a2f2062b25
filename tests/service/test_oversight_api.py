"""The key figures for the hub's own admin page."""

from __future__ import annotations

from tests.service.conftest import HOUR_MS, Api, Story
from tests.service.stub_hub import User


async def test_the_figures_tell_what_runs_burns_and_runs_dry(
    story: Story, ada: User, grace: User, hub_side: Api
) -> None:
    empty = (await hub_side.post("api/v1/hub/figures", {})).json()
    assert (empty["members"], empty["running"], empty["burn"]) == (0, 0, "0")
    await story.run(ada, "cpu")
    await story.run(grace, "gpu")
    admitted = await story.admit(grace, "cpu", server_name="second")
    assert admitted.status_code == 201
    told = (await hub_side.post("api/v1/hub/figures", {})).json()
    assert (told["members"], told["running"], told["starting"]) == (2, 2, 1)
    assert (told["burn_mtok_h"], told["burn"]) == (11_000, "11 tokens/h")
    assert (told["dry_within_hour"], told["balance_low"]) == (0, 0)
    await story.pass_ms(29 * HOUR_MS + HOUR_MS // 2)
    told = (await hub_side.post("api/v1/hub/figures", {})).json()
    assert (told["dry_within_hour"], told["balance_low"]) == (1, 1), "grace's 300 tokens end"
