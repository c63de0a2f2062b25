"""Batches of vouchers: making them, handing the codes out once, withdrawing them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from math import ceil

from jhub_tokens.i18n import _
from jhub_tokens.service import money
from jhub_tokens.service.errors import problem_from
from jhub_tokens.service.handlers.admin.base import AdminPage, FormError, field_errors
from jhub_tokens.service.models import PageQuery
from jhub_tokens.service.texts import tokens_text
from jhub_tokens.wire.money import VoucherOrder

__all__ = ["VoucherRevokePage", "VouchersPage"]

_FIELDS = ("count", "tokens", "expires", "tokens_last_days", "note")


class VouchersPage(AdminPage):
    """Batches, and the form for another one."""

    active = "vouchers"

    async def get(self) -> None:
        """Show the batches, the newest first."""
        await self.show_batches()

    async def show_batches(
        self,
        status: int = 200,
        errors: Mapping[str, str] | None = None,
        kept: Mapping[str, str] | None = None,
    ) -> None:
        """Show the batches with the form."""
        number = self.argument("page")
        page = int(number) if number.isascii() and number.isdigit() and len(number) < 7 else 1
        query = PageQuery(page=max(1, page))
        found = await money.list_batches(self.service, self.person, query)
        self.show(
            "admin/vouchers.html",
            status,
            found=found,
            pages=max(1, ceil(found.total / found.page_size)),
            now_ms=self.service.clock.now_ms(),
            errors=errors or {},
            kept=kept or {},
        )

    async def post(self) -> None:
        """Make a batch and show its codes, which are in this one answer and kept nowhere."""
        caller = await self.fresh_caller()
        kept = {name: self.field(name) for name in _FIELDS}
        try:
            order = VoucherOrder.model_validate(
                {
                    "count": kept["count"],
                    "tokens": kept["tokens"],
                    "expires": kept["expires"] or None,
                    "tokens_last_days": kept["tokens_last_days"] or None,
                    "note": kept["note"],
                    "key": self.field("key"),
                }
            )
            made = await money.make_vouchers(self.service, caller, order)
        except FormError as error:
            errors = field_errors(error, "tokens")
            await self.show_batches(problem_from(error).status, errors, kept)
            return
        text = "code\r\n" + "".join(f"{code}\r\n" for code in made.codes)
        self.show(
            "admin/voucher_codes.html",
            201,
            batch=made.batch,
            codes=made.codes,
            # The file is in the page itself: asked for again, the service could not tell it.
            download=base64.b64encode(text.encode()).decode(),
            worth=tokens_text(made.batch.amount.exact_grains),
        )


class VoucherRevokePage(AdminPage):
    """Withdraws a batch."""

    active = "vouchers"

    async def post(self, batch_id: str) -> None:
        """Let no more vouchers of the batch be redeemed."""
        caller = await self.fresh_caller()
        done = await money.revoke_batch(self.service, caller, batch_id)
        left = done.vouchers - done.redeemed
        self.redirect_with(
            "admin/vouchers", _("Withdrawn: %(count)s vouchers can not be redeemed.", count=left)
        )
