"""One contract as one series that grows with its life, in the shape of OpenADR 3.1.

    payload type          said by          from
    PRICE_PER_KWH         seller           the offer
    AVAILABLE_QTY         seller           init: what was free then
    REQUESTED_QTY         buyer            select: what the contract was for, before curtailment
    CURTAILED_QTY         seller           what the provider took back of it
    BUYER_DISCOM_ALLOC    buyer's side     after delivery: what its meter was allocated, with .._STATUS
    SELLER_DISCOM_ALLOC   seller's side    after delivery, likewise
    FINAL_ALLOC           seller's side    settlement

Energy in kWh injected by the seller, prices in the currency per kWh. The names are those of the published wave-2
time series (CURTAILED_QTY is ours); `check` holds a document, ours or a stranger's, against that network's rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trade.money import DecimalRefused, Series, wh_from_kwh
from trade.order import Order

#: payload type -> (who inserts it, whether it is there before delivery)
_TYPES: dict[str, tuple[str, bool]] = {
    "PRICE_PER_KWH": ("sellerPlatform", True),
    "AVAILABLE_QTY": ("sellerPlatform", True),
    "REQUESTED_QTY": ("buyerPlatform", True),
    "CURTAILED_QTY": ("sellerPlatform", True),
    "BUYER_DISCOM_ALLOC": ("buyerDiscom", False),
    "BUYER_DISCOM_STATUS": ("buyerDiscom", False),
    "SELLER_DISCOM_ALLOC": ("sellerDiscom", False),
    "SELLER_DISCOM_STATUS": ("sellerDiscom", False),
    "FINAL_ALLOC": ("sellerDiscom", False),
}
_ENERGIES = (
    "AVAILABLE_QTY",
    "REQUESTED_QTY",
    "CURTAILED_QTY",
    "BUYER_DISCOM_ALLOC",
    "SELLER_DISCOM_ALLOC",
    "FINAL_ALLOC",
)
_ALLOCATIONS = ("BUYER_DISCOM_ALLOC", "SELLER_DISCOM_ALLOC")


class SeriesInvalid(ValueError):
    """A document that breaks a rule: at which interval ("" for none), and a sentence that says which rule."""

    def __init__(self, interval: str, sentence: str) -> None:
        super().__init__(sentence)
        self.interval, self.sentence = interval, sentence


def document(order: Order) -> dict[str, Any]:
    """The order's series as JSON values, with every payload that is known by now."""
    columns = _columns(order)
    return {
        "intervalPeriod": {
            "start": _instant(order.contracted_wh.start),
            "duration": _duration(order.contracted_wh.slot_s),
        },
        "payloadDescriptors": [_descriptor(kind, order.currency) for kind in columns],
        "intervals": [
            {
                "id": index,
                "payloads": [{"type": kind, "values": [values[index]]} for kind, values in columns.items()],
            }
            for index in range(len(order.contracted_wh.values))
        ],
    }


def check(said: Mapping[str, Any]) -> None:
    """Hold a document against the rules of the series; raises SeriesInvalid at the first that is broken.

    1. Every payload type is declared, and PRICE_PER_KWH is one of them.
    2. No interval comes twice, and no energy is negative: a meter that counts export as negative has its sign turned
       before it is said, because the lesser of two figures would always be the negative one.
    3. FINAL_ALLOC names requested intervals only, and once there is any, every requested one: what is missing would be
       neither paid nor a shortfall.
    4. FINAL_ALLOC is at most what was requested less what was curtailed, and at most each side's allocation.
    """
    declared = {str(entry.get("payloadType")) for entry in said.get("payloadDescriptors", ())}
    if "PRICE_PER_KWH" not in declared:
        raise SeriesInvalid("", "PRICE_PER_KWH is not declared; a contract has a price.")
    intervals: dict[str, dict[str, Any]] = {}
    for entry in said.get("intervals", ()):
        name = str(entry.get("id"))
        if name in intervals:
            raise SeriesInvalid(name, f"Interval {name} comes twice.")
        intervals[name] = _payloads(name, entry, declared)
    has_final = any("FINAL_ALLOC" in payloads for payloads in intervals.values())
    for name, payloads in intervals.items():
        _check_interval(name, payloads, has_final=has_final)


def _payloads(name: str, entry: Mapping[str, Any], declared: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for payload in entry.get("payloads", ()):
        kind, values = str(payload.get("type")), payload.get("values") or [None]
        if kind not in declared:
            raise SeriesInvalid(name, f"Interval {name} has {kind}, which is not declared.")
        found[kind] = _wh(name, kind, values[0]) if kind in _ENERGIES else values[0]
    return found


def _check_interval(name: str, payloads: Mapping[str, Any], *, has_final: bool) -> None:
    """Rules 3 and 4 at one interval."""
    requested, final = payloads.get("REQUESTED_QTY"), payloads.get("FINAL_ALLOC")
    if final is None:
        if has_final and requested is not None:
            raise SeriesInvalid(name, f"Interval {name} is requested and has no FINAL_ALLOC; say 0 for nothing.")
        return
    if requested is None:
        raise SeriesInvalid(name, f"Interval {name} has FINAL_ALLOC and was never requested.")
    limits = {"what was requested less what was curtailed": requested - payloads.get("CURTAILED_QTY", 0)}
    limits |= {kind: payloads[kind] for kind in _ALLOCATIONS if kind in payloads}
    for limit, wh in limits.items():
        if final > wh:
            raise SeriesInvalid(name, f"Interval {name} settles {final} Wh, more than {limit} ({wh} Wh).")


def _wh(name: str, kind: str, value: object) -> int:
    """An energy of the document in whole Wh."""
    try:
        wh = wh_from_kwh(str(value))
    except DecimalRefused as refusal:
        raise SeriesInvalid(name, f"{kind} of interval {name} is no energy in kWh: {refusal}.") from refusal
    if wh < 0:
        raise SeriesInvalid(name, f"{kind} of interval {name} is negative; energy is said without a direction's sign.")
    return wh


def _columns(order: Order) -> dict[str, list[Any]]:
    """Every payload type that is known, with its value in each slot, in order of its appearance in life."""
    requested = order.contracted_wh.values
    if order.curtailed_wh is not None:
        requested = tuple(kept + less for kept, less in zip(requested, order.curtailed_wh.values, strict=True))
    columns: dict[str, list[Any]] = {"PRICE_PER_KWH": [_number(value, 6) for value in order.price_micro_per_kwh.values]}
    known: tuple[tuple[str, Series | None], ...] = (
        ("AVAILABLE_QTY", order.available_wh),
        ("REQUESTED_QTY", order.contracted_wh.with_values(requested)),
        ("CURTAILED_QTY", order.curtailed_wh),
        ("BUYER_DISCOM_ALLOC", order.buyer_alloc_wh),
        ("SELLER_DISCOM_ALLOC", order.seller_alloc_wh),
        ("FINAL_ALLOC", order.settlement.delivered_wh if order.settlement else None),
    )
    for kind, series in known:
        if series is None:
            continue
        columns[kind] = [_number(wh, 3) for wh in series.values]
        if kind in _ALLOCATIONS:
            status = "COMPLETED" if order.settlement else "PENDING"
            columns[kind.replace("ALLOC", "STATUS")] = [status] * len(series.values)
    return columns


def _descriptor(kind: str, currency: str) -> dict[str, str]:
    inserted_by, is_event = _TYPES[kind]
    descriptor = {
        "objectType": "EVENT_PAYLOAD_DESCRIPTOR" if is_event else "REPORT_PAYLOAD_DESCRIPTOR",
        "payloadType": kind,
        "insertedBy": inserted_by,
    }
    if kind == "PRICE_PER_KWH":
        descriptor |= {"units": "KWH", "currency": currency}
    elif kind in _ENERGIES:
        descriptor["units"] = "KWH"
    return descriptor


def _number(units: int, places: int) -> int | float:
    """Whole units of 10**-places as a JSON number; 15 digits are enough for every energy and price there is."""
    whole, rest = divmod(units, 10**places)
    return units / float(10**places) if rest else whole


def _instant(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def _duration(seconds: int) -> str:
    """A slot's length as ISO 8601 says it, in the largest whole unit."""
    if seconds % 3600 == 0:
        return f"PT{seconds // 3600}H"
    return f"PT{seconds // 60}M" if seconds % 60 == 0 else f"PT{seconds}S"
