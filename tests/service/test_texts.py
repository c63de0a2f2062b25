"""Words for people: instants in the billing zone, durations, rates, notices."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jhub_tokens.catalogue import Catalogue, parse_catalogue
from jhub_tokens.ledger import NoticeRecord
from jhub_tokens.service import texts
from jhub_tokens.service.errors import url_without_passwords, without_passwords
from tests.service.conftest import CATALOGUE

BERLIN = "Europe/Berlin"


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOW = ms("2026-11-24 09:00")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        ("2026-11-24 13:05", "today 14:05 CET"),
        ("2026-11-24 09:02:03", "today 10:02:03 CET"),
        ("2026-11-24 08:59:59", "today 09:59:59 CET"),
        ("2026-11-24 23:30", "tomorrow 00:30 CET"),
        ("2026-11-23 22:59", "yesterday 23:59 CET"),
        ("2026-11-26 13:05", "Thu 26 Nov 14:05 CET"),
        ("2026-10-24 12:00", "Sat 24 Oct 14:00 CEST"),
        ("2027-01-01 00:00", "Fri 1 Jan 2027 01:00 CET"),
    ],
)
def test_instants(at: str, text: str) -> None:
    assert texts.instant_text(ms(at), NOW, BERLIN) == text


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0 s"),
        (499, "0 s"),
        (40_000, "40 s"),
        (3_600_000, "1 h"),
        (3_900_000, "1 h 5 min"),
        (3_605_000, "1 h"),
        (2 * 86_400_000 + 3 * 3_600_000 + 60_000, "2 d 3 h"),
        (-5, "0 s"),
    ],
)
def test_durations(duration_ms: int, text: str) -> None:
    assert texts.duration_text(duration_ms) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1000, "1 token/h"), (10_000, "10 tokens/h"), (500, "0.5 tokens/h"), (1, "0.001 tokens/h"),
     (0, "free"), (1_800_000, "1,800 tokens/h")],
)  # fmt: skip
def test_rates(rate: int, text: str) -> None:
    assert texts.rate_text(rate) == text


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return parse_catalogue(CATALOGUE, "catalogue.yaml")


@pytest.mark.parametrize(
    ("kind", "params", "words"),
    [
        ("used_percent", {"percent": 80}, "used 80 %"),
        ("time_left", {"threshold_ms": 600_000, "dry_at_ms": NOW}, "lasts 10 min more"),
        ("last_warning", {"stop_at_ms": NOW, "dry_at_ms": NOW}, "are stopped today 10:00:00 CET"),
        (
            "stopped_dry",
            {"servers": [{"server_name": "a", "profile": "gpu"}, {"profile": "gone"}]},
            "Your servers (One GPU “a”, gone) were stopped",
        ),
        ("stopped_dry", {}, "Your servers were stopped"),
        ("would_stop", {"servers": [{"profile": "cpu"}]}, "Your server (CPU) would have been"),
        ("credited", {"grains": "3600000000", "reason": "prize"}, "1 token added"),
        ("credited", {"grains": "-7200000000"}, "2 tokens taken"),
        ("renewed", {"grains": "180000000000", "period_end_ms": NOW}, "with 50 tokens"),
        ("frozen", {"reason": "unpaid"}, "Reason: unpaid"),
        ("unfrozen", {}, "active again"),
        ("stop_failed", {"detail": "no answer"}, "tried again: no answer."),
        ("something_new", {}, "something new"),
    ],
)
def test_every_notice_has_a_text(
    kind: str, params: dict[str, object], words: str, catalogue: Catalogue
) -> None:
    notice = NoticeRecord("1", "m", kind, params, NOW)  # type: ignore[arg-type]
    text = texts.notice_text(notice, catalogue, NOW)
    assert words in text
    assert texts.notice_severity(kind) in ("info", "warning", "danger")


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql+psycopg://u:s3cret@h:5432/db", "postgresql+psycopg://u:***@h:5432/db"),
        ("postgresql+psycopg://u:s3/cret@h/db", "postgresql+psycopg://u:***@h/db"),
        ("postgresql+psycopg://u:s3@cret@h/db", "postgresql+psycopg://u:***@h/db"),
        (
            "postgresql+psycopg://h/db?user=u&password=s3cret",
            "postgresql+psycopg://h/db?user=u&password=***",
        ),
        (
            "postgresql+psycopg://h/db?sslpassword=s3cret&user=u",
            "postgresql+psycopg://h/db?sslpassword=***&user=u",
        ),
        ("sqlite:////srv/tokens/books.sqlite", "sqlite:////srv/tokens/books.sqlite"),
    ],
)
def test_passwords_are_masked(url: str, masked: str) -> None:
    assert without_passwords(f"cannot reach {url} today") == f"cannot reach {masked} today"
    shown = url_without_passwords(url)  # SQLAlchemy sorts the keys
    assert "cret" not in shown
    assert sorted(shown) == sorted(masked)


def test_passwords_are_masked_however_they_are_written() -> None:
    assert url_without_passwords("postgresql://h/db?pass%77ord=s3cret").endswith("password=***")
    assert url_without_passwords("no URL, password=s3cret") == "no URL, password=***"
    assert without_passwords("host=h password='s3 cret' user=u") == "host=h password=*** user=u"
