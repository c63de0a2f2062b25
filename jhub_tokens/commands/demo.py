"""``jhub-tokens demo``: a whole JupyterHub on this computer, to try everything out."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import Any

from jhub_tokens.catalogue import CatalogueError, load_catalogue, shipped_catalogue
from jhub_tokens.commands import CommandError
from jhub_tokens.demo.runner import DemoHub, stop_left_behind
from jhub_tokens.demo.state import default_state_dir, lock_state, prepare_state
from jhub_tokens.demo.tools import check_port_free, find_proxy_command, require_jupyterlab

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens demo``."""
    parser.add_argument("--port", type=int, default=8000, help="where to listen (default: 8000)")
    parser.add_argument(
        "--state",
        metavar="DIR",
        help=f"where books and members' files are kept (default: {default_state_dir()})",
    )
    parser.add_argument("--reset", action="store_true", help="begin anew: forget books and files")
    parser.add_argument("--catalogue", metavar="FILE", help="another catalogue than the demo's own")
    parser.add_argument(
        "--verbose", action="store_true", help="show the hub's log here instead of in a file"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo until Ctrl-C."""
    if not 1 <= args.port <= 65535:
        raise CommandError(f"--port: {args.port} is no port; write 1 to 65535", 2)
    catalogue_path = Path(args.catalogue) if args.catalogue else shipped_catalogue("demo")
    try:
        catalogue = load_catalogue(catalogue_path)
    except CatalogueError as error:
        raise CommandError(f"--catalogue: {error}") from None
    proxy_command = find_proxy_command()
    require_jupyterlab()
    state = (Path(args.state).expanduser() if args.state else default_state_dir()).resolve()
    with lock_state(state, reset=args.reset):
        stop_left_behind(state)
        check_port_free(args.port)
        settings = prepare_state(
            state,
            port=args.port,
            catalogue_path=catalogue_path.resolve(),
            catalogue=catalogue,
            proxy_command=proxy_command,
        )
        hub = DemoHub(settings, None if args.verbose else state / "hub.log")
        print("Starting JupyterHub …", flush=True)
        with hub.running():
            print(_welcome(hub, settings, catalogue.banner), flush=True)
            hub.wait()
            print("\nStopping the servers and the hub …", flush=True)
    print("Stopped. The books are kept; --reset begins anew.")
    return 0


def _welcome(hub: DemoHub, settings: dict[str, Any], banner: str) -> str:
    width = max(len(member["name"]) for member in settings["members"])
    lines = [
        "",
        f"  Open {hub.url}",
        "",
        f"  Sign in with the password {settings['password']} as one of",
        *(
            f"    {member['name']:<{width}}  {member['plan']}: {member['description']}"
            for member in settings["members"]
        ),
        "  or as any new name.",
        "",
        *textwrap.wrap(banner, 76, initial_indent="  ", subsequent_indent="  "),
        *([""] if banner else []),
        f"  State: {settings['state']}",
        f"  Audit: jhub-tokens audit --state {settings['state']}",
        "  Press Ctrl-C to stop.",
    ]
    problem = hub.service_problem()
    if problem:
        lines[1:1] = ["", f"  The token service is not ready: {problem}"]
    return "\n".join(lines)
