"""Pages of money in: the voucher form on a member's console."""

from __future__ import annotations

from pydantic import ValidationError

from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.service import members, money
from jhub_tokens.service.errors import problem_from
from jhub_tokens.service.handlers.page import PageHandler
from jhub_tokens.service.handlers.pages import console_view
from jhub_tokens.service.texts import tokens_text
from jhub_tokens.wire.money import RedeemOrder

__all__ = ["RedeemPage"]


class RedeemPage(PageHandler):
    """The voucher form's target."""

    active = "console"

    async def post(self) -> None:
        """Redeem and go back to the console, or show the form with what is wrong."""
        code = self.field("code")
        try:
            receipt = await money.redeem(self.service, self.person, RedeemOrder(code=code))
        except (ValidationError, LedgerError) as error:
            problem = problem_from(error)
            typing = isinstance(error, ValidationError)
            message = _("Write the voucher's code.") if typing else problem.message
            member = await members.own_member(self.service, self.person)
            self.show(
                "console.html",
                problem.status,
                view=await console_view(self.service, member),
                errors={"code": message},
                kept={"code": code},
            )
            return
        said = _(
            "%(amount)s added. New balance: %(balance)s.",
            amount=tokens_text(receipt.amount.exact_grains),
            balance=tokens_text(receipt.balance.exact_grains),
        )
        self.redirect_with("", said)
