"""``jhub-tokens check``: one line for each mistake, and an exit code that scripts can use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jhub_tokens.catalogue import shipped_catalogue
from jhub_tokens.cli import main


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    text = shipped_catalogue("default").read_text(encoding="utf-8")
    file = tmp_path / "broken.yaml"
    file.write_text(
        text.replace("tokens: 300\n", "tokens: -300\n").replace("zone: UTC", "zone: UCT2")
    )
    return file


def test_a_good_file(capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(shipped_catalogue("default"))]) == 0
    out, err = capsys.readouterr()
    assert "usable" in out and "pro 300" in out and "gpu 10/h" in out
    assert err == ""


def test_each_mistake_has_a_line(broken: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(broken)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{broken}:6: zone: 'UCT2' is not a time zone.")
    assert "plans.pro.tokens: -300 is negative" in lines[1]


def test_json_for_programs(broken: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "--json", str(shipped_catalogue("demo")), str(broken)]) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["usable"], good["problems"]) == (True, [])
    assert bad["usable"] is False
    assert bad["problems"][0]["line"] == 6
    assert bad["problems"][0]["field"] == "zone"
    assert {p["severity"] for p in bad["problems"]} == {"error"}


def test_warnings_fail_only_when_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = shipped_catalogue("default").read_text(encoding="utf-8")
    file = tmp_path / "odd.yaml"
    file.write_text(text.replace("tokens: 50 ", "tokens: 0.1"))
    assert main(["check", str(file)]) == 0
    assert "warning: plans.basic.profiles[0]" in capsys.readouterr().err
    assert main(["check", "--strict", str(file)]) == 1


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(tmp_path / "none.yaml")]) == 1
    assert "there is no such file" in capsys.readouterr().err
