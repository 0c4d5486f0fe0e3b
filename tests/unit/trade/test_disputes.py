"""What two sides that disagree hold due, and how either comes to the figure that was decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, hours
from trade import disputes
from trade.order import Dispute, Side
from trade.quote import Flow, LineKind, Party, QuoteLine, SettlementResult


def a_result(energy_milli: int, platform_milli: int = 0) -> SettlementResult:
    lines = (
        QuoteLine(LineKind.ENERGY, "ENERGY", energy_milli),
        QuoteLine(LineKind.PLATFORM_FEE, "ADD_ON", platform_milli),
    )
    flows = (
        Flow(LineKind.ENERGY, Party.BUYER, Party.SELLER, energy_milli),
        Flow(LineKind.PLATFORM_FEE, Party.BUYER, Party.BUYER_PLATFORM, platform_milli),
        Flow(LineKind.WHEELING, Party.SELLER, Party.SELLER_UTILITY, 7),
    )
    return SettlementResult(hours(1000), lines, SLOT_START, flows)


def a_dispute(buyer: int | None, seller: int | None) -> Dispute:
    until = SLOT_START + timedelta(days=14)
    return Dispute("d", Side.BUYER, "why", SLOT_START, until, buyer, seller)


def test_what_is_due_to_the_sellers_node_leaves_out_the_buyers_own_platform_and_what_the_seller_pays() -> None:
    assert disputes.due_milli(a_result(600, 30)) == 600
    assert disputes.due_milli(replace(a_result(600, 30), flows=())) == 600


def test_what_the_buyer_is_paid_lowers_what_is_due() -> None:
    paid = Flow(LineKind.DEVIATION, Party.BUYER_UTILITY, Party.BUYER, 80)
    assert disputes.due_milli(replace(a_result(600), flows=(*a_result(600).flows, paid))) == 520


@given(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**9), st.booleans())
def test_a_side_comes_to_any_due_and_keeps_its_own_lines(
    energy_milli: int, platform_milli: int, wanted_milli: int, has_flows: bool
) -> None:
    own = a_result(energy_milli, platform_milli)
    own = own if has_flows else replace(own, flows=())
    held = disputes.at_due(own, wanted_milli, like=hours(1000), now=EVENING_BEFORE, version=2)
    assert disputes.due_milli(held) == wanted_milli
    assert held.total_milli == wanted_milli + platform_milli
    assert held.lines[: len(own.lines)] == own.lines
    assert held.version == 2 and held.settled_at == EVENING_BEFORE


def test_a_side_that_could_work_out_nothing_takes_the_whole_due_as_one_line() -> None:
    held = disputes.at_due(None, 500, like=hours(1000, 2000), now=EVENING_BEFORE, version=1)
    assert [(line.kind, line.amount_milli) for line in held.lines] == [(LineKind.RESOLUTION, 500)]
    assert held.delivered_wh == hours(0, 0)


def test_the_lesser_figure_holds_and_none_that_one_side_did_not_name() -> None:
    assert disputes.lesser_due_milli(a_dispute(600, 500)) == 500
    assert disputes.lesser_due_milli(a_dispute(400, 500)) == 400
    assert disputes.lesser_due_milli(a_dispute(None, 500)) == 0
