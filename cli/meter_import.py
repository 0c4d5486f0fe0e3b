"""Behind `powershare meter import`: a file of any length, brought in chunk by chunk, gone on with, in once.

A file is read here and sent in chunks. The node keeps where each import stands, by the digest of the file and of how it
is read, so an import that was interrupted goes on where it was when the same command is run again, and one that is done
is not done twice. Rows that cannot be kept are written beside the file, each with its line and the reason.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import orjson

from cli.ask import tell
from energy_catalog.meter_files import csv_reader, espi, mapping
from energy_catalog.meter_files.entries import Entry, Found, Refused, Unreadable
from trade.meter_ids import bare_meter_id
from trade.reading import why_refused

#: How long the node may take over one chunk, seconds: it also settles what the readings concern.
CHUNK_S_MAX = 120.0
_DIGEST_BYTES = 1 << 20
#: What a row of a chunk is at most, so that no chunk outgrows what the node takes.
_REASON_CHARS_MAX = 380

_NO_FLOW = "the row does not say which way the energy went; add --flow for such rows"

#: Told of the bytes of the file that are dealt with, of how many.
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Source:
    """A file and how it is to be read; `flow` is for files that do not say theirs, empty where they must."""

    path: Path
    flow: str
    mapping: Any = None
    zone: str = ""

    @property
    def is_feed(self) -> bool:
        """True for XML, by its first character."""
        with self.path.open("rb") as stream:
            return stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")

    def digest(self) -> str:
        """SHA-256 of the file and of how it is read."""
        options = {"flow": self.flow, "mapping": self.mapping, "zone": self.zone}
        sha = hashlib.sha256(orjson.dumps(options, option=orjson.OPT_SORT_KEYS))
        with self.path.open("rb") as stream:
            while block := stream.read(_DIGEST_BYTES):
                sha.update(block)
        return sha.hexdigest()

    def entries(self, stream: BinaryIO) -> Iterator[Entry]:
        """Every value of the file, as a reading or a refusal; raises Unreadable."""
        if self.is_feed:
            return espi.read(stream, flow=self.flow)
        chosen = None if self.mapping is None else mapping.from_document(self.mapping)
        return csv_reader.read(csv_reader.lines_of(stream), mapping=chosen, flow=self.flow, zone=self.zone)


@dataclass(slots=True)
class Outcome:
    """What became of the file's values: each is in one of these."""

    accepted: int = 0
    unchanged: int = 0
    corrected: int = 0
    refused: int = 0
    values: int = 0
    was_done: bool = False
    chunks_before: int = 0
    report: Path | None = None

    @property
    def is_whole(self) -> bool:
        """True when nothing was lost."""
        return self.accepted + self.unchanged + self.corrected + self.refused == self.values


@dataclass(frozen=True, slots=True)
class Door:
    """Where a meter's calls are: the node's address, a token, the meter."""

    url: str
    token: str
    meter_id: str

    def path(self, rest: str) -> str:
        """The address of a call about the meter."""
        return f"{self.url.rstrip('/')}/api/meters/{quote(bare_meter_id(self.meter_id), safe='')}/{rest}"

    def tell(self, method: str, rest: str, body: Any = None) -> Any:
        """Ask, and raise cli.ask's NoAnswer or Refused."""
        return tell(method, self.path(rest), token=self.token, body=body, timeout_s=CHUNK_S_MAX)


def bring_in(source: Source, door: Door, report: Report) -> Outcome:
    """Bring a file in, or go on with it. Raises Unreadable, OSError, and cli.ask's NoAnswer and Refused."""
    _check(source)
    begun = door.tell("POST", "imports", {"import_id": source.digest(), "name": source.path.name[:200]})
    outcome = Outcome(was_done=begun["state"] == "DONE", chunks_before=begun["chunks"])
    size = source.path.stat().st_size
    with ExitStack() as open_files:
        stream = open_files.enter_context(source.path.open("rb"))
        refusals = open_files.enter_context(_Refusals(source.path))
        chunks = _chunks(source.entries(stream), begun["chunk_rows"])
        known = _known_chunks(door, begun)
        for number, (body, count) in enumerate(chunks):
            if number < begun["chunks"]:
                answer = next(known)
            else:
                answer = door.tell("PUT", f"imports/{begun['import_id']}/chunks/{number}", body)
            _add_up(outcome, answer, count)
            refusals.write(answer["refused"])
            report(min(stream.tell(), size), size)
        outcome.report = refusals.path if refusals.count else None
    return outcome


def _check(source: Source) -> None:
    """Raise Unreadable for a file that makes no sense or says no flow, before its import is begun."""
    with source.path.open("rb") as stream:
        first = next((entry for entry in source.entries(stream) if isinstance(entry, Found)), None)
    if first is not None and not first.flow:
        raise Unreadable("the file does not say which way the energy went; add --flow EXPORT or --flow IMPORT")


def _chunks(entries: Iterator[Entry], chunk_rows: int) -> Iterator[tuple[dict[str, Any], int]]:
    """The values in chunks, each as the node takes it, and how many they are; the last one says so."""
    chunk = list(islice(entries, chunk_rows))
    while True:
        following = list(islice(entries, chunk_rows))
        yield _body(chunk, last=not following), len(chunk)
        if not following:
            return
        chunk = following


def _body(chunk: list[Entry], *, last: bool) -> dict[str, Any]:
    rows: list[Any] = []
    refused: list[Any] = []
    for entry in chunk:
        if isinstance(entry, Refused):
            refused.append((entry.line, entry.reason[:_REASON_CHARS_MAX]))
        elif reason := why_refused(entry.reading) or ("" if entry.flow else _NO_FLOW):
            refused.append((entry.line, reason))
        else:
            rows.append(_row(entry))
    return {"rows": rows, "refused": refused, "last": last}


def _row(entry: Found) -> tuple[int, int, int, int, str, str]:
    reading = entry.reading
    start_s = int(reading.starts_at.timestamp())
    return entry.line, start_s, reading.slot_s, reading.energy_wh, entry.flow, reading.quality


def _known_chunks(door: Door, begun: Any) -> Iterator[Any]:
    """What became of the chunks that are in already."""
    after = ""
    while True:
        page = door.tell("GET", f"imports/{begun['import_id']}/chunks?limit=20{after}")
        yield from page["items"]
        if page["next"] is None:
            return
        after = f"&after={quote(page['next'])}"


def _add_up(outcome: Outcome, answer: Any, count: int) -> None:
    outcome.values += count
    outcome.accepted += answer["accepted"]
    outcome.unchanged += answer["unchanged"]
    outcome.corrected += answer["corrected"]
    outcome.refused += len(answer["refused"])


class _Refusals:
    """The file beside the input that says what was refused; it is only there when something was."""

    def __init__(self, source: Path) -> None:
        self.path = source.with_name(f"{source.name}.refused.csv")
        self.count = 0
        self._files = ExitStack()
        self._writer: Any = None

    def __enter__(self) -> _Refusals:
        self.path.unlink(missing_ok=True)  # of an earlier run
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def write(self, refused: list[Any]) -> None:
        """Add lines and reasons."""
        if refused and self._writer is None:
            self._writer = csv.writer(self._files.enter_context(self.path.open("w", newline="", encoding="utf-8")))
            self._writer.writerow(("line", "reason"))
        for entry in refused:
            self._writer.writerow((entry["line"], entry["reason"]))
        self.count += len(refused)
