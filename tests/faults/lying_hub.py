"""A hub whose snapshots lie: lost, late, doubled, reordered, stale, with servers left out.

`LyingHub` is the true world and the channel; `Knowledge` is what can be known of it from what
was delivered, in the order of delivery. Neither shares code with the ledger.
"""

import uuid
from dataclasses import dataclass, field

from jhub_tokens.wire import EndSeen, Identity, ServerSeen, Snapshot

RACE_MS = 5_000  # a start this fresh may be missing from a list


@dataclass
class Run:
    """One run of one server, as it truly was."""

    identity: Identity
    name: str
    started: str
    began_ms: int
    first_key: str | None = None  # None: nobody asked the books
    key: str | None = None  # as the agent knows it now: receipts name adopted servers
    admitted_ms: int | None = None
    ready_ms: int | None = None
    ended_ms: int | None = None


@dataclass
class Known:
    """What the books can know of a run: spans that are proven, and what is open."""

    key: str | None = None  # of the session that is open
    opened_ms: int | None = None  # when that session came into being
    seen_starting_ms: int = 0
    from_ms: int | None = None
    proof_ms: int | None = None
    spans: list = field(default_factory=list)

    def close(self, end_ms):
        if self.from_ms is not None and end_ms > self.from_ms:
            self.spans.append((self.from_ms, end_ms))
        self.key = self.opened_ms = self.from_ms = self.proof_ms = None

    def alive(self, from_ms, proof_ms):
        if self.from_ms is None:
            self.from_ms = from_ms
            self.proof_ms = from_ms
        self.proof_ms = max(self.proof_ms, proof_ms)


@dataclass
class Message:
    """A snapshot under way, with the truth that it speaks of."""

    snapshot: Snapshot
    sent_ms: int
    taken_ms: int
    shown: list  # (run, ready or None, proof or None)
    ends: list  # (key, ready or None, ended)


class LyingHub:
    """Servers that come and go, an agent that tells of them, and a channel that spoils it."""

    def __init__(self, world, chance, number):
        self.world = world
        self.chance = chance
        self.name = f"hub-{number}"
        self.people = [self._person(f"{self.name}-{letter}") for letter in "abc"]
        self.runs = []
        self.ends = {}  # key → run, until a receipt names it
        self.under_way = []  # (due, message)
        self.heard = set()  # epochs of which a message has arrived
        self.stale = None  # a list that the cache gives out again: (taken, [(run, ready)])
        self.restart()

    def restart(self):
        """As after kill -9: ends that were not confirmed are forgotten."""
        self.epoch = uuid.uuid4().hex
        self.sequence = 0
        self.ends = {}
        self.stale = None

    @property
    def now_ms(self):
        return self.world.clock.now_ms()

    def _person(self, name):
        identity = self.world.identity(name)
        self.world.ledger.ensure_member(identity)
        return identity

    def _lives(self):
        return [run for run in self.runs if run.ended_ms is None]

    # --- what truly happens ---------------------------------------------------------------

    def happen(self):
        """Let something happen to servers and users."""
        chance = self.chance
        if chance.random() < 0.35 and len(self._lives()) < 6:
            self._start(chance.choice(self.people))
        for run in self._lives():
            if run.ready_ms is None:
                if chance.random() < 0.6:
                    run.ready_ms = chance.randint(run.began_ms, self.now_ms)
            elif chance.random() < 0.08:
                self.end(run)
        index = chance.randrange(len(self.people))
        if chance.random() < 0.04:
            self._rename(index)
        if chance.random() < 0.03:
            self._recreate(index)
        if chance.random() < 0.03:
            self.restart()
        if chance.random() < 0.1:
            taken = [(run, run.ready_ms) for run in self._lives()]
            self.stale = None if self.stale else (self.now_ms, taken)

    def _start(self, identity):
        chance = self.chance
        number = len(self.runs)
        run = Run(identity, f"s{number}", f"{self.name}-run-{number}", self.now_ms)
        known = chance.random()
        if known < 0.8:
            run.key = run.first_key = uuid.uuid4().hex
        if known < 0.65:  # otherwise the service was away when it was to be asked
            member = self.world.ledger.ensure_member(identity)
            self.world.ledger.admit(
                member.member_id,
                server_name=run.name,
                start_key=run.key,
                profile="gpu",
                hub=self.name,
            )
            run.admitted_ms = self.now_ms
        self.runs.append(run)

    def end(self, run):
        run.ended_ms = self.now_ms
        if run.key is not None:
            self.ends[run.key] = run

    def _rename(self, index):
        old = self.people[index]
        new = self.people[index] = old.model_copy(update={"name": f"{old.name}x"})
        for run in self.runs:
            if run.identity == old:
                run.identity = new

    def _recreate(self, index):
        """Delete the user with all servers; the next one gets the same id again."""
        old = self.people[index]
        for run in self._lives():
            if run.identity == old:
                self.end(run)
        created = f"{old.created}+"
        self.people[index] = old.model_copy(update={"created": created})

    # --- what is told ---------------------------------------------------------------------

    def message(self, *, honest=False):
        """Return a snapshot as the agent makes it; a lying one may leave a server out."""
        now_ms, chance = self.now_ms, self.chance
        if honest:
            self.stale = None
        taken_ms, taken = self.stale or (now_ms, [(r, r.ready_ms) for r in self._lives()])
        if taken and not honest and chance.random() < 0.12:
            taken = [item for item in taken if item is not taken[0]]
        shown = [(run, ready, None if ready is None else taken_ms) for run, ready in taken]
        ends = [(key, run.ready_ms, run.ended_ms) for key, run in self.ends.items()]

        def age(instant_ms):
            return None if instant_ms is None else now_ms - instant_ms

        self.sequence += 1
        snapshot = Snapshot(
            hub=self.name,
            epoch=self.epoch,
            sequence=self.sequence,
            age_ms=now_ms - taken_ms,
            sent_at_ms=now_ms,
            servers=[
                ServerSeen(
                    member=run.identity,
                    server_name=run.name,
                    start_key=run.key,
                    started=run.started,
                    ready_age_ms=age(ready_ms),
                    alive_age_ms=age(proof_ms),
                    profile="gpu",
                )
                for run, ready_ms, proof_ms in shown
            ],
            ended=[
                EndSeen(start_key=key, ready_age_ms=age(ready_ms), ended_age_ms=age(ended_ms))
                for key, ready_ms, ended_ms in ends
            ],
        )
        return Message(snapshot, now_ms, taken_ms, shown, ends)

    def send(self, message):
        """Give a message to the channel: lost, late, twice, or as it should be."""
        fate = self.chance.random()
        late_ms = self.chance.randint(2_000, 200_000)
        if fate < 0.15:
            return
        if fate < 0.3:
            self.under_way.append((self.now_ms + late_ms, message))
            return
        self.under_way.append((self.now_ms, message))
        if fate < 0.45:
            self.under_way.append((self.now_ms + late_ms, message))

    def arriving(self):
        """Return the messages that arrive by now, in the order of their arrival."""
        due = sorted((m for m in self.under_way if m[0] <= self.now_ms), key=lambda m: m[0])
        self.under_way = [m for m in self.under_way if m[0] > self.now_ms]
        arrived = []
        for _, message in due:
            # A dead process that was never heard while it lived: a test of its own shows what
            # its message does, see test_snapshots.
            if message.snapshot.epoch in {self.epoch, *self.heard}:
                self.heard.add(message.snapshot.epoch)
                arrived.append(message)
        return arrived

    def hear(self, report):
        """Take in a receipt: which ends are booked, and the keys that adopted servers got."""
        for key in report.ended:
            self.ends.pop(key, None)
        by_start = {run.started: run for run in self._lives()}
        for server, session in zip(report.servers, report.sessions, strict=True):
            if server.started in by_start:
                by_start[server.started].key = session.start_key


class Knowledge:
    """What follows from the messages that arrived, worked out run by run."""

    def __init__(self):
        self.known = {}  # run's `started` → Known
        self.epochs = []
        self.sequence = 0
        self.too_late_ms = 0  # proven, but of a time that was settled before that was told

    def admitted(self, run):
        if run.started not in self.known and run.admitted_ms is not None:
            self.known[run.started] = Known(key=run.key, opened_ms=run.admitted_ms)

    def _is_news(self, snapshot):
        if snapshot.epoch in self.epochs[1:]:
            return False
        if self.epochs and snapshot.epoch == self.epochs[0]:
            if snapshot.sequence <= self.sequence:
                return False
        else:
            self.epochs.insert(0, snapshot.epoch)
        self.sequence = snapshot.sequence
        return True

    def learn(self, message, now_ms, settled_ms):
        """Take in a message; `settled_ms`: by run, up to when its wallet was settled before."""
        told = set()
        for key, ready_ms, ended_ms in message.ends:
            told.add(key)
            for known in self.known.values():
                if known.key != key:
                    continue
                if known.from_ms is None and ready_ms is not None:
                    known.from_ms = max(ready_ms, known.seen_starting_ms)
                known.close(ended_ms)
        if not self._is_news(message.snapshot):
            return
        shown = set()
        for (run, ready_ms, proof_ms), server in zip(
            message.shown, message.snapshot.servers, strict=True
        ):
            if server.start_key in told:
                continue
            shown.add(run.started)
            known = self.known.setdefault(run.started, Known())
            self._see(known, ready_ms, proof_ms, now_ms, settled_ms, run, message.taken_ms)
        for started, known in self.known.items():
            if known.opened_ms is None or started in shown or known.key in told:
                continue
            if known.opened_ms <= message.taken_ms - RACE_MS:
                known.close(known.proof_ms)  # the list is complete: it is gone

    def _see(self, known, ready_ms, proof_ms, now_ms, settled_ms, run, taken_ms):
        if known.opened_ms is not None:
            if proof_ms is None:
                known.seen_starting_ms = max(known.seen_starting_ms, taken_ms)
            else:
                known.alive(max(ready_ms, known.seen_starting_ms), proof_ms)
            return
        if proof_ms is None:
            return  # starting, and nobody admitted it: nothing burns yet
        since_ms = max(proof_ms, settled_ms.get(run.started, 0))
        self.too_late_ms += since_ms - proof_ms
        known.opened_ms = now_ms
        known.alive(since_ms, since_ms)

    def named(self, report):
        """Note under which keys the books meter what they adopted."""
        for server, session in zip(report.servers, report.sessions, strict=True):
            if server.started in self.known:
                self.known[server.started].key = session.start_key
