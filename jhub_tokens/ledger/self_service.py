"""What members may do with their plan themselves, what that would come to, and doing it.

The catalogue says which of these acts are open. A plan that has a price is never had this way: it
begins when its fee is paid. While a fee is collected for the present plan nothing changes here, so
that nobody pays for a plan that they have left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select

from jhub_tokens.catalogue import Catalogue, Plan
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.fees import fee_accounts
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.plans import (
    cancel_in_wallet,
    change_in_wallet,
    find_plan,
    record,
    settled_wallet,
    try_in_wallet,
    upgrade_mtok,
)
from jhub_tokens.ledger.records import LedgerError, PlanChange
from jhub_tokens.ledger.repeats import Repeat
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.subscriptions import own_plan
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.units import GRAINS_PER_MILLITOKEN

__all__ = ["Act", "Choice", "Choices", "SelfServiceBooks"]

#: *resume*: back to the plan that was held before a pause.
Act = Literal["upgrade", "downgrade", "pause", "resume", "trial"]
_changes = schema.plan_changes


@dataclass(frozen=True, slots=True)
class Choice:
    """One act that is open to a member, and what it comes to.

    Parameters
    ----------
    act, plan
        What is done, and the plan that holds afterwards.
    at_ms
        When it begins.
    at_once
        Whether that is now.
    added_grains
        Tokens that are added at once.
    until_ms
        Until when it lasts, for a trial.
    """

    act: Act
    plan: str
    at_ms: int
    at_once: bool
    added_grains: int = 0
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """What is open to a member now.

    Parameters
    ----------
    present
        The plan held; it may have left the catalogue.
    open
        The acts that are open.
    waiting
        A change that waits for the next period.
    may_keep
        Whether the member may take that change back.
    paying
        Who collects a fee for the present plan, if anybody does.
    trial, trial_until_ms
        A trial that runs.
    """

    present: Plan
    now_ms: int
    period_end_ms: int
    open: tuple[Choice, ...]
    waiting: PlanChange | None
    may_keep: bool
    paying: str | None
    trial: str | None
    trial_until_ms: int | None

    def find(self, act: str, plan: str) -> Choice | None:
        """Return the open act of this name about this plan."""
        return next((c for c in self.open if (c.act, c.plan) == (act, plan)), None)


class SelfServiceBooks:
    """The operations, each one transaction that blocks on the database.

    Parameters
    ----------
    runner
        Runs them.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def choices(self, member_id: str) -> Choices:
        """Return what is open to a member; raises `LedgerError` (``unknown_member``)."""
        return self._runner.read(_choices, member_id)

    def choose(self, member_id: str, act: Act, plan: str, *, actor: str, key: str) -> PlanChange:
        """Do one of the acts that are open. Idempotent by `key`.

        Raises
        ------
        LedgerError
            ``unknown_member``, ``unknown_plan``, ``not_open``, ``idempotency_conflict``, or
            ``wait`` while a renewal waits to be booked; nothing was written.
        """
        return self._runner.write(_choose, member_id, act, plan, actor, key)


def _choices(connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str) -> Choices:
    wallet = load_wallet(connection, catalogue, now_ms, member_id, lock=False)
    return _look(wallet, catalogue)


def _choose(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    act: Act,
    plan: str,
    actor: str,
    key: str,
) -> PlanChange:
    target = find_plan(catalogue, plan)
    wallet = settled_wallet(connection, catalogue, now_ms, member_id)
    # Not by name: the key outlives the member's data.
    repeat = Repeat(connection, f"member:{member_id}", key, ["plan", act, plan])
    answered = repeat.answer()
    if answered is not None:
        query = select(_changes).where(_changes.c.change_id == answered["change_id"])
        return record(connection.execute(query).mappings().one())
    if _look(wallet, catalogue).find(act, plan) is None:
        raise LedgerError(
            "not_open", _("This change is not open to you now; look at your plan again."), "plan"
        )
    if act == "trial":
        change = try_in_wallet(wallet, catalogue, target, actor=actor)
    elif act == "pause":
        change = cancel_in_wallet(wallet, catalogue, actor=actor, reason="")
    else:
        change = change_in_wallet(wallet, catalogue, target, when=None, actor=actor, reason="")
    repeat.keep({"change_id": change.change_id}, now_ms)
    return change


# --- what is open ------------------------------------------------------------------------------


def _look(wallet: OpenWallet, catalogue: Catalogue) -> Choices:
    subscription, row = wallet.subscription, wallet.row
    present = own_plan(subscription, catalogue)
    connection, member_id = wallet.connection, row["member_id"]
    member = connection.execute(
        select(schema.members.c.name, schema.members.c.state).where(
            schema.members.c.member_id == member_id
        )
    ).one()
    found = connection.execute(
        select(_changes)
        .where(_changes.c.subscription_id == subscription["subscription_id"])
        .order_by(_changes.c.at_ms.desc(), _changes.c.created_ms.desc())
    ).mappings()
    changes = [dict(change) for change in found]
    waiting = next((c for c in changes if _waits(c, wallet.now_ms)), None)
    paying = next(
        (
            account.provider
            for account in fee_accounts(connection, catalogue, wallet.now_ms, member_id)
            if account.state in ("active", "past_due")
        ),
        None,
    )
    trial_until_ms = subscription["trial_until_ms"]
    trying = trial_until_ms is not None and trial_until_ms > wallet.now_ms
    closed = member.state != "active" or paying is not None or row["period_end_ms"] <= wallet.now_ms
    offered = () if closed else _open(wallet, catalogue, present, waiting, changes, trying=trying)
    return Choices(
        present,
        wallet.now_ms,
        row["period_end_ms"],
        tuple(offered),
        record(waiting) if waiting else None,
        waiting is not None
        and not closed
        and bool(catalogue.self_service)
        and waiting["kind"] in ("chosen", "cancel")
        and waiting["actor"] == member.name,
        paying,
        subscription["trial_plan"] if trying else None,
        trial_until_ms if trying else None,
    )


def _waits(change: Mapping[str, Any], now_ms: int) -> bool:
    return (
        change["applied_ms"] is None and change["revoked_ms"] is None and change["at_ms"] > now_ms
    )


def _open(
    wallet: OpenWallet,
    catalogue: Catalogue,
    present: Plan,
    waiting: Mapping[str, Any] | None,
    changes: list[dict[str, Any]],
    *,
    trying: bool,
) -> list[Choice]:
    allowed = catalogue.self_service
    now_ms, end_ms = wallet.now_ms, wallet.row["period_end_ms"]
    coming = waiting["plan"] if waiting else None
    paused_from = _paused_from(wallet, present, changes) if "pause" in allowed else None
    found: list[Choice] = []
    for plan in catalogue.plans.values():
        free = plan.price is None
        if plan.name != present.name and free and plan.name != coming:
            bigger = plan.allotment_mtok > present.allotment_mtok
            act: Act = "upgrade" if bigger else "downgrade"
            may = act in allowed and plan.self_service
            if plan.name == paused_from:
                act, may = "resume", True
            if may:
                at_once = bigger and plan.upgrade == "now"
                added = upgrade_mtok(wallet, present, plan) if at_once else 0
                at_ms = now_ms if at_once else end_ms
                found.append(Choice(act, plan.name, at_ms, at_once, added * GRAINS_PER_MILLITOKEN))
        tried = any(c["kind"] == "trial" and c["plan"] == plan.name for c in changes)
        if (
            plan.trial is not None
            and "trial" in allowed
            and plan.self_service
            and plan.name != present.name
            and not tried
            and not trying
        ):
            until_ms = now_ms + plan.trial.duration_ms
            added = plan.trial.allotment_mtok * GRAINS_PER_MILLITOKEN
            found.append(Choice("trial", plan.name, now_ms, True, added, until_ms))
    default = catalogue.default_plan
    if "pause" in allowed and default not in (present.name, coming):
        found.append(Choice("pause", default, end_ms, False))
    return found


def _paused_from(wallet: OpenWallet, present: Plan, changes: list[dict[str, Any]]) -> str | None:
    """Return the plan held before a pause that the member asked for, if that is what holds now."""
    past = [c for c in changes if c["applied_ms"] is not None and c["kind"] != "trial"]
    if not past or past[0]["kind"] != "cancel" or past[0]["plan"] != present.name:
        return None
    member = select(schema.members.c.name).where(
        schema.members.c.member_id == wallet.row["member_id"]
    )
    if wallet.connection.execute(member).scalar() != past[0]["actor"]:
        return None  # somebody else ended the plan
    if len(past) > 1:
        return str(past[1]["plan"])
    # The rules gave it, from the beginning on.
    periods = schema.wallet_periods
    query = (
        select(periods.c.plan)
        .where(periods.c.wallet_id == wallet.wallet_id, periods.c.plan != present.name)
        .order_by(periods.c.n.desc())
        .limit(1)
    )
    held: str | None = wallet.connection.execute(query).scalar()
    return held
