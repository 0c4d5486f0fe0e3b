"""Tag groups <-> plain tuples: what this network says that the protocol has no field for.

A tag group is a named list of named strings. The groups defined here are listed in the README of this folder:

* series (ENERGY_SERIES, PRICE_SERIES, METER_READINGS, BUYER_ALLOC, ...): whole numbers over equal slots, as `start`,
  `slot`, `unit`, `values`, and for allocations the `round` they belong to;
* all others (OFFER_TERMS, SETTLEMENT, DISPUTE, ...): a few named values each, here as a named tuple with a reader and
  a writer. Amounts of money stay text in them: how many decimals a currency has is the translators' knowledge.

A reader looks groups up by code and ignores all others. How a trade ended is in `outcome_tags`, what a catalogue says
of providers and energy in `catalog_tags`.
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
    price_from_wire,
    price_to_wire,
    refuse,
    whole_from_wire,
)

ENERGY_SERIES = "ENERGY_SERIES"
PRICE_SERIES = "PRICE_SERIES"
METER_READINGS = "METER_READINGS"
OFFER_TERMS = "OFFER_TERMS"
ENERGY_SOURCE = "ENERGY_SOURCE"
ORDER_STATE = "ORDER_STATE"
SETTLEMENT = "SETTLEMENT"
AVAILABLE_SERIES = "AVAILABLE_SERIES"
CURTAILED_SERIES = "CURTAILED_SERIES"
CARBON_SERIES = "CARBON_SERIES"
BUYER_METER = "BUYER_METER"
BUYER_ALLOC = "BUYER_ALLOC"
SELLER_ALLOC = "SELLER_ALLOC"
FINAL_ALLOC = "FINAL_ALLOC"
DISPUTE = "DISPUTE"
RESOLUTION = "RESOLUTION"
PROVIDER_SCORE = "PROVIDER_SCORE"
SOURCE_QUALITY = "SOURCE_QUALITY"
BLOCK_PRICES = "BLOCK_PRICES"
TRADING_LIMIT = "TRADING_LIMIT"
GRID_TRADE = "GRID_TRADE"
SEARCH_FILTERS = "SEARCH_FILTERS"

#: Most slots in a series: a month of quarter hours.
SLOTS_MAX = 2976

#: Longest slot of a series.
SLOT_S_MAX = 31 * 86_400

#: The unit each series is written in, and the largest value in that unit.
_UNITS = {
    ENERGY_SERIES: ("Wh", ENERGY_WH_MAX),
    METER_READINGS: ("Wh", ENERGY_WH_MAX),
    PRICE_SERIES: ("micro/kWh", PRICE_MICRO_MAX),
    AVAILABLE_SERIES: ("Wh", ENERGY_WH_MAX),
    CURTAILED_SERIES: ("Wh", ENERGY_WH_MAX),
    BUYER_ALLOC: ("Wh", ENERGY_WH_MAX),
    SELLER_ALLOC: ("Wh", ENERGY_WH_MAX),
    FINAL_ALLOC: ("Wh", ENERGY_WH_MAX),
    CARBON_SERIES: ("gCO2/kWh", 1_000_000),
}

#: Most rounds of allocations.
ROUNDS_MAX = 99

#: Longest id in a group.
ID_CHARS_MAX = 255


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
    values = numbers_in(found.get("values", ""), largest=largest, path=f"{where}.values")
    return SeriesTag(start, slot_s, values)


def numbers_in(text: str, *, largest: int, path: str) -> tuple[int, ...]:
    """Whole numbers with one space between them; raises WireRefusal."""
    words = text.split(" ")
    if len(words) > SLOTS_MAX:
        raise refuse(path, f"has {len(words)} values; at most {SLOTS_MAX} are read.")
    if not all(word.isascii() and word.isdigit() and len(word) <= 18 for word in words):
        raise refuse(path, 'must be whole numbers with one space between them, such as "0 120 340".')
    values = tuple(map(int, words))
    if max(values) > largest:
        raise refuse(path, f"has a value above {largest}.")
    return values


# --- Allocations --------------------------------------------------------------------------------------------------


class AllocationTag(NamedTuple):
    """A series of allocated energy and the round of settlement it belongs to (1 where there is one round only).

    `by` is UTILITY where the utility has replaced that side's own figure, and empty otherwise.
    """

    start: datetime
    slot_s: int
    values: tuple[int, ...]
    round: int
    by: str = ""


def allocation_to_wire(code: str, allocation: AllocationTag) -> dict[str, Any]:
    """BUYER_ALLOC, SELLER_ALLOC or FINAL_ALLOC as a tag group."""
    group = series_to_wire(code, allocation.start, allocation.slot_s, allocation.values)
    group["list"].append({"descriptor": {"code": "round"}, "value": str(allocation.round)})
    if allocation.by:
        group["list"].append({"descriptor": {"code": "by"}, "value": allocation.by})
    return group


def allocation_from_wire(groups: Iterable[Mapping[str, Any]] | None, code: str, *, path: str) -> AllocationTag | None:
    """The allocation with this code, of round 1 where it names none; None when there is none. Raises WireRefusal."""
    series = series_from_wire(groups, code, path=path)
    if series is None:
        return None
    said = group_from_wire(groups, code) or {}
    round_ = whole_in(said, "round", f"{path}.{code}", smallest=1, largest=ROUNDS_MAX, default=1)
    return AllocationTag(*series, round_, text_in(said, "by", f"{path}.{code}", longest=ID_CHARS_MAX))


# --- What an offer and an order are under -------------------------------------------------------------------------


class OfferTermsTag(NamedTuple):
    """Grid charges, gate closure and policy; None and empty where nothing is said.

    Charges are micro-units of the item's currency per kWh, of the buyer's and of the seller's side.
    """

    wheeling_micro_per_kwh: int | None = None
    gate_closure_s: int | None = None
    policy: str = ""
    policy_digest: str = ""
    wheeling_seller_micro_per_kwh: int | None = None


def offer_terms_to_wire(terms: OfferTermsTag) -> dict[str, Any]:
    """OFFER_TERMS with what is said."""
    said = {}
    if terms.wheeling_micro_per_kwh is not None:
        said["wheeling_per_kwh"] = price_to_wire(terms.wheeling_micro_per_kwh)
    if terms.gate_closure_s is not None:
        said["gate_closure"] = duration_to_wire(terms.gate_closure_s)
    if terms.policy:
        said |= {"policy": terms.policy, "policy_digest": terms.policy_digest}
    if terms.wheeling_seller_micro_per_kwh:
        said["wheeling_seller_per_kwh"] = price_to_wire(terms.wheeling_seller_micro_per_kwh)
    return group_to_wire(OFFER_TERMS, said)


def offer_terms_from_wire(groups: Iterable[Mapping[str, Any]] | None, *, path: str) -> OfferTermsTag:
    """OFFER_TERMS as far as they are said; raises WireRefusal for a value that cannot be read."""
    said = group_from_wire(groups, OFFER_TERMS) or {}
    where = f"{path}.{OFFER_TERMS}"
    buyers, sellers, gate = (said.get(x) for x in ("wheeling_per_kwh", "wheeling_seller_per_kwh", "gate_closure"))
    return OfferTermsTag(
        None if buyers is None else price_from_wire(buyers, path=f"{where}.wheeling_per_kwh"),
        None if gate is None else duration_from_wire(gate, path=f"{where}.gate_closure"),
        text_in(said, "policy", where, longest=ID_CHARS_MAX),
        text_in(said, "policy_digest", where, longest=ID_CHARS_MAX),
        None if sellers is None else price_from_wire(sellers, path=f"{where}.wheeling_seller_per_kwh"),
    )


def buyer_meter_to_wire(meter_id: str) -> dict[str, Any]:
    """BUYER_METER: the meter whose import counts for the buyer."""
    return group_to_wire(BUYER_METER, {"meter_id": meter_id})


def buyer_meter_from_wire(groups: Iterable[Mapping[str, Any]] | None, *, path: str) -> str:
    """The buyer's meter; empty when none is named. Raises WireRefusal for an id that is too long."""
    said = group_from_wire(groups, BUYER_METER) or {}
    return text_in(said, "meter_id", f"{path}.{BUYER_METER}", longest=ID_CHARS_MAX)


class TradingLimitTag(NamedTuple):
    """What a utility lets a meter still trade; None where it sets no limit or no end."""

    remaining_wh: int | None
    sanctioned_load_w: int | None = None
    valid_until: datetime | None = None


def trading_limit_to_wire(limit: TradingLimitTag) -> dict[str, Any]:
    """TRADING_LIMIT with what is said."""
    said = {}
    if limit.remaining_wh is not None:
        said["remaining_wh"] = str(limit.remaining_wh)
    if limit.sanctioned_load_w is not None:
        said["sanctioned_load_w"] = str(limit.sanctioned_load_w)
    if limit.valid_until is not None:
        said["valid_until"] = instant_to_wire(limit.valid_until)
    return group_to_wire(TRADING_LIMIT, said)


def trading_limit_from_wire(groups: Iterable[Mapping[str, Any]] | None, *, path: str) -> TradingLimitTag | None:
    """The limit; None when none is named. Raises WireRefusal."""
    said = group_from_wire(groups, TRADING_LIMIT)
    if said is None:
        return None
    where = f"{path}.{TRADING_LIMIT}"
    until = said.get("valid_until")
    return TradingLimitTag(
        optional_whole_in(said, "remaining_wh", where, largest=ENERGY_WH_MAX),
        optional_whole_in(said, "sanctioned_load_w", where, largest=ENERGY_WH_MAX),
        None if until is None else instant_from_wire(until, path=f"{where}.valid_until"),
    )


# --- Values -------------------------------------------------------------------------------------------------------


def whole_in(said: Mapping[str, str], name: str, where: str, *, smallest: int, largest: int, default: int) -> int:
    """The whole number of this name in a group's values, `default` where it is not said; raises WireRefusal."""
    text = said.get(name)
    if text is None:
        return default
    return whole_from_wire(text, places=0, smallest=smallest, largest=largest, unit="units", path=f"{where}.{name}")


def optional_whole_in(said: Mapping[str, str], name: str, where: str, *, largest: int) -> int | None:
    """The whole number of this name in a group's values; None where it is not said. Raises WireRefusal."""
    return whole_in(said, name, where, smallest=0, largest=largest, default=0) if name in said else None


def text_in(said: Mapping[str, str], name: str, where: str, *, longest: int, needed: bool = False) -> str:
    """The text of this name in a group's values, empty where it is not said; raises WireRefusal."""
    text = said.get(name, "")
    if needed and not text:
        raise refuse(f"{where}.{name}", "is missing.")
    if len(text) > longest:
        raise refuse(f"{where}.{name}", f"has {len(text)} characters; at most {longest} are read.")
    return text
