"""Whoever writes a new refusal marks it for translation: the sources are read for those who forget.

What is kept in the books in English is told anew in the reader's language.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from jhub_tokens import i18n
from jhub_tokens.service.errors import Unavailable, problem_from
from jhub_tokens.units import AmountError, parse_tokens_mtok

ROOT = Path(__file__).parents[2] / "jhub_tokens"
#: Where the words for people stand among the arguments of what is raised.
WORDS = {"Problem": 2, "LedgerError": 1, "NotAdmitted": 1, "invalid": 1, "Unavailable": 0}
#: Read by programs, or by operators in a terminal or a log; values are shown as {}.
LEFT_ENGLISH = {
    # the hub side's, the gateway's and a payment provider's own routes
    "This route needs the {}'s token.",
    "This is not the {}'s token.",
    "This start key was used for another start; make a new key for each.",
    "No such payment provider is set up.",
    "The invoice {} is about {} {}, but {} {} were paid (in the smallest unit).",
    "Error",  # an HTTP status that has no name
    # a monitoring system's
    "The metrics need a hub API token with the scope read:metrics.",
    "Or set JHUB_TOKENS_OPEN_METRICS=1 for the service.",
    "The metrics need the scope read:metrics.",
    # why the books cannot be opened: names hosts and files, and is told to operators only
    "The catalogue cannot be used: {}",
    "Correct the file; it is read again at once. `jhub-tokens check` names every mistake.",
    "The books cannot be opened: {}: {}",
    "Look at the service's log at level debug.",
    "The database's folder {} cannot be written: {}.",
    "Create the folder and let the service's user write in it.",
    "Another token service",
    " (process {})",
    " has the database {} open.",
    "Stop that one, or give each service a database of its own.",
}


def unmarked(source: str) -> Iterator[str]:
    """Yield the plain English that a source tells people as a refusal."""
    tree = ast.parse(source)
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        given: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                given.setdefault(node.targets[0].id, []).append(node.value)
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                given.setdefault(node.target.id, []).append(node.value)
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            place = WORDS.get(node.func.id)
            if place is None:
                continue
            said = [*node.args[place : place + 1]]
            said += [word.value for word in node.keywords if word.arg in ("message", "remedy")]
            for expression in said:
                yield from _plain(expression, given)


def _plain(expression: ast.expr, given: dict[str, list[ast.expr]]) -> Iterator[str]:
    match expression:
        case ast.Constant(value=str(text)) if text.strip():
            yield text
        case ast.JoinedStr(values=parts):
            pieces = [str(p.value) if isinstance(p, ast.Constant) else "{}" for p in parts]
            if any(piece.strip(" .:{}") for piece in pieces):
                yield "".join(pieces)
        case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
            yield from _plain(one, given)
            yield from _plain(other, given)
        case ast.BoolOp(values=several):
            for one in several:
                yield from _plain(one, given)
        case ast.Name(id=name):
            for one in given.get(name, []):
                # A name that is made of itself: its parts were seen where they stand.
                yield from _plain(one, {k: v for k, v in given.items() if k != name})


@pytest.mark.parametrize("layer", ["ledger", "service", "payments"])
def test_every_refusal_is_marked(layer: str) -> None:
    found = {
        f"{path.name}: {text}"
        for path in sorted((ROOT / layer).rglob("*.py"))
        for text in unmarked(path.read_text())
        if text not in LEFT_ENGLISH
    }
    assert not found


def test_the_look_finds_what_is_forgotten() -> None:
    source = """
def refuse(name):
    message = f"There is no {name}." if name else "Say which."
    raise LedgerError("none", message, "name")

def deny():
    raise Problem(403, "forbidden", _("You may not."), remedy="Ask.")
"""
    assert list(unmarked(source)) == ["There is no {}.", "Say which.", "Ask."]


# --- kept in English, told anew -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ("No server of this member runs.", "该成员没有运行中的服务器。"),
        ("The plan is 50% more already.", "套餐已经是 50% more。"),
        (
            "Basic has no more tokens than Pro: such a change waits for the next period.",
            "Basic 的代币不多于 Pro：此类变更将于下一周期生效。",
        ),
        (
            "The member pays a plan's fee through stripe. End that subscription at stripe, and "
            "try again when it has told so.",
            "该成员通过 stripe 支付套餐费用。请在 stripe 终止该订阅，待其通知后重试。",
        ),
        ("", ""),
        ("ada: of another release.", "ada: of another release."),
    ],
)
def test_what_was_kept_is_told_in_the_reader_s_language(kept: str, told: str) -> None:
    assert i18n.retold(kept) == kept
    with i18n.speaking("zh"):
        assert i18n.retold(kept) == told


def test_an_amount_is_english_for_terminals_and_translated_for_pages() -> None:
    with i18n.speaking("zh"), pytest.raises(AmountError) as caught:
        parse_tokens_mtok("1,000")
    assert str(caught.value).startswith("'1,000' is not an amount of tokens")
    with i18n.speaking("zh"):
        assert problem_from(caught.value).message.startswith("'1,000' 不是代币数量")


def test_a_problem_that_was_remembered_is_spoken_when_it_is_told() -> None:
    remembered = Unavailable(i18n.N_("The token service is stopping."), public=True)
    private = Unavailable("host db.example.org: 100% full", remedy="See its log.")
    with i18n.speaking("zh"):
        assert remembered.spoken().message == "代币服务正在停止。"
        assert private.spoken().message == private.message
        assert private.spoken().remedy == "See its log."
        assert not private.spoken().public
