"""The rule by which versions are promoted and retired, and the history that it is judged by."""

from __future__ import annotations

import subprocess
from datetime import date, timedelta

import pytest

from images.tooling.cli import main
from images.tooling.families import IMAGES, load_families
from images.tooling.history import HistoryError, changes
from images.tooling.versions import (
    CATALOGUE,
    NOTICE,
    change_problems,
    differences,
    load_versions,
    problems,
)
from jhub_tokens.catalogue import load_catalogue, shipped_catalogue

FAMILIES = load_families()
TODAY = date(2026, 11, 25)
RETIRING = "tf2.8-cuda11.2-runtime-v1.0.0"
BEST = "tf2.9-cuda11.2-runtime-v1.0.0"
BEFORE = load_versions()


def changed(tag, **values):
    return {**BEFORE, tag: BEFORE[tag].model_copy(update=values)}


def without(tag):
    return {each: version for each, version in BEFORE.items() if each != tag}


def test_the_versions_keep_the_rule_and_the_shipped_catalogues_agree():
    assert problems(BEFORE, FAMILIES, TODAY) == []
    for name in ("default", "demo"):
        assert differences(BEFORE, load_catalogue(shipped_catalogue(name))) == []


@pytest.mark.parametrize(
    ("tag", "values", "said"),
    [
        (RETIRING, {"successor": None}, "name a successor"),
        (RETIRING, {"successor": "tf2.9-cpu-runtime-v1.0.0"}, "other hardware"),
        (RETIRING, {"successor": RETIRING}, "is retiring itself"),
        (RETIRING, {"until": None}, "until: belongs to retiring"),
        (BEST, {"lifecycle": "maintained"}, "exactly one gpu image is recommended"),
    ],
)
def test_breaches_of_the_rule_are_named(tag, values, said):
    assert said in "\n".join(problems(changed(tag, **values), FAMILIES, TODAY))


def test_tags_and_images_that_cannot_be_are_named():
    odd = BEFORE | {"latest": BEFORE[BEST], "tf3-runtime-v1.0.0": BEFORE[RETIRING]}
    said = "\n".join(problems(odd, FAMILIES, TODAY))
    assert "latest: write IMAGE-runtime-vX.Y.Z" in said
    assert "families.yaml has no image tf3-runtime" in said


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (changed(BEST, lifecycle="retired"), "retire it first"),
        (changed(BEST, lifecycle="retiring", until=TODAY + timedelta(days=89)), "2027-02-23 at"),
        (changed(RETIRING, until=date(2027, 6, 29)), "2027-06-30 at the earliest"),
        (without(BEST), "never removed"),
    ],
)
def test_members_who_pinned_a_version_keep_it_until_its_date(after, said):
    found = change_problems(BEFORE, [(TODAY, after)])
    assert len(found) == 1
    assert said in found[0]


def test_a_retired_version_does_not_come_back():
    retired = changed(RETIRING, lifecycle="retired", until=None)
    assert "does not come back" in change_problems(retired, [(TODAY, BEFORE)])[0]


def test_an_announcement_is_judged_by_its_own_day():
    announced = changed(BEST, lifecycle="retiring", until=TODAY + NOTICE)
    over = changed(BEST, lifecycle="retired", until=None)
    later = TODAY + timedelta(days=30)
    assert change_problems(BEFORE, [(TODAY, announced), (later, announced)]) == []
    assert change_problems(BEFORE, [(TODAY, announced), (TODAY + NOTICE, over)]) == []
    assert change_problems(BEFORE, [(TODAY, announced), (later, over)])
    # What says the same too late is not the same.
    assert change_problems(BEFORE, [(later, announced)])


def test_a_breach_that_is_mended_is_none():
    hasty = changed(BEST, lifecycle="retiring", until=TODAY + timedelta(days=10))
    fair = changed(BEST, lifecycle="retiring", until=TODAY + NOTICE)
    assert change_problems(BEFORE, [(TODAY, hasty)])
    assert change_problems(BEFORE, [(TODAY, hasty), (TODAY, BEFORE)]) == []
    assert change_problems(BEFORE, [(TODAY, without(BEST)), (TODAY, BEFORE)]) == []
    assert change_problems(BEFORE, [(TODAY, hasty), (TODAY, fair)]) == []


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with the catalogue in it; call it with a text and a day to commit."""
    file = tmp_path / "images" / "catalogue.yaml"
    file.parent.mkdir()
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    class Repository:
        text = CATALOGUE.read_text()

        def __init__(self):
            self.file = file
            self.git("init", "--quiet")

        def git(self, *words):
            subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

        def write(self, old="", new=""):
            assert old in self.text
            self.text = self.text.replace(old, new, 1)
            file.write_text(self.text)

        def commit(self, day, tag=None):
            monkeypatch.setenv("GIT_COMMITTER_DATE", f"{day}T12:00:00Z")
            self.git("add", "--all")
            self.git("commit", "--quiet", "--allow-empty", "--message", "change")
            if tag:
                self.git("tag", tag)

        def judge(self, against=None):
            found = changes(TODAY, against, file)
            return found.against, change_problems(found.base, found.steps)

    return Repository()


SOON = ("lifecycle: recommended", "lifecycle: retiring\n    until: 2026-12-24")
SOONER = ("until: 2027-06-30", "until: 2027-01-31")


def test_before_the_first_release_the_last_change_is_judged(repository):
    repository.write()
    repository.commit("2026-11-01")
    assert repository.judge()[1] == []
    repository.write(*SOONER)
    assert repository.judge()[0] == "HEAD"
    assert "2027-06-30 at the earliest" in repository.judge()[1][0]
    repository.commit("2026-11-02")
    repository.commit("2026-11-03")  # another commit does not hide it
    assert "2027-06-30 at the earliest" in repository.judge()[1][0]


def test_everything_since_the_last_release_is_judged_by_its_day(repository):
    repository.write()
    repository.commit("2026-08-01", tag="v0.1.0")
    repository.git("tag", "not-a-release")
    repository.write("lifecycle: maintained", "lifecycle: retiring\n    until: 2026-12-24")
    repository.commit("2026-08-02")
    repository.write("title: TensorFlow 2.9", "title: The TensorFlow 2.9")
    repository.commit("2026-11-01")
    assert repository.judge() == ("v0.1.0", [])
    repository.write(*SOON)
    repository.commit("2026-11-02")
    against, found = repository.judge()
    assert against == "v0.1.0"
    assert [line.split(":")[0] for line in found] == [BEST]
    assert repository.judge("HEAD") == ("HEAD", [])


def test_a_history_that_cannot_tell_is_no_pass(repository, tmp_path):
    repository.write()
    with pytest.raises(HistoryError, match="no git history"):
        repository.judge("v9")
    repository.commit("2026-11-01")
    with pytest.raises(HistoryError, match="no revision v9"):
        repository.judge("v9")
    repository.commit("2026-11-02")
    shallow = tmp_path / "shallow"
    repository.git("clone", "--quiet", "--depth", "1", f"file://{tmp_path}", str(shallow))
    with pytest.raises(HistoryError, match="shallow"):
        changes(TODAY, None, shallow / "images" / "catalogue.yaml")


def test_without_git_nothing_is_compared(repository):
    repository.write()
    assert changes(TODAY, None, repository.file) is None


@pytest.mark.skipif(not (IMAGES.parent / ".git").exists(), reason="this is no clone")
def test_the_command_judges_this_repositorys_own_history(capsys):
    assert main(["check"]) == 0, capsys.readouterr().err
    assert "changes since" in capsys.readouterr().out
    assert main(["check", "--against", "no-such-release"]) == 1
    assert "git knows no revision no-such-release" in capsys.readouterr().err
