"""Changes of plan: now or at the next period, trials, cancelling, and taking a change back.

One change at most waits for the next period; the table of changes tells who wanted it and why,
and keeps what is past. An upgrade at once adds the difference of the two allotments for what is
left of the period; a downgrade waits, so that nothing is ever taken back.
"""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, insert, select, update

from jhub_tokens import burndown
from jhub_tokens.catalogue import Catalogue, Plan
from jhub_tokens.i18n import N_, _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.deadlines import notify
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.records import LedgerError, PlanChange
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.ledger.subscriptions import own_plan, terms_of
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.units import GRAINS_PER_MILLITOKEN

__all__ = [
    "cancel_in_wallet",
    "cancel_plan",
    "change_by_rule",
    "change_in_wallet",
    "change_plan",
    "find_plan",
    "follow_rules",
    "plan_changes",
    "record",
    "revoke_change",
    "settled_wallet",
    "start_trial",
    "try_in_wallet",
    "upgrade_mtok",
]

When = Literal["now", "next"]
_changes = schema.plan_changes


# --- reading -----------------------------------------------------------------------------------


def plan_changes(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> tuple[PlanChange, ...]:
    """Return a member's changes of plan, the latest first."""
    wallet = load_wallet(connection, catalogue, now_ms, member_id, lock=False)
    query = (
        select(_changes)
        .where(_changes.c.subscription_id == wallet.subscription["subscription_id"])
        .order_by(_changes.c.at_ms.desc(), _changes.c.created_ms.desc(), _changes.c.change_id)
    )
    return tuple(record(row) for row in connection.execute(query).mappings())


def record(row: Any) -> PlanChange:
    """Return a row of the table of changes as a record."""
    return PlanChange(
        row["change_id"],
        row["kind"],
        row["plan"],
        row["at_ms"],
        row["created_ms"],
        row["applied_ms"],
        row["revoked_ms"],
        row["actor"],
        row["reason"],
    )


# --- operations --------------------------------------------------------------------------------


def change_plan(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    *,
    plan: str,
    when: When | None,
    actor: str,
    reason: str,
) -> PlanChange:
    """Change a member's plan; see `Ledger.change_plan`."""
    target = find_plan(catalogue, plan)
    wallet = settled_wallet(connection, catalogue, now_ms, member_id)
    return change_in_wallet(wallet, catalogue, target, when=when, actor=actor, reason=reason)


def change_in_wallet(
    wallet: OpenWallet,
    catalogue: Catalogue,
    target: Plan,
    *,
    when: When | None,
    actor: str,
    reason: str,
) -> PlanChange:
    """Change the plan of a settled wallet, and save it."""
    present = own_plan(wallet.subscription, catalogue)
    if target.name == present.name:
        raise _same_plan(target)
    bigger = target.allotment_mtok > present.allotment_mtok
    if when == "now" and not bigger:
        raise LedgerError(
            "not_an_upgrade",
            _(
                "%(plan)s has no more tokens than %(present)s: such a change waits for the next "
                "period.",
                plan=target.spoken().title,
                present=present.spoken().title,
            ),
            "when",
        )
    at_once = when == "now" or (when is None and bigger and target.upgrade == "now")
    wallet.subscription["pinned"] = True
    if at_once:
        change = _upgrade(wallet, present, target, actor, reason)
    else:
        change = _schedule(wallet, "chosen", target, actor, reason)
    _close_anew(wallet, catalogue)
    return change


def start_trial(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    *,
    plan: str,
    actor: str,
) -> PlanChange:
    """Let a member try a plan; see `Ledger.start_trial`."""
    target = find_plan(catalogue, plan)
    wallet = settled_wallet(connection, catalogue, now_ms, member_id)
    return try_in_wallet(wallet, catalogue, target, actor=actor)


def try_in_wallet(
    wallet: OpenWallet, catalogue: Catalogue, target: Plan, *, actor: str
) -> PlanChange:
    """Start a trial of `target` in a settled wallet, and save it."""
    subscription, now_ms = wallet.subscription, wallet.now_ms
    if target.trial is None:
        message = _("The plan %(plan)s has no trial.", plan=target.spoken().title)
        raise LedgerError("no_trial", message, "plan")
    if own_plan(subscription, catalogue).name == target.name:
        raise _same_plan(target)
    tried = select(_changes.c.change_id).where(
        _changes.c.subscription_id == subscription["subscription_id"],
        _changes.c.kind == "trial",
        _changes.c.plan == target.name,
    )
    if wallet.connection.execute(tried).first() is not None:
        message = _(
            "%(plan)s was tried before; each plan can be tried once.", plan=target.spoken().title
        )
        raise LedgerError("tried_before", message, "plan")
    if subscription["trial_until_ms"] is not None:
        message = _("Another trial is running; wait for its end.")
        raise LedgerError("trial_runs", message, "plan")
    until_ms = now_ms + target.trial.duration_ms
    subscription["trial_plan"], subscription["trial_until_ms"] = target.name, until_ms
    if target.trial.allotment_mtok:
        amount = target.trial.allotment_mtok * GRAINS_PER_MILLITOKEN
        span = {"at_ms": wallet.at_ms, "starts_ms": now_ms, "expires_ms": until_ms}
        reason = N_("trial of the plan %(plan)s") % {"plan": target.title}
        wallet.credit("trial", amount, **span, actor=actor, reason=reason)
        wallet.forget_warnings()
    params = {"plan": target.name, "until_ms": until_ms}
    notify(wallet, "trial_started", params)
    change = _write(wallet, "trial", target, now_ms, actor, "", applied_ms=now_ms)
    _close_anew(wallet, catalogue)
    return change


def cancel_plan(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    *,
    actor: str,
    reason: str,
) -> PlanChange:
    """Let a plan end with its period; the default plan follows. See `Ledger.cancel_plan`."""
    wallet = settled_wallet(connection, catalogue, now_ms, member_id)
    return cancel_in_wallet(wallet, catalogue, actor=actor, reason=reason)


def cancel_in_wallet(
    wallet: OpenWallet, catalogue: Catalogue, *, actor: str, reason: str
) -> PlanChange:
    """Let the plan of a settled wallet end with its period, and save it."""
    default = catalogue.plans[catalogue.default_plan]
    if own_plan(wallet.subscription, catalogue).name == default.name:
        message = _("The plan is %(plan)s, which everybody has.", plan=default.spoken().title)
        raise LedgerError("nothing_to_cancel", message, "plan")
    wallet.subscription["pinned"] = True
    change = _schedule(wallet, "cancel", default, actor, reason)
    _close_anew(wallet, catalogue)
    return change


def revoke_change(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    member_id: str,
    change_id: str,
) -> PlanChange:
    """Take a scheduled change back; see `Ledger.revoke_change`."""
    wallet = settled_wallet(connection, catalogue, now_ms, member_id)
    subscription = wallet.subscription
    query = select(_changes).where(
        _changes.c.change_id == change_id,
        _changes.c.subscription_id == subscription["subscription_id"],
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        raise LedgerError("unknown_change", _("There is no such change of plan."), "change_id")
    if row["applied_ms"] is not None or row["at_ms"] <= now_ms:
        message = _("This change has taken place already.")
        raise LedgerError("change_done", message, "change_id")
    if row["revoked_ms"] is None:
        _drop_waiting(wallet)
        subscription["next_plan"] = None
        subscription["pinned"] = _was_chosen(connection, subscription["subscription_id"])
        notify(wallet, "plan_kept", {"plan": subscription["plan"]})
        _close_anew(wallet, catalogue)
        row = connection.execute(query).mappings().one()
    return record(row)


def follow_rules(connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str) -> None:
    """Let the catalogue's rules decide the plan again, from the member's next sign-in on."""
    wallet = settled_wallet(connection, catalogue, now_ms, member_id)
    wallet.subscription["pinned"] = False
    close_wallet(wallet, catalogue)


def change_by_rule(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str, plan: str
) -> None:
    """Have `plan` hold from the next period on, once what is due is booked under the old one."""
    wallet = load_wallet(connection, catalogue, now_ms, member_id)
    wallet.advance()
    close_wallet(wallet, catalogue)
    if wallet.row["period_end_ms"] <= now_ms:
        return  # a renewal waits for proof of life, and is the old plan's: ask again later
    wallet = load_wallet(connection, catalogue, now_ms, member_id)
    if plan == wallet.subscription["plan"]:
        _drop_waiting(wallet)
        wallet.subscription["next_plan"] = None
    else:
        _schedule(wallet, "rule", catalogue.plans[plan], "", "")
    _close_anew(wallet, catalogue)


# --- parts -------------------------------------------------------------------------------------


def find_plan(catalogue: Catalogue, name: str) -> Plan:
    """Return a plan of the catalogue, or refuse (``unknown_plan``)."""
    if name not in catalogue.plans:
        names = ", ".join(catalogue.plans)
        message = _(
            "There is no plan “%(name)s”. Choose one of: %(names)s.", name=name[:80], names=names
        )
        raise LedgerError("unknown_plan", message, "plan")
    return catalogue.plans[name]


def _same_plan(plan: Plan) -> LedgerError:
    message = _("The plan is %(plan)s already.", plan=plan.spoken().title)
    return LedgerError("same_plan", message, "plan")


def settled_wallet(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str
) -> OpenWallet:
    """Return a member's wallet, locked, with what is due booked under the present plan.

    Raises
    ------
    LedgerError
        ``unknown_member``, or ``wait`` while a renewal waits for proof of life.
    """
    wallet = load_wallet(connection, catalogue, now_ms, member_id)
    wallet.advance()
    close_wallet(wallet, catalogue)
    if wallet.row["period_end_ms"] <= now_ms:
        message = _("A new period is about to be booked; try again in a minute.")
        raise LedgerError("wait", message)
    return load_wallet(connection, catalogue, now_ms, member_id)


def _close_anew(wallet: OpenWallet, catalogue: Catalogue) -> None:
    """Save, and once more: when a wallet runs dry depends on the plan that is to come."""
    close_wallet(wallet, catalogue)
    loaded = load_wallet(wallet.connection, catalogue, wallet.now_ms, wallet.row["member_id"])
    close_wallet(loaded, catalogue)


def _upgrade(
    wallet: OpenWallet, present: Plan, target: Plan, actor: str, reason: str
) -> PlanChange:
    """Change the plan at once, with the difference for what is left of the period.

    Pro rata floors once, to a millitoken.
    """
    row = wallet.row
    wallet.hold(target)
    extra_mtok = upgrade_mtok(wallet, present, target)
    if extra_mtok:
        survives = target.rollover_periods
        wallet.credit(
            "upgrade",
            extra_mtok * GRAINS_PER_MILLITOKEN,
            at_ms=wallet.at_ms,
            starts_ms=wallet.now_ms,
            expires_ms=row["period_end_ms"],
            rolls=burndown.ALWAYS if survives is None else survives,
            actor=actor,
            reason=reason or f"{present.title} → {target.title}",
        )
        row["allotment_grains"] += extra_mtok * GRAINS_PER_MILLITOKEN
        row["percent_noticed"] = 0
        wallet.forget_warnings()
    _drop_waiting(wallet)
    subscription = wallet.subscription
    subscription["terms"] = terms_of(target, subscription)
    subscription["plan"], subscription["next_plan"] = target.name, None
    notify(wallet, "plan_changed", {"plan": target.name})
    return _write(wallet, "chosen", target, wallet.now_ms, actor, reason, applied_ms=wallet.now_ms)


def upgrade_mtok(wallet: OpenWallet, present: Plan, target: Plan) -> int:
    """Return what an upgrade now adds: the difference, for what is left of the period."""
    row = wallet.row
    left_ms = row["period_end_ms"] - wallet.now_ms
    period_ms = row["period_end_ms"] - row["period_start_ms"]
    return int((target.allotment_mtok - present.allotment_mtok) * left_ms // period_ms)


def _schedule(wallet: OpenWallet, kind: str, target: Plan, actor: str, reason: str) -> PlanChange:
    """Have `target` hold from the next period on, in place of what was to come.

    Asked again, the change that waits is the answer: nobody schedules the same thing twice.
    """
    waiting = wallet.connection.execute(select(_changes).where(_waiting(wallet))).mappings().first()
    if waiting is not None and (waiting["kind"], waiting["plan"]) == (kind, target.name):
        return record(waiting)
    _drop_waiting(wallet)
    at_ms = wallet.row["period_end_ms"]
    wallet.subscription["next_plan"] = target.name
    notify(wallet, "plan_scheduled", {"plan": target.name, "at_ms": at_ms})
    return _write(wallet, kind, target, at_ms, actor, reason)


def _waiting(wallet: OpenWallet) -> ColumnElement[bool]:
    return and_(
        _changes.c.subscription_id == wallet.subscription["subscription_id"],
        _changes.c.applied_ms.is_(None),
        _changes.c.revoked_ms.is_(None),
        _changes.c.at_ms > wallet.now_ms,
    )


def _drop_waiting(wallet: OpenWallet) -> None:
    waiting = update(_changes).where(_waiting(wallet))
    wallet.connection.execute(waiting.values(revoked_ms=wallet.now_ms))


def _write(
    wallet: OpenWallet,
    kind: str,
    target: Plan,
    at_ms: int,
    actor: str,
    reason: str,
    applied_ms: int | None = None,
) -> PlanChange:
    row = {
        "change_id": new_id(),
        "subscription_id": wallet.subscription["subscription_id"],
        "kind": kind,
        "plan": target.name,
        "at_ms": at_ms,
        "created_ms": wallet.now_ms,
        "applied_ms": applied_ms,
        "revoked_ms": None,
        "actor": actor,
        "reason": reason,
    }
    wallet.connection.execute(insert(_changes), row)
    return record(row)


def _was_chosen(connection: Connection, subscription_id: str) -> bool:
    """Tell whether somebody chose the present plan, rather than the catalogue's rules."""
    query = (
        select(_changes.c.kind)
        .where(
            _changes.c.subscription_id == subscription_id,
            _changes.c.applied_ms.is_not(None),
            _changes.c.kind != "trial",
        )
        .order_by(_changes.c.at_ms.desc(), _changes.c.created_ms.desc())
        .limit(1)
    )
    return connection.execute(query).scalar() in ("chosen", "cancel")
