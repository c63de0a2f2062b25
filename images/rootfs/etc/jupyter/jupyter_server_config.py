# TensorBoard in Lab's launcher, from the framework's environment, and the way in for SSH.
import os

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from simpervisor import atexitasync

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.ServerApp.allow_unauthenticated_access = False
c.ServerApp.root_dir = "/workspace"


class SavingKernelManager(AsyncMappingKernelManager):
    """When the server stops, kernels have most of the grace period to save.

    Each is interrupted, asked to end, and sent SIGTERM after half of its `shutdown_wait_time`, so
    at 0.7 of the grace period; jhub-entrypoint ends Jupyter at 0.8. Whoever restarts a kernel that
    hangs does not wait that long.
    """

    async def shutdown_all(self, now: bool = False) -> None:  # type: ignore[override]
        grace_s = float(os.environ.get("JHUB_GRACE_SECONDS", "30"))
        for kernel_id in self.list_kernel_ids():
            self.get_kernel(kernel_id).shutdown_wait_time = 1.4 * grace_s
        await super().shutdown_all(now=now)


c.ServerApp.kernel_manager_class = SavingKernelManager
# simpervisor, which runs TensorBoard, would take SIGTERM from Jupyter and exit on the spot, before
# any kernel has saved. Told that it has done so, it does not; jhub-entrypoint ends what it ran.
atexitasync.signal_handler_set = True
servers = {}
if os.path.exists("/opt/framework/bin/tensorboard"):
    servers["tensorboard"] = {
        "command": [
            "/opt/framework/bin/tensorboard",
            "--logdir=/workspace/logs",
            "--host=127.0.0.1",
            "--port={port}",
            "--path_prefix={base_url}tensorboard",
        ],
        "absolute_url": True,
        "timeout": 60,
        "launcher_entry": {"title": "TensorBoard"},
    }
if os.environ.get("JHUB_SSH", "on") != "off":
    # A WebSocket through the hub's own port, for who has signed in there, whose messages are
    # sshd's connection: sshd asks for the member's key besides.
    servers["ssh"] = {
        "port": int(os.environ.get("JHUB_SSH_PORT", "2222")),
        "raw_socket_proxy": True,
        "launcher_entry": {"enabled": False},
    }
c.ServerProxy.servers = servers
