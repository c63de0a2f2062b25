from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_tokens.units import (
    GRAINS_MAX,
    GRAINS_PER_TOKEN,
    MILLISECONDS_PER_HOUR,
    AmountError,
    cost_grains,
    format_tokens,
    grains_to_tokens,
    parse_tokens_mtok,
    rounded_differences,
)


def test_an_hour_at_a_rate_costs_the_rate():
    for tokens in (1, 10, 30):
        assert cost_grains(tokens * 1000, MILLISECONDS_PER_HOUR) == tokens * GRAINS_PER_TOKEN


def test_the_largest_wallet_fits_int64():
    assert GRAINS_MAX < 2**63


@pytest.mark.parametrize(
    ("text", "mtok"),
    [
        ("12", 12_000),
        ("0.5", 500),
        ("-3.001", -3_001),
        (0.25, 250),
        (7, 7000),
    ],
)
def test_reads_amounts_as_people_write_them(text, mtok):
    assert parse_tokens_mtok(text) == mtok


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ten",
        "1.2345",
        "1e3",
        "--1",
        "nan",
        True,
        None,
        "9999999999",
        "1.",
        " ",
        "١٢x",
        "1,5",
        "1,000",
        "1_000",
    ],
)
def test_refuses_what_is_no_amount(text):
    with pytest.raises(AmountError) as refusal:
        parse_tokens_mtok(text)
    assert "token" in str(refusal.value)


@given(st.integers(-GRAINS_MAX, GRAINS_MAX))
def test_shown_amounts_are_within_half_a_unit(grains):
    shown = Decimal(format_tokens(grains, 3).replace(",", ""))
    assert abs(shown * GRAINS_PER_TOKEN - grains) <= GRAINS_PER_TOKEN // 2000


@given(st.lists(st.integers(-(10**13), 10**13), max_size=30))
def test_rounded_lines_add_up_to_the_rounded_total(amounts):
    assert sum(rounded_differences(amounts)) == grains_to_tokens(sum(amounts), 2)


@pytest.mark.parametrize(
    ("grains", "text"),
    [
        (0, "0"),
        (-1, "0"),
        (GRAINS_PER_TOKEN, "1"),
        (1234 * GRAINS_PER_TOKEN, "1,234"),
        (100 * GRAINS_PER_TOKEN, "100"),
        (GRAINS_PER_TOKEN // 2, "0.5"),
        (-GRAINS_PER_TOKEN * 3 // 2, "-1.5"),
    ],
)
def test_formats_for_people(grains, text):
    assert format_tokens(grains) == text
