"""What a server may do: nothing that the Pod Security standard "restricted" forbids.

The operator's own settings lie over these: a cluster whose GPU driver needs more says so there.
"""

from __future__ import annotations

from typing import Any

__all__ = ["container_security", "pod_security"]

_SECCOMP = {"type": "RuntimeDefault"}


def container_security(*, read_only_root: bool) -> dict[str, Any]:
    """Return the security context of the server's container."""
    context: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": dict(_SECCOMP),
    }
    if read_only_root:
        context["readOnlyRootFilesystem"] = True
    return context


def pod_security() -> dict[str, Any]:
    """Return the security context of the pod, for containers that an operator adds as well."""
    return {
        "runAsNonRoot": True,
        "seccompProfile": dict(_SECCOMP),
        # Else each start walks over every file of a large volume.
        "fsGroupChangePolicy": "OnRootMismatch",
    }
