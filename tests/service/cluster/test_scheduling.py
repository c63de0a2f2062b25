"""What fits where: quantities, requests, nodes of a pool, and what is told of it."""

import pytest

from jhub_tokens.catalogue import parse_catalogue
from jhub_tokens.i18n import speaking
from jhub_tokens.service.cluster.availability import Board, taken_of, waiting_text
from jhub_tokens.service.cluster.pods import NodeSeen, PodLoad, PodSeen
from jhub_tokens.service.cluster.quantities import amounts_of, requests_of
from jhub_tokens.service.cluster.scheduling import belongs
from jhub_tokens.service.cluster.waits import Waits

from .conftest import NOW_MS
from .fake_api import node, pod

CATALOGUE = """
title: Test
zone: UTC
default_plan: pro
adopt_profile: cpu
pools:
  cpu: {title: CPU nodes, selector: {pool: cpu}}
  t4:
    title: T4 nodes
    gpu_model: T4
    selector: {pool: t4}
    tolerations: [{key: gpu, operator: Exists}]
  a100: {title: A100 nodes, gpu_model: A100, selector: {pool: a100}, gpu_resource: example.com/gpu}
plans:
  pro: {title: Pro, tokens: 300, profiles: [cpu, gpu, free]}
profiles:
  cpu: {title: CPU, rate: 1, cpu: 4, memory: 8G, pools: [cpu]}
  gpu: {title: One GPU, rate: 10, cpu: 4, memory: 16G, gpus: 1, pools: [t4, a100]}
  free: {title: Anywhere, rate: 0, cpu: 1, memory: 1G}
"""


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 1000), ("500m", 500), ("0.5", 500), ("1500u", 2), ("2k", 2_000_000), ("1e1", 10_000),
        ("nonsense", 0), ("", 0),
    ],
)  # fmt: skip
def test_cores_are_read_in_thousandths(text, amount):
    assert amounts_of({"cpu": text}) == {"cpu": amount}


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1Gi", 1 << 30), ("1G", 10**9), ("128974848000m", 128_974_848), ("1.5Ki", 1536)],
)
def test_memory_is_read_in_bytes(text, amount):
    assert amounts_of({"memory": text}) == {"memory": amount}


def container(cpu, **more):
    return {"resources": {"requests": {"cpu": cpu}}, **more}


def test_a_pod_takes_what_runs_together():
    spec = {
        "containers": [container("1"), container("500m")],
        "initContainers": [container("2"), container("100m", restartPolicy="Always")],
        "overhead": {"cpu": "50m"},
    }
    assert requests_of(spec)["cpu"] == 2050
    spec["initContainers"][0] = container("1")
    assert requests_of(spec)["cpu"] == 1650


def test_what_has_a_limit_alone_asks_for_it():
    limits = {"limits": {"nvidia.com/gpu": "2", "cpu": "4"}, "requests": {"cpu": "1"}}
    found = requests_of({"containers": [{"resources": limits}]})
    assert (found["nvidia.com/gpu"], found["cpu"]) == (2, 1000)


def gpu_node(name, pool, gpus, **parts):
    resource = "example.com/gpu" if pool == "a100" else "nvidia.com/gpu"
    has = {"cpu": "16", "memory": "64Gi", "pods": "110", resource: str(gpus)}
    return node(name, labels={"pool": pool}, status={"allocatable": has}, **parts)


def load(on, cpu="1", memory="1Gi", **more):
    raw = pod("p", spec={"nodeName": on, "containers": [
        {"name": "notebook", "resources": {"requests": {"cpu": cpu, "memory": memory, **more}}}
    ]})  # fmt: skip
    return PodLoad.of(raw)


def board(nodes, loads=(), waiting=(), waits=None, asked=None):
    return Board(
        parse_catalogue(CATALOGUE, "test.yaml"),
        [NodeSeen.of(raw) for raw in nodes],
        taken_of(loads),
        [PodSeen.of(raw) for raw in waiting],
        waits or Waits(),
        asked or {},
        NOW_MS,
    )


def of(board, profile="gpu"):
    return board.availability(board.catalogue.profiles[profile])


def counts(availability):
    return {pool.pool: (pool.free, pool.total) for pool in availability.pools}


def test_each_pool_counts_its_own_gpus():
    taken = [load("a", **{"nvidia.com/gpu": "1"}), load("b", **{"example.com/gpu": "1"})]
    found = of(board([gpu_node("a", "t4", 4), gpu_node("b", "a100", 1)], taken))
    assert counts(found) == {"t4": (3, 4), "a100": (0, 1)}
    assert found.text == "3 of 5 free now"


def test_cores_and_memory_bound_as_well():
    nodes = [gpu_node("a", "t4", 8)]
    assert counts(of(board(nodes)))["t4"] == (4, 4)  # 16 cores, 4 for each
    assert counts(of(board(nodes, [load("a", cpu="9")])))["t4"][0] == 1
    assert counts(of(board(nodes, [load("a", memory="40Gi")])))["t4"][0] == 1


def test_a_spawner_that_asks_for_less_lets_more_in():
    asked = {"gpu": {"cpu": 500, "memory": 1 << 30, "nvidia.com/gpu": 1}}
    assert counts(of(board([gpu_node("a", "t4", 8)], asked=asked)))["t4"] == (8, 8)


@pytest.mark.parametrize(
    "parts",
    [
        {"ready": "False"},
        {"ready": "Unknown"},
        {"spec": {"unschedulable": True}},
        {"spec": {"taints": [{"key": "broken", "effect": "NoSchedule"}]}},
        {
            "spec": {"taints": [{"key": "gpu", "value": "no", "effect": "NoSchedule"}]},
            "pool": "a100",
        },
    ],
)
def test_a_node_that_takes_nobody_is_left_out(parts):
    pool = parts.pop("pool", "t4")
    found = of(board([gpu_node("a", pool, 4, **parts)]))
    assert counts(found)[pool] == (0, 0)
    assert found.text == "no node of this kind is up now"


def test_a_taint_that_the_pool_tolerates_keeps_nobody_off():
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    soft = {"key": "other", "effect": "PreferNoSchedule"}
    found = of(board([gpu_node("a", "t4", 2, spec={"taints": [taint, soft]})]))
    assert counts(found)["t4"] == (2, 2)


def test_pods_that_are_done_take_nothing():
    assert PodLoad.of(pod("p", status={"phase": "Succeeded"})) is None


def waiting(name, said="0/1 nodes are available: 1 Insufficient nvidia.com/gpu."):
    unscheduled = {"type": "PodScheduled", "status": "False", "message": said}
    return pod(
        name,
        labels={"jhub-tokens/pool": "t4"},
        spec={"nodeName": None},
        status={"phase": "Pending", "conditions": [unscheduled], "containerStatuses": []},
    )


def scheduled(name, after_s):
    at = f"2026-11-01T09:{after_s // 60:02}:{after_s % 60:02}Z"
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": at}
    raw = pod(name, labels={"jhub-tokens/pool": "t4"}, status={"conditions": [condition]})
    return PodSeen.of(raw)


def test_a_full_pool_tells_who_waits_for_what_and_how_long_it_took_lately():
    waits = Waits()
    for number, after_s in enumerate((1, 200, 300, 400)):  # the first had not to wait
        waits.note(scheduled(f"p{number}", after_s))
    full = board(
        [gpu_node("a", "t4", 1)],
        [load("a", **{"nvidia.com/gpu": "1"})],
        [waiting("w1"), waiting("w2")],
        waits,
    )
    found = of(full)
    t4 = found.pools[0]
    assert (t4.waiting, t4.waiting_reason, t4.expected_wait_s) == (2, "no GPU is free", 300)
    assert found.text == "none of 1 free now · 2 waiting · recently it took about 5 min"
    with speaking("zh"):
        assert of(full).text == "共 1 个，目前没有空闲 · 2 个在等待 · 近期大约需要等待 5 分钟"
        assert of(full).pools[0].waiting_reason == "没有空闲的 GPU"


def test_without_history_no_wait_is_expected():
    full = board([gpu_node("a", "t4", 1)], [load("a", **{"nvidia.com/gpu": "1"})])
    assert of(full).pools[0].expected_wait_s is None


def test_a_profile_without_pools_tells_nothing():
    assert of(board([]), "free") is None
    assert board([]).has_place(board([]).catalogue.profiles["free"]) is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("1 Insufficient cpu, 2 Insufficient example.com/gpu.", "no GPU is free"),
        ("3 Insufficient cpu.", "no node has enough cores free"),
        ("3 Insufficient memory.", "no node has enough memory free"),
        ("1 node(s) had volume node affinity conflict.", "its volume cannot be reached"),
        ("3 node(s) didn't match Pod's node affinity/selector.", "no node of this kind is ready"),
        ("1 node(s) had untolerated taint {gpu: x}.", "no node of this kind is ready"),
        ("Too many pods.", "no node has room"),
    ],
)
def test_the_schedulers_words_are_told_plainly(said, words):
    assert waiting_text(said, "example.com/gpu").startswith(words)


def test_required_affinity_chooses_nodes():
    term = {"matchExpressions": [
        {"key": "zone", "operator": "In", "values": ["b"]},
        {"key": "gen", "operator": "Gt", "values": ["3"]},
    ]}  # fmt: skip
    affinity = {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}
    }}  # fmt: skip
    pool = parse_catalogue(CATALOGUE, "t").pools["cpu"].model_copy(update={"affinity": affinity})

    def chosen(**labels):
        return belongs(NodeSeen.of(node(labels={"pool": "cpu", **labels})), pool)

    assert chosen(zone="b", gen="4")
    assert not chosen(zone="a", gen="4")
    assert not chosen(zone="b", gen="3")
    assert not chosen(zone="b")
