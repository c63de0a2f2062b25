"""Run by the peer's own Python: its real billing task on the hub's real database.

``python peer_billing.py SERVERS ROUNDS`` in an empty folder prints a JSON list of seconds. Users,
servers and credits are rows of a real hub database; the spawners are stand-ins with the
attributes that the task reads, which costs it less than real ones would.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import utcnow
from jupyterhub_credit_service import CreditsAuthenticator  # type: ignore[import-not-found]
from jupyterhub_credit_service.orm import (  # type: ignore[import-not-found]
    CreditsUser,
    CreditsUserValues,
)
from traitlets.config import Configurable

_INTERVAL_S = 600
_PRICE = 10
_BALANCE = 1_000_000
_URL = "sqlite:///jupyterhub.sqlite"


class Hub(Configurable):
    """What an authenticator knows of the hub: its database."""

    def __init__(self) -> None:
        super().__init__()
        self.db_url = _URL
        self.db = orm.new_session_factory(_URL)()


async def main(servers: int, rounds: int) -> list[float]:
    hub = Hub()
    authenticator = CreditsAuthenticator(parent=hub)
    authenticator.credits_task.cancel()  # begun below, when something is due
    db = hub.db
    users = []
    for number in range(servers):
        user = orm.User(name=f"user-{number}")
        spawner = orm.Spawner(name="", user=user)
        db.add_all([user, spawner, CreditsUser(name=user.name)])
        db.add(
            CreditsUserValues(
                name="default",
                user_name=user.name,
                balance=_BALANCE,
                cap=_BALANCE,
                grant_value=1,
                grant_interval=10**9,
            )
        )
        users.append((user, spawner))
    db.commit()
    for user, spawner in users:
        spawner.started = utcnow(with_tz=False) - timedelta(days=30)
        running = SimpleNamespace(
            name="",
            active=True,
            ready=True,
            orm_spawner=spawner,
            user_options={},
            _log_name=user.name,
            _billing_interval=_INTERVAL_S,
            _billing_value=_PRICE,
        )
        member = SimpleNamespace(name=user.name, id=user.id, spawners={"": running})
        authenticator.credits_append_user(member)
    db.commit()
    times = []
    for _ in range(rounds):
        times.append(await bill(authenticator, db, users))
    billed = {_BALANCE - values.balance for values in db.query(CreditsUserValues)}
    if billed != {_PRICE * rounds}:
        raise SystemExit(f"the peer billed {sorted(billed)[:5]}, not {_PRICE * rounds} each")
    return times


async def bill(authenticator: CreditsAuthenticator, db: Any, users: list[Any]) -> float:
    """Make every server due once more; return how long the task took to bill them all."""
    last = (utcnow(with_tz=False) - timedelta(seconds=_INTERVAL_S + 1)).isoformat()
    for user, spawner in users:
        CreditsUser.get_user(db, user.name).spawner_bills[str(spawner.id)] = last
    db.commit()
    done = asyncio.Event()
    authenticator.credits_task_post_hook = done.set
    begun = time.perf_counter()
    task = asyncio.create_task(authenticator.credit_reconciliation_task())
    await done.wait()
    took_s = time.perf_counter() - begun
    task.cancel()
    return took_s


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))))
