"""``jhub-tokens break-glass``: opened, shown and ended at the terminal, without any service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jhub_tokens.cli import main
from jhub_tokens.hub.acts import ActFiles


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("JHUB_TOKENS_STATE_DIR", str(tmp_path))
    return tmp_path


def test_opened_shown_and_ended(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = ["break-glass", "--minutes", "90", "--reason", "a  class", "--by", "olga"]
    assert main([*opened, "--profiles", "cpu, gpu", "--max-servers", "40"]) == 0
    assert "open until" in capsys.readouterr().out
    [act], problems = ActFiles(state).read()
    assert problems == []
    assert act.until_ms - act.opened_ms == 90 * 60_000
    assert (act.reason, act.profiles, act.servers_max) == ("a class", ("cpu", "gpu"), 40)
    assert act.actor.endswith("(says: olga)")
    [path] = (state / "break-glass").glob("act-*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    assert main(opened) == 2  # one at a time
    assert "go through already" in capsys.readouterr().err
    assert main(["break-glass", "--status", "--json"]) == 0
    [shown] = json.loads(capsys.readouterr().out)["acts"]
    assert shown["open"] is True
    assert main(["break-glass", "--end"]) == 0
    capsys.readouterr()
    assert main(["break-glass", "--status"]) == 0
    shown = capsys.readouterr().out
    assert "ended early" in shown and "closed: starts need the token service" in shown
    assert main(["break-glass", "--end"]) == 1
    assert "nothing is open" in capsys.readouterr().err


def test_a_file_that_was_changed_is_shown_as_refused(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["break-glass", "--minutes", "5", "--reason", "a class"]) == 0
    [path] = (state / "break-glass").glob("act-*.json")
    path.write_text(path.read_text().replace("a class", "a party"))
    capsys.readouterr()
    assert main(["break-glass", "--status"]) == 0
    assert "was changed after jhub-tokens wrote it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "90"], "--reason is missing"),
        (["--minutes", "481", "--reason", "a class"], "480 minutes at most"),
        (["--minutes", "0", "--reason", "a class"], "one minute or more"),
        (["--minutes", "9", "--reason", "no"], "3 to 500 characters"),
        (["--minutes", "9", "--reason", "a class", "--profiles", ","], "--profiles: name one"),
        (["--minutes", "9", "--reason", "a class", "--max-servers", "0"], "--max-servers: give 1"),
        (["--minutes", "9", "--end"], "not allowed with"),
        ([], "is required"),
    ],
)
def test_mistakes_are_told(
    state: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["break-glass", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert ActFiles(state).read() == ([], [])


def test_without_a_state_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["break-glass", "--status", "--state-dir", str(tmp_path / "none")]) == 1
    assert "name the hub's state_dir with --state-dir" in capsys.readouterr().err
