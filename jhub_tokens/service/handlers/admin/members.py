"""The members' list, and the same as a file."""

from __future__ import annotations

from urllib.parse import urlencode

from jhub_tokens.ledger.oversight_records import (
    MEMBER_STATES,
    SORTS,
    MemberFilter,
    MemberListState,
    Sort,
)
from jhub_tokens.service import oversight
from jhub_tokens.service.handlers.admin.base import AdminPage
from jhub_tokens.service.oversight import Cursor
from jhub_tokens.units import grains_to_tokens

__all__ = ["MembersFile", "MembersPage", "filter_of"]

PAGE_SIZES = (25, 50, 100, 200)
_STATES_SHOWN = ("", "running", "low", "dry", "active", "frozen", "erased")


def filter_of(page: AdminPage) -> MemberFilter:
    """Return which members a page's address asks for; what makes no sense does not matter."""
    catalogue = page.service.books.catalogue
    asked = {name: page.argument(name) for name in ("plan", "state", "team")}
    states = (known for known in MEMBER_STATES if known == asked["state"])
    state: MemberListState = next(states, "")
    return MemberFilter(
        search=page.argument("q")[:255],
        plan=asked["plan"] if asked["plan"] in catalogue.plans else "",
        state=state,
        team=asked["team"] if asked["team"] in catalogue.teams else "",
    )


def query_of(which: MemberFilter, sort: str = "name") -> dict[str, str]:
    """Return a filter as values of an address, without what is empty."""
    values = {"q": which.search, "plan": which.plan, "state": which.state, "team": which.team}
    if sort != "name":
        values["sort"] = sort
    return {name: value for name, value in values.items() if value}


class MembersPage(AdminPage):
    """The members' list."""

    async def get(self) -> None:
        """Show one page of the list."""
        which = filter_of(self)
        asked = self.argument("sort")
        sort: Sort = next((known for known in SORTS if known == asked), "name")
        kind = str if sort.endswith("name") else int
        size = self.argument("size")
        page_size = int(size) if size in map(str, PAGE_SIZES) else 50
        cursor = Cursor(
            oversight.read_place(self.argument("after"), kind),
            oversight.read_place(self.argument("before"), kind),
        )
        found = await oversight.list_members(
            self.service, self.person, which, sort, page_size, cursor
        )
        query = query_of(which, sort)
        if page_size != 50:
            query["size"] = str(page_size)
        catalogue = self.service.books.catalogue
        self.show(
            "admin/members.html",
            found=found,
            which=which,
            sort=sort,
            query=query,
            before=urlencode({**query, "before": oversight.write_place(found.before)}),
            after=urlencode({**query, "after": oversight.write_place(found.after)}),
            plans=catalogue.plans,
            teams=catalogue.teams,
            states=_STATES_SHOWN,
        )


class MembersFile(AdminPage):
    """The members' list as a file."""

    async def get(self) -> None:
        """Send everybody who matches; that it was sent is in the log."""
        which = filter_of(self)
        await oversight.note(self.service, self.person, "exported", "members.csv")
        header = (
            "member", "member_id", "state", "plan", "balance_tokens", "allotment_tokens",
            "running", "burn_tokens_per_hour",
        )  # fmt: skip
        rows = []
        cursor = Cursor()
        while True:
            page = await oversight.list_members(
                self.service, self.person, which, "name", 500, cursor
            )
            for row in page.rows:
                member = row.member
                rows.append(
                    (
                        member.name, member.member_id, member.state, member.plan,
                        f"{grains_to_tokens(row.balance_grains):f}",
                        f"{grains_to_tokens(row.allotment_grains):f}",
                        row.running, f"{row.burn_mtok_h / 1000:g}",
                    )
                )  # fmt: skip
            if page.after is None:
                break
            cursor = Cursor(after=page.after)
        self.send_csv("members.csv", header, rows)
