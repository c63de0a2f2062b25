"""Starts the demo hub, tells where it is, and stops everything that it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psutil

from jhub_tokens.command_error import CommandError

__all__ = ["DemoHub", "stop_left_behind"]

_CONFIG = Path(__file__).with_name("jupyterhub_config.py")
_START_MAX_S = 90.0
_SERVICE_START_MAX_S = 10.0
_STOP_MAX_S = 20.0
_LOOK_EVERY_S = 0.2


class DemoHub:
    """One run of the demo hub.

    Parameters
    ----------
    settings
        As written by `jhub_tokens.demo.state.prepare_state`.
    log
        Where the hub's log goes; None leaves it on the terminal.
    """

    def __init__(self, settings: dict[str, Any], log: Path | None) -> None:
        self._settings = settings
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupts = 0

    @property
    def url(self) -> str:
        """The address to open in a browser."""
        return f"http://127.0.0.1:{self._settings['port']}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start the hub, wait until it answers, and stop everything at the end.

        Raises
        ------
        CommandError
            If it does not come up.
        """
        with self._signals(), self._log_file() as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "--config", str(_CONFIG)],
                cwd=self._settings["state"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # In a session of its own, Ctrl-C reaches this process only, which then stops
                # the hub in order: servers, service, proxy.
                start_new_session=True,
            )
            try:
                self._wait_until_ready()
                yield
            finally:
                self._stop()

    def wait(self) -> int:
        """Wait until the hub ends or somebody asks to stop; return the exit code."""
        assert self._process is not None
        while not self._interrupts:
            code = self._process.poll()
            if code is not None:
                raise CommandError(f"the hub has ended (code {code}){self._tail()}")
            time.sleep(_LOOK_EVERY_S)
        return 0

    def service_problem(self) -> str | None:
        """Return why the token service cannot work, or None if it can."""
        path = "/services/tokens/healthz"
        status, _ = self._get(path)
        if status == 200:
            return None
        # Through the proxy it does not say why.
        _, body = self._get(path, f"http://127.0.0.1:{self._settings['service_port']}")
        with contextlib.suppress(ValueError, AttributeError):
            told = json.loads(body)
            said = " ".join(str(told.get(key) or "") for key in ("message", "remedy")).strip()
            return said or "it does not say why"
        return "it does not answer yet"

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        environment["JHUB_TOKENS_DEMO_SETTINGS"] = str(
            Path(self._settings["state"]) / "settings.json"
        )
        # The single-user servers' command is looked up on the path.
        environment["PATH"] = os.pathsep.join(
            (str(Path(sys.executable).parent), environment.get("PATH", os.defpath))
        )
        # A hub that is started from within another hub's server must not take it for its own.
        for name in [name for name in environment if name.startswith("JUPYTERHUB_")]:
            del environment[name]
        return environment

    @contextlib.contextmanager
    def _log_file(self) -> Iterator[IO[bytes] | None]:
        if self._log is None:
            yield None
            return
        with open(self._log, "ab") as file:
            yield file

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def note(_signal: int, _frame: FrameType | None) -> None:
            self._interrupts += 1
            if self._interrupts > 2 and self._process is not None:
                _kill_all(_family(self._process.pid))

        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        earlier = {number: signal.signal(number, note) for number in wanted}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_MAX_S
        while not self._is_healthy():
            code = self._process.poll()
            if code is not None:
                raise CommandError(f"the hub could not start (code {code}){self._tail()}")
            if self._interrupts:
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                raise CommandError(
                    f"the hub did not answer within {_START_MAX_S:.0f} s{self._tail()}"
                )
            time.sleep(_LOOK_EVERY_S)
        # Members meet the token service first thing: give it a moment to open its books, too.
        deadline = time.monotonic() + _SERVICE_START_MAX_S
        while self.service_problem() and time.monotonic() < deadline and not self._interrupts:
            time.sleep(_LOOK_EVERY_S)

    def _is_healthy(self) -> bool:
        # The hub itself first: its proxy would log an error for each question that is too early.
        hub = f"http://127.0.0.1:{self._settings['hub_port']}"
        return all(self._get("/hub/health", base)[0] == 200 for base in (hub, self.url))

    def _get(self, path: str, base: str = "") -> tuple[int, bytes]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open((base or self.url) + path, timeout=5) as response:
                return response.status, response.read(65_536)
        except urllib.error.HTTPError as error:
            return error.code, error.read(65_536)
        except OSError:
            return 0, b""

    def _tail(self) -> str:
        if self._log is None:
            return ""
        with open(self._log, "rb") as file:
            file.seek(max(0, self._log.stat().st_size - 4000))
            lines = file.read().decode(errors="replace").splitlines()[-8:]
        return f"; the log {self._log} ends with:\n  " + "\n  ".join(lines)

    def _stop(self) -> None:
        assert self._process is not None
        # Taken first: once the hub is gone, its children are nobody's.
        family = _family(self._process.pid)
        if self._process.poll() is None:
            self._process.terminate()
            deadline = time.monotonic() + _STOP_MAX_S
            while self._process.poll() is None and time.monotonic() < deadline:
                family |= _family(self._process.pid)
                time.sleep(_LOOK_EVERY_S)
        _kill_all(family)
        self._process.wait()
        stop_left_behind(Path(self._settings["state"]))


def stop_left_behind(state: Path) -> None:
    """Stop the proxy of a demo hub that was killed, so that its port is free again."""
    pid_file = state / "jupyterhub-proxy.pid"
    try:
        pid = int(pid_file.read_text().split()[0])
        process = psutil.Process(pid)
        # The number may belong to somebody else by now: only a proxy is ours to stop.
        if any("configurable-http-proxy" in word for word in process.cmdline()):
            _kill_all({process})
    except (OSError, ValueError, IndexError, psutil.Error):
        pass
    pid_file.unlink(missing_ok=True)


def _family(pid: int) -> set[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return {process, *process.children(recursive=True)}
    except psutil.Error:
        return set()


def _kill_all(processes: set[psutil.Process]) -> None:
    """Ask the processes to end, then make them; psutil never hits a reused process id."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(list(processes), timeout=3)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=3)
