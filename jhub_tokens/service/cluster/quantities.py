"""Kubernetes' quantities as whole numbers, and sums of what pods ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any

__all__ = ["CPU", "MEMORY", "PODS", "Amounts", "amounts_of", "requests_of"]

CPU, MEMORY, PODS = "cpu", "memory", "pods"
#: Amounts by resource: CPU in thousandths of a core, all others as they are (bytes, pieces).
Amounts = Mapping[str, int]

_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def _quantity(text: str) -> Decimal:
    """Return a quantity's value (Kubernetes' `resource.Quantity`), 0 if it makes no sense."""
    text = str(text).strip()
    factor = Decimal(1)
    if text[-2:] in _BINARY:
        text, factor = text[:-2], Decimal(1 << _BINARY[text[-2:]])
    elif text[-1:] in _DECIMAL:
        text, factor = text[:-1], Decimal(10) ** _DECIMAL[text[-1:]]
    try:
        value = Decimal(text) * factor
    except InvalidOperation:
        return Decimal(0)
    return value if value.is_finite() else Decimal(0)


def amounts_of(resources: Mapping[str, Any] | None) -> dict[str, int]:
    """Return amounts by resource, rounded up as the scheduler does."""
    return {
        name: int((_quantity(text) * (1000 if name == CPU else 1)).to_integral_value(ROUND_CEILING))
        for name, text in (resources or {}).items()
    }


def requests_of(spec: Mapping[str, Any]) -> dict[str, int]:
    """Return what a pod takes of a node: as the scheduler reckons it, and one place for a pod.

    Containers run together, init containers one after the other before them.
    """
    total: Counter[str] = Counter()
    for container in _containers(spec, "containers"):
        total.update(container)
    most: dict[str, int] = dict(total)
    beside: Counter[str] = Counter()  # init containers that go on running
    for raw, container in zip(
        spec.get("initContainers") or (), _containers(spec, "initContainers"), strict=True
    ):
        if raw.get("restartPolicy") == "Always":
            beside.update(container)
            needed = dict(beside)
            total.update(container)
        else:
            needed = dict(Counter(container) + beside)
        for name, amount in needed.items():
            most[name] = max(most.get(name, 0), amount)
    for name, amount in total.items():
        most[name] = max(most.get(name, 0), amount)
    for name, amount in amounts_of(spec.get("overhead")).items():
        most[name] = most.get(name, 0) + amount
    most[PODS] = 1
    return most


def _containers(spec: Mapping[str, Any], name: str) -> Iterable[dict[str, int]]:
    for container in spec.get(name) or ():
        resources = container.get("resources") or {}
        # What has a limit and no request asks for its limit.
        yield {**amounts_of(resources.get("limits")), **amounts_of(resources.get("requests"))}
