"""What is mounted into a server: the member's workspace, shared datasets, scratch space.

Pure; it adds to what the operator mounts and takes nothing away.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from jhub_spawner.kubernetes.merging import has_mount, references_claim, with_items

__all__ = ["RESTORED_PATH", "WRITABLE", "mounted"]

#: What our images write to besides the workspace; with a read-only root these are in memory's
#: place, on the node's disk.
WRITABLE = ("/tmp", "/run/jhub")
#: Below it are the volumes that were restored from snapshots, by the names of their claims.
RESTORED_PATH = "/restored"
#: Kinds of volumes that can be made read-only at the source, too.
_READ_ONLY_KINDS = ("nfs", "csi", "persistentVolumeClaim", "cephfs", "glusterfs", "iscsi", "rbd")


def mounted(
    values: Mapping[str, Any],
    *,
    workspace_path: str,
    claim: str | None,
    datasets_path: str,
    datasets: Mapping[str, Mapping[str, Any]],
    scratch_path: str,
    scratch: Mapping[str, Any],
    read_only_root: bool,
    restored: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the traits ``volumes`` and ``volume_mounts`` with everything that a server has.

    Parameters
    ----------
    values
        What they are so far.
    workspace_path, claim
        Where the member's claim is mounted, and its name; without one the workspace is empty and
        goes with the server.
    datasets_path, datasets
        Volume sources by name, each mounted read-only in a directory of its name.
    scratch_path, scratch
        A volume source for what need not be kept; empty: there is none.
    read_only_root
        Whether the image's own files cannot be written, so that some directories need a volume.
    restored
        Claims that were restored from snapshots of the member's, beside it.
    """
    volumes, mounts = values["volumes"], values["volume_mounts"]
    new: list[dict[str, Any]] = []
    at: list[dict[str, Any]] = []

    def add(name: str, path: str, source: Mapping[str, Any], **mount: Any) -> None:
        if not has_mount(mounts, path):
            new.append({"name": name, **copy.deepcopy(dict(source))})
            at.append({"name": name, "mountPath": path, **mount})

    if claim is None:
        add("workspace", workspace_path, {"emptyDir": {}})
    elif not references_claim(volumes, claim):
        add("workspace", workspace_path, {"persistentVolumeClaim": {"claimName": claim}})
    for number, copy_of in enumerate(restored):
        claimed = {"persistentVolumeClaim": {"claimName": copy_of}}
        add(f"restored-{number}", f"{RESTORED_PATH}/{copy_of}", claimed)
    for name, source in sorted(datasets.items()):
        path = f"{datasets_path.rstrip('/')}/{name}"
        add(f"dataset-{name}", path, _read_only(source), readOnly=True)
    if scratch:
        add("scratch", scratch_path, scratch)
    if read_only_root:
        for path in WRITABLE:
            add(f"writable{path.replace('/', '-')}", path, {"emptyDir": {}})
    return {"volumes": with_items(volumes, new), "volume_mounts": with_items(mounts, at)}


def _read_only(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a volume source that is read-only itself: a mount alone leaves the volume writable."""
    return {
        kind: {**value, "readOnly": True} if kind in _READ_ONLY_KINDS else value
        for kind, value in source.items()
    }
