"""Which column of a CSV says what: given by a person, or guessed from the heading.

A guess is made only where the heading leaves no doubt; else `Unreadable` names the columns and asks for a mapping. As
JSON a mapping is

    {"instant": "timestamp", "zone": "Europe/Paris", "values": [{"column": "load", "unit": "kW", "flow": "IMPORT"}]}

with, where needed, `time` (a second column with the time of day), `label` ("start" or "end": which end of the slot
the instant is), `flow` and `quality` (columns), `slot_s` (seconds; else found from the distance of the rows),
`delimiter`, `decimal_comma`, `day_first`, `register` (the values are stands of a register that only counts up) and
`modulus_wh` (where that register begins anew).
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Document
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from energy_catalog.meter_files.entries import Unreadable
from energy_catalog.meter_files.values import unit_named, zone_named
from trade.reading import EXPORT, FLOWS, IMPORT, SLOT_S_MAX, SLOT_S_MIN

#: A column of one value for both ways: above zero it is IMPORT, below EXPORT.
NET = "NET"
#: Most value columns one mapping may name.
VALUES_MAX = 8
_NAME_CHARS_MAX = 200

#: Headings (lower case) that name the instant at which a slot starts, or ends.
_STARTS = ("starts_at", "start", "timestamp", "timestamp_utc", "datetime", "date_time", "time", "interval_start", "")
_ENDS = ("ends_at", "end", "interval_end", "hour_ending", "period_end")
#: Headings whose unit and flow are known without being said: our own, and the half-hour kW means of solar homes.
_KNOWN: dict[str, tuple[str, str]] = {"energy_wh": ("Wh", ""), "gc": ("kW", IMPORT), "gg": ("kW", EXPORT)}
_UNIT_IN_NAME = re.compile(r"(?:^|[^a-z])(mwh|kwh|wh|mw|kw|w)(?:[^a-z]|$)")
_EXPORT_WORDS = re.compile(r"export|generat|feed.?in|(?:^|[^a-z])pv|solar|production")
_IMPORT_WORDS = re.compile(r"import|consum|load|usage|demand|delivered")


@dataclass(frozen=True, slots=True)
class Value:
    """A column of values. `flow` is EXPORT, IMPORT, NET, or empty: the flow column or the upload says it."""

    column: str
    unit: str = "Wh"
    flow: str = ""


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which column says what; empty and zero are "not there"."""

    instant: str
    values: tuple[Value, ...]
    time: str = ""
    zone: str = ""
    label: str = "start"
    flow: str = ""
    quality: str = ""
    slot_s: int = 0
    delimiter: str = ""
    decimal_comma: bool | None = None
    day_first: bool | None = None
    register: bool = False
    modulus_wh: int = 0


#: What a file without a heading is taken for: our own `starts_at,energy_wh[,flow]`.
OWN = Mapping("starts_at", (Value("energy_wh"),), flow="flow")
OWN_HEADING = ("starts_at", "energy_wh", "flow")


def from_document(document: Any) -> Mapping:
    """A mapping out of JSON; raises Unreadable that names the member at fault."""
    if not isinstance(document, Document):
        raise Unreadable("the mapping is no JSON object")
    known = {name: document[name] for name in document if name in Mapping.__dataclass_fields__}
    if unknown := [name for name in document if name not in known]:
        raise Unreadable(f"the mapping has an unknown member {str(unknown[0])[:40]!r}")
    values = known.pop("values", None)
    if not isinstance(values, list) or not 1 <= len(values) <= VALUES_MAX:
        raise Unreadable(f"the mapping's 'values' must list 1 to {VALUES_MAX} columns")
    for name, value in known.items():
        wanted = {"slot_s": int, "modulus_wh": int, "register": bool, "decimal_comma": bool, "day_first": bool}
        if not isinstance(value, wanted.get(name, str)) or (isinstance(value, bool) and wanted.get(name) is not bool):
            raise Unreadable(f"the mapping's {name!r} must be a {wanted.get(name, str).__name__}")
        if isinstance(value, str) and len(value) > _NAME_CHARS_MAX:
            raise Unreadable(f"the mapping's {name!r} is longer than {_NAME_CHARS_MAX} characters")
    if "instant" not in known:
        raise Unreadable("the mapping lacks 'instant', the column that says when a slot starts or ends")
    return _checked(Mapping(values=tuple(_value(value) for value in values), **known))


def _value(document: Any) -> Value:
    allowed = Value.__dataclass_fields__
    if not isinstance(document, Document) or not all(
        name in allowed and isinstance(text, str) and len(text) <= _NAME_CHARS_MAX for name, text in document.items()
    ):
        raise Unreadable("each of the mapping's 'values' is an object of column, unit and flow, all text")
    if "column" not in document:
        raise Unreadable("one of the mapping's 'values' names no column")
    flow = str(document.get("flow", "")).upper()
    if flow not in ("", NET, *FLOWS):
        raise Unreadable(f"the flow {flow[:20]!r} is not known; say EXPORT, IMPORT or NET")
    return Value(document["column"], unit_named(document.get("unit", "Wh")), flow)


def _checked(mapping: Mapping) -> Mapping:
    if mapping.zone:
        zone_named(mapping.zone)
    if mapping.label not in ("start", "end"):
        raise Unreadable("the mapping's 'label' is start or end: the end of the slot that the instant names")
    if mapping.slot_s and not SLOT_S_MIN <= mapping.slot_s <= SLOT_S_MAX:
        raise Unreadable(f"the mapping's 'slot_s' must be from {SLOT_S_MIN} to {SLOT_S_MAX}")
    if mapping.delimiter and (len(mapping.delimiter) != 1 or mapping.delimiter in '"\r\n'):
        raise Unreadable("the mapping's 'delimiter' is one character")
    if mapping.modulus_wh < 0 or mapping.modulus_wh > 10**15:
        raise Unreadable("the mapping's 'modulus_wh' must be from 0 to 10^15 Wh")
    return mapping


def guessed(heading: Sequence[str]) -> Mapping:
    """The mapping that a heading speaks for itself; raises Unreadable where it does not."""
    names = [name.strip() for name in heading]
    lower = [name.lower() for name in names]
    instant = next((n for n, name in enumerate(lower) if name in _STARTS), None)
    label = "start"
    if instant is None:
        instant = next((n for n, name in enumerate(lower) if name in _ENDS), None)
        label = "end"
    values = [value for n, name in enumerate(names) if n != instant and (value := _guessed_value(name)) is not None]
    if instant is None or not values:
        columns = ", ".join(repr(name[:40]) for name in names[:12])
        raise Unreadable(
            f"the columns {columns} do not say by themselves which is the instant and what unit the values have;"
            " send a mapping"
        )
    return Mapping(
        names[instant],
        tuple(values[:VALUES_MAX]),
        zone="UTC" if lower[instant].endswith("_utc") else "",
        label=label,
        flow=names[lower.index("flow")] if "flow" in lower else "",
        quality=names[lower.index("quality")] if "quality" in lower else "",
    )


def _guessed_value(name: str) -> Value | None:
    lower = name.lower()
    if lower in _KNOWN:
        unit, flow = _KNOWN[lower]
        return Value(name, unit, flow)
    found = _UNIT_IN_NAME.search(lower)
    if found is None:
        return None
    flow = EXPORT if _EXPORT_WORDS.search(lower) else IMPORT if _IMPORT_WORDS.search(lower) else ""
    return Value(name, unit_named(found[1]), flow)
