"""axe-core, run in a page: what keeps people out who hear it, or use it by keyboard."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from playwright.sync_api import Page

from tests.hub.harness import _path

__all__ = ["barriers"]

_INSTALL = Path(__file__).parents[2] / ".ci" / "axe-core"
_GRAVE = ("serious", "critical")
_RUN = """async ([grave, exclude]) => {
    const where = exclude ? { exclude: [exclude] } : document;
    const found = await axe.run(where, { resultTypes: ["violations"] });
    return found.violations.filter((v) => grave.includes(v.impact)).flatMap((v) =>
        v.nodes.map((n) => `${v.impact} ${v.id}: ${n.target.join(" ")} ${n.html.slice(0, 200)} — ` +
            [...n.any, ...n.all, ...n.none].map((c) => c.message).join("; ").slice(0, 300)));
}"""


@cache
def _source() -> str:
    env = {**os.environ, "PATH": _path()}
    done = subprocess.run([_INSTALL], env=env, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip()).read_text(encoding="utf-8")


def barriers(page: Page, exclude: str = "") -> list[str]:
    """Return what axe-core calls serious or critical in a page, one line for each element.

    `exclude` is a selector of a part that is not looked at.
    """
    # Evaluated rather than loaded: the pages' own policy lets no script of others in.
    page.evaluate(f"{_source()}; undefined")
    found: list[str] = page.evaluate(_RUN, [_GRAVE, exclude])
    return found
