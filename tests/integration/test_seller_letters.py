"""Letters to a running seller's node: what it answers, what it refuses and with which code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import bap.translate as wire
from energy_catalog.offers import Intent, Source
from tests.support.post_office import OTHER_BAP
from tests.support.seller_rig import Seller, offer_json, running_seller, wanted
from tests.support.trade_cases import SLOT_START, an_offer, hours


@pytest.fixture
async def seller(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url) as running:
        await running.open_shop()
        yield running


def refusal(letter: dict[str, Any]) -> tuple[str, str]:
    return letter["error"]["code"], letter["error"]["message"]


async def taken(seller: Seller) -> tuple[list[int], list[int]]:
    offer = await seller.asked("GET", "/api/offers/offer-1")
    return offer["held"]["energy_wh"], offer["sold"]["energy_wh"]


# --- search ----------------------------------------------------------------------------------------------------------


async def test_a_search_for_what_is_not_sold_here_gets_an_empty_catalog(seller: Seller) -> None:
    for intent in (
        Intent(source=Source.WIND),
        Intent(window_start=SLOT_START + timedelta(days=2)),
        Intent(price_micro_per_kwh_max=1, currency="USD"),
        Intent(near_gps="-34.1, 117.4", radius_m=1000),
    ):
        letter = await seller.send("search", wire.search_to_wire(intent))
        assert wire.offers_from_wire(letter["message"], "bpp.example") == []
        assert "error" not in letter


async def test_a_search_finds_the_offer_with_its_slots_prices_and_terms(seller: Seller) -> None:
    intent = Intent(
        source=Source.SOLAR,
        energy_wh=3000,
        currency="USD",
        window_start=SLOT_START,
        window_end=SLOT_START + timedelta(hours=3),
        near_gps="34.1, -117.4",
        radius_m=10_000,
    )
    letter = await seller.send("search", wire.search_to_wire(intent))
    [view] = wire.offers_from_wire(letter["message"], "bpp.example")
    assert view.available_wh == hours(1000, 2000, 3000)
    assert view.price_micro_per_kwh == hours(200_000, 210_000, 220_000)
    assert view.wheeling_micro_per_kwh == 20_000
    assert (view.provider.name, view.provider.gps) == ("Home 7", "34.106, -117.435")


async def test_a_search_shows_no_more_offers_than_the_limit_and_the_cheapest_of_them(database_url: str) -> None:
    cheap = an_offer(offer_id="cheap", price_micro_per_kwh=hours(1, 1, 1))
    async with running_seller(database_url, catalog_offers_max=1) as running:
        await running.open_shop(an_offer(), cheap)
        letter = await running.send("search", {"intent": {}})
        assert [view.offer_id for view in wire.offers_from_wire(letter["message"], "bpp.example")] == ["cheap"]


# --- select, init, confirm -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (wanted(1001), "40002"),
        (wanted(1, start=SLOT_START - timedelta(hours=1)), "30008"),
        (wanted(provider_id="home-8"), "30001"),
        (wanted(offer_id="offer-9"), "30004"),
    ],
)
async def test_select_is_refused_by_an_error_callback(seller: Seller, order: Any, code: str) -> None:
    letter = await seller.select(order)
    assert refusal(letter)[0] == code
    assert letter["context"]["transaction_id"] == order.transaction_id


async def test_select_is_quoted_and_nothing_is_held(seller: Seller) -> None:
    order = wanted()
    letter = await seller.select(order)
    view = wire.quote_from_wire(letter["message"], order, seller.clock.now())
    assert view.quote.total_milli == 68_000
    assert view.contracted_wh == hours(1000, 2000)
    assert "id" not in letter["message"]["order"]
    assert await taken(seller) == ([0, 0, 0], [0, 0, 0])


async def test_a_stranger_that_only_says_how_many_kwh_is_quoted(seller: Seller) -> None:
    message = wire.select_to_wire(wanted(2500))
    item = message["order"]["items"][0]
    del item["tags"]
    message["order"]["fulfillments"] = [{"id": "1"}]
    letter = await seller.send("select", message)
    view = wire.quote_from_wire(letter["message"], wanted(2500), seller.clock.now())
    assert view.contracted_wh == hours(1000, 1500, 0)


async def test_init_holds_and_a_repeat_in_the_session_replaces_the_hold(seller: Seller) -> None:
    order = wanted()
    await seller.init(order)
    assert await taken(seller) == ([1000, 2000, 0], [0, 0, 0])
    smaller = replace(order, contracted_wh=hours(500, 0, 0), price_micro_per_kwh=hours(0, 0, 0))
    await seller.init(smaller)
    assert await taken(seller) == ([500, 0, 0], [0, 0, 0])
    assert len((await seller.asked("GET", "/api/orders"))["items"]) == 1


async def test_select_counts_what_the_session_holds_as_free_for_it_alone(seller: Seller) -> None:
    order = wanted(1000, 2000, 3000)
    await seller.init(order)
    assert "error" not in await seller.select(order)
    assert refusal(await seller.select(wanted(1)))[0] == "40002"


async def test_init_for_another_offer_gives_back_the_first(seller: Seller) -> None:
    await seller.asked("POST", "/api/offers", offer_json(an_offer(offer_id="offer-2")))
    order = wanted()
    await seller.init(order)
    await seller.init(replace(order, offer_id="offer-2"))
    assert await taken(seller) == ([0, 0, 0], [0, 0, 0])
    assert (await seller.asked("GET", "/api/offers/offer-2"))["held"]["energy_wh"] == [1000, 2000, 0]


async def test_confirm_is_refused_without_init(seller: Seller) -> None:
    order = await seller.held(wanted())
    stranger = replace(order, transaction_id=wanted().transaction_id)
    assert refusal(await seller.confirm(stranger))[0] == "40003"
    assert await taken(seller) == ([1000, 2000, 0], [0, 0, 0])


async def test_confirm_is_refused_when_quote_expired(seller: Seller) -> None:
    order = await seller.held(wanted())
    seller.clock.shift += timedelta(seconds=301)
    code, sentence = refusal(await seller.confirm(order))
    assert code == "40003"
    assert "send init" in sentence


async def test_confirm_is_refused_when_the_price_is_not_the_quoted_one(seller: Seller) -> None:
    order = await seller.held(wanted())
    assert order.quote is not None
    line = replace(order.quote.lines[0], amount_milli=1)
    cheaper = replace(order, quote=replace(order.quote, lines=(line,)))
    code, sentence = refusal(await seller.confirm(cheaper))
    assert code == "40003"
    assert "0.68 USD" in sentence


async def test_confirm_sells_and_adopts_the_buyers_order_id(seller: Seller) -> None:
    order = await seller.held(wanted())
    letter = await seller.confirm(order)
    view = wire.order_from_wire(letter["message"])
    assert (view.wire_order_id, view.status) == (order.order_id, "ACTIVE")
    assert await taken(seller) == ([0, 0, 0], [1000, 2000, 0])


async def test_confirm_said_again_in_another_letter_is_answered_and_nothing_is_sold_twice(seller: Seller) -> None:
    order = await seller.contract()
    letter = await seller.confirm(order)
    assert letter["message"]["order"]["id"] == order.wire_order_id
    assert await taken(seller) == ([0, 0, 0], [1000, 2000, 0])
    other_id = replace(order, order_id="another", wire_order_id="another")
    assert refusal(await seller.confirm(other_id))[0] == "40001"
    assert refusal(await seller.init(order))[0] == "40001"


async def test_an_order_id_that_the_buyer_uses_already_is_not_adopted(seller: Seller) -> None:
    first = await seller.contract(wanted(100))
    second = await seller.held(wanted(100))
    letter = await seller.confirm(replace(second, wire_order_id=first.wire_order_id))
    assert letter["message"]["order"]["id"] != first.wire_order_id
    other_node = await seller.contract(wanted(100, order_id=first.order_id), who=OTHER_BAP)
    assert other_node.wire_order_id == first.order_id


# --- About a contract ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["status", "track", "update", "cancel"])
async def test_letters_about_an_unknown_or_anothers_order_are_refused(seller: Seller, action: str) -> None:
    order = await seller.contract()
    arguments: dict[str, Any] = {"update": (hours(1, 1),), "cancel": ("001",)}
    unknown = replace(order, wire_order_id="unknown")
    letter = await seller.about(action, unknown, *arguments.get(action, ()))
    assert refusal(letter)[0] == "30010"
    letter = await seller.about(action, order, *arguments.get(action, ()), who=OTHER_BAP)
    assert refusal(letter)[0] == "30010"


async def test_status_before_confirm_is_refused_and_tells_the_contract_after_it(seller: Seller) -> None:
    order = await seller.held(wanted())
    assert refusal(await seller.about("status", order))[0] == "30010"
    order = await seller.contract(order)
    view = wire.order_from_wire((await seller.about("status", order))["message"])
    assert (view.status, view.detail_state) == ("ACTIVE", "ACTIVE")


async def test_track_gives_a_link_that_anybody_can_follow_while_the_contract_lives(seller: Seller) -> None:
    order = await seller.contract()
    tracking = (await seller.about("track", order))["message"]["tracking"]
    assert tracking["status"] == "active"
    followed = await seller.api.get(tracking["url"])
    assert followed.status_code == 200
    assert followed.json()["delivered"]["energy_wh"] == [None, None]
    assert (await seller.api.get(tracking["url"][:-1] + "x")).status_code == 404
    await seller.about("cancel", order, "001")
    assert (await seller.about("track", order))["message"]["tracking"]["status"] == "inactive"


async def test_update_changes_the_contract_within_free_energy(seller: Seller) -> None:
    order = await seller.contract(wanted(500, 500))
    assert refusal(await seller.about("update", order, hours(1001, 0)))[0] == "40002"
    view = wire.order_from_wire((await seller.about("update", order, hours(1000, 0)))["message"])
    assert view.contracted_wh == hours(1000, 0)
    assert view.total_milli == 22_000
    assert await taken(seller) == ([0, 0, 0], [1000, 0, 0])


async def test_update_of_anything_but_the_energy_is_refused(seller: Seller) -> None:
    order = await seller.contract()
    message = wire.update_to_wire(order, hours(1, 1)) | {"update_target": "billing"}
    assert refusal(await seller.send("update", message))[0] == "30012"


async def test_update_is_refused_after_gate_closure(seller: Seller) -> None:
    order = await seller.contract()
    await seller.move_clock(SLOT_START - timedelta(minutes=59))
    assert refusal(await seller.about("update", order, hours(1, 1)))[0] == "50002"


async def test_cancel_is_refused_for_an_unknown_reason_and_after_delivery_start(seller: Seller) -> None:
    order = await seller.contract()
    assert refusal(await seller.about("cancel", order, "999"))[0] == "30011"
    await seller.move_clock(SLOT_START + timedelta(seconds=1))
    assert refusal(await seller.about("cancel", order, "001"))[0] == "50001"


async def test_cancel_frees_the_energy_and_books_the_fee_once(seller: Seller) -> None:
    order = await seller.contract()
    await seller.move_clock(SLOT_START - timedelta(hours=2))
    for _ in range(2):
        letter = await seller.about("cancel", order, "001", "too late")
        view = wire.order_from_wire(letter["message"])
        assert (view.status, view.cancelled_by) == ("CANCELLED", "CONSUMER")
        assert view.fee_milli == view.total_milli == 15_500
    assert await taken(seller) == ([0, 0, 0], [0, 0, 0])
    balance = await seller.asked("GET", "/api/providers/home-7/balance")
    assert balance["items"] == [{"currency": "USD", "balance_milli": 15_500}]
    assert (await seller.asked("GET", "/api/ledger/proof"))["balanced"]


# --- Ratings, support, lists -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("category", "value", "code"), [("Agent", "5", "50003"), ("Order", "0.5", "30015"), ("Order", "7", "30015")]
)
async def test_a_rating_that_cannot_be_kept_is_refused(seller: Seller, category: str, value: str, code: str) -> None:
    order = await seller.contract()
    assert refusal(await seller.about("rating", order, category, value))[0] == code


async def test_only_what_was_bought_can_be_rated(seller: Seller) -> None:
    order = await seller.contract()
    unknown = replace(order, wire_order_id="unknown")
    assert refusal(await seller.about("rating", unknown, "Order", "5"))[0] == "30014"
    assert refusal(await seller.about("rating", order, "Order", "5", who=OTHER_BAP))[0] == "30014"


async def test_ratings_are_kept_and_show_on_the_order_and_the_provider(seller: Seller) -> None:
    order = await seller.contract()
    assert "error" not in await seller.about("rating", order, "Order", "5")
    assert "error" not in await seller.about("rating", order, "Provider", "4")
    elsewhere = replace(order, transaction_id=wanted().transaction_id)
    assert "error" not in await seller.about("rating", elsewhere, "Order", "3.5")
    own = await seller.of_wire(order.wire_order_id)
    assert own["ratings"] == [{"category": "Provider", "value": "4"}, {"category": "Order", "value": "3.5"}]
    assert (await seller.asked("GET", "/api/providers/home-7"))["rating"] == "4.0"
    kept = (await seller.asked("GET", "/api/providers/home-7/ratings"))["items"]
    assert {(item["category"], item["value"]) for item in kept} == {("Order", "3.5"), ("Provider", "4")}


async def test_a_provider_has_as_many_ratings_as_orders_rated_it_and_each_can_be_changed_for_a_while(
    seller: Seller,
) -> None:
    one, two = await seller.contract(wanted(500)), await seller.contract(wanted(500))
    for order, value in ((one, "5"), (two, "2"), (one, "4")):
        assert "error" not in await seller.about("rating", order, "Provider", value)
    shown = await seller.asked("GET", "/api/providers/home-7")
    assert (shown["rating"], shown["rating_count"]) == ("3.0", 2)
    await seller.move_clock(SLOT_START + timedelta(hours=1))
    await seller.measure(1000, start=SLOT_START)  # settles both
    await seller.move_clock(SLOT_START + timedelta(days=30, hours=1, seconds=1))
    code, sentence = refusal(await seller.about("rating", one, "Provider", "1"))
    assert code == "40001"
    assert "that time is over" in sentence


async def test_support_names_whom_to_turn_to(seller: Seller) -> None:
    order = await seller.contract()
    letter = await seller.about("support", order)
    assert letter["message"]["support"]["email"] == "help@bpp.example"


async def test_support_is_refused_when_nobody_was_named(database_url: str) -> None:
    async with running_seller(database_url, support_email="") as running:
        letter = await running.send("support", {"ref_id": "order-1", "support": {"ref_id": "order-1"}})
        assert refusal(letter)[0] == "50004"


async def test_reasons_and_categories_are_listed(seller: Seller) -> None:
    reasons = (await seller.send("get_cancellation_reasons", {}))["message"]["cancellation_reasons"]
    assert [reason["id"] for reason in reasons] == ["001", "002", "003", "004", "005"]
    categories = (await seller.send("get_rating_categories", {}))["message"]["rating_categories"]
    assert "Order" in categories
