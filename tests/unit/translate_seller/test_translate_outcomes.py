"""What nodes tell each other of how a contract ends, from one translator to the other and back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import bap.translate as buyer
import bpp.translate as seller
from bpp.translate import AllocationNotice, DisputeNotice, ResolutionNotice, UpdateRequest, WireRefusal
from energy_catalog.offers import Provider
from schemas import outcome_tags, tags
from tests.support.trade_cases import an_order, hours
from tests.support.wire_cases import allocated_orders, disputed_orders, orders, providers, settled_orders
from trade import disputes
from trade.order import Order, OrderState
from trade.policy import Policy, SettlementRule

patient = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def groups(message: dict[str, Any]) -> list[dict[str, Any]]:
    return list(message["order"].get("tags", ()))


# --- The buyer's side ------------------------------------------------------------------------------------------------


@patient
@given(order=allocated_orders())
def test_an_allocation_survives_the_wire(order: Order) -> None:
    message = buyer.allocation_to_wire(order, order.contracted_wh, 2)
    assert seller.update_from_wire(message) == AllocationNotice(buyer_id(order), order.contracted_wh, 2)


@patient
@given(order=disputed_orders())
def test_an_objection_and_its_end_survive_the_wire(order: Order) -> None:
    assert order.dispute is not None
    notice = seller.update_from_wire(buyer.dispute_to_wire(order, order.contracted_wh, 1))
    assert isinstance(notice, DisputeNotice)
    assert (notice.order_id, notice.dispute_id, notice.until) == (
        buyer_id(order), order.dispute.dispute_id, order.dispute.until,
    )  # fmt: skip
    assert seller.total_from_wire(notice, order.currency) == order.dispute.buyer_total_milli
    over = replace(order, dispute=replace(order.dispute, resolution="AGREED"))
    end = seller.update_from_wire(buyer.resolution_to_wire(over, 1_234_567, "Looked at again."))
    assert isinstance(end, ResolutionNotice)
    assert (end.dispute_id, end.outcome, end.note) == (order.dispute.dispute_id, "AGREED", "Looked at again.")
    assert seller.total_from_wire(end, order.currency) == 1_234_567


@patient
@given(order=orders())
def test_a_change_of_energy_is_still_read_as_one(order: Order) -> None:
    notice = seller.update_from_wire(buyer.update_to_wire(order, order.contracted_wh))
    assert notice == UpdateRequest(buyer_id(order), order.contracted_wh.total, order.contracted_wh)


@pytest.mark.parametrize(
    ("target", "code", "path"),
    [
        ("order.tags.BUYER_ALLOC", "30000", "message.order.tags.BUYER_ALLOC"),
        ("message.order.tags.DISPUTE", "30000", "message.order.tags.DISPUTE"),
        ("tags.RESOLUTION", "30000", "message.order.tags.RESOLUTION"),
        ("order.tags.SELLER_ALLOC", "30012", "message.update_target"),
        ("order.tags.BUYER_ALLOC,order.tags.DISPUTE", "30012", "message.update_target"),
        ("order.tags", "30012", "message.update_target"),
    ],
)
def test_a_group_that_is_missing_or_not_the_buyers_to_tell_is_refused(target: str, code: str, path: str) -> None:
    message = buyer.update_to_wire(an_order(wire_order_id="wire-1"), hours(1000, 2000))
    with pytest.raises(WireRefusal) as refusal:
        seller.update_from_wire({**message, "update_target": target})
    assert (refusal.value.code, refusal.value.path) == (code, path)


@pytest.mark.parametrize("total", ["a lot", "1.000001", "1e3"])
def test_a_figure_that_is_no_amount_is_refused_by_name(total: str) -> None:
    notice = DisputeNotice("wire-1", "d-1", "less", total, None)
    with pytest.raises(WireRefusal) as refusal:
        seller.total_from_wire(notice, "USD")
    assert refusal.value.path == "message.order.tags.DISPUTE.total"
    assert seller.total_from_wire(DisputeNotice("wire-1", "d-1", "less", "", None), "USD") is None


@patient
@given(order=orders())
def test_a_selection_names_the_buyers_meter_and_the_policy(order: Order) -> None:
    asked = seller.selection_from_wire(buyer.init_to_wire(order))
    assert asked.buyer_meter_id == order.buyer_meter_id
    assert asked.policy in ("", order.policy.id)


# --- The seller's side -----------------------------------------------------------------------------------------------


@patient
@given(order=settled_orders(), provider=providers)
def test_a_two_sided_settlement_is_told_with_both_allocations(order: Order, provider: Provider) -> None:
    message = seller.order_to_wire(order, provider)
    found = {
        code: tags.allocation_from_wire(groups(message), code, path="")
        for code in (tags.BUYER_ALLOC, tags.SELLER_ALLOC, tags.FINAL_ALLOC)
    }
    assert order.settlement is not None
    if not order.policy.is_two_sided:
        assert set(found.values()) == {None}
        return
    assert order.buyer_alloc_wh is not None
    assert order.seller_alloc_wh is not None
    expected = (order.buyer_alloc_wh, order.seller_alloc_wh, order.settlement.delivered_wh)
    assert [entry and (entry.values, entry.round) for entry in found.values()] == [
        (series.values, order.policy.rounds) for series in expected
    ]
    settled = outcome_tags.settlement_from_wire(groups(message), path="")
    assert settled is not None
    assert (settled.version, settled.rule) == (order.settlement.version, order.policy.settlement.value)


@patient
@given(order=disputed_orders(), provider=providers)
def test_a_dispute_is_told_with_what_is_due_by_our_books(order: Order, provider: Provider) -> None:
    message = seller.order_to_wire(order, provider)
    said = outcome_tags.dispute_from_wire(groups(message), path="")
    assert said is not None
    assert order.dispute is not None
    assert order.settlement is not None
    assert said.opened_by == order.dispute.opened_by.value
    notice = DisputeNotice("", "", "", said.total, None)
    assert seller.total_from_wire(notice, order.currency) == disputes.due_milli(order.settlement)
    end = outcome_tags.resolution_from_wire(groups(message), path="")
    assert (end is None) == (order.state is OrderState.DISPUTED) == (said.state == "OPEN")


def test_a_quote_has_a_line_for_every_charge_under_the_titles_that_layer_2_knows() -> None:
    policy = Policy(
        "dear",
        1,
        settlement=SettlementRule.MIN_OF_TWO,
        tax_ppm=50_000,
        platform_buyer_micro_per_kwh=10_000,
        utility_fee_buyer_micro_per_kwh=5_000,
    )
    order = an_order(policy=policy, buyer_meter_id="meter-of-anna")
    quote = seller.order_to_wire(order, Provider("home-7", "Home 7", "", "", "", "meter-7"))["order"]["quote"]
    assert [(line["title"], line["item"]["descriptor"]["code"]) for line in quote["breakup"]] == [
        ("ENERGY", "ENERGY"),
        ("DISCOM_FEES", "WHEELING"),
        ("TAX", "TAX"),
        ("ADD_ON", "PLATFORM_FEE"),
        ("DISCOM_FEES", "UTILITY_FEE"),
    ]
    assert sum(Decimal(line["price"]["value"]) for line in quote["breakup"]) == Decimal(quote["price"]["value"])


@patient
@given(order=orders(), provider=providers)
def test_a_contract_says_again_under_which_policy_it_is(order: Order, provider: Provider) -> None:
    item = seller.order_to_wire(order, provider)["order"]["items"][0]
    terms = tags.offer_terms_from_wire(item["tags"], path="")
    assert terms.policy == ("" if order.policy.id == "plain@1" else order.policy.id)
    assert bool(terms.policy_digest) == bool(terms.policy)
    assert (terms.wheeling_seller_micro_per_kwh or 0) == order.wheeling_seller_micro_per_kwh
    for code, series in ((tags.AVAILABLE_SERIES, order.available_wh), (tags.CURTAILED_SERIES, order.curtailed_wh)):
        told = tags.series_from_wire(item["tags"], code, path="")
        assert (told and told.values) == (series and series.values)


def buyer_id(order: Order) -> str:
    """The id that a buyer's letter gives an order."""
    return order.wire_order_id or order.order_id
