"""``jhub-tokens status``: the last known state, in any terminal of the server."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_runtime_dir

from jhub_tokens_lab import state_file
from jhub_tokens_lab.words import duration, language_of, say

__all__ = ["main", "text_of"]

#: An answer this old is as good as new.
FRESH_MS = 120_000


def text_of(state: dict[str, Any] | None, language: str) -> str:
    """Return a state as a few lines."""
    if state is None or state["view"] is None:
        return say("unknown", language)
    view = state["view"]
    balance, allotment = _short(view["balance"]), _short(view["allotment"])
    burn = f"{view['burn_mtok_h'] / 1000:g}"
    lines = []
    age = duration(state["age_ms"], language)
    if state["problem"] in ("away", "refused"):
        lines.append(say(state["problem"], language, age=age))
    elif state["age_ms"] > FRESH_MS:
        lines.append(say("age", language, age=age))
    lines.append(say("balance", language, balance=balance, allotment=allotment, burn=burn))
    if view["session"] is not None:
        lines.append(say("cost", language, cost=_short(view["session"]["cost"])))
    if view["stopping"]:
        lines.append(say("stopping", language, reason=view["stopping"]))
    elif state["left_ms"] is not None:
        left = duration(state["left_ms"], language)
        lines.append(say("left", language, left=left, reason=view["end_reason"]))
    else:
        lines.append(say("no_end", language))
    if (state["keep_left_ms"] or 0) > 0:
        lines.append(say("kept", language, left=duration(state["keep_left_ms"], language)))
    return "\n".join(lines)


def _short(amount: dict[str, str]) -> str:
    """Return an amount for people, no longer than it need be."""
    whole, point, rest = amount["tokens"].partition(".")
    return f"{whole}{point}{rest[:2]}".rstrip("0").rstrip(".") if point else whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the state; 1 if nothing is known."""
    parser = argparse.ArgumentParser(
        prog="jhub-tokens status", description="Balance, burn and time left of this server."
    )
    parser.add_argument("--json", action="store_true", help="print everything, for programs")
    parser.add_argument("--server", help="name of another server of yours; default: this one")
    options = parser.parse_args(arguments)
    server = options.server
    if server is None:
        server = os.environ.get("JUPYTERHUB_SERVER_NAME")  # not there in SSH sessions
    state = state_file.read(Path(jupyter_runtime_dir()), server)
    if options.json:
        print(json.dumps(state, ensure_ascii=False, indent=1))
    else:
        locale = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
        known = state["language"] if state else "en"
        print(text_of(state, language_of(locale) if locale[:2] == "zh" else known))
    return 0 if state is not None else 1
