# TensorBoard in Lab's launcher, from the framework's environment.
import os

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.ServerApp.allow_unauthenticated_access = False
c.ServerApp.root_dir = "/workspace"
if os.path.exists("/opt/framework/bin/tensorboard"):
    c.ServerProxy.servers = {
        "tensorboard": {
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
    }
