"""Every column of text in the books: whose data it may hold, and what erasing does with it.

A test compares this list with the schema: a new column has to be classified before it can be
released.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

__all__ = ["TEXT_COLUMNS", "Class"]

#: *id*: opaque, made by us. *word*: of a fixed set, of the catalogue or computed, about nobody.
#: *erased*: personal, emptied or replaced. *deleted*: personal, the row goes. *reference*: the
#: payment provider's name of a payment, which a late dispute still needs; nobody can tell from it
#: who it was without the provider. *duty*: who did something on duty and what they wrote, kept,
#: because the books must say who moved money.
Class = Literal["id", "word", "erased", "deleted", "reference", "duty"]

TEXT_COLUMNS: Mapping[str, Mapping[str, Class]] = {
    "admin_act_remarks": {"act_id": "id", "reason": "erased"},
    "admin_acts": {
        "act_id": "id", "actor": "duty", "kind": "word", "member_id": "id", "subject": "word",
    },
    "admin_months": {"caller": "duty", "month": "word"},
    "break_glass_acts": {
        "act_id": "id", "hub": "word", "actor": "duty", "how": "word", "reason": "duty",
        "profiles": "word",
    },
    "break_glass_ends": {"act_id": "id", "actor": "duty"},
    "break_glass_starts": {"start_key": "id", "act_id": "id", "session_id": "id"},
    "bulk_acts": {
        "act_id": "id", "caller": "duty", "key": "word", "request_hash": "word", "actor": "duty",
        "action": "word", "reason": "duty",
    },
    "bulk_items": {
        "act_id": "id", "member_id": "id", "plan": "word", "starts": "word", "state": "word",
        "code": "word", "message": "word",
    },
    "closed_figures": {
        "month": "word", "section": "word", "plan": "word", "cost_centre": "word", "team": "word",
        "profile": "word", "source": "word", "kind": "word", "account": "word",
        "currency": "word", "amount": "word",
    },
    "closed_months": {"month": "word", "zone": "word", "actor": "duty", "reason": "duty"},
    "closed_reports": {"month": "word", "digest": "word"},
    "cluster_ends": {"session_id": "id", "reason": "word", "node": "word"},
    "deliveries": {
        "notice_id": "id", "channel": "deleted", "state": "deleted", "last_error": "deleted",
    },
    "entries": {"transaction_id": "id", "account": "word", "grant_id": "id", "session_id": "id"},
    "erasures": {"erasure_id": "id", "member_id": "id", "actor": "duty", "reason": "duty"},
    "grants": {"grant_id": "id", "wallet_id": "id", "source": "word"},
    "hubs": {"hub": "word", "epoch": "id", "past_epochs": "id"},
    "idempotency": {"caller": "duty", "key": "erased", "request_hash": "word", "answer": "id"},
    "invoices": {
        "invoice_id": "id", "provider": "word", "member_id": "id", "currency": "word",
        "actor": "erased", "checkout_url": "erased", "paid_by": "duty", "payment_ref": "reference",
        "transaction_id": "id", "grant_id": "id",
    },
    "late_postings": {"item_id": "id", "month": "word"},
    "member_facts": {"member_id": "id", "facts": "deleted"},
    "member_settings": {
        "member_id": "id", "language": "deleted", "zone": "deleted", "channels": "deleted",
        "urgency": "deleted", "email": "deleted", "email_asked": "deleted",
    },
    "members": {"member_id": "id", "hub_created": "erased", "name": "erased", "state": "word"},
    "money_moves": {
        "move_id": "id", "kind": "word", "provider": "word", "member_id": "id",
        "invoice_id": "id", "plan": "word", "cost_centre": "word", "currency": "word",
    },
    "notices": {"notice_id": "id", "member_id": "id", "kind": "deleted", "params": "deleted"},
    "payment_accounts": {
        "provider": "word", "subscription_ref": "reference", "member_id": "id", "plan": "word",
    },
    "payment_bills": {
        "provider": "word", "bill_ref": "reference", "subscription_ref": "reference",
    },
    "payment_disputes": {
        "provider": "word", "dispute_id": "reference", "payment_ref": "reference",
    },
    "payment_events": {"provider": "word", "event_id": "reference", "kind": "word"},
    "payment_refunds": {"provider": "word", "payment_ref": "reference"},
    "plan_changes": {
        "change_id": "id", "subscription_id": "id", "kind": "word", "plan": "word",
        "actor": "erased", "reason": "erased",
    },
    "question_answers": {
        "question_id": "id", "outcome": "word", "text": "erased", "actor": "duty",
        "transaction_id": "id",
    },
    "questions": {
        "question_id": "id", "member_id": "id", "session_id": "id", "category": "word",
        "text": "erased",
    },
    "remarks": {"transaction_id": "id", "actor": "erased", "reason": "erased", "salt": "erased"},
    "seal_heads": {"wallet_id": "id", "head_hash": "word"},
    "seals": {"previous_hash": "word", "hash": "word"},
    "server_reports": {"session_id": "id", "busy": "deleted"},
    "sessions": {
        "session_id": "id", "wallet_id": "id", "member_id": "id", "hub": "word",
        "server_name": "erased", "start_key": "id", "hub_started": "erased",
        "profile": "word", "image": "word", "gpu_model": "word", "end_reason": "word",
        "stop_by_reason": "word", "stop_reason": "word", "idle_warn_ms": "word",
    },
    "ssh_keys": {
        "key_id": "deleted", "member_id": "deleted", "name": "deleted", "key": "deleted",
        "kind": "deleted", "fingerprint": "deleted",
    },
    "stop_orders": {
        "order_id": "id", "session_id": "id", "reason": "word", "outcome": "word",
        "detail": "erased",
    },
    "subscriptions": {
        "subscription_id": "id", "member_id": "id", "team_id": "id", "plan": "word",
        "next_plan": "word", "trial_plan": "word", "terms": "word", "zone": "word",
        "cost_centre": "erased",
    },
    "team_invitations": {
        "invitation_id": "id", "team_id": "id", "member_id": "id", "invited_by": "id",
        "answer": "word",
    },
    "team_members": {"team_id": "id", "member_id": "id"},
    "teams": {"team_id": "id", "name": "word"},
    "tombstones": {"start_key": "id"},
    "transactions": {
        "transaction_id": "id", "wallet_id": "id", "kind": "word", "actor": "word",
        "reason": "word", "remark_hash": "word", "previous_hash": "word", "hash": "word",
        "plan": "word", "cost_centre": "word",
    },
    "voucher_batches": {"batch_id": "id", "note": "duty", "actor": "duty", "revoked_by": "duty"},
    "voucher_tries": {"try_id": "deleted", "member_id": "deleted"},
    "vouchers": {
        "code_hash": "word", "batch_id": "id", "member_id": "id", "transaction_id": "id",
    },
    "wallet_periods": {"wallet_id": "id", "plan": "word", "currency": "word"},
    "wallets": {
        "wallet_id": "id", "kind": "word", "member_id": "id", "team_id": "id", "head_hash": "word",
    },
}  # fmt: skip
