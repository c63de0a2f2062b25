"""Resident memory of the service's process with 100,000 members in the books."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from benchmarks.hubs import BenchmarkError, wait_until
from benchmarks.ledger.copies import Model, copied, populate, suffix
from benchmarks.ledger.databases import Site, open_sites
from benchmarks.ledger.tables import Part
from benchmarks.ledger.worlds import CATALOGUE, make_model
from benchmarks.memory import resident_mib
from jhub_tokens.demo.tools import free_port

__all__ = ["run"]

_AIM_MIB = 200
_START_MAX_S = 60.0
_REST_S = 3.0
_CALLS = 200


def run(databases: tuple[str, ...], *, quick: bool) -> Part:
    """Measure the service with empty books and with many members, before and after work."""
    members = 10_000 if quick else 100_000
    part = Part(
        "memory",
        "Resident memory (RSS) of the token service",
        ("", "1 member", f"{members:,} members", "difference", "aim"),
        notes=[
            f"work: {_CALLS} standings and {_CALLS} offers asked for over HTTP, 3 snapshots of a "
            "hub without servers; the warden runs"
        ],
    )
    model = make_model("idle", start_ms=time.time_ns() // 1_000_000)
    with open_sites(databases) as sites:
        for site in sites:
            few = _measure(site, model, 1)
            many = _measure(site, model, members)
            part.data[site.kind] = {"members": members, "few": few, "many": many}
            for title, at in (("at rest", 0), ("after work", 1)):
                part.rows.append(
                    (
                        f"{site.kind}, {title}",
                        f"{few[at]:.1f} MiB",
                        f"{many[at]:.1f} MiB",
                        f"{many[at] - few[at]:+.1f} MiB",
                        f"≤ {_AIM_MIB} MiB",
                    )
                )
    return part


def _measure(site: Site, model: Model, members: int) -> tuple[float, float]:
    name = f"members_{members}"
    site.create(name)
    populate(site, name, model, members)
    site.analyze(name)
    with _service(site, name) as (process, client):
        time.sleep(_REST_S)
        rest_mib = resident_mib(process)
        _work(client, model, members)
        time.sleep(_REST_S)
        work_mib = resident_mib(process)
    site.drop(name)
    return rest_mib, work_mib


@contextmanager
def _service(site: Site, name: str) -> Iterator[tuple[psutil.Process, httpx.Client]]:
    """Run ``jhub-tokens serve`` on these books, as a hub would."""
    token = secrets.token_hex(16)
    url = f"http://127.0.0.1:{free_port(0, [])}"
    with tempfile.TemporaryDirectory(prefix="jhub-bench-") as folder:
        catalogue = Path(folder) / "catalogue.yaml"
        catalogue.write_text(CATALOGUE, encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTERHUB_")}
        environment["JUPYTERHUB_API_TOKEN"] = token
        root = str(Path(__file__).parents[2])
        environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
        log_path = Path(folder) / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "jhub_tokens", "serve", "--url", url]
                + ["--database", site.url(name), "--catalogue", str(catalogue)],
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        headers = {"Authorization": f"token {token}"}
        client = httpx.Client(
            base_url=f"{url}/services/tokens", headers=headers, timeout=60, trust_env=False
        )
        try:

            def answers() -> bool:
                if process.poll() is not None:
                    raise BenchmarkError(f"the service has ended:\n{log_path.read_text()[-2000:]}")
                try:
                    return client.get("/healthz").status_code == 200
                except httpx.HTTPError:
                    return False

            wait_until(answers, "the service answers", _START_MAX_S)
            yield psutil.Process(process.pid), client
        finally:
            client.close()
            process.terminate()
            process.wait(_START_MAX_S)


def _work(client: httpx.Client, model: Model, members: int) -> None:
    for turn in range(3):
        snapshot = {"hub": "hub", "epoch": "benchmark", "sequence": turn + 1}
        client.post("/api/v1/hub/snapshots", json=snapshot).raise_for_status()
    row = model.only("members")
    for turn in range(_CALLS):
        number = turn * members // _CALLS
        member = {
            "hub_user_id": row["hub_user_id"] + number,
            "created": row["hub_created"],
            "name": copied(row["name"], suffix(number)),
        }
        for path in ("overview", "offers"):
            answer = client.post(f"/api/v1/hub/{path}", json={"member": member})
            answer.raise_for_status()
