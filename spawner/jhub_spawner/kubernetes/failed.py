"""A start that the cluster did not carry out, told to the member like a refusal."""

from __future__ import annotations

from http import HTTPStatus

from jhub_spawner.kubernetes.causes import Cause
from jhub_spawner.refused import StartRefused
from jhub_tokens import wire

__all__ = ["StartFailed"]


class StartFailed(StartRefused):
    """A failed start with its cause and remedy.

    Like a refusal it does not count towards the hub's limit of failures in a row: a full cluster
    or a member's program that runs out of memory is no fault of the hub.
    """

    def __init__(self, cause: Cause) -> None:
        # It is the cluster's state that stands against it: hub and token service are well.
        super().__init__(
            wire.Refusal(code="unavailable", message=cause.message, remedy=cause.remedy),
            label=f"cluster_{cause.kind}",
            status=HTTPStatus.CONFLICT,
        )
        self.cause = cause
