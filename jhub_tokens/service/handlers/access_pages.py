"""A member's page of ways into running servers: links, SSH commands, SSH keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jhub_tokens.i18n import _
from jhub_tokens.ledger.records import LedgerError, MemberRecord
from jhub_tokens.service import members, ssh_keys
from jhub_tokens.service.access import TOKEN_VARIABLE, ServerAccess, server_access
from jhub_tokens.service.errors import Problem, problem_from
from jhub_tokens.service.handlers.account_page import AccountPage
from jhub_tokens.service.texts import instant_text
from jhub_tokens.wire import RunningSession, SshKeyOrder, Standing

__all__ = ["AccessPage", "KeyAddPage", "KeyRemovePage"]


@dataclass(frozen=True, slots=True)
class ServerLine:
    """A running server and how it is reached; None while it is starting."""

    number: int
    session: RunningSession
    access: ServerAccess | None


class _AccessPage(AccountPage):
    """The page and the targets of its forms."""

    active = "access"

    async def show_access(
        self,
        member: MemberRecord,
        *,
        status: int = 200,
        errors: Mapping[str, str] | None = None,
        kept: Mapping[str, str] | None = None,
    ) -> None:
        """Show everything; `kept` is what was typed, `errors` what is wrong in it."""
        service = self.service
        standing = await members.standing(service, member)
        keys = (await ssh_keys.list_keys(service, member)).keys
        now_ms, zone = standing.as_of_ms, standing.zone
        self.show(
            "account/access.html",
            status,
            standing=standing,
            servers=self._servers(standing),
            keys=[(key, instant_text(key.added_at_ms, now_ms, zone)) for key in keys],
            ssh=service.settings.ssh,
            token_variable=TOKEN_VARIABLE,
            errors=errors or {},
            kept=kept or {},
        )

    def _servers(self, standing: Standing) -> list[ServerLine]:
        sessions = [*standing.sessions, *(s for team in standing.teams for s in team.sessions)]
        return [
            ServerLine(
                number,
                session,
                server_access(
                    self.service.settings, standing.name, session.server_name, self.origin
                )
                if session.ready_at_ms is not None
                else None,
            )
            for number, session in enumerate(sorted(sessions, key=lambda s: s.server_name))
        ]


class AccessPage(_AccessPage):
    """Links, commands and keys."""

    async def get(self) -> None:
        """Show how the signed-in member's servers are reached."""
        await self.show_access(await self.own())


class KeyAddPage(_AccessPage):
    """The target of the form for a new key."""

    async def post(self) -> None:
        """Add the key, or show the form with what is wrong."""
        member = await self.own()
        text, name = self.field("key"), self.field("name")
        try:
            if len(name) > 100:
                raise Problem(422, "bad_name", _("The name is too long."), field="name")
            # Whatever is longer is no key, and is told so.
            order = SshKeyOrder.model_construct(key=text[:20_000], name=name)
            added = await ssh_keys.add_key(self.service, member, order)
        except (LedgerError, Problem) as error:
            problem = problem_from(error)
            if problem.field not in ("key", "name"):
                raise
            # A private key must not travel once more.
            kept = {"name": name, "key": "" if problem.code == "private_key" else text[:20_000]}
            said = f"{problem.message} {problem.remedy}".strip()
            await self.show_access(
                member, status=problem.status, errors={problem.field: said}, kept=kept
            )
            return
        self.redirect_with(
            "access", _("The key “%(name)s” opens your servers from now on.", name=added.name)
        )


class KeyRemovePage(_AccessPage):
    """The target of the form that removes a key."""

    async def post(self) -> None:
        """Remove it, also from the servers that run."""
        member = await self.own()
        removed = await ssh_keys.remove_key(self.service, member, self.field("key_id"))
        self.redirect_with(
            "access", _("The key “%(name)s” opens nothing any more.", name=removed.name)
        )
