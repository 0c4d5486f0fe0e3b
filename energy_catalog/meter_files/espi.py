"""Green Button: ESPI (NAESB REQ.21) inside an Atom feed, as utilities hand it to their customers.

A feed lists entries; each holds one resource and links to others. What a number means is said by its ReadingType,
which a MeterReading links to and whose IntervalBlocks hold the readings. The order of the entries is free, so the file
is walked twice: first for the links and types, then for the readings, each of which is forgotten once it is yielded.

The XML comes from strangers. defusedxml's parser (expat below it) refuses document types, and with them every entity,
before anything is expanded; depth, links and the length of texts are bounded here. lxml was as fast in our trial and
expands entities in attributes even when told not to resolve them, and it brings libxml2 along.

Read is electrical energy (uom 72, Wh) with any power of ten; forward flow (1) is IMPORT, reverse (19) EXPORT, net (4)
both; delta data, or a register's stands. A feed of anything else is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO
from xml.etree import ElementTree

import defusedxml
from defusedxml.ElementTree import iterparse

from energy_catalog.meter_files.entries import Entry, Found, Refused, Unreadable
from trade.money import divide_half_away
from trade.reading import EDITED, ESTIMATED, EXPORT, IMPORT, MEASURED, SLOT_S_MAX, SLOT_S_MIN, Reading
from trade.register import Register, StandRefused

#: Deepest nesting of elements that is followed; a feed has seven.
DEPTH_MAX = 32
#: Most elements that one entry may hold beside its readings, and most entries of one feed.
ELEMENTS_MAX, ENTRIES_MAX = 2000, 100_000
#: Most links of an entry that are looked at, and most steps up a link's path.
_LINKS_MAX, _PATH_STEPS_MAX = 64, 32
_DIGITS_MAX = 15
_ATOM, _ESPI = "{http://www.w3.org/2005/Atom}", "{http://naesb.org/espi}"
_READING, _ENTRY, _LINK = f"{_ESPI}IntervalReading", f"{_ATOM}entry", f"{_ATOM}link"
_PERIOD, _QUALITY = f"{_ESPI}timePeriod", f"{_ESPI}ReadingQuality"
_WH = 72
_WHOLE = re.compile(rf"-?\d{{1,{_DIGITS_MAX}}}", re.ASCII)

_UOMS = {
    5: "A, current", 23: "degrees Celsius", 29: "V, voltage", 31: "J", 33: "Hz", 38: "W, power", 42: "m3, volume",
    61: "VA, apparent power", 63: "var, reactive power", 71: "VAh, apparent energy", 73: "varh, reactive energy",
    80: "a count", 119: "cubic feet", 128: "US gallons", 132: "British thermal units", 134: "litres", 169: "therms",
}  # fmt: skip
_FLOWS = {0: "", 1: IMPORT, 4: "NET", 19: EXPORT}
#: accumulationBehaviour: what is a register that only counts up, and what is energy of the interval.
_REGISTERS, _DELTAS = (1, 3, 9), (0, 4)
#: QualityOfReading: what a utility says of its own number.
_QUALITIES = {
    **dict.fromkeys((0, 11, 14, 16, 17, 18, 19), MEASURED),  # valid, derived, raw, other, validated, verified, billing
    **dict.fromkeys((8, 9, 13), ESTIMATED),  # like day, linear interpolation, mixed
    7: EDITED,
    10: ESTIMATED,  # questionable
}
_NO_MEASUREMENT = {12: "projected", 15: "normalised for weather"}
#: ISO 4217 by number, for those that Green Button is used with; others keep their number.
_CURRENCIES = {36: "AUD", 124: "CAD", 356: "INR", 554: "NZD", 756: "CHF", 826: "GBP", 840: "USD", 978: "EUR"}


@dataclass(frozen=True, slots=True)
class ReadingType:
    """What the numbers of a series mean. `why_not` says why they cannot be read; empty when they can."""

    flow: str = ""
    power_of_ten: int = 0
    interval_s: int = 0
    is_register: bool = False
    quality: int | None = None
    currency: str = ""
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class LocalTime:
    """The clock of the feed's place: seconds east of UTC in winter, and how much later in summer."""

    offset_s: int
    dst_offset_s: int


@dataclass(slots=True)
class Feed:
    """What the first walk found: types and links, the place's clock."""

    types: dict[str, ReadingType] = field(default_factory=dict)
    #: What a MeterReading links to, by its own link.
    series: dict[str, tuple[str, ...]] = field(default_factory=dict)
    local_time: LocalTime | None = None

    def type_of(self, links: tuple[str, ...]) -> tuple[str, ReadingType | None]:
        """The series that a block with these links belongs to, and its type."""
        for link in links:
            for own in _and_above(link):
                for related in self.series.get(own, ()):
                    if related in self.types:
                        return own, self.types[related]
        # A feed with one type needs no links to say which.
        return "", next(iter(self.types.values())) if len(self.types) == 1 else None

    @property
    def currency(self) -> str:
        """The currency of the costs; empty when there is none or not one."""
        found = {each.currency for each in self.types.values() if each.currency}
        return found.pop() if len(found) == 1 else ""


def survey(stream: BinaryIO) -> Feed:
    """The first walk; raises Unreadable when this is no Green Button feed."""
    feed = Feed()
    for count, entry in enumerate(_entries(stream), start=1):
        if count > ENTRIES_MAX:
            raise Unreadable(f"the feed has more than {ENTRIES_MAX} entries; split it")
        for reading_type in entry.iter(f"{_ESPI}ReadingType"):
            for link in _links(entry, "self") or ("",):
                feed.types[link] = _reading_type(reading_type)
        for _ in entry.iter(f"{_ESPI}MeterReading"):
            for link in _links(entry, "self"):
                feed.series[link] = _links(entry, "related")
        for clock in entry.iter(f"{_ESPI}LocalTimeParameters"):
            feed.local_time = LocalTime(_whole(clock, "tzOffset") or 0, _whole(clock, "dstOffset") or 0)
    if not feed.types:
        raise Unreadable("the feed has no ReadingType, so nothing says what its numbers are; ask the utility for ESPI")
    return feed


def read(stream: BinaryIO, *, flow: str = IMPORT, feed: Feed | None = None) -> Iterator[Entry]:
    """Readings and refusals in the order of the feed; `flow` is for feeds that name none.

    `stream` must be seekable. Raises Unreadable for what is no feed at all, or when no type of it can be read.
    """
    if feed is None:
        feed = survey(stream)
        stream.seek(0)
    reasons = [each.why_not for each in feed.types.values() if each.why_not]
    if reasons and len(reasons) == len(feed.types):
        raise Unreadable(reasons[0])
    registers: dict[str, Register] = {}
    known: dict[tuple[str, ...], tuple[str, ReadingType | None]] = {}
    for line, place in enumerate(_places(stream), start=1):
        if place.links not in known:
            known = {place.links: feed.type_of(place.links)}
        own, kind = known[place.links]
        try:
            if kind is None:
                raise ValueError("its block links to no ReadingType of this feed")
            if kind.why_not:
                raise ValueError(kind.why_not)
            yield from _found(line, place, kind, flow, registers.setdefault(own, Register()))
        except ValueError as refusal:
            yield Refused(line, str(refusal))


@dataclass(slots=True)
class _Place:
    """One IntervalReading and where it stands: the links of its entry, its block's start, its number in the block."""

    element: Any
    links: tuple[str, ...]
    block_start_s: int | None
    number: int


def _found(line: int, place: _Place, kind: ReadingType, flow: str, register: Register) -> Iterator[Found]:
    """One IntervalReading as a reading, two for net flow; raises ValueError with the reason."""
    element = place.element
    period = element.find(_PERIOD)
    start_s, duration_s = None, None
    if period is not None:
        start_s, duration_s = _whole(period, "start"), _whole(period, "duration")
    elif place.block_start_s is not None:  # without a period of their own readings follow each other
        start_s = place.block_start_s + place.number * kind.interval_s
    value = _whole(element, "value")
    if start_s is None or value is None:
        raise ValueError(f"the reading has no {'start' if start_s is None else 'value'}")
    if duration_s is None:
        duration_s = kind.interval_s
    if not SLOT_S_MIN <= duration_s <= SLOT_S_MAX:
        raise ValueError(f"its interval is {duration_s} s; a slot is {SLOT_S_MIN} to {SLOT_S_MAX} s, use finer data")
    try:
        starts_at = datetime.fromtimestamp(start_s, UTC)
        ends_at = starts_at + timedelta(seconds=duration_s)
    except (OverflowError, ValueError, OSError):
        raise ValueError(f"its start {start_s} is no time in seconds since 1970") from None
    tenfold = kind.power_of_ten
    energy_wh = value * 10**tenfold if tenfold >= 0 else divide_half_away(value, 10**-tenfold)
    if kind.is_register:
        try:
            reading = register.read(ends_at, energy_wh)
        except StandRefused as refusal:
            raise ValueError(str(refusal)) from refusal
    else:
        reading = Reading(starts_at, duration_s, energy_wh, _quality(element, kind))
    cost_e5 = _whole(element, "cost")
    its_flow = kind.flow or flow
    if its_flow != "NET":
        if energy_wh < 0:
            raise ValueError(f"{energy_wh} Wh is below zero, and the flow direction is not net")
        yield Found(line, its_flow, reading, cost_e5)
        return
    yield Found(line, IMPORT, replace(reading, energy_wh=max(reading.energy_wh, 0)), cost_e5)
    yield Found(line, EXPORT, replace(reading, energy_wh=max(-reading.energy_wh, 0)))


def _quality(element: Any, kind: ReadingType) -> str:
    """The worst of what the utility says of the reading; raises ValueError for what is no measurement."""
    said = [_whole(each, "quality") for each in element.findall(_QUALITY)]
    if not said and kind.quality is not None:
        said = [kind.quality]
    for code in said:
        if code in _NO_MEASUREMENT:
            raise ValueError(f"its quality is {code}, {_NO_MEASUREMENT[code]}: it was not measured")
        if code not in _QUALITIES:
            raise ValueError(f"its quality {code} is not known")
    qualities = {_QUALITIES[code] for code in said if code is not None}
    return next((quality for quality in (ESTIMATED, EDITED) if quality in qualities), MEASURED)


def _reading_type(element: Any) -> ReadingType:
    """A ReadingType as we use it."""
    uom, flow = _whole(element, "uom"), _whole(element, "flowDirection") or 0
    behaviour, power = _whole(element, "accumulationBehaviour") or 0, _whole(element, "powerOfTenMultiplier") or 0
    currency = _whole(element, "currency")
    why_not = ""
    if uom != _WH:
        name = "none" if uom is None else f"{uom} ({_UOMS.get(uom, 'unknown here')})"
        why_not = f"the feed's unit (uom) is {name}; electrical energy is uom 72 (Wh), ask the utility for that"
    elif flow not in _FLOWS:
        why_not = f"the feed's flowDirection is {flow}; known are 1 (forward), 19 (reverse) and 4 (net)"
    elif behaviour not in (*_REGISTERS, *_DELTAS):
        why_not = f"the feed's accumulationBehaviour is {behaviour}; known are 4 (delta data) and 1, 3, 9 (registers)"
    elif not -_DIGITS_MAX <= power <= 9:
        why_not = f"the feed's powerOfTenMultiplier is {power}; it must be from -{_DIGITS_MAX} to 9"
    return ReadingType(
        flow=_FLOWS.get(flow, ""),
        power_of_ten=power,
        interval_s=_whole(element, "intervalLength") or 0,
        is_register=behaviour in _REGISTERS,
        quality=_whole(element, "defaultQuality"),
        currency="" if not currency else _CURRENCIES.get(currency, str(currency)),
        why_not=why_not,
    )


# --- Walking the XML -----------------------------------------------------------------------------------------------


def _walk(stream: BinaryIO) -> Iterator[tuple[list[Any], Any]]:
    """Every reading and every entry when it has ended, below its parents; forgotten once it was yielded.

    Raises Unreadable for what is no safe XML, is nested too deep, or holds too much beside readings.
    """
    parents: list[Any] = []
    kept, before_reading = 0, 0
    try:
        for event, element in iterparse(stream, events=("start", "end"), forbid_dtd=True):
            if event == "start":
                if len(parents) >= DEPTH_MAX:
                    raise Unreadable(f"the XML is nested more than {DEPTH_MAX} deep; this is no Green Button feed")
                parents.append(element)
                kept += 1
                if element.tag == _READING:
                    before_reading = kept - 1
                if kept > ELEMENTS_MAX:
                    raise Unreadable(f"an entry has more than {ELEMENTS_MAX} elements beside its readings; split it")
                continue
            parents.pop()
            tag = element.tag
            if tag in (_READING, _ENTRY):
                yield parents, element
                if parents:
                    parents[-1].remove(element)
                    kept = before_reading if tag == _READING else len(parents)
    except defusedxml.DefusedXmlException as error:
        raise Unreadable("the XML declares a document type or entities; a Green Button feed needs none") from error
    except Unreadable:
        raise
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # ValueError: an encoding that is not read
        raise Unreadable(f"this is no well-formed XML: {error}") from error


def _entries(stream: BinaryIO) -> Iterator[Any]:
    """The feed's entries, each without its readings."""
    for _, element in _walk(stream):
        if element.tag == _ENTRY:
            yield element


def _places(stream: BinaryIO) -> Iterator[_Place]:
    """Every reading of every block."""
    block, place = None, _Place(None, (), None, 0)
    for parents, element in _walk(stream):
        if element.tag != _READING or not parents:
            continue
        if parents[-1] is not block:
            block = parents[-1]
            entry = next((each for each in reversed(parents) if each.tag == _ENTRY), None)
            links = () if entry is None else _links(entry, "self") + _links(entry, "up")
            interval = block.find(f"{_ESPI}interval")
            place = _Place(element, links, None if interval is None else _whole(interval, "start"), -1)
        place.element = element
        place.number += 1
        yield place


def _and_above(link: str) -> Iterator[str]:
    """A link and the resources its path lies below."""
    for _ in range(_PATH_STEPS_MAX):
        yield link
        link, _, last = link.rpartition("/")
        if not link or not last:
            return


def _links(entry: Any, relation: str) -> tuple[str, ...]:
    found = entry.findall(_LINK)
    return tuple(link.get("href", "").rstrip("/") for link in found[:_LINKS_MAX] if link.get("rel") == relation)


def _number(text: str | None) -> int | None:
    """A whole number; None when the text is none. Leading zeros and blanks are allowed."""
    if text is None:
        return None
    plain = text.strip()
    return int(plain) if _WHOLE.fullmatch(plain) else None


def _whole(element: Any, name: str) -> int | None:
    return _number(element.findtext(f"{_ESPI}{name}"))
