"""``jhub-tokens account add|list|approve|password|admin|remove``: accounts with passwords."""

from __future__ import annotations

import argparse
import getpass
import sqlite3
import sys
from pathlib import Path

from jhub_authenticator.password_store import AccountError, PasswordStore
from jhub_tokens.commands import CommandError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``jhub-tokens account``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="make an approved account; asks for the password")
    add.add_argument("--admin", action="store_true", help="an administrator of the hub")
    password = actions.add_parser("password", help="set a new password; asks for it")
    admin = actions.add_parser("admin", help="make somebody an administrator of the hub")
    admin.add_argument(
        "--revoke",
        action="store_true",
        help="do not make them one again at a sign-in; the hub's admin page takes the right away",
    )
    approve = actions.add_parser("approve", help="let an account sign in")
    remove = actions.add_parser("remove", help="remove an account; the hub's user stays")
    listing = actions.add_parser("list", help="show the accounts, those that wait first")
    for action in (add, password, admin, approve, remove):
        action.add_argument("name", metavar="NAME")
    for action in (add, password):
        action.add_argument(
            "--password-stdin", action="store_true", help="read the password's one line from there"
        )
    for action in (add, password, admin, approve, remove, listing):
        action.add_argument(
            "--store",
            metavar="FILE",
            default="passwords.sqlite",
            help="the file of the accounts, PasswordAuthenticator.store_path; default: %(default)s",
        )


def run(args: argparse.Namespace) -> int:
    """Do what was asked of the accounts."""
    if args.action != "add" and not Path(args.store).is_file():
        raise CommandError(f"there are no accounts at {args.store}: check --store")
    store = PasswordStore(args.store)
    try:
        done = _act(store, args)
    except AccountError as error:
        raise CommandError(str(error)) from None
    except (OSError, sqlite3.Error) as error:
        raise CommandError(f"{args.store} cannot be used: {error}; check --store") from None
    print(done)
    return 0


def _act(store: PasswordStore, args: argparse.Namespace) -> str:
    match args.action:
        case "add":
            name = store.add(args.name, _password(args), admin=args.admin, approved=True)
            return f"account {name} made"
        case "password":
            store.set_password(args.name, _password(args))
            return f"password of {args.name} changed"
        case "admin":
            store.set_admin(args.name, not args.revoke)
            if args.revoke:
                return f"{args.name}: not made an administrator again; see the hub's admin page"
            return f"{args.name} is an administrator from the next sign-in on"
        case "approve":
            store.approve(args.name)
            return f"{args.name} may sign in"
        case "remove":
            if not store.remove(args.name):
                raise AccountError(f"There is no account {args.name}.")
            return f"account {args.name} removed"
    lines = [
        f"{account.name} "
        f"{'waiting' if not account.approved else 'admin' if account.admin else 'member'}"
        for account in store.accounts()
    ]
    return "\n".join(lines) or "no accounts"


def _password(args: argparse.Namespace) -> str:
    if args.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Again: "):
        raise CommandError("the two passwords differ")
    return password
