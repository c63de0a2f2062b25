"""The books: the only code that writes money.

`books` holds every operation; `wallet` is a wallet under its lock, which the operations in
`membership`, `sessions`, `observe` and `credits` use; `reads`, `statements` and `audit` only
read; `schema`, `store` and `migrate` are the database underneath.
"""

from jhub_tokens.ledger.audit import Finding
from jhub_tokens.ledger.books import Ledger, open_ledger
from jhub_tokens.ledger.records import (
    AdvanceReport,
    GrantBooked,
    GrantView,
    LedgerError,
    MemberRecord,
    MemberSummary,
    NotAdmitted,
    NoticeRecord,
    ObserveReport,
    Payer,
    PlanChange,
    Prospect,
    SessionRecord,
    StatementEntry,
    StatementView,
    StopOrderRecord,
    WalletView,
)
from jhub_tokens.ledger.store import DatabaseProblem

__all__ = [
    "AdvanceReport",
    "DatabaseProblem",
    "Finding",
    "GrantBooked",
    "GrantView",
    "Ledger",
    "LedgerError",
    "MemberRecord",
    "MemberSummary",
    "NotAdmitted",
    "NoticeRecord",
    "ObserveReport",
    "Payer",
    "PlanChange",
    "Prospect",
    "SessionRecord",
    "StatementEntry",
    "StatementView",
    "StopOrderRecord",
    "WalletView",
    "open_ledger",
]
