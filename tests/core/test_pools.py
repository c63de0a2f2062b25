"""Node pools in a catalogue: which one a choice leads to, and every mistake in them."""

from __future__ import annotations

import pytest

from jhub_tokens.catalogue import (
    check_catalogue,
    load_catalogue,
    parse_catalogue,
    shipped_catalogue,
)
from jhub_tokens.wire.labels import label_value, member_digest

VALID = """\
default_plan: all
adopt_profile: cpu
pools:
  cpu:
    selector: {pool: cpu}
  t4:
    gpu_model: T4
    selector: {example.org/gpu: t4}
    tolerations:
      - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
  a100:
    title: A100 nodes
    gpu_model: A100
    selector: {example.org/gpu: a100}
  spot:
    gpu_model: A100
    spot: true
    selector: {example.org/gpu: a100, lifecycle: spot}
plans:
  all:
    tokens: 100
    profiles: [cpu, gpu, cheap]
    workspace: 20Gi
profiles:
  cpu:
    rate: 1
    cpu: 4
    memory: 8G
    pools: [cpu]
  gpu:
    rate: 10
    cpu: 8
    memory: 32G
    gpus: 1
    pools: [t4, a100]
  cheap:
    rate: 4
    cpu: 8
    memory: 32G
    gpus: 1
    pools: [spot]
    shm: 20G
"""
GIB = 1024**3


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in check_catalogue(text, "c.yaml").errors]


def test_the_chosen_gpu_model_leads_to_its_pool():
    catalogue = parse_catalogue(VALID)
    gpu = catalogue.profiles["gpu"]
    assert gpu.gpu_models == ("T4", "A100")  # the pools say it
    assert [catalogue.pool_for(gpu, model).name for model in (None, "T4", "A100")] == [  # type: ignore[union-attr]
        "t4",
        "t4",
        "a100",
    ]
    assert catalogue.pool_for(gpu, "H100") is None
    pool = catalogue.pool_for(catalogue.profiles["cpu"])
    assert pool is not None and (pool.name, pool.title, pool.gpu_resource) == (
        "cpu",
        "cpu",
        "nvidia.com/gpu",
    )


def test_spot_is_known_of_pools_and_profiles():
    catalogue = parse_catalogue(VALID)
    spot = {name: catalogue.is_spot(profile) for name, profile in catalogue.profiles.items()}
    assert spot == {"cpu": False, "gpu": False, "cheap": True}


def test_shared_memory_is_half_of_it_with_gpus_unless_said_otherwise():
    profiles = parse_catalogue(VALID).profiles
    assert [profiles[name].shm_bytes for name in ("cpu", "gpu", "cheap")] == [
        None,
        16 * GIB,
        20 * GIB,
    ]


def test_a_volume_has_the_size_of_the_plan_in_either_spelling():
    for written in ("20Gi", "20G"):
        plans = parse_catalogue(VALID.replace("20Gi", written)).plans
        assert plans["all"].workspace_bytes == 20 * GIB
    assert (
        parse_catalogue(VALID.replace("    workspace: 20Gi\n", "")).plans["all"].workspace_bytes
        is None
    )


def test_a_profile_without_pools_is_as_before():
    catalogue = parse_catalogue(VALID.replace("    pools: [cpu]\n", "    node_selector: {a: b}\n"))
    cpu = catalogue.profiles["cpu"]
    assert catalogue.pool_for(cpu) is None
    assert cpu.node_selector == {"a": "b"}


def test_the_shipped_example_is_without_errors_and_warnings():
    text = shipped_catalogue("kubernetes").read_text(encoding="utf-8")
    report = check_catalogue(text)
    assert (report.errors, report.warnings) == ((), ())
    example = load_catalogue(shipped_catalogue("default"))
    ours = load_catalogue(shipped_catalogue("kubernetes"))
    for name, profile in example.profiles.items():
        assert ours.profiles[name].rate_mtok_h == profile.rate_mtok_h
        assert ours.profiles[name].gpu_models == profile.gpu_models
    assert ours.profiles["gpu-spot"].rate_mtok_h < ours.profiles["gpu"].rate_mtok_h


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("pools: [t4, a100]", "pools: [a1000]", "c.yaml:35: profiles.gpu.pools[0]: there is no pool 'a1000'. Did you mean 'a100'?"),
        ("    selector: {pool: cpu}\n", "    title: CPU\n", "c.yaml:4: pools.cpu.selector: this key is missing. Add selector: {example.org/pool: a100}"),
        ("selector: {pool: cpu}", "selectors: {pool: cpu}", "c.yaml:5: pools.cpu.selectors: this key is not known here. Did you mean 'selector'?"),
        ("selector: {pool: cpu}", "selector: {pool: true}", "c.yaml:5: pools.cpu.selector.pool: true is not text. Put it in quotes: \"true\""),
        ("selector: {pool: cpu}", "selector: {'a b': cpu}", "c.yaml:5: pools.cpu.selector.a b: 'a b' cannot be the key of a label"),
        ("selector: {pool: cpu}", "selector: {pool: -cpu}", "c.yaml:5: pools.cpu.selector.pool: '-cpu' cannot be the value of a label"),
        ("operator: Exists", "operator: exist", "c.yaml:10: pools.t4.tolerations[0].operator: 'exist' is not known here. Did you mean 'Exists'?"),
        ("effect: NoSchedule", "effects: NoSchedule", "c.yaml:10: pools.t4.tolerations[0].effects: this key is not known here. Did you mean 'effect'?"),
        ("operator: Exists", "operator: Exists, value: x", "c.yaml:10: pools.t4.tolerations[0].value: operator: Exists looks at the key alone"),
        ("{key: nvidia.com/gpu, operator: Exists,", "{", "c.yaml:10: pools.t4.tolerations[0]: a toleration without a key"),
        ("effect: NoSchedule", "tolerationSeconds: 5", "c.yaml:10: pools.t4.tolerations[0].tolerationSeconds: seconds count with effect: NoExecute only"),
        ("title: A100 nodes", "gpu_resource: gpu", "c.yaml:12: pools.a100.gpu_resource: 'gpu' cannot be the name of a resource. Write it as kubectl describe node does"),
        ("title: A100 nodes", "priority_class: High Priority", "c.yaml:12: pools.a100.priority_class: 'High Priority' cannot be the name of an object"),
        ("title: A100 nodes", "affinity: {nodes: {}}", "c.yaml:12: pools.a100.affinity: 'nodes' is no kind of affinity"),
        ("title: A100 nodes", "affinity: {nodeAffinity: []}", "c.yaml:12: pools.a100.affinity: what stands below nodeAffinity is not as Kubernetes wants it"),
        ("title: A100 nodes", "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {}}}", "c.yaml:12: pools.a100.affinity: nodeAffinity has no terms"),
        ("pools: [t4, a100]", "pools: [t4, spot]", "c.yaml:35: profiles.gpu.pools: spot nodes and others are mixed"),
        ("pools: [t4, a100]", "pools: [a100, a100]", "c.yaml:35: profiles.gpu.pools[1]: the pool 'a100' has A100 as well"),
        ("pools: [t4, a100]", "pools: [t4, a100]\n    gpu_models: [T4]", "c.yaml:35: profiles.gpu.pools[1]: the pool has A100, which gpu_models does not offer"),
        ("pools: [t4, a100]", "pools: [t4]\n    gpu_models: [T4, A100]", "c.yaml:36: profiles.gpu.gpu_models[1]: no pool of this profile has A100"),
        ("pools: [t4, a100]", "pools: [t4, cpu]", "c.yaml:35: profiles.gpu.pools[1]: the pool has no gpu_model"),
        ("    pools: [cpu]\n", "    pools: [cpu, t4]\n", "c.yaml:29: profiles.cpu.pools: a profile without GPUs runs in one pool"),
        ("    pools: [cpu]\n", "    pools: [cpu]\n    node_selector: {pool: gpu}\n", "c.yaml:30: profiles.cpu.node_selector.pool: the pool 'cpu' asks for pool: cpu, so no node fits"),
        ("shm: 20G", "shm: 64G", "c.yaml:42: profiles.cheap.shm: this is more than the memory of the profile"),
        ("shm: 20G", "shm: 20", "c.yaml:42: profiles.cheap.shm: 20 has no unit. Write 20G or 20M"),
        ("workspace: 20Gi", "workspace: 20", "c.yaml:23: plans.all.workspace: 20 has no unit"),
        ("workspace: 20Gi", "workspace: lots", "c.yaml:23: plans.all.workspace: 'lots' is not an amount of memory"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_line_field_and_remedy(old: str, new: str, expected: str):
    assert VALID.count(old) >= 1
    found = problems_of(VALID.replace(old, new, 1))
    assert any(line.startswith(expected) for line in found), found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("pools: [spot]", "pools: [a100]", "c.yaml:15: warning: pools.spot: no profile runs in this pool"),
        ("selector: {pool: cpu}", "selector: {}", "c.yaml:5: warning: pools.cpu.selector: the pool has no labels, so it is every node"),
        ("    pools: [cpu]\n", "    pools: [t4]\n", "c.yaml:29: warning: profiles.cpu.pools[0]: the pool's nodes have GPUs, but the profile has none"),
        ("rate: 4", "rate: 10", "c.yaml:37: warning: profiles.cheap.rate: a server that may be interrupted costs as much as 'gpu' or more"),
    ],
)  # fmt: skip
def test_oddities_are_warned_about_but_load(old: str, new: str, expected: str):
    assert VALID.count(old) >= 1
    report = check_catalogue(VALID.replace(old, new, 1), "c.yaml")
    assert report.catalogue is not None
    assert any(str(warning).startswith(expected) for warning in report.warnings), report.warnings


def test_label_values_are_kept_or_made_to_fit():
    assert label_value("gpu4") == "gpu4"
    assert label_value("") == ""
    for odd in ("tf+x", "a" * 64, "模型", "-a", "a b"):
        made = label_value(odd)
        assert len(made) <= 63 and made != odd and label_value(made) == made
    assert label_value("a+b") != label_value("a b")


def test_a_member_is_the_user_and_its_creation():
    assert member_digest(1, "2026-01-01") == member_digest(1, "2026-01-01")
    assert len({member_digest(1, "a"), member_digest(1, "b"), member_digest(11, "a")}) == 3
