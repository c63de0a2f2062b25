"""The embedded default: sign-up and sign-in with passwords, for a laptop or a small class.

Why our own: jupyterhub-nativeauthenticator keeps bcrypt hashes in the hub's own database. What is
left is small once the hashing is argon2-cffi's: a form, a list for administrators, and a pause
after wrong guesses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from jupyterhub.auth import Authenticator
from jupyterhub.handlers import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.utils import url_path_join
from tornado import web
from traitlets import Enum, Instance, Unicode

from jhub_authenticator.membership import MembershipMixin, no_entry
from jhub_authenticator.password_store import AccountError, PasswordStore
from jhub_tokens import i18n
from jhub_tokens.hub.languages import language_of
from jhub_tokens.i18n import _

__all__ = ["PasswordAuthenticator"]

T = TypeVar("T")

#: Wrong guesses at one name before each further one has to wait, and how long at most.
_GUESSES_FREE = 5
_WAIT_LONGEST_S = 300.0
#: Names whose wrong guesses are remembered: more than that is a flood, of which the oldest go.
_GUESSED_MAX = 10_000
#: Hashing takes a processor and 64 MB for a moment.
_HASHES_AT_ONCE = 2


class Guesses:
    """Wrong guesses by name: the sixth in a row waits a second, each further one twice as long."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._wrong: dict[str, tuple[int, float]] = {}

    def wait_s(self, name: str) -> float:
        """Return how long this name has to wait for its next guess."""
        count, since = self._wrong.get(name, (0, 0.0))
        if count < _GUESSES_FREE:
            return 0.0
        pause = min(2.0 ** min(count - _GUESSES_FREE, 20), _WAIT_LONGEST_S)
        return max(0.0, since + pause - self._now())

    def wrong(self, name: str) -> None:
        """Count a wrong guess."""
        count, _since = self._wrong.pop(name, (0, 0.0))
        self._wrong[name] = (count + 1, self._now())
        while len(self._wrong) > _GUESSED_MAX:
            del self._wrong[next(iter(self._wrong))]

    def right(self, name: str) -> None:
        """Forget the wrong guesses at a name."""
        self._wrong.pop(name, None)


class PasswordAuthenticator(MembershipMixin, Authenticator):  # type: ignore[misc]
    """Accounts with passwords, kept as argon2id hashes in a file beside the hub's database."""

    store_path = Unicode(
        "passwords.sqlite", config=True, help="The file of the accounts; made if missing."
    )
    sign_up = Enum(
        ["closed", "approval", "open"],
        default_value="approval",
        config=True,
        help="""
        Who may make an account: nobody (``closed``, accounts are made on the command line),
        anybody whom an administrator then approves (``approval``), or anybody (``open``).
        """,
    )
    store = Instance(PasswordStore)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if "allow_all" not in self.config.get("PasswordAuthenticator", {}) and not (
            self.allowed_users or "allow_all" in self.config.get("Authenticator", {})
        ):
            self.allow_all = True  # whoever has an approved account
        self.store = PasswordStore(self.store_path)
        self._hashing = ThreadPoolExecutor(_HASHES_AT_ONCE, thread_name_prefix="passwords")
        self._guesses = Guesses()

    async def run(self, work: Callable[..., T], *args: Any, **options: Any) -> T:
        """Do blocking work on the accounts without holding the hub's event loop."""
        loop = asyncio.get_running_loop()
        task = copy_context()  # what is refused is in the language of the request
        return await loop.run_in_executor(self._hashing, lambda: task.run(work, *args, **options))

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """Return who signs in, None if name or password is wrong.

        Raises
        ------
        tornado.web.HTTPError
            403 for an account that waits for approval, 429 after too many wrong guesses.
        """
        name = data.get("username", "").strip().lower()[:200]
        wait_s = self._guesses.wait_s(name)
        if wait_s > 0:
            raise no_entry(
                _("Too many wrong guesses; try again in %(count)s seconds.", count=f"{wait_s:.0f}"),
                429,
            )
        # Counted before it is known: guesses made at once must not all be free.
        self._guesses.wrong(name)
        verdict = await self.run(self.store.verify, name, data.get("password", ""))
        if verdict == "wrong":
            return None
        self._guesses.right(name)
        if verdict == "waiting":
            raise no_entry(_("Your account waits for an administrator to approve it."))
        return {"name": name, "admin": True if verdict == "admin" else None}

    def delete_user(self, user: Any) -> None:
        """Remove the account of a user that was removed from the hub: nobody inherits it."""
        self.store.remove(user.name)
        super().delete_user(user)

    def get_handlers(self, app: Any) -> list[tuple[Any, ...]]:
        """Return the hub's sign-in page, and ours for accounts."""
        return [
            *super().get_handlers(app),
            (r"/signup", SignUpHandler),
            (r"/password", PasswordHandler),
            (r"/accounts", AccountsHandler),
        ]


class _Page(BaseHandler):  # type: ignore[misc]
    async def prepare(self) -> None:
        """Find out who is there, and in which language to answer."""
        await super().prepare()
        i18n.speak(language_of(self))

    async def show(self, template: str, **values: Any) -> None:
        page = await self.render_template(template, **values)
        self.finish(page)

    def form(self, name: str) -> str:
        return str(self.get_body_argument(name, "", strip=False))


class SignUpHandler(_Page):
    """Making an account."""

    def prepare_page(self) -> None:
        """Refuse where accounts are made on the command line only."""
        if self.authenticator.sign_up == "closed":
            raise web.HTTPError(404, "Accounts are made by an administrator here.")

    async def get(self) -> None:
        """Show the form."""
        self.prepare_page()
        await self.show("jhub_tokens_signup.html", given="", problem="", done="")

    async def post(self) -> None:
        """Make the account, which may have to wait for approval."""
        self.prepare_page()
        approved = self.authenticator.sign_up == "open"
        name, password = self.form("username"), self.form("password")
        problem = done = ""
        if password != self.form("again"):
            problem = _("The two passwords differ.")
        elif self.find_user(name.strip().lower()) is not None:
            # Somebody whom the hub knows already, such as an administrator named in its file.
            problem = _("This name is taken; choose another one.")
        else:
            store = self.authenticator.store
            try:
                await self.authenticator.run(store.add, name, password, approved=approved)
            except AccountError as error:
                problem = str(error)
            else:
                now = _("Sign in now.")
                done = now if approved else _("An administrator has to approve it first.")
        self.set_status(400 if problem else 200)
        await self.show("jhub_tokens_signup.html", given=name[:64], problem=problem, done=done)


class PasswordHandler(_Page):
    """Changing one's own password."""

    @web.authenticated
    async def get(self) -> None:
        """Show the form."""
        await self.show("jhub_tokens_password.html", problem="", done="")

    @web.authenticated
    async def post(self) -> None:
        """Change the password of whoever knows the present one."""
        authenticator, name = self.authenticator, self.current_user.name
        problem = done = ""
        if self.form("password") != self.form("again"):
            problem = _("The two new passwords differ.")
        elif authenticator._guesses.wait_s(name) > 0:
            problem = _("Too many wrong guesses; try again later.")
        elif await authenticator.run(authenticator.store.verify, name, self.form("old")) == "wrong":
            authenticator._guesses.wrong(name)
            problem = _("The present password is wrong.")
        else:
            try:
                password = self.form("password")
                await authenticator.run(authenticator.store.set_password, name, password)
                done = _("Your password is changed.")
            except AccountError as error:
                problem = str(error)
        self.set_status(400 if problem else 200)
        await self.show("jhub_tokens_password.html", problem=problem, done=done)


class AccountsHandler(_Page):
    """The accounts, for administrators."""

    @needs_scope("admin:users")  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """List the accounts, those that wait first."""
        accounts = await self.authenticator.run(self.authenticator.store.accounts)
        await self.show("jhub_tokens_accounts.html", accounts=accounts)

    @needs_scope("admin:users")  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Approve an account, or turn one that waits away."""
        store, name = self.authenticator.store, self.form("name")
        waiting = await self.authenticator.run(
            lambda: any(a.name == name and not a.approved for a in store.accounts())
        )
        if not waiting:
            raise web.HTTPError(404, "No account of this name waits for approval.")
        work = store.approve if self.form("action") == "approve" else store.remove
        await self.authenticator.run(work, name)
        self.log.info("%s: account %s by %s", self.form("action"), name, self.current_user.name)
        self.redirect(url_path_join(self.hub.base_url, "accounts"))
