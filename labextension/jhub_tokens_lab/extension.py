"""Putting the extension into a Jupyter server."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jupyter_server.utils import url_path_join
from traitlets import Bool
from traitlets.config import Configurable

from jhub_tokens_lab.activity import Activity, is_own_machine
from jhub_tokens_lab.client import Client
from jhub_tokens_lab.grace import give_grace, grace_s
from jhub_tokens_lab.handlers import ActHandler, FeedHandler
from jhub_tokens_lab.saving import Saver
from jhub_tokens_lab.watcher import Watcher

__all__ = ["JhubTokensLab", "load"]


class JhubTokensLab(Configurable):
    """How the extension behaves in this server."""

    own_machine = Bool(
        None,
        allow_none=True,
        config=True,
        help="""
        Whether everything that runs here belongs to this server, as in a container or pod.

        By default this is found out by the first process. Where it is not so, only processes
        that the server itself has started count as its activity, and GPUs do not.
        """,
    )


def load(app: Any) -> None:
    """Start in a server that a hub with tokens has started; leave any other one alone."""
    client = Client()
    if not client.usable:
        app.log.info("jhub-tokens: no token service is known to this server; nothing to do")
        return
    settings = JhubTokensLab(parent=app)
    seconds = grace_s(os.environ)
    if seconds is not None:
        give_grace(app.kernel_manager, seconds)
    own = settings.own_machine
    if own is None:
        own = is_own_machine(os.environ.get("JUPYTERHUB_SERVICE_PREFIX", ""))

    def kernels() -> list[str]:
        manager = app.kernel_manager
        ids = list(manager.list_kernel_ids())
        return [str(getattr(manager.get_kernel(i), "execution_state", "idle")) for i in ids]

    def jupyter_age_ms() -> float:
        last: datetime = app.web_app.last_activity()
        return (datetime.now(timezone.utc) - last).total_seconds() * 1000

    watcher = Watcher(
        client,
        Saver(app.contents_manager, app.session_manager, app.log),
        Activity(bool(own)),
        kernels,
        Path(app.runtime_dir if hasattr(app, "runtime_dir") else ".").expanduser(),
        os.environ.get("JUPYTERHUB_SERVER_NAME", ""),
        app.log,
        jupyter_age_ms=jupyter_age_ms,
    )
    base = url_path_join(app.web_app.settings["base_url"], "jhub-tokens")
    app.web_app.add_handlers(
        ".*$",
        [
            (url_path_join(base, "feed"), FeedHandler, {"watcher": watcher}),
            (url_path_join(base, "act"), ActHandler, {"watcher": watcher}),
        ],
    )
    # Tells the interface that there is something to show; elsewhere it does nothing at all.
    app.web_app.settings.setdefault("page_config_data", {})["jhubTokens"] = "yes"
    # The loop runs already where Jupyter loads extensions late, and soon where it does not.
    app.io_loop.add_callback(lambda: _run(watcher))


def _run(watcher: Watcher) -> None:
    _tasks.add(asyncio.ensure_future(watcher.run()))


#: asyncio itself holds tasks weakly.
_tasks: set[asyncio.Task[None]] = set()
