"""The embedded spawner: real single-user servers as processes of the hub's own user.

It needs no root, no container and no system account per member, so that the whole service runs
on any laptop. It is not for members who may be hostile: all servers run as the user who runs
the hub, so that a member's code can read other members' files and end their processes. The
directories keep honest members out of each other's way, nothing more. Use containers
(DockerSpawner, KubeSpawner) behind the same gate where members do not trust each other.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from jupyterhub.spawner import LocalProcessSpawner
from jupyterhub.utils import random_port
from traitlets import Integer, Unicode, default

from jhub_spawner.ending import GRACE_MOST_S, GRACE_VARIABLE, Family, lives
from jhub_spawner.workspaces import workspace_of

__all__ = ["WorkspaceProcessSpawner"]

#: What a single-user server gets of the hub's own environment. Everything else may be a secret.
ENV_KEEP = [
    "CONDA_DEFAULT_ENV",
    "CONDA_ROOT",
    "JUPYTERHUB_SINGLEUSER_APP",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONPATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
    "VIRTUAL_ENV",
]


class WorkspaceProcessSpawner(LocalProcessSpawner):  # type: ignore[misc]
    """Start ``jupyterhub-singleuser`` as a local process in a private directory per member.

    The process is known by its id and its start time, also after a restart of the hub, so that
    a recycled process id is never taken for a server; a stop ends the whole session of
    processes, kernels included.
    """

    workspaces_dir = Unicode(
        "workspaces",
        config=True,
        help="""
        The directory that holds the members' private directories.

        A relative path is taken from the hub's working directory. Each member gets one
        directory in it, readable to the hub's user only, which is HOME, working directory and
        notebook directory of the member's servers. It stays when a server stops.
        """,
    )
    create_time_ms = Integer(
        0, help="When the server's process began, in milliseconds since the epoch; 0: none runs."
    )
    grace_s = Integer(0, help="What the server was told of the time it has to end, in seconds.")

    @default("cmd")
    def _own_command(self) -> list[str]:
        # Beside this interpreter, so that the hub need not be started from its environment.
        beside = Path(sys.executable).with_name("jupyterhub-singleuser")
        return [str(beside if beside.exists() else "jupyterhub-singleuser")]

    @default("poll_interval")
    def _own_poll_interval(self) -> int:
        return 1  # a server shut down from inside is charged to the second

    @default("term_timeout")
    def _own_term_timeout(self) -> int:
        return 4

    @default("kill_timeout")
    def _own_kill_timeout(self) -> int:
        return 5

    @default("env_keep")
    def _own_env_keep(self) -> list[str]:
        return list(ENV_KEEP)

    @property
    def workspace(self) -> Path:
        """The member's private directory, made when first asked for."""
        return workspace_of(self.user, Path(self.workspaces_dir).absolute())

    def user_env(self, env: dict[str, Any]) -> dict[str, Any]:
        """Return `env` with the member's name and the private directory as HOME."""
        workspace = str(self.workspace)
        env["USER"] = env["LOGNAME"] = self.user.name
        env["HOME"] = workspace
        env["SHELL"] = shutil.which("bash") or "/bin/sh"
        env.setdefault("JUPYTERHUB_ROOT_DIR", workspace)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            env.pop(name, None)
        return env

    def get_args(self) -> list[str]:
        """Return the arguments of the server; as root, Jupyter wants to be told twice."""
        args: list[str] = list(super().get_args())
        if os.geteuid() == 0 and "--allow-root" not in args:
            args.append("--allow-root")
        return args

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Leave internal certificates where they are: the server runs as the hub's user."""
        return paths

    async def start(self) -> tuple[str, int]:
        """Start the server and return its address.

        Raises
        ------
        OSError
            If the command or the private directory cannot be used.
        """
        if not self.port:
            self.set_trait("port", random_port())
        command = [*self.cmd, *self.get_args()]
        env = self.get_env()
        self.log.info("Starting %s for %s in %s", command[0], self._log_name, env["HOME"])
        kwargs: dict[str, Any] = {"cwd": env["HOME"], **self.popen_kwargs, "env": env}
        # A session of its own: signals to the hub do not reach it, and a stop ends all of it.
        self.proc = await asyncio.get_running_loop().run_in_executor(
            None, lambda: subprocess.Popen(command, start_new_session=True, **kwargs)
        )
        self.pid = self.proc.pid
        self.create_time_ms = _create_time_ms(self.pid) or 0
        self.grace_s = _grace_s(env)
        return (self.ip or "127.0.0.1", self.port)

    def get_state(self) -> dict[str, Any]:
        """Return process id, start time and grace."""
        state: dict[str, Any] = super().get_state()
        if self.pid:
            state["create_time_ms"] = self.create_time_ms
            state["grace_s"] = self.grace_s
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore process id, start time and grace."""
        super().load_state(state)
        self.create_time_ms = state.get("create_time_ms", self.create_time_ms)
        self.grace_s = state.get("grace_s", self.grace_s)

    def clear_state(self) -> None:
        """Forget the process."""
        super().clear_state()
        self.create_time_ms = self.grace_s = 0

    async def poll(self) -> int | None:
        """Return None while the server's process lives, else its exit status (0: unknown)."""
        started_here: subprocess.Popen[bytes] | None = self.proc
        if started_here is not None and started_here.pid == self.pid:
            return started_here.poll()  # reaps it, too
        if self.pid and lives(self.pid, self.create_time_ms):
            return None
        return 0

    async def _signal(self, sig: int) -> bool:
        """Send `sig` to the server's process; return whether it was there."""
        if await self.poll() is not None:
            return False
        try:
            os.kill(self.pid, sig)
        except ProcessLookupError:
            return False
        return True

    async def stop(self, now: bool = False) -> None:
        """Stop the server and every process that it has brought forth, kernels and jobs included.

        They are asked politely first: SIGTERM lets Jupyter shut its kernels down, where SIGINT
        would ask a question on the terminal, and lets trainings beside it save. What is not gone
        by the end of the grace is killed.
        """
        pid, create_time_ms = self.pid, self.create_time_ms
        if not pid:
            return
        loop = asyncio.get_running_loop()
        # Before the server ends: afterwards its children have another parent.
        family = await loop.run_in_executor(None, Family.of, pid, create_time_ms)
        try:
            if now or not await self._signal(signal.SIGTERM):
                await self._signal(signal.SIGKILL)
                await self.wait_for_death(self.kill_timeout)
            else:
                await self._end_gently(family)
        finally:
            await loop.run_in_executor(None, family.grow)
            await family.kill(self.kill_timeout)
        if await self.poll() is None:
            raise RuntimeError(f"The process {pid} of {self._log_name} cannot be ended")

    async def _end_gently(self, family: Family) -> None:
        """Let server and family end by themselves within the grace; then kill the server."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + max(self.term_timeout, self.grace_s)
        family.ask(family.beside_jupyter())
        if not await self.wait_for_death(max(0.0, deadline - loop.time())):
            await self._signal(signal.SIGKILL)
            await self.wait_for_death(self.kill_timeout)
        await loop.run_in_executor(None, family.grow)
        family.ask(family.members)  # what Jupyter has left behind
        await family.wait(deadline - loop.time())


def _grace_s(env: dict[str, Any]) -> int:
    text = str(env.get(GRACE_VARIABLE, ""))
    return min(int(text), GRACE_MOST_S) if text.isdecimal() else 0


def _create_time_ms(pid: int) -> int | None:
    try:
        create_time_s: float = psutil.Process(pid).create_time()
        return round(create_time_s * 1000)
    except psutil.Error:
        return None
