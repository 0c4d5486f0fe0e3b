"""From what was uploaded to readings: JSON lines, CSV text, a Green Button feed. Plain functions, as the readers are.

Every value is judged by itself: a bad one is refused by its line, with the reason, and does not keep the others out.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from api.meter_models import VALUES_MAX, ReadingIn
from energy_catalog.meter_files import csv_reader, espi, mapping, values
from energy_catalog.meter_files.entries import Entry, Found, Refused, Unreadable
from trade.reading import FLOWS, SLOT_WH_MAX, Reading, why_refused


@dataclass(slots=True)
class Judged:
    """Readings that can be kept, by flow and in the order they came, with their lines; and those that cannot."""

    readings: dict[str, list[Reading]] = field(default_factory=lambda: {flow: [] for flow in FLOWS})
    lines: dict[str, list[int]] = field(default_factory=lambda: {flow: [] for flow in FLOWS})
    refused: list[tuple[int, str]] = field(default_factory=list)
    cost_e5: int | None = None
    currency: str = ""

    def refuse_overlapping(self, flow: str, places: Iterable[int]) -> None:
        """Refuse readings whose slots overlap what is known, by their places in what was added."""
        reason = "its slot overlaps one reported before with another beginning or length; use the same slots"
        self.refused += [(self.lines[flow][place], reason) for place in places]


def judge(entries: Iterable[Entry], *, now_trading: datetime, values_max: int = VALUES_MAX) -> Judged:
    """Part what can be kept from what cannot; raises Unreadable for more than `values_max` values."""
    judged = Judged()
    for count, entry in enumerate(entries, start=1):
        if count > values_max:
            raise Unreadable(f"more than {values_max} values; bring in a longer file with `powershare meter import`")
        if isinstance(entry, Refused):
            judged.refused.append((entry.line, entry.reason))
        elif reason := why_refused(entry.reading, now_trading=now_trading):
            judged.refused.append((entry.line, reason))
        else:
            judged.readings[entry.flow].append(entry.reading)
            judged.lines[entry.flow].append(entry.line)
            if entry.cost_e5 is not None:
                judged.cost_e5 = (judged.cost_e5 or 0) + entry.cost_e5
    return judged


def of_lines(lines: Iterable[ReadingIn], *, flow: str, slot_s: int) -> Iterator[Entry]:
    """The lines of a JSON upload."""
    for number, line in enumerate(lines, start=1):
        try:
            yield Found(number, _flow(line.flow, flow), _reading(line, slot_s))
        except ValueError as refusal:
            yield Refused(number, str(refusal))


def of_csv(text: str, *, document: Any, flow: str, slot_s: int | None, zone: str) -> Iterator[Entry]:
    """The rows of a CSV; `document` is the mapping's JSON, or None. Raises Unreadable."""
    chosen = None if document is None else mapping.from_document(document)
    if zone:
        values.zone_named(zone)
    return csv_reader.read(io.StringIO(text), mapping=chosen, flow=flow, slot_s=slot_s or 0, zone=zone)


def judge_espi(raw: bytes, *, flow: str, now_trading: datetime) -> Judged:
    """The readings of a Green Button feed, judged, with what it says they cost; raises Unreadable."""
    feed = espi.survey(io.BytesIO(raw))
    judged = judge(espi.read(io.BytesIO(raw), flow=flow, feed=feed), now_trading=now_trading)
    judged.currency = feed.currency
    return judged


def mapping_document(text: str | None) -> Any:
    """A mapping that came as text; raises Unreadable."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"the mapping is no JSON: {error}") from error


def _reading(line: ReadingIn, slot_s: int) -> Reading:
    return Reading(_instant(line.starts_at or ""), slot_s, _energy(line.energy_wh), values.quality(line.quality or ""))


def _flow(said: str | None, otherwise: str) -> str:
    flow = (said or "").strip().upper() or otherwise
    if flow not in FLOWS:
        raise ValueError(f"flow {said!r} is unknown; say EXPORT or IMPORT, or leave it out")
    return flow


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


def _energy(value: float | str | None) -> int:
    text = "" if value is None else str(value)
    digits = text[1:] if text[:1] == "+" else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 12) or int(digits) > SLOT_WH_MAX:
        raise ValueError(f"energy_wh {text[:40]!r} is refused; send a whole number of Wh from 0 to {SLOT_WH_MAX}")
    return int(digits)
