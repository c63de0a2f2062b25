"""The member's volume: one claim, made at the first start, grown with the plan, never deleted.

Nothing here deletes a claim, and `delete_forever` of a hub user does not either: only an
administrator with the cluster's own tools does.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from kubernetes_asyncio.client.rest import ApiException
from traitlets import HasTraits

from jhub_spawner.kubernetes.causes import Cause
from jhub_spawner.kubernetes.failed import StartFailed
from jhub_spawner.kubernetes.quantities import as_bytes
from jhub_tokens.i18n import _

__all__ = ["MemberClaim"]

_STATE_KEY = "jhub_tokens_claim"


class MemberClaim(HasTraits):
    """Mixin for a KubeSpawner: the claim has the size that the plan says, if the cluster can."""

    #: The claim's name and size as last seen, so that a start need not look when nothing changed.
    _claim_seen: tuple[str, str] | None = None

    async def tend_claim(self) -> None:
        """See that the member's claim, if there is one, is as large as the plan says.

        Raises
        ------
        StartFailed
            If the claim is being deleted.
        """
        spawner: Any = self
        wanted = spawner.storage_capacity
        if not spawner.storage_pvc_ensure or self._claim_seen == (spawner.pvc_name, wanted):
            return
        try:
            claim = await asyncio.wait_for(
                spawner.api.read_namespaced_persistent_volume_claim(
                    name=spawner.pvc_name, namespace=spawner.namespace
                ),
                spawner.k8s_api_request_timeout,
            )
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            # Also one that was there once: an administrator has deleted it.
            spawner._pvc_exists = False
            return
        if claim.metadata.deletion_timestamp is not None:
            raise StartFailed(
                Cause(
                    "volume",
                    _("Your volume is being deleted by an administrator."),
                    _("Ask the operator of this hub before you start a server."),
                    detail=f"claim {spawner.pvc_name} has a deletion timestamp",
                )
            )
        spawner._pvc_exists = True
        resources = claim.spec.resources
        has: str = (resources.requests or {}).get("storage", "") if resources else ""
        smaller = bool(wanted and has) and as_bytes(has) < as_bytes(wanted)
        if smaller and not await self._grow(has, wanted):
            return  # looked at again at the next start: the StorageClass may have learned to
        self._claim_seen = (spawner.pvc_name, wanted)

    async def _grow(self, has: str, wanted: str) -> bool:
        """Ask for a larger volume; where it cannot be had the start goes on with what there is."""
        spawner: Any = self
        try:
            await asyncio.wait_for(
                spawner.api.patch_namespaced_persistent_volume_claim(
                    name=spawner.pvc_name,
                    namespace=spawner.namespace,
                    body={"spec": {"resources": {"requests": {"storage": wanted}}}},
                ),
                spawner.k8s_api_request_timeout,
            )
        except (ApiException, TimeoutError) as error:
            spawner.log.warning(
                "The volume %s of %s stays at %s, though the plan says %s: %s",
                spawner.pvc_name,
                spawner._log_name,
                has,
                wanted,
                _why_not(error),
            )
            return False
        spawner.log.info(
            "The volume %s of %s grows from %s to %s",
            spawner.pvc_name,
            spawner._log_name,
            has,
            wanted,
        )
        return True

    def get_state(self) -> dict[str, Any]:
        """Return the state with the claim as last seen."""
        state: dict[str, Any] = super().get_state()  # type: ignore[misc]
        if self._claim_seen is not None:
            state[_STATE_KEY] = list(self._claim_seen)
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what was last seen of the claim."""
        super().load_state(state)  # type: ignore[misc]
        seen = state.get(_STATE_KEY)
        if isinstance(seen, list) and len(seen) == 2:
            self._claim_seen = str(seen[0]), str(seen[1])


def _why_not(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the API server did not answer"
    status = getattr(error, "status", None)
    if status == HTTPStatus.FORBIDDEN:
        return (
            "this is forbidden; the StorageClass needs allowVolumeExpansion: true, and the hub's "
            f"Role the verb patch on persistentvolumeclaims ({_message(error)})"
        )
    return _message(error)


def _message(error: Exception) -> str:
    return str(getattr(error, "body", None) or error)[:500]
