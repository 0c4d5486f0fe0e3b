"""Checking letters: what is refused, where, and with which sentence; what is not."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import bap.translate as buyer
import bpp.translate as seller
from energy_catalog.offers import Provider
from schemas import validate
from schemas.documents import Profile
from schemas.validate import Invalid
from tests.support.trade_cases import an_offer, an_order
from tests.support.wire_cases import TRANSACTION_ID, letter, sent_letters
from trade.order import Customer, OrderState

ORDER = an_order(customer=Customer("Anna", "anna@example.org", "+15551234567"), order_id=TRANSACTION_ID)
ORDER = replace(ORDER, quote=replace(ORDER.quote, quote_id=TRANSACTION_ID))
SELLER_FACE = Provider("home-7", "Home 7", "Solar panels on a roof", "", "34.1, -117.4", "meter-7")


def a_select() -> dict[str, Any]:
    return letter("select", buyer.select_to_wire(ORDER))


def refusal(document: Any, *, action: str = "", profile: Profile = "accept") -> Invalid:
    with pytest.raises(Invalid) as caught:
        validate.check(action or document["context"]["action"], document, profile=profile)
    return caught.value


def test_an_action_without_a_schema_is_refused() -> None:
    document = letter("select", {})
    assert refusal(document, action="on_subscribe").path == "context.action"
    assert refusal(document, action="../select").path == "context.action"


@pytest.mark.parametrize("document", [None, 7, "letter", [], [{}]])
def test_what_is_no_object_is_refused(document: Any) -> None:
    assert refusal(document, action="select").sentence == "the letter must be of type object."


def test_another_action_in_the_context_is_refused() -> None:
    caught = refusal(a_select(), action="init")
    assert (caught.path, caught.sentence) == ("context.action", 'context.action must be "init".')


@pytest.mark.parametrize(
    "field", ["domain", "action", "bap_id", "bap_uri", "transaction_id", "message_id", "timestamp"]
)
def test_a_context_without_what_is_needed_is_refused_by_name(field: str) -> None:
    document = a_select()
    del document["context"][field]
    caught = refusal(document, action="select")
    assert caught.path == f"context.{field}"
    assert caught.sentence == f"context.{field} is missing; add it."


def test_a_context_without_any_version_is_refused() -> None:
    document = a_select()
    del document["context"]["version"]
    assert refusal(document).sentence == "context lacks a field: it must have version or core_version."


def test_a_callback_that_does_not_name_its_seller_is_refused() -> None:
    document = letter("on_status", None, {"code": "1", "message": "x"})
    del document["context"]["bpp_id"]
    assert refusal(document).path == "context.bpp_id"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("transaction_id", "", "context.transaction_id is too short: at least 1 character is needed."),
        ("message_id", "x" * 256, "context.message_id is too long: at most 255 characters are allowed."),
        ("message_id", "a b", "context.message_id must be an id of 1 to 255 visible ASCII characters, best a UUID."),
        ("message_id", "a\x00", "context.message_id must be an id of 1 to 255 visible ASCII characters, best a UUID."),
        ("message_id", 7, "context.message_id must be of type string."),
        ("bap_uri", "ftp://x", "context.bap_uri must be an http or https URL of at most 2048 characters."),
        ("bap_uri", "https://" + "x" * 2048, "context.bap_uri is too long: at most 2048 characters are allowed."),
        ("timestamp", "2026-01-15T10:00:00", "context.timestamp must be an RFC 3339 instant with a zone, such as "),
        ("timestamp", "15-01-2026", "context.timestamp must be an RFC 3339 instant with a zone, such as "),
        ("ttl", "30", 'context.ttl must be an ISO 8601 duration, such as "PT30S".'),
        ("location", "India", "context.location must be of type object."),
    ],
)
def test_a_context_field_of_the_wrong_form_is_refused_by_name(field: str, value: Any, sentence: str) -> None:
    document = a_select()
    document["context"][field] = value
    caught = refusal(document)
    assert caught.path == f"context.{field}"
    assert caught.sentence.startswith(sentence)


def change_item(item: dict[str, Any]) -> dict[str, Any]:
    document = a_select()
    document["message"]["order"]["items"][0] |= item
    return document


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({"id": ""}, "message.order.items[0].id"),
        ({"id": 7}, "message.order.items[0].id"),
        ({"id": "a\x00b"}, "message.order.items[0].id"),
        ({"quantity": []}, "message.order.items[0].quantity"),
        (
            {"quantity": {"selected": {"measure": {"value": 12.5, "unit": "kWh"}}}},
            "message.order.items[0].quantity.selected.measure.value",
        ),
        (
            {"quantity": {"selected": {"measure": {"value": "abc1", "unit": "kWh"}}}},
            "message.order.items[0].quantity.selected.measure.value",
        ),
        (
            {"quantity": {"selected": {"measure": {"value": "1" * 19, "unit": "kWh"}}}},
            "message.order.items[0].quantity.selected.measure.value",
        ),
        ({"price": {"value": "1", "currency": "rupees"}}, "message.order.items[0].price.currency"),
        ({"tags": [{}] * 33}, "message.order.items[0].tags"),
        ({"tags": [{"list": [{"value": "x" * 32769}]}]}, "message.order.items[0].tags[0].list[0].value"),
        ({"tags": [{"list": [{"value": 1}]}]}, "message.order.items[0].tags[0].list[0].value"),
        ({"descriptor": {"name": "x" * 1025}}, "message.order.items[0].descriptor.name"),
    ],
)
def test_an_item_of_the_wrong_form_is_refused_where_it_is_wrong(item: dict[str, Any], path: str) -> None:
    caught = refusal(change_item(item))
    assert caught.path == path
    assert caught.sentence.startswith(path)


def test_a_bad_decimal_is_told_how_to_write_it() -> None:
    document = change_item({"quantity": {"selected": {"measure": {"value": "1e3", "unit": "kWh"}}}})
    assert refusal(document).sentence == (
        "message.order.items[0].quantity.selected.measure.value must be a decimal number in a string, at most 18 digits"
        ' on either side of the point, such as "12.5".'
    )


@pytest.mark.parametrize(
    ("action", "message", "path"),
    [
        ("search", "solar", "message"),
        ("select", {}, "message.order"),
        ("select", {"order": {"items": [{"id": "1"}]}}, "message.order.provider"),
        ("select", {"order": {"provider": {}, "items": [{"id": "1"}]}}, "message.order.provider.id"),
        ("select", {"order": {"provider": {"id": "p"}, "items": []}}, "message.order.items"),
        ("select", {"order": {"provider": {"id": "p"}, "items": [{}]}}, "message.order.items[0].id"),
        ("select", {"order": {"provider": {"id": "p"}, "items": [{"id": "1"}] * 101}}, "message.order.items"),
        ("init", {"order": {"provider": {"id": "p"}, "items": [{"id": "1"}]}}, "message.order.billing"),
        ("status", {}, "message.order_id"),
        ("status", {"order_id": {"id": "1"}}, "message.order_id"),
        ("cancel", {"cancellation_reason_id": "1"}, "message.order_id"),
        ("track", {"order_id": "1", "callback_url": "no url"}, "message.callback_url"),
        ("update", {"order": {"id": "1"}}, "message.update_target"),
        ("update", {"update_target": "item", "order": {}}, "message.order.id"),
        ("rating", {"ratings": []}, "message.ratings"),
        ("rating", {"ratings": [{"id": "1", "value": "5"}]}, "message.ratings[0].rating_category"),
        ("on_search", {}, "message.catalog"),
        ("on_search", {"catalog": {"providers": [{}]}}, "message.catalog.providers[0].id"),
        ("on_select", {"order": {"items": [{"id": "1"}]}}, "message.order.quote"),
        ("on_confirm", {"order": {}}, "message.order.id"),
        ("on_status", {"order": {"id": "1", "status": "SHIPPED"}}, "message.order.status"),
        ("on_cancel", {"order": {"id": "1", "cancellation": {"cancelled_by": "NOBODY"}}}, None),
        ("on_track", {"tracking": {"status": "sleeping"}}, "message.tracking.status"),
        ("cancellation_reasons", {"cancellation_reasons": [{}]}, "message.cancellation_reasons[0].id"),
        ("rating_categories", {"rating_categories": [7]}, "message.rating_categories[0]"),
    ],
)
def test_a_message_without_what_is_needed_is_refused_where_it_lacks(
    action: str, message: Any, path: str | None
) -> None:
    caught = refusal(letter(action, message))
    assert caught.path == (path or "message.order.cancellation.cancelled_by")


def test_a_callback_with_neither_message_nor_error_is_refused() -> None:
    assert refusal(letter("on_init", None)).sentence == "message is missing; add it."


def test_a_choice_is_listed_when_none_was_taken() -> None:
    document = letter("on_track", {"tracking": {"status": "asleep"}})
    assert refusal(document).sentence == ("message.tracking.status must be one of active, inactive, ACTIVE, INACTIVE.")


# --- What we send --------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(document=sent_letters())
def test_everything_we_send_is_fit_to_be_sent_and_to_be_accepted(document: dict[str, Any]) -> None:
    validate.check(document["context"]["action"], document, profile="emit")
    validate.check(document["context"]["action"], document, profile="accept")


def places_in(node: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every object of a letter with its path."""
    if isinstance(node, list):
        return [place for i, element in enumerate(node) for place in places_in(element, f"{path}[{i}]")]
    if not isinstance(node, dict):
        return []
    inner = [place for key, value in node.items() for place in places_in(value, f"{path}.{key}".lstrip("."))]
    return [(path, node), *inner]


def test_an_undescribed_field_anywhere_is_not_sent_but_accepted() -> None:
    message = seller.quote_to_wire(ORDER, SELLER_FACE, an_offer())
    for index, (path, _) in enumerate(places_in(letter("on_init", message))):
        document = copy.deepcopy(letter("on_init", message))
        places_in(document)[index][1]["undescribed"] = "x"
        validate.check("on_init", document, profile="accept")
        where = f"{path}.undescribed".lstrip(".")
        caught = refusal(document, profile="emit")
        assert caught.path == where
        assert caught.sentence.endswith("leave it out or use a tag group.")


def test_an_order_id_is_not_sent_before_the_order_is_confirmed() -> None:
    document = letter("on_init", seller.quote_to_wire(ORDER, SELLER_FACE, an_offer()))
    document["message"]["order"]["id"] = "too early"
    assert "before the order is confirmed" in refusal(document, profile="emit").sentence
    validate.check("on_init", document, profile="accept")


def test_an_error_callback_is_not_sent_without_the_member_that_peers_demand() -> None:
    error = {"code": "40002", "message": "sold"}
    assert refusal(letter("on_init", None, error), profile="emit").path == "message"
    assert refusal(letter("on_init", {}, error), profile="emit").path == "message.order"
    validate.check("on_init", letter("on_init", {"order": {}}, error), profile="emit")


def test_ids_of_our_own_requests_are_uuids_and_ids_we_echo_may_be_anything() -> None:
    ask = letter("status", {"order_id": "1"})
    answer = letter("on_status", seller.order_to_wire(replace(ORDER, state=OrderState.ACTIVE), SELLER_FACE))
    for document in (ask, answer):
        document["context"]["transaction_id"] = "T-1"
    assert refusal(ask, profile="emit").sentence == "context.transaction_id must be a UUID."
    validate.check("on_status", answer, profile="emit")


def test_the_enums_of_layer_2_are_read_but_not_written() -> None:
    document = letter("confirm", buyer.confirm_to_wire(ORDER))
    document["message"]["order"]["payments"][0]["status"] = "NOT_PAID"
    validate.check("confirm", document, profile="accept")
    assert refusal(document, profile="emit").sentence == (
        "message.order.payments[0].status must be one of PAID, NOT-PAID."
    )
