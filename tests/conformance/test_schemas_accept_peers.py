"""What peers send: the published examples, the forms of context in use, error callbacks; and that we can read them."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

import bap.translate as buyer
import bpp.translate as seller
from energy_catalog.offers import Intent, Source
from schemas import validate
from tests.support import spec_oracles, wire_cases
from tests.support.trade_cases import an_order
from trade.money import Money, Series
from trade.order import Customer
from trade.quote import CancellationTerm, LineKind

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
WINDOW = (datetime(2024, 10, 4, 4, 30, tzinfo=UTC), datetime(2024, 10, 4, 12, 30, tzinfo=UTC))


def example(name: str) -> dict[str, Any]:
    return next(letter for stem, letter in spec_oracles.repaired_examples() if stem == name)


def test_all_sixteen_examples_are_accepted() -> None:
    examples = spec_oracles.repaired_examples()
    assert len(examples) == 16
    for _, letter in examples:
        validate.check(letter["context"]["action"], letter, profile="accept")


def test_accepting_changes_nothing_so_unknown_fields_are_kept() -> None:
    for _, letter in spec_oracles.repaired_examples():
        letter["context"]["undeclared"] = {"any": ["thing"]}
        letter["message"]["undeclared"] = 7
        before = copy.deepcopy(letter)
        validate.check(letter["context"]["action"], letter, profile="accept")
        assert letter == before


def test_the_three_searches_are_understood() -> None:
    energy = Intent(energy_wh=1_000_000)
    by_window = seller.intent_from_wire(example("01_search")["message"])
    assert by_window == Intent(WINDOW[0], WINDOW[1], energy_wh=1_000_000)
    by_price = seller.intent_from_wire(example("02_search")["message"])
    assert by_price == Intent(energy_wh=energy.energy_wh, price_micro_per_kwh_max=7_000_000, currency="INR")
    by_place = seller.intent_from_wire(example("03_search")["message"])
    assert by_place == Intent(
        *WINDOW, energy_wh=1_000_000, source=Source.SOLAR, near_gps="12.423423,77.325647", radius_m=5000
    )


def test_the_catalog_without_series_is_understood_as_one_slot_over_its_window() -> None:
    offers = buyer.offers_from_wire(example("10_on_search")["message"], "bpp.example")
    first = offers[0]
    assert first.has_series is False
    assert first.available_wh == Series(WINDOW[0], 8 * 3600, (3_000_000,))
    assert first.price_micro_per_kwh.values == (7_000_000,)
    assert (first.source, first.currency) == (Source.SOLAR, "INR")
    providers = example("10_on_search")["message"]["catalog"]["providers"]
    assert first.provider.name == providers[0]["descriptor"]["name"]
    assert {offer.provider.provider_id for offer in offers} == {provider["id"] for provider in providers}


def test_select_init_and_confirm_without_series_are_understood() -> None:
    select, init, confirm = (
        seller.selection_from_wire(example(name)["message"]) for name in ("04_select", "05_init", "06_confirm")
    )
    assert (select.provider_id, select.offer_id) == ("provider1", "uid_xyz")
    assert (select.energy_wh, select.requested_wh, select.customer) == (1_000_000, None, None)
    billing = example("05_init")["message"]["order"]["billing"]
    assert init.customer == Customer(billing["name"], billing["email"], billing["phone"])
    assert confirm.payment == seller.PaymentView("pay-1", "BPP", "PRE-ORDER", "PAID")
    assert confirm.quote_total == Money(700_000_000, "INR")


@pytest.mark.parametrize("name", ["11_on_select", "12_on_init"])
def test_the_quotes_without_series_are_understood_over_what_was_asked(name: str) -> None:
    asked = Series(WINDOW[0], 3600, (125_000,) * 8)
    order = an_order(energy_wh=asked, price=7_000_000, currency="INR", offer_id="uid_xyz")
    message = example(name)["message"]
    view = buyer.quote_from_wire(message, order, NOON)
    assert view.contracted_wh == asked
    assert view.price_micro_per_kwh == Series.flat(asked, 7_000_000)
    assert (view.quote.total_milli, view.quote.currency, view.quote.ttl_s) == (700_000_000, "INR", 900)
    assert [line.kind for line in view.quote.lines] == [LineKind.ENERGY]
    assert view.provider_name == message["order"]["provider"]["descriptor"]["name"]


def test_the_cancellation_terms_of_a_stranger_are_understood() -> None:
    order = an_order(energy_wh=Series(WINDOW[0], 8 * 3600, (1_000_000,)), currency="INR", offer_id="uid_xyz")
    view = buyer.quote_from_wire(example("12_on_init")["message"], order, NOON)
    assert view.cancellation_terms == (CancellationTerm(3600, 10),)
    assert view.payment_id == "pay-1"


@pytest.mark.parametrize("name", ["13_on_confirm", "14_on_status"])
def test_an_order_without_a_status_is_active_while_its_delivery_is_placed(name: str) -> None:
    view = buyer.order_from_wire(example(name)["message"])
    assert (view.wire_order_id, view.status, view.state_code) == ("6743e9e2-4fb5-487c-92b7", "ACTIVE", "ORDER_PLACED")
    assert (view.total_milli, view.currency, view.detail_state) == (700_000_000, "INR", "")


def test_ratings_support_and_feedback_are_understood() -> None:
    assert seller.rating_from_wire(example("08_rating")["message"]) == [
        seller.RatingRequest("Provider", "6743e9e2-4fb5-487c-92b7", "5")
    ]
    assert seller.support_from_wire(example("09_support")["message"]) == seller.SupportRequest(
        "6743e9e2-4fb5-487c-92b7", "+919876543210", "example@gmail.com"
    )
    assert buyer.rating_form_from_wire(example("15_on_rating")["message"]) == buyer.FormView(
        "https://api.example-bpp.com/pilot/bpp/feedback/portal", False
    )
    assert buyer.support_from_wire(example("16_on_support")["message"]).phone == "18001080"


# --- Forms of context and of refusals, with letters of our own: nothing to skip ------------------------------------


def status_letter(**context: Any) -> dict[str, Any]:
    letter = wire_cases.letter("status", {"order_id": "order-1"})
    letter["context"] |= context
    return letter


def test_the_flat_context_is_accepted() -> None:
    letter = status_letter(country="IND", city="std:080", core_version="1.1.0")
    del letter["context"]["location"], letter["context"]["version"]
    validate.check("status", letter, profile="accept")


def test_the_hybrid_context_is_accepted() -> None:
    validate.check("status", status_letter(location={"country": {"code": "IND"}}, city="std:080"), profile="accept")


def test_ids_that_are_no_uuids_are_accepted() -> None:
    validate.check("status", status_letter(transaction_id="T-1", message_id="x" * 255), profile="accept")


@pytest.mark.parametrize("action", wire_cases.CALLBACKS)
@pytest.mark.parametrize(
    "error", [{"code": "40002", "message": "sold out"}, {"code": 404, "path": "/", "message": "?"}]
)
def test_an_error_callback_without_a_message_is_accepted(action: str, error: dict[str, Any]) -> None:
    validate.check(action, wire_cases.letter(action, None, error), profile="accept")


@pytest.mark.parametrize("action", wire_cases.CALLBACKS)
def test_an_error_callback_with_an_empty_order_is_accepted(action: str) -> None:
    refused = wire_cases.letter(action, {"order": {}}, {"code": "30004", "message": "no such item"})
    validate.check(action, refused, profile="accept")


def test_an_error_without_code_or_sentence_still_reads_as_a_refusal() -> None:
    assert buyer.error_from_wire({}) == ("40000", "The seller refused with error 40000 and did not say why.")
    assert buyer.error_from_wire({"code": 404, "message": "nope"}) == ("404", "nope")
    assert buyer.error_from_wire(None)[0] == "40000"
