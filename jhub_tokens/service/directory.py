"""What happens when somebody hands in a sign-in provider's directory."""

from __future__ import annotations

import structlog

from jhub_tokens.catalogue import Account
from jhub_tokens.i18n import _
from jhub_tokens.ledger import Ledger
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import invalid
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.members import may_grant
from jhub_tokens.wire import DirectoryDone, DirectoryOrder

__all__ = ["sync", "sync_books"]

log = structlog.get_logger(__name__)


def sync_books(ledger: Ledger, order: DirectoryOrder) -> DirectoryDone:
    """Take a directory into the books.

    Raises
    ------
    Problem
        If an account is listed twice, or a complete list is empty.
    LedgerError
        If the list would suspend too many.
    """
    accounts: dict[str, Account] = {}
    gone: dict[str, str] = {}
    for place, item in enumerate(order.accounts):
        if item.name in accounts or item.name in gone:
            message = _("The account “%(name)s” is listed twice.", name=item.name[:80])
            raise invalid(f"accounts[{place}].name", message)
        if item.gone:
            gone[item.name] = item.gone
            continue
        claims = {**item.claims, "preferred_username": item.name}
        accounts[item.name] = Account.from_claims(claims, trust_email=order.trust_email)
    if order.complete and not order.accounts:
        message = _("The list is complete and empty: nobody would be left.")
        raise invalid("accounts", message)
    report = ledger.directory.sync(
        accounts, gone, complete=order.complete, force=order.force, dry_run=order.dry_run
    )
    return DirectoryDone(
        known=report.known,
        unknown=report.unknown,
        changed=list(report.changed),
        suspended=list(report.suspended),
        restored=list(report.restored),
    )


async def sync(service: Service, caller: Caller, order: DirectoryOrder) -> DirectoryDone:
    """Take a directory in on the caller's order; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not, or the list makes no sense.
    """
    may_grant(caller)
    done = await service.workers.write(sync_books, service.books.ledger, order)
    log.info(
        "directory taken in",
        by=caller.label,
        known=done.known,
        changed=len(done.changed),
        suspended=len(done.suspended),
        restored=len(done.restored),
        dry_run=order.dry_run,
    )
    service.written(may_stop=True)
    return done
