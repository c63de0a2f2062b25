"""The command ``jhub-tokens``: picks a subcommand and turns its troubles into one clear line.

Exit codes: 0 done, 1 failed, 2 used wrongly, 130 interrupted. Every subcommand is a module of
`jhub_tokens.commands` and is only imported when it is asked for, so that ``check`` does not
pay for a database or a web server.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from jhub_tokens import __version__
from jhub_tokens.commands import COMMANDS, CommandError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a member's name must not stop a grant half-way.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except CommandError as error:
        _complain(str(error))
        return error.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone: say nothing, and keep Python from trying again when
        # it flushes at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="jhub-tokens",
        description="Monthly token allotments for JupyterHub.",
        epilog="`jhub-tokens COMMAND --help` explains each command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"jhub-tokens {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    run: Callable[[argparse.Namespace], int] | None = None
    for name, summary in COMMANDS.items():
        subparser = commands.add_parser(
            name, help=summary, description=f"{summary}.", allow_abbrev=False
        )
        if name == chosen:
            module: Any = importlib.import_module(f"jhub_tokens.commands.{name.replace('-', '_')}")
            module.add_arguments(subparser)
            run = module.run
    try:
        args = parser.parse_args(arguments)
    except SystemExit as exit_:  # argparse has said what is wrong, or has shown its help
        return exit_.code if isinstance(exit_.code, int) else 2
    if run is None:
        parser.print_help(sys.stderr)
        return 2
    return run(args)


def _complain(message: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(f"jhub-tokens: {message}", file=sys.stderr)
