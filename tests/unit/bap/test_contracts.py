"""What a buyer decides about a contract: changes, cancelling, settling; and that escrow covers it all the while."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from bap import contracts
from bap.buyer import NotNow, Unfit
from bap.settling import Moment, Tell
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_order, hours
from trade.money import Series
from trade.order import Order, OrderState

WAIT = timedelta(seconds=60)
#: 1 and 2 kWh at 0.21 and wheeling at 0.02.
QUOTED_MILLI = 69_000


def a_contract(**changes: Any) -> Order:
    return an_order(**{"state": OrderState.ACTIVE, "wire_order_id": "order-1", **changes})


def update(order: Order, series: Series, *, reserved_milli: int = QUOTED_MILLI, **times: Any) -> Any:
    return contracts.start_update(
        order,
        series,
        reserved_milli=reserved_milli,
        message_id="m",
        now=EVENING_BEFORE,
        **{"now_trading": EVENING_BEFORE, "wait": WAIT, **times},
    )


def moved(step: Any) -> list[dict[str, int]]:
    return [{leg.account: leg.amount_milli for leg in transfer.legs} for transfer in step.transfers]


def from_escrow(amount_milli: int) -> list[dict[str, int]]:
    return [{"escrow:order-1": -amount_milli, "wallet:anna": amount_milli}]


def paid(amount_milli: int) -> dict[str, int]:
    """Escrow emptied: so much for the seller's node, the rest back."""
    given_back = QUOTED_MILLI - amount_milli
    return {"escrow:order-1": -QUOTED_MILLI, "payable:bpp.example": amount_milli, "wallet:anna": given_back}


def change(order: Order, series: Series, **options: Any) -> Any:
    defaults: dict[str, Any] = {"asked_wh": None, "seller_total_milli": None, "reserved_milli": QUOTED_MILLI}
    return contracts.record_change(order, series, **{**defaults, **options}, message_id="m2", now=EVENING_BEFORE)


def test_only_a_contract_can_be_changed_and_one_change_at_a_time() -> None:
    with pytest.raises(NotNow):
        update(an_order(), hours(1000, 1000))
    with pytest.raises(NotNow, match="not answered"):
        update(a_contract(awaiting_until=EVENING_BEFORE + WAIT), hours(1000, 1000))


@pytest.mark.parametrize("series", [hours(1000), hours(0, 0)])
def test_a_change_over_other_slots_or_to_nothing_is_unfit(series: Series) -> None:
    with pytest.raises(Unfit):
        update(a_contract(), series)


def test_a_slot_that_has_begun_cannot_be_changed() -> None:
    with pytest.raises(Unfit) as refusal:
        update(a_contract(), hours(900, 1000), now_trading=SLOT_START)
    assert refusal.value.field == "energy.energy_wh.0"
    assert update(a_contract(), hours(1000, 1000), now_trading=SLOT_START)


def test_a_larger_contract_reserves_the_difference_first_and_a_smaller_one_nothing() -> None:
    assert moved(update(a_contract(), hours(2000, 2000))) == from_escrow(QUOTED_MILLI - 92_000)
    assert moved(update(a_contract(), hours(1000, 1000))) == []


def test_a_refused_change_gives_back_what_it_reserved() -> None:
    step = contracts.refuse_update(
        a_contract(), code="50002", sentence="No.", reserved_milli=92_000, message_id="m", now=EVENING_BEFORE
    )
    assert moved(step) == from_escrow(92_000 - QUOTED_MILLI)
    assert step.order.awaiting_until is None


@pytest.mark.parametrize("series", [hours(1000, 2001), hours(1000), hours(2000, 0)])
def test_a_seller_cannot_raise_a_contract_unasked(series: Series) -> None:
    step = change(a_contract(), series)
    assert step.order == a_contract()
    assert step.events[0][0] == "order.change_ignored"
    assert step.transfers == ()


def test_an_agreed_change_is_priced_here_and_escrow_follows() -> None:
    asked = hours(2000, 2000)
    step = change(
        a_contract(awaiting_until=EVENING_BEFORE + WAIT),
        asked,
        asked_wh=asked,
        reserved_milli=92_000,
        seller_total_milli=93_000,
    )
    assert step.order.contracted_wh == asked
    assert step.order.quote.total_milli == 92_000
    assert step.events[0][1]["seller_total_milli"] == 93_000
    assert step.order.awaiting_until is None
    assert step.transfers == ()


def test_a_curtailment_lowers_the_contract_and_gives_the_rest_back() -> None:
    step = change(a_contract(), hours(1000, 500))
    assert step.events[0][0] == "order.curtailed"
    assert moved(step) == from_escrow(QUOTED_MILLI - step.order.quote.total_milli)


def test_a_curtailment_that_crosses_our_own_change_leaves_what_the_change_reserved() -> None:
    step = change(a_contract(awaiting_until=EVENING_BEFORE + WAIT), hours(1000, 500), reserved_milli=92_000)
    assert step.transfers == ()
    assert contracts.waits_for_change(step.order)


def test_a_repeated_curtailment_says_nothing_new() -> None:
    assert change(a_contract(), hours(1000, 2000)) is None
    assert change(a_contract(state=OrderState.COMPLETED), hours(1000, 0)) is None


def cancel(order: Order, **changes: Any) -> Any:
    at = Moment(EVENING_BEFORE, changes.pop("now_trading", EVENING_BEFORE), "dispute-1")
    given = {"cancelled_by": "CONSUMER", "fee_milli": 0, "reserved_milli": QUOTED_MILLI, **changes}
    return contracts.record_cancellation(order, **given, at=at)


def test_cancelling_is_refused_once_delivery_began_and_before_there_is_a_contract() -> None:
    for order, at in ((a_contract(), SLOT_START + timedelta(seconds=1)), (an_order(), EVENING_BEFORE)):
        with pytest.raises(NotNow):
            contracts.start_cancel(order, reason_id="1", message_id="m", now=EVENING_BEFORE, now_trading=at, wait=WAIT)


def test_a_fee_within_the_terms_is_paid_and_the_rest_given_back() -> None:
    step = cancel(
        a_contract(state=OrderState.CANCELLING), fee_milli=15_750, now_trading=SLOT_START - timedelta(hours=2)
    )
    assert moved(step.step) == [paid(15_750)]
    rounded = cancel(
        a_contract(state=OrderState.CANCELLING), fee_milli=16_000, now_trading=SLOT_START - timedelta(hours=2)
    )
    assert moved(rounded.step) == [paid(15_750)]  # a node that counts in cents


def test_a_fee_above_the_terms_is_disputed_and_escrow_stays() -> None:
    step = cancel(
        a_contract(state=OrderState.CANCELLING), fee_milli=15_751, now_trading=SLOT_START - timedelta(hours=2)
    )
    assert step.tell is Tell.DISPUTE
    assert step.step.transfers == () and step.step.order.state is OrderState.DISPUTED
    assert [kind for kind, _ in step.step.events] == ["order.cancelled", "order.disputed"]
    opened = step.step.order.dispute
    assert (opened.buyer_total_milli, opened.seller_total_milli) == (15_750, 15_751)


def test_an_answer_that_comes_after_delivery_began_may_ask_the_last_terms_fee() -> None:
    step = cancel(
        a_contract(state=OrderState.CANCELLING), fee_milli=31_500, now_trading=SLOT_START + timedelta(hours=1)
    )
    assert moved(step.step) == [paid(31_500)]


def test_a_seller_that_cancels_gets_no_fee() -> None:
    assert moved(cancel(a_contract(), cancelled_by="PROVIDER").step) == from_escrow(QUOTED_MILLI)
    assert cancel(a_contract(), cancelled_by="PROVIDER", fee_milli=1).step.transfers == ()


def test_a_refused_cancel_leaves_the_contract() -> None:
    cancelling = a_contract(state=OrderState.CANCELLING)
    step = contracts.refuse_cancel(cancelling, code="50001", sentence="No.", now=EVENING_BEFORE)
    assert step is not None and step.order.state is OrderState.ACTIVE
    assert contracts.refuse_cancel(a_contract(), code="50001", sentence="No.", now=EVENING_BEFORE) is None


def rate(order: Order, value: str, now_trading: datetime = EVENING_BEFORE) -> Order:
    return contracts.record_rating(order, category="Order", value=value, now=EVENING_BEFORE, now_trading=now_trading)


def test_a_later_rating_replaces_the_earlier_until_its_time_is_over_and_needs_a_contract() -> None:
    order = rate(rate(a_contract(), "3"), "5")
    assert order.ratings == (("Order", "5"),)
    with pytest.raises(NotNow):
        rate(an_order(), "5")
    end = order.delivery_end + timedelta(seconds=order.policy.rating_s)
    assert rate(order, "1", end).ratings == (("Order", "1"),)
    with pytest.raises(NotNow, match="time for rating"):
        rate(order, "1", end + timedelta(seconds=1))
