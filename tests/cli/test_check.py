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


def test_the_rule_that_decides_is_named_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text = shipped_catalogue("default").read_text(encoding="utf-8")
    file, claims = tmp_path / "c.yaml", tmp_path / "claims.json"
    rules = "assign:\n  - plan: pro\n    provider_groups: [staff, other]\n"
    file.write_text(text.partition("\nassign:")[0] + f"\n{rules}")
    claims.write_text(json.dumps({"preferred_username": "eve", "groups": ["staff"]}))
    assert main(["check", str(file), "--as", str(claims)]) == 0
    out = capsys.readouterr().out
    assert "eve gets the plan pro: rule assign[0] is the first that matches" in out
    assert "  provider_groups: staff\n" in out
    claims.write_text("{}")
    assert main(["check", str(file), "--as", str(claims), "--name", "ada"]) == 0
    assert "ada gets the plan basic: no rule of assign matches" in capsys.readouterr().out
    for mistake in ("[", "[]", '"x"'):
        claims.write_text(mistake)
        assert main(["check", str(file), "--as", str(claims)]) == 2
        assert "--as: " in capsys.readouterr().err
