"""``jhub-tokens serve``: run the token service."""

from __future__ import annotations

from jhub_tokens.service.serve import add_arguments, run

__all__ = ["add_arguments", "run"]
