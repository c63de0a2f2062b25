"""The health of service, database, hub and what is on its way; seals, and verifying the books."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from jhub_tokens import __version__
from jhub_tokens.i18n import _, ngettext
from jhub_tokens.ledger.pulse import Pulse
from jhub_tokens.ledger.seals import Seal
from jhub_tokens.service.errors import url_without_passwords
from jhub_tokens.service.handlers.admin.base import AdminPage
from jhub_tokens.service.texts import duration_text
from jhub_tokens.service.verifying import Verifier

__all__ = ["HealthPage", "VerifyPage"]

#: A hub tells every 30 s; of one that has been silent this long something is wrong.
_SILENT_MS = 120_000
_OVERDUE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the page."""

    name: str
    state: Literal["ok", "warning", "danger", "off"]
    text: str
    remedy: str = ""


class HealthPage(AdminPage):
    """The state of every part."""

    active = "health"

    @property
    def verifier(self) -> Verifier:
        """The one verifier of this process."""
        found: Verifier = self.application.settings["verifier"]
        return found

    async def get(self) -> None:
        """Show every part with its state."""
        books = self.service.books.ledger
        begun = time.perf_counter()
        pulse = await self.service.workers.read(books.oversight.pulse)
        read_ms = (time.perf_counter() - begun) * 1000
        last = await self.service.workers.read(books.seals.last)
        verified = self.verifier.last
        if verified is not None and verified.state == "running":
            self.set_header("Refresh", "3")
        self.show(
            "admin/health.html",
            parts=self._parts(pulse, last, read_ms),
            last_seal=last,
            verified=verified,
            seals_on=bool(self.service.settings.seal_every_ms),
            version=__version__,
        )

    def _parts(self, pulse: Pulse, last: Seal | None, read_ms: float) -> list[Part]:
        return [
            self._service(pulse),
            self._database(pulse, read_ms),
            self._catalogue(),
            *self._hubs(pulse),
            self._warden(pulse),
            self._stops(pulse),
            self._outbox(pulse),
            self._seals(pulse, last),
            self._payments(),
        ]

    def _service(self, pulse: Pulse) -> Part:
        backlog = self.service.workers.backlog
        text = _(
            "release %(version)s; requests at work: %(count)s", version=__version__, count=backlog
        )
        return Part(_("Token service"), "ok" if backlog < 200 else "warning", text)

    def _database(self, pulse: Pulse, read_ms: float) -> Part:
        url = url_without_passwords(self.service.settings.database_url)
        text = _(
            "%(url)s; schema %(revision)s; answered in %(ms)s ms",
            url=url, revision=pulse.revision, ms=f"{read_ms:.0f}",
        )  # fmt: skip
        return Part(_("Database"), "ok" if read_ms < 1000 else "warning", text)

    def _catalogue(self) -> Part:
        source = self.service.books.source
        if source.problem:
            return Part(
                _("Catalogue"),
                "warning",
                _("The file has mistakes; the last good one is in force."),
                source.problem,
            )
        return Part(_("Catalogue"), "ok", str(source.path))

    def _hubs(self, pulse: Pulse) -> list[Part]:
        if not pulse.hubs:
            return [
                Part(
                    _("Hub"),
                    "warning",
                    _("No hub has told anything yet."),
                    _("Snapshots come every 30 seconds: see the hub's log for the agent's reason."),
                )
            ]
        parts = []
        for hub in pulse.hubs:
            age_ms = pulse.as_of_ms - hub.observed_ms
            silent = age_ms > _SILENT_MS
            parts.append(
                Part(
                    _("Hub “%(name)s”", name=hub.hub),
                    "danger" if silent else "ok",
                    _("last snapshot %(ago)s ago", ago=duration_text(age_ms)),
                    _("Running servers are charged to the last proof of life only.")
                    if silent
                    else "",
                )
            )
        return parts

    def _warden(self, pulse: Pulse) -> Part:
        name = _("Deadlines")
        if pulse.due_since_ms is None:
            return Part(name, "ok", _("nothing is overdue"))
        late_ms = pulse.as_of_ms - pulse.due_since_ms
        text = _("the most overdue wallet waits for %(time)s", time=duration_text(late_ms))
        return Part(name, "ok" if late_ms < _OVERDUE_MS else "warning", text)

    def _stops(self, pulse: Pulse) -> Part:
        name = _("Stop orders")
        if pulse.oldest_stop_ms is None:
            return Part(name, "ok", _("none stands"))
        age_ms = pulse.as_of_ms - pulse.oldest_stop_ms
        text = ngettext(
            "%(count)s stands, since %(ago)s", "%(count)s stand, the oldest since %(ago)s",
            pulse.stop_orders, ago=duration_text(age_ms),
        )  # fmt: skip
        late = age_ms > 5 * _OVERDUE_MS or pulse.stops_failed
        return Part(
            name,
            "warning" if late else "ok",
            text,
            _("Failed at least once: %(count)s.", count=pulse.stops_failed)
            if pulse.stops_failed
            else "",
        )

    def _outbox(self, pulse: Pulse) -> Part:
        settings = self.service.settings
        channels = [
            name
            for name, on in ((_("e-mail"), settings.mail), (_("webhook"), settings.webhook))
            if on is not None
        ]
        name = _("Notices")
        if not channels:
            return Part(name, "off", _("shown on the pages only: no mail server, no webhook"))
        text = _(
            "by %(channels)s; on their way: %(waiting)s; given up within a day: %(failed)s",
            channels=", ".join(channels), waiting=pulse.waiting + pulse.unrouted,
            failed=pulse.failed,
        )  # fmt: skip
        return Part(name, "warning" if pulse.failed else "ok", text)

    def _seals(self, pulse: Pulse, last: Seal | None) -> Part:
        every_ms, name = self.service.settings.seal_every_ms, _("Seals")
        if not every_ms:
            return Part(name, "off", _("the books are not sealed: JHUB_TOKENS_SEAL_MINUTES is 0"))
        if last is None:
            return Part(name, "ok", _("none yet"))
        age_ms = pulse.as_of_ms - last.sealed_ms
        text = _("the last one %(ago)s ago", ago=duration_text(age_ms))
        if self.service.settings.seal_file is None:
            return Part(
                name,
                "warning",
                text,
                _("They are kept in the log only; set JHUB_TOKENS_SEAL_FILE to keep them apart."),
            )
        return Part(name, "ok", text)

    def _payments(self) -> Part:
        provider = self.service.payments
        if provider is None:
            return Part(_("Payments"), "off", _("no provider: tokens are not sold"))
        return Part(_("Payments"), "ok", self.service.settings.payments)


class VerifyPage(HealthPage):
    """Begins an audit of all books."""

    async def get(self) -> None:
        """Show the health: whoever reloads an answer begins nothing."""
        self.redirect(f"{self.service.settings.base_url}admin/health", status=303)

    async def post(self) -> None:
        """Begin, unless one runs."""
        await self.recheck()
        self.verifier.begin(self.service)
        self.redirect(f"{self.service.settings.base_url}admin/health", status=303)
