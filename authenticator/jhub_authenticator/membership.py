"""Whoever signs in is a member: a mixin for any Authenticator that tells the token service.

Nothing here waits for the token service: signing in works while it is away, and the agent
tells it as soon as it is back.
"""

from __future__ import annotations

from typing import Any

from tornado import web

from jhub_authenticator.rules import RuleBook
from jhub_tokens import i18n
from jhub_tokens.catalogue import Account, Catalogue, CatalogueError, facts_of
from jhub_tokens.facts import Facts
from jhub_tokens.hub import runtime
from jhub_tokens.hub.assets import page_handlers
from jhub_tokens.hub.identity import UNTOLD
from jhub_tokens.hub.languages import language_of
from jhub_tokens.i18n import N_, _

__all__ = ["MembershipMixin", "no_entry"]

NO_ENTRY = N_("Your account is known, but the rules of this hub do not let it in.")


def no_entry(message: str, status: int = 403) -> web.HTTPError:
    """Return the refusal of a sign-in, with a message for the person."""
    error = web.HTTPError(status, message)
    error.jupyterhub_message = message  # type: ignore[attr-defined]
    return error


class MembershipMixin:
    """Lets in whom the base and the catalogue's rules let in, and makes them members.

    The base decides first, with its own allow lists, hooks and blocked users; the rules can only
    refuse what it has allowed.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        try:
            settings = runtime.current().settings
        except RuntimeError:  # outside a hub, as when documentation is made
            self._rules = RuleBook(None)
            return
        self._rules = RuleBook(settings.catalogue_path)
        self._settle_groups(settings.groups_from)
        try:
            self._rules.load()
        except CatalogueError as error:
            _refuse_to_start(
                self, f"The catalogue cannot be used, so the hub does not start:\n{error}"
            )

    def _settle_groups(self, groups_from: runtime.GroupsFrom | None) -> None:
        """Let either the provider or the hub own the hub's groups, never both."""
        hub: Any = self
        if groups_from == "provider" and not hasattr(self, "get_user_groups"):
            _refuse_to_start(
                self,
                f"configure(): groups_from='provider', but {type(self).__name__} knows no groups; "
                "write groups_from='hub'",
            )
        elif groups_from == "provider":
            hub.manage_groups = True
        elif groups_from == "hub" and hub.manage_groups:
            _refuse_to_start(
                self,
                "configure(): groups_from='hub' contradicts manage_groups = True of the "
                "authenticator; remove one of the two",
            )

    def get_handlers(self, app: Any) -> list[tuple[Any, ...]]:
        """Return the base's handlers, and those that our parts of the hub's pages need."""
        return [*super().get_handlers(app), *page_handlers()]  # type: ignore[misc]

    async def catalogue(self) -> Catalogue | None:
        """Return the catalogue that the hub has a file of, None if it has none."""
        return await self._rules.current()

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Sign somebody in as the base does, if the rules agree, and pass it on to the agent.

        Raises
        ------
        tornado.web.HTTPError
            403 if the rules do not let them in.
        """
        i18n.speak(language_of(handler))  # what is refused from here on is read on the next page
        authenticated = await super().get_authenticated_user(handler, data)  # type: ignore[misc]
        if authenticated:
            await self.check_owner(authenticated)
            facts, refused = await self.judge(authenticated)
            if refused:
                raise no_entry(_(NO_ENTRY))
            self.tell(authenticated["name"], facts)
        return authenticated

    async def check_owner(self, authenticated: dict[str, Any]) -> None:
        """Refuse somebody who signs in under another one's name; here all names are the base's."""

    async def account_of(self, authenticated: dict[str, Any]) -> Account | None:
        """Return what a sign-in provider says of somebody, None where there is no provider."""
        return None

    async def judge(self, authenticated: dict[str, Any]) -> tuple[Facts | None, bool]:
        """Return the facts about somebody whom the base lets in, and whether the rules refuse.

        Administrators that the operator names may enter without a rule, so that nobody locks
        themselves out; a rule that refuses holds for them, too.
        """
        hub: Any = self
        catalogue = await self._rules.current()
        account = await self.account_of(authenticated)
        if catalogue is None:
            return (None if account is None else Facts()), False
        name = authenticated["name"]
        facts = None if account is None else facts_of(account, catalogue.asked)
        groups = authenticated.get("groups")
        decision = catalogue.decide(name, _hub_groups(name) if groups is None else groups, facts)
        refused = decision.refused and (decision.rule is not None or name not in hub.admin_users)
        if refused:
            why = "no rule" if decision.rule is None else f"rule assign[{decision.rule}]"
            hub.log.warning("%s may not enter: %s of the catalogue", name, why)
        return facts, refused

    def tell(self, name: str, facts: Facts | None) -> None:
        """Have the token service told of a hub user, now or when it is back."""
        if facts is not None:
            UNTOLD.tell(name, facts)
        runtime.current().agent.member_seen(name)

    def add_user(self, user: Any) -> Any:
        """Take note of a user that was added to the hub."""
        app = runtime.hub_app()
        # While the hub starts it adds everybody it knows; the agent tells of them by itself.
        if app is not None and app.http_server is not None:
            runtime.current().agent.member_seen(user.name)
        return super().add_user(user)  # type: ignore[misc]


def _hub_groups(name: str) -> list[str]:
    app = runtime.hub_app()
    users = getattr(app, "users", None)
    user = users.get(name) if users is not None else None
    return [] if user is None else [group.name for group in user.groups]


def _refuse_to_start(authenticator: Any, message: str) -> None:
    """End the hub with one clear message: a traceback would bury it."""
    authenticator.log.critical("%s", message)
    raise SystemExit(1)
