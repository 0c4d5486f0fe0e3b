"""A buyer's letters, read by a seller: refusals first, then strangers' forms, then our own there and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bap.translate as buyer
import bpp.translate as seller
from bpp.translate import WireRefusal
from energy_catalog.offers import Intent, Source
from schemas import tags, values
from tests.support.wire_cases import intents, orders
from trade.money import Money, Series
from trade.order import Customer, Order

START, END = datetime(2026, 1, 15, 10, tzinfo=UTC), datetime(2026, 1, 15, 12, tzinfo=UTC)
TWO_HOURS = tags.series_to_wire(tags.ENERGY_SERIES, START, 3600, (1000, 500))


def refusal(read: Callable[[dict[str, Any]], Any], message: dict[str, Any]) -> WireRefusal:
    with pytest.raises(WireRefusal) as caught:
        read(message)
    assert caught.value.sentence.endswith(".")
    return caught.value


def selecting(*items: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"order": {"provider": {"id": "home-7"}, "items": list(items), **members}}


def an_item(value: str = "1.5", unit: str = "kWh", **members: Any) -> dict[str, Any]:
    return {"id": "offer-1", "quantity": {"selected": {"measure": {"value": value, "unit": unit}}}, **members}


# --- search --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("intent", "code", "path"),
    [
        ({"category": {"descriptor": {"code": "NUCLEAR"}}}, "30005", "message.intent.category.descriptor.code"),
        (
            {"category": {"tags": [tags.group_to_wire(tags.ENERGY_SOURCE, {"source": "COAL"})]}},
            "30005",
            "message.intent.category",
        ),
        (
            {"item": {"quantity": {"available": {"measure": {"value": "1", "unit": "kW"}}}}},
            "30000",
            "message.intent.item.quantity.available.measure.unit",
        ),
        ({"item": {"price": {"maximum_value": "-1"}}}, "30000", "message.intent.item.price.maximum_value"),
        ({"item": {"price": {"currency": "rupees"}}}, "30000", "message.intent.item.price.currency"),
        (
            {"fulfillment": {"stops": values.window_to_stops(END, START)}},
            "30000",
            "message.intent.fulfillment.stops",
        ),
        (
            {"fulfillment": {"stops": [{"location": {"circle": {"gps": "99, 0", "radius": {"value": "1"}}}}]}},
            "30000",
            "message.intent.fulfillment.stops[0].location.circle.gps",
        ),
        (
            {"fulfillment": {"stops": [{"location": {"circle": {"gps": "9, 0", "radius": {"value": "1"}}}}]}},
            "30000",
            "message.intent.fulfillment.stops[0].location.circle.radius.unit",
        ),
        (
            {
                "fulfillment": {
                    "stops": [{}, {"location": {"circle": {"gps": "9, 0", "radius": {"value": "-1", "unit": "km"}}}}]
                }
            },
            "30000",
            "message.intent.fulfillment.stops[1].location.circle.radius.value",
        ),
    ],
)
def test_a_search_nobody_can_answer_is_refused_where_it_is_wrong(intent: dict[str, Any], code: str, path: str) -> None:
    caught = refusal(seller.intent_from_wire, {"intent": intent})
    assert (caught.code, caught.path) == (code, path)


def test_a_search_for_anything_is_an_intent_for_anything() -> None:
    assert seller.intent_from_wire({}) == Intent()
    assert seller.intent_from_wire({"intent": {}}) == Intent()


def test_a_search_with_start_and_end_stops_has_a_window() -> None:
    intent = seller.intent_from_wire({"intent": {"fulfillment": {"stops": values.window_to_stops(START, END)}}})
    assert (intent.window_start, intent.window_end) == (START, END)


@given(intent=intents())
def test_an_intent_survives_the_wire(intent: Intent) -> None:
    assert seller.intent_from_wire(buyer.search_to_wire(intent)) == intent


@pytest.mark.parametrize("source", list(Source))
def test_every_source_can_be_searched_for(source: Source) -> None:
    assert seller.intent_from_wire(buyer.search_to_wire(Intent(source=source))).source is source


# --- select, init, confirm -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (selecting(), "message.order.items"),
        (selecting(an_item(), an_item()), "message.order.items"),
        (selecting({"id": "offer-1"}), "message.order.items[0].quantity.selected.measure"),
        (selecting(an_item("0")), "message.order.items[0].quantity.selected.measure"),
        (selecting(an_item("1", "litre")), "message.order.items[0].quantity.selected.measure.unit"),
        (selecting(an_item("0.0001")), "message.order.items[0].quantity.selected.measure.value"),
        (selecting(an_item("2", tags=[TWO_HOURS])), "message.order.items[0].quantity.selected.measure"),
        (
            selecting({"id": "1", "tags": [tags.series_to_wire(tags.ENERGY_SERIES, START, 60, (0, 0))]}),
            "message.order.items[0].quantity.selected.measure",
        ),
        (
            selecting(an_item(tags=[tags.group_to_wire(tags.ENERGY_SERIES, {})])),
            "message.order.items[0].tags.ENERGY_SERIES.unit",
        ),
        (
            selecting(an_item(), fulfillments=[{"stops": values.window_to_stops(END, START)}]),
            "message.order.fulfillments[0].stops",
        ),
        (
            selecting(an_item(), payments=[{"params": {"amount": "1.234567", "currency": "INR"}}]),
            "message.order.payments[0].params.amount",
        ),
        (
            selecting(an_item(), quote={"price": {"value": "1", "currency": "Rupee"}}),
            "message.order.quote.price.currency",
        ),
    ],
)
def test_a_selection_nobody_can_serve_is_refused_where_it_is_wrong(message: dict[str, Any], path: str) -> None:
    caught = refusal(seller.selection_from_wire, message)
    assert (caught.code, caught.path) == ("30000", path)


def test_a_selection_whose_sums_disagree_is_told_both_sums() -> None:
    caught = refusal(seller.selection_from_wire, selecting(an_item("2", tags=[TWO_HOURS])))
    assert "2000 Wh" in caught.sentence
    assert "1500 Wh" in caught.sentence


def test_a_stranger_that_gives_one_quantity_and_a_window_is_understood() -> None:
    message = selecting(an_item("2500", "Wh"), fulfillments=[{"id": "f", "stops": values.window_to_stops(START, END)}])
    selection = seller.selection_from_wire(message)
    assert (selection.energy_wh, selection.requested_wh) == (2500, None)
    assert (selection.window_start, selection.window_end, selection.fulfillment_id) == (START, END, "f")
    assert (selection.customer, selection.order_id, selection.payment, selection.quote_total) == (None, "", None, None)
    assert selection.quote_total_milli is None


def test_a_series_without_a_sum_is_enough() -> None:
    selection = seller.selection_from_wire(selecting({"id": "offer-1", "tags": [TWO_HOURS]}))
    assert selection.energy_wh == 1500
    assert selection.requested_wh == Series(START, 3600, (1000, 500))


def test_a_total_in_a_quote_counts_before_that_in_a_payment() -> None:
    message = selecting(
        an_item(),
        quote={"price": {"value": "7", "currency": "JPY"}},
        payments=[{"params": {"amount": "8", "currency": "INR"}}],
    )
    assert seller.selection_from_wire(message).quote_total == Money(7_000, "JPY")


@given(order=orders())
def test_a_selection_survives_the_wire(order: Order) -> None:
    selection = seller.selection_from_wire(buyer.select_to_wire(order))
    assert (selection.provider_id, selection.offer_id) == (order.provider_id, order.offer_id)
    assert (selection.requested_wh, selection.energy_wh) == (order.contracted_wh, order.contracted_wh.total)
    assert selection.fulfillment_id == order.fulfillment_id
    assert (selection.window_start, selection.window_end) == (order.contracted_wh.start, order.contracted_wh.end)


@given(order=orders())
def test_an_init_and_a_confirm_survive_the_wire(order: Order) -> None:
    held = seller.selection_from_wire(buyer.init_to_wire(order))
    agreed = seller.selection_from_wire(buyer.confirm_to_wire(order))
    assert held.customer == agreed.customer == order.customer
    assert (held.order_id, held.quote_total) == ("", None)
    assert order.quote is not None
    assert agreed.order_id == (order.wire_order_id or order.order_id)
    assert agreed.quote_total == Money(order.quote.total_milli, order.currency)
    assert agreed.quote_total_milli == order.quote.total_milli
    assert agreed.payment == seller.PaymentView(order.payment_id or "1", "BAP", "POST-FULFILLMENT", "NOT-PAID")


@pytest.mark.parametrize("write", [buyer.init_to_wire, buyer.confirm_to_wire])
@given(order=orders())
def test_nothing_is_ordered_for_nobody(write: Callable[[Order], Any], order: Order) -> None:
    with pytest.raises(ValueError, match="no customer"):
        write(replace(order, customer=None))


# --- After the contract --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["billing", "item,billing", "order.items[0].price", "itemized", "", "fulfillment", "payments"]
)
def test_an_update_of_anything_but_the_quantity_is_refused(target: str) -> None:
    message = {"update_target": target, "order": {"id": "1", "items": [an_item()]}}
    caught = refusal(seller.update_from_wire, message)
    assert (caught.code, caught.path) == ("30012", "message.update_target")


@pytest.mark.parametrize(
    "target",
    ["item", "items", "order.items", "order.items[0].quantity.selected", "message.order.items[0]", "item, fulfillment"],
)
def test_an_update_of_the_quantity_is_understood_however_it_is_spelt(target: str) -> None:
    message = {"update_target": target, "order": {"id": "1", "items": [an_item()]}}
    assert seller.update_from_wire(message) == seller.UpdateRequest("1", 1500, None)


def test_an_update_without_an_item_is_refused() -> None:
    assert (
        refusal(seller.update_from_wire, {"update_target": "item", "order": {"id": "1"}}).path == "message.order.items"
    )


@given(order=orders())
def test_an_update_survives_the_wire(order: Order) -> None:
    halved = order.contracted_wh.with_values(tuple((value + 1) // 2 for value in order.contracted_wh.values))
    request = seller.update_from_wire(buyer.update_to_wire(order, halved))
    assert request == seller.UpdateRequest(order.wire_order_id or order.order_id, halved.total, halved)


@given(order=orders(), note=st.sampled_from(["", "we moved"]), reason=st.sampled_from(["", "001"]))
def test_a_cancel_survives_the_wire(order: Order, note: str, reason: str) -> None:
    request = seller.cancel_from_wire(buyer.cancel_to_wire(order, reason, note))
    assert request == seller.CancelRequest(order.wire_order_id or order.order_id, reason, note)


@given(order=orders())
def test_status_and_track_name_the_order(order: Order) -> None:
    wire_id = order.wire_order_id or order.order_id
    assert seller.status_from_wire(buyer.status_to_wire(order)) == (wire_id, "")
    assert seller.track_from_wire(buyer.track_to_wire(order)) == wire_id
    assert seller.status_from_wire({"order_id": "1", "ref_id": "r"}) == ("1", "r")


@pytest.mark.parametrize(
    ("category", "value", "code"),
    [
        ("Payment", "5", "50003"),
        ("PAYMENT", "5", "50003"),
        ("Order", "5.01", "30015"),
        ("Order", "-1", "30015"),
        ("Order", "good", "30000"),
    ],
)
def test_an_impossible_rating_is_refused(category: str, value: str, code: str) -> None:
    message = {"ratings": [{"rating_category": category, "id": "1", "value": value}]}
    assert refusal(seller.rating_from_wire, message).code == code


def test_ratings_of_either_spelling_are_understood() -> None:
    spelt = {"Order": "Order", "ORDER": "Order", "SELLER": "Provider", "Provider": "Provider", "SUPPORT": "Support"}
    for category, meant in spelt.items():
        message = {"ratings": [{"rating_category": category, "id": "1", "value": "4.5"}]}
        assert seller.rating_from_wire(message) == [seller.RatingRequest(meant, "1", "4.5")]


@given(order=orders(), category=st.sampled_from(seller.RATING_CATEGORIES))
def test_a_rating_survives_the_wire(order: Order, category: str) -> None:
    [request] = seller.rating_from_wire(buyer.rating_to_wire(order, category, "4"))
    assert (request.category, request.value) == (category, "4")
    subjects = {"Provider": order.provider_id, "Item": order.offer_id}
    assert request.subject_id == subjects.get(category, order.wire_order_id or order.order_id)


def test_support_for_nothing_is_refused() -> None:
    assert refusal(seller.support_from_wire, {}).path == "message.support.ref_id"


def test_support_survives_the_wire_in_its_callable_form() -> None:
    order = Order(**ORDER_FIELDS)
    message = buyer.support_to_wire(order, "+91 (987) 654-3210", "anna@example.org")
    assert seller.support_from_wire(message) == seller.SupportRequest("order-1", "+919876543210", "anna@example.org")
    assert seller.support_from_wire({"ref_id": "7"}) == seller.SupportRequest("7", "", "")


@pytest.mark.parametrize("phone", ["call me", "+0123", "12345678901234567"])
def test_what_is_no_telephone_number_is_not_sent(phone: str) -> None:
    with pytest.raises(WireRefusal, match="telephone number"):
        buyer.support_to_wire(Order(**ORDER_FIELDS), phone)


ORDER_FIELDS: dict[str, Any] = {
    "order_id": "order-1",
    "side": "BUYER",
    "state": "ACTIVE",
    "transaction_id": "t",
    "counterparty_id": "bpp.example",
    "provider_id": "home-7",
    "offer_id": "offer-1",
    "contracted_wh": Series(START, 3600, (1000,)),
    "price_micro_per_kwh": Series(START, 3600, (210_000,)),
    "currency": "USD",
    "created_at": START,
    "updated_at": START,
    "customer": Customer("Anna", "", ""),
}
