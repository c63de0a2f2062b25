"""Acts on many members, in steps: what, the preview, the confirmation, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jhub_tokens.i18n import N_, _
from jhub_tokens.ledger.bulk import LINES_MAX
from jhub_tokens.ledger.oversight_records import ACTIONS, Action, BulkLine
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.service import bulk
from jhub_tokens.service.errors import Problem, problem_from
from jhub_tokens.service.handlers.admin.base import AdminPage, field_text
from jhub_tokens.service.handlers.admin.members import filter_of
from jhub_tokens.service.instants import read_instant_ms
from jhub_tokens.service.texts import tokens_text

__all__ = [
    "ACTION_TEXTS",
    "BulkActPage",
    "BulkConfirmPage",
    "BulkContinuePage",
    "BulkPage",
    "ImportPage",
]

ACTION_TEXTS: Mapping[Action, str] = {
    "topup": N_("Grant tokens"),
    "adjustment": N_("Correct balances"),
    "plan": N_("Change the plan"),
    "freeze": N_("Freeze"),
    "unfreeze": N_("Unfreeze"),
    "stop": N_("Stop servers"),
    "refund": N_("Refund what was used in some time"),
}
#: What a file of members can be for.
_BY_FILE: tuple[Action, ...] = ("topup", "adjustment", "plan")
_FIELDS = ("tokens", "plan", "when", "from", "to", "reason")


class _Bulk(AdminPage):
    def action(self) -> Action:
        """Return what the form wants done."""
        asked = self.field("action")
        found = next((action for action in ACTIONS if action == asked), None)
        if found is None:
            raise Problem(
                422,
                "invalid",
                _("Choose what is to be done."),
                remedy=_("Go back to the list and choose."),
            )
        return found

    async def show_preview(
        self, action: Action, lines: Sequence[BulkLine], reason: str, status: int = 200, **more: Any
    ) -> None:
        """Show what an act would do, to be confirmed."""
        rows = await bulk.preview(self.service, action, lines)
        if len(rows) < len(lines):
            raise Problem(409, "gone", _("One of the members is not there any more."))
        self.show(
            "admin/bulk_preview.html",
            status,
            action=action,
            title=_(ACTION_TEXTS[action]),
            rows=rows,
            refused=sum(bool(row.warning) for row in rows),
            moved=sum(row.line.amount_grains or 0 for row in rows if not row.warning),
            lines=bulk.lines_text(lines),
            reason=reason,
            tokens_text=tokens_text,
            **more,
        )


class BulkPage(_Bulk):
    """From the members that were chosen to the preview."""

    async def post(self) -> None:
        """Ask for what the act needs, or show what it would do."""
        await self.fresh_caller()
        action = self.action()
        member_ids = await self._chosen()
        kept = {name: self.field(name) for name in _FIELDS}
        if self.field("step") != "preview":
            self._ask(action, member_ids, {}, kept)
            return
        errors, template = self._read(action, kept)
        if errors:
            self._ask(action, member_ids, errors, kept, 422)
            return
        lines = [BulkLine(member_id, **template) for member_id in member_ids]
        await self.show_preview(action, lines, kept["reason"])

    async def _chosen(self) -> list[str]:
        """Return whom the form chooses: those who are ticked, or all who match the list."""
        if self.field("everybody"):
            which = filter_of(self)
            found = list(
                await self.service.workers.read(
                    self.service.books.ledger.oversight.matching, which, LINES_MAX + 1
                )
            )
        else:
            ids = [word for text in self.get_body_arguments("member") for word in text.split()]
            found = list(dict.fromkeys(ids))
        if not found:
            raise Problem(
                422,
                "invalid",
                _("Nobody was chosen."),
                remedy=_("Go back to the list and tick members."),
            )
        if len(found) > LINES_MAX:
            raise Problem(
                422,
                "invalid",
                _("More than %(count)s members match.", count=f"{LINES_MAX:,}"),
                remedy=_("Narrow the list by its filters and do it in parts."),
            )
        return found

    def _ask(
        self,
        action: Action,
        member_ids: Sequence[str],
        errors: Mapping[str, str],
        kept: Mapping[str, str],
        status: int = 200,
    ) -> None:
        self.show(
            "admin/bulk.html",
            status,
            action=action,
            title=_(ACTION_TEXTS[action]),
            member_ids=member_ids,
            plans=self.service.books.catalogue.plans,
            zone=self.zone,
            errors=errors,
            kept=kept,
        )

    def _read(
        self, action: Action, kept: Mapping[str, str]
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Return what is wrong with the fields, and what they say of each line."""
        errors: dict[str, str] = {}
        line: dict[str, Any] = {}
        if not 3 <= len(kept["reason"]) <= 500:
            errors["reason"] = field_text("reason")
        if action in ("topup", "adjustment"):
            amount = bulk.read_amount(kept["tokens"], action)
            if isinstance(amount, str):
                errors["tokens"] = amount
            else:
                line["amount_grains"] = amount
        elif action == "plan":
            if kept["plan"] not in self.service.books.catalogue.plans:
                errors["plan"] = field_text("plan")
            if kept["when"] not in ("", "now", "next"):
                errors["when"] = field_text("when")
            line |= {"plan": kept["plan"], "when": kept["when"] or None}
        elif action == "refund":
            self._read_span(kept, errors, line)
        return errors, line

    def _read_span(
        self, kept: Mapping[str, str], errors: dict[str, str], line: dict[str, Any]
    ) -> None:
        for name in ("from", "to"):
            try:
                line[f"{name}_ms"] = read_instant_ms(kept[name], self.zone, name)
            except Problem:
                errors[name] = _("Write an instant such as 2026-11-30T14:00.")
        if errors.keys() & {"from", "to"}:
            return
        if not line["from_ms"] < line["to_ms"]:
            errors["to"] = _("The end must come after the beginning.")
        elif line["to_ms"] > self.service.clock.now_ms():
            errors["to"] = _("The end must be past.")


class BulkConfirmPage(_Bulk):
    """The confirmation's target."""

    async def post(self) -> None:
        """Begin with the act and go to its page."""
        caller = await self.fresh_caller()
        action, reason = self.action(), self.field("reason")
        lines = bulk.read_lines(self.field("lines"))
        if lines is None or not 3 <= len(reason) <= 500 or len(self.field("key")) < 8:
            raise Problem(
                422,
                "invalid",
                _("This form is not complete."),
                remedy=_("Begin again with the list of members."),
            )
        try:
            act_id = await bulk.begin(
                self.service, caller, action, lines, reason, self.field("key")
            )
        except LedgerError as error:
            problem = problem_from(error)
            await self.show_preview(action, lines, reason, problem.status, problem=problem)
            return
        self.redirect(f"{self.service.settings.base_url}admin/bulk/{act_id}", status=303)


class BulkActPage(_Bulk):
    """What became of an act."""

    async def get(self, act_id: str) -> None:
        """Show the act, and look again while it goes on."""
        oversight = self.service.books.ledger.oversight
        act = await self.service.workers.read(oversight.bulk_act, act_id, LINES_MAX)
        if act is None:
            raise Problem(404, "not_found", _("There is no such act."))
        if act.waiting:
            self.set_header("Refresh", "2")
        title = _(ACTION_TEXTS[act.action])
        self.show("admin/bulk_act.html", act=act, title=title)


class BulkContinuePage(_Bulk):
    """Goes on with an act that broke off."""

    async def post(self, act_id: str) -> None:
        """Carry out the lines that wait."""
        await self.fresh_caller()
        await bulk.go_on(self.service, act_id)
        self.redirect(f"{self.service.settings.base_url}admin/bulk/{act_id}", status=303)


class ImportPage(_Bulk):
    """A file of members: grants, corrections or changes of plan."""

    async def get(self) -> None:
        """Show the form."""
        self._ask({}, {"action": "topup"})

    async def post(self) -> None:
        """Read the file; show what it would do, or what is wrong with it line by line."""
        await self.fresh_caller()
        files = self.request.files.get("file", [])
        uploaded = files[0]["body"] if files else b""
        kept = {name: self.field(name) for name in ("action", "reason")}
        kept["text"] = str(self.get_body_argument("text", ""))
        errors: dict[str, str] = {}
        action = self.action()
        if action not in _BY_FILE:
            errors["action"] = _("Choose one of these.")
        if uploaded:
            try:
                kept["text"] = uploaded.decode("utf-8-sig")
            except UnicodeDecodeError:
                errors["file"] = _("The file must be in UTF-8.")
        if len(uploaded) > bulk.CSV_BYTES_MAX or len(kept["text"]) > bulk.CSV_BYTES_MAX:
            errors["file"] = _("The file is larger than 1 MB.")
            kept["text"] = ""
        if not kept["text"].strip() and not errors:
            errors["file"] = _("Choose a file, or paste its lines below.")
        if not 3 <= len(kept["reason"]) <= 500:
            errors["reason"] = field_text("reason")
        problems: list[bulk.LineProblem] = []
        lines: list[BulkLine] = []
        if not errors.keys() & {"file", "action"}:
            lines, problems = await bulk.parse_csv(self.service, action, kept["text"], LINES_MAX)
        if errors or problems:
            self._ask(errors, kept, problems, 422)
            return
        await self.show_preview(action, lines, kept["reason"])

    def _ask(
        self,
        errors: Mapping[str, str],
        kept: Mapping[str, str],
        problems: Sequence[bulk.LineProblem] = (),
        status: int = 200,
    ) -> None:
        self.show(
            "admin/import.html",
            status,
            actions={action: _(ACTION_TEXTS[action]) for action in _BY_FILE},
            problems=problems,
            lines_max=LINES_MAX,
            errors=errors,
            kept=kept,
        )
