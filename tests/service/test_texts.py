"""Words for people: instants in the billing zone, durations, rates, notices."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jhub_tokens.service import texts
from jhub_tokens.service.errors import url_without_passwords, without_passwords

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
