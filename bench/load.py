"""The load: prepared HTTP requests, posted over keep-alive connections as fast as they are answered.

Run as a process of its own, so that its work is not counted as the server's: `run` writes the requests to a file and
starts `python -m bench.load`. The client is a bare asyncio protocol, because a full HTTP client costs more than the
servers that are measured here.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back: seconds from the first byte sent to the last answer, and answers by status."""

    seconds: float
    statuses: dict[str, int]

    @property
    def accepted(self) -> int:
        """Answers with status 200."""
        return self.statuses.get("200", 0)


def request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """One HTTP/1.1 request, ready to be written to a socket."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def run(url: str, requests: Sequence[bytes], *, connections: int = 32, cpu: int | None = None) -> Answers:
    """Post the requests to the server at `url` from a process of its own; raises RuntimeError when that fails."""
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "requests"
        with packed.open("wb") as file:
            for one in requests:
                file.write(_LENGTH.pack(len(one)) + one)
        core = "" if cpu is None else str(cpu)
        command = [sys.executable, "-m", "bench.load", url, str(packed), str(connections), core]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load process ended with {process.returncode}")
    answer = json.loads(out)
    return Answers(answer["seconds"], answer["statuses"])


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the one before is answered."""

    def __init__(self, requests: Iterator[bytes], statuses: dict[str, int], done: asyncio.Future[None]) -> None:
        self._requests, self._statuses, self.done = requests, statuses, done
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by inheritance
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        if len(rest) < length:
            return
        status = head[9:12].decode()
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._buffer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed a connection"))

    def _send(self) -> None:
        assert self._transport is not None
        one = next(self._requests, None)
        if one is not None:
            self._transport.write(one)
        elif not self.done.done():
            self.done.set_result(None)


def _as_is(connection: _Connection) -> _Connection:
    return connection


async def _post_all(url: str, requests: Sequence[bytes], connections: int) -> Answers:
    loop = asyncio.get_running_loop()
    target = urlsplit(url)
    statuses: dict[str, int] = {}
    waiting, ends, transports = iter(requests), [], []
    start = time.perf_counter()
    for _ in range(connections):
        connection = _Connection(waiting, statuses, done=loop.create_future())
        transport, _ = await loop.create_connection(
            partial(_as_is, connection), target.hostname or "", target.port or 80
        )
        ends.append(connection.done)
        transports.append(transport)
    await asyncio.gather(*ends)
    seconds = time.perf_counter() - start
    for transport in transports:
        transport.close()
    return Answers(seconds, statuses)


def _unpack(packed: bytes) -> list[bytes]:
    requests, at = [], 0
    while at < len(packed):
        (length,) = _LENGTH.unpack_from(packed, at)
        at += _LENGTH.size + length
        requests.append(packed[at - length : at])
    return requests


def main() -> None:
    """The load process: arguments are the server's URL, the file of requests, the connections and the core or ""."""
    url, packed, connections, core = sys.argv[1], Path(sys.argv[2]).read_bytes(), int(sys.argv[3]), sys.argv[4]
    if core and (os.cpu_count() or 1) > int(core):
        os.sched_setaffinity(0, {int(core)})
    answers = uvloop.run(_post_all(url, _unpack(packed), connections))
    print(json.dumps({"seconds": answers.seconds, "statuses": answers.statuses}))


if __name__ == "__main__":
    main()
