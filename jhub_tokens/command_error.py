"""What any part that a command calls may raise: a sentence for the person at the terminal."""

from __future__ import annotations

__all__ = ["CommandError"]


class CommandError(Exception):
    """A command cannot do what it was asked; the message says why and what to do.

    Parameters
    ----------
    message
        One line for the person at the terminal.
    code
        Exit code: 1 for a failure, 2 for wrong usage.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
