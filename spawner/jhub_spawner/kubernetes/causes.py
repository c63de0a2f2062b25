"""Why a start does not get on, read from a pod and its events, in words for the member.

Pure. Each cause has a message and a remedy; what the cluster said goes to the operator's log.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jhub_tokens.i18n import _

__all__ = [
    "Cause",
    "CauseKind",
    "hopeless",
    "not_created",
    "nothing_happened",
    "waiting_for",
]

CauseKind = Literal[
    "unschedulable", "image", "volume", "memory", "exited", "quota", "config", "ended", "slow"
]
_Pod = Mapping[str, Any]
_Events = Sequence[Mapping[str, Any]]

_IMAGE_REASONS = frozenset(
    {
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
    }
)
_CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_VOLUME_EVENTS = frozenset({"FailedAttachVolume", "FailedMount", "FailedMapVolume"})
#: What no further try will mend.
_NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|invalid reference|unauthorized|denied|forbidden", re.IGNORECASE
)
_GPU_SHORT = re.compile(r"Insufficient [\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a start does not get on."""

    kind: CauseKind
    message: str
    remedy: str
    detail: str = ""  # the cluster's own words, for the operator


def hopeless(pod: _Pod, events: _Events, patience_s: float, waited_s: float) -> Cause | None:
    """Return why it is no use waiting any longer, None while it may still come.

    Parameters
    ----------
    pod, events
        The pod and its events as the API has them.
    patience_s
        How long to wait where the cluster tries again by itself.
    waited_s
        How long the start has taken so far.
    """
    ended = _ended(pod)
    if ended is not None:
        return ended
    for reason, message in _waiting_containers(pod):
        if reason in _IMAGE_REASONS:
            final = reason in ("InvalidImageName", "ErrImageNeverPull")
            said = [message, *_messages(events, {"Failed"})]
            if final or any(map(_NO_SUCH_IMAGE.search, said)) or waited_s > patience_s:
                return _image(reason, said)
        if reason in _CONFIG_REASONS and waited_s > min(patience_s, 15):
            return _config(reason, message)
    return None


def waiting_for(pod: _Pod | None, events: _Events) -> Cause | None:
    """Return what a start waits for, if it waits for something that may not come."""
    if pod is None:
        return None
    for reason, message in _waiting_containers(pod):
        if reason in _IMAGE_REASONS:
            return _image(reason, [message, *_messages(events, {"Failed"})])
        if reason in _CONFIG_REASONS:
            return _config(reason, message)
    unscheduled = _unscheduled(pod)
    if unscheduled is not None:
        return _unschedulable(unscheduled, events)
    stuck = _messages(events, _VOLUME_EVENTS)
    if stuck and not _has_container(pod):
        return _volume(stuck[-1])
    return None


def nothing_happened(pod: _Pod | None, seconds: int) -> Cause:
    """Return the cause of a start that took too long for no reason that could be seen."""
    phase = "no pod was seen" if pod is None else str((pod.get("status") or {}).get("phase"))
    return Cause(
        "slow",
        _("The server was not ready within %(seconds)s s.", seconds=seconds),
        _("Try again; if it happens again, tell the operator of this hub."),
        detail=phase,
    )


def not_created(status: int, body: str) -> Cause | None:
    """Return why the API server refused a pod, None if that is no foreseeable reason."""
    if status == 403 and "exceeded quota" in body:
        return Cause(
            "quota",
            _("The hub has reached the limit of what all servers together may use."),
            _("Try again when others have stopped theirs, or ask the operator of this hub."),
            detail=body,
        )
    if status == 403 and "PodSecurity" in body:
        return Cause(
            "config",
            _("The cluster does not allow servers that are set up like this."),
            _("Tell the operator of this hub; trying again does not help."),
            detail=body,
        )
    if status in (400, 403, 422):
        return Cause(
            "config",
            _("The cluster does not accept this server."),
            _("Tell the operator of this hub; trying again does not help."),
            detail=body,
        )
    return None


# --- what is in a pod ------------------------------------------------------------------------


def _statuses(pod: _Pod) -> Iterable[Mapping[str, Any]]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _waiting_containers(pod: _Pod) -> Iterable[tuple[str, str]]:
    for container in _statuses(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting:
            yield waiting.get("reason") or "", waiting.get("message") or ""


def _has_container(pod: _Pod) -> bool:
    return any(
        (container.get("state") or {}).keys() & {"running", "terminated"}
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
    )


def _unscheduled(pod: _Pod) -> str | None:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return condition.get("message") or ""
    return None


def _messages(events: _Events, reasons: Container[str]) -> list[str]:
    return [
        event.get("message") or "" for event in events if (event.get("reason") or "") in reasons
    ]


def _ended(pod: _Pod) -> Cause | None:
    status = pod.get("status") or {}
    if status.get("phase") == "Failed" and status.get("reason"):
        return Cause(
            "ended",
            _(
                "The cluster ended the server while it was starting (%(why)s).",
                why=status["reason"],
            ),
            _("Try again. If it happens again, tell the operator of this hub."),
            detail=status.get("message") or "",
        )
    first = status.get("initContainerStatuses") or ()
    for container in _statuses(pod):
        ended = (container.get("state") or {}).get("terminated")
        if not ended or (container in first and not ended.get("exitCode")):
            continue  # a first container is meant to end
        if ended.get("reason") == "OOMKilled":
            return Cause(
                "memory",
                _("The server ran out of memory while it was starting."),
                _("Choose a profile with more memory, or tell the operator of this hub."),
                detail=f"container {container.get('name')} OOMKilled",
            )
        return Cause(
            "exited",
            _(
                "The server ended by itself while it was starting (exit code %(code)s).",
                code=ended.get("exitCode"),
            ),
            _("Try another image, or tell the operator of this hub."),
            detail=f"container {container.get('name')}: {ended.get('reason')} "
            f"{ended.get('message') or ''}",
        )
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return Cause(
            "ended",
            _("The server was deleted in the cluster while it was starting."),
            _("Try again. If it happens again, tell the operator of this hub."),
            detail="the pod has a deletion timestamp",
        )
    return None


# --- in words --------------------------------------------------------------------------------


def _image(reason: str, said: Sequence[str]) -> Cause:
    detail = " · ".join(filter(None, (reason, *said)))
    return Cause(
        "image",
        _("The image of this server cannot be pulled."),
        _("Choose another image, and tell the operator of this hub."),
        detail=detail,
    )


def _config(reason: str, message: str) -> Cause:
    return Cause(
        "config",
        _("The server cannot be set up on its node."),
        _("Tell the operator of this hub; trying again does not help."),
        detail=f"{reason} {message}",
    )


def _volume(message: str) -> Cause:
    if "Multi-Attach" in message:
        return Cause(
            "volume",
            _("Your volume is still attached to another node."),
            _("Stop your other servers, wait a minute and try again."),
            detail=message,
        )
    return Cause(
        "volume",
        _("Your volume cannot be attached."),
        _("Try again in a few minutes; if it stays like this, tell the operator of this hub."),
        detail=message,
    )


def _unschedulable(message: str, events: _Events) -> Cause:
    detail = " · ".join((message, *_messages(events, {"NotTriggerScaleUp"})))
    if "persistentvolumeclaim" in message.lower() or "volume node affinity" in message:
        zones = "volume node affinity" in message
        return Cause(
            "volume",
            _("Your volume is in another zone than the free nodes.")
            if zones
            else _("Your volume is not there yet."),
            _("Choose hardware in the zone of your volume, or tell the operator of this hub.")
            if zones
            else _("Try again in a few minutes; if it stays like this, tell the operator."),
            detail=detail,
        )
    if _GPU_SHORT.search(message):
        return Cause(
            "unschedulable",
            _("No GPU of this kind is free."),
            _("Choose another GPU or a profile without one, or try again later."),
            detail=detail,
        )
    if "Insufficient" in message:
        return Cause(
            "unschedulable",
            _("No node has room for a server of this size."),
            _("Choose a smaller profile, or try again later."),
            detail=detail,
        )
    return Cause(
        "unschedulable",
        _("The cluster has no node for this profile."),
        _("Choose another profile, and tell the operator of this hub."),
        detail=detail,
    )
