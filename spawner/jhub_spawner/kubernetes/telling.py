"""The progress of a start in plain words, read from the pod and its events."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from traitlets import HasTraits

from jhub_spawner.kubernetes.causes import waiting_for
from jhub_tokens.i18n import _

__all__ = ["PlainProgress", "Step", "steps"]

_LOOK_S = 0.5
_PULLED = re.compile(
    r"pulled image .*? in (?P<took>[\dhmsµ.]+)(?:.*Image size: (?P<size>\d+) bytes)?", re.DOTALL
)
_DURATION = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?!s))?(?:(?P<s>[\d.]+)s)?(?:[\d.]+[mµn]s)?")

Step = tuple[int, str]
_Event = Mapping[str, Any]


def steps(pod: Mapping[str, Any] | None, events: Sequence[_Event], place: str) -> list[Step]:
    """Return what has happened so far, in order: how far the start is, and a sentence.

    Parameters
    ----------
    pod, events
        The pod of the present start and its events.
    place
        The kind of nodes that it goes to, empty if the catalogue has no name for it.
    """
    if pod is None:
        return []
    told: list[Step] = []
    by_reason: dict[str, _Event] = {}
    for event in events:
        by_reason[event.get("reason") or ""] = event
    scheduled = bool((pod.get("spec") or {}).get("nodeName"))
    if not scheduled:
        waits = waiting_for(pod, events)
        if waits is not None:
            told.append(
                (15, _("%(why)s The cluster goes on looking; waiting is free.", why=waits.message))
            )
        if "TriggeredScaleUp" in by_reason:
            told.append((20, _("A new node is being started for you; this takes some minutes.")))
        return told
    found = _("A place was found on %(place)s.", place=place) if place else _("A place was found.")
    told.append((30, found))
    pulling = by_reason.get("Pulling")
    pulled = by_reason.get("Pulled")
    running = _runs(pod)
    if pulling or pulled or running:
        told.append((45, _("Your volume is attached.")))
    elif (waits := waiting_for(pod, events)) is not None:
        told.append((35, _("%(why)s The cluster tries again.", why=waits.message)))
    if pulling and not (pulled or running):
        told.append((50, _("The image is being pulled; the first time on a node takes a while.")))
        waits = waiting_for(pod, events)
        if waits is not None and waits.kind == "image":
            told.append((50, _("%(why)s The cluster tries again.", why=waits.message)))
    if pulled:
        told.append((65, _pulled_text(pulled.get("message") or "")))
    if running:
        told.append((75, _("The server runs; Jupyter is starting.")))
    return told


def _runs(pod: Mapping[str, Any]) -> bool:
    return any(
        "running" in (container.get("state") or {})
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
    )


def _pulled_text(message: str) -> str:
    match = _PULLED.search(message)
    if match is None:
        return _("The image was on the node already.")
    seconds = _seconds(match["took"])
    if match["size"]:
        size = f"{int(match['size']) / 1e9:.1f} GB"
        return _("The image (%(size)s) was pulled in %(seconds)s s.", size=size, seconds=seconds)
    return _("The image was pulled in %(seconds)s s.", seconds=seconds)


def _seconds(took: str) -> int:
    match = _DURATION.match(took)
    if match is None:
        return 0
    return round(int(match["h"] or 0) * 3600 + int(match["m"] or 0) * 60 + float(match["s"] or 0))


class PlainProgress(HasTraits):
    """Mixin for a KubeSpawner: what the pending page says."""

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield each step once; only of the present start, also if an earlier one has failed."""
        spawner: Any = self
        if spawner.token_admission is not None or spawner.token_run is None:
            yield {"progress": 5, "message": _("Your start is being prepared.")}
        attempt = None
        admitted = False
        seen: set[str] = set()
        highest = 5
        while spawner.pending == "spawn":
            admission = spawner.token_admission
            if admission is not None and not admitted and admission.session_id:
                admitted = True
                yield {
                    "progress": 10,
                    "message": _(
                        "Your balance carries %(title)s. Nothing is charged until it is ready.",
                        title=admission.title,
                    ),
                }
            attempt = self._attempt_of(admission)
            if attempt is not None:
                pool = admission.pool if admission is not None else None
                told = steps(spawner.current_pod(), spawner.events, pool.title if pool else "")
                if attempt.answers:
                    told.append((90, _("Jupyter is up.")))
                if attempt.ssh_answers:
                    told.append((95, _("SSH is up.")))
                for progress, message in told:
                    if message not in seen:
                        seen.add(message)
                        highest = max(highest, progress)
                        yield {"progress": highest, "message": message}
            await asyncio.sleep(_LOOK_S)

    def _attempt_of(self, admission: Any) -> Any:
        """Return the attempt that this admission is for; None before it has begun."""
        spawner: Any = self
        attempt = spawner.token_attempt
        if attempt is None or admission is None or attempt.label != spawner.start_label():
            return None
        return attempt
