"""A database that listens on a socket of this machine, for pods to reach by TCP."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from sqlalchemy import URL

_CHUNK_BYTES = 1 << 16


@contextlib.contextmanager
def forwarded(url: URL, address: str) -> Iterator[URL]:
    """Pass connections to a port of `address` on to a PostgreSQL; yield its URL by that port."""
    forward = _Forward(url)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(forward.open(address), loop).result(10)
        yield url.set(host=address, port=port, query={})
    finally:
        asyncio.run_coroutine_threadsafe(forward.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class _Forward:
    def __init__(self, url: URL) -> None:
        self._url = url
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self, address: str) -> int:
        self._server = await asyncio.start_server(self._pass_on, address, 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        passing = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*passing, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        folder, port = self._url.query.get("host", ""), self._url.port or 5432
        if folder:
            socket = f"{folder}/.s.PGSQL.{port}"
            from_database, to_database = await asyncio.open_unix_connection(socket)
        else:
            from_database, to_database = await asyncio.open_connection(self._url.host, port)
        both = {writer, to_database}
        self._writers |= both
        await asyncio.gather(_copy(reader, to_database), _copy(from_database, writer))
        self._writers -= both


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(_CHUNK_BYTES):
            target.write(chunk)
            await target.drain()
    target.close()
