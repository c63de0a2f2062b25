"""What the scheduler would say: which nodes a pool has, and how often a pod fits there.

It asks what decides in practice: labels, required node affinity, taints, readiness, cordons and
requests. What depends on one pod alone (its volume's zone, spreading) is not known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jhub_tokens.catalogue import Pool
from jhub_tokens.catalogue.models import Toleration
from jhub_tokens.service.cluster.pods import NodeSeen, Taint
from jhub_tokens.service.cluster.quantities import Amounts

__all__ = ["belongs", "fits", "is_usable"]

_KEEPS_OFF = ("NoSchedule", "NoExecute")


def belongs(node: NodeSeen, pool: Pool) -> bool:
    """Tell whether a node is one of the pool's, by its labels."""
    if any(node.marks.get(name) != value for name, value in pool.selector.items()):
        return False
    affinity = pool.affinity.get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms")
    return not terms or any(_matches(node, term) for term in terms)


def is_usable(node: NodeSeen, pool: Pool) -> bool:
    """Tell whether the pool's servers could be put on a node, if it had room."""
    if not node.ready or node.cordoned:
        return False
    return all(
        any(_tolerates(toleration, taint) for toleration in pool.tolerations)
        for taint in node.taints
        if taint.effect in _KEEPS_OFF
    )


def fits(node: NodeSeen, taken: Amounts, needs: Amounts) -> int:
    """Return how many pods with `needs` find room on a node of which `taken` is taken."""
    has = node.allocatable or {}
    return min(
        (
            max(0, has.get(name, 0) - taken.get(name, 0)) // amount
            for name, amount in needs.items()
            if amount > 0
        ),
        default=0,
    )


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect not in (None, taint.effect):
        return False
    if toleration.key not in (None, taint.key):
        return False
    return toleration.operator == "Exists" or toleration.value == taint.value


def _matches(node: NodeSeen, term: Mapping[str, Any]) -> bool:
    """Tell whether a node is what a selector term asks for; one that asks nothing matches none."""
    by_label: Iterable[Mapping[str, Any]] = term.get("matchExpressions") or ()
    by_field: Iterable[Mapping[str, Any]] = term.get("matchFields") or ()
    fields = {"metadata.name": node.name}
    asked = [
        *((e, node.marks.get(str(e.get("key")))) for e in by_label),
        *((e, fields.get(str(e.get("key")))) for e in by_field),
    ]
    return bool(asked) and all(_holds(expression, value) for expression, value in asked)


_OPERATORS: Mapping[str, Callable[[str | None, list[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _values: value is not None,
    "DoesNotExist": lambda value, _values: value is None,
    "Gt": lambda value, values: _number(value) > _number(values[0]),
    "Lt": lambda value, values: _number(value) < _number(values[0]),
}


def _holds(expression: Mapping[str, Any], value: str | None) -> bool:
    holds = _OPERATORS.get(str(expression.get("operator")))
    try:
        return holds is not None and holds(value, [str(v) for v in expression.get("values") or ()])
    except (IndexError, ValueError):
        return False


def _number(text: str | None) -> int:
    if text is None:
        raise ValueError("no such label")
    return int(text)
