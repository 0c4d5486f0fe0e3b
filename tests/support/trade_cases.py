"""Series, orders and offers for tests: plain builders, and hypothesis strategies that draw them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from energy_catalog.offers import Offer, Source
from trade import pricing
from trade.money import Series
from trade.order import Order, OrderState, Side
from trade.quote import CancellationTerm

#: The first slot of every case, and a moment the evening before.
SLOT_START = datetime(2016, 8, 2, 15, tzinfo=UTC)
EVENING_BEFORE = datetime(2016, 8, 2, 1, tzinfo=UTC)
HOUR_S = 3600
DOLLAR = "USD"
TERMS = (CancellationTerm(4 * HOUR_S, 0), CancellationTerm(HOUR_S, 25), CancellationTerm(0, 50))


def hours(*values: int, start: datetime = SLOT_START) -> Series:
    """A series over hours, beginning at `start`."""
    return Series(start, HOUR_S, tuple(values))


def an_order(
    *, side: Side = Side.BUYER, energy_wh: Series | None = None, price: Series | int = 210_000, **changes: Any
) -> Order:
    """An INITIALISED order with a quote for 1 and 2 kWh at 0.21 and wheeling at 0.02, unless changed."""
    energy_wh = energy_wh or hours(1000, 2000)
    order = Order(
        order_id="order-1",
        side=side,
        state=OrderState.INITIALISED,
        transaction_id="transaction-1",
        counterparty_id="bpp.example" if side is Side.BUYER else "bap.example",
        provider_id="home-7",
        offer_id="offer-1",
        contracted_wh=energy_wh,
        price_micro_per_kwh=price if isinstance(price, Series) else Series.flat(energy_wh, price),
        currency=DOLLAR,
        created_at=EVENING_BEFORE,
        updated_at=EVENING_BEFORE,
        account_id="anna",
        wheeling_micro_per_kwh=20_000,
        cancellation_terms=TERMS,
    )
    order = replace(order, **changes)
    return order if order.quote else replace(order, quote=requote(order, order.contracted_wh, quote_id="quote-1"))


def requote(order: Order, energy_wh: Series, *, quote_id: str) -> Any:
    """The quote of this order for other energy."""
    return pricing.quote_of(
        order,
        energy_wh=energy_wh,
        now=EVENING_BEFORE,
        ttl_s=300,
        quote_id=quote_id,
    )


def an_offer(**changes: Any) -> Offer:
    """A published offer of 1, 2 and 3 kWh at 0.20, 0.21 and 0.22, gate an hour before, unless changed."""
    offered = changes.pop("offered_wh", hours(1000, 2000, 3000))
    nothing = Series.flat(offered, 0)
    prices = tuple(200_000 + 10_000 * index for index in range(len(offered.values)))
    offer = Offer(
        offer_id="offer-1",
        provider_id="home-7",
        meter_id="meter-7",
        source=Source.SOLAR,
        currency=DOLLAR,
        offered_wh=offered,
        held_wh=nothing,
        sold_wh=nothing,
        price_micro_per_kwh=offered.with_values(prices),
        wheeling_micro_per_kwh=20_000,
        order_wh_min=1,
        order_wh_max=1_000_000,
        gate_closure_s=HOUR_S,
        quote_ttl_s=300,
        cancellation_terms=TERMS,
        fulfillment_type="GRID_INJECTION",
        valid_from=EVENING_BEFORE - timedelta(days=1),
        valid_until=SLOT_START + timedelta(days=1),
    )
    return replace(offer, **changes)


#: Wh in a slot, and prices in micro-units per kWh, as large as a street or a small plant would need.
slot_wh = st.integers(min_value=0, max_value=5_000_000)
prices_micro = st.integers(min_value=0, max_value=20_000_000)


def energies(slots: int | None = None) -> st.SearchStrategy[Series]:
    """Energy series of up to a day of hours."""
    counted = st.lists(slot_wh, min_size=slots or 1, max_size=slots or 24)
    return counted.map(lambda values: hours(*values))


def prices_like(series: Series) -> st.SearchStrategy[Series]:
    """Price series over the same slots, with few distinct prices, as tariffs have."""
    few = st.lists(prices_micro, min_size=1, max_size=4)
    count = len(series.values)
    return few.flatmap(lambda choice: st.lists(st.sampled_from(choice), min_size=count, max_size=count)).map(
        lambda values: series.with_values(tuple(values))
    )


@st.composite
def priced_energies(draw: st.DrawFn) -> tuple[Series, Series]:
    """Energy and prices over the same slots."""
    energy = draw(energies())
    return energy, draw(prices_like(energy))
