"""A hub in virtual time: its servers, and the snapshots in which its agent tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from jhub_tokens.clock import ManualClock
from jhub_tokens.ledger import Ledger, ObserveReport
from jhub_tokens.wire import EndSeen, Identity, ServerSeen, Snapshot

__all__ = ["Server", "SimulatedHub"]


@dataclass(slots=True, eq=False)
class Server:
    """One run of one server, as it truly is."""

    key: str
    owner: int  # number of the person
    identity: Identity
    hub: SimulatedHub
    name: str
    profile: str
    rate_mtok_h: int
    works_to_ms: int  # its owner is there until then
    ends_ms: int  # when it would end by itself
    ready_ms: int | None = None
    ended_ms: int | None = None
    alive_ms: int | None = None  # the latest proof of life that was told
    stop_at_ms: int | None = None  # when the books would stop it, as of the latest snapshot
    leaving: bool = False  # a stop is under way
    ordered: bool = False  # the books ordered it to stop
    over: bool = False

    def cost_grains(self) -> int:
        """Return what this run costs: rate times milliseconds, from ready to its end."""
        if self.ready_ms is None or self.ended_ms is None:
            return 0
        return self.rate_mtok_h * (self.ended_ms - self.ready_ms)


@dataclass(slots=True)
class _End:
    ready_ms: int | None
    ended_ms: int
    reason: str


@dataclass(slots=True, eq=False)
class SimulatedHub:
    """One hub with its agent. Everything it knows it tells through `Ledger.observe`.

    Like the agent it repeats an end until a receipt names it.
    """

    ledger: Ledger
    clock: ManualClock
    name: str
    servers: dict[str, Server] = field(default_factory=dict)
    untold: dict[str, _End] = field(default_factory=dict)
    told_ms: int = 0
    snapshots: int = 0
    _processes: int = 0
    _sequence: int = 0
    _last: Snapshot | None = None

    def restart(self) -> None:
        """Begin anew as another hub process; the servers run on."""
        self._processes += 1
        self._sequence = 0

    def end(self, server: Server, ended_ms: int, reason: str) -> None:
        """Note the end of a server, for the next snapshot."""
        del self.servers[server.key]
        server.over = True
        server.ended_ms = ended_ms
        self.untold[server.key] = _End(server.ready_ms, ended_ms, reason)

    def lose(self, server: Server) -> None:
        """Have a server vanish without anybody knowing when: it lived as long as was told."""
        del self.servers[server.key]
        server.over = True
        server.ended_ms = server.alive_ms

    def tell(self) -> ObserveReport:
        """Push a snapshot of all servers, and what has ended since the last one."""
        snapshot = self._snapshot()
        now_ms = self.clock.now_ms()
        report = self.ledger.observe(snapshot)
        self.snapshots += 1
        self.told_ms = now_ms
        self._last = snapshot
        for server in self.servers.values():
            if server.ready_ms is not None:
                server.alive_ms = now_ms
            server.stop_at_ms = None
        for seen, stop_at_ms in zip(report.servers, report.stop_at_ms, strict=True):
            if seen.start_key in self.servers:
                self.servers[seen.start_key].stop_at_ms = stop_at_ms
        for key in report.ended:
            self.untold.pop(key, None)
        return report

    def repeat(self) -> None:
        """Push the latest snapshot once more, as a network does that delivers twice."""
        if self._last is not None:
            self.ledger.observe(self._last)
            self.snapshots += 1

    def _snapshot(self) -> Snapshot:
        now_ms = self.clock.now_ms()
        self._sequence += 1
        return Snapshot(
            hub=self.name,
            epoch=f"process-{self._processes:06}",
            sequence=self._sequence,
            servers=[
                ServerSeen(
                    member=server.identity,
                    server_name=server.name,
                    start_key=server.key,
                    ready_age_ms=None if server.ready_ms is None else now_ms - server.ready_ms,
                    alive_age_ms=None if server.ready_ms is None else 0,
                )
                for server in self.servers.values()
            ],
            ended=[
                EndSeen(
                    start_key=key,
                    ready_age_ms=None if end.ready_ms is None else now_ms - end.ready_ms,
                    ended_age_ms=now_ms - end.ended_ms,
                    reason=end.reason,
                )
                for key, end in self.untold.items()
            ],
        )
