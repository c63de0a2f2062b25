"""Who pays how much, in closed form: grants laid end to end along the stream of what is owed.

Within a stretch of time in which neither who burns nor who may pay changes, what is owed is one
stream of grains: in each millisecond every session's rate, in session order. A grant pays a
piece of that stream. How much of a piece belongs to which session is a division, not a walk, so
this shares neither code nor method with `jhub_tokens.burndown`.
"""

from collections import defaultdict
from itertools import pairwise


class ClosedForm:
    """Grants and meters as plain tuples.

    Parameters
    ----------
    grants
        ``(id, amount, priority, age, starts_ms, expires_ms or None)``.
    meters
        ``(id, rate, from_ms, to_ms)``, in session order.
    """

    def __init__(self, grants, meters):
        self.grants = grants
        self.meters = meters
        self.left = {grant[0]: grant[1] for grant in grants}
        self.paid = defaultdict(int)  # (session, grant or None) → grains

    def run(self, from_ms, to_ms):
        """Work out all that is paid from `from_ms` to `to_ms`."""
        instants = {from_ms, to_ms}
        for *_, starts_ms, expires_ms in self.grants:
            instants |= {starts_ms, expires_ms}
        for _, _, begin_ms, end_ms in self.meters:
            instants |= {begin_ms, end_ms}
        stretches = sorted(t for t in instants if t is not None and from_ms <= t <= to_ms)
        for begin_ms, end_ms in pairwise(stretches):
            self._stretch(begin_ms, end_ms)
        self._lapse(to_ms)
        return self

    def _lapse(self, now_ms):
        for grant_id, *_, expires_ms in self.grants:
            if expires_ms is not None and expires_ms <= now_ms:
                self.left[grant_id] = 0

    def _stretch(self, begin_ms, end_ms):
        self._lapse(begin_ms)
        burning = [m for m in self.meters if m[1] and m[2] <= begin_ms and end_ms <= m[3]]
        owed = sum(m[1] for m in burning) * (end_ms - begin_ms)
        payers = [g for g in self.grants if g[4] <= begin_ms and (g[5] is None or begin_ms < g[5])]
        payers.sort(key=lambda g: (g[2], float("inf") if g[5] is None else g[5], g[3]))
        at = 0
        for grant_id, *_ in payers:
            piece = min(self.left[grant_id], owed - at)
            self._pay(burning, at, at + piece, grant_id)
            self.left[grant_id] -= piece
            at += piece
        self._pay(burning, at, owed, None)

    def _pay(self, burning, start, end, grant_id):
        """Share the piece [`start`, `end`) of the stream among the sessions that owe it."""
        for (session_id, *_), before, until in zip(
            burning, _shares(burning, start), _shares(burning, end), strict=True
        ):
            if until > before:
                self.paid[session_id, grant_id] += until - before


def _shares(burning, position):
    """Return how much of the stream's first `position` grains each session owes."""
    total = sum(m[1] for m in burning)
    whole_ms, rest = divmod(position, total) if total else (0, 0)
    for _, rate, *_ in burning:
        part = min(rest, rate)
        rest -= part
        yield whole_ms * rate + part
