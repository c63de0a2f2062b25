"""The gate: any Spawner, with each start admitted by the token service first.

The gate asks, applies the answer and reports; it decides nothing itself. `jhub_spawner.gating`
puts it before any spawner's class.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import maybe_future
from traitlets import Dict, HasTraits, default, validate

from jhub_spawner.choice import (
    Choice,
    choice_from_fields,
    choice_from_options,
    without_own_fields,
)
from jhub_spawner.ending import (
    GRACE_LEAST_S,
    GRACE_MOST_S,
    GRACE_RESERVE_S,
    GRACE_VARIABLE,
)
from jhub_spawner.files import FILES_ARGS, FILES_ENVIRONMENT
from jhub_spawner.machine import within_token
from jhub_spawner.refused import StartRefused, not_counted, unavailable
from jhub_spawner.selector import break_glass_form, closed_form, render_selector
from jhub_tokens import i18n, wire
from jhub_tokens.hub import runtime
from jhub_tokens.hub.client import Refused, ServiceUnavailable
from jhub_tokens.hub.identity import identity_of
from jhub_tokens.hub.languages import language_of, remember_language
from jhub_tokens.hub.let_through import Wanted
from jhub_tokens.hub.merging import merge_server_scopes
from jhub_tokens.hub.runs import Run, new_key
from jhub_tokens.i18n import _

__all__ = ["TokenGate"]

_STATE_KEY = "jhub_tokens"
#: Whether what runs here is a poll: KubeSpawner's stops what it finds ended, which is no order.
_in_poll: ContextVar[bool] = ContextVar("jhub_tokens_in_poll", default=False)


def _selector_only(spawner: Any) -> str:
    """Stand for an operator's form where there is none; its presence makes pages show a form."""
    return ""


def _scopes_like(chosen: Any) -> Any:
    """Return a callable that gives the token of a server our scope beside what `chosen` says.

    `chosen` is what an operator configured: a list, a callable, or nothing, which stands for
    the scopes of the role ``server``.
    """

    async def scopes(spawner: Any) -> list[str]:
        base = chosen
        if callable(base):
            base = await maybe_future(base(spawner))
        if not base:
            base = orm.Role.find(spawner.user.db, "server").scopes
        return merge_server_scopes(list(base))

    return scopes


def _grace(admission: wire.Admission) -> dict[str, str]:
    """Return how a server learns what time it has to end: what the books reckon with.

    Less what passes between the order and the signal, and between the last process and the
    moment at which the hub sees that it is gone.
    """
    if admission.stop_time_ms is None:
        return {}
    seconds = admission.stop_time_ms // 1000 - GRACE_RESERVE_S
    seconds = min(max(seconds, GRACE_LEAST_S), GRACE_MOST_S)
    return {GRACE_VARIABLE: str(seconds)}


class _UserOptions(Dict):
    """User options of whatever type: JupyterHub 5 passes on any JSON that an API call holds.

    A plain Dict raises on a list, inside the hub, which counts that as a failure of its own and
    stops after a few. This way it is refused like any other bad choice.
    """

    def validate(self, obj: Any, value: Any) -> Any:
        return super().validate(obj, value if isinstance(value, dict) else {"profile": {}})


class TokenGate(HasTraits):
    """Mixin for a JupyterHub Spawner: admission before the start, the end reported after it.

    Use it first among the bases, or let `gated` do so. Subclasses may override
    `apply_admission` to turn an admission into pods, machines or processes.
    """

    user_options = _UserOptions(help="What the member chose, see `jhub_spawner.choice`.")

    #: The run of the last start, or of the server that was found running.
    token_run: Run | None = None
    #: What the token service admitted; None until a start is admitted.
    token_admission: wire.Admission | None = None

    # --- what the server is told, and may ask ---------------------------------------------------

    @default("server_token_scopes")
    def _token_server_scopes(self) -> Any:
        return _scopes_like(None)

    @validate("server_token_scopes")
    def _token_merged_server_scopes(self, proposal: Any) -> Any:
        return _scopes_like(proposal["value"])

    def get_env(self) -> Any:
        """Return the server's environment, with where it finds the token service."""
        env = super().get_env()  # type: ignore[misc]
        env.setdefault("JHUB_TOKENS_SERVICE_URL", runtime.current().url_from_servers)
        if self._opens_files_only:
            env.update(FILES_ENVIRONMENT)
        return env

    def get_args(self) -> list[str]:
        """Return the server's arguments, with those that turn off all but its files if so admitted.

        They come last, so that what an operator gives to all servers does not turn it on again.
        """
        args: list[str] = list(super().get_args())  # type: ignore[misc]
        return [*args, *FILES_ARGS] if self._opens_files_only else args

    @property
    def _opens_files_only(self) -> bool:
        return self.token_admission is not None and self.token_admission.files

    # --- choosing -----------------------------------------------------------------------------

    @default("options_form")
    def _token_options_form(self) -> Any:
        return _selector_only

    async def get_options_form(self) -> str:
        """Return the profile selector, followed by the operator's own form where there is one."""
        spawner: Any = self
        runtime.current().agent.ensure_started()
        with i18n.speaking(language_of(spawner.handler)):
            form = await self._selector()
        own = ""
        if spawner.options_form and spawner.options_form is not _selector_only:
            own = await super().get_options_form() or ""  # type: ignore[misc]
        return form + own

    async def _selector(self) -> str:
        """Return the profile selector in the language of the request, or in the member's own."""
        spawner: Any = self
        hub = runtime.current()
        try:
            offers = await hub.client.offers(wire.OffersRequest(member=identity_of(spawner.user)))
        except (ServiceUnavailable, Refused) as error:
            spawner.log.error("No offers for %s: %s", spawner._log_name, error)
            return await self._form_without_offers(error)
        remember_language(spawner.user.name, offers.standing.language)
        with i18n.speaking(language_of(spawner.handler)):
            return render_selector(offers, chosen=self._last_choice(), console_url=hub.console_url)

    def _last_choice(self) -> Mapping[str, Any]:
        """Return the options of this server's last start, else those of the default server's."""
        spawner: Any = self
        if spawner.user_options or not spawner.name:
            options: Mapping[str, Any] = spawner.user_options
            return options
        other: Mapping[str, Any] = spawner.user.spawners[""].user_options
        return other

    async def _form_without_offers(self, error: ServiceUnavailable | Refused) -> str:
        """Return what the start page shows when nobody can be asked."""
        spawner: Any = self
        glass = runtime.current().glass
        if isinstance(error, ServiceUnavailable) and not error.answered and await glass.look():
            profiles = glass.profiles()
            if profiles and glass.catalogue is not None:
                return break_glass_form(
                    profiles, chosen=spawner.user_options, charged=glass.catalogue.charged
                )
        return closed_form(unavailable())

    def run_options_from_form(self, form_data: dict[str, Any]) -> Any:
        """Read the posted form into user options: the operator's own and the selector's."""
        return self._options(super().run_options_from_form, form_data)  # type: ignore[misc]

    def options_from_query(self, query_data: dict[str, Any]) -> Any:
        """Read query arguments into user options, like a posted form."""
        # JupyterHub 6 takes the prefix off; a link that has it works on JupyterHub 5 as well.
        fields = {name.removeprefix("opt-"): value for name, value in query_data.items()}
        return self._options(super().options_from_query, fields)  # type: ignore[misc]

    async def _options(self, of_base: Any, fields: dict[str, Any]) -> dict[str, Any]:
        options = dict(await maybe_future(of_base(without_own_fields(fields))) or {})
        options.update(choice_from_fields(fields))
        return options

    async def _run_apply_user_options(self, user_options: Any) -> None:
        """Let the base apply the operator's own options; the gate applies what is admitted."""
        await super()._run_apply_user_options(without_own_fields(self.user_options))  # type: ignore[misc]

    # --- starting -----------------------------------------------------------------------------

    async def run_pre_spawn_hook(self) -> None:
        """Have the start admitted, then run the operator's own hook.

        Raises
        ------
        StartRefused
            If the token service refuses or cannot be reached.
        """
        spawner: Any = self
        with i18n.speaking(language_of(spawner.handler)):
            admission = await self._admit()
        self.token_admission = admission
        if admission.shadow_refusal is not None:
            spawner.log.info(
                "Not enforced: the start of %s would have been refused: %s",
                spawner._log_name,
                admission.shadow_refusal.message,
            )
        await self.apply_admission(admission)
        await maybe_future(super().run_pre_spawn_hook())  # type: ignore[misc]

    async def _admit(self) -> wire.Admission:
        spawner: Any = self
        hub = runtime.current()
        choice = within_token(spawner, choice_from_options(spawner.user_options))
        if isinstance(choice, wire.Refusal):
            raise self._refuse(choice)
        run = Run(
            spawner=self,
            member=identity_of(spawner.user),
            server_name=spawner.name,
            start_key=new_key(),
            phase="asking",
            profile=choice.profile or None,
        )
        self.token_run = run
        hub.agent.begun(run)
        assert run.start_key is not None
        request = wire.AdmitRequest(
            hub=hub.settings.hub_name,
            member=run.member,
            server_name=run.server_name,
            start_key=run.start_key,
            profile=choice.profile,
            image=choice.image,
            gpu_model=choice.gpu_model,
            payer=choice.payer,
            max_run_ms=choice.max_run_ms,
        )
        try:
            admission = await self._ask(request)
        except Refused as error:
            hub.agent.refused(run)
            raise self._refuse(error.refusal) from None
        except ServiceUnavailable as error:
            # It may have been admitted all the same: the tombstone frees what it holds.
            hub.agent.cancelled(run)
            spawner.log.error("Cannot ask for a start of %s: %s", spawner._log_name, error)
            if not error.answered:
                return await self._let_through(choice, run)
            raise self._refuse(unavailable()) from None
        except BaseException:  # cancelled on the pending page; CancelledError is no Exception
            hub.agent.cancelled(run)
            raise
        hub.agent.admitted(run, admission)
        return admission

    async def _ask(self, request: wire.AdmitRequest) -> wire.Admission:
        """Ask for an admission; twice before it goes through unasked: slow is not away."""
        hub = runtime.current()
        try:
            return await hub.client.admit(request)
        except ServiceUnavailable as error:
            if error.answered or await hub.glass.look() is None:
                raise
            return await hub.client.admit(request)

    async def _let_through(self, choice: Choice, asked: Run) -> wire.Admission:
        """Let the start through if the operator's act allows it.

        It is a start of its own: the one that was asked for may have been admitted, and has been
        cancelled.

        Raises
        ------
        StartRefused
            If nothing is open, or not for this choice.
        """
        hub = runtime.current()
        run = Run(
            spawner=self,
            member=asked.member,
            server_name=asked.server_name,
            start_key=new_key(),
            phase="asking",
        )
        assert run.start_key is not None
        wanted = Wanted(
            choice.profile, choice.image, choice.gpu_model, choice.payer, choice.max_run_ms
        )
        admission = await hub.glass.let_through(wanted, run.member, run.server_name, run.start_key)
        if admission is None:
            raise self._refuse(unavailable())
        if isinstance(admission, wire.Refusal):
            raise self._refuse(admission)
        self.token_run = run
        hub.agent.begun(run)
        hub.agent.let_through(run, admission)
        return admission

    async def progress(self) -> AsyncIterator[Any]:
        """Say at first that the start is metered later, if it went through unasked."""
        spawner: Any = self
        if self.token_run is not None and self.token_run.through is not None:
            with i18n.speaking(language_of(spawner.handler)):
                message = _(
                    "Your balance cannot be checked right now: what this server uses is settled "
                    "afterwards."
                )
            yield {"progress": 5, "message": message}
        async for event in super().progress():  # type: ignore[misc]
            yield event

    def _refuse(self, refusal: wire.Refusal) -> StartRefused:
        not_counted(self)
        return StartRefused(refusal)

    async def apply_admission(self, admission: wire.Admission) -> None:
        """Apply what was admitted to this spawner: limits and environment.

        The environment of the profile lies under the operator's: what
        ``c.Spawner.environment`` sets, stays. Override it for more (node pools, images, GPUs)
        and call it first.
        """
        spawner: Any = self
        if spawner.has_trait("cpu_limit"):
            spawner.cpu_limit = admission.hardware.cpu
        if spawner.has_trait("mem_limit"):
            spawner.mem_limit = admission.hardware.memory_bytes
        spawner.environment = {
            **_grace(admission),
            **admission.environment,
            **spawner.environment,
        }
        if admission.files and not spawner.cmd:
            # A spawner that leaves the command to the image passes no arguments on.
            spawner.cmd = ["jupyterhub-singleuser"]

    # --- running and ending -------------------------------------------------------------------

    async def poll(self) -> int | None:
        """Return None while the server runs; each answer is proof of life or of the end."""
        token = _in_poll.set(True)
        try:
            status: int | None = await super().poll()  # type: ignore[misc]
        finally:
            _in_poll.reset(token)
        if self.token_run is not None and self.token_run.open:
            self.token_run.polled(status, time.monotonic())
        return status

    async def stop(self, now: bool = False) -> None:
        """Stop the server."""
        if self.token_run is not None and not _in_poll.get():
            self.token_run.stopping = True
        await super().stop(now=now)  # type: ignore[misc]

    async def run_post_stop_hook(self) -> None:
        """Report the end, unless the process outlived its stop; then run the operator's hook.

        The hub calls this after refused, failed and cancelled starts too.
        """
        spawner: Any = self
        try:
            if self.token_run is not None:
                await runtime.current().agent.stopped(self.token_run, super().get_state())  # type: ignore[misc]
        except asyncio.CancelledError:
            raise
        except Exception:
            spawner.log.exception("Cannot report the end of the server of %s", spawner._log_name)
        await maybe_future(super().run_post_stop_hook())  # type: ignore[misc]

    # --- over a restart of the hub ------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return the base's state and the key of the run."""
        state: dict[str, Any] = super().get_state()  # type: ignore[misc]
        run = self.token_run
        if run is not None and run.open and run.phase != "lingering" and run.start_key is not None:
            state[_STATE_KEY] = {
                "start_key": run.start_key,
                "session_id": run.session_id,
                "profile": run.profile,
            }
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the base's state and the run that an earlier hub process started."""
        super().load_state(state)  # type: ignore[misc]
        known = state.get(_STATE_KEY)
        if not isinstance(known, dict) or not isinstance(known.get("start_key"), str):
            return
        spawner: Any = self
        self.token_run = Run(
            spawner=self,
            member=identity_of(spawner.user),
            server_name=spawner.name,
            start_key=known["start_key"],
            phase="starting",
            profile=known.get("profile"),
            session_id=known.get("session_id"),
            restored=True,
        )
        runtime.current().agent.restored(self.token_run)
