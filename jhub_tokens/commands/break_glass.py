"""``jhub-tokens break-glass``: let starts through while the token service is down.

It works on the hub's state directory alone, and so without the service.
"""

from __future__ import annotations

import argparse
import os
import pwd
import time
from datetime import datetime
from pathlib import Path

from jhub_tokens.commands import CommandError
from jhub_tokens.commands.books import print_json
from jhub_tokens.hub.acts import Act, ActError, ActFiles
from jhub_tokens.hub.private_files import UntrustedFile

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens break-glass``."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--minutes", type=int, help="let starts through for so long")
    what.add_argument("--end", action="store_true", help="let no more through")
    what.add_argument("--status", action="store_true", help="say what is open")
    parser.add_argument("--reason", default="", help="why, for the record")
    parser.add_argument(
        "--profiles",
        metavar="NAME[,NAME]",
        help="what may be started (default: what the default plan includes)",
    )
    parser.add_argument(
        "--max-servers", type=int, metavar="N", help="so many at once (default: any number)"
    )
    parser.add_argument(
        "--per-member", type=int, metavar="N", default=1, help="so many each (default: 1)"
    )
    parser.add_argument("--by", default="", help="who you are, where the account does not tell")
    parser.add_argument(
        "--state-dir",
        default=os.environ.get("JHUB_TOKENS_STATE_DIR", "jhub-tokens"),
        help="the hub's state_dir (default: JHUB_TOKENS_STATE_DIR, or ./jhub-tokens)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Open, end or show."""
    state_dir = Path(args.state_dir).expanduser()
    if not state_dir.is_dir():
        raise CommandError(
            f"there is no directory {state_dir}; name the hub's state_dir with --state-dir"
        )
    files = ActFiles(state_dir)
    now_ms = time.time_ns() // 1_000_000
    try:
        if args.status:
            return _status(args, files, now_ms)
        act = files.end(now_ms=now_ms, actor=_actor(args)) if args.end else _open(args, files)
    except ActError as error:
        raise CommandError(str(error), 1 if args.end else 2) from None
    except (OSError, UntrustedFile) as error:
        raise CommandError(
            f"{error}; run this as the hub's user or root on the hub's machine"
        ) from None
    if args.json:
        print_json(_facts(act, now_ms))
    elif args.end:
        print("ended: no start goes through unasked any more; what runs goes on and is metered")
    else:
        print(
            f"open until {_local(act.until_ms)}: while the token service cannot be reached, "
            "starts go through and are metered afterwards\n"
            "end it with: jhub-tokens break-glass --end"
        )
    return 0


def _open(args: argparse.Namespace, files: ActFiles) -> Act:
    for name, number in (("--max-servers", args.max_servers), ("--per-member", args.per_member)):
        if number is not None and not 1 <= number <= 1_000_000:
            raise CommandError(f"{name}: give 1 or more", 2)
    if not args.reason.strip():
        raise CommandError("--reason is missing: say why, for the record", 2)
    profiles = None
    if args.profiles is not None:
        profiles = [name.strip() for name in args.profiles.split(",") if name.strip()]
        if not profiles:
            raise CommandError("--profiles: name one or more, such as cpu,gpu", 2)
    now_ms = time.time_ns() // 1_000_000
    return files.open(
        now_ms=now_ms,
        until_ms=now_ms + args.minutes * 60_000,
        actor=_actor(args),
        reason=args.reason,
        profiles=profiles,
        servers_max=args.max_servers,
        member_servers_max=args.per_member,
    )


def _status(args: argparse.Namespace, files: ActFiles, now_ms: int) -> int:
    acts, problems = files.read()
    if args.json:
        print_json({"acts": [_facts(act, now_ms) for act in acts], "refused": problems})
        return 0
    for problem in problems:
        print(f"refused: {problem}")
    for act in acts:
        state = "open" if act.is_open(now_ms) else "ended early" if act.ended_ms else "over"
        print(f"{state}: until {_local(act.until_ms)}, by {act.actor}: {act.reason}")
    if not any(act.is_open(now_ms) for act in acts):
        print("closed: starts need the token service")
    return 0


def _actor(args: argparse.Namespace) -> str:
    try:
        account = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        account = f"uid {os.getuid()}"
    before = os.environ.get("SUDO_USER")
    sudo = f" (sudo: {before})" if before and os.getuid() == 0 else ""
    # In a container everybody is the same user.
    says = f" (says: {args.by.strip()})" if args.by.strip() else ""
    return f"{account}{sudo}{says}"


def _facts(act: Act, now_ms: int) -> dict[str, object]:
    return {
        "act_id": act.act_id,
        "open": act.is_open(now_ms),
        "opened_ms": act.opened_ms,
        "until_ms": act.until_ms,
        "actor": act.actor,
        "reason": act.reason,
        "profiles": act.profiles,
        "ended_ms": act.ended_ms,
        "ended_by": act.ended_by,
    }


def _local(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).astimezone().isoformat(" ", "seconds")
