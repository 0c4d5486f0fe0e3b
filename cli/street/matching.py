"""Which home buys from whom: what the street's consumer app makes of the offers it found.

Every home searched for itself and got the same offers. Its app knows the needs of all its customers, so it shares
the offers out before anybody orders, hour by hour and in proportion: what a home lacks is spread over several sellers
and what a home offers over several buyers, because a cloud over one roof or one family on holiday is then a small part
of every contract. So no customer of the app outbids another, and no seller gets orders that it must refuse.
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


#: Rounds of sharing in proportion; what is left after them goes to whoever still has room, in order.
_ROUNDS = 6


def share_out(
    needs_wh: Mapping[int, Sequence[int]],
    asks: Iterable[Ask],
    *,
    retail_micro_per_kwh: Sequence[int],
    partners: int,
    own_provider: Mapping[int, str] | None = None,
) -> list[Deal]:
    """Deals that meet the needs from offers below the retail price, each buyer dealing with so many sellers at most.

    `needs_wh` maps a buyer to what it wants per slot; its order decides who deals with whom. Nobody buys from its own
    provider. Deals below the offer's smallest order are dropped: their energy stays with the grid, as for anybody.
    """
    offers = sorted(asks, key=lambda ask: (-sum(ask.available_wh), ask.offer_id))
    pairs = _pairs(list(needs_wh), offers, partners=partners, own_provider=own_provider or {})
    deals: dict[tuple[int, int], list[int]] = {}
    for slot, retail in enumerate(retail_micro_per_kwh):
        usable = [ask.available_wh[slot] if ask.price_micro_per_kwh[slot] < retail else 0 for ask in offers]
        wanted = {buyer: needs[slot] for buyer, needs in needs_wh.items()}
        for pair, taken in _share_out_slot(pairs, wanted, usable).items():
            deals.setdefault(pair, [0] * len(retail_micro_per_kwh))[slot] = taken
    made = (Deal(buyer, offers[index], tuple(energy)) for (buyer, index), energy in deals.items())
    return [deal for deal in made if deal.total_wh >= deal.ask.order_wh_min]


def _pairs(
    buyers: Sequence[int], offers: Sequence[Ask], *, partners: int, own_provider: Mapping[int, str]
) -> list[tuple[int, int]]:
    """Who may deal with whom: every buyer with offers at even steps round a ring, so that large and small are mixed."""
    count = len(offers)
    step = max(1, count // max(1, partners))
    pairs = []
    for place, buyer in enumerate(buyers):
        ring = [(place + turn * step) % count for turn in range(min(partners, count))]
        pairs += [(buyer, index) for index in ring if offers[index].provider_id != own_provider.get(buyer)]
    return list(dict.fromkeys(pairs))


def _share_out_slot(
    pairs: Sequence[tuple[int, int]], wanted_wh: Mapping[int, int], usable_wh: Sequence[int]
) -> dict[tuple[int, int], int]:
    """What each pair deals in one slot: in proportion to both sides, then the rest in order of the pairs."""
    wanted, usable = dict(wanted_wh), list(usable_wh)
    taken: dict[tuple[int, int], int] = {}

    def take(buyer: int, index: int, energy_wh: int) -> None:
        if energy_wh > 0:
            taken[buyer, index] = taken.get((buyer, index), 0) + energy_wh
            wanted[buyer] -= energy_wh
            usable[index] -= energy_wh

    for _ in range(_ROUNDS):
        open_pairs = [(buyer, index) for buyer, index in pairs if wanted[buyer] and usable[index]]
        demand, supply = [0] * len(usable), dict.fromkeys(wanted, 0)
        for buyer, index in open_pairs:
            demand[index] += wanted[buyer]
            supply[buyer] += usable[index]
        # Both shares are taken from the same figures, and the lesser fits both sides.
        shares = [wanted[b] * usable[i] // max(demand[i], supply[b]) for b, i in open_pairs]
        for (buyer, index), share in zip(open_pairs, shares, strict=True):
            take(buyer, index, share)
    for buyer, index in pairs:
        take(buyer, index, min(wanted[buyer], usable[index]))
    return taken
