"""Objections on the buyer's side: who may open one, how it is decided, what holds when nobody decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bap import disputes
from bap.buyer import NotNow, Step
from bap.disputes import Told
from bap.settling import Moment, Purse
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_order, hours
from trade import settlement
from trade.disputes import Decision, due_milli
from trade.order import Dispute, Order, OrderState, Side
from trade.policy import BUILT_IN

OVER = SLOT_START + timedelta(days=1)
#: 1 and 2 kWh at 0.21 and wheeling at 0.02.
QUOTED_MILLI = 69_000
PURSE = Purse(QUOTED_MILLI, 0)


def at(trading: Any = OVER) -> Moment:
    return Moment(EVENING_BEFORE, trading, "dispute-1")


def an_ended(**changes: Any) -> Order:
    """A contract under street@1 that was settled in full."""
    full = hours(1000, 2000)
    order = an_order(state=OrderState.COMPLETED, policy=BUILT_IN["street@1"], buyer_alloc_wh=full, seller_alloc_wh=full)
    result = settlement.settle(order, seller_alloc_wh=full, buyer_alloc_wh=full, now=OVER)
    return replace(order, **{"settlement": result, **changes})


def in_dispute(buyer: int | None, seller: int | None, by: Side = Side.BUYER, **changes: Any) -> Order:
    """Never paid: our meter says 1 and 1 kWh, 46,000, the seller another figure."""
    objection = Dispute("d-1", by, "They differ.", OVER, OVER + timedelta(days=14), buyer, seller)
    given = {
        "state": OrderState.DISPUTED,
        "settlement": None,
        "dispute": objection,
        "buyer_alloc_wh": hours(1000, 1000),
    }
    return an_ended(**{**given, **changes})


def moved(step: Step) -> list[dict[str, int]]:
    return [{leg.account: leg.amount_milli for leg in transfer.legs} for transfer in step.transfers]


def settled_at(step: Step) -> int:
    assert step.order.settlement is not None
    return due_milli(step.order.settlement)


def resolve(order: Order, outcome: Decision, purse: Purse = PURSE) -> Step:
    return disputes.resolve(order, outcome, "because", purse=purse, at=at())


def test_a_person_objects_to_what_is_settled_in_time_and_once() -> None:
    step = disputes.object_to(an_ended(), "Nothing came.", paid_milli=QUOTED_MILLI, at=at())
    opened = step.order.dispute
    assert step.order.state is OrderState.DISPUTED and opened is not None
    assert (opened.buyer_total_milli, opened.seller_total_milli) == (QUOTED_MILLI, QUOTED_MILLI)
    for order, sentence in (
        (step.order, "in dispute already"),
        (an_ended(state=OrderState.ACTIVE), "only a settled or cancelled order"),
    ):
        with pytest.raises(NotNow, match=sentence):
            disputes.object_to(order, "Again.", paid_milli=0, at=at())
    with pytest.raises(NotNow, match="time for objections ended"):
        disputes.object_to(an_ended(), "Late.", paid_milli=0, at=at(OVER + timedelta(days=31)))


def test_accepting_the_sellers_figure_pays_it_with_a_line_that_says_so() -> None:
    step = resolve(in_dispute(46_000, 60_000), Decision.ACCEPT_THEIRS)
    assert step.order.state is OrderState.COMPLETED and settled_at(step) == 60_000
    assert step.order.settlement is not None
    assert [(line.kind, line.amount_milli) for line in step.order.settlement.lines][-1] == ("RESOLUTION", 14_000)
    assert moved(step) == [{"escrow:order-1": -QUOTED_MILLI, "payable:bpp.example": 60_000, "wallet:anna": 9_000}]


def test_accepting_more_than_is_reserved_takes_the_rest_from_the_wallet_first() -> None:
    step = resolve(in_dispute(46_000, 80_000), Decision.ACCEPT_THEIRS)
    assert moved(step) == [
        {"wallet:anna": -11_000, "escrow:order-1": 11_000},
        {"escrow:order-1": -80_000, "payable:bpp.example": 80_000},
    ]


def test_there_must_be_a_figure_to_accept_a_dispute_to_decide_and_an_own_one_to_withdraw() -> None:
    with pytest.raises(NotNow, match="named no figure"):
        resolve(in_dispute(46_000, None), Decision.ACCEPT_THEIRS)
    with pytest.raises(NotNow, match="no open dispute"):
        resolve(an_ended(), Decision.ACCEPT_THEIRS)
    with pytest.raises(NotNow, match="only the seller can withdraw"):
        resolve(in_dispute(46_000, 60_000, by=Side.SELLER), Decision.WITHDRAW)


def test_withdrawing_an_own_objection_leaves_the_sellers_figure_or_ours_when_it_named_none() -> None:
    assert settled_at(resolve(in_dispute(46_000, 60_000), Decision.WITHDRAW)) == 60_000
    assert settled_at(resolve(in_dispute(46_000, None), Decision.WITHDRAW)) == 46_000


@pytest.mark.parametrize(
    ("buyer", "seller", "held"), [(46_000, 60_000, 46_000), (60_000, 46_000, 46_000), (None, 5, 0)]
)
def test_at_the_deadline_the_lesser_figure_holds(buyer: int | None, seller: int | None, held: int) -> None:
    step = disputes.lapse(in_dispute(buyer, seller), purse=PURSE, at=at())
    assert settled_at(step) == held
    assert step.order.dispute is not None and step.order.dispute.resolution == "LESSER"


def test_a_lapse_never_costs_more_than_was_reserved() -> None:
    assert settled_at(disputes.lapse(in_dispute(80_000, 80_000), purse=PURSE, at=at())) == QUOTED_MILLI


def test_a_settled_order_whose_figure_stands_moves_nothing_when_its_dispute_ends() -> None:
    objected = disputes.object_to(an_ended(), "Hm.", paid_milli=QUOTED_MILLI, at=at()).order
    step = resolve(objected, Decision.WITHDRAW, Purse(0, 0))
    assert (moved(step), step.order.settlement) == ([], objected.settlement)


def test_a_decided_correction_moves_the_difference_to_what_was_paid() -> None:
    paid = an_ended()
    objected = in_dispute(46_000, 60_000, settlement=paid.settlement)
    step = resolve(objected, Decision.ACCEPT_THEIRS, Purse(0, 0))
    assert moved(step) == [{"payable:bpp.example": -9_000, "wallet:anna": 9_000}]
    assert step.order.superseded == (paid.settlement,)


def test_the_seller_objects_until_when_it_says_but_no_longer_than_the_policy_allows() -> None:
    told = Told("d-7", "Read twice.", 60_000, OVER + timedelta(days=3))
    step = disputes.hear(an_ended(), told, paid_milli=QUOTED_MILLI, at=at())
    assert step is not None and step.order.dispute is not None
    opened = step.order.dispute
    assert (opened.dispute_id, opened.opened_by, opened.until) == ("d-7", Side.SELLER, OVER + timedelta(days=3))
    assert (opened.buyer_total_milli, opened.seller_total_milli) == (QUOTED_MILLI, 60_000)
    long = disputes.hear(an_ended(), replace(told, until=OVER + timedelta(days=99)), paid_milli=0, at=at())
    assert long is not None and long.order.dispute is not None
    assert long.order.dispute.until == OVER + timedelta(days=14)
    assert disputes.hear(step.order, told, paid_milli=0, at=at()) is None
    over = replace(step.order, state=OrderState.COMPLETED)
    assert disputes.hear(over, told, paid_milli=0, at=at()) is None
    assert disputes.hear(an_ended(), told, paid_milli=0, at=at(OVER + timedelta(days=31))) is None


def test_the_seller_gives_in_and_may_not_decide_for_more_than_we_hold_due() -> None:
    end = Told("d-1", "", 46_000, outcome="ACCEPT_THEIRS")
    step = disputes.hear_resolution(in_dispute(46_000, 60_000), end, purse=PURSE, at=at())
    assert step is not None and settled_at(step) == 46_000
    greedy = disputes.hear_resolution(
        in_dispute(46_000, 60_000), replace(end, total_milli=46_001), purse=PURSE, at=at()
    )
    assert greedy is not None and greedy.order.state is OrderState.DISPUTED
    assert greedy.events[0][0] == "order.resolution_ignored"
    assert disputes.hear_resolution(an_ended(), end, purse=PURSE, at=at()) is None


@pytest.mark.parametrize(("sellers_milli", "holds_milli"), [(60_000, 46_000), (40_000, 40_000)])
def test_when_both_give_in_at_once_the_lesser_of_their_figures_holds(sellers_milli: int, holds_milli: int) -> None:
    gave_in = resolve(in_dispute(46_000, sellers_milli), Decision.ACCEPT_THEIRS).order
    crossed = Told("d-1", "", 46_000, outcome="ACCEPT_THEIRS")
    purse = Purse(0, 0)
    step = disputes.hear_resolution(gave_in, crossed, purse=purse, at=at())
    order = step.order if step else gave_in
    assert order.settlement is not None and due_milli(order.settlement) == holds_milli
    assert disputes.hear_resolution(gave_in, replace(crossed, total_milli=1), purse=purse, at=at()) is None
    assert disputes.hear_resolution(order, crossed, purse=purse, at=at()) is None
    if step is not None:
        assert moved(step) == [{"payable:bpp.example": -14_000, "wallet:anna": 14_000}]


def test_a_cancelled_orders_dispute_ends_as_its_fee() -> None:
    cancelled = in_dispute(15_750, 40_000, cancelled_by="CONSUMER")
    step = disputes.lapse(cancelled, purse=PURSE, at=at())
    assert (step.order.state, step.order.settlement) == (OrderState.CANCELLED, None)
    assert moved(step) == [{"escrow:order-1": -QUOTED_MILLI, "payable:bpp.example": 15_750, "wallet:anna": 53_250}]
    assert moved(disputes.lapse(cancelled, purse=Purse(0, 0), at=at())) == []
