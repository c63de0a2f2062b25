"""The part of a measured hub's configuration that is about pods: the same for both hubs."""

from __future__ import annotations

from typing import Any

__all__ = ["configure"]


def configure(c: Any, settings: dict[str, Any]) -> None:
    """Have the hub's servers run as tiny pods."""
    address = settings["address"]
    c.JupyterHub.bind_url = f"http://0.0.0.0:{settings['port']}"
    c.JupyterHub.hub_bind_url = f"http://0.0.0.0:{settings['hub_port']}"
    c.JupyterHub.hub_connect_url = f"http://{address}:{settings['hub_port']}"
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.allow_named_servers = True
    ours = settings["ours"]
    c.JupyterHub.spawner_class = "token-kubernetes" if ours else "kubespawner.KubeSpawner"
    c.KubeSpawner.namespace = settings["namespace"]
    c.KubeSpawner.image = settings["image"]
    c.KubeSpawner.cmd = ["tiny-server"]
    c.KubeSpawner.start_timeout = c.Spawner.http_timeout = 120
    c.KubeSpawner.delete_grace_period = 1
    # What ours sets by itself: a claim for each member, one uid, few rights.
    c.KubeSpawner.storage_pvc_ensure = True
    c.KubeSpawner.storage_class = settings["storage_class"]
    c.KubeSpawner.storage_capacity = "1Gi"
    c.KubeSpawner.storage_access_modes = ["ReadWriteOnce"]
    c.KubeSpawner.pvc_name_template = "workspace-{username}"
    if ours:
        return
    c.KubeSpawner.delete_pvc = False
    c.KubeSpawner.volumes = [
        {"name": "workspace", "persistentVolumeClaim": {"claimName": "workspace-{username}"}}
    ]
    c.KubeSpawner.volume_mounts = [{"name": "workspace", "mountPath": "/workspace"}]
    c.KubeSpawner.cpu_limit = settings["cpu"]
    c.KubeSpawner.mem_limit = settings["memory"]
    c.KubeSpawner.uid = c.KubeSpawner.gid = c.KubeSpawner.fs_gid = 1000
    c.KubeSpawner.allow_privilege_escalation = False
    c.KubeSpawner.container_security_context = {
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
