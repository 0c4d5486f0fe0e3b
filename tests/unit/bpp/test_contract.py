"""What becomes of a contract: changed, cancelled, curtailed, settled; each refusal with its code and sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bpp import contract, refusals
from bpp.refusals import UnableToCancel, UnableToCurtail, UnableToUpdate
from bpp.seller import Decision
from energy_catalog.offers import OfferState
from tests.support.seller_cases import confirmed, demand, moment
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_offer, hours
from trade.order import OrderState

GATE = SLOT_START - timedelta(hours=1)
SECOND = timedelta(seconds=1)


def updated(sold: Decision, *values: int, **given: Any) -> Decision:
    asked = {"requested_wh": hours(*values) if values else None, "energy_wh": None, "at": moment(), "quote_id": "q"}
    return contract.update(sold.order, sold.offer, **(asked | given))


def cancelled(sold: Decision, *, reason_id: str = "001", **at: Any) -> contract.Cancellation:
    return contract.cancel(sold.order, sold.offer, reason_id=reason_id, at=moment(**at), quote_id="q")


def curtailed(sold: Decision, *values: int, **at: Any) -> Decision:
    return contract.curtail(sold.order, sold.offer, new_wh=hours(*values), at=moment(**at), quote_id="q")


def in_state(sold: Decision, state: OrderState) -> Decision:
    return replace(sold, order=replace(sold.order, state=state))


# --- update ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "code", "says"),
    [
        ((1000,), refusals.UPDATE_INCONSISTENT, "send 2 slots of 3600 s from 2016-08-02T15:00:00Z"),
        ((-1, 0), refusals.UPDATE_INCONSISTENT, "2 slots"),
        ((1001, 2000), refusals.QUANTITY_UNAVAILABLE, "0.001 kWh more"),
        ((0, 0), refusals.QUANTITY_UNAVAILABLE, "order 0.001"),
    ],
)
def test_update_is_refused_when_the_energy_does_not_fit(values: tuple[int, ...], code: str, says: str) -> None:
    with pytest.raises(UnableToUpdate) as refusal:
        updated(confirmed(), *values)
    assert refusal.value.code == code
    assert says in refusal.value.sentence


@pytest.mark.parametrize("state", [OrderState.DELIVERING, OrderState.COMPLETED, OrderState.CANCELLED])
def test_update_is_refused_once_delivery_began_or_the_order_is_over(state: OrderState) -> None:
    with pytest.raises(UnableToUpdate) as refusal:
        updated(in_state(confirmed(), state), 1, 1)
    assert refusal.value.code == refusals.UPDATE_IMPOSSIBLE


def test_update_is_refused_after_gate_closure_of_the_first_slot_ordered() -> None:
    small = confirmed(demand(500, 500))
    assert updated(small, 501, 500, at=moment(trading=GATE))
    with pytest.raises(UnableToUpdate) as refusal:
        updated(small, 501, 500, at=moment(trading=GATE + SECOND))
    assert refusal.value.code == refusals.UPDATE_IMPOSSIBLE
    later = confirmed(demand(0, 2000))
    with pytest.raises(UnableToUpdate):
        updated(later, 500, 0, at=moment(trading=GATE + SECOND))


def test_less_energy_is_refused_once_cancelling_has_its_price() -> None:
    with pytest.raises(UnableToUpdate) as refusal:
        updated(confirmed(), 500, 0, at=moment(trading=GATE))
    assert refusal.value.code == refusals.UPDATE_IMPOSSIBLE
    assert "while cancelling is free" in refusal.value.sentence


def test_update_is_refused_for_more_energy_where_the_price_has_moved() -> None:
    sold = confirmed(demand(500, 500))
    dearer = replace(sold, offer=replace(sold.offer, price_micro_per_kwh=hours(200_000, 999_000, 220_000)))
    with pytest.raises(UnableToUpdate) as refusal:
        updated(dearer, 500, 501)
    assert refusal.value.code == refusals.QUOTE_UNAVAILABLE
    assert updated(dearer, 501, 400).order.contracted_wh == hours(501, 400)


def test_update_is_refused_for_more_energy_of_a_withdrawn_offer_but_less_is_allowed() -> None:
    sold = confirmed(demand(500, 500))
    withdrawn = replace(sold, offer=replace(sold.offer, state=OfferState.WITHDRAWN))
    with pytest.raises(UnableToUpdate):
        updated(withdrawn, 500, 501)
    assert updated(withdrawn, 500, 499).offer.sold_wh == hours(500, 499, 0)


def test_update_without_any_energy_is_refused() -> None:
    with pytest.raises(UnableToUpdate) as refusal:
        updated(confirmed())
    assert refusal.value.code == refusals.UPDATE_INCONSISTENT
    with pytest.raises(UnableToUpdate) as refusal:
        updated(confirmed(), energy_wh=3001)
    assert refusal.value.code == refusals.QUANTITY_UNAVAILABLE


def test_update_moves_the_sold_energy_and_prices_the_order_again() -> None:
    decision = updated(confirmed(demand(500, 500)), 1000, 0)
    assert decision.offer.sold_wh == hours(1000, 0, 0)
    assert decision.order.state is OrderState.ACTIVE
    assert decision.order.quote is not None
    assert [line.amount_milli for line in decision.order.quote.lines] == [20_000, 2_000]
    assert decision.order.quote.quote_id == "q"


def test_an_update_of_the_sum_alone_is_spread_over_the_orders_slots() -> None:
    assert updated(confirmed(demand(500, 500)), energy_wh=1200).order.contracted_wh == hours(1000, 200)


# --- cancel ----------------------------------------------------------------------------------------------------------


def test_cancel_is_refused_for_an_unknown_reason_and_names_the_known_ones() -> None:
    with pytest.raises(UnableToCancel) as refusal:
        cancelled(confirmed(), reason_id="999")
    assert refusal.value.code == refusals.INVALID_CANCELLATION_REASON
    assert "001 (The energy is no longer needed)" in refusal.value.sentence


def test_cancel_is_refused_after_delivery_start() -> None:
    with pytest.raises(UnableToCancel) as refusal:
        cancelled(confirmed(), trading=SLOT_START + SECOND)
    assert refusal.value.code == refusals.CANCELLATION_IMPOSSIBLE
    with pytest.raises(UnableToCancel):
        cancelled(in_state(confirmed(), OrderState.DELIVERING))
    with pytest.raises(UnableToCancel):
        cancelled(in_state(confirmed(), OrderState.COMPLETED))


@pytest.mark.parametrize(
    ("notice", "fee_milli"),
    [
        (timedelta(hours=4), 0),
        (timedelta(hours=4) - SECOND, 15_500),
        (timedelta(hours=1), 15_500),
        (timedelta(hours=1) - SECOND, 31_000),
        (timedelta(0), 31_000),
    ],
)
def test_the_fee_follows_the_notice_on_the_trading_clock(notice: timedelta, fee_milli: int) -> None:
    decision = cancelled(confirmed(), trading=SLOT_START - notice, wall=EVENING_BEFORE + timedelta(days=999))
    assert (decision.fee.amount_milli if decision.fee else 0) == fee_milli
    assert sum(transfer.moved_milli("provider:home-7") for transfer in decision.transfers) == fee_milli
    assert decision.order.quote is not None
    assert decision.order.quote.total_milli == fee_milli


def test_notice_counts_from_the_first_slot_with_energy() -> None:
    later = confirmed(demand(0, 2000))
    assert cancelled(later, trading=SLOT_START - timedelta(hours=3)).fee is None


def test_cancelling_frees_the_energy_for_others() -> None:
    decision = cancelled(confirmed(), reason_id="")
    assert decision.offer.available_wh == an_offer().available_wh
    assert (decision.order.state, decision.order.cancelled_by) == (OrderState.CANCELLED, "CONSUMER")


# --- curtail and give up ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "trading", "code"),
    [
        ((1001, 2000), EVENING_BEFORE, refusals.UPDATE_INCONSISTENT),
        ((1000,), EVENING_BEFORE, refusals.UPDATE_INCONSISTENT),
        ((1000, 2000), EVENING_BEFORE, refusals.UPDATE_INCONSISTENT),
        ((0, 0), EVENING_BEFORE, refusals.UPDATE_INCONSISTENT),
        ((999, 2000), SLOT_START, refusals.UPDATE_IMPOSSIBLE),
    ],
    ids=["more", "other slots", "no change", "nothing left", "a slot that began"],
)
def test_curtailing_is_refused(values: tuple[int, ...], trading: Any, code: str) -> None:
    with pytest.raises(UnableToCurtail) as refusal:
        curtailed(confirmed(), *values, trading=trading)
    assert refusal.value.code == code


def test_only_a_live_contract_is_curtailed_or_given_up() -> None:
    for state in (OrderState.INITIALISED, OrderState.COMPLETED, OrderState.CANCELLED):
        sold = in_state(confirmed(), state)
        with pytest.raises(UnableToCurtail):
            curtailed(sold, 0, 1)
        with pytest.raises(UnableToCancel):
            contract.give_up(sold.order, sold.offer, reason="storm", at=moment(), quote_id="q")


def test_curtailed_energy_is_not_offered_again() -> None:
    sold = in_state(confirmed(), OrderState.DELIVERING)
    decision = curtailed(sold, 1000, 500, trading=SLOT_START)
    assert decision.order.contracted_wh == hours(1000, 500)
    assert decision.offer.sold_wh == hours(1000, 500, 0)
    assert decision.offer.offered_wh == hours(1000, 500, 3000)
    assert decision.offer.available_wh == hours(0, 0, 3000)


def test_a_provider_that_gives_up_costs_the_buyer_nothing() -> None:
    sold = confirmed()
    decision = contract.give_up(sold.order, sold.offer, reason="storm", at=moment(), quote_id="q")
    assert (decision.order.state, decision.order.cancelled_by) == (OrderState.CANCELLED, "PROVIDER")
    assert decision.order.quote is not None
    assert decision.order.quote.total_milli == 0
    assert decision.offer.available_wh == hours(0, 0, 3000)
