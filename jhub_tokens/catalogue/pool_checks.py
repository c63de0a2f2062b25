"""Node pools and the profiles that run on them: what contradicts each other, and what is odd."""

from __future__ import annotations

from collections.abc import Iterator

from jhub_tokens.catalogue.models import Catalogue, Pool, Profile
from jhub_tokens.catalogue.tree import Path, Tree

__all__ = ["check_pools", "pool_warnings"]


def check_pools(catalogue: Catalogue, tree: Tree) -> None:
    """Report pools and profiles that cannot work together."""
    for name, pool in catalogue.pools.items():
        _check_tolerations(pool, tree)
        for profile in catalogue.profiles.values():
            if name in profile.pools:
                _check_labels(profile, pool, tree)
    for profile in catalogue.profiles.values():
        if profile.pools:
            _check_profile(profile, catalogue, tree)
        if profile.shm_bytes is not None and profile.shm_bytes > profile.memory_bytes:
            tree.report(
                ("profiles", profile.name, "shm"),
                "this is more than the memory of the profile, which it is part of",
                "Write at most what memory: says",
            )


def _check_tolerations(pool: Pool, tree: Tree) -> None:
    for index, toleration in enumerate(pool.tolerations):
        path: Path = ("pools", pool.name, "tolerations", index)
        if toleration.operator == "Exists" and toleration.value:
            tree.report(
                (*path, "value"),
                "operator: Exists looks at the key alone",
                "Remove value:, or write operator: Equal",
            )
        if toleration.key is None and toleration.operator == "Equal":
            tree.report(
                path,
                "a toleration without a key is for every taint, which needs operator: Exists",
                "Add key:, or write operator: Exists",
            )
        if toleration.seconds is not None and toleration.effect != "NoExecute":
            tree.report(
                (*path, "tolerationSeconds"),
                "seconds count with effect: NoExecute only",
                "Write effect: NoExecute, or remove tolerationSeconds:",
            )


def _check_labels(profile: Profile, pool: Pool, tree: Tree) -> None:
    for key, value in profile.node_selector.items():
        if pool.selector.get(key, value) != value:
            tree.report(
                ("profiles", profile.name, "node_selector", key),
                f"the pool '{pool.name}' asks for {key}: {pool.selector[key]}, so no node fits",
                "Remove it here, or choose another pool",
            )


def _check_profile(profile: Profile, catalogue: Catalogue, tree: Tree) -> None:
    path: Path = ("profiles", profile.name, "pools")
    pools = [catalogue.pools[name] for name in profile.pools]
    if len({pool.spot for pool in pools}) > 1:
        tree.report(
            path,
            "spot nodes and others are mixed, but a profile has one rate",
            "Make a profile of its own for the spot pool, with its own rate",
        )
    if not profile.gpus:
        if len(pools) > 1:
            tree.report(
                path,
                "a profile without GPUs runs in one pool: nothing chooses between several",
                "Name one, or give the nodes of all a label in common and make that a pool",
            )
        return
    first: dict[str | None, str] = {}
    for index, pool in enumerate(pools):
        if pool.gpu_model in first:
            other, model = first[pool.gpu_model], pool.gpu_model or "no GPU model"
            tree.report(
                (*path, index),
                f"the pool '{other}' has {model} as well, and nothing chooses between them",
                "Name one pool for each GPU model; a spot pool wants a profile of its own",
            )
        elif pool.gpu_model is None and len(pools) > 1:
            tree.report(
                (*path, index),
                "the pool has no gpu_model, by which a member chooses between the pools",
                f"Add gpu_model: to pools.{pool.name}",
            )
        elif pool.gpu_model is not None and pool.gpu_model not in profile.gpu_models:
            tree.report(
                (*path, index),
                f"the pool has {pool.gpu_model}, which gpu_models does not offer",
                "Add it to gpu_models:, or remove gpu_models: (the pools say which there are)",
            )
        first.setdefault(pool.gpu_model, pool.name)
    if None not in first:
        for index, model in enumerate(profile.gpu_models):
            if model not in first:
                tree.report(
                    ("profiles", profile.name, "gpu_models", index),
                    f"no pool of this profile has {model}",
                    "Add such a pool to pools:, or remove the model",
                )


def pool_warnings(catalogue: Catalogue) -> Iterator[tuple[Path, str, str]]:
    """Find pools that are allowed but probably not meant."""
    used = {name for profile in catalogue.profiles.values() for name in profile.pools}
    for name, pool in catalogue.pools.items():
        if name not in used:
            yield ("pools", name), "no profile runs in this pool", "Name it in a profile's pools:"
        if not pool.selector:
            yield (
                ("pools", name, "selector"),
                "the pool has no labels, so it is every node",
                "Name the labels of its nodes",
            )
    for profile in catalogue.profiles.values():
        for index, name in enumerate(profile.pools):
            if not profile.gpus and catalogue.pools[name].gpu_model:
                yield (
                    ("profiles", profile.name, "pools", index),
                    "the pool's nodes have GPUs, but the profile has none",
                    "Choose another pool: such servers keep GPUs from those who pay for them",
                )
        yield from _spot_warnings(profile, catalogue)


def _spot_warnings(profile: Profile, catalogue: Catalogue) -> Iterator[tuple[Path, str, str]]:
    if not catalogue.is_spot(profile):
        return
    same = (profile.gpus, profile.cpu, profile.memory_bytes)
    for other in catalogue.profiles.values():
        alike = (other.gpus, other.cpu, other.memory_bytes) == same
        if alike and not catalogue.is_spot(other) and profile.rate_mtok_h >= other.rate_mtok_h:
            yield (
                ("profiles", profile.name, "rate"),
                f"a server that may be interrupted costs as much as '{other.name}' or more",
                "Give the spot profile a lower rate",
            )
