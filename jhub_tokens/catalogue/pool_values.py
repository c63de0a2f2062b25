"""Single values of node pools: labels, taints, names of the cluster's own objects."""

from __future__ import annotations

import re
from typing import Any

from jhub_tokens.catalogue.values import ValueProblem, describe, read_memory_bytes, read_text

__all__ = [
    "read_affinity",
    "read_label_key",
    "read_label_value",
    "read_object_name",
    "read_resource_name",
    "read_storage_bytes",
]

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_DNS = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
_QUALIFIED = re.compile(rf"(?:(?P<prefix>{_DNS})/)?{_PART}")
_LABEL_VALUE = re.compile(rf"(?:{_PART})?")
_DNS_NAME = re.compile(_DNS)
_DNS_LENGTH_MAX = 253
_AFFINITIES = ("nodeAffinity", "podAffinity", "podAntiAffinity")
_WHEN = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def read_label_key(value: Any) -> str:
    """Read the key of a node's label or taint."""
    text = read_text("" if value is None else value)
    match = _QUALIFIED.fullmatch(text)
    if match is None or len(match["prefix"] or "") > _DNS_LENGTH_MAX:
        raise ValueProblem(
            f"{describe(text)} cannot be the key of a label",
            "Write it as kubectl get nodes --show-labels does, such as example.org/pool",
        )
    return text


def read_label_value(value: Any) -> str:
    """Read the value of a node's label or taint."""
    if isinstance(value, bool):
        written = "true" if value else "false"
        raise ValueProblem(f"{written} is not text", f'Put it in quotes: "{written}"')
    text = read_text("" if value is None else value)
    if not _LABEL_VALUE.fullmatch(text):
        raise ValueProblem(
            f"{describe(text)} cannot be the value of a label",
            "Use at most 63 letters, digits, '.', '_' or '-', a letter or digit at both ends",
        )
    return text


def read_resource_name(value: Any) -> str:
    """Read the name under which nodes offer their GPUs."""
    text = read_text("" if value is None else value)
    match = _QUALIFIED.fullmatch(text)
    if match is None or not match["prefix"]:
        raise ValueProblem(
            f"{describe(text)} cannot be the name of a resource",
            "Write it as kubectl describe node does, such as nvidia.com/gpu",
        )
    return text


def read_object_name(value: Any) -> str:
    """Read the name of an object of the cluster, such as a PriorityClass."""
    text = read_text("" if value is None else value)
    if not _DNS_NAME.fullmatch(text) or len(text) > _DNS_LENGTH_MAX:
        raise ValueProblem(
            f"{describe(text)} cannot be the name of an object in the cluster",
            "Use lower-case letters, digits, '-' and '.'",
        )
    return text


def read_affinity(value: Any) -> dict[str, Any]:
    """Read an affinity as Kubernetes writes it; what is inside its terms is the cluster's."""
    if not isinstance(value, dict):
        raise ValueProblem(f"{describe(value)} is not a mapping", "Write nodeAffinity: and below")
    for kind, terms in value.items():
        if kind not in _AFFINITIES:
            raise ValueProblem(
                f"{describe(kind)} is no kind of affinity", f"Write {', '.join(_AFFINITIES)}"
            )
        for when, given in terms.items() if isinstance(terms, dict) else [(None, None)]:
            required = kind == "nodeAffinity" and when == _WHEN[0]
            if when not in _WHEN or not isinstance(given, dict if required else list):
                raise ValueProblem(
                    f"what stands below {kind} is not as Kubernetes wants it",
                    f"Write {' or '.join(_WHEN)} with its terms",
                )
            terms_of_nodes = given.get("nodeSelectorTerms") if isinstance(given, dict) else []
            if not isinstance(terms_of_nodes, list):
                raise ValueProblem(f"{kind} has no terms", "Write nodeSelectorTerms: [...]")
    return value


def read_storage_bytes(value: Any) -> int:
    """Read the size of a volume; ``20G`` and ``20Gi`` are the same here, powers of 1024."""
    if isinstance(value, str) and value.strip()[-1:] == "i":
        return read_memory_bytes(value.strip()[:-1])
    return read_memory_bytes(value)
