"""Acts on many members: what is asked, what it would do, and carrying it out."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from jhub_tokens import i18n
from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger.oversight_records import Action, BulkLine
from jhub_tokens.ledger.records import MemberSummary
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.members import may_grant
from jhub_tokens.service.texts import amount_error_text, tokens_text
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, AmountError, parse_tokens_mtok

__all__ = [
    "CSV_BYTES_MAX",
    "LineProblem",
    "Previewed",
    "begin",
    "go_on",
    "lines_text",
    "parse_csv",
    "preview",
    "read_amount",
    "read_lines",
]

log = structlog.get_logger(__name__)

CSV_BYTES_MAX = 1 << 20
#: So long a form waits for its act; what is left goes on in the background.
_WAIT_S = 2.0
_WHENS: dict[str, Literal["now", "next"] | None] = {"": None, "now": "now", "next": "next"}
#: Tasks are kept here while they run; asyncio itself holds them weakly.
_tasks: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class LineProblem:
    """What is wrong with a line of a file."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Previewed:
    """What an act would do to one member."""

    member: MemberSummary
    line: BulkLine
    becomes: str
    warning: str  # why it will be refused as things stand; empty: it will not


# --- files -------------------------------------------------------------------------------------


async def parse_csv(
    service: Service, action: Action, text: str, lines_max: int
) -> tuple[list[BulkLine], list[LineProblem]]:
    """Read a file of members and what is to be done to each: lines, or what is wrong with it."""
    catalogue = service.books.catalogue
    wanted = "plan" if action == "plan" else "tokens"
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        return [], [LineProblem(reader.line_num, _("This is not CSV: %(why)s.", why=error))]
    if not rows:
        return [], [LineProblem(1, _("There is nothing in it."))]
    (first, header), *body = rows
    columns = {name.lower(): place for place, name in enumerate(header)}
    missing = [name for name in ("member", wanted) if name not in columns]
    if missing:
        message = _(
            "The first line must name the columns: %(columns)s.", columns=f"member,{wanted}"
        )
        return [], [LineProblem(first, message)]
    if not body:
        return [], [LineProblem(first, _("There is no line below the names of the columns."))]
    if len(body) > lines_max:
        message = _("One file has at most %(count)s lines; divide it.", count=f"{lines_max:,}")
        return [], [LineProblem(body[lines_max][0], message)]
    names = [_cell(cells, columns["member"]) for _line, cells in body]
    known = await service.workers.read(service.books.ledger.oversight.named, names)
    lines: list[BulkLine] = []
    problems: list[LineProblem] = []
    seen: dict[str, int] = {}
    for number, cells in body:
        found = _read_row(catalogue, action, columns, cells, known)
        if isinstance(found, str):
            problems.append(LineProblem(number, found))
            continue
        before = seen.setdefault(found.member_id, number)
        if before != number:
            message = _("This member stands in line %(line)s already.", line=before)
            problems.append(LineProblem(number, message))
        lines.append(found)
    return lines, problems


def _cell(cells: Sequence[str], place: int) -> str:
    return cells[place] if place < len(cells) else ""


def _read_row(
    catalogue: Catalogue,
    action: Action,
    columns: dict[str, int],
    cells: Sequence[str],
    known: dict[str, str],
) -> BulkLine | str:
    """Return what a line says, or what is wrong with it."""
    name = _cell(cells, columns["member"])
    if name not in known:
        return _("There is no member “%(name)s”.", name=name[:80])
    if action == "plan":
        plan = _cell(cells, columns["plan"])
        when = _cell(cells, columns["when"]).lower() if "when" in columns else ""
        if plan not in catalogue.plans:
            plans = ", ".join(catalogue.plans)
            return _(
                "There is no plan “%(plan)s”; there are %(plans)s.", plan=plan[:80], plans=plans
            )
        if when not in _WHENS:
            return _("“when” is now, next, or empty.")
        return BulkLine(known[name], plan=plan, when=_WHENS[when])
    amount = read_amount(_cell(cells, columns["tokens"]), action)
    return amount if isinstance(amount, str) else BulkLine(known[name], amount_grains=amount)


def read_amount(text: str, action: Action) -> int | str:
    """Return an amount in grains, or what is wrong with it."""
    try:
        grains = parse_tokens_mtok(text) * GRAINS_PER_MILLITOKEN
    except AmountError as error:
        return amount_error_text(error)
    if grains == 0:
        return _("The amount is zero: nothing would be booked.")
    if action == "topup" and grains < 0:
        return _("A top-up is positive. To take tokens back, book a correction.")
    return grains


# --- from one page to the next -----------------------------------------------------------------


def lines_text(lines: Iterable[BulkLine]) -> str:
    """Return lines as they stand in a form between preview and confirmation."""
    return "\n".join(
        ";".join(
            "" if value is None else str(value)
            for value in (
                line.member_id, line.amount_grains, line.plan, line.when, line.from_ms, line.to_ms,
            )
        )
        for line in lines
    )  # fmt: skip


def read_lines(text: str) -> list[BulkLine] | None:
    """Return the lines that a form holds, None if somebody has been at it."""
    lines = []
    for row in text.split("\n"):
        member_id, *values = [cell or None for cell in row.strip().split(";")]
        if member_id is None or len(values) != 5 or values[2] not in (None, "now", "next"):
            return None
        amount, plan, when, from_ms, to_ms = values
        try:
            numbers = [None if value is None else int(value) for value in (amount, from_ms, to_ms)]
        except ValueError:
            return None
        if any(value is not None and not -(1 << 63) <= value < 1 << 63 for value in numbers):
            return None
        lines.append(BulkLine(member_id, numbers[0], plan, _WHENS[when or ""], *numbers[1:]))
    return lines


# --- preview -----------------------------------------------------------------------------------


async def preview(service: Service, action: Action, lines: Sequence[BulkLine]) -> list[Previewed]:
    """Return what an act would do to each member as things stand."""
    oversight, catalogue = service.books.ledger.oversight, service.books.catalogue
    members = await service.workers.read(oversight.summaries, [line.member_id for line in lines])
    by_id = {summary.member.member_id: summary for summary in members}
    return [
        Previewed(by_id[line.member_id], line, *_becomes(catalogue, action, line, by_id))
        for line in lines
        if line.member_id in by_id
    ]


def _becomes(
    catalogue: Catalogue, action: Action, line: BulkLine, by_id: dict[str, MemberSummary]
) -> tuple[str, str]:
    """Return what becomes of a member, and why it will not."""
    now = by_id[line.member_id]
    state = now.member.state
    if state == "erased":
        return "", _("The member was erased.")
    match action:
        case "topup" | "adjustment":
            after = now.balance_grains + (line.amount_grains or 0)
            if after < 0:
                return "", _("There is less than that to take back.")
            return _("balance %(tokens)s", tokens=tokens_text(after)), ""
        case "plan":
            plan = catalogue.plans[line.plan or ""]
            if plan.name == now.member.plan:
                return "", _("The plan is %(plan)s already.", plan=plan.title)
            held = catalogue.plans.get(now.member.plan)
            bigger = held is None or plan.allotment_mtok > held.allotment_mtok
            if line.when == "now" and not bigger:
                return "", _("It has no more tokens: such a change waits for the next period.")
            at_once = line.when == "now" or (line.when is None and bigger and plan.upgrade == "now")
            return (
                _("plan %(plan)s, now", plan=plan.title)
                if at_once
                else _("plan %(plan)s, from the next period", plan=plan.title)
            ), ""
        case "freeze":
            if state == "frozen":
                return _("stays frozen"), ""
            return _("frozen; servers stopped: %(count)s", count=now.running), ""
        case "unfreeze":
            return (_("active again"), "") if state == "frozen" else (_("stays active"), "")
        case "stop":
            if not now.running:
                return "", _("No server of this member runs.")
            return _("servers stopped: %(count)s", count=now.running), ""
        case "refund":
            return _("what was used in that time is given back"), ""


# --- doing it ----------------------------------------------------------------------------------


async def begin(
    service: Service,
    caller: Caller,
    action: Action,
    lines: Sequence[BulkLine],
    reason: str,
    key: str,
) -> str:
    """Write an act down, begin with it and return its id; `caller` must be fresh from the hub.

    Raises
    ------
    Problem
        If the caller may not.
    LedgerError
        If it cannot be done, or the form was sent before with other content.
    """
    may_grant(caller)
    act_id = await service.workers.write(
        service.books.ledger.oversight.begin_bulk,
        action,
        lines,
        actor=caller.name,
        reason=reason,
        caller=caller.label,
        key=key,
    )
    log.info("bulk act", by=caller.label, act_id=act_id, action=action, members=len(lines))
    await go_on(service, act_id)
    return act_id


async def go_on(service: Service, act_id: str) -> None:
    """Carry out the lines that wait; wait a little for it."""
    task = asyncio.create_task(_carry_out(service, act_id), name=f"bulk-{act_id}")
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    await asyncio.wait({task}, timeout=_WAIT_S)


async def _carry_out(service: Service, act_id: str) -> None:
    i18n.speak(i18n.SOURCE)  # a task of its own: what it says goes to the log and the books
    oversight = service.books.ledger.oversight
    try:
        for line in await service.workers.read(oversight.waiting_lines, act_id):
            await service.workers.write(oversight.carry_out, act_id, line)
    except Exception as error:
        # What is done is noted line by line; the page of the act offers to go on.
        log.warning("bulk act broke off", act_id=act_id, error=str(error))
    finally:
        service.written(may_stop=True)
