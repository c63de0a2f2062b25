"""One recorded operation as a pgbench script: the same statements without any Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.hubs import BenchmarkError
from benchmarks.ledger.copies import DIGITS, IDENTIFIER
from benchmarks.ledger.recording import Operation

__all__ = ["find_pgbench", "run_pgbench", "script"]

_RUN_MAX_S = 120
_TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
# Each client counts its own transactions on from `first`; nobody else has its digits.
_HEAD = "\\set turn :turn + 1\n\\set digits :first + :client_id * :share + :turn - 1\n"


def find_pgbench() -> str | None:
    """Return where pgbench is, None if this machine has none."""
    return shutil.which("pgbench")


def script(operation: Operation) -> str:
    """Return a pgbench script in which the ids of a recorded operation end in its variable."""
    lines = []
    for step in operation:
        if step.kind == "execute":
            lines.append(_statement(step.text, step.parameters))
        elif step.kind == "executemany":
            lines += [_statement(step.text, row) for row in step.parameters]
        else:
            lines.append(step.kind.upper())
    if not lines or lines[0].upper() != "BEGIN":
        lines.insert(0, "BEGIN")
    return _HEAD + "".join(f"{line};\n" for line in lines)


def run_pgbench(
    pgbench: str, uri: str, text: str, *, clients: int, transactions: int, first: int
) -> float:
    """Run a script, so many transactions in all, and return how many seconds it took.

    Raises
    ------
    BenchmarkError
        If pgbench fails or a transaction does.
    """
    share = transactions // clients
    with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        command = [pgbench, "--no-vacuum", "--protocol=prepared", f"--file={file.name}"]
        command += [f"--client={clients}", f"--jobs={min(clients, os.cpu_count() or 1)}"]
        command += [f"--transactions={share}", "--define=turn=0"]
        command += [f"--define=first={first}", f"--define=share={share}", uri]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_RUN_MAX_S, cwd=Path(file.name).parent
        )
    found = _TPS.search(done.stdout)
    processed = f"processed: {share * clients}/{share * clients}"
    if done.returncode or found is None or processed not in done.stdout:
        raise BenchmarkError(f"pgbench failed: {(done.stderr or done.stdout)[-500:]}")
    return share * clients / float(found[1])


def _statement(text: str, parameters: Any) -> str:
    if parameters:
        if isinstance(parameters, dict):
            literals: Any = {name: _literal(value) for name, value in parameters.items()}
        else:
            literals = tuple(_literal(value) for value in parameters)
        text = text % literals
    return " ".join(text.split())


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return f"ARRAY[{', '.join(_literal(item) for item in value)}]"
    if isinstance(value, str):
        return _text(value)
    wrapped = getattr(value, "obj", value)  # psycopg's Json
    return _text(json.dumps(wrapped))


def _text(value: str) -> str:
    parts, at = [], 0
    for found in IDENTIFIER.finditer(value):
        parts += [_quoted(value[at : found.end() - DIGITS]), ":digits"]
        at = found.end()
    if at < len(value) or not parts:
        parts.append(_quoted(value[at:]))
    return parts[0] if len(parts) == 1 else f"({' || '.join(parts)})"


def _quoted(value: str) -> str:
    """Quote a text; pgbench would take a colon within it for a variable."""
    escaped = value.replace("\\", "\\\\").replace("'", "''").replace(":", "\\x3A")
    return f"E'{escaped}'"
