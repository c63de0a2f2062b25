"""The fleet: what runs now, at what burn, who runs dry soon, and stopping a server."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from urllib.parse import urlencode

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import _
from jhub_tokens.ledger.oversight_records import FleetGroup
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.service import members, oversight
from jhub_tokens.service.errors import problem_from
from jhub_tokens.service.handlers.admin.base import AdminPage

__all__ = ["FleetPage", "FleetStopPage"]


@dataclass(frozen=True, slots=True)
class GroupShown:
    """What runs of one profile, or on one pool of nodes."""

    name: str
    title: str
    running: int
    starting: int
    burn_mtok_h: int


def pools_of(catalogue: Catalogue, group: FleetGroup) -> list[str]:
    """Return the pools that a group's servers may be on: one, if their GPU tells which."""
    profile = catalogue.profiles.get(group.profile)
    names = list(getattr(profile, "pools", ()) or ())
    pools = getattr(catalogue, "pools", {}) or {}
    fitting = [
        name for name in names if getattr(pools.get(name), "gpu_model", None) == group.gpu_model
    ]
    return fitting or names


def _grouped(
    groups: tuple[FleetGroup, ...], names: dict[FleetGroup, str], titles: dict[str, str]
) -> list[GroupShown]:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for group in groups:
        parts = (group.running, group.starting, group.burn_mtok_h)
        sums[names[group]] = [a + b for a, b in zip(sums[names[group]], parts, strict=True)]
    shown = [GroupShown(name, titles.get(name, name), *parts) for name, parts in sums.items()]
    return sorted(shown, key=lambda row: (-row.burn_mtok_h, row.title))


class FleetPage(AdminPage):
    """What runs now."""

    active = "fleet"

    async def get(self) -> None:
        """Show the fleet, or what runs of one profile or on one pool."""
        await self.show_fleet()

    async def show_fleet(self, status: int = 200, problem: str = "") -> None:
        """Show the fleet; `problem` is why a server could not be stopped."""
        catalogue = self.service.books.catalogue
        profile, pool = self.argument("profile"), self.argument("pool")
        pools = getattr(catalogue, "pools", {}) or {}
        wanted: tuple[str, ...] | None = (profile,) if profile else None
        if pool:
            wanted = tuple(
                known.name
                for known in catalogue.profiles.values()
                if pool in (getattr(known, "pools", ()) or ())
            )
        place = oversight.read_place(self.argument("after"), int)
        found = await oversight.fleet(self.service, self.person, wanted, place)
        titles = {name: known.title for name, known in catalogue.profiles.items()}
        by_profile = _grouped(found.groups, {g: g.profile for g in found.groups}, titles)
        pool_titles = {name: known.title for name, known in pools.items()}
        of_pool = {g: " / ".join(pools_of(catalogue, g)) for g in found.groups}
        by_pool = _grouped(found.groups, of_pool, pool_titles) if pools else []
        query = {name: value for name, value in (("profile", profile), ("pool", pool)) if value}
        self.show(
            "admin/fleet.html",
            status,
            fleet=found,
            by_profile=by_profile,
            by_pool=by_pool,
            titles=titles,
            burn_mtok_h=sum(group.burn_mtok_h for group in found.groups),
            running=sum(group.running for group in found.groups),
            starting=sum(group.starting for group in found.groups),
            chosen=titles.get(profile, profile) or pool_titles.get(pool, pool),
            after=urlencode({**query, "after": oversight.write_place(found.after)}),
            query=query,
            problem=problem,
        )


class FleetStopPage(FleetPage):
    """The stop buttons' target."""

    async def get(self) -> None:
        """Show the fleet: whoever reloads an answer stops nothing."""
        self.redirect(f"{self.service.settings.base_url}admin/fleet", status=303)

    async def post(self) -> None:
        """Order a server to stop."""
        caller = await self.fresh_caller()
        try:
            await members.order_stop(self.service, caller, self.field("session_id"))
        except LedgerError as error:
            problem = problem_from(error)
            await self.show_fleet(problem.status, problem.message)
            return
        self.redirect_with("admin/fleet", _("The server was ordered to stop."))
