"""One member: what there is to see, and everything that can be done about one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.service import members, money, oversight, plans
from jhub_tokens.service.auth import Caller
from jhub_tokens.service.errors import problem_from
from jhub_tokens.service.handlers.admin.base import AdminPage, FormError, field_errors
from jhub_tokens.service.handlers.pages import console_view, statement_view
from jhub_tokens.service.models import FreezeOrder, StatementQuery
from jhub_tokens.service.operations import query_values
from jhub_tokens.service.texts import amount_error_text, tokens_text
from jhub_tokens.units import AmountError, parse_tokens_mtok
from jhub_tokens.wire import GrantOrder, PlanOrder
from jhub_tokens.wire.money import RefundOrder

__all__ = [
    "AsMemberPage",
    "FollowRulesPage",
    "FreezePage",
    "GrantPage",
    "MemberPage",
    "PlanPage",
    "PlanRevokePage",
    "RefundPage",
    "StatementPage",
    "StopPage",
    "UnfreezePage",
]

#: Sessions that are listed, and can be refunded, on a member's page.
_SESSIONS = 25


class _OneMember(AdminPage):
    async def show_member(
        self,
        member: MemberRecord,
        *,
        status: int = 200,
        form: str = "",
        errors: Mapping[str, str] | None = None,
        kept: Mapping[str, str] | None = None,
    ) -> None:
        """Show a member; `errors` and `kept` (what was typed) belong to the form `form`."""
        ledger = self.service.books.ledger
        read = self.service.workers.read
        changes = await plans.changes(self.service, member)
        self.show(
            "admin/member.html",
            status,
            view=await console_view(self.service, member),
            member=member,
            past=await read(ledger.oversight.sessions, member.member_id, _SESSIONS),
            changes=changes.changes,
            plans=self.service.books.catalogue.plans,
            profiles=self.service.books.catalogue.profiles,
            form=form,
            errors=errors or {},
            kept=kept or {},
        )

    async def look(self, member: MemberRecord, what: str) -> None:
        """Note in the log that the caller looks at a member's page."""
        await oversight.note(
            self.service,
            self.person,
            "looked",
            what,
            member.member_id,
            once_in_ms=oversight.LOOK_AGAIN_MS,
        )

    def back(self, member_id: str, message: str) -> None:
        """Go back to the member and say what was done."""
        self.redirect_with(f"admin/members/{member_id}", message)


class MemberPage(_OneMember):
    """One member."""

    async def get(self, member_id: str) -> None:
        """Show the member; the look is noted."""
        member = await self.member_of(member_id)
        await self.look(member, "member")
        await self.show_member(member)


class StatementPage(_OneMember):
    """One member's statement."""

    async def get(self, member_id: str) -> None:
        """Show the statement; the look is noted."""
        query = StatementQuery.model_validate(query_values(StatementQuery, self.request))
        member = await self.member_of(member_id)
        view = await statement_view(self.service, member, query.period)
        await self.look(member, "statement")
        self.show("statement.html", view=view, member=member, categories={})


class AsMemberPage(_OneMember):
    """What a member sees."""

    async def get(self, member_id: str) -> None:
        """Show the member's own overview, marked, with every form switched off."""
        member = await self.member_of(member_id)
        view = await console_view(self.service, member)
        await self.look(member, "as-member")
        self.show("admin/as_member.html", view=view, watched=member)


class _Form(_OneMember):
    """A form's target: does it and goes back, or shows the form with what is wrong."""

    form: ClassVar[str]
    fields: ClassVar[tuple[str, ...]]
    default_field: ClassVar[str] = "reason"

    async def post(self, member_id: str) -> None:
        """Do what the form says, if the caller may this moment."""
        caller = await self.fresh_caller()
        member = await self.member_of(member_id)
        kept = {name: self.field(name) for name in self.fields}
        try:
            done = await self.act(caller, member, kept)
        except FormError as error:
            errors = {**field_errors(error, self.default_field), **self.more_errors(kept)}
            await self.show_member(
                member,
                status=problem_from(error).status,
                form=self.form,
                errors=errors,
                kept=kept,
            )
            return
        self.back(member_id, done)

    async def act(self, caller: Caller, member: MemberRecord, kept: Mapping[str, str]) -> str:
        """Do it and return what to say."""
        raise NotImplementedError

    def more_errors(self, kept: Mapping[str, str]) -> dict[str, str]:
        """Return what else is wrong: everything at once, not one field after the other."""
        return {}


class GrantPage(_Form):
    """The grant form's target."""

    form = "grant"
    fields = ("tokens", "reason", "kind")
    default_field = "tokens"

    async def act(self, caller: Caller, member: MemberRecord, kept: Mapping[str, str]) -> str:
        """Book the grant."""
        order = GrantOrder.model_validate({**kept, "key": self.field("key")})
        receipt = await members.book_grant(self.service, caller, member.member_id, order)
        amount = receipt.amount.exact_grains
        balance = tokens_text(receipt.balance.exact_grains)
        if amount > 0:
            return _(
                "%(tokens)s granted to %(name)s. New balance: %(balance)s.",
                tokens=tokens_text(amount), name=member.name, balance=balance,
            )  # fmt: skip
        return _(
            "%(tokens)s taken back from %(name)s. New balance: %(balance)s.",
            tokens=tokens_text(-amount), name=member.name, balance=balance,
        )  # fmt: skip

    def more_errors(self, kept: Mapping[str, str]) -> dict[str, str]:
        """Tell of an amount that is none whatever else is wrong."""
        return _amount_error(kept["tokens"])


class FreezePage(_Form):
    """The freeze form's target."""

    form = "freeze"
    fields = ("reason",)
    frozen: ClassVar[bool] = True

    async def act(self, caller: Caller, member: MemberRecord, kept: Mapping[str, str]) -> str:
        """Freeze or unfreeze."""
        order = FreezeOrder(reason=kept["reason"])
        await members.set_frozen(self.service, caller, member.member_id, order, frozen=self.frozen)
        if self.frozen:
            return _("%(name)s is frozen.", name=member.name)
        return _("%(name)s is active again.", name=member.name)


class UnfreezePage(FreezePage):
    """The unfreeze form's target."""

    frozen = False


class PlanPage(_Form):
    """The plan form's target."""

    form = "plan"
    fields = ("plan", "when", "reason")
    default_field = "plan"

    async def act(self, caller: Caller, member: MemberRecord, kept: Mapping[str, str]) -> str:
        """Change the plan."""
        order = PlanOrder.model_validate({**kept, "when": kept["when"] or None})
        done = await plans.change(self.service, caller, member.member_id, order)
        plan = self.service.books.catalogue.plans.get(done.plan)
        title = plan.title if plan else done.plan
        if done.applied_ms is not None:
            return _("%(name)s has the plan %(plan)s now.", name=member.name, plan=title)
        return _(
            "%(name)s will have the plan %(plan)s from %(at)s on.",
            name=member.name, plan=title, at=self.instant(done.at_ms),
        )  # fmt: skip


class PlanRevokePage(_Form):
    """Takes a scheduled change back."""

    form = "changes"
    fields = ("change_id",)
    default_field = "changes"

    async def act(self, caller: Caller, member: MemberRecord, kept: Mapping[str, str]) -> str:
        """Take the change back."""
        done = await plans.revoke(self.service, caller, member.member_id, kept["change_id"])
        await oversight.note(self.service, caller, "plan_kept", done.plan, member.member_id)
        return _("%(name)s keeps the plan.", name=member.name)


class FollowRulesPage(_Form):
    """Lets the catalogue's rules decide again."""

    form = "changes"
    fields = ()
    default_field = "changes"

    async def act(self, caller: Caller, member: MemberRecord, kept: Mapping[str, str]) -> str:
        """Let the rules decide."""
        await plans.follow_rules(self.service, caller, member.member_id)
        await oversight.note(self.service, caller, "follows_rules", "", member.member_id)
        return _("The catalogue's rules decide the plan of %(name)s again.", name=member.name)


class RefundPage(_Form):
    """The refund form's target."""

    form = "refund"
    fields = ("session_id", "tokens", "reason")
    default_field = "tokens"

    async def act(self, caller: Caller, member: MemberRecord, kept: Mapping[str, str]) -> str:
        """Refund one session, all of it if no amount is given."""
        order = RefundOrder.model_validate(
            {
                "tokens": kept["tokens"] or None,
                "reason": kept["reason"],
                "key": self.field("key"),
            }
        )
        receipt = await money.refund(self.service, caller, kept["session_id"], order)
        return _(
            "%(tokens)s refunded to %(name)s. New balance: %(balance)s.",
            tokens=tokens_text(receipt.amount.exact_grains), name=member.name,
            balance=tokens_text(receipt.balance.exact_grains),
        )  # fmt: skip

    def more_errors(self, kept: Mapping[str, str]) -> dict[str, str]:
        """Tell of an amount that is none whatever else is wrong."""
        return _amount_error(kept["tokens"]) if kept["tokens"] else {}


class StopPage(_Form):
    """Stops one server."""

    form = "stop"
    fields = ("session_id",)
    default_field = "stop"

    async def act(self, caller: Caller, member: MemberRecord, kept: Mapping[str, str]) -> str:
        """Order the server to stop."""
        await members.order_stop(self.service, caller, kept["session_id"])
        return _("A server of %(name)s was ordered to stop.", name=member.name)


def _amount_error(text: str) -> dict[str, str]:
    try:
        parse_tokens_mtok(text)
    except AmountError as error:
        return {"tokens": amount_error_text(error)}
    return {}
