"""TokenKubeSpawner: the gate, and the catalogue's choices as pods on a cluster."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from kubespawner import KubeSpawner
from kubespawner.utils import recursive_update
from traitlets import Bool, Dict, Unicode, default

from jhub_spawner.gate import TokenGate
from jhub_spawner.kubernetes.claims import MemberClaim
from jhub_spawner.kubernetes.lost import LostServers
from jhub_spawner.kubernetes.merging import below, items_of, with_items
from jhub_spawner.kubernetes.placing import PLACED, placed
from jhub_spawner.kubernetes.security import container_security, pod_security
from jhub_spawner.kubernetes.ssh import SshAccess
from jhub_spawner.kubernetes.starting import CarefulStart
from jhub_spawner.kubernetes.telling import PlainProgress
from jhub_spawner.kubernetes.volumes import mounted
from jhub_tokens import wire
from jhub_tokens.hub import runtime
from jhub_tokens.hub.identity import created_text
from jhub_tokens.wire import labels

__all__ = ["ClusterSpawner", "TokenKubeSpawner"]

#: Seconds that a pod has to save when it is stopped.
GRACE_S = 60


class ClusterSpawner(PlainProgress, MemberClaim, SshAccess, LostServers, CarefulStart, KubeSpawner):  # type: ignore[misc]
    """KubeSpawner with safe defaults, one volume per member, and starts that say what happens.

    Everything that an operator sets on KubeSpawner holds; see ``docs/kubernetes.md``.
    """

    #: Claims that were restored from snapshots of the member's, for the start under way.
    _restored: Sequence[str] = ()

    workspace_path = Unicode(
        "/workspace",
        config=True,
        help="""
        Where the member's own volume is mounted.

        There is one claim for each member, not for each server. It is made at the first start in
        the size that the member's plan says (``workspace`` in the catalogue), else in that of
        ``storage_capacity``, and grown when the plan says more. With ``storage_pvc_ensure = False``
        the workspace is empty at each start, and goes with the server.
        """,
    )
    datasets_path = Unicode("/datasets", config=True, help="Where shared datasets are mounted.")
    datasets = Dict(
        config=True,
        help="""
        Shared datasets: volume sources by name, each mounted read-only below ``datasets_path``::

            c.TokenKubeSpawner.datasets = {
                "imagenet": {"nfs": {"server": "nfs.example.org", "path": "/imagenet"}},
                "corpora": {"persistentVolumeClaim": {"claimName": "corpora"}},
            }
        """,
    )
    scratch_path = Unicode("/scratch", config=True, help="Where scratch space is mounted.")
    scratch = Dict(
        config=True,
        help="""
        A volume source for what need not be kept, such as ``{"emptyDir": {"sizeLimit": "100Gi"}}``
        for the node's own disk; by default there is none.
        """,
    )
    read_only_root = Bool(
        False,
        config=True,
        help="""
        Whether the image's own files cannot be written.

        Our images allow it. Besides the workspace, ``/tmp`` and ``/run/jhub`` get a volume.
        """,
    )

    # --- defaults -----------------------------------------------------------------------------

    @default("pvc_name_template")
    def _claim_of_the_member(self) -> str:
        return "workspace-{member}"

    @default("storage_pvc_ensure")
    def _claim_is_made(self) -> bool:
        return True

    @default("delete_pvc")
    def _claim_is_never_deleted(self) -> bool:
        return False

    @default("storage_capacity")
    def _claim_without_a_plan(self) -> str:
        return "10Gi"

    @default("storage_access_modes")
    def _claim_of_one_node(self) -> list[str]:
        return ["ReadWriteOnce"]

    @default("automount_service_account_token")
    def _no_token(self) -> bool:
        return False

    @default("uid")
    def _uid_of_our_images(self) -> int:
        return 1000

    @default("gid")
    def _gid_of_our_images(self) -> int:
        return 1000

    @default("fs_gid")
    def _group_of_volumes(self) -> int:
        return 1000

    @default("delete_grace_period")
    def _time_to_save(self) -> int:
        return GRACE_S

    @default("start_timeout")
    def _time_for_a_new_node(self) -> int:
        return 600

    @default("http_timeout")
    def _time_for_large_images(self) -> int:
        return 120

    @default("working_dir")
    def _begin_in_the_workspace(self) -> str:
        return str(self.workspace_path)

    @default("notebook_dir")
    def _show_the_workspace(self) -> str:
        return str(self.workspace_path)

    # --- names --------------------------------------------------------------------------------

    @property
    def member_digest(self) -> str:
        """A short name of the member that outlives renames and is never given again."""
        created = created_text(self.user) if hasattr(self.user, "created") else ""
        user_id = self.user.id if isinstance(self.user.id, int) else 0
        return labels.member_digest(user_id, created)

    def _expand_user_properties(self, template: str, slug_scheme: str | None = None) -> str:
        """Let templates name the member by ``{member}`` as well."""
        template = template.replace("{member}", self.member_digest)
        expanded: str = super()._expand_user_properties(template, slug_scheme)
        return expanded

    def token_labels(self) -> dict[str, str]:
        """Return the labels of everything that belongs to the member."""
        return {
            labels.HUB: labels.label_value(runtime.current().settings.hub_name),
            labels.MEMBER: self.member_digest,
        }

    # --- manifests ----------------------------------------------------------------------------

    async def get_pod_manifest(self) -> Any:
        """Make the pod: what was admitted, what is mounted, and what it may not do."""
        ssh_volumes, ssh_mounts = self.ssh_mount()
        values = {
            **mounted(
                {
                    "volumes": with_items(self.volumes, ssh_volumes),
                    "volume_mounts": with_items(self.volume_mounts, ssh_mounts),
                },
                workspace_path=self.workspace_path,
                claim=self.pvc_name if self.storage_pvc_ensure else None,
                datasets_path=self.datasets_path,
                datasets=self.datasets,
                scratch_path=self.scratch_path,
                scratch=self.scratch,
                read_only_root=self.read_only_root,
                restored=self._restored,
            ),
            "container_security_context": below(
                container_security(read_only_root=self.read_only_root),
                self.container_security_context,
            ),
            "pod_security_context": below(pod_security(), self.pod_security_context),
            "environment": {
                "JHUB_GRACE_SECONDS": str(self.delete_grace_period),
                "JHUB_SSH": "on" if self.ssh else "off",
                "JHUB_SSH_PORT": str(self.ssh_port),
                **self.environment,
            },
        }
        own = {name: getattr(self, name) for name in values}
        try:
            for name, value in values.items():
                setattr(self, name, value)
            return await super().get_pod_manifest()
        finally:
            for name, value in own.items():
                setattr(self, name, value)

    def get_pvc_manifest(self) -> Any:
        """Make the member's claim."""
        claim = super().get_pvc_manifest()
        claim.metadata.labels.update(self.token_labels())
        return claim

    async def before_pod(self) -> None:
        """See to the claim before the pod asks for it."""
        await self.tend_claim()

    async def delete_forever(self) -> None:
        """Leave the claim alone, unless the operator has chosen otherwise in so many words."""
        if self.delete_pvc and "{member}" in self.pvc_name_template and self.name:
            self.log.info("Not deleting %s: the member's other servers have it too", self.pvc_name)
            return
        await super().delete_forever()


class TokenKubeSpawner(TokenGate, ClusterSpawner):
    """Pods behind the gate: profiles, images and node pools come from the one catalogue."""

    #: The operator's values of what a start changes; None while no start has changed anything.
    _own_values: dict[str, Any] | None = None

    async def apply_admission(self, admission: wire.Admission) -> None:
        """Turn what was admitted into limits, image, node pool and volumes."""
        self._as_configured()
        override = await self._profile_override(admission.profile)
        names = {*PLACED, *override}
        self._own_values = {name: _copied(getattr(self, name)) for name in names}
        for name, value in override.items():
            merged = _copied(getattr(self, name))
            if isinstance(value, dict) and isinstance(merged, dict):
                recursive_update(merged, value)
                value = merged
            setattr(self, name, value)
        # The environment is added below, where KubeSpawner's templates are kept off it.
        await super().apply_admission(admission.model_copy(update={"environment": {}}))
        base = {name: getattr(self, name) for name in PLACED}
        for name, value in placed(base, admission, self._labels_of(admission)).items():
            setattr(self, name, value)
        self._restored = admission.restored_claims

    def _labels_of(self, admission: wire.Admission) -> dict[str, str]:
        """Return the labels of the pod of an admitted start."""
        found = {
            **self.token_labels(),
            labels.START_KEY: labels.label_value(admission.start_key),
            labels.PROFILE: labels.label_value(admission.profile),
        }
        if admission.session_id:
            found[labels.SESSION] = labels.label_value(admission.session_id)
        if admission.pool is not None:
            found[labels.POOL] = labels.label_value(admission.pool.pool)
            found[labels.SPOT] = "true" if admission.pool.spot else "false"
        return found

    def start_label(self) -> str:
        """Return what tells this start's pod from those of other starts."""
        admission = self.token_admission
        return labels.label_value(admission.start_key) if admission is not None else ""

    def _as_configured(self) -> None:
        """Put back the operator's values: the hub keeps a spawner whose start has failed."""
        values, self._own_values = self._own_values, None
        for name, value in (values or {}).items():
            setattr(self, name, value)

    def clear_state(self) -> None:
        """Forget the pod, and what its start had changed."""
        self._as_configured()
        super().clear_state()

    # --- KubeSpawner's own way of choosing ------------------------------------------------------

    async def _profile_override(self, profile: str) -> dict[str, Any]:
        """Return what an operator's ``profile_list`` says beneath a profile of the catalogue.

        An entry whose slug is the profile's name adds to it. Members choose from the catalogue
        alone: an entry's own options, and entries of other names, are nobody's to choose.
        """
        entries = self.profile_list
        if callable(entries):
            entries = entries(self)
            if hasattr(entries, "__await__"):
                entries = await entries
        for entry in self._get_initialized_profile_list(list(items_of(entries))) or ():
            if entry["slug"] == profile:
                override = entry.get("kubespawner_override") or {}
                return {name: v(self) if callable(v) else v for name, v in override.items()}
        return {}

    async def load_user_options(self) -> None:
        """Do nothing: what a member chose was admitted, and is applied by then.

        KubeSpawner would look the choice up in ``profile_list`` here, whatever the token service
        said, and fail the hub's way for a name that it does not know.
        """

    @default("options_from_form")
    def _no_options_of_a_profile_list(self) -> Any:
        return _as_posted


def _as_posted(fields: dict[str, Any]) -> dict[str, Any]:
    return {}


def _copied(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, dict | list) else value
