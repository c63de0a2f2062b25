"""The embedded default: accounts with passwords, made on the page and on the command line."""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jhub_authenticator.password_store import AccountError, PasswordStore
from jhub_authenticator.passwords import Guesses
from jhub_tokens.cli import main
from tests.hub.conftest import hubs
from tests.hub.harness import HubProcess

GOOD = "heron lamp quartz"


@pytest.fixture
def store(tmp_path: Path) -> PasswordStore:
    return PasswordStore(tmp_path / "passwords.sqlite")


def test_passwords_are_argon2id_and_the_file_is_private(store: PasswordStore) -> None:
    store.add("Ada", GOOD, approved=True)
    assert store.verify("ADA ", GOOD) == "member"
    assert store.verify("ada", GOOD + "!") == "wrong"
    assert store.verify("bob", GOOD) == "wrong"
    assert store._path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(store._path) as connection:
        ((hashed,),) = connection.execute("SELECT password FROM accounts")
    connection.close()
    assert hashed.startswith("$argon2id$") and GOOD not in hashed


def test_an_old_hash_is_made_anew_at_the_next_sign_in(store: PasswordStore) -> None:
    from argon2 import PasswordHasher

    store.add("ada", GOOD, approved=True)
    store._write(
        "UPDATE accounts SET password = ? WHERE name = ?",
        (PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(GOOD), "ada"),
    )
    assert store.verify("ada", GOOD) == "member"
    with sqlite3.connect(store._path) as connection:
        ((hashed,),) = connection.execute("SELECT password FROM accounts")
    connection.close()
    assert "m=8," not in hashed


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada", "short"),
        ("ada", "x" * 1025),
        ("ada", "aaaaaaaaaaaa"),
        ("ada", "password12"),
        ("longername", "longername1"),
        ("", GOOD),
        ("a/b", GOOD),
        ("<b>", GOOD),
        ("аda", GOOD),  # a Cyrillic а
        ("a" * 65, GOOD),
        ("-a", GOOD),
    ],
)
def test_names_and_passwords_that_are_refused(
    store: PasswordStore, name: str, password: str
) -> None:
    with pytest.raises(AccountError):
        store.add(name, password)
    assert store.accounts() == []


def test_a_name_is_taken_whatever_its_case(store: PasswordStore) -> None:
    store.add("ada", GOOD)
    with pytest.raises(AccountError, match="taken"):
        store.add("ADA", GOOD)
    assert store.verify("ada", GOOD) == "waiting"


def test_guessing_takes_longer_and_longer() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    waits = []
    for _ in range(8):
        waits.append(guesses.wait_s("ada"))
        guesses.wrong("ada")
    assert waits == [0, 0, 0, 0, 0, 1, 2, 4]
    assert guesses.wait_s("bob") == 0
    now[0] = 8
    assert guesses.wait_s("ada") == 0
    for _ in range(40):
        guesses.wrong("ada")
    assert guesses.wait_s("ada") == 300
    guesses.right("ada")
    assert guesses.wait_s("ada") == 0


def test_accounts_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "p.sqlite")]

    def run(*words: str, given: str = f"{GOOD}\n") -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        return main(["account", *words, *store])

    assert run("list") == 1
    assert run("add", "root", "--admin", "--password-stdin") == 0
    assert run("add", "root", "--password-stdin") == 1
    assert run("add", "weak", "--password-stdin", given="weak\n") == 1
    assert run("remove", "nobody") == 1
    capsys.readouterr()
    assert run("list") == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("root admin\n", "")
    assert PasswordStore(store[1]).verify("root", GOOD) == "admin"
    assert run("password", "root", "--password-stdin", given="quartz lamp heron\n") == 0
    assert PasswordStore(store[1]).verify("root", GOOD) == "wrong"


# --- a whole hub -------------------------------------------------------------------------------

AFTER = """
from jhub_authenticator import PasswordAuthenticator
c.JupyterHub.authenticator_class = PasswordAuthenticator
c.PasswordAuthenticator.store_path = "{path}"
c.Authenticator.admin_users = set()
"""


@pytest.fixture(scope="module")
def classroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    path = tmp_path_factory.mktemp("store") / "passwords.sqlite"
    PasswordStore(path).add("teacher", GOOD, admin=True, approved=True)
    with hubs(tmp_path_factory) as make:
        yield make(after=AFTER.format(path=path)).start()


def sign_up(hub: HubProcess, name: str, password: str = GOOD, again: str = GOOD) -> httpx.Response:
    browser = hub.browser()
    xsrf = browser.xsrf(browser.get("/hub/signup").text)
    form = {"username": name, "password": password, "again": again, "_xsrf": xsrf}
    answer = browser.client.post("/hub/signup", data=form)
    assert answer.status_code < 500, hub.log()[-3000:]
    return answer


def test_sign_up_approval_and_sign_in(classroom: HubProcess) -> None:
    hub = classroom
    assert 'href="/hub/signup"' in hub.browser().get("/hub/login").text
    assert "approve" in sign_up(hub, "pupil").text
    waiting = hub.sign_in("pupil", GOOD).page
    assert waiting.status_code == 403 and "waits for an administrator" in waiting.text
    assert hub.api("GET", "users/pupil").status_code == 404
    teacher = hub.sign_in("teacher", GOOD)
    assert hub.user("teacher")["admin"] is True
    page = teacher.get("/hub/accounts")
    assert "Approve pupil" in page.text
    form = {"name": "pupil", "action": "approve", "_xsrf": teacher.xsrf(page.text)}
    assert teacher.client.post("/hub/accounts", data=form).status_code == 200
    pupil = hub.sign_in("pupil", GOOD)
    assert pupil.page.status_code == 200
    assert hub.standing("pupil")["plan"] == "basic"
    assert pupil.get("/hub/accounts").status_code == 403
    # The member changes the password, and only with the present one.
    xsrf = pupil.xsrf(pupil.get("/hub/password").text)
    new = {"password": "amber fox tundra", "again": "amber fox tundra", "_xsrf": xsrf}
    assert pupil.client.post("/hub/password", data={"old": "x", **new}).status_code == 400
    assert pupil.client.post("/hub/password", data={"old": GOOD, **new}).status_code == 200
    assert hub.sign_in("pupil", GOOD).page.status_code == 403
    assert hub.sign_in("pupil", "amber fox tundra").page.status_code == 200
    assert GOOD not in hub.log() and "amber" not in hub.log()


@pytest.mark.parametrize(
    ("name", "password", "again", "says"),
    [
        ("teacher", GOOD, GOOD, "taken"),
        ("Teacher", GOOD, GOOD, "taken"),
        ("kid", GOOD, "other", "differ"),
        ("kid", "short", "short", "at least 10"),
        ("<script>", GOOD, GOOD, "letters a to z"),
    ],
)
def test_sign_ups_that_are_refused(
    classroom: HubProcess, name: str, password: str, again: str, says: str
) -> None:
    answer = sign_up(classroom, name, password, again)
    assert answer.status_code == 400 and says in answer.text
    assert "<script>&" not in answer.text and 'value="<script>"' not in answer.text


def test_nobody_is_in_without_signing_in(classroom: HubProcess) -> None:
    anonymous = httpx.Client(base_url=classroom.url, follow_redirects=False)
    for path in ("/hub/home", "/hub/spawn", "/hub/accounts", "/hub/password"):
        answer = anonymous.get(path)
        assert answer.status_code == 403 or "/hub/login" in answer.headers["location"], path
    assert anonymous.get("/services/tokens/").status_code in (302, 401, 403)
    for path in ("users", "users/teacher"):
        assert anonymous.get(f"/hub/api/{path}").status_code == 403
    forged = anonymous.post("/hub/signup", data={"username": "x", "password": GOOD, "again": GOOD})
    assert forged.status_code == 403, "a form from elsewhere makes no account"
    anonymous.close()


def test_guessing_is_slowed_down(classroom: HubProcess) -> None:
    answers = [classroom.sign_in("victim", f"guess {n} of many").page for n in range(7)]
    assert [a.status_code for a in answers[:5]] == [403] * 5
    assert any(
        a.status_code == 429 and re.search("Too many wrong guesses", a.text) for a in answers[5:]
    )
