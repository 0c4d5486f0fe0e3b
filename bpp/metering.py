"""What a prosumer says its meter measured: every line is read by itself, and each refusal says what to correct.

Plain functions, as in `seller`. A line is a slot and the energy through the meter in it; a slot can be reported once it
is over (trading clock). A bad line does not keep the good ones out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bpp import serving
from store.readings import Reading

EXPORT, IMPORT = "EXPORT", "IMPORT"
FLOWS = (EXPORT, IMPORT)
#: Most energy one slot can hold, Wh.
SLOT_WH_MAX = 1_000_000_000
#: Readings older than this are refused (trading clock).
AGE_MAX = timedelta(days=400)
#: Most lines in one upload.
LINES_MAX = 10_000

_HEADER = ["starts_at", "energy_wh"]


class CsvUnreadable(ValueError):
    """The text is no table of readings."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an upload as it was written; `flow` is empty where the line does not say."""

    number: int
    starts_at: str
    energy_wh: str
    flow: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that was not kept, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Sorted:
    """The readings that can be kept, by flow, with the line each came from, and the lines that cannot."""

    readings: dict[str, list[Reading]]
    lines: dict[tuple[str, datetime], int]
    refused: list[Refused]


def read_csv(text: str) -> list[Line]:
    """Lines of `starts_at,energy_wh[,flow]`, with or without a heading; raises CsvUnreadable.

    Numbers are those of the file, the first line being 1.
    """
    lines = []
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text), strict=True), start=1):
            cells = [cell.strip() for cell in row]
            is_heading = number == 1 and [cell.lower() for cell in cells[:2]] == _HEADER
            if is_heading or not any(cells):
                continue
            starts_at, energy_wh, flow = [*cells, "", "", ""][:3]
            lines.append(Line(number, starts_at, energy_wh, flow if len(cells) <= 3 else ",".join(cells[2:])))
            if len(lines) > LINES_MAX:
                raise CsvUnreadable(f"more than {LINES_MAX} lines; send fewer at once")
    except csv.Error as error:
        raise CsvUnreadable(f"this is no CSV: {error}") from error
    return lines


def sort_lines(lines: Iterable[Line], *, flow: str, slot_s: int, now_trading: datetime) -> Sorted:
    """Tell readings from refusals. `flow` holds where a line says none; every slot is `slot_s` long."""
    found = Sorted({name: [] for name in FLOWS}, {}, [])
    for line in lines:
        try:
            reading, its_flow = _reading(line, flow=flow, slot_s=slot_s, now_trading=now_trading)
        except ValueError as refusal:
            found.refused.append(Refused(line.number, str(refusal)))
            continue
        earlier = found.lines.get((its_flow, reading.starts_at))
        if earlier is not None:
            found.refused.append(Refused(line.number, f"line {earlier} says the same slot already; send it once"))
            continue
        found.lines[its_flow, reading.starts_at] = line.number
        found.readings[its_flow].append(reading)
    for name in FLOWS:
        _part_overlapping(found, name)
    return found


def overlaps(found: Sorted, flow: str, starts: Sequence[datetime]) -> list[Refused]:
    """Refusals of lines whose slot overlaps another that was reported before with other bounds."""
    reason = "its slot overlaps one reported before with another beginning or length; use the same slots"
    return [Refused(found.lines[flow, start], reason) for start in starts]


def _part_overlapping(found: Sorted, flow: str) -> None:
    """Keep only readings that share no time with an earlier one of the same upload."""
    kept: list[Reading] = []
    for reading in sorted(found.readings[flow], key=lambda reading: reading.starts_at):
        if kept and reading.starts_at < kept[-1].ends_at:
            other = found.lines[flow, kept[-1].starts_at]
            reason = f"its slot overlaps that of line {other}; slots follow each other"
            found.refused.append(Refused(found.lines[flow, reading.starts_at], reason))
        else:
            kept.append(reading)
    found.readings[flow] = kept


def _reading(line: Line, *, flow: str, slot_s: int, now_trading: datetime) -> tuple[Reading, str]:
    """A line as a reading; raises ValueError with the reason."""
    its_flow = line.flow.upper() or flow
    if its_flow not in FLOWS:
        raise ValueError(f"flow {line.flow[:20]!r} is unknown; say EXPORT or IMPORT, or leave it out")
    reading = Reading(_instant(line.starts_at), slot_s, _energy(line.energy_wh))
    if reading.ends_at > now_trading:
        raise ValueError(
            f"the slot ends at {serving.instant(reading.ends_at)}, which is still to come; send it when it is over"
        )
    if reading.starts_at < now_trading - AGE_MAX:
        raise ValueError(f"the slot is more than {AGE_MAX.days} days old; it can no longer be settled")
    return reading, its_flow


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None or instant.microsecond:
            raise ValueError
        return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"starts_at {text[:40]!r} is no instant; send RFC 3339 with a zone and whole seconds, such as"
            " 2026-01-15T10:00:00Z"
        ) from None


def _energy(text: str) -> int:
    digits = text[1:] if text[:1] == "+" else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 12) or int(digits) > SLOT_WH_MAX:
        raise ValueError(f"energy_wh {text[:40]!r} is refused; send a whole number of Wh from 0 to {SLOT_WH_MAX}")
    return int(digits)
