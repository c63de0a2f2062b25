"""The stream of a member's open page, as Server-Sent Events."""

from __future__ import annotations

import asyncio
import json

import structlog
from sqlalchemy.exc import SQLAlchemyError
from tornado.iostream import StreamClosedError

from jhub_tokens import i18n
from jhub_tokens.i18n import _
from jhub_tokens.ledger import DatabaseProblem
from jhub_tokens.ledger.records import MemberRecord
from jhub_tokens.service import live, members
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers.page import PageHandler
from jhub_tokens.service.handlers.pages import ConsoleView, console_view

__all__ = ["EventsHandler"]

log = structlog.get_logger(__name__)

#: Whoever takes nothing for so long is gone, whatever the connection says.
_STUCK_S = 60.0


class EventsHandler(PageHandler):
    """Sends the live part of the overview whenever what it shows has changed."""

    def set_default_headers(self) -> None:
        """Set the headers of a stream."""
        super().set_default_headers()
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")  # proxies pass on each piece at once

    async def prepare(self) -> None:
        """See who calls; a page that went on without its person is not sent to sign in."""
        self._stream: live.Stream | None = None
        self.caller = await self.identify()
        if self.caller is None:
            raise Problem(401, "not_signed_in", _("Sign in first."))
        await self.speak_as_chosen(self.caller)

    async def get(self) -> None:
        """Send what changes until the page goes away or the stream is old."""
        member = await members.own_member(self.service, self.person)
        shown = str(self.get_query_argument("stamp", ""))[:64]
        streams = self.service.live
        with streams.joined(member.member_id, shown) as stream:
            self._stream = stream
            self.write("retry: 3000\n\n")
            sent = self.flush()
            loop = asyncio.get_running_loop()
            ends_at = loop.time() + live.age_s()
            stuck_at = loop.time() + _STUCK_S
            while loop.time() < ends_at:
                changed = await stream.next(min(live.BEAT_S, ends_at - loop.time()))
                if changed is None:
                    break
                if not sent.done():
                    if loop.time() > stuck_at:
                        break
                    continue  # it is told again by the next look
                stuck_at = loop.time() + _STUCK_S
                try:
                    piece = await self._piece(stream, member) if changed else ": \n\n"
                    if piece:
                        self.write(piece)
                        sent = self.flush()
                except StreamClosedError:
                    break

    async def _piece(self, stream: live.Stream, member: MemberRecord) -> str:
        """Return the event that brings the page up to date, empty if the books cannot be read."""
        try:
            async with self.service.live.rendering:
                view = await console_view(self.service, member)
                html = await self.service.workers.read(self._render, view)
        except (Problem, DatabaseProblem, SQLAlchemyError) as error:
            log.debug("open page not brought up to date", error=str(error))
            return ""
        stream.shown = view.stamp
        # JSON has no line breaks of its own, so that it is one line of the event.
        return f"event: overview\ndata: {json.dumps({'html': html})}\n\n"

    def _render(self, view: ConsoleView) -> str:
        template = self.service.templates.get_template("member/overview_live.html")
        return template.render(
            view=view, own=True, xsrf=self.form_token(), language=i18n.language()
        )

    def on_connection_close(self) -> None:
        """Let go of a page that went away."""
        if self._stream is not None:
            self._stream.end()

    def on_finish(self) -> None:
        """Leave streams out of the requests' durations: they last as long as people look."""
        if self._stream is None:
            super().on_finish()

    def write_problem(self, problem: Problem) -> None:
        """Say in a word why there is no stream; the page decides by the status."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(problem.message)
