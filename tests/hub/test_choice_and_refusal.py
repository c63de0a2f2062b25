"""Reading a choice, and saying why it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from jhub_spawner.choice import (
    Choice,
    choice_from_fields,
    choice_from_options,
    without_own_fields,
)
from jhub_spawner.refused import StartRefused, refusal_text, unavailable
from jhub_tokens import wire


def test_the_selects_of_the_chosen_card_count() -> None:
    fields = {"profile": ["gpu"], "image:cpu": ["a"], "image:gpu": ["b"], "gpu_model:gpu": ["T4"]}
    assert choice_from_fields(fields) == {"profile": "gpu", "image": "b", "gpu_model": "T4"}
    assert choice_from_fields({"profile": ["cpu"], "image": ["c"]}) == {
        "profile": "cpu",
        "image": "c",
    }
    assert choice_from_fields({}) == {"profile": ""}


def test_the_operators_own_fields_pass() -> None:
    fields = {"profile": ["x"], "image:x": ["y"], "_xsrf": ["z"], "branch": ["main"]}
    assert without_own_fields(fields) == {"branch": ["main"]}


def test_options_of_earlier_starts() -> None:
    assert choice_from_options({"profile": "cpu", "other": [1]}) == Choice("cpu")
    assert choice_from_options({"profile": ["cpu"], "image": ""}) == Choice("cpu")
    assert choice_from_options({}) == Choice("")


@pytest.mark.parametrize("hours", ["2", 2, 2.0, ["2"]])
def test_who_pays_and_for_how_long(hours: object) -> None:
    options = {"profile": "cpu", "payer": "physics", "max_run_hours": hours}
    choice = Choice("cpu", payer="physics", max_run_ms=7_200_000)
    assert choice_from_options(options) == choice


@pytest.mark.parametrize(
    "options",
    [
        [],
        None,
        "cpu",
        {"profile": 1},
        {"profile": True},
        {"profile": {}},
        {"profile": ["a", "b"]},
        {"profile": "x" * 10_000_000},
        {"profile": "cpu", "gpu_model": [1]},
        {"profile": "cpu", "max_run_hours": True},
        {"profile": "cpu", "max_run_hours": "soon"},
        {"profile": "cpu", "max_run_hours": "nan"},
        {"profile": "cpu", "max_run_hours": "1e300"},
        {"profile": "cpu", "max_run_hours": -1},
    ],
    ids=lambda value: str(value)[:20],
)
def test_odd_types_are_refused_in_few_words(options: Any) -> None:
    refusal = choice_from_options(options)
    assert isinstance(refusal, wire.Refusal)
    assert refusal.code == "bad_choice"
    assert len(refusal_text(refusal)) < 300


def test_a_refusal_says_everything_once() -> None:
    refusal = wire.Refusal(
        code="balance",
        message="Your balance is 5 tokens short of this.",
        missing=wire.Amount.of(5 * 3_600_000_000 - 1),  # the message rounds it up
        resets_at="1 December",
        alternatives=[wire.Alternative(profile="cpu", title="CPU", rate_mtok_h=1)],
        remedy="Ask for more.",
    )
    text = refusal_text(refusal)
    for words in ("5 tokens", "1 December", "CPU", "Ask for more."):
        assert text.count(words) == 1
    complete = refusal.model_copy(
        update={"message": "5 tokens are missing until 1 December; CPU fits."}
    )
    assert refusal_text(complete) == f"{complete.message} Ask for more."


def test_the_exception_survives_both_hubs() -> None:
    refusal = wire.Refusal(code="plan", message="100% “not” in <your> plan: %s %d")
    error = StartRefused(refusal)
    assert error.status_code == 403
    assert error.jupyterhub_message == refusal.message
    assert error.reason.isascii()
    assert refusal.message in str(error).replace("%%", "%")
    assert StartRefused(unavailable()).status_code == 503
