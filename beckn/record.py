"""The recorder: every wire message as it was received, for looking at and for replaying.

Two files a message: `<sequence>-<receiver>-<action>.body` holds the exact bytes, the same name with `.headers` a JSON
object of the request's headers. The sequence sorts in order of receipt over all processes that share the directory.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from pathlib import Path

import orjson

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


class Recorder:
    """Writes what one node receives into a directory."""

    def __init__(self, directory: Path, *, receiver: str) -> None:
        """Make the directory if need be; raises OSError when it cannot be written."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._receiver = _UNSAFE.sub("_", receiver)

    def record(self, action: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Write one message; called in order of receipt."""
        stem = f"{self._sequence()}-{self._receiver}-{_UNSAFE.sub('_', action)}"
        (self._directory / f"{stem}.headers").write_bytes(
            orjson.dumps({str(name): value for name, value in headers.items()}, option=orjson.OPT_INDENT_2)
        )
        (self._directory / f"{stem}.body").write_bytes(body)

    def _sequence(self) -> str:
        """The next number, counted in a file that all processes lock in turn."""
        counter = os.open(self._directory / ".sequence", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(counter, fcntl.LOCK_EX)
            number = int(os.pread(counter, 20, 0) or b"0") + 1
            os.pwrite(counter, str(number).encode(), 0)
        finally:
            os.close(counter)
        return f"{number:09d}"
