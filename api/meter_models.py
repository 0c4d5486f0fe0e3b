"""What the meter calls of both nodes take and answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.paging import Instant, Page, Strict
from api.series import InstantOut, SlotSeconds
from store import readings
from store.meter_imports import Chunk, Import
from trade import vee
from trade.reading import SLOT_S_MAX, SLOT_S_MIN, SLOT_WH_MAX
from trade.vee import Method

#: Most lines of one JSON upload, and most values of one file; `powershare meter import` brings in longer ones.
LINES_MAX, VALUES_MAX = 10_000, 50_000
#: Largest upload, bytes: a feed of VALUES_MAX readings.
UPLOAD_BYTES_MAX = 12 * 1024 * 1024
#: Rows of one chunk of an import, and its bytes at most.
CHUNK_ROWS, CHUNK_BYTES_MAX = 10_000, 4 * 1024 * 1024
#: Chunks of one import: ten thousand times a million rows would be no meter's file.
CHUNKS_MAX = 10_000
#: Most readings that one look for findings takes (a year of quarter hours), and most findings it answers.
JUDGED_MAX, FINDINGS_MAX = 36_000, 1000
EDITS_MAX = 1000

Flow = Literal["EXPORT", "IMPORT"]
Quality = Literal["MEASURED", "ESTIMATED", "EDITED"]
Zone = Annotated[str, Field(max_length=60, description="IANA zone, such as Europe/Paris")]


class ReadingIn(Strict):
    """Energy through the meter in one slot. Judged line by line: a bad one does not keep the others out."""

    starts_at: str | None = Field(default=None, max_length=64, description="Start of the slot, RFC 3339 with a zone")
    energy_wh: int | float | str | None = Field(default=None, description="Whole Wh, 0 or more")
    flow: str | None = Field(default=None, max_length=20)
    quality: str | None = Field(default=None, max_length=20, description="MEASURED unless said")


class ReadingsIn(Strict):
    """Readings of one meter, or the text of a CSV with how its columns are to be read.

    As text/csv or application/atom+xml (Green Button) the body is the file itself, and the query says the rest.
    """

    flow: Flow | None = None
    slot_s: SlotSeconds | None = None
    readings: tuple[ReadingIn, ...] = Field(default=(), max_length=LINES_MAX)
    csv: str | None = Field(default=None, max_length=UPLOAD_BYTES_MAX, description="The lines, as CSV text")
    mapping: dict[str, object] | None = Field(default=None, description="Which column of the CSV says what")
    zone: Zone = ""


class UploadQuery(Strict):
    """What an upload that is a file says about all its values."""

    flow: Flow | None = Field(default=None, description="Where the file says none")
    slot_s: SlotSeconds | None = Field(default=None, description="Where the file's rows do not tell it")
    zone: Zone = ""
    mapping: str | None = Field(default=None, max_length=4000, description="Which column says what, as JSON")


class RefusedLine(BaseModel):
    """A line that was not kept; lines of JSON and readings of a feed are counted from 1."""

    line: int
    reason: str


class CostOut(BaseModel):
    """What the file itself says its energy cost; it moves no money here."""

    currency: str
    amount: str


class UploadOut(BaseModel):
    """What became of an upload. Nothing is lost: every value is in one of these."""

    accepted: int = Field(description="Slots reported for the first time")
    unchanged: int = Field(description="Slots reported before with the same energy")
    corrected: int = Field(description="Slots reported before with other energy; the old value is kept as history")
    refused: list[RefusedLine]
    cost: CostOut | None = None


class ReadingOut(BaseModel):
    """What is known of one slot: its newest version or, with `history`, each of them."""

    starts_at: InstantOut
    slot_s: int
    energy_wh: int
    quality: str
    reason: str
    version: int
    received_at: InstantOut
    source: str

    @classmethod
    def of(cls, version: readings.Version) -> ReadingOut:
        """From the store."""
        reading = version.reading
        return cls.model_construct(
            starts_at=reading.starts_at,
            slot_s=reading.slot_s,
            energy_wh=reading.energy_wh,
            quality=reading.quality,
            reason=reading.reason,
            version=version.version,
            received_at=version.received_at,
            source=version.source,
        )


class ReadingsOf(Page):
    """Query of a meter's readings: those that start in [start, end)."""

    flow: Flow | None = None
    start: Instant | None = None
    end: Instant | None = None
    history: bool = Field(default=False, description="Every version of each slot, oldest first")


class FindingsOf(Strict):
    """Query of findings: the readings that start in [start, end)."""

    flow: Flow | None = None
    start: Instant | None = None
    end: Instant | None = None
    zone: Zone = "UTC"
    rated_w: int = Field(default=0, ge=0, le=1_000_000_000, description="The meter's rated limit, if not known here")
    kind: vee.Kind | None = None


class FindingOut(BaseModel):
    """Something a person should look at."""

    kind: str
    starts_at: InstantOut
    ends_at: InstantOut
    sentence: str

    @classmethod
    def of(cls, finding: vee.Finding) -> FindingOut:
        """From the rules."""
        return cls(
            kind=finding.kind.value,
            starts_at=finding.starts_at,
            ends_at=finding.ends_at,
            sentence=finding.sentence,
        )


class FindingsOut(BaseModel):
    """What looks wrong in a range, and what the range holds."""

    slot_s: int
    measured: int
    estimated: int
    edited: int
    counts: dict[str, int] = Field(description="How many findings of each kind")
    findings: list[FindingOut] = Field(description=f"In order of time, {FINDINGS_MAX} at most")


class EstimateIn(Strict):
    """Which gaps to fill, and how: `auto` draws a line over short gaps and takes like days for long ones."""

    flow: Flow | None = None
    start: Instant
    end: Instant
    method: Method = Method.AUTO
    zone: Zone = "UTC"


class EstimatedReading(BaseModel):
    """A value put in for one that is missing."""

    starts_at: InstantOut
    slot_s: int
    energy_wh: int
    reason: str


class EstimateOut(BaseModel):
    """What was filled in, and the gaps that were left."""

    estimated: list[EstimatedReading]
    left: list[FindingOut]


class EditLine(Strict):
    """One slot and what it should say."""

    starts_at: Instant
    energy_wh: int = Field(ge=0, le=SLOT_WH_MAX)


class EditsIn(Strict):
    """Values put right by a person, and why."""

    flow: Flow | None = None
    reason: str = Field(min_length=3, max_length=300)
    readings: tuple[EditLine, ...] = Field(min_length=1, max_length=EDITS_MAX)


class ImportIn(Strict):
    """A file that is about to be brought in."""

    import_id: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file and of how it is read, in hex")
    name: str = Field(min_length=1, max_length=200, description="The file's name, for people")


class ImportOut(BaseModel):
    """Where an import stands; the next chunk to send is number `chunks`."""

    import_id: str
    name: str
    state: str = Field(description="OPEN or DONE")
    started_by: str
    started_at: InstantOut
    finished_at: InstantOut | None
    chunk_rows: int = Field(description="Rows of one chunk, good and bad together; only the last may have fewer")
    chunks: int
    accepted: int
    unchanged: int
    corrected: int
    refused: int

    @classmethod
    def of(cls, kept: Import) -> ImportOut:
        """From the store."""
        return cls.model_validate({**{n: getattr(kept, n) for n in Import.__slots__}, "chunk_rows": CHUNK_ROWS})


_Line = Annotated[int, Field(ge=1, le=10**12)]
_Row = tuple[
    _Line,
    Annotated[int, Field(ge=-(10**10), le=10**11)],
    Annotated[int, Field(ge=SLOT_S_MIN, le=SLOT_S_MAX)],
    Annotated[int, Field(ge=0, le=SLOT_WH_MAX)],
    Flow,
    Quality,
]


class ChunkIn(Strict):
    """A chunk of a file that was read by its sender.

    Each row is [line, start of the slot in seconds since 1970, length in seconds, Wh, flow, quality]; `refused` are
    the rows that could not be read, as [line, reason]; both in the order of the file.
    """

    rows: tuple[_Row, ...] = Field(max_length=CHUNK_ROWS)
    refused: tuple[tuple[_Line, Annotated[str, Field(max_length=400)]], ...] = Field(default=(), max_length=CHUNK_ROWS)
    last: bool = False


class ChunkOut(BaseModel):
    """What became of a chunk; a repeated one answers what became of it the first time."""

    chunk: int
    accepted: int
    unchanged: int
    corrected: int
    refused: list[RefusedLine]

    @classmethod
    def of(cls, kept: Chunk) -> ChunkOut:
        """From the store."""
        return cls(
            chunk=kept.chunk,
            accepted=kept.accepted,
            unchanged=kept.unchanged,
            corrected=kept.corrected,
            refused=lines_of(kept.refused),
        )


def lines_of(refused: Iterable[tuple[int, str]]) -> list[RefusedLine]:
    """Refusals in the order of the file."""
    return [RefusedLine(line=line, reason=reason) for line, reason in sorted(refused)]
