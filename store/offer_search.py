"""Offers that may answer a search, cheapest first, in batches: the database filters and orders, the catalogue decides.

A batch goes on where the one before ended (`after`), so a search reads no more than it shows, however many offers there
are. Offers come in order of their lowest price. Where few offers lie in the place or touch the window, these are
fetched by that index and sorted; where many do, the index of prices is walked and the rest is only compared. Which of
the two, `narrowest` finds out by counting no further than it matters: the planner cannot know how many points lie in
a box that it is told only when the statement runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from store.db import UnitOfWork
from store.offers import SELECT, StoredOffer, offer_of

#: Below so many offers an index of place or time is worth its sort.
NARROW_MAX = 5_000

_ON_SALE = "state = 'PUBLISHED' AND is_listed AND has_free"

#: South, west, north, east in degrees.
Box = tuple[float, float, float, float]

#: Where a batch ended: its last offer's lowest price and id.
Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a search filters by; None means "any". Units are those of the catalogue's intent."""

    window_start: datetime | None = None
    window_end: datetime | None = None
    energy_wh: int | None = None
    price_micro_per_kwh_max: int | None = None
    currency: str | None = None
    source: str | None = None
    fulfillment_type: str | None = None
    provider_id: str | None = None
    offer_id: str | None = None
    renewable_per_mille_min: int | None = None
    carbon_g_per_kwh_max: int | None = None
    rating_tenths_min: int | None = None
    delivered_per_mille_min: int | None = None
    #: One or two boxes that hold the circle asked for.
    boxes: Sequence[Box] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Some candidates, and where to go on; None when there are no more."""

    offers: list[StoredOffer]
    after: Key | None


#: Conditions that an index serves, by wish; `$` is the wish's value.
_LOOKED_UP = {
    "price_micro_per_kwh_max": "price_least <= $::bigint",
    "provider_id": "provider_id = $::text",
    "offer_id": "offer_id = $::text",
}
#: Conditions that are only compared.
_COMPARED = {
    "energy_wh": "order_wh_min <= $::bigint AND order_wh_max >= $::bigint",
    "currency": "currency = $::text",
    "source": "source = $::text",
    "fulfillment_type": "fulfillment_type = $::text",
    "renewable_per_mille_min": "renewable_per_mille >= $::integer",
    "carbon_g_per_kwh_max": "carbon_least <= $::bigint",
    "rating_tenths_min": "provider_id IN (SELECT provider_id FROM providers"
    " WHERE round(rating_mean, 1) * 10 >= $::integer)",
    "delivered_per_mille_min": "provider_id IN (SELECT provider_id FROM providers"
    " WHERE delivered_per_mille >= $::integer)",
}


class _Query:
    """Conditions and their arguments, numbered as they come.

    What is only compared stands in a CASE, which tells the planner nothing. It multiplies what it believes of each
    condition, comes to a handful of offers where there are thousands, and would read and sort the whole table.
    """

    def __init__(self) -> None:
        self.looked_up: list[str] = [_ON_SALE]
        self.compared: list[str] = []
        self.arguments: list[Any] = []

    def place_of(self, value: Any) -> str:
        """An argument's place in the statement."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    @property
    def where(self) -> str:
        compared = [f"CASE WHEN {' AND '.join(self.compared)} THEN true ELSE false END"] if self.compared else []
        return " AND ".join([*self.looked_up, *compared])


async def narrowest(uow: UnitOfWork, wish: Wish) -> str | None:
    """Which of "place" and "window" leaves the fewest offers, where that is few; None where neither does."""
    counted = {}
    for name, add in (("place", _add_place), ("window", _add_window)):
        query = _Query()
        if add(query, wish, is_indexed=True):
            counted[name] = await uow.connection.fetchval(
                f"SELECT count(*) FROM (SELECT FROM offers WHERE {query.where} LIMIT {NARROW_MAX}) AS few",  # noqa: S608
                *query.arguments,
            )
    few = {name: count for name, count in counted.items() if count < NARROW_MAX}
    return min(few, key=lambda name: few[name], default=None)


async def candidates(
    uow: UnitOfWork, wish: Wish, *, now: datetime, by: str | None, after: Key | None, limit: int
) -> Batch:
    """The next offers that may answer at `now` (trading clock), by their lowest price and id; `by` is `narrowest`'s."""
    query = _Query()
    clock = query.place_of(now)
    query.compared.append(
        f"valid_from <= {clock} AND valid_until > {clock}"
        f" AND ends_at - make_interval(secs => slot_s + gate_closure_s) >= {clock}"  # the last slot's gate
    )
    for conditions, kept in ((_LOOKED_UP, query.looked_up), (_COMPARED, query.compared)):
        for name, condition in conditions.items():
            value = getattr(wish, name)
            if value is not None:
                kept.append(condition.replace("$", query.place_of(value)))
    _add_place(query, wish, is_indexed=by == "place")
    _add_window(query, wish, is_indexed=by == "window")
    if after is not None:
        price, offer_id = (query.place_of(part) for part in after)
        query.looked_up.append(f"(price_least, offer_id) > ({price}::bigint, {offer_id}::text)")
    rows = await uow.connection.fetch(
        f"{SELECT} WHERE {query.where} ORDER BY price_least, offer_id LIMIT {limit:d}",
        *query.arguments,
    )
    last = rows[-1] if len(rows) == limit else None
    return Batch([offer_of(row) for row in rows], None if last is None else (last["price_least"], last["offer_id"]))


def _add_place(query: _Query, wish: Wish, *, is_indexed: bool) -> bool:
    """Only offers of providers in the boxes; False when any place will do."""
    if not wish.boxes:
        return False
    boxes = [asyncpg.Box((east, north), (west, south)) for south, west, north, east in wish.boxes]
    either = " OR ".join(f"position <@ {query.place_of(box)}::box" for box in boxes)
    (query.looked_up if is_indexed else query.compared).append(f"({either})")
    return True


def _add_window(query: _Query, wish: Wish, *, is_indexed: bool) -> bool:
    """Only offers that touch the window, which may be open at one end; False when any time will do."""
    if wish.window_start is None and wish.window_end is None:
        return False
    start, end = query.place_of(wish.window_start), query.place_of(wish.window_end)
    touch = f"tstzrange(starts_at, ends_at) && tstzrange({start}, {end})"
    (query.looked_up if is_indexed else query.compared).append(touch)
    return True


async def delist_ended(uow: UnitOfWork, now: datetime, *, limit: int) -> int:
    """Take offers whose slots are all over (trading clock) out of the searches' indexes; how many there were."""
    done = await uow.connection.execute(
        "UPDATE offers SET is_listed = false WHERE offer_id IN (SELECT offer_id FROM offers"
        " WHERE is_listed AND ends_at <= $1 ORDER BY ends_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        now,
        limit,
    )
    return int(done.rpartition(" ")[2])
