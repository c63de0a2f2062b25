"""What the pages about a member's own account share."""

from __future__ import annotations

import re

from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.service import members
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.page import PageHandler

__all__ = ["AccountPage"]


class AccountPage(PageHandler):
    """A page about the signed-in member's own account."""

    async def own(self) -> MemberRecord:
        """Return the signed-in member, who is here in person.

        Raises
        ------
        Problem
            If the caller may not change what is their own, or is no member yet.
        """
        if not self.person.may_change_own:
            raise Problem(
                403, "forbidden", _("Only members themselves may see and change this page.")
            )
        return await members.own_member(self.service, self.person)

    def asked(self, name: str) -> str:
        """Return one value of the address, empty if it is not there."""
        return str(self.get_query_argument(name, "")).strip()[:200]

    def form_key(self) -> str:
        """Return the key of a form, by which it counts once however often it is sent.

        Raises
        ------
        Problem
            If it has none: it is not a form of ours.
        """
        key = self.field("key")
        if not re.fullmatch(r"[\x21-\x7e]{8,200}", key):
            raise Problem(
                422,
                "invalid",
                _("The form is not complete."),
                field="key",
                remedy=_("Go back, reload the page and try again."),
            )
        return key

    @property
    def origin(self) -> str:
        """The scheme and host of the address at which this page was asked for."""
        return f"{self.request.protocol}://{self.request.host}"
