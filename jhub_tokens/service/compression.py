"""Answers are compressed for browsers that take it, but for what must not be."""

from __future__ import annotations

import secrets
from typing import Any

from tornado.web import GZipContentEncoding

__all__ = ["Compression"]

_PADDING_MAX = 100


class Compression(GZipContentEncoding):
    """Tornado's own compression, without event streams, and with lengths that tell nothing.

    A stream would keep a compressor of a quarter of a megabyte for as long as it is open, to save
    a few hundred bytes. How long a compressed page is that holds a secret beside what others
    choose would tell, over many requests, that secret letter by letter (the attack called
    BREACH); a header of random length makes that take too many.
    """

    def transform_first_chunk(
        self, status_code: int, headers: Any, chunk: bytes, finishing: bool
    ) -> tuple[int, Any, bytes]:
        """Begin an answer, compressed or not."""
        status, headers, chunk = super().transform_first_chunk(
            status_code, headers, chunk, finishing
        )
        if headers.get("Content-Encoding") == "gzip":
            headers["X-Padding"] = "0" * secrets.randbelow(_PADDING_MAX + 1)
        return status, headers, chunk

    def _compressible_type(self, ctype: str) -> bool:
        return ctype != "text/event-stream" and super()._compressible_type(ctype)
