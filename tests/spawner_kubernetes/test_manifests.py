"""The pod of an admitted start: place, amounts, mounts, rights; the operator's own values kept."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from jhub_spawner.kubernetes import TokenKubeSpawner
from jhub_tokens import wire
from jhub_tokens.wire import labels

from .conftest import GIB, Make, admission, cpu, plain, pool, user_of

NEWEST, OLDEST = "1.34", "1.28"


async def pod_of(spawner: TokenKubeSpawner, what: wire.Admission) -> dict[str, Any]:
    await spawner.apply_admission(what)
    return plain(await spawner.get_pod_manifest())


def container(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["spec"]["containers"][0]
    return found


def volumes(pod: dict[str, Any]) -> dict[str, Any]:
    """What is mounted, by path."""
    sources = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert len(sources) == len(pod["spec"]["volumes"])
    return {
        mount["mountPath"]: {**sources[mount["name"]], **mount}
        for mount in container(pod)["volumeMounts"]
    }


A100 = admission(
    gpu_model="A100",
    pool=pool(
        tolerations=[wire.Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        priority_class="standard",
        runtime_class="nvidia",
    ),
    shm_bytes=16 * GIB,
    image_reference="registry.example/tf@sha256:0",
    workspace_bytes=50 * GIB,
    environment={"TF_CONFIG": '{"cluster": {}}'},
)


async def test_an_admission_becomes_a_pod(make: Make) -> None:
    spawner = make()
    pod = await pod_of(spawner, A100)
    spec, notebook = pod["spec"], container(pod)
    assert notebook["image"] == "registry.example/tf@sha256:0"
    for amounts in (notebook["resources"]["limits"], notebook["resources"]["requests"]):
        assert (float(amounts["cpu"]), int(amounts["memory"])) == (8, 32 * GIB)
        assert amounts["nvidia.com/gpu"] == "1"
    assert spec["nodeSelector"] == {"example.org/gpu": "a100"}
    assert spec["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("standard", "nvidia")
    assert spec["restartPolicy"] == "Never"
    shm = volumes(pod)["/dev/shm"]["emptyDir"]
    assert shm == {"medium": "Memory", "sizeLimit": "16Gi"}
    env = {entry["name"]: entry.get("value") for entry in notebook["env"]}
    assert env["TF_CONFIG"] == '{"cluster": {}}'
    assert env["JHUB_GRACE_SECONDS"] == "60"
    assert "NVIDIA_VISIBLE_DEVICES" not in env


async def test_a_pod_tells_whose_it_is(make: Make) -> None:
    spawner = make()
    pod = await pod_of(spawner, A100)
    has = pod["metadata"]["labels"]
    assert has[labels.SESSION] == "5" * 32
    assert has[labels.START_KEY] == "start-key-1"
    assert (has[labels.PROFILE], has[labels.POOL], has[labels.SPOT]) == ("gpu", "a100", "false")
    assert (has[labels.HUB], has[labels.MEMBER]) == ("hub", spawner.member_digest)
    assert (has["hub.jupyter.org/username"], has["component"]) == ("ada", "singleuser-server")


async def test_restored_volumes_are_beside_the_workspace(make: Make) -> None:
    claim = "claim-x-restored-20261101"
    has = volumes(await pod_of(make(), cpu(restored_claims=[claim])))
    assert has[f"/restored/{claim}"]["persistentVolumeClaim"] == {"claimName": claim}
    assert has["/workspace"]["persistentVolumeClaim"]["claimName"] != claim


async def test_a_start_that_went_through_unasked_has_no_session(make: Make) -> None:
    pod = await pod_of(make(), cpu(session_id=""))
    assert labels.SESSION not in pod["metadata"]["labels"]


async def test_a_cpu_server_says_that_it_has_no_gpu(make: Make) -> None:
    # The operator gives every server a GPU, as z2jh's documentation has it for a GPU hub.
    own = {"nvidia.com/gpu": "1", "example.org/fpga": "1"}
    pod = await pod_of(make(extra_resource_limits=own), cpu())
    limits = container(pod)["resources"]["limits"]
    assert (limits["nvidia.com/gpu"], limits["example.org/fpga"]) == ("0", "1")
    assert container(pod)["resources"]["requests"]["nvidia.com/gpu"] == "0"
    env = {entry["name"]: entry.get("value") for entry in container(pod)["env"]}
    assert env["NVIDIA_VISIBLE_DEVICES"] == "void"


async def test_other_makers_gpus_have_their_own_name(make: Make) -> None:
    what = admission(pool=pool("mi300", "MI300", gpu_resource="amd.com/gpu"))
    pod = await pod_of(make(extra_resource_limits={"nvidia.com/gpu": "1"}), what)
    limits = container(pod)["resources"]["limits"]
    assert (limits["amd.com/gpu"], limits["nvidia.com/gpu"]) == ("1", "0")


@pytest.mark.parametrize("forgotten", ["the hub cleared it", "the hub kept it"])
async def test_nothing_of_an_earlier_start_sticks(make: Make, forgotten: str) -> None:
    own: dict[str, Any] = {
        "environment": {"OWN": "1"},
        "node_selector": {"own": "1"},
        "tolerations": [{"key": "own", "operator": "Exists"}],
        "extra_resource_limits": {"example.org/fpga": "1"},
        "volumes": [{"name": "own", "emptyDir": {}}],
        "volume_mounts": [{"name": "own", "mountPath": "/own"}],
    }
    fresh = await pod_of(make(**own), cpu())
    spawner = make(**own)
    await pod_of(spawner, A100)  # fails: the hub keeps the spawner for its error message
    if forgotten == "the hub cleared it":
        spawner.clear_state()
        assert spawner.extra_resource_limits == {"example.org/fpga": "1"}
        assert spawner.image == "registry.example/own:1"
    again = await pod_of(spawner, cpu())
    assert again == fresh


async def test_what_the_operator_configured_is_kept(make: Make) -> None:
    spawner = make(
        environment={"OWN": "{username}", "TF_CONFIG": "mine"},
        node_selector={"hub.jupyter.org/node-purpose": "user"},
        tolerations=[{"key": "hub.jupyter.org/dedicated", "operator": "Exists"}],
        extra_labels={"team": "ml"},
        extra_annotations={"note": "kept"},
        extra_pod_config={"hostAliases": [], "restartPolicy": "OnFailure"},
        extra_resource_limits={"example.org/fpga": "1"},
        volumes={"own": {"name": "own", "emptyDir": {}}},
        volume_mounts={"own": {"name": "own", "mountPath": "/own"}},
        container_security_context={"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
        supplemental_gids=[2000],
        cpu_guarantee=0.5,
        mem_guarantee="1G",
        lifecycle_hooks={"postStart": {"exec": {"command": ["true"]}}},
        service_account="members",
    )
    pod = await pod_of(spawner, A100)
    spec, notebook = pod["spec"], container(pod)
    env = {entry["name"]: entry.get("value") for entry in notebook["env"]}
    assert (env["OWN"], env["TF_CONFIG"]) == ("ada", "mine")
    assert spec["nodeSelector"] == {
        "hub.jupyter.org/node-purpose": "user",
        "example.org/gpu": "a100",
    }
    assert [toleration["key"] for toleration in spec["tolerations"]] == [
        "hub.jupyter.org/dedicated",
        "nvidia.com/gpu",
    ]
    assert pod["metadata"]["labels"]["team"] == "ml"
    assert pod["metadata"]["annotations"]["note"] == "kept"
    assert spec["restartPolicy"] == "OnFailure"
    requests = notebook["resources"]["requests"]
    assert (float(requests["cpu"]), int(requests["memory"])) == (0.5, GIB)
    assert notebook["resources"]["limits"]["example.org/fpga"] == "1"
    assert "/own" in volumes(pod) and "/workspace" in volumes(pod)
    assert notebook["securityContext"]["capabilities"]["add"] == ["NET_BIND_SERVICE"]
    assert notebook["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["securityContext"]["supplementalGroups"] == [2000]
    assert notebook["lifecycle"]["postStart"]["exec"]["command"] == ["true"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("members", False)


async def test_requests_never_exceed_limits(make: Make) -> None:
    what = cpu()
    pod = await pod_of(make(cpu_guarantee=64, mem_guarantee="512G"), what)
    requests = container(pod)["resources"]["requests"]
    assert (float(requests["cpu"]), int(requests["memory"])) == (8, 32 * GIB)


async def test_two_demands_on_nodes_both_count(make: Make) -> None:
    ours = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
                    {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]},
                ]
            }
        },
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"topologyKey": "host", "labelSelector": {}}}
            ]
        },
    }
    theirs = [{"matchExpressions": [{"key": "own", "operator": "Exists"}]}]
    spawner = make(node_affinity_required=theirs)
    pod = await pod_of(spawner, admission(pool=pool(affinity=ours)))
    node = pod["spec"]["affinity"]["nodeAffinity"]
    terms = node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    keys = [[one["key"] for one in term["matchExpressions"]] for term in terms]
    assert keys == [["zone", "own"], ["zone", "own"]]
    anti = pod["spec"]["affinity"]["podAntiAffinity"]
    assert len(anti["preferredDuringSchedulingIgnoredDuringExecution"]) == 1


# --- volumes ------------------------------------------------------------------------------------


async def test_the_workspace_is_one_claim_of_the_member_for_all_servers(make: Make) -> None:
    ada = user_of()
    pods = [await pod_of(make(user=ada, name=name), cpu()) for name in ("", "second")]
    claims = {volumes(pod)["/workspace"]["persistentVolumeClaim"]["claimName"] for pod in pods}
    assert len(claims) == 1
    renamed = await pod_of(make(user=user_of("ada-lovelace")), cpu())
    assert volumes(renamed)["/workspace"]["persistentVolumeClaim"]["claimName"] in claims
    # Who is deleted and created anew is somebody else, with the same name and even the same id.
    other = await pod_of(make(user=user_of(created="2026-05-05T05:05:05")), cpu())
    assert volumes(other)["/workspace"]["persistentVolumeClaim"]["claimName"] not in claims


async def test_a_claim_has_the_size_of_the_plan(make: Make) -> None:
    spawner = make(storage_class="fast")
    await spawner.apply_admission(A100)
    claim = plain(spawner.get_pvc_manifest())
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    assert (claim["spec"]["storageClassName"], claim["spec"]["accessModes"]) == (
        "fast",
        ["ReadWriteOnce"],
    )
    assert claim["metadata"]["labels"][labels.MEMBER] == spawner.member_digest
    await spawner.apply_admission(cpu())
    assert plain(spawner.get_pvc_manifest())["spec"]["resources"]["requests"]["storage"] == "10Gi"


async def test_an_operator_s_own_claim_volume_is_the_workspace(make: Make) -> None:
    # z2jh mounts the claim itself, where its homeMountPath says.
    spawner = make(
        volumes=[{"name": "home", "persistentVolumeClaim": {"claimName": "{pvc_name}"}}],
        volume_mounts=[{"name": "home", "mountPath": "/home/jovyan"}],
    )
    pod = await pod_of(spawner, cpu())
    assert "/workspace" not in volumes(pod)
    source = volumes(pod)["/home/jovyan"]["persistentVolumeClaim"]
    assert source["claimName"] == spawner.pvc_name


async def test_without_claims_the_workspace_goes_with_the_server(make: Make) -> None:
    pod = await pod_of(make(storage_pvc_ensure=False), cpu())
    assert volumes(pod)["/workspace"]["emptyDir"] == {}


async def test_datasets_are_read_only_at_the_source_as_well(make: Make) -> None:
    spawner = make(
        datasets={
            "imagenet": {"nfs": {"server": "nfs.example", "path": "/imagenet"}},
            "corpora": {"persistentVolumeClaim": {"claimName": "corpora"}},
        },
        scratch={"emptyDir": {"sizeLimit": "100Gi"}},
    )
    found = volumes(await pod_of(spawner, cpu()))
    assert found["/datasets/imagenet"]["readOnly"] is True
    assert found["/datasets/imagenet"]["nfs"]["readOnly"] is True
    assert found["/datasets/corpora"]["persistentVolumeClaim"]["readOnly"] is True
    assert found["/scratch"]["emptyDir"] == {"sizeLimit": "100Gi"}


async def test_an_operator_s_own_shared_memory_stays(make: Make) -> None:
    spawner = make(
        volumes=[{"name": "shm-volume", "emptyDir": {"medium": "Memory"}}],
        volume_mounts=[{"name": "shm-volume", "mountPath": "/dev/shm"}],
    )
    pod = await pod_of(spawner, A100)
    assert volumes(pod)["/dev/shm"]["name"] == "shm-volume"


# --- rights -------------------------------------------------------------------------------------


async def test_a_pod_passes_pod_security_restricted(make: Make) -> None:
    pod = await pod_of(make(read_only_root=True), A100)
    spec, notebook = pod["spec"], container(pod)
    for context in (spec["securityContext"], notebook["securityContext"]):
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    context = notebook["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["readOnlyRootFilesystem"] is True
    assert context["runAsUser"] == 1000 and not context.get("privileged")
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "csi", "emptyDir", "ephemeral", "persistentVolumeClaim", "secret"}
    assert {"/tmp", "/run/jhub", "/workspace", "/dev/shm"} <= volumes(pod).keys()


async def test_an_operator_s_callable_context_lies_over_ours(make: Make) -> None:
    async def context(spawner: Any) -> dict[str, Any]:
        return {"runAsNonRoot": False}

    pod = await pod_of(make(container_security_context=context), cpu())
    assert container(pod)["securityContext"]["runAsNonRoot"] is False
    assert container(pod)["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
async def test_manifests_are_what_clusters_of_today_accept(make: Make, version: str) -> None:
    spawner = make(
        read_only_root=True,
        datasets={"imagenet": {"nfs": {"server": "nfs.example", "path": "/imagenet"}}},
        scratch={"emptyDir": {"sizeLimit": "100Gi"}},
    )
    await spawner.apply_admission(A100)
    for manifest in (await spawner.get_pod_manifest(), spawner.get_pvc_manifest()):
        kubernetes_validate.validate(plain(manifest), version, strict=True)


# --- KubeSpawner's own way of choosing ----------------------------------------------------------


PROFILES = [
    {
        "display_name": "One GPU",
        "slug": "gpu",
        "kubespawner_override": {
            "extra_labels": {"from": "list"},
            "environment": {"LISTED": "1"},
            "image": "registry.example/sneaky:1",
            "cpu_limit": 64,
            "extra_resource_limits": {"nvidia.com/gpu": "8"},
        },
        "profile_options": {
            "image": {
                "display_name": "Image",
                "unlisted_choice": {
                    "enabled": True,
                    "kubespawner_override": {"image": "{value}"},
                },
                "choices": {"a": {"display_name": "A", "kubespawner_override": {"image": "a"}}},
            }
        },
    },
    {"display_name": "Anything", "slug": "anything", "kubespawner_override": {"cpu_limit": 64}},
]


async def test_a_profile_list_lies_beneath_the_admission(make: Make) -> None:
    spawner = make(profile_list=PROFILES)
    spawner.user_options = {
        "profile": "gpu",
        "image": "a",
        "image--unlisted-choice": "evil.example/miner:1",
    }
    await spawner.apply_admission(A100)
    await spawner.load_user_options()
    pod = plain(await spawner.get_pod_manifest())
    notebook = container(pod)
    assert notebook["image"] == "registry.example/tf@sha256:0"
    assert float(notebook["resources"]["limits"]["cpu"]) == 8
    assert notebook["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["metadata"]["labels"]["from"] == "list"
    spawner.clear_state()
    assert spawner.extra_labels == {} and spawner.environment == {}


@pytest.mark.parametrize("options", [{"profile": "anything"}, {"profile": "no-such"}, {}])
async def test_what_was_asked_of_a_profile_list_counts_for_nothing(
    make: Make, options: dict[str, str]
) -> None:
    spawner = make(profile_list=PROFILES)
    spawner.user_options = options
    await spawner.apply_admission(cpu())
    await spawner.load_user_options()
    pod = plain(await spawner.get_pod_manifest())
    assert float(container(pod)["resources"]["limits"]["cpu"]) == 8


async def test_a_callable_profile_list_is_asked(make: Make) -> None:
    async def profiles(spawner: Any) -> list[dict[str, Any]]:
        return PROFILES

    pod = await pod_of(make(profile_list=profiles), A100)
    assert pod["metadata"]["labels"]["from"] == "list"


async def test_posted_options_of_a_profile_list_are_dropped(make: Make) -> None:
    spawner = make(profile_list=PROFILES)
    posted = {
        "profile": ["gpu"],
        "image:gpu": ["tf"],
        "profile-option-gpu--image": ["a"],
        "profile-option-gpu--image--unlisted-choice": ["evil.example/miner:1"],
    }
    options = await spawner.run_options_from_form(posted)
    assert options == {"profile": "gpu", "image": "tf"}
