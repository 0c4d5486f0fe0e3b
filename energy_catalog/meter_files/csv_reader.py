"""CSV with meter data, line by line: a bad line is refused by its number, and the next one is read.

A line is a row, so a quote that is never closed costs one line and not the rest of the file. The length of a slot is
found from the distance between rows where the mapping does not say it.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import BinaryIO

from energy_catalog.meter_files import mapping as mappings
from energy_catalog.meter_files import values
from energy_catalog.meter_files.entries import Entry, Found, Refused, Unreadable
from energy_catalog.meter_files.mapping import NET, Mapping, Value
from trade.reading import EXPORT, FLOWS, IMPORT, MEASURED, SLOT_S_MAX, SLOT_S_MIN, Reading
from trade.register import Register, StandRefused

#: Longest line, bytes.
LINE_BYTES_MAX = 65_536
#: So many rows are looked at before the first is yielded, to find the length of a slot and the order of the rows.
LOOK_AHEAD_ROWS = 400
_DELIMITERS = ",;\t|"


def lines_of(stream: BinaryIO) -> Iterator[str]:
    """The lines of a file, UTF-8 with or without a mark; raises Unreadable for a line without an end.

    Bytes that are no UTF-8 become a character that no value has, so that they cost their line and nothing more.
    """
    number = 0
    while line := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            raise Unreadable(f"line {number} is longer than {LINE_BYTES_MAX} bytes; this is no table of readings")
        yield line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace")


def read(
    lines: Iterable[str], *, mapping: Mapping | None = None, flow: str = IMPORT, slot_s: int = 0, zone: str = ""
) -> Iterator[Entry]:
    """Readings and refusals in the order of the file. Raises Unreadable, at the first, when it makes no sense.

    `flow` holds where neither column nor mapping says one, `slot_s` where it cannot be found from the rows, `zone`
    where the mapping names none. The lines keep their numbers: the heading is line 1.
    """
    numbered = enumerate(lines, start=1)
    first = next(((number, line) for number, line in numbered if line.strip()), None)
    if first is None:
        return
    delimiter = mapping.delimiter if mapping and mapping.delimiter else _delimiter(first[1])
    heading, chosen, is_heading = _heading(first[1], delimiter, mapping)
    reader = _Reader(replace(chosen, zone=chosen.zone or zone), heading, delimiter, flow)
    rows = (row for row in numbered if row[1].strip())
    yield from reader.read(rows if is_heading else _chain(first, rows), slot_s)


def _chain(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest


def _delimiter(line: str) -> str:
    counted = Counter(character for character in line if character in _DELIMITERS)
    return counted.most_common(1)[0][0] if counted else ","


def _heading(line: str, delimiter: str, mapping: Mapping | None) -> tuple[list[str], Mapping, bool]:
    """The columns' names, the mapping, and whether the first line was a heading."""
    try:
        cells = [cell.strip() for cell in _cells(line, delimiter)]
    except ValueError as error:
        raise Unreadable(f"the first line is no heading: {error}") from error
    if mapping is not None:
        return cells, mapping, True
    if any(cell[:1].isdigit() for cell in cells):  # no heading begins with a digit
        return list(mappings.OWN_HEADING), mappings.OWN, False
    return cells, mappings.guessed(cells), True


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line; raises ValueError for broken quotes."""
    line = line.rstrip("\r\n")
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise ValueError(f"the quotes of this line are broken ({error})") from error


@dataclass(frozen=True, slots=True)
class _Row:
    """A row as it was written, with its instant; `reason` says why there is none."""

    line: int
    cells: Sequence[str]
    at: datetime | None
    reason: str = ""


class _Reader:
    """Reads the rows of one file."""

    def __init__(self, mapping: Mapping, heading: Sequence[str], delimiter: str, flow: str) -> None:
        self._mapping, self._delimiter, self._flow = mapping, delimiter, flow
        self._places: dict[str, int] = {}
        for place, name in enumerate(heading):
            self._places.setdefault(name.strip().lower(), place)
        self._instant = self._place(mapping.instant)
        self._time = self._place(mapping.time) if mapping.time else None
        self._flow_at = self._optional(mapping.flow)
        self._quality_at = self._optional(mapping.quality)
        self._values = [(self._place(value.column), value) for value in mapping.values]
        self._zone = values.zone_named(mapping.zone) if mapping.zone else None
        has_comma = mapping.decimal_comma
        self._has_comma = delimiter != "," if has_comma is None else has_comma
        self._instants = self._new_instants(is_falling=False)
        self._registers: dict[tuple[int, str], Register] = {}

    def _place(self, name: str) -> int:
        place = self._places.get(name.strip().lower())
        if place is None:
            columns = ", ".join(repr(known[:40]) for known in list(self._places)[:12])
            raise Unreadable(f"there is no column {name[:40]!r}; the file has {columns}")
        return place

    def _optional(self, name: str) -> int | None:
        return self._place(name) if name else None

    def _new_instants(self, *, is_falling: bool) -> values.Instants:
        return values.Instants(
            self._zone,
            is_end=self._mapping.label == "end" or self._mapping.register,
            is_falling=is_falling,
            day_first=self._mapping.day_first,
        )

    def read(self, lines: Iterator[tuple[int, str]], slot_s: int) -> Iterator[Entry]:
        """Entries of the rows; `slot_s` is for files whose rows do not tell the length of a slot."""
        early = list(islice(lines, LOOK_AHEAD_ROWS))
        seen = [row.at for row in map(self._row, early) if row.at is not None]
        steps = [int((after - before).total_seconds()) for before, after in pairwise(seen)]
        is_falling = sum(step < 0 for step in steps) > len(steps) // 2
        self._instants = self._new_instants(is_falling=is_falling)
        slot_s = self._mapping.slot_s or self._slot_length_s(seen, is_falling=is_falling) or slot_s or 3600
        for line in early:
            yield from self._entries(self._row(line), slot_s)
        for line in lines:
            yield from self._entries(self._row(line), slot_s)

    def _slot_length_s(self, seen: Sequence[datetime], *, is_falling: bool) -> int:
        """The commonest distance between rows that follow each other; 0 when there is none."""
        ordered = sorted(set(seen)) if is_falling else seen
        steps = Counter(int((after - before).total_seconds()) for before, after in pairwise(ordered))
        fitting = [(step, count) for step, count in steps.most_common() if SLOT_S_MIN <= step <= SLOT_S_MAX]
        return fitting[0][0] if fitting else 0

    def _row(self, numbered: tuple[int, str]) -> _Row:
        line, text = numbered
        try:
            cells = _cells(text, self._delimiter)
            if len(cells) <= self._instant or (self._time is not None and len(cells) <= self._time):
                raise ValueError(f"the line has {len(cells)} cell(s); its instant is missing")
            stated = cells[self._instant].strip()
            if self._time is not None:
                stated = values.with_time(stated, cells[self._time])
            series = cells[self._flow_at] if self._flow_at is not None and self._flow_at < len(cells) else ""
            return _Row(line, cells, self._instants.read(stated, series))
        except ValueError as refusal:
            return _Row(line, (), None, str(refusal))

    def _entries(self, row: _Row, slot_s: int) -> Iterator[Entry]:
        """One entry for each value of a row, two for a NET value."""
        for place, value in self._values:
            try:
                if row.at is None:
                    raise ValueError(row.reason)
                yield from self._readings(row, row.at, place, value, slot_s)
            except ValueError as refusal:
                yield Refused(row.line, str(refusal))

    def _readings(self, row: _Row, at: datetime, place: int, value: Value, slot_s: int) -> Sequence[Entry]:
        text = row.cells[place].strip() if place < len(row.cells) else ""
        if text.lower() in values.EMPTY:
            raise ValueError(f"no value stands in column {value.column[:40]!r}: a gap; it can be estimated")
        if self._has_comma:
            text = text.replace(",", ".")
        flow = self._flow_of(row, value)
        energy_wh = values.energy_wh(text, unit=value.unit, slot_s=slot_s)
        if self._mapping.register:
            reading = self._stand(place, flow, at, energy_wh)
        else:
            starts_at = at - timedelta(seconds=slot_s) if self._mapping.label == "end" else at
            reading = Reading(starts_at, slot_s, energy_wh, self._quality(row))
        if flow != NET:
            if reading.energy_wh < 0:
                raise ValueError(f"{text[:40]} is below zero; energy the other way belongs to the other flow (or NET)")
            return (Found(row.line, flow, reading),)
        return (
            Found(row.line, IMPORT, replace(reading, energy_wh=max(reading.energy_wh, 0))),
            Found(row.line, EXPORT, replace(reading, energy_wh=max(-reading.energy_wh, 0))),
        )

    def _stand(self, place: int, flow: str, at: datetime, stand_wh: int) -> Reading:
        register = self._registers.get((place, flow))
        if register is None:
            register = self._registers[place, flow] = Register(modulus_wh=self._mapping.modulus_wh)
        try:
            return register.read(at, stand_wh)
        except StandRefused as refusal:
            raise ValueError(str(refusal)) from refusal

    def _flow_of(self, row: _Row, value: Value) -> str:
        if value.flow:
            return value.flow
        said = ""
        if self._flow_at is not None and self._flow_at < len(row.cells):
            said = row.cells[self._flow_at].strip().upper()
        if said not in ("", NET, *FLOWS):
            raise ValueError(f"flow {said[:20]!r} is unknown; say EXPORT or IMPORT, or leave it out")
        return said or self._flow

    def _quality(self, row: _Row) -> str:
        if self._quality_at is None or self._quality_at >= len(row.cells):
            return MEASURED
        return values.quality(row.cells[self._quality_at])
