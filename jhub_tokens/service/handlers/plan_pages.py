"""A member's page Plan: the plans side by side, changes with what they come to, tokens to buy."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import cast, get_args

from pydantic import ValidationError

from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import LedgerError, MemberRecord
from jhub_tokens.ledger.self_service import Act
from jhub_tokens.service import money, paying, plan_choice, team_view
from jhub_tokens.service.errors import Problem, problem_from
from jhub_tokens.service.handlers.account_page import AccountPage
from jhub_tokens.service.plan_confirmation import Confirmation
from jhub_tokens.service.plan_words import invoice_state, money_text, price_text, title_of
from jhub_tokens.service.texts import instant_text, tokens_text
from jhub_tokens.units import GRAINS_PER_MILLITOKEN, AmountError, parse_tokens_mtok
from jhub_tokens.wire.money import RedeemOrder
from jhub_tokens.wire.payments import FeeOrder, InvoiceOrder, InvoiceRow

__all__ = [
    "FeePage",
    "InvoicePage",
    "PlanChangePage",
    "PlanKeepPage",
    "PlanPage",
    "PlanVoucherPage",
    "TopUpPage",
]


class _PlanPage(AccountPage):
    """A page of the area Plan."""

    active = "plan"

    async def show_plan(
        self,
        member: MemberRecord,
        *,
        status: int = 200,
        errors: Mapping[str, str] | None = None,
        kept: Mapping[str, str] | None = None,
    ) -> None:
        """Show everything; `kept` is what was typed, `errors` what is wrong in it."""
        view = await plan_choice.plan_view(self.service, member)
        found = await paying.list_invoices(self.service, self.person, member.member_id)
        owned = [
            team
            for team in self.service.books.catalogue.teams.values()
            if self.person.name in team.owners
        ]
        self.show(
            "account/plan.html",
            status,
            view=view,
            invoices=[self.invoice_line(invoice) for invoice in found.invoices],
            owned=owned,
            invitations=await team_view.invitations_for(self.service, member),
            errors=errors or {},
            kept=kept or {},
        )

    def invoice_line(self, invoice: InvoiceRow) -> dict[str, str]:
        """Return an invoice for people."""
        zone, now_ms = self.service.books.catalogue.zone, self.service.clock.now_ms()
        return {
            "id": invoice.invoice_id,
            "number": invoice.invoice_id[:8],
            "at": instant_text(invoice.created_at_ms, now_ms, zone),
            "tokens": tokens_text(invoice.amount.exact_grains),
            "price": money_text(invoice.price_minor, invoice.currency),
            "state": invoice_state(invoice),
            "paid": instant_text(invoice.paid_at_ms, now_ms, zone) if invoice.paid_at_ms else "",
            "url": invoice.checkout_url,
            "provider": invoice.provider,
        }

    def ask(self, found: Confirmation, action: str, hidden: Mapping[str, str]) -> None:
        """Show what something comes to, with the form that does it."""
        self.show(
            "account/confirm.html",
            found=found,
            action=action,
            hidden={**hidden, "key": secrets.token_hex(16)},
        )


class PlanPage(_PlanPage):
    """The plans side by side."""

    async def get(self) -> None:
        """Show the signed-in member's plan beside the others."""
        await self.show_plan(await self.own())


class PlanChangePage(_PlanPage):
    """A change of plan: first what it comes to, then doing it."""

    async def get(self) -> None:
        """Show what the change comes to."""
        member = await self.own()
        act, plan = self.asked("act"), self.asked("plan")
        found = await plan_choice.confirmation(self.service, member, act, plan)
        self.ask(found, "plan/change", {"act": act, "plan": plan})

    async def post(self) -> None:
        """Do it."""
        member, act = await self.own(), self.field("act")
        if act not in get_args(Act):
            raise Problem(422, "invalid", _("There is no such change."), field="act")
        done = await plan_choice.choose(
            self.service,
            self.person,
            member,
            cast("Act", act),
            self.field("plan"),
            self.form_key(),
        )
        catalogue, now_ms = self.service.books.catalogue, self.service.clock.now_ms()
        title = title_of(catalogue, done.plan)
        if done.kind == "trial":
            said = _("Your trial of %(plan)s has begun.", plan=title)
        elif done.applied_ms is not None:
            said = _("Your plan is now %(plan)s.", plan=title)
        else:
            when = instant_text(done.at_ms, now_ms, catalogue.zone)
            said = _("Your plan changes to %(plan)s %(when)s.", plan=title, when=when)
        self.redirect_with("plan", said)


class PlanKeepPage(_PlanPage):
    """Taking a change back that waits."""

    async def post(self) -> None:
        """Keep the present plan."""
        await plan_choice.keep(self.service, await self.own(), self.field("change_id"))
        self.redirect_with("plan", _("The change is taken back; your plan stays as it is."))


class PlanVoucherPage(_PlanPage):
    """The target of the voucher form."""

    async def post(self) -> None:
        """Redeem, or show the form with what is wrong."""
        member, code = await self.own(), self.field("code")
        try:
            receipt = await money.redeem(self.service, self.person, RedeemOrder(code=code))
        except (ValidationError, LedgerError) as error:
            problem = problem_from(error)
            typing = isinstance(error, ValidationError)
            message = _("Write the voucher's code.") if typing else problem.message
            await self.show_plan(
                member, status=problem.status, errors={"code": message}, kept={"code": code}
            )
            return
        said = _(
            "%(amount)s added. New balance: %(balance)s.",
            amount=tokens_text(receipt.amount.exact_grains),
            balance=tokens_text(receipt.balance.exact_grains),
        )
        self.redirect_with("plan", said)


class TopUpPage(_PlanPage):
    """Buying tokens: first what is charged, then the order."""

    async def get(self) -> None:
        """Show what is charged."""
        await self.own()
        tokens = self.asked("tokens")
        self.ask(self._offered(tokens), "plan/top-up", {"tokens": tokens})

    async def post(self) -> None:
        """Write the invoice, and show where to pay it."""
        await self.own()
        order = InvoiceOrder(tokens=self.field("tokens")[:20], key=self.form_key())
        invoice = await paying.order_top_up(self.service, self.person, "me", order)
        # Not straight to the provider: no form of ours may lead elsewhere.
        self.redirect(
            f"{self.service.settings.base_url}plan/invoices/{invoice.invoice_id}", status=303
        )

    def _offered(self, tokens: str) -> Confirmation:
        try:
            amount_mtok = parse_tokens_mtok(tokens)
        except AmountError:
            amount_mtok = 0
        offers = self.service.books.catalogue.top_ups
        offer = next((offer for offer in offers if offer.amount_mtok == amount_mtok), None)
        provider = self.service.payments
        if offer is None or provider is None:
            raise Problem(
                404,
                "unknown_top_up",
                _("There is no such top-up."),
                remedy=_("What can be bought is on the page Plan."),
            )
        price = money_text(offer.price.amount_minor, offer.price.currency)
        amount = tokens_text(offer.amount_mtok * GRAINS_PER_MILLITOKEN)
        if provider.name == "manual":
            remark = _("The tokens are added once an administrator has seen your payment.")
        else:
            remark = _("You pay on the page of the payment provider; nothing is charged before.")
        return Confirmation(
            _("Buy %(tokens)s", tokens=amount),
            [
                (_("You get"), amount),
                (_("To pay"), _("%(price)s, once", price=price)),
                (_("They expire"), _("never")),
            ],
            _("Order with obligation to pay"),
            [remark],
        )


class FeePage(_PlanPage):
    """Subscribing to a plan's fee: first what is charged, then the link to pay at."""

    async def get(self) -> None:
        """Show what is charged, and when."""
        await self.own()
        name, catalogue = self.asked("plan"), self.service.books.catalogue
        plan, provider = catalogue.plans.get(name), self.service.payments
        if plan is None or plan.price is None or provider is None or not provider.collects_fees:
            raise Problem(404, "unknown_plan", _("There is no such plan that is paid here."))
        found = Confirmation(
            _("Subscribe to %(plan)s", plan=plan.title),
            [
                (_("To pay"), price_text(plan)),
                (_("First payment"), _("at once")),
                (_("Begins"), _("when the first payment has arrived")),
            ],
            _("Go on to the payment"),
            [_("You pay on the page of the payment provider; nothing is charged before.")],
        )
        self.ask(found, "plan/fee", {"plan": name})

    async def post(self) -> None:
        """Show where to pay."""
        await self.own()
        order = FeeOrder(plan=self.field("plan")[:200] or "-")
        link = await paying.subscribe(self.service, self.person, "me", order)
        title = title_of(self.service.books.catalogue, order.plan)
        self.show("account/pay.html", url=link.url, title=title, invoice=None, top_up="")


class InvoicePage(_PlanPage):
    """One invoice, and where to pay it."""

    async def get(self, invoice_id: str) -> None:
        """Show it, if it is the signed-in member's own."""
        member = await self.own()
        found = await paying.list_invoices(self.service, self.person, member.member_id)
        invoice = next((row for row in found.invoices if row.invoice_id == invoice_id), None)
        if invoice is None:
            raise Problem(404, "unknown_invoice", _("You have no such invoice."))
        line = self.invoice_line(invoice)
        self.show(
            "account/pay.html",
            url=invoice.checkout_url,
            title=line["tokens"],
            invoice=line,
            top_up=self.service.books.catalogue.top_up,
        )
