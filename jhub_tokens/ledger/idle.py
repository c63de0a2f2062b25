"""When a server that nothing uses will be stopped: what is known of its use, and what follows.

Absence of news is not idleness. A server that has reported from inside is idle by its own
reports alone, and by recent ones: whoever has spoken once is not presumed idle when silent, for
it may do what nobody outside can see. One that never reported (no extension in it) is idle by
the hub's word. Where neither is known, nothing is.

Nothing is written while a server is used: its wallet is looked at when it would have to be
warned, and by then later use has put that off.
"""

from __future__ import annotations

from dataclasses import dataclass

from jhub_tokens.ledger.cuts import Cut
from jhub_tokens.ledger.rows import Row
from jhub_tokens.ledger.wallet import STOP_SAID, OpenWallet

__all__ = [
    "LOOK_AGAIN_MS",
    "REPORT_AGAIN_MS",
    "Idle",
    "idle_of",
    "is_waited_for",
    "report_again_ms",
    "unheard_after_ms",
]

#: A report that says the same is written down again after this time only: with thousands of
#: servers that report each minute, the books would do little else.
REPORT_AGAIN_MS = 5 * 60_000
#: A server's report comes so long after the one before, at the latest.
ASK_MS_MAX = 75_000
#: The hub hears from a server's proxy and from the server itself every five minutes.
HUB_BEHIND_MS = 5 * 60_000
#: A server known by the hub alone, while the hub is silent, is looked at again so often.
LOOK_AGAIN_MS = 5 * 60_000


@dataclass(frozen=True, slots=True)
class Idle:
    """A server that is not in use, as far as is known: since when, and when it is stopped.

    Parameters
    ----------
    since_ms
        Nothing has used it since.
    cut
        Its end if that goes on.
    warn_before_ms
        How long before that end its member is warned, the earliest first.
    """

    since_ms: int
    cut: Cut
    warn_before_ms: tuple[int, ...]

    def is_near(self, now_ms: int) -> bool:
        """Tell whether its end is so near that its member has been warned, or is now."""
        return self.cut.at_ms - max(self.warn_before_ms, default=0) <= now_ms


def report_again_ms(session: Row) -> int:
    """Return after what time a session's report is written down again although it says the same."""
    stop_ms = session["idle_stop_ms"]
    return REPORT_AGAIN_MS if stop_ms is None else min(REPORT_AGAIN_MS, stop_ms // 4)


def unheard_after_ms(session: Row) -> int:
    """Return how old the last word may be for a server still to be known as idle."""
    return report_again_ms(session) + ASK_MS_MAX


def idle_of(wallet: OpenWallet, session: Row) -> Idle | None:
    """Return how idle a session's server is, None if nobody can tell or nobody asks.

    Its end is never sooner than the policy says, and never without the whole time of warning: if
    it could be warned late only, it ends that much later.
    """
    stop_ms, now_ms = session["idle_stop_ms"], wallet.now_ms
    if stop_ms is None or session["ready_ms"] is None:
        return None
    report = wallet.reports.get(session["session_id"], {})
    reported_ms, hub_ms = report.get("reported_ms"), session["hub_active_ms"]
    if reported_ms is not None:
        heard_ms, used_ms = reported_ms, report["active_ms"]
    elif hub_ms is not None:
        heard_ms, used_ms = session["alive_to_ms"], hub_ms + HUB_BEHIND_MS
    else:
        return None
    # What was ordered stands, though a server that is being stopped reports no more.
    ordered = session["stop_reason"] == "idle" or session["idle_noticed_ms"] == STOP_SAID
    if now_ms - heard_ms > unheard_after_ms(session) and not ordered:
        return None
    uses = (session["ready_ms"], used_ms, report.get("active_ms"), report.get("keep_until_ms"))
    since_ms = max(instant for instant in uses if instant is not None)
    stop_time_ms = session["stop_time_ms"]
    warns = sorted((ms for ms in session["idle_warn_ms"] or () if ms > stop_time_ms), reverse=True)
    warned_ms = session["idle_warned_ms"]
    if warned_ms is None or warned_ms <= since_ms:
        warned_ms = now_ms
    at_ms = max(since_ms + stop_ms + stop_time_ms, warned_ms + max(warns, default=0))
    return Idle(since_ms, Cut(at_ms, at_ms - stop_time_ms, "idle"), tuple(warns))


def is_waited_for(wallet: OpenWallet, session: Row) -> bool:
    """Tell whether a session is to be looked at again although nothing is known of its use now.

    A server that reports makes itself heard; of one that does not, only the hub can tell.
    """
    report = wallet.reports.get(session["session_id"], {})
    return (
        session["idle_stop_ms"] is not None
        and session["ready_ms"] is not None
        and report.get("reported_ms") is None
        and session["hub_active_ms"] is not None
    )
