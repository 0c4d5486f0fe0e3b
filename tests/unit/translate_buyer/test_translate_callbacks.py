"""A seller's callbacks, read by a buyer: refusals first, then strangers' forms, then our own there and back."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import bap.translate as buyer
import bpp.translate as seller
from bap.translate import WireRefusal
from energy_catalog.offers import Offer, Provider
from schemas import tags
from tests.support.trade_cases import EVENING_BEFORE, an_offer, an_order, hours
from tests.support.wire_cases import CALLBACKS, cancelled_orders, offers, orders, providers, settled_orders
from trade.order import Customer, Order, OrderState
from trade.quote import CancellationTerm, LineKind, QuoteLine

FACE = Provider("home-7", "Home 7", "Solar panels on a roof", "", "34.1, -117.4", "meter-7")
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
patient = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


# --- on_select, on_init --------------------------------------------------------------------------------------------

ASKED = an_order(customer=Customer("Anna", "", ""))


def a_quote(**changes: Any) -> dict[str, Any]:
    """A stranger's quote for what was asked: 3 kWh at 0.21, without series."""
    order: dict[str, Any] = {
        "items": [
            {
                "id": "offer-1",
                "price": {"value": "0.21", "currency": "USD"},
                "quantity": {"selected": {"measure": {"value": "3", "unit": "kWh"}}},
            }
        ],
        "quote": {
            "price": {"value": "0.63", "currency": "USD"},
            "breakup": [{"title": "ENERGY", "price": {"value": "0.63", "currency": "USD"}}],
            "ttl": "PT15M",
        },
    }
    return {"order": {**order, **changes}}


def with_lines(*lines: tuple[str, str], total: str, **item: Any) -> dict[str, Any]:
    breakup = [
        {"title": title, "price": {"value": value, "currency": "USD"}, **({"item": item} if item else {})}
        for title, value in lines
    ]
    return a_quote(quote={"price": {"value": total, "currency": "USD"}, "breakup": breakup})


def changed_item(**changes: Any) -> dict[str, Any]:
    message = a_quote()
    message["order"]["items"][0] |= changes
    return message


@pytest.mark.parametrize(
    ("message", "code", "path"),
    [
        (a_quote(items=[]), "30000", "message.order.items"),
        (changed_item(id="another"), "40003", "message.order.items[0].id"),
        (
            changed_item(quantity={"selected": {"measure": {"value": "2", "unit": "kWh"}}}),
            "40003",
            "message.order.items[0].quantity.selected.measure",
        ),
        (with_lines(("ENERGY", "0.63"), total="0.64"), "40003", "message.order.quote.price.value"),
        (with_lines(("DISCOUNT", "0.63"), total="0.63"), "40003", "message.order.quote.breakup[0].title"),
        (with_lines(("ENERGY", "0.630001"), total="0.63"), "30000", "message.order.quote.breakup[0].price.value"),
        (
            with_lines(("ENERGY", "0.60"), ("DISCOM_FEES", "-0.05"), total="0.55"),
            "40003",
            "message.order.quote.breakup",
        ),
        (a_quote(quote={"price": {"value": "1", "currency": "Dollar"}}), "30000", "message.order.quote.price.currency"),
        (
            a_quote(
                quote={
                    "price": {"value": "1", "currency": "USD"},
                    "breakup": [{"title": "ENERGY", "price": {"value": "1", "currency": "EUR"}}],
                }
            ),
            "40003",
            "message.order.quote.breakup[0].price.currency",
        ),
        (
            a_quote(quote={"price": {"value": "1", "currency": "USD"}, "ttl": "P1M"}),
            "30000",
            "message.order.quote.ttl",
        ),
        (
            a_quote(cancellation_terms=[{"cancellation_fee": {"percentage": "10"}}]),
            "30000",
            "message.order.cancellation_terms[0].cancel_by.duration",
        ),
        (
            a_quote(
                cancellation_terms=[
                    {
                        "cancel_by": {"duration": "PT1H"},
                        "cancellation_fee": {"amount": {"value": "1", "currency": "USD"}},
                    }
                ]
            ),
            "30000",
            "message.order.cancellation_terms[0].cancellation_fee.percentage",
        ),
        (
            a_quote(
                cancellation_terms=[{"cancel_by": {"duration": "PT1H"}, "cancellation_fee": {"percentage": "101"}}]
            ),
            "30000",
            "message.order.cancellation_terms[0].cancellation_fee.percentage",
        ),
    ],
)
def test_a_quote_nobody_can_trade_on_is_refused_where_it_is_wrong(
    message: dict[str, Any], code: str, path: str
) -> None:
    with pytest.raises(WireRefusal) as caught:
        buyer.quote_from_wire(message, ASKED, NOW)
    assert (caught.value.code, caught.value.path) == (code, path)


def test_a_strangers_quote_without_series_is_for_what_was_asked() -> None:
    view = buyer.quote_from_wire(a_quote(), ASKED, NOW)
    assert view.contracted_wh == ASKED.contracted_wh
    assert view.price_micro_per_kwh == ASKED.price_micro_per_kwh
    assert view.quote.lines == (QuoteLine(LineKind.ENERGY, "ENERGY", 63_000),)
    assert (view.quote.expires_at, view.quote.quote_id) == (NOW + timedelta(minutes=15), "")
    assert (view.wheeling_micro_per_kwh, view.provider_name, view.fulfillment_id) == (0, ASKED.provider_name, "1")


def test_a_stranger_may_quote_less_for_a_single_slot() -> None:
    one_slot = an_order(energy_wh=hours(3000))
    message = changed_item(quantity={"selected": {"measure": {"value": "2", "unit": "kWh"}}})
    assert buyer.quote_from_wire(message, one_slot, NOW).contracted_wh == hours(2000)


def test_a_quote_without_lines_has_one_line() -> None:
    view = buyer.quote_from_wire(a_quote(quote={"price": {"value": "1", "currency": "USD"}}), ASKED, NOW)
    assert view.quote.lines == (QuoteLine(LineKind.ENERGY, "ENERGY", 100_000),)
    assert view.quote.ttl_s > 0


def test_grid_charges_of_a_stranger_are_a_price_per_kwh_when_one_gives_exactly_them() -> None:
    message = with_lines(("ENERGY", "0.63"), ("DISCOM_FEES", "0.10"), total="0.73")
    view = buyer.quote_from_wire(message, ASKED, NOW)
    assert view.wheeling_micro_per_kwh == 33_333
    assert [line.kind for line in view.quote.lines] == [LineKind.ENERGY, LineKind.WHEELING]


def test_grid_charges_that_were_rounded_to_cents_are_the_price_per_kwh_that_rounds_to_them() -> None:
    # 3 kWh at 0.033333 are 0.099999, in cents 0.10; the quote's total may be rounded, too.
    message = with_lines(("ENERGY", "0.63003"), ("DISCOM_FEES", "0.10"), total="0.73")
    assert buyer.quote_from_wire(message, ASKED, NOW).wheeling_micro_per_kwh == 33_333
    with pytest.raises(WireRefusal, match=r"but the lines of the breakup sum to 0\.73003"):
        buyer.quote_from_wire(with_lines(("ENERGY", "0.63003"), ("DISCOM_FEES", "0.10"), total="0.74"), ASKED, NOW)


def test_a_seller_that_repeats_no_price_keeps_to_the_one_ordered_at() -> None:
    message = a_quote()
    del message["order"]["items"][0]["price"]
    assert buyer.quote_from_wire(message, ASKED, NOW).price_micro_per_kwh == ASKED.price_micro_per_kwh


@patient
@given(order=orders(), provider=providers, offer=offers())
def test_a_quote_survives_the_wire(order: Order, provider: Provider, offer: Offer) -> None:
    view = buyer.quote_from_wire(seller.quote_to_wire(order, provider, offer), order, EVENING_BEFORE)
    assert view.quote == order.quote
    assert (view.contracted_wh, view.price_micro_per_kwh) == (order.contracted_wh, order.price_micro_per_kwh)
    assert view.wheeling_micro_per_kwh == order.wheeling_micro_per_kwh
    assert (view.provider_name, view.cancellation_terms) == (provider.name, order.cancellation_terms)
    assert view.payment_id == (order.payment_id or "1")
    assert (view.fulfillment_id, view.fulfillment_type) == (order.fulfillment_id, order.fulfillment_type)


def test_a_quote_for_nobody_yet_has_no_billing_and_no_payment() -> None:
    wire = seller.quote_to_wire(replace(ASKED, customer=None), FACE, an_offer())["order"]
    assert {"billing", "payments", "id"}.isdisjoint(wire)


def test_an_order_without_a_quote_is_not_told_about() -> None:
    bare = replace(ASKED, quote=None)
    with pytest.raises(ValueError, match="no quote"):
        seller.quote_to_wire(bare, FACE, an_offer())
    with pytest.raises(ValueError, match="no quote"):
        seller.order_to_wire(bare, FACE)
    with pytest.raises(ValueError, match="no quote"):
        buyer.confirm_to_wire(bare)


# --- on_confirm, on_status, on_update, on_cancel -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        (OrderState.INITIALISED, "", "ORDER_PLACED"),
        (OrderState.ACTIVE, "ACTIVE", "ORDER_PLACED"),
        (OrderState.DELIVERING, "ACTIVE", "ORDER_PLACED"),
        (OrderState.COMPLETED, "COMPLETE", "ORDER_COMPLETED"),
        (OrderState.CANCELLED, "CANCELLED", "CANCELLED"),
        (OrderState.EXPIRED, "CANCELLED", "CANCELLED"),
    ],
)
def test_every_state_of_a_sellers_order_can_be_told(state: OrderState, status: str, code: str) -> None:
    view = buyer.order_from_wire(seller.order_to_wire(replace(ASKED, state=state), FACE))
    assert (view.status, view.state_code, view.detail_state) == (status, code, state.value)


@patient
@given(order=orders(), provider=providers)
def test_a_contract_survives_the_wire(order: Order, provider: Provider) -> None:
    view = buyer.order_from_wire(seller.order_to_wire(order, provider))
    assert order.quote is not None
    assert view.wire_order_id == (order.wire_order_id or order.order_id)
    assert (view.status, view.payment_status, view.currency) == ("ACTIVE", "NOT-PAID", order.currency)
    assert (view.lines, view.total_milli) == (order.quote.lines, order.quote.total_milli)
    assert (view.contracted_wh, view.metered_wh, view.settlement) == (order.contracted_wh, None, None)
    assert view.has_tracking is bool(order.tracking_token)


@patient
@given(order=settled_orders(), provider=providers)
def test_a_settlement_survives_the_wire(order: Order, provider: Provider) -> None:
    view = buyer.order_from_wire(seller.order_to_wire(order, provider))
    assert order.settlement is not None
    assert view.settlement is not None
    assert (view.settlement.lines, view.settlement.settled_at) == (order.settlement.lines, order.settlement.settled_at)
    assert view.settlement.total_milli == view.total_milli == order.settlement.total_milli
    assert view.metered_wh == order.seller_alloc_wh
    assert (view.status, view.payment_status) == ("COMPLETE", "PAID")


def test_readings_beyond_the_contract_can_be_told() -> None:
    metered = hours(5000, 100)
    told = replace(ASKED, seller_alloc_wh=metered)
    assert buyer.order_from_wire(seller.order_to_wire(told, FACE)).metered_wh == metered


@patient
@given(order=cancelled_orders(), provider=providers)
def test_a_cancellation_survives_the_wire(order: Order, provider: Provider) -> None:
    view = buyer.order_from_wire(seller.order_to_wire(order, provider))
    assert order.quote is not None
    assert (view.status, view.cancelled_by) == ("CANCELLED", order.cancelled_by)
    assert view.fee_milli == view.total_milli == order.quote.total_milli
    assert (view.cancellation_reason_id, view.cancellation_note) == (
        order.cancellation_reason_id or "OTHER",
        order.refusal,
    )


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"status": "COMPLETED"}, "COMPLETE"),
        ({"status": "SOFT_CANCEL"}, "CANCELLED"),
        ({"fulfillments": [{"state": {"descriptor": {"code": "ORDER_COMPLETED"}}}]}, "COMPLETE"),
        ({"fulfillments": [{"state": {"descriptor": {"code": "on its way"}}}]}, ""),
        ({}, ""),
    ],
)
def test_the_status_of_a_strangers_order_is_understood(told: dict[str, Any], status: str) -> None:
    view = buyer.order_from_wire({"order": {"id": "1", **told}})
    assert (view.wire_order_id, view.status) == ("1", status)
    assert (view.lines, view.total_milli, view.fee_milli, view.contracted_wh) == (None, None, 0, None)


def test_a_settlement_without_an_instant_is_refused() -> None:
    message = copy.deepcopy(seller.order_to_wire(ASKED, FACE))
    message["order"]["tags"].append(tags.group_to_wire(tags.SETTLEMENT, {"total": "1"}))
    with pytest.raises(WireRefusal) as caught:
        buyer.order_from_wire(message)
    assert caught.value.path == "message.order.tags.SETTLEMENT.settled_at"


# --- The rest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", CALLBACKS)
def test_a_refusal_survives_the_wire(action: str) -> None:
    refusal = WireRefusal("40002", "message.order", "Sold out; search again.")
    message, error = seller.refusal_to_wire(action, refusal)
    assert buyer.error_from_wire(error) == ("40002", "Sold out; search again.")
    assert error["paths"] == "message.order"
    assert not any(message.values())


def test_a_refusal_that_is_changed_afterwards_spoils_no_other() -> None:
    message, _ = seller.refusal_to_wire("on_search", WireRefusal("1", "", "No."))
    message["catalog"]["providers"] = []
    assert seller.refusal_to_wire("on_search", WireRefusal("1", "", "No."))[0] == {"catalog": {}}


def test_tracking_support_and_forms_survive_the_wire() -> None:
    url = "https://bpp.example/x"
    assert buyer.tracking_from_wire(seller.tracking_to_wire(ASKED, url=url)) == buyer.TrackingView(url, "active")
    assert buyer.tracking_from_wire(seller.tracking_to_wire(ASKED)) == buyer.TrackingView("", "inactive")
    assert buyer.tracking_from_wire({"tracking": {"status": "ACTIVE"}}) == buyer.TrackingView("", "active")
    helped = seller.support_to_wire("1", phone="+15551234567", url=url)
    assert buyer.support_from_wire(helped) == buyer.SupportView("+15551234567", "", url)
    assert buyer.rating_form_from_wire(seller.feedback_to_wire(url)) == buyer.FormView(url, False)
    assert buyer.rating_form_from_wire(seller.feedback_to_wire()) is None


def test_lists_of_choices_survive_the_wire() -> None:
    reasons = [("001", "No longer needed"), ("002", "Too late")]
    assert buyer.reasons_from_wire(seller.reasons_to_wire(reasons)) == [
        buyer.ReasonView(reason_id, name) for reason_id, name in reasons
    ]
    assert buyer.reasons_from_wire({"cancellation_reasons": [{"id": "9"}]}) == [buyer.ReasonView("9", "9")]
    assert buyer.categories_from_wire(seller.categories_to_wire(["Order"])) == ["Order"]
    assert buyer.reasons_from_wire({}) == []
    assert buyer.categories_from_wire({}) == []


def test_cancellation_terms_are_written_as_notice_and_percentage() -> None:
    order = replace(ASKED, cancellation_terms=(CancellationTerm(86_400, 0), CancellationTerm(90, 10)))
    assert seller.quote_to_wire(order, FACE, an_offer())["order"]["cancellation_terms"] == [
        {"cancel_by": {"duration": "PT24H"}, "cancellation_fee": {"percentage": "0"}},
        {"cancel_by": {"duration": "PT90S"}, "cancellation_fee": {"percentage": "10"}},
    ]
