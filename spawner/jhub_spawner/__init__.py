"""Spawners behind the token gate: for any Spawner, and an embedded local one."""

from jhub_spawner.gate import TokenGate
from jhub_spawner.gating import gated
from jhub_spawner.local import WorkspaceProcessSpawner

__all__ = ["TokenGate", "TokenWorkspaceSpawner", "WorkspaceProcessSpawner", "gated"]


class TokenWorkspaceSpawner(TokenGate, WorkspaceProcessSpawner):
    """The embedded local spawner behind the gate; ``token-local`` in the hub's configuration."""
