"""What all administrators' pages share: who may see them, forms, dates, files to download."""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from jhub_tokens.i18n import N_, _, retold
from jhub_tokens.ledger.records import LedgerError, MemberRecord
from jhub_tokens.service import members
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import Problem, problem_from
from jhub_tokens.service.export_text import safe_cell
from jhub_tokens.service.handlers.page import PageHandler
from jhub_tokens.service.instants import day_end_ms
from jhub_tokens.service.texts import instant_text
from jhub_tokens.units import AmountError

__all__ = ["AdminPage", "FormError", "field_errors", "field_text", "new_key"]

#: What is wrong with a form: raised by its parser, its fields or the books.
FormError = (ValidationError, LedgerError, AmountError, Problem)
#: What people are told at a field, in place of the parser's words.
_FIELD_TEXTS: Mapping[str, str] = {
    "tokens": N_("Write a number of tokens, such as 12 or 0.5."),
    "reason": N_("Give a reason of 3 to 500 characters; the member sees it in the statement."),
    "kind": N_("Choose one of the kinds."),
    "plan": N_("Choose one of the plans."),
    "when": N_("Choose when."),
    "count": N_("Write a whole number from 1 to 10000."),
    "expires": N_("Write a day such as 2027-03-31, or leave it empty."),
    "tokens_last_days": N_("Write whole days, from 1 to 3660, or leave it empty."),
    "note": N_("Write at most 500 characters."),
    "month": N_("Write a month such as 2026-11."),
    "from_month": N_("Write a month such as 2026-11."),
    "to_month": N_("Write a month such as 2026-11."),
}


def field_text(name: str) -> str:
    """Return what to say at a field that is not filled in as it must be."""
    text = _FIELD_TEXTS.get(name)
    return _(text) if text else _("Reload the page and try again.")


def new_key() -> str:
    """Return a key for a form that is shown: sending it twice does it once."""
    return secrets.token_urlsafe(16)


class AdminPage(PageHandler):
    """A page for those who may read every member's books."""

    active = "admin"
    area = "admin"

    async def prepare(self) -> None:
        """Let administrators through only."""
        await super().prepare()
        if self.caller is not None and not self.caller.may_read_all:
            raise Problem(
                403,
                "forbidden",
                _("This page is for administrators."),
                remedy=_("Your own balance is on the page Balance."),
            )

    async def fresh_caller(self) -> Caller:
        """Return the caller as the hub knows them this moment, if they may move tokens."""
        caller = await self.recheck()
        if not caller.may_grant:
            raise Problem(403, "forbidden", _("You may not do this any more; nothing was done."))
        return caller

    async def member_of(self, member_id: str) -> MemberRecord:
        """Return the member, or say that there is none."""
        return await members.readable_member(self.service, self.person, member_id)

    def argument(self, name: str) -> str:
        """Return a value of the address or the form without the blanks around it."""
        return str(self.get_argument(name, "")).strip()

    def instant(self, at_ms: int | None) -> str:
        """Return an instant for people, a dash for none."""
        if at_ms is None:
            return "–"
        return instant_text(at_ms, self.service.clock.now_ms(), self.zone)

    @property
    def zone(self) -> str:
        """The billing zone."""
        return self.service.books.catalogue.zone

    def day_end(self, field: str) -> int | None:
        """Return the end of the day in a query's field, None if it is empty or none."""
        text = self.argument(field)
        try:
            return day_end_ms(text, self.zone) if text else None
        except (ValueError, OverflowError):
            return None

    def send_csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Answer with a file."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(header)
        for row in rows:
            writer.writerow([safe_cell(str(cell)) if cell is not None else "" for cell in row])
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        self.finish(text.getvalue())

    def show(self, template: str, status: int = 200, **values: Any) -> None:
        """Answer with a page; all of them can tell instants and show a form anew."""
        blank = {"errors": {}, "kept": {}, "key": new_key()}
        shared = {"instant": self.instant, "retold": retold, **blank}
        super().show(template, status, **{**shared, **values})


def field_errors(error: Exception, default: str) -> dict[str, str]:
    """Return what to show at which field of a form.

    Parameters
    ----------
    error
        One of `FormError`.
    default
        The field for what is about none.

    Raises
    ------
    Exception
        The error itself, if it is not about what was typed.
    """
    if isinstance(error, ValidationError):
        found: dict[str, str] = {}
        for item in error.errors():
            name = str(item["loc"][0]) if item["loc"] else default
            found[name] = field_text(name)
        return found
    problem = problem_from(error)
    if problem.status in (403, 404, 500, 503):
        raise error
    if problem.code == "idempotency_conflict":
        message = _(
            "This form was booked before with other content. See the statement; "
            "if you want this one booked as well, send it now."
        )
        return {"key": message}
    return {problem.field or default: problem.message}
