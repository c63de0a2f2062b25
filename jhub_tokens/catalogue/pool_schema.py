"""What a node pool looks like in a catalogue file."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from jhub_tokens.catalogue.models import Pool, TaintEffect, Toleration, TolerationOperator
from jhub_tokens.catalogue.pool_values import (
    read_affinity,
    read_label_key,
    read_label_value,
    read_object_name,
    read_resource_name,
)
from jhub_tokens.catalogue.values import (
    read_bool,
    read_choice,
    read_name,
    read_spoken,
    read_whole,
)
from jhub_tokens.in_languages import written

__all__ = ["PoolEntry", "Selector", "TolerationEntry"]

LabelKey = Annotated[str, BeforeValidator(read_label_key)]
LabelValue = Annotated[str, BeforeValidator(read_label_value)]
ObjectName = Annotated[str, BeforeValidator(read_object_name)]
Selector = Annotated[dict[LabelKey, LabelValue], Field(max_length=100)]

_OPERATORS: tuple[TolerationOperator, ...] = ("Equal", "Exists")
_EFFECTS: tuple[TaintEffect, ...] = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class TolerationEntry(BaseModel):
    """The keys of one toleration, named as Kubernetes names them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: LabelKey | None = None
    operator: Annotated[
        TolerationOperator, BeforeValidator(lambda value: read_choice(value, _OPERATORS))
    ] = "Equal"
    value: LabelValue = ""
    effect: (
        Annotated[TaintEffect, BeforeValidator(lambda value: read_choice(value, _EFFECTS))] | None
    ) = None
    tolerationSeconds: (  # noqa: N815
        Annotated[int, BeforeValidator(lambda value: read_whole(value, 0, 86_400, "seconds"))]
        | None
    ) = None

    def to_toleration(self) -> Toleration:
        """Return the toleration."""
        return Toleration(
            key=self.key,
            operator=self.operator,
            value=self.value,
            effect=self.effect,
            seconds=self.tolerationSeconds,
        )


class PoolEntry(BaseModel):
    """The keys of one node pool."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[dict[str, str], BeforeValidator(read_spoken)] = {}
    gpu_model: Annotated[str, BeforeValidator(read_name)] | None = None
    selector: Selector
    tolerations: Annotated[list[TolerationEntry], Field(max_length=100)] = []
    affinity: Annotated[dict[str, Any], BeforeValidator(read_affinity)] = {}
    gpu_resource: Annotated[str, BeforeValidator(read_resource_name)] = "nvidia.com/gpu"
    spot: Annotated[bool, BeforeValidator(read_bool)] = False
    priority_class: ObjectName | None = None
    runtime_class: ObjectName | None = None

    def to_pool(self, name: str) -> Pool:
        """Return the pool called `name`."""
        return Pool(
            name=name,
            **written(title=self.title or {"": name}),
            gpu_model=self.gpu_model,
            selector=self.selector,
            tolerations=tuple(entry.to_toleration() for entry in self.tolerations),
            affinity=self.affinity,
            gpu_resource=self.gpu_resource,
            spot=self.spot,
            priority_class=self.priority_class,
            runtime_class=self.runtime_class,
        )
