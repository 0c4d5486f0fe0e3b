"""Letters for tests: contexts, hypothesis strategies for what is traded, and every message our nodes send."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

import bap.translate as buyer
import bpp.translate as seller
from beckn import envelope
from energy_catalog.offers import FulfillmentType, Intent, Offer, Provider, Source
from schemas import values
from tests.support.trade_cases import EVENING_BEFORE
from trade import pricing, settlement
from trade.money import Series
from trade.order import (
    Customer,
    Dispute,
    Order,
    OrderState,
    Side,
)
from trade.policy import BUILT_IN
from trade.price_rules import PER_SLOT, PriceKind, PriceModel, Tier
from trade.quote import TITLES, CancellationTerm, LineKind, QuoteLine

NETWORK = envelope.Network(
    domain="uei:p2p_trading", country_code="IND", country_name="India", city_code="std:080", city_name="Bengaluru"
)
BAP = envelope.Party("bap.powershare.example", "https://bap.powershare.example/beckn")
BPP = envelope.Party("bpp-east.powershare.example", "http://127.0.0.1:8004/beckn")
TRANSACTION_ID = "6743e9e2-4fb5-487c-92b7-13ba8018f176"
MESSAGE_ID = "0b5a7bd0-21fd-4a34-9a4b-7a4bfbb9d6ba"


def letter(action: str, message: dict[str, Any] | None, error: dict[str, Any] | None = None) -> dict[str, Any]:
    """A letter of our own, as `envelope.build` would send it."""
    context = envelope.request_context(
        action=action,
        network=NETWORK,
        bap=BAP,
        bpp=None if action == "search" else BPP,
        transaction_id=TRANSACTION_ID,
        message_id=MESSAGE_ID,
        now=EVENING_BEFORE,
    )
    members = {"context": context, "message": message, "error": error}
    return {name: member for name, member in members.items() if member is not None}


# --- Strategies ----------------------------------------------------------------------------------------------------

uuids = st.uuids(version=4).map(str)
ids = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)
names = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=60)
currencies = st.sampled_from(["USD", "INR", "JPY", "KWD"])
instants = st.integers(978_307_200, 4_070_908_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
slot_lengths_s = st.sampled_from([300, 900, 1800, 3600, 86_400, 61])
wh = st.integers(0, 50_000_000)
prices_micro = st.integers(0, 50_000_000)
positions = st.tuples(st.integers(-90_000, 90_000), st.integers(-180_000, 180_000)).map(
    lambda place: f"{place[0] / 1000:.3f}, {place[1] / 1000:.3f}"
)
sources = st.sampled_from(list(Source))
policies = st.sampled_from(list(BUILT_IN.values()))


@st.composite
def energy_series(draw: st.DrawFn, *, slots_max: int = 24) -> Series:
    """Energy over slots of any usual length, at least 1 Wh in all."""
    slots = draw(st.lists(wh, min_size=1, max_size=slots_max))
    if not any(slots):
        slots[0] = 1
    return Series(draw(instants), draw(slot_lengths_s), tuple(slots))


@st.composite
def price_series(draw: st.DrawFn, like: Series) -> Series:
    """A flat or a varying price over the slots of `like`."""
    choice = draw(st.lists(prices_micro, min_size=1, max_size=3))
    count = len(like.values)
    return like.with_values(tuple(draw(st.lists(st.sampled_from(choice), min_size=count, max_size=count))))


@st.composite
def cancellation_terms(draw: st.DrawFn) -> tuple[CancellationTerm, ...]:
    """Any number of terms."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 100)), max_size=4))
    return tuple(CancellationTerm(notice_s, percent) for notice_s, percent in pairs)


customers = st.builds(
    Customer,
    name=names,
    email=st.sampled_from(["", "anna@example.org", "a.b+c@mail.example.com"]),
    phone=st.sampled_from(["", "+91-1276522222", "+15551234567"]),
)

providers = st.builds(
    Provider,
    provider_id=ids,
    name=names,
    short_desc=st.one_of(st.just(""), names),
    image_url=st.sampled_from(["", "https://example.org/sun.png"]),
    gps=st.one_of(st.just(""), positions),
    meter_id=st.just("meter-7"),
    rating=st.sampled_from(["", "4.5"]),
    rating_count=st.integers(0, 10**6),
    delivered_per_mille=st.none() | st.integers(0, 1000),
    settled=st.integers(1, 10**9),
)

price_models = st.sampled_from(
    [
        PER_SLOT,
        PriceModel(PriceKind.INDEXED, index="de-lu", margin_micro_per_kwh=-5),
        PriceModel(PriceKind.BLOCK, tiers=(Tier(1000, 210_000), Tier(5000, 0), Tier(None, 190_000))),
    ]
)


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    """An offer of which some is held and some sold."""
    offered = draw(energy_series())
    held = offered.with_values(tuple(draw(st.integers(0, value // 2)) for value in offered.values))
    sold = offered.with_values(tuple(draw(st.integers(0, value // 2)) for value in offered.values))
    least = draw(st.integers(1, 1000))
    return Offer(
        offer_id=draw(ids),
        provider_id="home-7",
        meter_id="meter-7",
        source=draw(sources),
        currency=draw(currencies),
        offered_wh=offered,
        held_wh=held,
        sold_wh=sold,
        price_micro_per_kwh=draw(price_series(offered)),
        wheeling_micro_per_kwh=draw(st.one_of(st.just(0), prices_micro)),
        order_wh_min=least,
        order_wh_max=least + draw(wh),
        gate_closure_s=draw(st.integers(0, 100_000)),
        quote_ttl_s=draw(st.integers(1, 100_000)),
        cancellation_terms=draw(cancellation_terms()),
        fulfillment_type=draw(st.sampled_from(["GRID_INJECTION", "ENERGY_DELIVERY"])),
        valid_from=EVENING_BEFORE,
        valid_until=offered.end,
        policy=draw(st.sampled_from(sorted(BUILT_IN))),
        asset_id=draw(st.sampled_from(["", "roof"])),
        price_model=draw(price_models),
        renewable_per_mille=draw(st.none() | st.integers(0, 1000)),
        carbon_g_per_kwh=draw(st.none() | st.integers(0, 5000).map(lambda grams: Series.flat(offered, grams))),
        certificates=tuple(draw(st.lists(st.sampled_from(["I-REC:1", "GO/7-b"]), max_size=2))),
        meter_free_wh=draw(st.none() | st.just(Series.flat(offered, 400))),
    )


@st.composite
def orders(draw: st.DrawFn, *, state: OrderState = OrderState.ACTIVE, side: Side = Side.SELLER) -> Order:
    """An order with a quote and a customer."""
    contracted = draw(energy_series())
    policy = draw(policies)
    order = Order(
        order_id=draw(uuids),
        side=side,
        state=state,
        transaction_id=TRANSACTION_ID,
        counterparty_id=BAP.subscriber_id,
        provider_id=draw(ids),
        offer_id=draw(ids),
        contracted_wh=contracted,
        price_micro_per_kwh=draw(price_series(contracted)),
        currency=draw(currencies),
        created_at=draw(instants),
        updated_at=draw(instants),
        wire_order_id=draw(st.one_of(st.just(""), ids)),
        source=draw(sources).value,
        fulfillment_id=draw(st.sampled_from(["1", "delivery 2"])),
        wheeling_micro_per_kwh=draw(st.one_of(st.just(0), prices_micro)),
        customer=draw(customers),
        cancellation_terms=draw(cancellation_terms()),
        payment_id=draw(st.one_of(st.just(""), ids)),
        tracking_token=draw(st.sampled_from(["", "token"])),
        policy=policy,
        wheeling_seller_micro_per_kwh=draw(st.one_of(st.just(0), prices_micro)),
        buyer_meter_id="meter-of-anna" if policy.is_two_sided else "",
        available_wh=draw(st.none() | st.just(contracted)),
        curtailed_wh=draw(st.none() | st.just(Series.flat(contracted, 250))),
    )
    return replace(order, quote=quoted(order, quote_id=draw(uuids), ttl_s=draw(st.integers(1, 100_000))))


def quoted(order: Order, *, quote_id: str, ttl_s: int = 900) -> Any:
    """The quote of an order at its own prices, given the evening before."""
    return pricing.quote_of(
        order,
        energy_wh=order.contracted_wh,
        now=EVENING_BEFORE,
        ttl_s=ttl_s,
        quote_id=quote_id,
    )


@st.composite
def settled_orders(draw: st.DrawFn, *, state: OrderState = OrderState.COMPLETED) -> Order:
    """A completed order that got some of its energy, as its policy settles it."""
    order = draw(orders(state=state))
    sides = [tuple(draw(st.integers(0, wh)) for wh in order.contracted_wh.values) for _ in range(2)]
    sellers, buyers = (order.contracted_wh.with_values(side) for side in sides)
    buyers_or_none = buyers if order.policy.is_two_sided else None
    return replace(
        order,
        seller_alloc_wh=sellers,
        buyer_alloc_wh=buyers_or_none,
        alloc_round=order.policy.rounds,
        settlement=settlement.settle(
            order,
            seller_alloc_wh=sellers,
            buyer_alloc_wh=buyers_or_none,
            now=draw(instants),
            version=draw(st.integers(1, 9)),
        ),
    )


@st.composite
def disputed_orders(draw: st.DrawFn) -> Order:
    """A settled order that one side objects to, or did."""
    order = draw(settled_orders(state=OrderState.DISPUTED))
    opened_at = draw(instants)
    dispute = Dispute(
        dispute_id=draw(uuids),
        opened_by=draw(st.sampled_from(Side)),
        reason=draw(names),
        opened_at=opened_at,
        until=opened_at + timedelta(days=14),
        buyer_total_milli=draw(st.none() | st.integers(-(10**9), 10**9)),
        seller_total_milli=draw(st.none() | st.integers(-(10**9), 10**9)),
    )
    if draw(st.booleans()):
        over = replace(dispute, resolution="LESSER", resolved_at=opened_at)
        return replace(order, state=OrderState.COMPLETED, dispute=over)
    return replace(order, dispute=dispute)


@st.composite
def allocated_orders(draw: st.DrawFn) -> Order:
    """An order whose buyer has spoken, and perhaps a round of which is closed."""
    order = replace(draw(orders(state=OrderState.DELIVERING)), policy=BUILT_IN["iterated@1"])
    heard = replace(order, buyer_alloc_wh=order.contracted_wh)
    if draw(st.booleans()):
        return heard
    return replace(heard, seller_alloc_wh=order.contracted_wh, final_wh=order.contracted_wh, alloc_round=1)


@st.composite
def cancelled_orders(draw: st.DrawFn) -> Order:
    """A cancelled order whose quote is the fee alone, if there is one."""
    order = draw(orders(state=OrderState.CANCELLED))
    fee_milli = draw(st.integers(0, 10**6))
    title = TITLES[LineKind.CANCELLATION_FEE]
    fee = (QuoteLine(LineKind.CANCELLATION_FEE, title, fee_milli),) if fee_milli else ()
    assert order.quote is not None
    by, reason, note = draw(st.sampled_from([("CONSUMER", "001", ""), ("PROVIDER", "", "the inverter broke")]))
    return replace(
        order,
        quote=replace(order.quote, lines=fee),
        cancelled_by=by,
        cancellation_reason_id=reason,
        refusal=note,
    )


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    """Anything a buyer may look for."""
    start = draw(st.none() | instants)
    near = draw(st.none() | positions)
    return Intent(
        window_start=start,
        window_end=None if start is None else start + timedelta(seconds=draw(st.integers(1, 10**6))),
        energy_wh=draw(st.none() | wh),
        price_micro_per_kwh_max=draw(st.none() | prices_micro),
        currency=draw(st.none() | currencies),
        source=draw(st.none() | sources),
        provider_id=draw(st.none() | ids),
        offer_id=draw(st.none() | ids),
        near_gps=near,
        radius_m=None if near is None else draw(st.none() | st.integers(0, 1_000_000)),
        fulfillment_type=draw(st.none() | st.sampled_from(list(FulfillmentType)).map(str)),
        renewable_per_mille_min=draw(st.none() | st.integers(0, 1000)),
        carbon_g_per_kwh_max=draw(st.none() | st.integers(0, 5000)),
        rating_tenths_min=draw(st.none() | st.integers(10, 50)),
        delivered_per_mille_min=draw(st.none() | st.integers(0, 1000)),
    )


@st.composite
def sent_letters(draw: st.DrawFn) -> dict[str, Any]:
    """A letter of any kind our nodes send."""
    return draw(st.sampled_from(draw(letter_sets())))


@st.composite
def letter_sets(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One letter of every kind our nodes send, about the same random things."""
    order = draw(orders())
    return list(
        every_letter(
            order=order,
            offer=draw(offers()),
            provider=replace(draw(providers), provider_id=order.provider_id),
            cancelled=draw(cancelled_orders()),
            settled=draw(settled_orders()),
            disputed=draw(disputed_orders()),
            allocated=draw(allocated_orders()),
            intent=draw(intents()),
        )
    )


def every_letter(
    *,
    order: Order,
    offer: Offer,
    provider: Provider,
    cancelled: Order,
    settled: Order,
    disputed: Order,
    allocated: Order,
    intent: Intent,
) -> Iterator[dict[str, Any]]:
    """One letter of every kind our nodes send, refusals included."""
    unnamed = replace(order, customer=None)
    held = replace(order, state=OrderState.INITIALISED)
    yield letter("search", buyer.search_to_wire(intent))
    yield letter("select", buyer.select_to_wire(unnamed))
    yield letter("init", buyer.init_to_wire(order))
    yield letter("confirm", buyer.confirm_to_wire(order))
    yield letter("status", buyer.status_to_wire(order))
    yield letter("track", buyer.track_to_wire(order))
    yield letter("cancel", buyer.cancel_to_wire(order, "001", "no longer needed"))
    yield letter("update", buyer.update_to_wire(order, order.contracted_wh))
    yield letter("update", buyer.allocation_to_wire(allocated, allocated.contracted_wh, 2))
    yield letter("update", buyer.dispute_to_wire(disputed, disputed.contracted_wh, 1))
    yield letter("update", buyer.resolution_to_wire(disputed, 1_234_567, "Looked at again."))
    yield letter("rating", buyer.rating_to_wire(order, "Order", "5"))
    yield letter("rating", buyer.rating_to_wire(order, "Provider", "4.5"))
    yield letter("support", buyer.support_to_wire(order, "+91 98765-43210", "anna@example.org"))
    yield letter("get_cancellation_reasons", None)
    yield letter("get_rating_categories", None)
    yield letter("on_search", seller.catalog_to_wire([(provider, [offer, offer]), (provider, [])]))
    yield letter("on_search", seller.catalog_to_wire([]))
    yield letter("on_select", seller.quote_to_wire(unnamed, provider, offer))
    yield letter("on_init", seller.quote_to_wire(order, provider, offer))
    for action in ("on_confirm", "on_status", "on_update"):
        yield letter(action, seller.order_to_wire(order, provider))
    yield letter("on_status", seller.order_to_wire(held, provider))
    yield letter("on_status", seller.order_to_wire(settled, provider))
    yield letter("on_update", seller.order_to_wire(allocated, provider))
    yield letter("on_update", seller.order_to_wire(disputed, provider))
    yield letter("on_cancel", seller.order_to_wire(cancelled, provider))
    yield letter("on_track", seller.tracking_to_wire(order, url="https://bpp.example/track/x"))
    yield letter("on_track", seller.tracking_to_wire(order))
    yield letter("on_rating", seller.feedback_to_wire("https://bpp.example/feedback"))
    yield letter("on_rating", seller.feedback_to_wire())
    yield letter("on_support", seller.support_to_wire("order 7", phone="+919876543210", url="https://bpp.example/help"))
    yield letter("cancellation_reasons", seller.reasons_to_wire([("001", "Not needed"), ("002", "Other")]))
    yield letter("rating_categories", seller.categories_to_wire(seller.RATING_CATEGORIES))
    yield from refusal_letters()


def refusal_letters() -> Iterator[dict[str, Any]]:
    """The error form of every callback."""
    refusal = values.WireRefusal("40002", "message.order.items[0].quantity", "Nothing of it is left; search again.")
    for action in CALLBACKS:
        yield letter(action, *seller.refusal_to_wire(action, refusal))


CALLBACKS = (
    "on_search",
    "on_select",
    "on_init",
    "on_confirm",
    "on_status",
    "on_track",
    "on_update",
    "on_cancel",
    "on_rating",
    "on_support",
    "cancellation_reasons",
    "rating_categories",
)


# --- Letters gone wrong --------------------------------------------------------------------------------------------

#: Values a careless or hostile sender could put anywhere.
ODD_VALUES = [
    None, True, 0, -1, 10**30, 1.5, [], [{}], {}, {"code": "x"}, "", " ", "x" * 300, "x" * 5000, "abc1", "1e3", "12.5",
    "+1.5", ".5", "1" * 19, "-3", "PT30S", "P1Y", "30", "2026-01-15T10:00:00Z", "2026-01-15T10:00:00+05:30",
    "2026-01-15T10:00:00", "2026-02-30T10:00:00Z", "a\x00b", "a\nb", "ünïcode", "INR", "inr", "INR/kWh",
    "https://example.org/x", "no url", "POST_FULFILLMENT", "POST-FULFILLMENT", "1, 2", "99,999", "Order",
    "6743e9e2-4fb5-487c-92b7-13ba8018f176",
]  # fmt: skip


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a letter."""
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from places(node[key])


@st.composite
def mutants(draw: st.DrawFn) -> dict[str, Any]:
    """A letter of ours with up to three things changed, left out, added or repeated."""
    letter = copy.deepcopy(draw(st.sampled_from(draw(letter_sets()))))
    for _ in range(draw(st.integers(0, 3))):
        container, key = draw(st.sampled_from(list(places(letter))))
        change = draw(st.sampled_from(["replace", "remove", "add", "repeat"]))
        if change == "remove":
            del container[key]
        elif change == "add" and isinstance(container, dict):
            container[draw(st.sampled_from(["id", "code", "undescribed", "error", "tags", "value"]))] = draw(
                st.sampled_from(ODD_VALUES)
            )
        elif change == "repeat" and isinstance(container[key], list):
            container[key] = container[key] * draw(st.sampled_from([2, 40, 1001]))
        else:
            container[key] = draw(st.sampled_from(ODD_VALUES))
        if not letter:
            break
    return letter
