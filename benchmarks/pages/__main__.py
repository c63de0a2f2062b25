"""Measure the pages: ``python -m benchmarks.pages [--quick]``."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import random
import re
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlencode

import aiohttp

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger.tables import Part
from benchmarks.pages.world import World, make_books, running_world
from benchmarks.report import machine_facts, render
from benchmarks.statistics import percentile
from jhub_spawner.selector import render_selector
from jhub_tokens import wire
from jhub_tokens.service.oversight import write_place

__all__ = ["main"]

_SEED = 20240229
_SERVER_MS = 50
_BYTES = 150_000
_LINKED = re.compile(r"""<(?:link|script|img)\b[^>]*?(?:href|src)="([^"]+)\"""")

_Visit = Callable[[int], Awaitable[None]]


async def _get(world: World, path: str, who: int | str) -> bytes:
    headers = {**world.headers(who), "Accept-Encoding": "gzip"}
    async with world.session.get(world.url + path, headers=headers) as answer:
        body = await answer.read()
        if answer.status != 200:
            raise BenchmarkError(f"/{path} answered {answer.status}: {body[:300]!r}")
        return body


def _plain(body: bytes) -> bytes:
    """Return what was sent, without its compression."""
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


def _pages(world: World) -> dict[str, _Visit]:
    dice = random.Random(_SEED)

    async def overview(number: int) -> None:
        await _get(world, "", number)

    async def statement(number: int) -> None:
        await _get(world, "statement", number)

    async def list_of_members(number: int) -> None:
        # From any place of the list, in any order: not only the first page, which stays warm.
        sort = dice.choice(("name", "balance"))
        after = write_place(world.books.place(dice.randrange(world.books.members), sort))
        await _get(world, f"admin?{urlencode({'sort': sort, 'after': after})}", "admin")

    async def start(number: int) -> None:
        identity = wire.Identity(
            hub_user_id=world.books.member(number)["id"],
            created=world.books.member(number)["created"],
            name=world.books.member(number)["name"],
        )
        request = wire.OffersRequest(member=identity).model_dump_json()
        headers = {**world.headers(world.service_token), "Content-Type": "application/json"}
        url = f"{world.url}api/v1/hub/offers"
        async with world.session.post(url, data=request, headers=headers) as answer:
            body = _plain(await answer.read())
        offers = wire.Offers.model_validate_json(body)
        render_selector(offers, chosen={}, console_url=world.url)

    return {
        "overview": overview,
        "statement": statement,
        "members (any page)": list_of_members,
        "start page (offers and form)": start,
    }


async def _measure(world: World, visits: int, part: Part, beside: str) -> None:
    dice = random.Random(_SEED)
    for title, visit in _pages(world).items():
        times = []
        for turn in range(visits + 3):
            number = dice.randrange(world.books.members)
            await visit(number)  # signs them in: the hub is asked who they are
            begun = time.perf_counter()
            await visit(number)
            if turn >= 3:  # statements are compiled, connections made
                times.append((time.perf_counter() - begun) * 1000)
        low, high = percentile(times, 50), percentile(times, 95)
        part.rows.append((title, beside, f"{low:.1f} ms", f"{high:.1f} ms", f"< {_SERVER_MS} ms"))
        part.data[f"{title}, {beside}"] = times


async def _open_streams(world: World, count: int, stack: AsyncExitStack) -> None:
    for number in range(count):
        headers = world.headers(number)
        timeout = aiohttp.ClientTimeout(total=None)
        opened = world.session.get(f"{world.url}events", headers=headers, timeout=timeout)
        answer = await stack.enter_async_context(opened)
        if answer.status != 200:
            raise BenchmarkError(f"an event stream answered {answer.status}")

        async def drain(stream: aiohttp.StreamReader) -> None:
            async for _piece in stream.iter_any():
                pass

        task = asyncio.create_task(drain(answer.content))
        stack.callback(task.cancel)


async def _weigh(world: World) -> Part:
    part = Part(
        "bytes",
        "Bytes sent for the first view, scripts and styles included (compressed as sent)",
        ("", "page", "all files", "sum", "aim"),
    )
    for title, path, who in (
        ("overview", "", 1),
        ("statement", "statement", 1),
        ("members", "admin", "admin"),
    ):
        body = await _get(world, path, who)
        text = _plain(body).decode()
        root = world.url.partition("/services/")[0]
        files = 0
        for link in sorted(set(_LINKED.findall(text))):
            if link.startswith("/services/"):
                async with world.session.get(
                    root + link, headers={"Accept-Encoding": "gzip"}
                ) as answer:
                    files += len(await answer.read())
        total = len(body) + files
        cells = (f"{size / 1000:.1f} kB" for size in (len(body), files, total))
        part.rows.append((title, *cells, f"< {_BYTES // 1000} kB"))
        part.data[title] = total
    return part


async def _run(entries: int, streams: int, visits: int) -> list[Part]:
    books = make_books(entries)
    part = Part(
        "pages",
        f"Pages at {books.members:,} members and {books.entries:,} entries ({visits} visits each)",
        ("", "open streams", "p50", "p95", "aim at p95"),
        notes=["from the request to the last byte, over the loopback; members by lot"],
    )
    async with running_world(books) as world, AsyncExitStack() as stack:
        weights = await _weigh(world)
        await _measure(world, visits, part, "0")
        await _open_streams(world, min(streams, books.members), stack)
        await _measure(world, visits, part, str(streams))
    return [part, weights]


def main() -> int:
    """Measure what is asked for, print it, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pages",
        description="Measure the pages on large books, alone and beside open event streams.",
    )
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--visits", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="small: that it works, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there, too")
    asked = parser.parse_args()
    if asked.quick:
        asked.entries, asked.streams, asked.visits = 20_000, 20, 10
    facts = machine_facts()
    try:
        parts = asyncio.run(_run(asked.entries, asked.streams, asked.visits))
    except BenchmarkError as error:
        print(f"benchmarks.pages: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    facts["load_after"] = [round(load, 2) for load in os.getloadavg()]
    print("\n\n".join(part.render() for part in parts))
    print(render(facts, []))
    if asked.json is not None:
        results = {"facts": facts, "parts": [part.as_json() for part in parts]}
        asked.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
