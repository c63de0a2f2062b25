"""Administrators' pages: the members' list, and one member with the forms for grant and freeze."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from math import ceil

from pydantic import ValidationError

from jhub_tokens.ledger.records import LedgerError, MemberRecord
from jhub_tokens.service import members
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import Problem, problem_from
from jhub_tokens.service.handlers.page import PageHandler
from jhub_tokens.service.handlers.pages import console_view, statement_view
from jhub_tokens.service.models import FreezeOrder, MembersQuery, StatementQuery
from jhub_tokens.service.operations import query_values
from jhub_tokens.service.texts import tokens_text
from jhub_tokens.units import AmountError, parse_tokens_mtok
from jhub_tokens.wire import GrantOrder

__all__ = [
    "AdminFreezePage",
    "AdminGrantPage",
    "AdminMemberPage",
    "AdminMembersPage",
    "AdminStatementPage",
    "AdminUnfreezePage",
]

#: What people are told at a field, in place of the parser's words.
_FIELD_TEXTS = {
    "tokens": "Write a number of tokens, such as 12 or 0.5.",
    "reason": "Give a reason of 3 to 500 characters; the member sees it in the statement.",
    "kind": "Choose one of the kinds.",
}


class _AdminPage(PageHandler):
    """A page for those who may read every member's books."""

    active = "admin"

    async def prepare(self) -> None:
        """Let administrators through only."""
        await super().prepare()
        if self.caller is not None and not self.caller.may_read_all:
            raise Problem(
                403,
                "forbidden",
                "This page is for administrators.",
                remedy="Your own balance is on the page Balance.",
            )

    async def show_member(
        self,
        member: MemberRecord,
        *,
        status: int = 200,
        errors: Mapping[str, str] | None = None,
        kept: Mapping[str, str] | None = None,
    ) -> None:
        """Show a member with the forms; `kept` is what was typed, `errors` what is wrong in it."""
        self.show(
            "member.html",
            status,
            view=await console_view(self.service, member),
            member=member,
            # A new key for each form shown: sending one form twice books once.
            key=secrets.token_urlsafe(16),
            errors=errors or {},
            kept=kept or {},
        )

    async def fresh_caller(self) -> Caller:
        """Return the caller as the hub knows them this moment, if they may move tokens."""
        caller = await self.recheck()
        if not caller.may_grant:
            raise Problem(403, "forbidden", "You may not do this any more; nothing was done.")
        return caller

    async def member_of(self, member_id: str) -> MemberRecord:
        """Return the member, or say that there is none."""
        return await members.readable_member(self.service, self.person, member_id)


class AdminMembersPage(_AdminPage):
    """The members' list."""

    async def get(self) -> None:
        """Show one page of the list."""
        query = MembersQuery.model_validate(query_values(MembersQuery, self.request))
        page = await members.list_members(self.service, self.person, query)
        pages = max(1, ceil(page.total / page.page_size))
        self.show("admin.html", page=page, query=query, pages=pages)


class AdminMemberPage(_AdminPage):
    """One member."""

    async def get(self, member_id: str) -> None:
        """Show the member's console as the administrator sees it."""
        await self.show_member(await self.member_of(member_id))


class AdminStatementPage(_AdminPage):
    """One member's statement."""

    async def get(self, member_id: str) -> None:
        """Show the statement."""
        query = StatementQuery.model_validate(query_values(StatementQuery, self.request))
        member = await self.member_of(member_id)
        view = await statement_view(self.service, member, query.period)
        self.show("statement.html", view=view, member=member)


class AdminGrantPage(_AdminPage):
    """The grant form's target."""

    async def post(self, member_id: str) -> None:
        """Book the grant and go back to the member, or show the form with what is wrong."""
        caller = await self.fresh_caller()
        member = await self.member_of(member_id)
        kept = {name: self.field(name) for name in ("tokens", "reason", "kind")}
        try:
            order = GrantOrder.model_validate({**kept, "key": self.field("key")})
            receipt = await members.book_grant(self.service, caller, member_id, order)
        except (ValidationError, LedgerError, AmountError, Problem) as error:
            # Everything that is wrong at once, not one field after the other.
            errors = {**_field_errors(error), **_amount_error(kept["tokens"])}
            await self.show_member(
                member, status=problem_from(error).status, errors=errors, kept=kept
            )
            return
        amount = receipt.amount.exact_grains
        what = (
            f"{tokens_text(amount)} granted to {member.name}"
            if amount > 0
            else f"{tokens_text(-amount)} taken back from {member.name}"
        )
        balance = tokens_text(receipt.balance.exact_grains)
        self.redirect_with(f"admin/members/{member_id}", f"{what}. New balance: {balance}.")


class AdminFreezePage(_AdminPage):
    """The freeze form's target."""

    frozen = True

    async def post(self, member_id: str) -> None:
        """Freeze or unfreeze, and go back to the member, or show the form with what is wrong."""
        caller = await self.fresh_caller()
        member = await self.member_of(member_id)
        reason = self.field("freeze_reason")
        try:
            order = FreezeOrder(reason=reason)
        except ValidationError:
            await self.show_member(
                member,
                status=422,
                errors={"freeze_reason": _FIELD_TEXTS["reason"]},
                kept={"freeze_reason": reason},
            )
            return
        await members.set_frozen(self.service, caller, member_id, order, frozen=self.frozen)
        done = "is frozen" if self.frozen else "is active again"
        self.redirect_with(f"admin/members/{member_id}", f"{member.name} {done}.")


class AdminUnfreezePage(AdminFreezePage):
    """The unfreeze form's target."""

    frozen = False


def _amount_error(text: str) -> dict[str, str]:
    try:
        parse_tokens_mtok(text)
    except AmountError:
        return {"tokens": _FIELD_TEXTS["tokens"]}
    return {}


def _field_errors(error: ValidationError | LedgerError | AmountError | Problem) -> dict[str, str]:
    """Return what to show at which field of the grant form."""
    if isinstance(error, ValidationError):
        fields = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
        return {name: _FIELD_TEXTS.get(name, "Reload the page and try again.") for name in fields}
    problem = problem_from(error)
    if problem.status in (403, 404, 500, 503):
        raise error
    if problem.code == "idempotency_conflict":
        return {
            "key": "This form was booked before with other content. See the statement; "
            "if you want this one booked as well, send it now."
        }
    return {problem.field or "tokens": problem.message}
