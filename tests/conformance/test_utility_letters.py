"""What a seller's node and its utility send each other, judged by the same published schemas as every other letter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bpp import utility
from bpp.translate import utility as wire
from bpp.utility import Clearance, Request, Trade, TradeState
from tests.conformance.test_emitted_messages import LAYER2_DIVERGENCES, ONIX_DIVERGENCES, complaints_by_action
from tests.support import spec_oracles, wire_cases
from trade.money import Series

START = datetime(2026, 1, 15, 10, tzinfo=UTC)
REQUEST = Request("meter-7", "flat-1", Series(START, 900, (250, 0, 125)), "USD", "11111111-2222-4333-8444-555555555555")
FACE = wire.Face("utility.example", "Bright Grid")
QUOTE_ID = "99999999-2222-4333-8444-555555555555"
TRADE = Trade(QUOTE_ID, "bpp.example", REQUEST.order_id, "t", TradeState.ACTIVE, REQUEST, 30_000, 10_000, START, START)


def letters() -> list[dict[str, Any]]:
    """One of each, with everything that may be in it."""
    charges, cleared = wire.Charges(30_000, 10_000, None), Clearance(30_000, 10_000, REQUEST.energy_wh, 5000)
    asked: dict[str, Any] = {"utility_id": "utility.example", "billed_as": "bpp.example"}
    told = replace(TRADE, seller_alloc_wh=REQUEST.energy_wh, buyer_alloc_wh=REQUEST.energy_wh)
    messages = {
        "init": wire.carry_to_wire(REQUEST, **asked),
        "on_init": wire.clearance_to_wire(REQUEST, cleared, face=FACE, billed_as="bpp.example", quote_id=QUOTE_ID),
        "confirm": wire.carry_to_wire(REQUEST, **asked, charges=charges),
        "on_confirm": wire.trade_to_wire(TRADE, face=FACE),
        "status": wire.order_id_to_wire(REQUEST.order_id),
        "on_status": wire.trade_to_wire(TRADE, face=FACE),
        "update": wire.resize_to_wire(REQUEST, utility_id="utility.example"),
        "on_update": wire.trade_to_wire(told, face=FACE),
        "cancel": wire.order_id_to_wire(REQUEST.order_id),
        "on_cancel": wire.trade_to_wire(utility.cancel(TRADE, now=START), face=FACE),
    }
    return [wire_cases.letter(action, message) for action, message in messages.items()]


def test_core_accepts_every_letter_of_the_cascade() -> None:
    assert complaints_by_action(letters(), spec_oracles.core_complaints) == {}


def test_onix_accepts_every_letter_of_the_cascade_but_where_its_set_is_broken() -> None:
    found = complaints_by_action(letters(), lambda letter: spec_oracles.complaints(spec_oracles.ONIX, letter))
    assert found == {"status": ONIX_DIVERGENCES["status"]}


def test_the_energy_layer_2_accepts_every_letter_of_the_cascade_but_where_enums_conflict() -> None:
    found = complaints_by_action(letters(), lambda letter: spec_oracles.complaints(spec_oracles.LAYER2, letter))
    assert {action: said - LAYER2_DIVERGENCES.get(action, set()) for action, said in found.items()} == {
        action: set() for action in found
    }
