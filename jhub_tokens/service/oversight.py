"""What happens when administrators look at everybody: figures, lists, the fleet and the log."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from jhub_tokens.i18n import N_, _
from jhub_tokens.ledger.acts import ActFilter
from jhub_tokens.ledger.oversight import OversightBooks
from jhub_tokens.ledger.oversight_records import (
    Act,
    ActKind,
    ActsPage,
    Figures,
    Fleet,
    MemberFilter,
    MemberList,
    Place,
    Sort,
)
from jhub_tokens.service import texts
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.members import lacks_scope
from jhub_tokens.wire import HubFigures

T = TypeVar("T")

__all__ = [
    "ACT_TEXTS",
    "LOOK_AGAIN_MS",
    "LOOKS",
    "Cursor",
    "act_text",
    "acts",
    "figures",
    "fleet",
    "hub_figures",
    "list_members",
    "note",
    "read_place",
    "write_place",
]

#: Looking at the same page of the same member again within this is the same look.
LOOK_AGAIN_MS = 10 * 60_000
#: What administrators look at, as the log calls it.
LOOKS: Mapping[str, str] = {
    "member": N_("the member's page for administrators"),
    "statement": N_("the statement"),
    "as-member": N_("the overview, as the member sees it"),
    "members.csv": N_("the list of members as a file"),
    "audit.csv": N_("the audit log as a file"),
    "books": N_("the books as a file"),
}
#: What the log calls each kind of act.
ACT_TEXTS: Mapping[ActKind, str] = {
    "granted": N_("Granted"),
    "adjusted": N_("Corrected"),
    "refunded": N_("Refunded"),
    "plan_changed": N_("Plan changed"),
    "plan_kept": N_("Change of plan taken back"),
    "follows_rules": N_("Plan follows the rules again"),
    "frozen": N_("Frozen"),
    "unfrozen": N_("Unfrozen"),
    "stopped": N_("Server stopped"),
    "bulk": N_("Act on many members"),
    "looked": N_("Looked at"),
    "exported": N_("Downloaded"),
    "vouchers_made": N_("Vouchers made"),
    "vouchers_revoked": N_("Vouchers withdrawn"),
    "month_closed": N_("Month closed"),
    "erased": N_("Personal data erased"),
    "break_glass": N_("Break-glass opened"),
}
#: A cursor in an address: longer ones are made up.
_CURSOR_MAX = 1000


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins, as it stands in an address."""

    after: Place | None = None
    before: Place | None = None


def write_place(place: Place | None) -> str:
    """Return a place as a word for an address; empty for none."""
    if place is None:
        return ""
    return base64.urlsafe_b64encode(json.dumps(list(place)).encode()).decode().rstrip("=")


def read_place(text: str, kind: type) -> Place | None:
    """Return the place that a word means, None if it means none: a list then begins anew.

    Parameters
    ----------
    text
        The word.
    kind
        What the list is sorted by: a text or a number.
    """
    if not text or len(text) > _CURSOR_MAX:
        return None
    try:
        value, id_ = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError, binascii.Error):
        return None
    fits = type(value) is kind and isinstance(id_, str)
    if fits and kind is int and not -(1 << 63) <= value < 1 << 63:
        return None
    return (value, id_) if fits else None


async def figures(service: Service) -> Figures:
    """Return the key figures."""
    return await service.workers.read(service.books.ledger.oversight.figures)


async def hub_figures(service: Service) -> HubFigures:
    """Return the key figures as the hub's own admin page shows them."""
    found = await figures(service)
    return HubFigures(
        as_of_ms=found.as_of_ms,
        members=found.members,
        running=found.running,
        starting=found.starting,
        burn_mtok_h=found.burn_mtok_h,
        burn=texts.rate_text(found.burn_mtok_h) if found.burn_mtok_h else "0",
        dry_within_hour=found.dry_within_hour,
        balance_low=found.low,
    )


async def list_members(
    service: Service, caller: Caller, which: MemberFilter, sort: Sort, size: int, cursor: Cursor
) -> MemberList:
    """Return a page of members.

    Raises
    ------
    Problem
        If the caller may not read all.
    """
    return await _read(
        service,
        caller,
        lambda books: books.members(
            which, sort=sort, size=size, after=cursor.after, before=cursor.before
        ),
    )


async def fleet(
    service: Service, caller: Caller, profiles: tuple[str, ...] | None, after: Place | None
) -> Fleet:
    """Return what runs; see `list_members` for what is raised."""
    return await _read(service, caller, lambda books: books.fleet(profiles=profiles, after=after))


async def acts(
    service: Service, caller: Caller, which: ActFilter, size: int, after: Place | None
) -> ActsPage:
    """Return a page of the log; see `list_members` for what is raised."""
    return await _read(service, caller, lambda books: books.acts(which, size=size, after=after))


async def note(
    service: Service,
    caller: Caller,
    kind: ActKind,
    subject: str,
    member_id: str | None = None,
    *,
    once_in_ms: int = 0,
) -> None:
    """Write an act into the log; what cannot be noted is not done."""
    await service.workers.write(
        service.books.ledger.oversight.note,
        kind,
        caller.name,
        member_id=member_id,
        subject=subject,
        once_in_ms=once_in_ms,
    )


def act_text(act: Act) -> str:
    """Return what an act was about, beside its kind and its member."""
    match act.kind:
        case "looked" | "exported":
            return _(LOOKS[act.subject]) if act.subject in LOOKS else act.subject
        case "vouchers_made" | "vouchers_revoked":
            return act.subject[:8]
        case "stopped":
            return ""
        case _:
            return act.subject


async def _read(service: Service, caller: Caller, ask: Callable[[OversightBooks], T]) -> T:
    if not caller.may_read_all:
        raise lacks_scope("custom:jhub-tokens:read")
    return await service.workers.read(ask, service.books.ledger.oversight)
