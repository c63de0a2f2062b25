"""The whole service beside a cluster: ends, pods without a session, and what offers tell."""

import dataclasses
import time

import pytest

from tests.service.conftest import SERVICE_TOKEN, identity

from .conftest import SECOND_MS, until
from .fake_api import node, pod, terminated

MINUTE_MS = 60 * SECOND_MS
CATALOGUE = """\
title: Test
zone: Europe/Berlin
enforce: true
default_plan: pro
adopt_profile: cpu
policy: {minimum_run: 5m, grace: 2m, stop_time: 30s, overrun: waive}
pools:
  cpu: {title: CPU nodes, selector: {pool: cpu}}
  t4: {title: T4 nodes, gpu_model: T4, selector: {pool: t4}}
  spot: {title: Spot nodes, gpu_model: T4, selector: {pool: spot}, spot: true}
profiles:
  cpu: {title: CPU, rate: 1, cpu: 4, memory: 8G, pools: [cpu]}
  spot: {title: Spot GPU, rate: 4, cpu: 4, memory: 8G, gpus: 1, pools: [spot]}
  gpu: {title: One GPU, rate: 10, cpu: 4, memory: 8G, gpus: 1, pools: [t4]}
plans:
  pro: {title: Pro, tokens: 300, profiles: [cpu, spot, gpu], max_servers: 3}
"""


@pytest.fixture
def catalogue_path(tmp_path):
    path = tmp_path / "catalogue.yaml"
    path.write_text(CATALOGUE)
    return path


@pytest.fixture
def policy():
    return {}


@pytest.fixture
def settings(settings, cluster_settings, policy):
    return dataclasses.replace(settings, cluster=dataclasses.replace(cluster_settings, **policy))


@pytest.fixture
async def observer(running, fake):
    observer = running.service.cluster
    await until(lambda: fake.watching == 3 and all(watch.lists for watch in observer.watches))
    return observer


def instant(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms / 1000))


def sessions(ledger):
    with ledger._store.read() as connection:
        rows = connection.exec_driver_sql("select * from sessions").mappings().all()
    return {row["session_id"]: row for row in rows}


async def pod_of(fake, admission, user, **parts):
    """The pod of a server, as the hub's spawner makes it."""
    return await fake.put(
        "pods",
        pod(
            f"jupyter-{user.name}",
            session=admission["session_id"],
            labels={"jhub-tokens/pool": "t4"},
            annotations={"hub.jupyter.org/username": user.name},
            **parts,
        ),
    )


async def see(fake, observer, clock):
    """Let the watches speak, so that they are fresh after time has passed."""
    for kind in ("pods", "nodes"):
        await fake.bookmark(kind)
    await until(lambda: all(watch.is_fresh(clock.now_ms()) for watch in observer.watches))


# --- ends ---------------------------------------------------------------------------------------


async def test_a_server_that_runs_out_of_memory_is_charged_to_that_second(
    story, fake, observer, clock, ada, ledger
):
    admission = await story.run(ada, "gpu")
    raw = await pod_of(fake, admission, ada)
    clock.advance_ms(10 * MINUTE_MS)
    await story.snapshot()
    ended_ms = clock.now_ms() + 5 * SECOND_MS
    clock.advance_ms(20 * SECOND_MS)
    raw["status"] = {
        "phase": "Failed",
        "containerStatuses": [terminated(instant(ended_ms), "OOMKilled", 137)],
    }
    await fake.put("pods", raw)
    row = await until(lambda: ended(ledger, admission))
    assert (row["end_reason"], row["ended_ms"]) == ("oom", ended_ms)
    # The hub's next snapshot still shows it; nothing is metered anew.
    await story.snapshot()
    await fake.remove("pods", raw)
    await story.end(admission["start_key"])
    assert len(sessions(ledger)) == 1
    answer = await story.api.post("api/v1/hub/overview", {"member": identity(ada)})
    (notice,) = answer.json()["notices"]
    assert "ran out of memory" in notice["text"]
    metrics = await story.api.get("metrics")
    assert 'jhub_tokens_cluster_ends_total{reason="oom"} 1.0' in metrics.text


def ended(ledger, admission):
    row = sessions(ledger)[admission["session_id"]]
    return row if row["ended_ms"] is not None else None


async def test_a_node_that_is_lost_ends_what_is_deleted_there(
    story, fake, observer, clock, ada, ledger
):
    here = await fake.put("nodes", node("n1", labels={"pool": "spot"}))
    admission = await story.run(ada, "spot")
    raw = await pod_of(fake, admission, ada, spec={"nodeName": "n1"})
    clock.advance_ms(MINUTE_MS)
    await see(fake, observer, clock)
    lost_ms = clock.now_ms()
    await fake.put("nodes", {**here, **node("n1", ready="Unknown", since=instant(lost_ms))})
    clock.advance_ms(MINUTE_MS)
    await story.snapshot()  # the hub believes what the API server last heard
    await see(fake, observer, clock)
    assert ended(ledger, admission) is None
    raw["metadata"] |= {"deletionTimestamp": instant(clock.now_ms()), "labels": {
        **raw["metadata"]["labels"], "jhub-tokens/pool": "spot",
    }}  # fmt: skip
    await fake.put("pods", raw)
    row = await until(lambda: ended(ledger, admission))
    assert (row["end_reason"], row["ended_ms"]) == ("preempted", lost_ms)


async def test_a_stale_watch_tells_no_deaths(story, fake, observer, clock, ada, ledger):
    """The API server forgets the pod while nobody can watch; it lived while that was known."""
    admission = await story.run(ada, "gpu")
    raw = await pod_of(fake, admission, ada)
    await until(lambda: observer.pods.items)
    seen_ms = observer.pods.fresh_at_ms
    path = f"/api/v1/namespaces/{observer.namespace}/pods"
    fake.refusals[path] = 503
    await fake.end_watches("drop")
    await until(lambda: observer.pods.problem and observer.pods.problem.status == 503)
    clock.advance_ms(30 * MINUTE_MS)
    await story.snapshot()
    clock.advance_ms(30 * MINUTE_MS)
    fake.vanish("pods", raw)
    await observer.look()
    assert ended(ledger, admission) is None
    del fake.refusals[path]
    row = await until(lambda: ended(ledger, admission))
    assert (row["end_reason"], row["ended_ms"]) == ("deleted", seen_ms + 30 * MINUTE_MS)


async def test_the_hubs_own_stop_is_one(story, fake, observer, clock, ada, ledger):
    await fake.put("nodes", node("node-1"))
    admission = await story.run(ada, "gpu")
    raw = await pod_of(fake, admission, ada)
    clock.advance_ms(MINUTE_MS)
    await see(fake, observer, clock)
    raw["metadata"]["deletionTimestamp"] = instant(clock.now_ms())
    raw["status"]["containerStatuses"] = [terminated(instant(clock.now_ms()), "Error", 143)]
    await fake.put("pods", raw)
    await fake.remove("pods", raw)
    row = await until(lambda: ended(ledger, admission))
    assert row["end_reason"] == "deleted"
    clock.advance_ms(2 * SECOND_MS)
    await story.end(admission["start_key"])
    row = ended(ledger, admission)
    assert (row["end_reason"], row["ended_ms"]) == ("stopped", clock.now_ms() - 2 * SECOND_MS)


# --- pods without a session -------------------------------------------------------------------


async def look(fake, observer, clock, after_ms=0):
    clock.advance_ms(after_ms)
    await see(fake, observer, clock)
    await observer.look()
    return {stray.pod.name: stray.why for stray in observer.strays}


async def test_pods_without_a_session_are_found(
    story, fake, observer, clock, ada, grace, admin, api, hub
):
    mine = await story.run(ada, "gpu")
    await pod_of(fake, mine, ada)
    over = await story.run(grace, "cpu")
    await pod_of(fake, over, grace)
    await story.end(over["start_key"])
    await fake.put("pods", pod("stranger", session="not-ours"))
    await fake.put("pods", pod("bare", annotations={"hub.jupyter.org/username": "bob"}))
    await fake.put("pods", pod("done", status={"phase": "Succeeded"}))
    await until(lambda: len(observer.pods.items) == 5)
    assert await look(fake, observer, clock) == {}
    found = await look(fake, observer, clock, 3 * MINUTE_MS)
    assert found == {"jupyter-grace": "closed", "stranger": "unknown", "bare": "unlabelled"}
    answer = await api(hub.add_token(admin, "custom:jhub-tokens:read")).get("api/v1/cluster")
    assert answer.status_code == 200, answer.text
    view = answer.json()
    assert {stray["pod"]: stray["why"] for stray in view["strays"]} == found
    assert [watch["fresh"] for watch in view["watches"]] == [True, True, True]
    assert (await api(hub.add_token(ada)).get("api/v1/cluster")).status_code == 403
    metrics = (await story.api.get("metrics")).text
    assert 'jhub_tokens_cluster_stray_pods{why="closed"} 1.0' in metrics
    assert 'jhub_tokens_cluster_watch_fresh{watch="pods"} 1.0' in metrics


async def test_a_server_found_running_is_known_by_its_place(
    story, fake, observer, clock, ada, ledger
):
    """It was started before the hub knew sessions, so its pod has no label."""
    clock.advance_ms(MINUTE_MS)
    await fake.put("pods", pod("jupyter-ada", annotations={"hub.jupyter.org/username": "ada"}))
    await story.join(ada)
    server = {"member": identity(ada), "started": "x", "ready_since": clock.now_ms()}
    story.servers["found"] = server
    await story.snapshot()
    (session_id,) = sessions(ledger)
    assert await look(fake, observer, clock, MINUTE_MS) == {}
    assert await look(fake, observer, clock, 5 * MINUTE_MS) == {}
    (raw,) = fake.kinds["pods"].values()
    await fake.remove("pods", raw)
    await until(lambda: ended(ledger, {"session_id": session_id}))


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        ({"on_stray": "report"}, {"jupyter-ada", "stranger"}),
        ({"on_stray": "stop-closed"}, {"stranger"}),
        ({"on_stray": "stop"}, set()),
    ],
)
async def test_pods_without_a_session_are_stopped_by_policy(
    story, fake, observer, clock, ada, left
):
    over = await story.run(ada, "gpu")
    await pod_of(fake, over, ada)
    await story.end(over["start_key"])
    await fake.put("pods", pod("stranger", session="not-ours"))
    await until(lambda: len(observer.pods.items) == 2)
    await look(fake, observer, clock)
    assert len(await look(fake, observer, clock, 9 * MINUTE_MS)) == 2
    await look(fake, observer, clock, 2 * MINUTE_MS)
    assert {raw["metadata"]["name"] for raw in fake.kinds["pods"].values()} == left


@pytest.mark.parametrize("policy", [{"on_stray": "stop"}])
async def test_nothing_is_stopped_on_a_stale_watch(story, fake, observer, clock, ada):
    await fake.put("pods", pod("stranger", session="not-ours"))
    await until(lambda: observer.pods.items)
    await look(fake, observer, clock)
    await look(fake, observer, clock, 9 * MINUTE_MS)
    clock.advance_ms(10 * MINUTE_MS)
    await observer.look()
    assert fake.kinds["pods"]


# --- offers -----------------------------------------------------------------------------------


async def offers(story, user):
    answer = await story.api.post("api/v1/hub/offers", {"member": identity(user)})
    assert answer.status_code == 200, answer.text
    return {offer["profile"]: offer for offer in answer.json()["offers"]}


def nodes():
    gpus = {"nvidia.com/gpu": "1", "cpu": "8", "memory": "32Gi", "pods": "110"}
    return [
        node("n-cpu", labels={"pool": "cpu"}),
        node("n-t4", labels={"pool": "t4"}, status={"allocatable": gpus}),
        node("n-spot", labels={"pool": "spot"}, status={"allocatable": gpus}),
    ]


def gpu_pod(name, on, **parts):
    wants = [{"name": "notebook", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]
    return pod(name, spec={"nodeName": on, "containers": wants}, **parts)


async def full(fake, observer, *names):
    for raw in nodes():
        await fake.put("nodes", raw)
    for name in names:
        await fake.put("pods", gpu_pod(f"on-{name}", name, namespace="elsewhere"))
    await until(lambda: len(observer.nodes.items) == 3 and len(observer.loads.items) == len(names))


async def test_offers_tell_what_is_free_and_what_to_start_instead(
    story, fake, observer, clock, ada
):
    await full(fake, observer, "n-t4")
    clock.advance_ms(2 * SECOND_MS)
    found = await offers(story, ada)
    assert found["cpu"]["availability"]["text"] == "2 of 2 free now"
    gpu = found["gpu"]["availability"]
    assert gpu["pools"][0] == {
        "pool": "t4", "title": "T4 nodes", "gpu_model": "T4", "free": 0, "total": 1, "nodes": 1,
        "waiting": 0, "waiting_reason": "", "expected_wait_s": None,
    }  # fmt: skip
    assert gpu["text"] == ("none of 1 free now · you could start “Spot GPU” (4 tokens/h) instead")
    assert [each["profile"] for each in gpu["alternatives"]] == ["spot", "cpu"]
    assert found["gpu"]["open"]


async def test_what_is_full_is_no_alternative(story, fake, observer, clock, ada):
    await full(fake, observer, "n-t4", "n-spot")
    clock.advance_ms(2 * SECOND_MS)
    gpu = (await offers(story, ada))["gpu"]["availability"]
    assert [each["profile"] for each in gpu["alternatives"]] == ["cpu"]
    # A refusal for the balance names what has room, too.
    member = await story.join(ada)
    story.running.service.books.ledger.grant(
        member, amount_grains=-299 * 3_600_000_000, kind="adjustment", actor="a", reason="r",
        caller="c", key="take-it-all-1",
    )  # fmt: skip
    answer = await story.admit(ada, "gpu")
    assert [each["profile"] for each in answer.json()["refusal"]["alternatives"]] == ["cpu"]


async def test_a_stale_view_is_not_shown(story, fake, observer, clock, ada):
    await full(fake, observer)
    clock.advance_ms(10 * MINUTE_MS)
    assert all(offer["availability"] is None for offer in (await offers(story, ada)).values())


async def test_who_may_not_look_at_nodes_shows_nothing_and_still_watches_pods(
    story, fake, observer, clock, ada, ledger
):
    fake.refusals |= {"/api/v1/nodes": 403, "/api/v1/pods": 403}
    await fake.end_watches("drop")
    await until(lambda: observer.nodes.problem and observer.loads.problem)
    clock.advance_ms(2 * MINUTE_MS)
    await fake.bookmark("pods")
    await until(lambda: observer.pods.is_fresh(clock.now_ms()))
    assert all(offer["availability"] is None for offer in (await offers(story, ada)).values())
    admission = await story.run(ada, "gpu")
    raw = await pod_of(fake, admission, ada)
    await fake.remove("pods", raw)
    await until(lambda: ended(ledger, admission))


async def test_without_a_cluster_nothing_is_told(api):
    assert (await api(SERVICE_TOKEN).get("api/v1/cluster")).status_code in (401, 403)
