"""An administrator at a browser, and a few members with something to look at."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from jhub_tokens.ledger import Ledger
from tests.service.conftest import Browser, Story
from tests.service.stub_hub import User


def text_of(page: str) -> str:
    """Return what a person reads: no tags, single blanks."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


@dataclass
class Office:
    """An administrator who is signed in, and the members ada (basic) and grace (pro)."""

    visitor: Browser
    ada: str
    grace: str
    story: Story
    ledger: Ledger

    def balance(self, member_id: str) -> float:
        """Return a balance in tokens."""
        return self.ledger.wallet_view(member_id).balance_grains / 3_600_000_000


@pytest.fixture
async def office(
    story: Story,
    ada: User,
    grace: User,
    admin: User,
    browser: Callable[[User], Browser],
    ledger: Ledger,
) -> Office:
    members = [await story.join(user) for user in (ada, grace)]
    await story.join(admin)
    visitor = browser(admin)
    await visitor.sign_in("admin")
    return Office(visitor, *members, story, ledger)
