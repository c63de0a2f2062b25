"""Closing wallets: what every operation does once it has said all it has to say."""

from __future__ import annotations

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.ledger.deadlines import reschedule
from jhub_tokens.ledger.saving import save_wallets
from jhub_tokens.ledger.subscriptions import terms_of
from jhub_tokens.ledger.wallet import OpenWallet

__all__ = ["close_wallet", "finish_wallet"]


def close_wallet(wallet: OpenWallet, catalogue: Catalogue) -> tuple[int, int]:
    """Reschedule and save; return how many notices and stop orders that gave."""
    done = finish_wallet(wallet, catalogue)
    save_wallets(wallet.connection, [wallet])
    return done


def finish_wallet(wallet: OpenWallet, catalogue: Catalogue) -> tuple[int, int]:
    """Reschedule without saving, for operations that save many wallets at once."""
    done = reschedule(wallet, catalogue.policy, enforce=catalogue.enforce)
    if wallet.renewed:
        plan, subscription = wallet.terms.coming, wallet.subscription
        subscription["terms"] = terms_of(plan, subscription)
        subscription["plan"], subscription["next_plan"] = plan.name, None
    trial_until_ms = wallet.subscription["trial_until_ms"]
    if trial_until_ms is not None and trial_until_ms <= wallet.now_ms:
        wallet.subscription["trial_plan"] = wallet.subscription["trial_until_ms"] = None
    return done.notices, done.stops
