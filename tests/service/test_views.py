import pytest

from jhub_tokens.catalogue import load_catalogue, shipped_catalogue
from jhub_tokens.ledger.records import MemberRecord, StatementEntry, StatementView
from jhub_tokens.service import views
from jhub_tokens.units import GRAINS_PER_TOKEN

ADA = MemberRecord("m", 1, "2026-01-01", "ada", "active", "basic", "w")


def line(kind: str, tokens: int, **facts: object) -> StatementEntry:
    known = {
        "session_id": None,
        "profile": None,
        "rate_mtok_h": None,
        "from_ms": None,
        "to_ms": None,
        "end_reason": None,
        "actor": "",
        "reason": "",
        **facts,
    }
    return StatementEntry(0, kind, tokens * GRAINS_PER_TOKEN, **known)  # type: ignore[arg-type]


def texts(*entries: StatementEntry, overrun: str = "waive") -> list[str]:
    catalogue = load_catalogue(shipped_catalogue("default"))
    policy = catalogue.policy.model_copy(update={"overrun": overrun})
    closing = sum(entry.amount_grains for entry in entries)
    view = StatementView(ADA, 0, 1000, 1000, 0, entries, closing)
    statement = views.statement(view, catalogue.model_copy(update={"policy": policy}))
    return [shown.text for shown in statement.lines]


@pytest.mark.parametrize(
    ("overrun", "words"), [("waive", "not charged"), ("deduct", "deducted from the next allotment")]
)
def test_overrun_says_what_becomes_of_it(overrun: str, words: str) -> None:
    (text,) = texts(line("overrun", 1), overrun=overrun)
    assert words in text
    assert "ran on after the balance was used up" in text


def test_usage_names_a_named_server() -> None:
    run = {"session_id": "s", "profile": "cpu", "end_reason": "stopped"}
    default, named = texts(line("usage", -1, **run), line("usage", -1, **run, server_name="train"))
    assert default.startswith("CPU ·")
    assert named.startswith("CPU “train” ·")
