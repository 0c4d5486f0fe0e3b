"""Objections on the seller's node: who may open one, what a decision books, what holds when nobody decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpp import contract, disputes, refusals
from bpp.refusals import UnableToDispute, UnableToUpdate
from bpp.settling import Outcome
from tests.support.seller_cases import confirmed, moment
from tests.support.trade_cases import SLOT_START, hours
from trade import disputes as figures
from trade import ledger, settlement
from trade.disputes import Decision
from trade.order import Order, OrderState, Side

#: 1 kWh was sold at 0.20 and 0.02 of wheeling; 700 Wh came.
SETTLED_AT = SLOT_START + timedelta(hours=1)
DUE_MILLI = 15_400
CLOSED = SLOT_START + timedelta(hours=2, days=30)


def a_settled() -> Order:
    order = confirmed().order
    result = settlement.settle(order, seller_alloc_wh=hours(700, 0), now=SETTLED_AT)
    return replace(order, state=OrderState.COMPLETED, settlement=result, seller_alloc_wh=hours(700, 0))


def a_cancelled() -> Order:
    """Cancelled half an hour before delivery, at half the energy's price."""
    sold = confirmed()
    late = moment(trading=SLOT_START - timedelta(minutes=30))
    return contract.cancel(sold.order, sold.offer, reason_id="001", at=late, quote_id="q").order


def hear(order: Order, total_milli: int | None, *, trading: datetime = SETTLED_AT, **said: Any) -> Order:
    told = {"dispute_id": "d-1", "reason": "My meter says less.", "until": None, **said}
    return disputes.hear(order, total_milli=total_milli, at=moment(trading=trading), **told)


def end(order: Order, total_milli: int | None, **said: Any) -> Outcome | None:
    told = {"dispute_id": "d-1", "outcome": "ACCEPT_THEIRS", **said}
    return disputes.hear_resolution(order, total_milli=total_milli, at=moment(trading=SETTLED_AT), **told)


def moved(outcome: Outcome) -> dict[str, int]:
    return {leg.account: leg.amount_milli for transfer in outcome.transfers for leg in transfer.legs}


# --- Opening ---------------------------------------------------------------------------------------------------------


def test_the_buyers_objection_is_marked_with_both_figures_and_its_own_reason() -> None:
    order = hear(a_settled(), 11_000)
    assert order.state is OrderState.DISPUTED
    assert order.dispute is not None
    assert (order.dispute.opened_by, order.dispute.reason) == (Side.BUYER, "My meter says less.")
    assert (order.dispute.buyer_total_milli, order.dispute.seller_total_milli) == (11_000, DUE_MILLI)
    assert order.dispute.until == SETTLED_AT + timedelta(days=14)
    assert order.settlement == a_settled().settlement


def test_it_lapses_when_the_buyers_node_says_but_never_later_than_the_policy_allows() -> None:
    sooner, later = (SETTLED_AT + timedelta(days=days) for days in (1, 99))
    assert hear(a_settled(), 1, until=sooner).dispute_until == sooner
    assert hear(a_settled(), 1, until=later).dispute_until == SETTLED_AT + timedelta(days=14)


def test_said_again_it_changes_nothing_and_a_new_figure_is_kept() -> None:
    order = hear(a_settled(), 11_000)
    assert hear(order, 11_000) == order
    again = hear(order, 12_000)
    assert again.dispute is not None
    assert (again.dispute.buyer_total_milli, again.dispute.reason) == (12_000, "My meter says less.")


def test_an_objection_that_is_over_is_not_opened_again_by_its_echo() -> None:
    over = disputes.resolve(hear(a_settled(), 11_000), Decision.ACCEPT_THEIRS, at=moment(trading=SETTLED_AT)).order
    assert hear(over, 11_000) == over
    assert hear(over, 9_000, dispute_id="d-2").state is OrderState.DISPUTED


@pytest.mark.parametrize(
    ("order", "trading", "says"),
    [
        (confirmed().order, SETTLED_AT, "only a settled or cancelled order"),
        (a_settled(), CLOSED + timedelta(seconds=1), "time for objections ended at 2016-09-01T17:00:00Z"),
    ],
)
def test_what_is_not_settled_or_long_settled_cannot_be_disputed(order: Order, trading: datetime, says: str) -> None:
    with pytest.raises(UnableToUpdate, match=says) as refusal:
        hear(order, 1, trading=trading)
    assert refusal.value.code == refusals.NOT_APPLICABLE
    with pytest.raises(UnableToDispute, match=says):
        disputes.object_to(order, "no", dispute_id="d-1", at=moment(trading=trading))


def test_a_person_objects_without_naming_another_figure_and_the_buyer_is_told() -> None:
    outcome = disputes.object_to(a_settled(), "Odd.", dispute_id="d-1", at=moment(trading=CLOSED))
    assert outcome.tell == "on_update"
    dispute = outcome.order.dispute
    assert dispute is not None
    assert (dispute.opened_by, dispute.buyer_total_milli, dispute.seller_total_milli) == (
        Side.SELLER, DUE_MILLI, DUE_MILLI,
    )  # fmt: skip
    with pytest.raises(UnableToDispute, match="in dispute already"):
        disputes.object_to(outcome.order, "Odd.", dispute_id="d-2", at=moment(trading=SETTLED_AT))


# --- Deciding --------------------------------------------------------------------------------------------------------


def test_giving_in_books_the_difference_as_the_next_version() -> None:
    outcome = disputes.resolve(hear(a_settled(), 11_000), Decision.ACCEPT_THEIRS, at=moment(trading=SETTLED_AT))
    order = outcome.order
    assert (order.state, outcome.tell) == (OrderState.COMPLETED, "on_update")
    assert order.settlement is not None
    assert (order.settlement.version, figures.due_milli(order.settlement)) == (2, 11_000)
    assert order.superseded == (a_settled().settlement,)
    assert moved(outcome) == {"receivable:bap.example": 4_400, "provider:home-7": -4_400}
    assert order.dispute is not None
    assert (order.dispute.resolution, order.dispute.resolved_at) == ("ACCEPT_THEIRS", SETTLED_AT)


def test_the_buyers_giving_in_leaves_the_books_as_they_are() -> None:
    outcome = end(hear(a_settled(), 11_000), DUE_MILLI)
    assert outcome is not None
    assert (outcome.order.state, outcome.transfers, outcome.tell) == (OrderState.COMPLETED, (), "")
    assert outcome.order.settlement == a_settled().settlement


def test_a_buyer_cannot_end_a_dispute_below_our_figure_nor_one_that_is_not_open() -> None:
    with pytest.raises(UnableToUpdate, match=r"at our figure, 0.154 USD, or above; you name 0.11\.") as refusal:
        end(hear(a_settled(), 11_000), 11_000)
    assert refusal.value.code == refusals.UPDATE_INCONSISTENT
    with pytest.raises(UnableToUpdate, match="is not in dispute"):
        end(a_settled(), DUE_MILLI)


def test_a_resolution_said_again_is_no_news() -> None:
    outcome = end(hear(a_settled(), 11_000), DUE_MILLI)
    assert outcome is not None
    assert end(outcome.order, DUE_MILLI) is None


@pytest.mark.parametrize(("buyers_milli", "holds_milli"), [(11_000, 11_000), (20_000, DUE_MILLI)])
def test_when_both_give_in_at_once_the_lesser_of_their_figures_holds(buyers_milli: int, holds_milli: int) -> None:
    gave_in = disputes.resolve(hear(a_settled(), buyers_milli), Decision.ACCEPT_THEIRS, at=moment(trading=SETTLED_AT))
    crossed = end(gave_in.order, DUE_MILLI)
    order = crossed.order if crossed else gave_in.order
    assert disputes.own_due_milli(order) == holds_milli
    assert end(gave_in.order, 0) is None
    assert end(order, DUE_MILLI) is None


def test_only_an_own_objection_is_withdrawn_and_only_a_named_figure_accepted() -> None:
    at = moment(trading=SETTLED_AT)
    with pytest.raises(UnableToDispute, match="only it can withdraw"):
        disputes.resolve(hear(a_settled(), 11_000), Decision.WITHDRAW, at=at)
    with pytest.raises(UnableToDispute, match="has named no figure"):
        disputes.resolve(hear(a_settled(), None), Decision.ACCEPT_THEIRS, at=at)
    with pytest.raises(UnableToDispute, match="no dispute is open"):
        disputes.resolve(a_settled(), Decision.ACCEPT_THEIRS, at=at)
    own = disputes.object_to(a_settled(), "Odd.", dispute_id="d-1", at=at).order
    withdrawn = disputes.resolve(own, Decision.WITHDRAW, at=at)
    assert (withdrawn.order.state, withdrawn.transfers) == (OrderState.COMPLETED, ())


def test_a_disputed_cancellation_stays_cancelled_and_its_fee_becomes_what_was_decided() -> None:
    cancelled = a_cancelled()
    fee_milli = disputes.own_due_milli(cancelled)
    assert fee_milli == 31_000
    outcome = disputes.resolve(hear(cancelled, 10_000), Decision.ACCEPT_THEIRS, at=moment(trading=SETTLED_AT))
    assert outcome.order.state is OrderState.CANCELLED
    assert disputes.own_due_milli(outcome.order) == 10_000
    assert moved(outcome) == {"receivable:bap.example": 21_000, "provider:home-7": -21_000}


# --- Lapsing ---------------------------------------------------------------------------------------------------------


@given(st.none() | st.integers(0, 10**9))
def test_the_lesser_figure_holds_and_the_ledger_has_just_that(buyers_milli: int | None) -> None:
    settled = a_settled()
    assert settled.settlement is not None
    outcome = disputes.lapse(hear(settled, buyers_milli), at=moment(trading=SETTLED_AT))
    holds = min(DUE_MILLI, buyers_milli) if buyers_milli is not None else 0
    assert disputes.own_due_milli(outcome.order) == holds
    booked = [*ledger.seller_settle(settled, settled.settlement, at=SETTLED_AT), *outcome.transfers]
    assert ledger.balances(booked).get(("receivable:bap.example", "USD"), 0) == -holds
    assert outcome.order.dispute is not None
    assert outcome.order.dispute.resolution == "LESSER"
