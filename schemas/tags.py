"""Tag groups <-> plain tuples: what this network says that the protocol has no field for.

A tag group is a named list of named strings. The groups defined here are listed in the README of this folder:

* ENERGY_SERIES, PRICE_SERIES, METER_READINGS: whole numbers over equal slots, as `start`, `slot`, `unit`, `values`.
* OFFER_TERMS, ENERGY_SOURCE, ORDER_STATE, SETTLEMENT: a few named values each.

A reader looks groups up by code and ignores all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from schemas.values import (
    ENERGY_WH_MAX,
    PRICE_MICRO_MAX,
    duration_from_wire,
    duration_to_wire,
    instant_from_wire,
    instant_to_wire,
    refuse,
)

ENERGY_SERIES = "ENERGY_SERIES"
PRICE_SERIES = "PRICE_SERIES"
METER_READINGS = "METER_READINGS"
OFFER_TERMS = "OFFER_TERMS"
ENERGY_SOURCE = "ENERGY_SOURCE"
ORDER_STATE = "ORDER_STATE"
SETTLEMENT = "SETTLEMENT"

#: Most slots in a series: a month of quarter hours.
SLOTS_MAX = 2976

#: Longest slot of a series.
SLOT_S_MAX = 31 * 86_400

#: The unit each series is written in, and the largest value in that unit.
_UNITS = {
    ENERGY_SERIES: ("Wh", ENERGY_WH_MAX),
    METER_READINGS: ("Wh", ENERGY_WH_MAX),
    PRICE_SERIES: ("micro/kWh", PRICE_MICRO_MAX),
}


class SeriesTag(NamedTuple):
    """Whole numbers over equal, adjoining slots of `slot_s` seconds from `start` (UTC)."""

    start: datetime
    slot_s: int
    values: tuple[int, ...]


def group_to_wire(code: str, values: Mapping[str, str]) -> dict[str, Any]:
    """A tag group with these values, not for display."""
    return {
        "display": False,
        "descriptor": {"code": code},
        "list": [{"descriptor": {"code": name}, "value": value} for name, value in values.items()],
    }


def group_from_wire(groups: Iterable[Mapping[str, Any]] | None, code: str) -> dict[str, str] | None:
    """The values of the first group with this code; None when there is none."""
    for group in groups or ():
        if (group.get("descriptor") or {}).get("code") == code:
            return {
                name: tag["value"]
                for tag in group.get("list") or ()
                if "value" in tag and (name := (tag.get("descriptor") or {}).get("code"))
            }
    return None


def series_to_wire(code: str, start: datetime, slot_s: int, values: Iterable[int]) -> dict[str, Any]:
    """A series as a tag group; `code` decides the unit."""
    return group_to_wire(
        code,
        {
            "start": instant_to_wire(start),
            "slot": duration_to_wire(slot_s),
            "unit": _UNITS[code][0],
            "values": " ".join(map(str, values)),
        },
    )


def series_from_wire(groups: Iterable[Mapping[str, Any]] | None, code: str, *, path: str) -> SeriesTag | None:
    """The series with this code; None when there is none. Raises WireRefusal for one that cannot be read."""
    found = group_from_wire(groups, code)
    if found is None:
        return None
    where = f"{path}.{code}"
    unit, largest = _UNITS[code]
    if found.get("unit") != unit:
        raise refuse(f"{where}.unit", f'is "{found.get("unit", "")}"; a {code} is understood in {unit}.')
    start = instant_from_wire(found.get("start"), path=f"{where}.start")
    slot_s = duration_from_wire(found.get("slot"), path=f"{where}.slot")
    if not 1 <= slot_s <= SLOT_S_MAX:
        raise refuse(f"{where}.slot", f"is {slot_s} s; a slot is 1 to {SLOT_S_MAX} s long.")
    values = _numbers(found.get("values", ""), largest=largest, path=f"{where}.values")
    return SeriesTag(start, slot_s, values)


def _numbers(text: str, *, largest: int, path: str) -> tuple[int, ...]:
    words = text.split(" ")
    if len(words) > SLOTS_MAX:
        raise refuse(path, f"has {len(words)} values; at most {SLOTS_MAX} are read.")
    if not all(word.isascii() and word.isdigit() and len(word) <= 18 for word in words):
        raise refuse(path, 'must be whole numbers with one space between them, such as "0 120 340".')
    values = tuple(map(int, words))
    if max(values) > largest:
        raise refuse(path, f"has a value above {largest}.")
    return values
