"""Verifying the books on request: the audit of everything, against the seals that were kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from jhub_tokens import i18n
from jhub_tokens.ledger import Ledger
from jhub_tokens.ledger.exported_seals import ExportedSeals, SealFileProblem
from jhub_tokens.service.errors import problem_from
from jhub_tokens.service.handlers.base import Service

__all__ = ["Verification", "Verifier"]

log = structlog.get_logger(__name__)

#: Findings that are kept to be shown.
_FINDINGS_MAX = 100


@dataclass(frozen=True, slots=True)
class Verification:
    """One audit: when it began and ended, and what it found."""

    state: Literal["running", "clean", "findings", "failed"]
    begun_ms: int
    ended_ms: int | None = None
    with_seals: bool = False
    findings: tuple[str, ...] = ()
    problem: str = ""


class Verifier:
    """Runs one audit at a time, in a thread of its own, and keeps its outcome."""

    def __init__(self) -> None:
        self.last: Verification | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, service: Service) -> None:
        """Begin an audit, unless one runs."""
        if self._task is not None and not self._task.done():
            return
        begun_ms = service.clock.now_ms()
        self.last = Verification("running", begun_ms)
        self._task = asyncio.create_task(self._run(service, begun_ms), name="verify")

    async def _run(self, service: Service, begun_ms: int) -> None:
        settings, path = service.settings, service.settings.seal_file
        sealed = path is not None and path.exists()
        try:
            # In a thread of its own: it takes minutes for large books, and others want to read.
            found = await asyncio.to_thread(
                _audit, service.books.ledger, [path] if sealed and path else [], settings.seal_key
            )
        except Exception as error:
            # Kept, and read by others in languages of their own.
            with i18n.speaking(i18n.SOURCE):
                problem = problem_from(error).message
            if isinstance(error, SealFileProblem):
                problem = str(error)
            self.last = Verification(
                "failed", begun_ms, service.clock.now_ms(), sealed, problem=problem
            )
            return
        state: Literal["clean", "findings"] = "findings" if found else "clean"
        self.last = Verification(state, begun_ms, service.clock.now_ms(), sealed, tuple(found))
        log.info("books verified", findings=len(found), with_seals=sealed)


def _audit(ledger: Ledger, paths: Sequence[object], key: str) -> list[str]:
    if not paths:
        findings = ledger.audit()
    else:
        with contextlib.closing(ExportedSeals(list(paths), key)) as exported:  # type: ignore[arg-type]
            findings = ledger.audit(exported)
    return [f"{finding.where}: {finding.message}" for finding in findings[:_FINDINGS_MAX]]
