"""Which home buys from whom: what the street's consumer app makes of the offers it found.

Every home searched for itself and got the same offers. Its app knows the needs of all its customers, so it shares
the offers out before anybody orders: cheapest energy first, hour by hour, homes in an order drawn anew for each day.
So no customer of the app outbids another, and no seller gets orders that it must refuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ask:
    """An offer as a buyer sees it: per slot what is free and what a kWh costs, wheeling included."""

    seller_id: str
    provider_id: str
    offer_id: str
    available_wh: tuple[int, ...]
    price_micro_per_kwh: tuple[int, ...]
    order_wh_min: int


@dataclass(frozen=True, slots=True)
class Deal:
    """What one buyer will order from one offer, per slot."""

    buyer: int
    ask: Ask
    energy_wh: tuple[int, ...]

    @property
    def total_wh(self) -> int:
        """Energy over all slots."""
        return sum(self.energy_wh)


def share_out(
    needs_wh: Mapping[int, Sequence[int]], asks: Iterable[Ask], *, retail_micro_per_kwh: Sequence[int]
) -> list[Deal]:
    """Deals that meet the needs from the cheapest offers below the retail price.

    `needs_wh` maps a buyer to what it wants per slot; its order is the order in which buyers are served. Deals below
    the offer's smallest order are dropped: their energy stays with the grid, as it does for anybody.
    """
    offers = sorted(asks, key=lambda ask: ask.offer_id)
    deals: dict[tuple[int, str], list[int]] = {}
    for slot, retail in enumerate(retail_micro_per_kwh):
        cheapest = sorted(
            (ask for ask in offers if ask.available_wh[slot] and ask.price_micro_per_kwh[slot] < retail),
            key=lambda ask: ask.price_micro_per_kwh[slot],
        )
        _share_out_slot(slot, needs_wh, cheapest, deals, slots=len(retail_micro_per_kwh))
    by_id = {ask.offer_id: ask for ask in offers}
    made = (Deal(buyer, by_id[offer_id], tuple(energy)) for (buyer, offer_id), energy in deals.items())
    return [deal for deal in made if deal.total_wh >= deal.ask.order_wh_min]


def _share_out_slot(
    slot: int,
    needs_wh: Mapping[int, Sequence[int]],
    cheapest: Sequence[Ask],
    deals: dict[tuple[int, str], list[int]],
    *,
    slots: int,
) -> None:
    """Walk down both lists at once: the next buyer takes from the cheapest offer that has something left."""
    shelf = [(ask.offer_id, ask.available_wh[slot]) for ask in reversed(cheapest)]
    for buyer, needs in needs_wh.items():
        wanted = needs[slot]
        while wanted and shelf:
            offer_id, left = shelf.pop()
            taken = min(wanted, left)
            deals.setdefault((buyer, offer_id), [0] * slots)[slot] += taken
            wanted -= taken
            if taken < left:
                shelf.append((offer_id, left - taken))
