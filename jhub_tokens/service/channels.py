"""What a channel is: something that sends one delivery, or says why it could not."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger.outbox import Delivery

__all__ = ["Channel", "NotSent"]


class NotSent(Exception):
    """A delivery was not sent.

    Parameters
    ----------
    message
        Why, for the operator.
    for_good
        Whether trying again cannot help.
    """

    def __init__(self, message: str, *, for_good: bool = False) -> None:
        super().__init__(message)
        self.for_good = for_good


class Channel(Protocol):
    """Sends deliveries of the channels that it names."""

    @property
    def names(self) -> Collection[str]:
        """The channels' names in the books."""
        ...

    async def send(self, delivery: Delivery, catalogue: Catalogue) -> None:
        """Send a delivery.

        Raises
        ------
        NotSent
            If it was not taken.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
