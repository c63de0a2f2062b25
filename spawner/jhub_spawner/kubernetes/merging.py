"""What an operator configured, with ours added: lists, mappings and callables alike.

Nothing here changes what it is given: the operator's values are the base of every start.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = [
    "below",
    "both_required",
    "has_mount",
    "items_of",
    "references_claim",
    "with_items",
]

_Items = Sequence[Mapping[str, Any]] | Mapping[str, Mapping[str, Any]] | None


def items_of(items: _Items) -> Iterator[Mapping[str, Any]]:
    """Yield the items of a trait that may be a list, or a mapping from any name to an item."""
    yield from items.values() if isinstance(items, Mapping) else items or ()


def with_items(items: _Items, added: Sequence[Mapping[str, Any]]) -> Any:
    """Return a list or mapping of items with ours behind; the operator's kind of it stays."""
    if isinstance(items, Mapping):
        # KubeSpawner takes a mapping in the order of its names.
        first = len(items)
        ours = {f"zz-jhub-tokens-{n:03}": dict(item) for n, item in enumerate(added, first)}
        return {**items, **ours}
    return [*(items or ()), *map(dict, added)]


def has_mount(mounts: _Items, path: str) -> bool:
    """Tell whether something is mounted at `path` already."""
    wanted = path.rstrip("/")
    return any(
        str(mount.get("mountPath", mount.get("mount_path", ""))).rstrip("/") == wanted
        for mount in items_of(mounts)
    )


def references_claim(volumes: _Items, name: str) -> bool:
    """Tell whether a volume is the member's claim, by its name or KubeSpawner's own template."""
    for volume in items_of(volumes):
        claim = volume.get("persistentVolumeClaim", volume.get("persistent_volume_claim"))
        if isinstance(claim, Mapping):
            claimed = claim.get("claimName", claim.get("claim_name"))
            if claimed in (name, "{pvc_name}"):
                return True
    return False


def both_required(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return node selector terms that meet one of `ours` *and* one of `theirs`.

    Kubernetes takes any one of several terms: put one behind the other, two demands would become
    a choice.
    """
    if not ours or not theirs:
        return [dict(term) for term in (*ours, *theirs)]
    return [
        {
            kind: [*our.get(kind, ()), *their.get(kind, ())]
            for kind in ("matchExpressions", "matchFields")
            if our.get(kind) or their.get(kind)
        }
        for our in ours
        for their in theirs
    ]


def below(defaults: Mapping[str, Any], chosen: Any) -> Any:
    """Return a mapping trait, or a callable that makes one, with `defaults` where it is silent."""
    if not callable(chosen):
        return {**defaults, **(chosen or {})}
    return _Below(defaults, chosen)


class _Below:
    """A callable of the spawner, as KubeSpawner takes them."""

    def __init__(self, defaults: Mapping[str, Any], chosen: Callable[[Any], Any]) -> None:
        self._defaults, self._chosen = defaults, chosen

    async def __call__(self, spawner: Any) -> dict[str, Any]:
        values = self._chosen(spawner)
        if inspect.isawaitable(values):
            values = await values
        return {**self._defaults, **(values or {})}
