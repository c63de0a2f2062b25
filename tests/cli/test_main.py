"""The command as a person meets it: help, wrong usage, interrupted, piped into head."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jhub_tokens.commands.check
from jhub_tokens import __version__
from jhub_tokens.catalogue import shipped_catalogue
from jhub_tokens.cli import main
from jhub_tokens.commands import COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]):
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"usage: jhub-tokens {command}" in out
    assert COMMANDS[command].split()[0] in out


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"jhub-tokens {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "usage: jhub-tokens"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["check"], "required: FILE"),
        (["grant", "ada"], "required: TOKENS, --reason"),
        (["grant", "ada", "lots", "--reason", "test"], "'lots' is not an amount of tokens"),
        (["grant", "ada", "1,5", "--reason", "test"], "write a plain number"),
        (["grant", "ada", "0", "--reason", "test"], "would change nothing"),
        (["grant", "ada", "9999999999", "--reason", "test"], "more than a wallet can hold"),
        (["grant", "ada", "5", "--reason", "x"], "--reason: write 3 to 500 characters"),
        (["grant", "ada", "5", "--reason", "test", "--key", "short"], "--key: write 8 to 200"),
        (["grant", "ada", "5", "--reason", "test"], "no database: give --database"),
        (["audit", "--database", "sqlite:////x.sqlite"], "no catalogue: give --catalogue"),
        (["demo", "--port", "0"], "--port: 0 is no port"),
        (["demo", "--port", "many"], "invalid int value: 'many'"),
    ],
)
def test_wrong_usage_is_one_message_and_code_2(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    for name in ("JHUB_TOKENS_DATABASE", "JHUB_TOKENS_CATALOGUE"):
        monkeypatch.delenv(name, raising=False)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err
    assert "Traceback" not in err


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupt(_args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(jhub_tokens.commands.check, "run", interrupt)
    assert main(["check", "x"]) == 130
    assert capsys.readouterr() == ("", "")


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "jhub_tokens", *arguments],
        capture_output=True,
        timeout=60,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def test_a_reader_that_goes_away_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "jhub_tokens", "check", *[str(shipped_catalogue("demo"))] * 100],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process:
        assert process.stderr.read() == b""
    assert process.returncode in (0, 141)


def test_a_name_that_is_no_utf8_is_shown_escaped(tmp_path: Path):
    done = run("check", os.fsdecode(b"caf\xe9.yaml"), cwd=tmp_path)
    assert done.returncode == 1
    assert rb"caf\udce9.yaml: there is no such file" in done.stderr


def test_a_terminal_without_unicode(tmp_path: Path):
    file = tmp_path / "bad.yaml"
    file.write_text("plän: 1\n", encoding="utf-8")
    done = run("check", str(file), env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    assert rb"pl\xe4n" in done.stderr
