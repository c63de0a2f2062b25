"""The audit log: who did what to whom, with filters, as a file, and acts of break-glass."""

from __future__ import annotations

from urllib.parse import urlencode

from jhub_tokens.i18n import _
from jhub_tokens.ledger.acts import ActFilter
from jhub_tokens.ledger.oversight_records import ACT_KINDS
from jhub_tokens.service import break_glass, oversight
from jhub_tokens.service.handlers.admin.base import AdminPage
from jhub_tokens.service.instants import iso_instant
from jhub_tokens.units import grains_to_tokens

__all__ = ["AuditFile", "AuditPage", "BreakGlassPage"]

_DAY_MS = 86_400_000
#: Acts that one file holds at most.
_FILE_MAX = 50_000


class _Log(AdminPage):
    active = "audit"

    async def chosen(self) -> tuple[ActFilter, dict[str, str]]:
        """Return which acts the address asks for, and that as values of an address."""
        query = {
            name: self.argument(name)[:255] for name in ("kind", "actor", "member", "from", "to")
        }
        kinds = frozenset(kind for kind in ACT_KINDS if kind == query["kind"])
        member_id = ""
        if query["member"]:
            named = self.service.books.ledger.oversight.named
            found = await self.service.workers.read(named, [query["member"]])
            member_id = found.get(query["member"], "nobody")
        from_ms = self.day_end("from")
        return (
            ActFilter(
                kinds,
                query["actor"],
                member_id,
                None if from_ms is None else from_ms - _DAY_MS,
                self.day_end("to"),
            ),
            {name: value for name, value in query.items() if value},
        )


class AuditPage(_Log):
    """Who did what to whom."""

    async def get(self) -> None:
        """Show a page of the log, the latest first."""
        which, query = await self.chosen()
        place = oversight.read_place(self.argument("after"), int)
        found = await oversight.acts(self.service, self.person, which, 50, place)
        self.show(
            "admin/audit.html",
            acts=found.acts,
            texts={kind: _(text) for kind, text in oversight.ACT_TEXTS.items()},
            about=oversight.act_text,
            plans=self.service.books.catalogue.plans,
            query=query,
            file=urlencode(query),
            after=urlencode({**query, "after": oversight.write_place(found.after)}),
            has_more=found.after is not None,
            begun=place is not None,
        )


class AuditFile(_Log):
    """The log as a file."""

    async def get(self) -> None:
        """Send the acts that match; that they were sent is in the log."""
        which, _query = await self.chosen()
        await oversight.note(self.service, self.person, "exported", "audit.csv")
        rows: list[tuple[object, ...]] = []
        after = None
        while len(rows) < _FILE_MAX:
            page = await oversight.acts(self.service, self.person, which, 1000, after)
            rows += [
                (
                    iso_instant(act.at_ms, self.zone), act.kind, act.actor, act.name,
                    act.member_id, act.subject,
                    "" if act.amount_grains is None else f"{grains_to_tokens(act.amount_grains):f}",
                    "" if act.count is None else act.count, act.reason, act.act_id,
                )
                for act in page.acts
            ]  # fmt: skip
            after = page.after
            if after is None:
                break
        header = (
            "at", "kind", "actor", "member", "member_id", "subject", "tokens", "count", "reason",
            "id",
        )  # fmt: skip
        self.send_csv("audit.csv", header, rows)


class BreakGlassPage(AdminPage):
    """What was let through while the service was away."""

    active = "audit"

    async def get(self) -> None:
        """Show the latest acts with their starts."""
        found = await break_glass.acts(self.service, self.person)
        self.show(
            "admin/break_glass.html",
            acts=found.acts,
            profiles=self.service.books.catalogue.profiles,
        )
