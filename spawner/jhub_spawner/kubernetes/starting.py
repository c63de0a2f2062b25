"""A start that ends when it is clear how: ready, or failed with its cause, and nothing left behind.

KubeSpawner waits for a pod to run until the time is over, whatever happens to the pod meanwhile.
Here the pod and its events are looked at while it waits: in the watches' own memory, so that it
costs the API server nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kubernetes_asyncio.client.rest import ApiException
from traitlets import HasTraits, Integer

from jhub_spawner.kubernetes.causes import (
    Cause,
    hopeless,
    not_created,
    nothing_happened,
    waiting_for,
)
from jhub_spawner.kubernetes.failed import StartFailed
from jhub_spawner.refused import not_counted
from jhub_tokens.wire.labels import START_KEY

__all__ = ["Attempt", "CarefulStart"]

_LOOK_S = 0.2
_REACH_S = 0.1
#: The hub gives up at `start_timeout`, and then knows no cause: this much earlier, we do.
_MARGIN_S = 5.0
_CLEAN_UP_S = 10.0
_SSH_WITHIN_S = 20.0


@dataclass(eq=False, slots=True)
class Attempt:
    """One attempt to start; what a pending page shows is about this one only."""

    label: str  # the value of its pod's label for the start
    began: float
    future: asyncio.Future[Any] | None = None
    answers: bool = False  # Jupyter takes connections
    ssh_answers: bool = False


class CarefulStart(HasTraits):
    """Mixin for a KubeSpawner: fails early and with the cause, and follows the present start."""

    start_patience = Integer(
        90,
        min=0,
        config=True,
        help="""
        Seconds to wait where the cluster tries again by itself, such as with an image that could
        not be pulled. What no further try will mend, such as an image that does not exist, fails
        the start at once.
        """,
    )
    scheduling_patience = Integer(
        0,
        min=0,
        config=True,
        help="""
        Seconds to wait for a node; 0: as long as ``start_timeout`` allows.

        Members pay nothing while they wait. Set it where no autoscaler adds nodes, so that a
        member hears soon that no GPU is free.
        """,
    )

    #: The present attempt, or the last one.
    token_attempt: Attempt | None = None

    def start_label(self) -> str:
        """Return what tells this start's pod from those of other starts."""
        raise NotImplementedError

    def current_pod(self) -> dict[str, Any] | None:
        """Return the pod of the present start, as last seen; never that of an earlier one."""
        spawner: Any = self
        attempt, reflector = self.token_attempt, spawner.pod_reflector
        if attempt is None or reflector is None:
            return None
        pod: dict[str, Any] | None = reflector.pods.get(f"{spawner.namespace}/{spawner.pod_name}")
        if pod is None or (pod["metadata"].get("labels") or {}).get(START_KEY) != attempt.label:
            return None
        return pod

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the present start's pod, oldest first."""
        spawner: Any = self
        pod, reflector = self.current_pod(), spawner.event_reflector
        if pod is None or not reflector:
            return []
        uid = pod["metadata"]["uid"]
        found = [
            event
            for event in list(reflector.resources.values())
            if (event.get("involvedObject") or {}).get("uid") == uid
        ]
        return sorted(found, key=_happened)

    def start(self) -> asyncio.Future[Any]:
        """Start the pod; the future is the server's URL."""
        attempt = Attempt(self.start_label(), time.monotonic())
        self.token_attempt = attempt
        attempt.future = asyncio.ensure_future(self._carefully(attempt))
        return attempt.future

    async def before_pod(self) -> None:
        """Do what the pod needs; for other mixins to override."""

    async def _carefully(self, attempt: Attempt) -> Any:
        spawner: Any = self
        starting = asyncio.ensure_future(self._until_it_answers(attempt))
        watching = asyncio.ensure_future(self._watch(attempt))
        try:
            await asyncio.wait(
                {starting, watching},
                timeout=self._time_left(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if starting.done():
                return starting.result()
            cause = watching.result() if watching.done() else self._cause_now(attempt)
            raise self._start_failed(cause)
        except asyncio.CancelledError:
            # Whoever cancels does not wait; the hub's own stop comes as well, and finds nothing
            # where the pod was just being made.
            self._clean_up_later()
            raise
        except TimeoutError:
            await self._clean_up()
            raise self._start_failed(self._cause_now(attempt)) from None
        except ApiException as error:
            await self._clean_up()
            known = not_created(error.status or 0, str(error.body or error.reason))
            if known is None:
                raise
            raise self._start_failed(known) from None
        except BaseException:
            await self._clean_up()
            raise
        finally:
            for task in (starting, watching):
                task.cancel()
            await asyncio.gather(starting, watching, return_exceptions=True)
            spawner.log.debug("The start of %s is over", spawner._log_name)

    def _time_left(self) -> float | None:
        timeout: float = getattr(self, "start_timeout", 0)
        return timeout - min(_MARGIN_S, timeout / 10) if timeout > 0 else None

    def _cause_now(self, attempt: Attempt) -> Cause:
        pod = self.current_pod()
        return waiting_for(pod, self.events) or nothing_happened(
            pod, round(time.monotonic() - attempt.began)
        )

    def _start_failed(self, cause: Cause) -> StartFailed:
        spawner: Any = self
        spawner.log.error(
            "The start of %s failed: %s %s", spawner._log_name, cause.message, cause.detail[:2000]
        )
        not_counted(self)
        return StartFailed(cause)

    async def _until_it_answers(self, attempt: Attempt) -> Any:
        """Start the pod and wait until Jupyter takes connections, so that its end is noticed."""
        spawner: Any = self
        await self.before_pod()
        # Through start, so that an operator's own class of KubeSpawner may have one.
        url = await super().start()  # type: ignore[misc]
        parts = urlsplit(url) if isinstance(url, str) else None
        host, port = (parts.hostname, parts.port) if parts else url
        if getattr(spawner, "ssh", False):
            _in_background(self._until_ssh_answers(attempt, host))
        attempt.answers = await _answers(host, port, spawner.http_timeout)
        return url  # the hub waits for it in its own way, and knows what to say if it is silent

    async def _until_ssh_answers(self, attempt: Attempt, host: Any) -> None:
        """Notice sshd for the pending page, where the network lets the hub see it."""
        spawner: Any = self
        attempt.ssh_answers = await _answers(host, spawner.ssh_port, _SSH_WITHIN_S)

    async def _watch(self, attempt: Attempt) -> Cause:
        """Return why the start cannot succeed; do not return while it may."""
        stuck_since: dict[str, float] = {}
        while True:
            pod, now = self.current_pod(), time.monotonic()
            if pod is not None:
                events = self.events
                waits = waiting_for(pod, events)
                kind = waits.kind if waits else ""
                stuck_since = {kind: stuck_since.get(kind, now)}
                waited_s = now - stuck_since[kind]
                cause = hopeless(pod, events, self.start_patience, waited_s if waits else 0)
                if cause is not None:
                    return cause
                if (
                    waits is not None
                    and waits.kind == "unschedulable"
                    and 0 < self.scheduling_patience < waited_s
                ):
                    return waits
            await asyncio.sleep(_LOOK_S)

    # --- nothing left behind ------------------------------------------------------------------

    async def _clean_up(self) -> None:
        """Delete the pod if there is one; its Secret and Service go with it."""
        spawner: Any = self
        try:
            await asyncio.wait_for(
                spawner.api.delete_namespaced_pod(
                    name=spawner.pod_name, namespace=spawner.namespace, grace_period_seconds=0
                ),
                _CLEAN_UP_S,
            )
        except ApiException as error:
            if error.status != 404:
                spawner.log.warning("Cannot delete the pod %s: %s", spawner.pod_name, error.reason)
        except Exception as error:  # the hub's own stop tries again
            spawner.log.warning("Cannot delete the pod %s: %r", spawner.pod_name, error)

    def _clean_up_later(self) -> None:
        _in_background(self._clean_up())


#: Tasks that nobody waits for: the event loop alone would forget them.
_background: set[asyncio.Task[None]] = set()


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    _background.add(task)
    task.add_done_callback(_background.discard)


async def _answers(host: Any, port: Any, within_s: float) -> bool:
    """Return whether something takes connections, as soon as it does."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            _reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 2)
        except (OSError, TimeoutError):
            await asyncio.sleep(_REACH_S)
            continue
        writer.close()
        return True
    return False


def _happened(event: dict[str, Any]) -> str:
    return (
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )
