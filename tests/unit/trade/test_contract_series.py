"""A contract as one series that grows with its life, and the rules that any such series is held against."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from tests.support.trade_cases import SLOT_START, an_order, energies, hours
from trade import contract_series, settlement
from trade.contract_series import SeriesInvalid
from trade.money import Series
from trade.order import Order
from trade.policy import BUILT_IN


def settled(order: Order, *, seller: Series, buyer: Series) -> Order:
    order = replace(order, seller_alloc_wh=seller, buyer_alloc_wh=buyer)
    result = settlement.settle(order, seller_alloc_wh=seller, buyer_alloc_wh=buyer, now=SLOT_START)
    return replace(order, settlement=result)


WAVE2 = an_order(
    energy_wh=hours(20_500, 15_500),
    price=hours(12_500_000, 14_500_000),
    currency="INR",
    policy=BUILT_IN["deg-wave2@1"],
    available_wh=hours(30_000, 30_000),
)
DONE = settled(WAVE2, seller=hours(18_500, 14_200), buyer=hours(20_500, 15_500))


def payloads(document: dict[str, Any], index: int) -> dict[str, Any]:
    return {entry["type"]: entry["values"][0] for entry in document["intervals"][index]["payloads"]}


def test_before_delivery_a_contract_says_price_free_energy_and_what_was_asked_for() -> None:
    document = contract_series.document(WAVE2)
    assert document["intervalPeriod"] == {"start": "2016-08-02T15:00:00Z", "duration": "PT1H"}
    assert [entry["id"] for entry in document["intervals"]] == [0, 1]
    assert payloads(document, 0) == {"PRICE_PER_KWH": 12.5, "AVAILABLE_QTY": 30, "REQUESTED_QTY": 20.5}
    assert document["payloadDescriptors"][0] == {
        "objectType": "EVENT_PAYLOAD_DESCRIPTOR",
        "payloadType": "PRICE_PER_KWH",
        "insertedBy": "sellerPlatform",
        "units": "KWH",
        "currency": "INR",
    }


def test_a_settled_contract_says_both_allocations_and_the_final_one() -> None:
    assert payloads(contract_series.document(DONE), 1) == {
        "PRICE_PER_KWH": 14.5,
        "AVAILABLE_QTY": 30,
        "REQUESTED_QTY": 15.5,
        "BUYER_DISCOM_ALLOC": 15.5,
        "BUYER_DISCOM_STATUS": "COMPLETED",
        "SELLER_DISCOM_ALLOC": 14.2,
        "SELLER_DISCOM_STATUS": "COMPLETED",
        "FINAL_ALLOC": 14.2,
    }


def test_an_allocation_that_waits_for_the_other_side_is_pending() -> None:
    found = payloads(contract_series.document(replace(WAVE2, seller_alloc_wh=hours(1, 2))), 0)
    assert (found["SELLER_DISCOM_ALLOC"], found["SELLER_DISCOM_STATUS"]) == (0.001, "PENDING")
    assert "FINAL_ALLOC" not in found


def test_what_was_asked_for_stays_said_after_a_curtailment() -> None:
    found = payloads(contract_series.document(replace(WAVE2, curtailed_wh=hours(500, 0))), 0)
    assert (found["REQUESTED_QTY"], found["CURTAILED_QTY"]) == (21, 0.5)


@pytest.mark.parametrize(("slot_s", "duration"), [(900, "PT15M"), (1800, "PT30M"), (7200, "PT2H"), (90, "PT90S")])
def test_the_length_of_a_slot_is_said_as_iso_8601_says_it(slot_s: int, duration: str) -> None:
    energy = Series(SLOT_START, slot_s, (100,))
    assert contract_series.document(an_order(energy_wh=energy))["intervalPeriod"]["duration"] == duration


@given(energies(4), energies(4), energies(4))
def test_a_series_of_ours_keeps_its_own_rules_and_survives_json(
    contracted: Series, sold: Series, bought: Series
) -> None:
    order = settled(an_order(energy_wh=contracted, policy=BUILT_IN["street@1"]), seller=sold, buyer=bought)
    document = json.loads(json.dumps(contract_series.document(order)))
    contract_series.check(document)
    final = [payloads(document, index)["FINAL_ALLOC"] for index in range(4)]
    assert order.settlement is not None
    assert [round(kwh * 1000) for kwh in final] == list(order.settlement.delivered_wh.values)


# What is refused.


def broken(**changes: Any) -> SeriesInvalid:
    """The refusal of the settled contract with payloads of interval 1 changed, or taken out where None."""
    document = deepcopy(contract_series.document(DONE))
    entry = document["intervals"][1]
    said = {kind: value for kind, value in (payloads(document, 1) | changes).items() if value is not None}
    entry["payloads"] = [{"type": kind, "values": [value]} for kind, value in said.items()]
    with pytest.raises(SeriesInvalid) as refused:
        contract_series.check(document)
    return refused.value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SELLER_DISCOM_ALLOC": -19.2}, "negative"),
        ({"BUYER_DISCOM_ALLOC": -15.5}, "negative"),
        ({"FINAL_ALLOC": 14.201}, "more than SELLER_DISCOM_ALLOC"),
        ({"BUYER_DISCOM_ALLOC": 14.1}, "more than BUYER_DISCOM_ALLOC"),
        ({"REQUESTED_QTY": 14}, "more than what was requested"),
        ({"FINAL_ALLOC": None}, "has no FINAL_ALLOC"),
        ({"REQUESTED_QTY": None}, "never requested"),
        ({"SETPOINT": 7}, "not declared"),
        ({"FINAL_ALLOC": "much"}, "no energy in kWh"),
        ({"FINAL_ALLOC": 14.20001}, "no energy in kWh"),
    ],
)
def test_a_series_that_breaks_a_rule_is_refused_at_its_interval(changes: dict[str, Any], words: str) -> None:
    refused = broken(**changes)
    assert refused.interval == "1"
    assert words in refused.sentence


def test_curtailed_energy_cannot_be_final() -> None:
    document = contract_series.document(replace(DONE, curtailed_wh=hours(0, 0)))
    document["intervals"][0]["payloads"] = [
        {"type": kind, "values": [value]} for kind, value in (payloads(document, 0) | {"CURTAILED_QTY": 3}).items()
    ]
    with pytest.raises(SeriesInvalid, match="less what was curtailed"):
        contract_series.check(document)


def test_a_series_without_a_price_or_with_an_interval_twice_is_refused() -> None:
    document = contract_series.document(DONE)
    with pytest.raises(SeriesInvalid, match="has a price"):
        contract_series.check(document | {"payloadDescriptors": []})
    with pytest.raises(SeriesInvalid, match="comes twice"):
        contract_series.check(document | {"intervals": [*document["intervals"], document["intervals"][0]]})
