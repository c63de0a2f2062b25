"""SSH into a server: the member's keys in a Secret that is kept right, and a Service if wanted.

Both belong to the pod: when it goes, the cluster removes them, also if the hub is not there.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from kubernetes_asyncio.client import (
    V1ObjectMeta,
    V1OwnerReference,
    V1Secret,
    V1Service,
    V1ServicePort,
    V1ServiceSpec,
)
from kubernetes_asyncio.client.rest import ApiException
from traitlets import Bool, Enum, HasTraits, Integer, Unicode

from jhub_tokens.ssh_keys import keys_digest
from jhub_tokens.wire.labels import START_KEY

__all__ = ["SshAccess"]

_STATE_KEY = "jhub_tokens_ssh"
_FILE = "authorized_keys"
_SEEN_WITHIN_S = 10.0


class SshAccess(HasTraits):
    """Mixin for a KubeSpawner: lets in whoever holds one of the member's keys."""

    ssh = Bool(
        True,
        config=True,
        help="""
        Whether members reach their servers by SSH, with images that run an sshd as ours do.

        The way leads through the hub's own port and jupyter-server-proxy in the pod; see
        ``docs/kubernetes.md``.
        """,
    )
    ssh_port = Integer(2222, min=1024, max=65535, config=True, help="The port of sshd in the pod.")
    ssh_secret_path = Unicode(
        "/etc/jhub/ssh", config=True, help="Where the image expects the file authorized_keys."
    )
    ssh_service = Enum(
        ["", "ClusterIP", "NodePort", "LoadBalancer"],
        "",
        config=True,
        help="""
        A Service for SSH to each server besides; by default there is none.

        ``ClusterIP`` is for a gateway of yours, ``NodePort`` and ``LoadBalancer`` open a port for
        each server. NetworkPolicies have to admit it.
        """,
    )

    #: The Secret of the running pod, and the digest of the keys in it; empty: there is none.
    ssh_secret_name = ""
    ssh_keys_digest = ""

    @property
    def _ssh_keys(self) -> list[str]:
        """The keys that the present start was admitted with."""
        admission = getattr(self, "token_admission", None)
        return list(admission.authorized_keys) if admission is not None else []

    def ssh_mount(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return volume and mount of the keys for the present start."""
        if not self.ssh:
            return [], []
        # Where there are no keys yet there is no Secret either, and none to wait for.
        source = {"secretName": self._secret_name(), "optional": not self._ssh_keys}
        return (
            [{"name": "ssh-keys", "secret": source}],
            [{"name": "ssh-keys", "mountPath": self.ssh_secret_path, "readOnly": True}],
        )

    def _secret_name(self) -> str:
        spawner: Any = self
        # Of its own for each start: an earlier one's may still be on its way out.
        return f"{spawner.pod_name}-ssh-{spawner.start_label()[:8].lower().strip('-._')}".rstrip(
            "-"
        )

    async def after_pod(self, uid: str) -> None:
        """Make the Secret, and the Service if one is wanted, for the pod that was just made."""
        self.ssh_secret_name = self.ssh_keys_digest = ""
        if not self.ssh:
            return
        self.ssh_secret_name = self._secret_name()
        if self._ssh_keys:
            await self._create_secret(self._ssh_keys, uid)
        self.ssh_keys_digest = keys_digest(self._ssh_keys)
        if self.ssh_service:
            await self._create_service(uid)

    async def set_authorized_keys(self, keys: Sequence[str], digest: str) -> None:
        """Let in exactly the holders of `keys` from now on: sshd reads them at each login."""
        spawner: Any = self
        if not self.ssh or not self.ssh_secret_name:
            return
        body = {"data": {_FILE: _encoded(keys)}}
        try:
            await asyncio.wait_for(
                spawner.api.patch_namespaced_secret(
                    name=self.ssh_secret_name, namespace=spawner.namespace, body=body
                ),
                spawner.k8s_api_request_timeout,
            )
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            pod = spawner.pod_reflector.pods.get(f"{spawner.namespace}/{spawner.pod_name}")
            if pod is None:
                return  # it is gone, and its keys with it
            await self._create_secret(keys, pod["metadata"]["uid"])
        self.ssh_keys_digest = digest
        spawner.log.info("The server of %s has new SSH keys", spawner._log_name)

    async def _create_secret(self, keys: Sequence[str], uid: str) -> None:
        spawner: Any = self
        secret = V1Secret(
            metadata=self._metadata(self.ssh_secret_name, uid),
            type="Opaque",
            data={_FILE: _encoded(keys)},
        )
        await asyncio.wait_for(
            spawner.api.create_namespaced_secret(spawner.namespace, secret),
            spawner.k8s_api_request_timeout,
        )

    async def _create_service(self, uid: str) -> None:
        spawner: Any = self
        service = V1Service(
            metadata=self._metadata(self.ssh_secret_name, uid),
            spec=V1ServiceSpec(
                type=self.ssh_service,
                selector={START_KEY: spawner.start_label()},
                ports=[V1ServicePort(name="ssh", port=22, target_port=self.ssh_port)],
            ),
        )
        made = await asyncio.wait_for(
            spawner.api.create_namespaced_service(spawner.namespace, service),
            spawner.k8s_api_request_timeout,
        )
        spawner.log.info(
            "SSH to the server of %s: Service %s, node port %s",
            spawner._log_name,
            made.metadata.name,
            made.spec.ports[0].node_port,
        )

    def _metadata(self, name: str, uid: str) -> V1ObjectMeta:
        spawner: Any = self
        owner = V1OwnerReference(
            api_version="v1",
            kind="Pod",
            name=spawner.pod_name,
            uid=uid,
            block_owner_deletion=True,
            controller=False,
        )
        labels = {**spawner.token_labels(), START_KEY: spawner.start_label()}
        return V1ObjectMeta(name=name, labels=labels, owner_references=[owner])

    async def _make_create_pod_request(self, pod: Any, request_timeout: float) -> bool:
        """Make the pod, and at once what it waits for before its container runs."""
        spawner: Any = self
        made: bool = await super()._make_create_pod_request(pod, request_timeout)  # type: ignore[misc]
        if made and self.ssh and (self._ssh_keys or self.ssh_service):
            await self.after_pod(await self._uid_of_pod())
        elif made and self.ssh:
            self.ssh_secret_name, self.ssh_keys_digest = self._secret_name(), keys_digest([])
        spawner.log.debug("Pod %s made: %s", spawner.pod_name, made)
        return made

    async def _uid_of_pod(self) -> str:
        spawner: Any = self
        deadline = time.monotonic() + _SEEN_WITHIN_S
        while time.monotonic() < deadline:
            pod = spawner.current_pod()
            if pod is not None:
                return str(pod["metadata"]["uid"])
            await asyncio.sleep(0.02)
        raise TimeoutError(f"the pod {spawner.pod_name} was made but is not seen")

    # --- over a restart of the hub ------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return the state with the name of the Secret."""
        state: dict[str, Any] = super().get_state()  # type: ignore[misc]
        if self.ssh_secret_name:
            state[_STATE_KEY] = {"secret": self.ssh_secret_name, "digest": self.ssh_keys_digest}
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the name of the Secret."""
        super().load_state(state)  # type: ignore[misc]
        known = state.get(_STATE_KEY)
        if isinstance(known, dict):
            self.ssh_secret_name = str(known.get("secret") or "")
            self.ssh_keys_digest = str(known.get("digest") or "")

    def clear_state(self) -> None:
        """Forget the Secret: it goes with its pod."""
        self.ssh_secret_name = self.ssh_keys_digest = ""
        super().clear_state()  # type: ignore[misc]


def _encoded(keys: Sequence[str]) -> str:
    return base64.b64encode("".join(f"{key}\n" for key in keys).encode()).decode()
