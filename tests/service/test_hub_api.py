"""The hub side's routes: standing, offers, admissions with every refusal, snapshots, stops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from jhub_tokens.clock import ManualClock
from jhub_tokens.service.serve import RunningService
from tests.service.conftest import CATALOGUE, HOUR_MS, Api, Story, identity, tokens, until
from tests.service.stub_hub import StubHub, User

MINUTE_MS = 60_000


async def test_overview_makes_a_member_and_tells_the_standing(story: Story, ada: User) -> None:
    member_id = await story.join(ada)
    answer = await story.api.post("api/v1/hub/overview", {"member": identity(ada)})
    standing = answer.json()
    assert standing["member_id"] == member_id, "asking twice makes one member"
    assert tokens(standing["balance"]) == 50
    assert standing["balance"]["tokens"] == "50.000"
    assert standing["plan_title"] == "Basic"
    assert standing["period_end"] == "Thu 24 Dec 00:00 CET", "in the billing zone, not in UTC"
    assert standing["runs_out_at"] is None
    assert standing["sessions"] == []


async def test_the_plan_follows_groups(story: Story, hub: StubHub) -> None:
    edsger = hub.add_user("edsger", groups=["enterprise"])
    answer = await story.api.post("api/v1/hub/offers", {"member": identity(edsger)})
    assert answer.json()["standing"]["plan"] == "enterprise"
    assert [offer["open"] for offer in answer.json()["offers"]] == [True, True, True]


async def test_offers_show_open_and_closed_profiles(story: Story, grace: User) -> None:
    answer = await story.api.post("api/v1/hub/offers", {"member": identity(grace)})
    cpu, gpu, gpu4 = answer.json()["offers"]
    assert (cpu["open"], gpu["open"], gpu4["open"]) == (True, True, False)
    assert gpu["rate"] == "10 tokens/h"
    assert gpu["hardware"]["text"] == "8 cores · 32 GB · 1 × T4 or A100"
    assert gpu["lasts_until"] == "tomorrow 16:00 CET", "300 tokens at 10 an hour are 30 hours"
    assert gpu["lasts_ms"] == 30 * HOUR_MS
    assert [image["tag"] for image in gpu["images"]] == ["tf2.9-gpu"], "retired ones are not shown"
    assert gpu4["refusal"]["code"] == "plan"
    assert "Pro" in gpu4["refusal"]["message"] and "Four A100" in gpu4["refusal"]["message"]
    # The largest first would be a guess; the file's order is the operator's.
    assert [other["profile"] for other in gpu4["refusal"]["alternatives"]] == ["cpu", "gpu"]
    assert gpu4["lasts_until"] is None, "what cannot start lasts until nothing"


async def test_an_admission_says_what_to_start(story: Story, grace: User) -> None:
    answer = await story.admit(grace, "gpu", gpu_model="A100", server_name="train")
    admission = answer.json()
    assert answer.status_code == 201
    assert (admission["profile"], admission["gpu_model"]) == ("gpu", "A100")
    assert admission["image"]["tag"] == "tf2.9-gpu", "the recommended image where none is chosen"
    assert admission["rate_mtok_h"] == 10_000
    assert tokens(admission["balance"]) == 300, "an admission costs nothing"


async def test_the_same_start_key_gets_the_same_session(story: Story, ada: User) -> None:
    first = await story.admit(ada, "cpu", start_key="one-and-the-same")
    again = await story.admit(ada, "cpu", start_key="one-and-the-same")
    assert first.json()["session_id"] == again.json()["session_id"]
    other = await story.admit(ada, "cpu", start_key="one-and-the-same", server_name="other")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


async def test_without_a_profile_the_only_one_is_meant(
    story: Story, ada: User, grace: User
) -> None:
    assert (await story.admit(ada, "")).json()["profile"] == "cpu"
    answer = await story.admit(grace, "")
    assert answer.status_code == 422
    refusal = answer.json()["refusal"]
    assert refusal["code"] == "bad_choice"
    assert "cpu (CPU), gpu (One GPU)" in refusal["remedy"]


@pytest.mark.parametrize(
    ("options", "status", "code", "words"),
    [
        ({"profile": "gpu4"}, 403, "plan", "does not include “Four A100”"),
        ({"profile": "tpu"}, 404, "unknown_profile", "no profile “tpu”"),
        ({"profile": "gpu", "image": "tf1"}, 422, "unknown_image", "tf1"),
        ({"profile": "gpu", "image": "tf2.7-gpu"}, 422, "retired_image", "retired"),
        ({"profile": "gpu", "image": "tf2.9-cpu"}, 422, "bad_choice", "tf2.9-cpu"),
        ({"profile": "gpu", "gpu_model": "H100"}, 422, "bad_choice", "H100"),
        ({"profile": "x" * 200}, 404, "unknown_profile", "no profile"),
    ],
)
async def test_closed_choices_are_refused_in_full(
    story: Story, grace: User, options: dict[str, str], status: int, code: str, words: str
) -> None:
    profile = options.pop("profile")
    answer = await story.admit(grace, profile, **options)
    body = answer.json()
    assert (answer.status_code, body["code"], body["refusal"]["code"]) == (status, code, code)
    assert words in body["message"]
    assert body["message"] == body["refusal"]["message"]
    standing = await story.api.post("api/v1/hub/overview", {"member": identity(grace)})
    assert tokens(standing.json()["balance"]) == 300, "a refusal weighs nothing"
    assert standing.json()["sessions"] == []


async def test_too_small_a_balance_says_what_is_missing_and_what_fits(
    story: Story, grace: User, api: object
) -> None:
    run = await story.run(grace, "gpu")
    await story.pass_ms(29 * HOUR_MS + 50 * MINUTE_MS)
    await story.end(run["start_key"])
    # 1.67 tokens are left; 10 tokens/h for 7 min 30 s need 1.25, so burn a little more.
    cpu = await story.run(grace, "cpu")
    await story.pass_ms(40 * MINUTE_MS)
    await story.end(cpu["start_key"])
    answer = await story.admit(grace, "gpu")
    refusal = answer.json()["refusal"]
    assert (answer.status_code, refusal["code"]) == (403, "balance")
    assert refusal["resets_at"] == "Thu 24 Dec 00:00 CET"
    assert tokens(refusal["missing"]) == pytest.approx(0.25)
    assert "Your balance of 1 token cannot carry “One GPU”" in refusal["message"]
    assert "0.25 tokens too little" in refusal["message"]
    assert [other["profile"] for other in refusal["alternatives"]] == ["cpu"]
    assert "Start “CPU” (1 token/h) instead" in refusal["remedy"]
    assert "tokens@example.org" in refusal["remedy"], "how to top up"
    assert (await story.admit(grace, "cpu")).status_code == 201


async def test_the_plans_limit_of_servers(story: Story, ada: User) -> None:
    await story.run(ada, "cpu")
    answer = await story.admit(ada, "cpu", server_name="second")
    assert (answer.status_code, answer.json()["code"]) == (403, "limit")
    assert "allows one server at a time" in answer.json()["message"]
    assert "Stop a running server" in answer.json()["remedy"]


async def test_a_cancelled_start_refuses_the_delayed_original(story: Story, ada: User) -> None:
    receipt = await story.snapshot(cancelled=["start-that-was-cancelled"])
    assert receipt["cancelled"] == ["start-that-was-cancelled"]
    answer = await story.admit(ada, "cpu", start_key="start-that-was-cancelled")
    assert (answer.status_code, answer.json()["code"]) == (409, "cancelled")


async def test_shadow_mode_closes_nothing_and_tells_why_it_would(
    story: Story, grace: User, catalogue_path: Path, running: RunningService
) -> None:
    catalogue_path.write_text(CATALOGUE.replace("enforce: true", "enforce: false"))
    await until(lambda: not running.service.books.catalogue.enforce, "the new rules are read")
    answer = await story.api.post("api/v1/hub/offers", {"member": identity(grace)})
    gpu4 = answer.json()["offers"][2]
    assert gpu4["open"] and gpu4["refusal"]["code"] == "plan"
    assert answer.json()["standing"]["enforced"] is False
    admission = await story.admit(grace, "gpu4")
    assert admission.status_code == 201
    assert admission.json()["shadow_refusal"]["code"] == "plan"


async def test_a_snapshot_names_sessions_and_adopts_unknown_servers(
    story: Story, ada: User
) -> None:
    run = await story.run(ada, "cpu")
    stranger = {"member": identity(ada), "server_name": "old", "started": "2026-11-24T08:00:00Z"}
    receipt = await story.snapshot(
        servers=[
            {**stranger, "ready_age_ms": 1000, "alive_age_ms": 0},
            {
                "member": identity(ada),
                "start_key": run["start_key"],
                "ready_age_ms": 1000,
                "alive_age_ms": 0,
            },
        ]
    )
    adopted, known = receipt["sessions"]
    assert adopted["server_name"] == "old" and adopted["start_key"]
    assert known["session_id"] == run["session_id"]
    assert known["stop_in_ms"] > 0, "when to stop if this service is away"


async def test_a_dry_wallet_orders_its_servers_to_stop(
    story: Story, ada: User, clock: ManualClock
) -> None:
    run = await story.run(ada, "cpu")
    await story.pass_ms(49 * HOUR_MS + 31 * MINUTE_MS)
    standing = (await story.api.post("api/v1/hub/overview", {"member": identity(ada)})).json()
    assert {notice["kind"] for notice in standing["notices"]} >= {"used_percent", "time_left"}
    await story.pass_ms(29 * MINUTE_MS)
    stops = (await story.api.get("api/v1/hub/stops")).json()["stops"]
    assert [stop["start_key"] for stop in stops] == [run["start_key"]]
    assert stops[0]["name"] == "ada"
    assert stops[0]["reason"] == "Your balance is used up."
    await story.end(run["start_key"])
    assert (await story.api.get("api/v1/hub/stops")).json()["stops"] == []
    standing = (await story.api.post("api/v1/hub/overview", {"member": identity(ada)})).json()
    stopped = [n for n in standing["notices"] if n["kind"] == "stopped_dry"]
    assert stopped and "Your server (CPU) was stopped because" in stopped[0]["text"]
    assert "New tokens arrive Thu 24 Dec 00:00 CET" in stopped[0]["text"]


async def test_a_long_poll_answers_the_moment_a_stop_is_ordered(
    story: Story, ada: User, hub_side: Api
) -> None:
    await story.run(ada, "cpu")
    poll = asyncio.create_task(hub_side.get("api/v1/hub/stops?wait_ms=30000"))
    await story.pass_ms(50 * HOUR_MS - 20_000)
    answer = await asyncio.wait_for(poll, 10)
    (order,) = answer.json()["stops"]
    # What is known is not told again at once, but repeated at the end of the wait.
    again = await hub_side.get(f"api/v1/hub/stops?wait_ms=50&known={order['order_id']}")
    assert again.json()["stops"] == [order]


async def test_a_failed_stop_stands(story: Story, ada: User) -> None:
    await story.run(ada, "cpu")
    await story.pass_ms(50 * HOUR_MS - 20_000)
    (order,) = (await story.api.get("api/v1/hub/stops")).json()["stops"]
    failed = [{"order_id": order["order_id"], "detail": "the cluster did not answer"}]
    receipt = await story.snapshot(failed_stops=failed)
    assert [stop["order_id"] for stop in receipt["stops"]] == [order["order_id"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "member"),
        ({"member": {"hub_user_id": 1, "created": "x"}}, "member.name"),
        ({"member": {"hub_user_id": -1, "created": "x", "name": "a"}}, "member.hub_user_id"),
        ({"member": {"hub_user_id": 1, "created": "x", "name": "a", "shoe": 44}}, "member.shoe"),
        ({"member": "ada"}, "member"),
    ],
)
async def test_a_bad_body_is_answered_with_the_field(
    hub_side: Api, body: object, field: str
) -> None:
    answer = await hub_side.post("api/v1/hub/overview", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["field"] == field
    assert field in answer.json()["message"]


async def test_what_is_no_json_too_large_or_of_another_type(hub_side: Api) -> None:
    path = "api/v1/hub/overview"
    json_type = {"Content-Type": "application/json"}
    broken = await hub_side.client.post(path, content=b"{", headers=json_type)
    assert (broken.status_code, broken.json()["code"]) == (400, "bad_json")
    form = await hub_side.client.post(path, data={"member": "ada"})
    assert (form.status_code, form.json()["code"]) == (415, "not_json")
    large = await hub_side.client.post(path, content=b" " * (1 << 20) + b"{}", headers=json_type)
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    wrong = await hub_side.get(path)
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "POST")
    nothing = await hub_side.get("api/v1/hub/nothing")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "not_found")


async def test_a_snapshot_may_be_large(hub_side: Api, hub: StubHub) -> None:
    members = [
        {"hub_user_id": n, "created": "2026-01-01T00:00:00Z", "name": f"member-{n}" + "x" * 200}
        for n in range(1, 301)
    ]
    padded = [{"start_key": f"key-{n:08d}", "ended_age_ms": 0, "detail": "d" * 400}
              for n in range(3000)]  # fmt: skip
    body = {"epoch": "epoch-of-test", "sequence": 1, "members": members, "ended": padded}
    answer = await hub_side.post("api/v1/hub/snapshots", body)
    assert answer.status_code == 200, answer.text[:300]


async def test_a_start_given_up_for_a_new_one_leaves_clean_books(story: Story, ada: User) -> None:
    first = await story.admit(ada, "cpu")
    second = await story.admit(ada, "cpu")
    assert first.json()["session_id"] != second.json()["session_id"]
    standing = await story.api.post("api/v1/hub/overview", {"member": identity(ada)})
    (session,) = standing.json()["sessions"]
    assert session["session_id"] == second.json()["session_id"]
    # The fixture audits the books when the test is over.
