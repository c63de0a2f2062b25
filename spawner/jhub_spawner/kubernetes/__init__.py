"""Servers as pods on Kubernetes, behind the gate; ``token-kubernetes`` in the hub's configuration.

Only hubs on Kubernetes import this: it needs ``pip install 'jhub-tokens[kubernetes]'``.
"""

from __future__ import annotations

try:
    import kubespawner as _kubespawner
except ModuleNotFoundError as error:
    if error.name not in ("kubespawner", "kubernetes_asyncio"):
        raise
    raise ModuleNotFoundError(
        "TokenKubeSpawner needs KubeSpawner: pip install 'jhub-tokens[kubernetes]'",
        name=error.name,
    ) from error

from jhub_spawner.kubernetes.spawner import TokenKubeSpawner

__all__ = ["TokenKubeSpawner"]

del _kubespawner
