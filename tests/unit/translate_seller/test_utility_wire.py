"""Letters between a seller's node and its utility: what is written can be read back, and satisfies our own schemas."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bpp import utility
from bpp.translate import utility as wire
from bpp.utility import Clearance, GridMeter, Request, Trade, TradeState
from schemas import validate
from schemas.values import WireRefusal
from tests.support.wire_cases import letter
from trade.money import Series

START = datetime(2026, 1, 15, 10, tzinfo=UTC)
ENERGY = Series(START, 900, (250, 0, 125))
REQUEST = Request("meter-7", "flat-1", ENERGY, "USD", "11111111-2222-4333-8444-555555555555")
FACE = wire.Face("utility.example", "Bright Grid")
QUOTE_ID = "99999999-2222-4333-8444-555555555555"
TRADE = Trade(QUOTE_ID, "bpp.example", REQUEST.order_id, "t", TradeState.ACTIVE, REQUEST, 30_000, 10_000, START, START)
CHARGES = wire.Charges(30_000, 10_000, None)
CLEARED = Clearance(30_000, 10_000, ENERGY.with_values((600, 600, 500)), 5000)


def valid(action: str, message: dict[str, Any]) -> dict[str, Any]:
    validate.check(action, letter(action, message), profile="emit")
    return message


def test_what_is_asked_at_init_and_confirm_is_read_back_exactly() -> None:
    asked = valid("init", wire.carry_to_wire(REQUEST, utility_id="utility.example", billed_as="bpp.example"))
    assert wire.request_from_wire(asked) == replace(REQUEST, order_id="")
    confirmed = wire.carry_to_wire(REQUEST, utility_id="utility.example", billed_as="bpp.example", charges=CHARGES)
    assert wire.request_from_wire(valid("confirm", confirmed)) == REQUEST
    # 375 Wh at 0.03 and 0.01 per kWh, rounded slot by slot to a thousandth of a cent.
    assert confirmed["order"]["payments"][0]["params"] == {"amount": "0.015", "currency": "USD"}
    alone = replace(REQUEST, buyer_meter_id="")
    asked = valid("init", wire.carry_to_wire(alone, utility_id="utility.example", billed_as="b"))
    assert wire.request_from_wire(asked).buyer_meter_id == ""


def test_charges_and_what_remains_are_read_back_from_on_init() -> None:
    answer = wire.clearance_to_wire(REQUEST, CLEARED, face=FACE, billed_as="bpp.example", quote_id=QUOTE_ID)
    assert wire.charges_from_wire(valid("on_init", answer)) == wire.Charges(30_000, 10_000, 1700)
    assert [line["title"] for line in answer["order"]["quote"]["breakup"]] == ["DISCOM_FEES", "DISCOM_FEES"]


@pytest.mark.parametrize("action", ["on_confirm", "on_status", "on_update"])
def test_a_trade_that_is_carried_says_so(action: str) -> None:
    assert wire.is_carried(valid(action, wire.trade_to_wire(TRADE, face=FACE)))


def test_a_cancelled_trade_says_when() -> None:
    cancelled = utility.cancel(TRADE, now=START)
    answer = valid("on_cancel", wire.trade_to_wire(cancelled, face=FACE))
    assert not wire.is_carried(answer)
    assert answer["order"]["cancellation"]["time"] == "2026-01-15T10:00:00Z"


def test_figures_the_utility_replaces_travel_as_allocations() -> None:
    assert wire.allocations_from_wire(wire.trade_to_wire(TRADE, face=FACE)) == {}
    figure = ENERGY.with_values((200, 0, 100))
    replaced = utility.replace_allocation(TRADE, "SELLER", figure, now=START)
    assert wire.allocations_from_wire(valid("on_update", wire.trade_to_wire(replaced, face=FACE))) == {"SELLER": figure}


def test_a_smaller_trade_and_a_question_are_letters_our_schemas_know() -> None:
    resized = valid("update", wire.resize_to_wire(REQUEST, utility_id="utility.example"))
    assert wire.request_from_wire(resized) == REQUEST
    for action in ("status", "cancel"):
        assert valid(action, wire.order_id_to_wire("x")) == {"order_id": "x"}


@pytest.mark.parametrize(
    ("spoil", "path"),
    [
        (lambda item: item.update(id="energy"), "message.order.items[0].id"),
        (lambda item: item["tags"].pop(0), "message.order.items[0].tags.ENERGY_SERIES"),
        (lambda item: item["tags"].pop(1), "message.order.items[0].tags.GRID_TRADE.seller_meter"),
        (lambda item: item["tags"][1]["list"].pop(1), "message.order.items[0].tags.GRID_TRADE.currency"),
    ],
)
def test_a_request_that_cannot_be_carried_is_refused_by_path(spoil: Any, path: str) -> None:
    asked = copy.deepcopy(wire.carry_to_wire(REQUEST, utility_id="u", billed_as="b"))
    spoil(asked["order"]["items"][0])
    with pytest.raises(WireRefusal) as refused:
        wire.request_from_wire(asked)
    assert refused.value.path == path


def test_an_answer_without_charges_is_refused_and_an_odd_error_is_understood() -> None:
    answer = wire.clearance_to_wire(REQUEST, CLEARED, face=FACE, billed_as="b", quote_id=QUOTE_ID)
    answer["order"]["items"][0]["tags"].pop()
    with pytest.raises(WireRefusal, match="wheeling_per_kwh is missing"):
        wire.charges_from_wire(answer)
    assert wire.error_from_wire({"code": 40002}) == ("40002", "it gave no reason")


def test_a_meters_limit_is_what_the_rules_say_it_is() -> None:
    meter = GridMeter("meter-7", 5000, 50, None, None, 30_000, 10_000, "USD")
    assert utility.check(REQUEST, {"meter-7": meter}, {}).remaining_wh.total == 3 * 625
