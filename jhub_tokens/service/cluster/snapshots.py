"""Daily snapshots of members' volumes, and restoring one beside what is there.

A snapshot's name is made of its claim and the day, so that any number of replicas may do the
day's work: who comes second finds it done. A restore makes a new claim from a snapshot and leaves
the member's own alone; nothing here deletes a claim.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from jhub_tokens.service.cluster.api import Api, ApiProblem
from jhub_tokens.service.cluster.pods import instant_ms
from jhub_tokens.service.cluster.quantities import amounts_of
from jhub_tokens.service.texts import utc
from jhub_tokens.wire import labels

__all__ = ["Copy", "Restored", "RestoreRefused", "VolumeSnapshots"]

log = structlog.get_logger(__name__)

_GROUP = "snapshot.storage.k8s.io"
_CLAIMS = "component=singleuser-storage"  # as KubeSpawner labels them
_SNAPSHOT = "workspace-snapshot"
_RESTORED = "restored-workspace"
_FROM = f"{labels.PREFIX}/restored-from"
_CLAIM = f"{labels.PREFIX}/claim"
_CLASS = f"{labels.PREFIX}/storage-class"
_MODES = f"{labels.PREFIX}/access-modes"
_SIZE = f"{labels.PREFIX}/size"
#: How many restored volumes a member may have at once: each takes room of its own.
RESTORED_MAX = 3
#: After this hour of the day, in the catalogue's zone, the day's snapshots are made.
_HOUR = 3
_NAME_MAX = 253


class RestoreRefused(Exception):
    """A restore that cannot be; `code` is for programs, the message for people."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Copy:
    """A snapshot of a member's volume."""

    name: str
    claim: str
    made_ms: int
    ready: bool
    size_bytes: int | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Restored:
    """A volume that was made from a snapshot."""

    claim: str
    snapshot: str
    made_ms: int
    phase: str


class VolumeSnapshots:
    """Snapshots in one namespace.

    Parameters
    ----------
    api
        The API server.
    keep_days
        How long snapshots are kept; the latest one of each volume stays.
    snapshot_class
        The VolumeSnapshotClass; empty: the cluster's default.
    """

    def __init__(self, api: Api, keep_days: int, snapshot_class: str = "") -> None:
        self._api = api
        self._keep_days = keep_days
        self._class = snapshot_class
        self._done: str = ""  # the day whose work is done
        #: Volumes that had no usable snapshot of the day when last looked.
        self.uncopied = 0
        core, group = "/api/v1", f"/apis/{_GROUP}/v1"
        self._claims = f"{core}/namespaces/{api.namespace}/persistentvolumeclaims"
        self._snapshots = f"{group}/namespaces/{api.namespace}/volumesnapshots"

    # --- the day's work ----------------------------------------------------------------------

    async def tend(self, now_ms: int, zone: str) -> None:
        """Do the day's work once: make today's snapshots, remove those that are too old.

        It is done when each can be restored from; until then `uncopied` tells how many cannot.

        Raises
        ------
        ApiProblem
            If the cluster refuses; what is not done is done by the next call.
        """
        now = utc(now_ms).astimezone(ZoneInfo(zone))
        day = f"{now:%Y%m%d}"
        if now.hour < _HOUR or day == self._done:
            return
        claims = [raw for raw in await self._all(self._claims, _CLAIMS) if _is_in_use(raw)]
        there = await self._all(self._snapshots, f"component={_SNAPSHOT}")
        copies = {copy.name: copy for copy in map(_copy, there)}
        made = failed = uncopied = 0
        for claim in claims:
            body = self._snapshot_of(claim, day)
            copy = copies.get(body["metadata"]["name"])
            uncopied += copy is None or not copy.ready
            if copy is not None:
                continue
            try:
                await self._api.call("POST", self._snapshots, body=body)
                made += 1
            except ApiProblem as problem:
                if problem.is_forbidden:
                    raise
                if problem.status != 409:  # another replica was first
                    failed += 1
                    log.error("a volume was not copied", claim=_name(claim), reason=str(problem))
        removed = await self._prune(there, now)
        if made or failed or removed:
            log.info("volumes copied", day=day, made=made, failed=failed, removed=removed)
        self.uncopied = uncopied
        if not uncopied:
            self._done = day

    def _snapshot_of(self, claim: Mapping[str, Any], day: str) -> dict[str, Any]:
        meta, spec = claim["metadata"], claim["spec"]
        marks = meta.get("labels") or {}
        kept = {name: marks[name] for name in (labels.MEMBER, labels.HUB) if name in marks}
        # What a restore needs, also when the claim is gone by then.
        notes = {
            _CLAIM: meta["name"],
            _CLASS: spec.get("storageClassName") or "",
            _MODES: ",".join(spec.get("accessModes") or ["ReadWriteOnce"]),
            _SIZE: str(_storage(spec)),
        }
        source = {"source": {"persistentVolumeClaimName": meta["name"]}}
        return {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "VolumeSnapshot",
            "metadata": {
                "name": _joined(meta["name"], day),
                "labels": {**kept, "component": _SNAPSHOT},
                "annotations": notes,
            },
            "spec": {**source, **({"volumeSnapshotClassName": self._class} if self._class else {})},
        }

    async def _prune(self, there: list[dict[str, Any]], now: datetime) -> int:
        """Remove snapshots that are too old, but never the latest one that can be restored."""
        by_claim: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for raw in there:
            by_claim[_copy(raw).claim].append(raw)
        oldest_ms = (now - timedelta(days=self._keep_days)).timestamp() * 1000
        removed = 0
        for copies in by_claim.values():
            ready = [copy for copy in map(_copy, copies) if copy.ready]
            latest = max(ready, key=lambda copy: copy.made_ms, default=None)
            for raw in copies:
                copy = _copy(raw)
                if copy.made_ms >= oldest_ms or (latest is not None and copy.name == latest.name):
                    continue
                body = {"preconditions": {"uid": raw["metadata"]["uid"]}}
                try:
                    await self._api.call("DELETE", f"{self._snapshots}/{copy.name}", body=body)
                    removed += 1
                except ApiProblem as problem:
                    if problem.status not in (404, 409):
                        raise
        return removed

    # --- members -----------------------------------------------------------------------------

    async def of_member(self, digest: str) -> list[Copy]:
        """Return a member's snapshots, the latest first; raises `ApiProblem`."""
        wanted = f"component={_SNAPSHOT},{labels.MEMBER}={digest}"
        copies = [_copy(raw) for raw in await self._all(self._snapshots, wanted)]
        return sorted(copies, key=lambda copy: copy.made_ms, reverse=True)

    async def restored(self, digest: str) -> list[Restored]:
        """Return the volumes that were restored for a member, the latest first."""
        wanted = f"component={_RESTORED},{labels.MEMBER}={digest}"
        found = [_restored(raw) for raw in await self._all(self._claims, wanted)]
        return sorted(found, key=lambda each: each.made_ms, reverse=True)

    async def restored_claims(self, digest: str) -> list[str]:
        """Return the claims of a member's restored volumes; none if that is not known."""
        try:
            return [each.claim for each in await self.restored(digest)]
        except ApiProblem as problem:
            log.warning("restored volumes are not known", reason=str(problem))
            return []

    async def restore(self, digest: str, name: str) -> Restored:
        """Make a new volume from a member's snapshot; asked again, it is the same one.

        Raises
        ------
        RestoreRefused
            ``unknown_snapshot``, ``not_ready`` or ``too_many``.
        ApiProblem
            If the cluster refuses.
        """
        wanted = f"component={_SNAPSHOT},{labels.MEMBER}={digest}"
        mine = {_name(raw): raw for raw in await self._all(self._snapshots, wanted)}
        snapshot = mine.get(name)
        if snapshot is None:
            raise RestoreRefused("unknown_snapshot")
        before = await self.restored(digest)
        again = next((each for each in before if each.snapshot == name), None)
        if again is not None:
            return again
        if not _copy(snapshot).ready:
            raise RestoreRefused("not_ready")
        if len(before) >= RESTORED_MAX:
            raise RestoreRefused("too_many")
        body = _claim_from(snapshot, digest)
        try:
            return _restored(await self._api.call("POST", self._claims, body=body))
        except ApiProblem as problem:
            if problem.status != 409:
                raise
            path = f"{self._claims}/{body['metadata']['name']}"
            return _restored(await self._api.call("GET", path))

    async def _all(self, path: str, selector: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with aclosing(self._api.pages(path, {"labelSelector": selector})) as pages:
            async for raws, _version in pages:
                found += raws
        return found


def _claim_from(snapshot: Mapping[str, Any], digest: str) -> dict[str, Any]:
    copy, notes = _copy(snapshot), snapshot["metadata"].get("annotations") or {}
    size = max(copy.size_bytes or 0, int(notes.get(_SIZE) or 0))
    day = f"{utc(copy.made_ms):%Y%m%d}"
    spec: dict[str, Any] = {
        "accessModes": (notes.get(_MODES) or "ReadWriteOnce").split(","),
        "resources": {"requests": {"storage": str(size)}},
        "dataSource": {"apiGroup": _GROUP, "kind": "VolumeSnapshot", "name": copy.name},
    }
    if notes.get(_CLASS):
        spec["storageClassName"] = notes[_CLASS]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": _joined(copy.claim, f"restored-{day}"),
            "labels": {"component": _RESTORED, labels.MEMBER: digest},
            "annotations": {_FROM: copy.name},
        },
        "spec": spec,
    }


def _copy(raw: Mapping[str, Any]) -> Copy:
    meta, status = raw["metadata"], raw.get("status") or {}
    size = status.get("restoreSize")
    return Copy(
        name=meta["name"],
        claim=(meta.get("annotations") or {}).get(_CLAIM)
        or str(raw["spec"].get("source", {}).get("persistentVolumeClaimName")),
        made_ms=instant_ms(status.get("creationTime"))
        or instant_ms(meta["creationTimestamp"])
        or 0,
        ready=bool(status.get("readyToUse")),
        size_bytes=amounts_of({"size": size})["size"] if size else None,
        problem=str((status.get("error") or {}).get("message") or ""),
    )


def _restored(raw: Mapping[str, Any]) -> Restored:
    meta = raw["metadata"]
    return Restored(
        claim=meta["name"],
        snapshot=(meta.get("annotations") or {}).get(_FROM) or "",
        made_ms=instant_ms(meta.get("creationTimestamp")) or 0,
        phase=(raw.get("status") or {}).get("phase") or "Pending",
    )


def _is_in_use(claim: Mapping[str, Any]) -> bool:
    is_going = claim["metadata"].get("deletionTimestamp") is not None
    return (claim.get("status") or {}).get("phase") == "Bound" and not is_going


def _storage(spec: Mapping[str, Any]) -> int:
    return amounts_of((spec.get("resources") or {}).get("requests")).get("storage", 0)


def _name(raw: Mapping[str, Any]) -> str:
    return str(raw["metadata"]["name"])


def _joined(name: str, end: str) -> str:
    return f"{name[: _NAME_MAX - len(end) - 1]}-{end}"
