"""Published series as they really come: day-ahead prices and carbon intensities, as ENTSO-E's XML or as CSV.

What comes out are points (`trade.price_rules.Point`): prices in micro-units of the currency per kWh, which may be
negative, or mg CO2 per kWh. Nothing is guessed: a gap stays a gap, unless the format itself says that a value holds on.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from itertools import pairwise
from xml.etree import ElementTree

from trade.price_rules import Point

#: Most points of one upload (a leap year of quarter hours), and the largest value of one.
POINTS_MAX = 35_136
VALUE_MAX = 10**12

#: Lengths of slot that an index may have: minutes to a month.
SLOT_S_MIN, SLOT_S_MAX = 60, 31 * 86_400

_RESOLUTIONS = {"PT15M": 900, "PT30M": 1800, "PT60M": 3600, "PT1H": 3600, "P1D": 86_400}


class IndexUnreadable(ValueError):
    """A file that is no index; the sentence says where and why."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a file holds; `currency` is empty where it names none."""

    points: tuple[Point, ...]
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of values: what its header may say, and what one unit of it is in whole units of the index."""

    pattern: re.Pattern[str]
    factor: int


#: Prices: micro-units per kWh from a price per kWh, per MWh, or as it is.
PRICE_COLUMNS = (
    Column(re.compile(r"price_micro_per_kwh"), 1),
    Column(re.compile(r"price_per_kwh|.*/\s*kwh.*|.*per kwh.*"), 1_000_000),
    Column(re.compile(r"price_per_mwh|.*/\s*mwh.*|.*per mwh.*|price|lmp|total_lmp_da|settlementpointprice"), 1_000),
)
#: Carbon: mg per kWh from g or mg per kWh; direct intensity comes before life-cycle where a file has both.
CARBON_COLUMNS = (
    Column(re.compile(r"mg_per_kwh"), 1),
    Column(re.compile(r"g_per_kwh|.*gco.{1,3}(eq)?/kwh.*direct.*|carbon_g_per_kwh"), 1_000),
    Column(re.compile(r".*gco.{1,3}(eq)?/kwh.*"), 1_000),
)
_START = re.compile(r"starts?_at|start|datetime.*|.*gmt|.*utc.*|time|timestamp", re.IGNORECASE)


def check_points(points: Sequence[Point]) -> None:
    """Refuse points that share time, are too many, or are out of bounds; raises IndexUnreadable."""
    if not 1 <= len(points) <= POINTS_MAX:
        raise IndexUnreadable(f"an index is sent in 1 to {POINTS_MAX} values at once, and here are {len(points)}")
    for point in points:
        if not SLOT_S_MIN <= point.slot_s <= SLOT_S_MAX or abs(point.value) > VALUE_MAX:
            raise IndexUnreadable(
                f"the value of {point.start.isoformat()} is {point.value} for {point.slot_s} s; send at most"
                f" {VALUE_MAX} for {SLOT_S_MIN} to {SLOT_S_MAX} s"
            )
    for earlier, later in pairwise(sorted(points, key=lambda point: point.start)):
        if later.start < earlier.end:
            raise IndexUnreadable(f"the value of {later.start.isoformat()} begins before the one before it ends")


# --- CSV ----------------------------------------------------------------------------------------------------------


def read_csv(text: str, columns: Sequence[Column], *, slot_s: int | None = None) -> Read:
    """Instants and values by their headers; instants without a zone are UTC. The last line of a slot wins.

    A value holds for `slot_s`; without it for the most common distance between lines, or until the next line where
    lines are months apart. Raises IndexUnreadable naming the line.
    """
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    header = [cell.strip() for cell in next(rows, [])]
    at, of, factor = _columns_of(header, columns)
    found: dict[datetime, int] = {}
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(found) > POINTS_MAX:
            raise IndexUnreadable(f"more than {POINTS_MAX} lines; send fewer at once")
        if len(row) <= max(at, of):
            raise IndexUnreadable(f"line {number} has {len(row)} cells and needs {max(at, of) + 1}")
        if row[of].strip().lower() in ("", "null", "nan", "-", "n/e"):
            continue  # a gap stays a gap: nothing is made of it, least of all 0
        found[_instant(row[at], number)] = _scaled(row[of], factor, f"line {number}")
    points = _with_lengths(sorted(found.items()), slot_s) if found else ()
    check_points(points)
    return Read(points)


def _columns_of(header: Sequence[str], columns: Sequence[Column]) -> tuple[int, int, int]:
    at = next((index for index, name in enumerate(header) if _START.fullmatch(name)), None)
    if at is None:
        raise IndexUnreadable("its first line names no column of instants; call one 'starts_at'")
    for column in columns:
        for index, name in enumerate(header):
            if index != at and column.pattern.fullmatch(name.lower()):
                return at, index, column.factor
    raise IndexUnreadable("its first line names no column of values; say the unit, such as 'price_per_mwh'")


def _with_lengths(values: Sequence[tuple[datetime, int]], slot_s: int | None) -> tuple[Point, ...]:
    gaps = [int((later[0] - earlier[0]).total_seconds()) for earlier, later in pairwise(values)]
    if slot_s is None and gaps and min(gaps) >= 28 * 86_400:
        gaps.append(31 * 86_400)  # months: each value until the next, the last for a longest month
        return tuple(
            Point(start, min(gap, SLOT_S_MAX), value) for (start, value), gap in zip(values, gaps, strict=True)
        )
    if slot_s is None:
        if not gaps:
            raise IndexUnreadable("it has one line and no length of slot; send slot_s")
        counted = Counter(gaps)
        slot_s = max(counted, key=lambda gap: (counted[gap], -gap))
    return tuple(Point(start, slot_s, value) for start, value in values)


def _instant(text: str, number: int) -> datetime:
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise IndexUnreadable(f"line {number}: {text[:40]!r} is no instant such as 2026-01-15T10:00:00Z") from None
    if instant.microsecond:
        raise IndexUnreadable(f"line {number}: a slot starts on a whole second")
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)


def _scaled(text: str, factor: int, where: str) -> int:
    """A decimal times a factor, rounded half away from zero; raises IndexUnreadable."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value) > VALUE_MAX:
        raise IndexUnreadable(f"{where}: {text[:40]!r} is no decimal number")
    return int((value * factor).quantize(Decimal(1), ROUND_HALF_UP))


# --- ENTSO-E A44 --------------------------------------------------------------------------------------------------


def read_entsoe(text: str, *, sequence: int | None = None) -> Read:
    """Day-ahead prices of an ENTSO-E Publication_MarketDocument of type A44; raises IndexUnreadable.

    Where several auctions share a day they differ by classificationSequence; `sequence` chooses, the lowest where it
    is left out. In curveType A03 a point that is left out repeats the one before it; in A01 every point must be there.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise IndexUnreadable("it declares a document type of its own, which is not read")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - declarations are refused above
    except (ElementTree.ParseError, ValueError) as error:
        raise IndexUnreadable(f"it is no XML: {error}") from None
    if _name(root) != "Publication_MarketDocument" or _text(root, "type") not in ("A44", ""):
        raise IndexUnreadable("it is no ENTSO-E Publication_MarketDocument of type A44 (day-ahead prices)")
    series = [element for element in root if _name(element) == "TimeSeries"]
    chosen = _of_sequence(series, sequence)
    currencies = {_text(element, "currency_Unit.name") for element in chosen}
    if len(currencies) != 1:
        raise IndexUnreadable(f"it has prices in {len(currencies)} currencies; send one index for each")
    points = tuple(point for element in chosen for point in _points_of(element))
    by_start = {point.start: point for point in points}  # a later revision in the file wins
    found = tuple(by_start[start] for start in sorted(by_start))
    check_points(found)
    return Read(found, currencies.pop())


def _of_sequence(series: Sequence[ElementTree.Element], sequence: int | None) -> list[ElementTree.Element]:
    name = "classificationSequence_AttributeInstanceComponent.position"
    numbered = [(int(_text(element, name) or 1), element) for element in series]
    if not numbered:
        raise IndexUnreadable("it has no TimeSeries: the market published no prices for this time")
    known = sorted({number for number, _ in numbered})
    wanted = known[0] if sequence is None else sequence
    if wanted not in known:
        raise IndexUnreadable(f"it has no classificationSequence {wanted}; there are {', '.join(map(str, known))}")
    return [element for number, element in numbered if number == wanted]


def _points_of(series: ElementTree.Element) -> list[Point]:
    unit = _text(series, "price_Measure_Unit.name") or "MWH"
    factors = {"MWH": 1_000, "KWH": 1_000_000}
    if unit not in factors:
        raise IndexUnreadable(f"its prices are per {unit[:20]}; MWH and KWH are read")
    carries = _text(series, "curveType") == "A03"
    points = []
    for period in (element for element in series if _name(element) == "Period"):
        points += _points_of_period(period, factor=factors[unit], carries=carries)
    return points


def _points_of_period(period: ElementTree.Element, *, factor: int, carries: bool) -> list[Point]:
    interval = next((element for element in period if _name(element) == "timeInterval"), period)
    start, end = (_instant_of(_text(interval, name)) for name in ("start", "end"))
    slot_s = _RESOLUTIONS.get(_text(period, "resolution"))
    if slot_s is None:
        raise IndexUnreadable(
            f"its resolution is {_text(period, 'resolution')[:20]!r}; {', '.join(_RESOLUTIONS)} are read"
        )
    count, rest = divmod(int((end - start).total_seconds()), slot_s)
    if rest or not 1 <= count <= POINTS_MAX:
        raise IndexUnreadable(f"the period from {start.isoformat()} is not made of whole slots of {slot_s} s")
    said: dict[int, int] = {}
    for point in (element for element in period if _name(element) == "Point"):
        place = _text(point, "position")
        if not (place.isascii() and place.isdigit() and 1 <= int(place) <= count):
            raise IndexUnreadable(f"a point of {start.isoformat()} has position {place[:20]!r}; there are {count}")
        said[int(place)] = _scaled(_text(point, "price.amount"), factor, f"position {place} of {start.isoformat()}")
    points = []
    for nth in range(1, count + 1):
        if nth not in said:
            if not carries or nth == 1:
                raise IndexUnreadable(f"the period from {start.isoformat()} has no position {nth}")
            said[nth] = said[nth - 1]
        points.append(Point(start + timedelta(seconds=(nth - 1) * slot_s), slot_s, said[nth]))
    return points


def _instant_of(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise IndexUnreadable(f"{text[:40]!r} is no instant") from None


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(element: ElementTree.Element, name: str) -> str:
    found = next((child for child in element if _name(child) == name), None)
    return "" if found is None else (found.text or "").strip()
