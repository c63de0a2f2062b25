"""Words for notices: every kind and reason, in every language, complete in itself."""

from __future__ import annotations

from string import Formatter
from typing import get_args

import pytest

from jhub_tokens import i18n
from jhub_tokens.catalogue import Catalogue, parse_catalogue
from jhub_tokens.ledger.ends import TOLD
from jhub_tokens.ledger.records import Language, NoticeKind, NoticeRecord, StopReason
from jhub_tokens.service import texts
from jhub_tokens.service.notice_texts import notice_severity, notice_subject, notice_text
from jhub_tokens.service.notice_words import WORDS
from tests.service.conftest import CATALOGUE
from tests.service.test_texts import NOW

HOUR_MS = 3_600_000
SERVERS = [{"server_name": "a", "profile": "gpu"}, {"profile": "gone"}]
ONE = [{"profile": "cpu"}]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return parse_catalogue(CATALOGUE, "catalogue.yaml")


def record(kind: str, params: dict[str, object], language: Language = "en") -> NoticeRecord:
    return NoticeRecord("1", "m", kind, params, NOW, language)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "params", "words"),
    [
        ("used_percent", {"percent": 80}, "You have used 80 %"),
        ("time_left", {"threshold_ms": 600_000, "dry_at_ms": NOW}, "lasts 10 min more"),
        (
            "time_left",
            {"reason": "max_run", "threshold_ms": 600_000, "dry_at_ms": NOW, "servers": ONE},
            "Your server (CPU) is stopped in 10 min, today 10:00:00 CET: the longest run",
        ),
        (
            "time_left",
            {"reason": "frozen", "threshold_ms": 120_000, "dry_at_ms": NOW, "servers": SERVERS},
            "are stopped in 2 min, today 10:00:00 CET: your membership is frozen.",
        ),
        ("last_warning", {"stop_at_ms": NOW, "dry_at_ms": NOW}, "are stopped today 10:00:00 CET"),
        (
            "last_warning",
            {"reason": "left_team", "stop_at_ms": NOW, "dry_at_ms": NOW, "servers": ONE},
            "your server (CPU) is stopped today 10:00:00 CET, because you are no longer in the",
        ),
        (
            "stopped_dry",
            {"servers": SERVERS, "renews_at_ms": NOW},
            "Your servers (One GPU “a”, gone) were stopped because your balance is used up. "
            "Your files are kept. New tokens arrive today",
        ),
        ("stopped_dry", {}, "Your servers were stopped because your balance is used up"),
        ("stopped", {"reason": "day_limit", "servers": ONE}, "Your server (CPU) was stopped be"),
        ("stopped", {"reason": "team_cap", "servers": ONE}, "your share of the team's tokens"),
        ("would_stop", {"servers": ONE}, "Your server (CPU) would have been"),
        ("would_stop", {"servers": ONE, "reason": "week_limit"}, "spent in a week is spent, but"),
        ("credited", {"grains": "3600000000", "reason": "prize"}, "1 token added"),
        ("credited", {"grains": "3600000000", "reason": "a {prize}"}, "Reason: a {prize}"),
        ("credited", {"grains": "-7200000000"}, "2 tokens taken"),
        (
            "refunded",
            {"grains": "3600000000", "profile": "gpu", "server_name": "a", "reason": "disk"},
            "1 token given back for your server (One GPU “a”). Reason: disk",
        ),
        ("past_due", {"plan": "pro", "freezes_at_ms": NOW}, "fee for Pro could not be collected"),
        ("renewed", {"grains": "180000000000", "period_end_ms": NOW}, "with 50 tokens; it ends"),
        ("expiring", {"grains": "3600000000", "expires_at_ms": NOW}, "1 token will expire today"),
        ("plan_changed", {"plan": "pro"}, "Your plan is now Pro."),
        ("plan_scheduled", {"plan": "gone", "at_ms": NOW}, "will change to gone today 10:00:00"),
        ("plan_kept", {"plan": "pro"}, "you keep Pro."),
        ("trial_started", {"plan": "pro", "until_ms": NOW}, "trial of Pro has begun; it ends"),
        ("frozen", {"reason": "unpaid"}, "Reason: unpaid"),
        ("unfrozen", {}, "active again"),
        ("stop_failed", {"detail": "no answer"}, "tried again: no answer."),
        (
            "ended",
            {"reason": "oom", "at_ms": NOW, "servers": ONE},
            "Your server (CPU) ended today 10:00:00 CET, because it ran out of memory. It is "
            "charged up to then. Your files are kept. Load less at once",
        ),
        ("ended", {"reason": "preempted", "at_ms": NOW, "servers": ONE}, "was taken back"),
        (
            "ssh_key_added",
            {"key_name": "laptop", "fingerprint": "SHA256:abc"},
            "The SSH key “laptop” (SHA256:abc) opens your servers",
        ),
        ("used_percent", {"percent": 80, "team": "bio"}, "The team bio has used 80 % of this"),
        (
            "time_left",
            {"threshold_ms": 600_000, "dry_at_ms": NOW, "team": "bio"},
            "the tokens of the team bio last 10 min more",
        ),
        (
            "time_left",
            {"threshold_ms": 1, "dry_at_ms": NOW, "team": "bio", "reason": "idle", "servers": ONE},
            "Your server (CPU) is idle",
        ),
        ("last_warning", {"stop_at_ms": NOW, "team": "bio"}, "tokens of the team bio are used up"),
        ("stopped_dry", {"servers": ONE, "team": "bio"}, "stopped because the tokens of the team"),
        (
            "stopped",
            {"reason": "day_limit", "servers": ONE, "team": "bio"},
            "Your server (CPU) was",
        ),
        ("would_stop", {"servers": ONE, "team": "bio"}, "tokens of the team bio are used up, but"),
        ("credited", {"grains": "3600000000", "team": "bio"}, "to the balance of the team bio."),
        ("credited", {"grains": "-3600000000", "team": "bio"}, "from the balance of the team bio."),
        (
            "refunded",
            {"grains": "3600000000", "profile": "cpu", "reason": "disk", "team": "bio"},
            "1 token given back to the team bio for a server (CPU). Reason: disk",
        ),
        (
            "renewed",
            {"grains": "3600000000", "team": "bio"},
            "new period of the team bio has begun",
        ),
        ("expiring", {"grains": "3600000000", "expires_at_ms": NOW, "team": "bio"}, "of the team"),
        ("plan_changed", {"plan": "pro", "team": "bio"}, "The plan of the team bio is now Pro."),
        ("team_invited", {"team": "bio"}, "invited to the team bio"),
        ("team_accepted", {"team": "bio", "name": "ada"}, "accepted: ada is in it now"),
        ("team_declined", {"team": "bio", "name": "ada"}, "declined by ada"),
        ("team_removed", {"team": "bio"}, "no longer in the team bio"),
        ("something_new", {}, "Something new"),
    ],
)
def test_every_notice_has_a_text(
    kind: str, params: dict[str, object], words: str, catalogue: Catalogue
) -> None:
    notice = record(kind, params)
    assert words in notice_text(notice, catalogue, NOW)
    assert notice_severity(kind) in ("info", "warning", "danger")
    subject = notice_subject(notice, catalogue)
    assert subject and "\n" not in subject and len(subject) < 80


def test_every_kind_and_reason_is_in_every_language() -> None:
    for words in WORDS.values():
        assert set(get_args(NoticeKind)) <= set(words.notices)
        assert set(words.why) == set(words.will) == set(get_args(StopReason))
        assert set(words.ended) == set(TOLD)


def test_languages_tell_the_same() -> None:
    """A text that is missing, or that forgets an instant, would show here."""
    english, *others = WORDS.values()

    def names(text: str) -> set[str]:
        fields = {name for _, name, _, _ in Formatter().parse(text) if name}
        return fields - {"is_", "was"}  # verbs, which Chinese does without

    for words in others:
        assert set(words.notices) == set(english.notices)
        for kind, (subject, text) in english.notices.items():
            assert names(text) == names(words.notices[kind][1]), kind
            assert names(subject) == names(words.notices[kind][0]), kind
        for part in ("footer", "confirm_subject", "confirm_text", "reason", "renews"):
            assert names(getattr(words, part)) == names(getattr(english, part)), part


def test_a_notice_in_chinese_at_the_members_own_place(catalogue: Catalogue) -> None:
    params: dict[str, object] = {
        "reason": "day_limit",
        "threshold_ms": 5_400_000,
        "dry_at_ms": NOW + 16 * HOUR_MS,
        "servers": ONE,
    }
    notice = NoticeRecord("1", "m", "time_left", params, NOW, "zh", "Asia/Shanghai")
    assert notice_text(notice, catalogue, NOW) == (
        "您的服务器（CPU）将在 1 小时 30 分钟后停止（明天 09:00 CST）：届时将达到每日使用上限。"
        "请及时保存您的工作。"
    )
    assert "2026年11月25日（周三） 09:00:00 CST" in notice_text(notice, catalogue, None)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("invoice 1a2b3c4d paid", "原因：付款单 1a2b3c4d 已支付"),
        ("Prize of May", "原因：Prize of May"),
    ],
)
def test_a_reason_of_the_books_is_translated_and_a_person_s_is_not(
    catalogue: Catalogue, reason: str, told: str
) -> None:
    params: dict[str, object] = {"grains": "3600000000", "reason": reason}
    notice = NoticeRecord("1", "m", "credited", params, NOW, "zh", "Asia/Shanghai")
    with i18n.speaking("en"):
        assert told in notice_text(notice, catalogue, NOW)


def test_read_later_nothing_is_today(catalogue: Catalogue) -> None:
    notice = record("expiring", {"grains": "7200000000", "expires_at_ms": NOW})
    text = notice_text(notice, catalogue, None)
    assert text == "2 tokens will expire Tue 24 Nov 2026 10:00:00 CET unless they are used before."


@pytest.mark.parametrize("reason", get_args(StopReason))
def test_a_stop_and_an_end_say_why(reason: str) -> None:
    assert texts.stop_text(reason).endswith(".")
    assert texts.end_text(reason).startswith("stopped because")
