"""Directory sync over the API and at the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jhub_tokens.catalogue import load_catalogue, shipped_catalogue
from jhub_tokens.cli import main
from jhub_tokens.facts import Facts
from jhub_tokens.ledger import open_ledger
from jhub_tokens.wire import Identity
from tests.service.conftest import Api, Story
from tests.service.stub_hub import StubHub, User


async def test_a_directory_is_taken_in_by_who_may_grant(
    story: Story, ada: User, hub: StubHub, admin: User, api: Callable[..., Api]
) -> None:
    member = await story.join(ada)
    order = {"accounts": [{"name": "ada", "gone": "has left"}, {"name": "new"}]}
    reader = api(hub.add_token(admin, "custom:jhub-tokens:read"))
    assert (await reader.post("api/v1/directory", order)).status_code == 403
    boss = api(hub.add_token(admin, "custom:jhub-tokens:grant", "custom:jhub-tokens:read"))
    for _ in range(2):  # idempotent, but for what it says it has done
        done = (await boss.post("api/v1/directory", order)).json()
        assert (done["known"], done["unknown"]) == (1, 1)
    assert (await boss.get(f"api/v1/members/{member}")).json()["state"] == "frozen"
    twice = {"accounts": [{"name": "ada"}, {"name": "ada"}]}
    refused = await boss.post("api/v1/directory", twice)
    assert (refused.status_code, refused.json()["field"]) == (422, "accounts[1].name")
    empty = await boss.post("api/v1/directory", {"accounts": [], "complete": True})
    assert empty.status_code == 422


def test_a_directory_at_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tokens.sqlite"
    catalogue = load_catalogue(shipped_catalogue("default"))
    ledger = open_ledger(f"sqlite:///{path}", catalogue=lambda: catalogue)
    for number, name in enumerate(("ada", "bob")):
        ledger.ensure_member(Identity(hub_user_id=number, created="x", name=name, facts=Facts()))
    ledger.close()
    monkeypatch.setenv("JHUB_TOKENS_DATABASE", str(path))
    monkeypatch.setenv("JHUB_TOKENS_CATALOGUE", str(shipped_catalogue("default")))
    accounts = tmp_path / "accounts"
    accounts.write_text(json.dumps({"name": "ada"}) + "\n")
    assert main(["sync-directory", str(accounts), "--complete", "--dry-run"]) == 0
    assert "would be suspended: bob\n" in capsys.readouterr().out
    assert main(["sync-directory", str(accounts), "--complete", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["suspended"] == ["bob"]
    accounts.write_text(json.dumps([{"name": "bob"}]))
    assert main(["sync-directory", str(accounts)]) == 0
    assert "restored: bob\n" in capsys.readouterr().out
    for mistake in ("[", "{}", '[{"name": ""}]', "nonsense"):
        accounts.write_text(mistake)
        assert main(["sync-directory", str(accounts)]) == 2
        assert "Traceback" not in capsys.readouterr().err
