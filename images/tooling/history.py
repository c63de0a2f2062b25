"""What git knows about ``images/catalogue.yaml``: the release before, and each change since."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from images.tooling.versions import CATALOGUE, Versions, load_versions, parse_versions

__all__ = ["Changes", "HistoryError", "changes"]


class HistoryError(Exception):
    """The history cannot tell what changed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The versions at `against`, and each change since with its day."""

    against: str
    base: Versions
    steps: tuple[tuple[date, Versions], ...]


def changes(today: date, against: str | None = None, file: Path = CATALOGUE) -> Changes | None:
    """Return what changed in the file since a release, or None where there is no git history.

    Parameters
    ----------
    against
        A git revision; without it the last tag of a release, and before the first release the
        last commit in which the file was another one.

    Raises
    ------
    HistoryError
        If the revision is unknown, the clone is shallow, or the file was not readable there.
    """
    git = _Git(file)
    if not git.run("rev-parse", "HEAD"):
        if against:
            raise HistoryError(f"there is no git history here: {against} cannot be compared")
        return None
    if git.run("rev-parse", "--is-shallow-repository") == "true":
        raise HistoryError(
            "this clone is shallow, so changes cannot be judged: run `git fetch --unshallow --tags`"
        )
    written = file.read_text(encoding="utf-8")
    current = load_versions(file)
    dirty = git.show("HEAD") != written
    revision = against or git.run("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
    if not revision:
        revision = "HEAD" if dirty else git.before_last_change()
    if not git.run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"):
        raise HistoryError(f"git knows no revision {revision}")
    text = git.show(revision)
    base = _parsed(text, revision) if text is not None else {}
    steps = [(day, _parsed(git.show(commit), commit)) for commit, day in git.log(revision)]
    if dirty:
        steps.append((today, current))
    return Changes(revision, base, tuple(steps))


def _parsed(text: str | None, revision: str) -> Versions:
    try:
        return parse_versions(text or "images: {}")
    except ValueError as error:
        raise HistoryError(f"images/catalogue.yaml at {revision} cannot be read: {error}") from None


class _Git:
    """Git in the folder of one file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def run(self, *words: str) -> str:
        """Return what git prints, or nothing if it fails."""
        return (self._output(*words) or "").strip()

    def show(self, revision: str) -> str | None:
        """Return the file's text at a revision, or None if there was no such file."""
        return self._output("show", f"{revision}:./{self.file.name}")

    def log(self, revision: str) -> list[tuple[str, date]]:
        """Return the commits since a revision that changed the file, oldest first."""
        # The committer's day: what was rebased or merged late was also announced late.
        words = ("log", "--first-parent", "--reverse", "--format=%H %cs")
        lines = self.run(*words, f"{revision}..HEAD", "--", self.file.name).splitlines()
        return [(commit, date.fromisoformat(day)) for commit, day in map(str.split, lines)]

    def before_last_change(self) -> str:
        """Return the commit before the last one that changed the file."""
        words = ("log", "-n", "1", "--first-parent", "--format=%H", "--", self.file.name)
        last = self.run(*words)
        return self.run("rev-parse", "--verify", "--quiet", "--short", f"{last}^") or last

    def _output(self, *words: str) -> str | None:
        command = ["git", "-C", str(self.file.parent), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return done.stdout if done.returncode == 0 else None
