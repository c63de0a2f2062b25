"""Gated classes of any spawner, so that ``c.DockerSpawner.image`` and the like keep working."""

from __future__ import annotations

from functools import cache

from traitlets.utils.importstring import import_item

from jhub_spawner.gate import TokenGate

__all__ = ["gated"]

_KUBESPAWNER = ("kubespawner.spawner", "KubeSpawner")


def gated(base: type | str) -> type:
    """Return a gated spawner class made of `base`, a class or its dotted import name.

    The new class keeps the base's name with ``Token`` before it, and takes its configuration:
    ``c.DockerSpawner.image`` still sets the image of a gated DockerSpawner. A class that is
    gated already is returned as it is. KubeSpawner, and what is made of it, becomes the
    TokenKubeSpawner, which knows node pools, volumes and the like.
    """
    return _gated(import_item(base) if isinstance(base, str) else base)


@cache
def _gated(base: type) -> type:
    if issubclass(base, TokenGate):
        return base
    gate: type = TokenGate
    if any((c.__module__, c.__name__) == _KUBESPAWNER for c in base.__mro__):
        from jhub_spawner.kubernetes import TokenKubeSpawner

        if base in TokenKubeSpawner.__mro__:
            return TokenKubeSpawner
        gate = TokenKubeSpawner
    return type(
        f"Token{base.__name__}",
        (gate, base),
        {
            "__module__": base.__module__,
            "__doc__": f"{base.__name__} behind the gate of jhub-tokens.",
        },
    )
