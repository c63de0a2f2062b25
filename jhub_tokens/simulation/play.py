"""Playing a scenario: from event to event in virtual time, through the real ledger.

Nothing happens between two events, so the clock jumps: to the next visit, ready, end or stop of
a server, or to the next deadline that the warden's last pass named. The agent's proof of life is
pushed with each event of its hub, at each renewal, and when a hub with servers was silent for six
hours; real agents push every 30 s, which changes no figure.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger, NotAdmitted
from jhub_tokens.periods import period_at
from jhub_tokens.simulation.archetypes import Visit, visits
from jhub_tokens.simulation.hub import Server, SimulatedHub
from jhub_tokens.simulation.people import Life, Want, pick
from jhub_tokens.simulation.scenario import Person, Scenario, draw_ms

__all__ = ["Play"]

HUB_MEMBERS = 100  #: members for each hub: each snapshot is complete for its own
HEARTBEAT_MS = 6 * 3_600_000
#: A real agent's interval: how late it is seen that a server vanished.
SNAPSHOT_MS = 30_000
WEEK_MS = 7 * 86_400_000
WARDEN_BATCH = 200
#: What is due but could not be advanced is tried again after this time.
WARDEN_RETRY_MS = 500
RUN_MS_MIN = 60_000
#: How soon somebody at work stops a server after a warning.
LEAVE_MS = (30_000, 240_000)


class Play:
    """One simulation; single use.

    Parameters
    ----------
    ledger
        Empty books, opened with `clock` and the scenario's catalogue.
    clock
        The clock that the books go by; it is set from here on.
    scenario
        Who the members are, and when.
    progress
        Called with the share of the time that is done, from 0 to 1.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: ManualClock,
        scenario: Scenario,
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        self.ledger = ledger
        self.clock = clock
        self.scenario = scenario
        self.lives: list[Life] = []
        self.hubs: list[SimulatedHub] = []
        self.events = 0
        self.passes = 0
        self._progress = progress
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._queued = 0
        self._servers: dict[str, Server] = {}  # open ones, by start key
        self._deadline_ms: int | None = None
        self._warned_ms = max(scenario.catalogue.policy.warn_before_ms, default=0)

    def run(self) -> None:
        """Play from the start to the end, where all servers are stopped and all is booked."""
        self.clock.set_ms(self.scenario.start_ms)
        for number, person in enumerate(self.scenario.people):
            self._join(number, person)
        for hub in self.hubs:
            hub.tell()
        self._plan_calendar()
        self._warden()
        self._loop()
        self._close()

    # --- the course of time ---------------------------------------------------------------

    def _at(self, at_ms: int, act: Callable[..., None], *args: Any) -> None:
        self._queued += 1
        heapq.heappush(self._queue, (at_ms, self._queued, act, args))

    def _loop(self) -> None:
        start_ms, end_ms = self.scenario.start_ms, self.scenario.end_ms
        while True:
            at_ms = self._queue[0][0] if self._queue else end_ms
            if self._deadline_ms is not None and self._deadline_ms < min(at_ms, end_ms):
                self.clock.set_ms(self._deadline_ms)
                self._warden()
            elif at_ms >= end_ms:
                return
            else:
                _, _, act, args = heapq.heappop(self._queue)
                self.clock.set_ms(at_ms)
                act(*args)
                self.events += 1
                if not self.events % 100:
                    self._progress((at_ms - start_ms) / (end_ms - start_ms))

    def _plan_calendar(self) -> None:
        """Queue what happens by the calendar: renewals, heartbeats, restarts of the hubs."""
        scenario = self.scenario
        for instant in scenario.renewals_ms():
            self._at(instant, self._renewal)
        for hub in self.hubs:
            self._at(scenario.start_ms + HEARTBEAT_MS, self._heartbeat, hub)
            self._at(scenario.start_ms + WEEK_MS, self._restart, hub)

    def _renewal(self) -> None:
        for hub in self.hubs:
            hub.tell()  # what runs is proven alive, so nothing keeps the books from renewing
        self._warden()

    def _heartbeat(self, hub: SimulatedHub) -> None:
        now_ms = self.clock.now_ms()
        if hub.servers and now_ms - hub.told_ms >= HEARTBEAT_MS:
            self._tell(hub)
        self._at(max(now_ms, hub.told_ms) + HEARTBEAT_MS, self._heartbeat, hub)

    def _restart(self, hub: SimulatedHub) -> None:
        hub.restart()
        self._tell(hub)
        self._at(self.clock.now_ms() + WEEK_MS, self._restart, hub)

    def _close(self) -> None:
        """End what still runs and book everything up to the end."""
        self.clock.set_ms(self.scenario.end_ms)
        for server in list(self._servers.values()):
            self._over(server, self.scenario.end_ms, "stopped")
        for hub in self.hubs:
            hub.tell()
        self._warden()

    # --- books and agents -----------------------------------------------------------------

    def _tell(self, hub: SimulatedHub) -> None:
        report = hub.tell()
        now_ms = self.clock.now_ms()
        if any(stop_at_ms is not None and stop_at_ms <= now_ms for stop_at_ms in report.stop_at_ms):
            self._collect_stops()

    def _warden(self) -> None:
        """Run the warden's pass until nothing is due, and do what it ordered."""
        now_ms = self.clock.now_ms()
        notices = stops = 0
        while True:
            report = self.ledger.advance_due(WARDEN_BATCH)
            self.passes += 1
            notices += report.notices
            stops += report.stops_ordered
            next_ms = report.next_deadline_ms
            if not (report.wallets and next_ms is not None and next_ms <= now_ms):
                break
        self._deadline_ms = None if next_ms is None else max(next_ms, now_ms + WARDEN_RETRY_MS)
        if stops:
            self._collect_stops()
        if notices:
            self._look_for_warnings()

    def _collect_stops(self) -> None:
        """Have the agents carry out the stop orders that stand."""
        now_ms = self.clock.now_ms()
        keys = {order.session.start_key for order in self.ledger.standing_stops()}
        conditions = self.scenario.conditions
        for key in sorted(keys):  # the books' own order is by opaque ids
            server = self._servers.get(key)
            if server is None or server.ordered:
                continue
            server.ordered = True
            life = self.lives[server.owner]
            life.counts["stops"] += 1
            life.dry.append(now_ms)
            if server.leaving:
                continue
            server.leaving = True
            hung = life.rng.random() < conditions.hung_stop
            span = conditions.hung_stop_ms if hung else conditions.stop_ms
            self._at(now_ms + draw_ms(life.rng, span), self._end, server)

    def _look_for_warnings(self) -> None:
        """Let those at work read their notices, and some of them stop by themselves."""
        now_ms = self.clock.now_ms()
        owners = {
            server.owner
            for server in self._servers.values()
            if server.stop_at_ms is not None
            and server.stop_at_ms - now_ms <= self._warned_ms
            and now_ms < server.works_to_ms
        }
        for owner in sorted(owners):
            self._read_notices(self.lives[owner])

    def _read_notices(self, life: Life) -> None:
        notices = self.ledger.notices(life.member_id, unseen_only=True)
        if not notices:
            return
        self.ledger.mark_notices_seen(life.member_id, [notice.notice_id for notice in notices])
        if not {"time_left", "last_warning"} & {notice.kind for notice in notices}:
            return
        if life.rng.random() >= life.person.archetype.heeds_warning:
            return
        for server in life.servers.values():
            if not server.leaving and server.ready_ms is not None:
                server.leaving = True
                life.counts["heeded"] += 1
                leave_ms = round(life.rng.uniform(*LEAVE_MS))
                self._at(self.clock.now_ms() + leave_ms, self._end, server)

    # --- members --------------------------------------------------------------------------

    def _join(self, number: int, person: Person) -> None:
        scenario = self.scenario
        if number % HUB_MEMBERS == 0:
            name = f"hub-{len(self.hubs) + 1}"
            self.hubs.append(SimulatedHub(self.ledger, self.clock, name))
        names = scenario.catalogue.plans[person.plan].profiles
        # Nobody works in one that opens files only.
        offered = (p for name in names if not (p := scenario.catalogue.profiles[name]).files)
        profiles = sorted(offered, key=lambda p: p.rate_mtok_h)
        wishes = random.Random(f"{scenario.seed}/wishes/{number}")
        coming = visits(
            person.archetype,
            wishes,
            scenario.catalogue.zone,
            scenario.start_ms,
            scenario.end_ms,
        )
        life = Life(
            number,
            person,
            self.ledger.ensure_member(person.identity).member_id,
            self.hubs[-1],
            random.Random(f"{scenario.seed}/acts/{number}"),
            profiles,
            coming,
        )
        self.lives.append(life)
        if profiles:
            self._await_visit(life)

    def _await_visit(self, life: Life) -> None:
        visit = next(life.coming, None)
        if visit is not None:
            self._at(visit.starts_ms, self._visit, life, visit)

    def _visit(self, life: Life, visit: Visit) -> None:
        self._await_visit(life)
        for server in list(life.servers.values()):
            if server.ends_ms <= visit.starts_ms:
                self._end(server)  # one that was forgotten
        choice = pick(life.person.archetype.tastes, visit.taste, len(life.profiles))
        if visit.second or visit.starts_ms >= life.busy_to_ms:
            # Else they would go on with what they wanted before, whether they got it or not:
            # what is wanted must not depend on the limits.
            grains = life.profiles[choice].rate_mtok_h * (visit.ends_ms - visit.starts_ms)
            life.wants.append(Want(visit.starts_ms, grains))
            life.busy_to_ms = max(life.busy_to_ms, visit.ends_ms)
        if life.servers and not visit.second:
            return
        if visit.starts_ms < life.waits_to_ms:
            life.counts["not_tried"] += 1
        elif self._start(life, visit, choice) == "balance":
            self._make_do(life, visit, choice)

    def _make_do(self, life: Life, visit: Visit, refused: int) -> None:
        """Refused for want of balance: take a smaller profile that fits, or wait."""
        archetype = life.person.archetype
        smaller = life.profiles[:refused]
        if smaller and life.rng.random() < archetype.takes_smaller:
            prospects = self.ledger.prospects(life.member_id, smaller)
            fitting = [i for i, profile in enumerate(smaller) if prospects[profile.name].carried]
            if fitting and not self._start(life, visit, fitting[-1]):
                life.counts["smaller"] += 1
                return
        if life.rng.random() < archetype.waits_for_reset:
            catalogue = self.scenario.catalogue
            kind = catalogue.plans[life.person.plan].period
            now_ms = self.clock.now_ms()
            _, _, life.waits_to_ms = period_at(self.scenario.start_ms, now_ms, catalogue.zone, kind)

    def _start(self, life: Life, visit: Visit, choice: int) -> str:
        """Ask for a start; return the code of the refusal, empty if it was admitted."""
        now_ms = self.clock.now_ms()
        profile = life.profiles[choice]
        numbers = (f"run-{number}" if number else "" for number in range(len(life.servers) + 1))
        name = next(name for name in numbers if name not in life.servers)
        life.counts["asked"] += 1
        key = f"member-{life.number}-start-{life.counts['asked']}"
        try:
            _, refusal = self.ledger.admit(
                life.member_id,
                server_name=name,
                start_key=key,
                profile=profile.name,
                hub=life.hub.name,
            )
        except NotAdmitted as error:
            life.refusals.append((now_ms, error.code))
            return error.code
        if refusal is not None:  # shadow mode: it would have been refused
            life.refusals.append((now_ms, refusal.code))
        life.starts.append((now_ms, profile.name))
        server = Server(
            key,
            life.number,
            life.person.identity,
            life.hub,
            name,
            profile.name,
            profile.rate_mtok_h,
            visit.works_to_ms,
            visit.ends_ms,
        )
        self._servers[key] = life.servers[name] = life.hub.servers[key] = server
        conditions = self.scenario.conditions
        pulls = life.rng.random() < conditions.pull
        wait_ms = draw_ms(life.rng, conditions.pull_ms if pulls else conditions.start_ms)
        fails = life.rng.random() < conditions.failed_start
        self._at(now_ms + wait_ms, self._fail if fails else self._ready, server)
        return ""

    # --- servers --------------------------------------------------------------------------

    def _fail(self, server: Server) -> None:
        if not server.over:
            self.lives[server.owner].counts["failed"] += 1
            self._over(server, self.clock.now_ms(), "failed")
            self._tell(server.hub)

    def _ready(self, server: Server) -> None:
        if server.over:
            return
        now_ms = server.ready_ms = self.clock.now_ms()
        life = self.lives[server.owner]
        life.runs.append(server)
        self._tell(server.hub)
        if life.rng.random() < self.scenario.conditions.repeated:
            server.hub.repeat()
        self._warden()  # a server that begins to burn brings deadlines forward
        ends_ms = max(server.ends_ms, now_ms + RUN_MS_MIN)
        self._at(ends_ms, self._end, server)
        self._mishap(life, server, ends_ms)

    def _mishap(self, life: Life, server: Server, ends_ms: int) -> None:
        """Perhaps have a server crash, or vanish, while it runs."""
        conditions = self.scenario.conditions
        crashes = life.rng.random() < conditions.crash
        vanishes = life.rng.random() < conditions.lost
        assert server.ready_ms is not None
        at_ms = round(life.rng.uniform(server.ready_ms + RUN_MS_MIN, ends_ms))
        if vanishes:
            self._at(at_ms, self._vanish, server)
        elif crashes:
            noticed_ms = at_ms + draw_ms(life.rng, conditions.notice_ms)
            self._at(noticed_ms, self._notice_crash, server, at_ms)

    def _vanish(self, server: Server) -> None:
        """Prove a server alive for the last time; the next snapshot does not show it any more."""
        if not server.over:
            self._tell(server.hub)
            self._at(self.clock.now_ms() + SNAPSHOT_MS, self._lose, server)

    def _lose(self, server: Server) -> None:
        if not server.over:
            self._forget(server)
            server.hub.lose(server)
            self._tell(server.hub)

    def _notice_crash(self, server: Server, crashed_ms: int) -> None:
        """Learn late that a server ended, which was told to be alive meanwhile."""
        if not server.over:
            self._over(server, crashed_ms, "exited")
            self._tell(server.hub)

    def _end(self, server: Server) -> None:
        if not server.over:
            self._over(server, self.clock.now_ms(), "stopped")
            self._tell(server.hub)

    def _over(self, server: Server, ended_ms: int, reason: str) -> None:
        self._forget(server)
        server.hub.end(server, ended_ms, reason)

    def _forget(self, server: Server) -> None:
        del self._servers[server.key]
        del self.lives[server.owner].servers[server.name]
