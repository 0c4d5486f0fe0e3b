"""What an offer can serve: its slots, its gate, its size, what is free. Plain checks that refuse with a sentence."""

from __future__ import annotations

from datetime import datetime, timedelta

from bpp import refusals
from bpp.refusals import UnableTo
from energy_catalog.offers import Offer, OfferState
from trade.money import Series, kwh_from_wh


def check_on_sale(offer: Offer, *, now_trading: datetime, refusal: type[UnableTo]) -> None:
    """Refuse when the offer is withdrawn or outside its validity (trading clock)."""
    if offer.state is not OfferState.PUBLISHED or not offer.valid_from <= now_trading < offer.valid_until:
        raise refusal(refusals.ITEM_NOT_FOUND, f"Item {offer.offer_id!r} is not on sale now; search again for what is.")


def check_gate(
    offer: Offer,
    energy_wh: Series,
    *,
    now_trading: datetime,
    refusal: type[UnableTo],
    code: str = refusals.FULFILLMENT_UNAVAILABLE,
) -> None:
    """Refuse when the gate of the first slot that holds energy is closed (trading clock); to the second is in time."""
    first = first_energy(energy_wh)
    gate = first - timedelta(seconds=offer.gate_closure_s)
    if now_trading > gate:
        raise refusal(
            code,
            f"Energy from {instant(first)} could be ordered or changed until {instant(gate)}; choose a later slot.",
        )


def first_energy(energy_wh: Series) -> datetime:
    """Start of the first slot that holds energy; of the series when none does."""
    return next((slot.start for slot, wh in energy_wh.items() if wh), energy_wh.start)


def slots_of(whole: Series, part: Series) -> Series:
    """The values of `whole` over the slots of `part`, which lie within it."""
    offset = int((part.start - whole.start).total_seconds()) // whole.slot_s
    return part.with_values(whole.values[offset : offset + len(part.values)])


def onto(whole: Series, part: Series) -> Series:
    """`part` over the slots of `whole`, zero where it has no slot; raises ValueError when the slots differ."""
    offset, rest = divmod(int((part.start - whole.start).total_seconds()), whole.slot_s)
    after = len(whole.values) - offset - len(part.values)
    if part.slot_s != whole.slot_s or rest or offset < 0 or after < 0:
        raise ValueError("the slots of one series are not among those of the other")
    return whole.with_values((0,) * offset + part.values + (0,) * after)


def requested(series: Series, offer: Offer, refusal: type[UnableTo]) -> Series:
    """The series asked for, once it is sure that its slots are the offer's; raises `refusal` otherwise."""
    try:
        onto(offer.offered_wh, series)
    except ValueError:
        raise refusal(
            refusals.FULFILLMENT_UNAVAILABLE,
            f"Item {offer.offer_id!r} has slots of {offer.offered_wh.slot_s} s from {instant(offer.offered_wh.start)}"
            f" to {instant(offer.offered_wh.end)}; ask for energy in these slots.",
        ) from None
    if min(series.values) < 0:
        raise refusal(refusals.INVALID_REQUEST, "Energy is never negative; ask for 0 Wh or more in every slot.")
    return series


def check_size(offer: Offer, energy_wh: Series, refusal: type[UnableTo]) -> None:
    """Refuse an order below the offer's least or above its most."""
    if not offer.order_wh_min <= energy_wh.total <= offer.order_wh_max:
        raise refusal(
            refusals.QUANTITY_UNAVAILABLE,
            f"An order of {kwh_from_wh(energy_wh.total)} kWh was asked for; order {kwh_from_wh(offer.order_wh_min)}"
            f" to {kwh_from_wh(offer.order_wh_max)} kWh.",
        )


def check_free(offer: Offer, energy_wh: Series, refusal: type[UnableTo]) -> None:
    """Refuse energy that is held or sold already, naming the first slot where it is."""
    free = slots_of(offer.available_wh, energy_wh)
    for (slot, wanted_wh), free_wh in zip(energy_wh.items(), free.values, strict=True):
        if wanted_wh > free_wh:
            raise refusal(
                refusals.QUANTITY_UNAVAILABLE,
                f"{kwh_from_wh(wanted_wh)} kWh were asked for in the slot from {instant(slot.start)} and"
                f" {kwh_from_wh(free_wh)} kWh are free; ask for less, or search again.",
            )


def instant(moment: datetime) -> str:
    """An instant as sentences show it."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
