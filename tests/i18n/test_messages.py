"""Every text that people read is translated into every language, and languages are told apart."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from jhub_tokens import i18n
from jhub_tokens.i18n import _, ngettext
from jhub_tokens.service.texts import rate_text, tokens_text

OTHERS = [code for code in i18n.LANGUAGES if code != i18n.SOURCE]


@pytest.fixture(scope="module")
def messages() -> Any:
    path = Path(__file__).parents[2] / "ci" / "messages.py"
    spec = importlib.util.spec_from_file_location("messages", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sources_hold_messages(messages: Any) -> None:
    found = messages.extracted()
    assert "Your" in found  # from Python
    assert "Skip to content" in found  # from a template


@pytest.mark.parametrize("code", OTHERS)
def test_everything_is_translated(messages: Any, code: str) -> None:
    assert list(messages.problems(code)) == []


def test_no_message_may_be_translated_in_two_files(
    messages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.po", "b.po"):
        tmp_path.joinpath(name).write_text(f'msgid "Statement"\nmsgstr "as {name} says it"\n')
    monkeypatch.setattr(i18n, "locale_files", lambda _code: sorted(tmp_path.iterdir()))
    assert "b.po: 'Statement' is also in a.po" in list(messages.problems("zh"))


def test_the_language_is_the_task_s() -> None:
    assert _("Statement") == "Statement"
    with i18n.speaking("zh"):
        assert _("Statement") == "账单"
        with i18n.speaking("en"):
            assert _("Statement") == "Statement"
        with i18n.speaking("xx"):
            assert _("Statement") == "Statement"
    assert i18n.language() == "en"


def test_places_are_filled_in() -> None:
    assert tokens_text(3_600_000_000) == "1 token"
    with i18n.speaking("zh"):
        assert tokens_text(7_200_000_000) == "2 个代币"
        assert rate_text(10_000) == "10 代币/小时"


def test_plurals_go_by_language() -> None:
    text = ("One server", "%(count)s servers")
    assert [ngettext(*text, count) for count in (1, 2)] == ["One server", "2 servers"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("de", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("de-CH, en;q=0.7, zh;q=0.8", "zh"),
        ("zh;q=0, en", "en"),
        ("zh;q=nonsense", "en"),
        ("*", "en"),
    ],
)
def test_the_best_language_is_negotiated(header: str, code: str) -> None:
    assert i18n.negotiated(header) == code
