"""Daily snapshots of volumes: made once, kept for as long as said, restored beside the old."""

import dataclasses
import math

import pytest

from jhub_tokens.service.cluster.api import ApiProblem
from jhub_tokens.service.cluster.snapshots import RestoreRefused, VolumeSnapshots
from jhub_tokens.wire.labels import member_digest

from .conftest import NOW_MS, until
from .fake_api import NAMESPACE

DAY_MS = 86_400_000
ADA = "digest-of-ada"


def claim(name, member=ADA, *, phase="Bound", storage="10Gi", **meta):
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "labels": {"component": "singleuser-storage", "jhub-tokens/member": member},
            **meta,
        },
        "spec": {
            "storageClassName": "fast",
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": storage}},
        },
        "status": {"phase": phase},
    }


@pytest.fixture
def volumes(kube):
    return VolumeSnapshots(kube, 7, "daily")


def snapshots(fake):
    return sorted(raw["metadata"]["name"] for raw in fake.kinds["volumesnapshots"].values())


async def settle(fake, *, ready=True, size="12Gi"):
    """What the snapshot controller does: say when it was taken and whether it can be used."""
    for raw in fake.kinds["volumesnapshots"].values():
        raw.setdefault("status", {
            "readyToUse": ready, "restoreSize": size,
            "creationTime": raw["metadata"]["creationTimestamp"],
        })  # fmt: skip


async def test_each_volume_is_copied_once_a_day_by_any_number_of_replicas(fake, kube, volumes):
    await fake.put("persistentvolumeclaims", claim("ws-ada"))
    await fake.put("persistentvolumeclaims", claim("ws-new", phase="Pending"))
    await fake.put("persistentvolumeclaims", claim("ws-going", deletionTimestamp=fake.now))
    fake.page_size = 2
    other = VolumeSnapshots(kube, 7, "daily")
    await volumes.tend(NOW_MS, "UTC")
    await other.tend(NOW_MS, "UTC")
    await volumes.tend(NOW_MS + 3_600_000, "UTC")
    assert snapshots(fake) == ["ws-ada-20261101"]
    (made,) = fake.kinds["volumesnapshots"].values()
    assert made["spec"] == {
        "source": {"persistentVolumeClaimName": "ws-ada"}, "volumeSnapshotClassName": "daily",
    }  # fmt: skip
    await volumes.tend(NOW_MS + DAY_MS, "UTC")
    assert snapshots(fake) == ["ws-ada-20261101", "ws-ada-20261102"]


async def test_the_days_work_waits_for_the_night_to_pass(fake, volumes):
    await fake.put("persistentvolumeclaims", claim("ws-ada"))
    midnight_ms = NOW_MS - 9 * 3_600_000
    await volumes.tend(midnight_ms, "UTC")
    assert snapshots(fake) == []
    await volumes.tend(midnight_ms, "Asia/Shanghai")  # 08:00 there
    assert snapshots(fake) == ["ws-ada-20261101"]


async def days(fake, volumes, count, **status):
    for day in range(count):
        fake.now = f"2026-11-{day + 1:02}T09:00:00Z"
        await volumes.tend(NOW_MS + day * DAY_MS, "UTC")
        await settle(fake, **status)


async def test_what_is_too_old_goes_and_the_last_good_one_stays(fake, volumes):
    put = await fake.put("persistentvolumeclaims", claim("ws-ada"))
    await days(fake, volumes, 10)
    assert snapshots(fake) == [f"ws-ada-202611{day:02}" for day in range(3, 11)]
    # The member has gone; what could be restored last is kept, and no claim is touched.
    fake.kinds["persistentvolumeclaims"].clear()
    await volumes.tend(NOW_MS + 40 * DAY_MS, "UTC")
    assert snapshots(fake) == ["ws-ada-20261110"]
    assert put and not [a for a in fake.asked if a[0] == "DELETE" and "claims" in a[1]]


async def test_a_copy_that_failed_does_not_push_out_the_last_good_one(fake, volumes):
    await fake.put("persistentvolumeclaims", claim("ws-ada"))
    await days(fake, volumes, 1)
    for day in range(1, 12):
        fake.now = f"2026-11-{day + 1:02}T09:00:00Z"
        await volumes.tend(NOW_MS + day * DAY_MS, "UTC")
        await settle(fake, ready=False)
    assert snapshots(fake)[0] == "ws-ada-20261101"


async def test_volumes_without_a_usable_copy_of_the_day_are_counted(fake, volumes):
    for name in ("ws-ada", "ws-grace"):
        await fake.put("persistentvolumeclaims", claim(name))
    await volumes.tend(NOW_MS, "UTC")
    assert volumes.uncopied == 2, "asked for, not yet made"
    fake.named("volumesnapshots", "ws-ada-20261101")["status"] = {"readyToUse": True}
    fake.named("volumesnapshots", "ws-grace-20261101")["status"] = {
        "readyToUse": False, "error": {"message": "the driver is away"},
    }  # fmt: skip
    await volumes.tend(NOW_MS, "UTC")
    assert volumes.uncopied == 1
    fake.named("volumesnapshots", "ws-grace-20261101")["status"] = {"readyToUse": True}
    await volumes.tend(NOW_MS, "UTC")
    assert volumes.uncopied == 0
    asked = len(fake.asked)
    await volumes.tend(NOW_MS, "UTC")
    assert len(fake.asked) == asked, "the day is done: nothing more is asked"


async def test_a_refusal_is_raised_and_tried_again(fake, volumes):
    await fake.put("persistentvolumeclaims", claim("ws-ada"))
    path = f"/apis/snapshot.storage.k8s.io/v1/namespaces/{NAMESPACE}/volumesnapshots"
    fake.refusals[path] = 404  # no such API here
    with pytest.raises(ApiProblem):
        await volumes.tend(NOW_MS, "UTC")
    del fake.refusals[path]
    await volumes.tend(NOW_MS, "UTC")
    assert len(snapshots(fake)) == 1


async def test_a_restore_makes_a_new_volume_and_leaves_the_old(fake, volumes):
    old = await fake.put("persistentvolumeclaims", claim("ws-ada"))
    await days(fake, volumes, 2)
    made = await volumes.restore(ADA, "ws-ada-20261101")
    assert await volumes.restore(ADA, "ws-ada-20261101") == made
    new = fake.named("persistentvolumeclaims", "ws-ada-restored-20261101")
    assert new["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": str(12 << 30)}},  # what the snapshot needs
        "dataSource": {
            "apiGroup": "snapshot.storage.k8s.io",
            "kind": "VolumeSnapshot",
            "name": "ws-ada-20261101",
        },
    }
    assert fake.named("persistentvolumeclaims", "ws-ada") == old
    assert await volumes.restored_claims(ADA) == ["ws-ada-restored-20261101"]
    # It is no workspace, so it is not copied every day itself.
    await volumes.tend(NOW_MS + 2 * DAY_MS, "UTC")
    assert all("restored" not in name for name in snapshots(fake))


async def test_restores_that_cannot_be(fake, volumes):
    await fake.put("persistentvolumeclaims", claim("ws-ada"))
    await days(fake, volumes, 5)
    for member, name in ((ADA, "none"), ("digest-of-eve", "ws-ada-20261101")):
        with pytest.raises(RestoreRefused, match="unknown_snapshot"):
            await volumes.restore(member, name)
    fake.named("volumesnapshots", "ws-ada-20261105")["status"]["readyToUse"] = False
    with pytest.raises(RestoreRefused, match="not_ready"):
        await volumes.restore(ADA, "ws-ada-20261105")
    for day in (1, 2, 3):
        await volumes.restore(ADA, f"ws-ada-2026110{day}")
    with pytest.raises(RestoreRefused, match="too_many"):
        await volumes.restore(ADA, "ws-ada-20261104")


# --- the service ---------------------------------------------------------------------------


@pytest.fixture
def settings(settings, cluster_settings):
    cluster = dataclasses.replace(cluster_settings, snapshot_days=7)
    return dataclasses.replace(settings, cluster=cluster)


@pytest.fixture(params=[None, 404])
async def a_claim(request, fake):
    """A volume that is there before the service looks, with the snapshots' API or without."""
    await fake.put("persistentvolumeclaims", claim("ws-ada"))
    if request.param is not None:
        path = f"/apis/snapshot.storage.k8s.io/v1/namespaces/{NAMESPACE}/volumesnapshots"
        fake.refusals[path] = request.param
    return request.param


async def test_what_has_no_copy_is_told_to_prometheus(a_claim, running):
    expected = 1.0 if a_claim is None else math.inf
    registry = running.service.metrics.registry
    await until(
        lambda: registry.get_sample_value("jhub_tokens_cluster_volumes_uncopied") == expected
    )


async def test_a_member_sees_and_restores_own_snapshots_only(
    running, story, fake, hub, ada, grace, admin, api, settings
):
    member_id = await story.join(ada)
    await story.join(grace)
    digest = member_digest(ada.hub_user_id, ada.created)
    await fake.put("persistentvolumeclaims", claim("ws-ada", digest))
    volumes = await until(lambda: running.service.cluster.volumes)
    await volumes.tend(NOW_MS, "UTC")
    await settle(fake)
    mine = api(hub.add_token(ada, "custom:jhub-tokens:read!user=ada"))
    answer = await mine.get("api/v1/members/me/volume-snapshots")
    assert answer.status_code == 200, answer.text
    (copy,) = answer.json()["snapshots"]
    assert (copy["snapshot"], copy["ready"], copy["size_bytes"]) == (
        "ws-ada-20261101", True, 12 << 30,
    )  # fmt: skip
    restore = f"volume-snapshots/{copy['snapshot']}/restore"
    other = api(hub.add_token(grace, "custom:jhub-tokens:read!user=grace"))
    assert (await other.post(f"api/v1/members/me/{restore}")).status_code == 404
    assert (await other.post(f"api/v1/members/{member_id}/{restore}")).status_code == 403
    looking = api(hub.add_token(admin, "custom:jhub-tokens:read"))
    assert (await looking.post(f"api/v1/members/{member_id}/{restore}")).status_code == 403
    answer = await mine.post(f"api/v1/members/me/{restore}")
    assert answer.status_code == 201, answer.text
    assert answer.json()["path"] == "/restored/ws-ada-restored-20261101"
    admission = await story.run(ada, "cpu")
    assert admission["restored_claims"] == ["ws-ada-restored-20261101"]
    assert (await story.admit(grace, "cpu")).json()["restored_claims"] == []


async def test_a_cluster_that_does_not_answer_keeps_nobody_from_starting(
    running, story, fake, ada, hub, api
):
    await until(lambda: running.service.cluster.volumes)
    await story.join(ada)
    for kind in ("persistentvolumeclaims",):
        fake.refusals[f"/api/v1/namespaces/{NAMESPACE}/{kind}"] = 500
    assert (await story.run(ada, "cpu"))["restored_claims"] == []
    mine = api(hub.add_token(ada, "custom:jhub-tokens:read!user=ada"))
    assert (await mine.get("api/v1/members/me/volume-snapshots")).status_code == 503
