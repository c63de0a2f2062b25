"""``jhub-tokens status``: how the server in whose terminal this runs stands.

The work is done by the JupyterLab extension's distribution, which is in members' servers, where
this package is not needed: images have a ``jhub-tokens`` of their own that knows this one command.
"""

from __future__ import annotations

import argparse
import importlib

from jhub_tokens.commands import CommandError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens status``."""
    parser.add_argument("--json", action="store_true", help="write JSON for programs")
    parser.add_argument("--server", help="name of another server of yours; default: this one")


def run(args: argparse.Namespace) -> int:
    """Print the state; return 1 if nothing is known."""
    try:
        status = importlib.import_module("jhub_tokens_lab.status")
    except ImportError:
        raise CommandError(
            "status is for terminals of members' servers, where jhub-tokens-lab is installed"
        ) from None
    arguments = ["--json"] if args.json else []
    if args.server is not None:
        arguments += ["--server", args.server]
    code: int = status.main(arguments)
    return code
