"""The seller's word against our own calculation: when it is paid, when it waits, when it is disputed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bap import settling, shares
from bap.settling import Moment, Purse, Tell, Verdict, Word
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_order, hours, requote
from trade import deadlines, ledger, settlement
from trade.money import Series
from trade.order import Order, OrderState
from trade.policy import BUILT_IN
from trade.quote import LineKind, QuoteLine

STREET, ITERATED = BUILT_IN["street@1"], BUILT_IN["iterated@1"]
#: 1 and 2 kWh at 0.21 and wheeling at 0.02.
QUOTED_MILLI = 69_000
OVER = SLOT_START + timedelta(days=1)
PURSE = Purse(QUOTED_MILLI, 0)


def at(trading: Any = OVER) -> Moment:
    return Moment(EVENING_BEFORE, trading, "dispute-1")


def a_contract(**changes: Any) -> Order:
    return an_order(**{"state": OrderState.ACTIVE, "wire_order_id": "order-1", **changes})


def two_sided(**changes: Any) -> Order:
    return a_contract(**{"policy": STREET, "buyer_meter_id": "m", "buyer_alloc_wh": hours(1000, 1500), **changes})


def hear(order: Order, word: Word, *, purse: Purse = PURSE, trading: Any = OVER) -> Verdict:
    return settling.record_word(order, word, purse=purse, at=at(trading))


def final(order: Order, sellers: Series, **changes: Any) -> Word:
    """What a seller that reckons as we do says once it has settled."""
    ours = order.buyer_alloc_wh or order.final_wh or Series.flat(order.contracted_wh, 0)
    result = settlement.settle(
        order,
        seller_alloc_wh=sellers,
        buyer_alloc_wh=ours if order.policy.is_two_sided else None,
        now=OVER,
    )
    said = {"seller_wh": sellers, "heard_wh": ours, "final_wh": result.delivered_wh, "lines": result.lines}
    return Word(**{**said, "round_": order.policy.rounds, "is_final": True, **changes})


def moved(verdict: Verdict) -> list[dict[str, int]]:
    assert verdict.step is not None
    return [{leg.account: leg.amount_milli for leg in transfer.legs} for transfer in verdict.step.transfers]


def paid(amount_milli: int) -> dict[str, int]:
    """Escrow emptied: so much for the seller's node, the rest back."""
    given_back = QUOTED_MILLI - amount_milli
    return {"escrow:order-1": -QUOTED_MILLI, "payable:bpp.example": amount_milli, "wallet:anna": given_back}


def after(verdict: Verdict) -> Order:
    assert verdict.step is not None
    return verdict.step.order


def kinds(verdict: Verdict) -> list[str]:
    return [kind for kind, _ in verdict.step.events] if verdict.step else []


# --- One-sided --------------------------------------------------------------------------------------------------------


def test_an_agreed_settlement_pays_the_seller_and_returns_the_rest() -> None:
    verdict = hear(a_contract(), final(a_contract(), hours(1000, 1000)))
    assert after(verdict).state is OrderState.COMPLETED
    assert moved(verdict) == [paid(46_000)]
    assert hear(after(verdict), final(a_contract(), hours(1000, 1000))).step is None


def test_a_settlement_that_differs_by_a_thousandth_of_a_cent_is_disputed_and_moves_nothing() -> None:
    order = a_contract()
    energy, wheeling = requote(order, hours(1000, 1000), quote_id="q").lines
    wrong = (replace(energy, amount_milli=energy.amount_milli + 1), wheeling)
    verdict = hear(order, final(order, hours(1000, 1000), lines=wrong))
    assert (after(verdict).state, verdict.tell) == (OrderState.DISPUTED, Tell.DISPUTE)
    assert moved(verdict) == []
    opened = after(verdict).dispute
    assert opened is not None
    assert (opened.buyer_total_milli, opened.seller_total_milli) == (46_000, 46_001)
    assert opened.until == OVER + timedelta(seconds=order.policy.dispute_s)


@pytest.mark.parametrize("metered", [None, hours(1000)])
def test_a_completion_without_readings_for_the_contract_is_disputed(metered: Series | None) -> None:
    verdict = hear(a_contract(), Word(seller_wh=metered, is_final=True))
    assert after(verdict).state is OrderState.DISPUTED


def test_a_settlement_above_what_is_reserved_is_disputed() -> None:
    order = a_contract()
    verdict = hear(order, final(order, hours(1000, 2000)), purse=Purse(QUOTED_MILLI - 1))
    assert kinds(verdict) == ["order.disputed"] and moved(verdict) == []


def test_a_seller_that_counts_in_cents_is_paid_the_exact_figure() -> None:
    # 2.033 kWh: 0.42693 and 0.04066, in cents 0.43 and 0.04.
    lines = [QuoteLine(LineKind.ENERGY, "ENERGY", 43_000), QuoteLine(LineKind.WHEELING, "DISCOM_FEES", 4_000)]
    verdict = hear(a_contract(), final(a_contract(), hours(1000, 1033), lines=lines))
    assert moved(verdict) == [paid(42_693 + 4_066)]


def test_energy_beyond_the_contract_is_not_paid() -> None:
    verdict = hear(a_contract(), Word(seller_wh=hours(5000, 5000), is_final=True))
    settled = after(verdict).settlement
    assert settled is not None and settled.total_milli == QUOTED_MILLI


def test_a_corrected_reading_moves_the_difference_and_keeps_the_earlier_settlement() -> None:
    first = after(hear(a_contract(), final(a_contract(), hours(1000, 2000))))
    verdict = hear(first, final(first, hours(1000, 1000)), purse=Purse(0, 500))
    assert kinds(verdict) == ["order.resettled"]
    assert moved(verdict) == [{"payable:bpp.example": -23_000, "wallet:anna": 23_000}]
    corrected = after(verdict)
    assert corrected.settlement is not None and corrected.settlement.version == 2
    assert [entry.version for entry in corrected.superseded] == [1]
    back = hear(corrected, final(corrected, hours(1000, 2000)), purse=Purse(0, 3_000))
    assert moved(back) == [{"payable:bpp.example": 23_000, "wallet:anna": -3_000, "debt:anna": -20_000}]


# --- Two-sided --------------------------------------------------------------------------------------------------------


def test_the_lesser_of_both_meters_is_paid() -> None:
    order = two_sided()
    verdict = hear(order, final(order, hours(900, 2000)))
    assert after(verdict).state is OrderState.COMPLETED
    assert after(verdict).settlement.delivered_wh == hours(900, 1500)  # type: ignore[union-attr]
    assert moved(verdict) == [paid(2400 * 23)]


def test_a_seller_that_only_tells_its_share_is_noted_and_nothing_moves() -> None:
    verdict = hear(two_sided(), Word(seller_wh=hours(900, 2000)))
    assert after(verdict).seller_alloc_wh == hours(900, 2000)
    assert (after(verdict).state, moved(verdict)) == (OrderState.ACTIVE, [])
    assert hear(after(verdict), Word(seller_wh=hours(900, 2000))).step is None


def test_a_seller_that_heard_another_allocation_is_told_ours_again_and_disputed_only_in_its_answer() -> None:
    order = two_sided()
    word = final(order, hours(900, 2000), heard_wh=hours(0, 0), final_wh=hours(0, 0))
    verdict = hear(order, word)
    assert (verdict.tell, after(verdict).state) == (Tell.ALLOCATION, OrderState.ACTIVE)
    answer = hear(order, replace(word, is_answer=True))
    assert (answer.tell, after(answer).state) == (Tell.DISPUTE, OrderState.DISPUTED)


def test_a_seller_that_settles_before_we_could_speak_waits_for_us_until_the_deadline() -> None:
    order = two_sided(buyer_alloc_wh=None)
    word = final(order, hours(900, 2000))
    assert after(hear(order, word)).state is OrderState.ACTIVE
    verdict = hear(order, word, trading=deadlines.settle_by(order))
    assert after(verdict).state is OrderState.COMPLETED
    assert moved(verdict) == [{"escrow:order-1": -QUOTED_MILLI, "wallet:anna": QUOTED_MILLI}]


def test_what_comes_before_delivery_is_over_or_for_other_slots_is_no_word() -> None:
    order = two_sided()
    word = final(order, hours(900, 2000))
    assert hear(order, word, trading=SLOT_START) == Verdict()
    assert hear(order, replace(word, seller_wh=hours(900))) == Verdict()
    assert hear(two_sided(state=OrderState.CANCELLED), word) == Verdict()


def test_silence_is_zero_at_the_deadline_and_what_both_said_counts() -> None:
    step = settling.settle_unanswered(two_sided(), purse=PURSE, at=at())
    assert step.order.settlement is not None and step.order.settlement.total_milli == 0
    known = two_sided(seller_alloc_wh=hours(500, 2000))
    step = settling.settle_unanswered(known, purse=PURSE, at=at())
    assert step.order.settlement is not None
    assert step.order.settlement.delivered_wh == hours(500, 1500)
    with pytest.raises(ledger.UnableToSettle):
        settling.settle_unanswered(known, purse=Purse(10), at=at())


def test_an_agreement_after_a_dispute_ends_it_and_is_told() -> None:
    order = two_sided()
    wrong = final(order, hours(900, 2000), final_wh=hours(900, 2000))
    disputed = after(hear(order, wrong))
    assert disputed.state is OrderState.DISPUTED
    assert hear(disputed, wrong).step is None
    verdict = hear(disputed, final(order, hours(900, 2000)))
    assert (after(verdict).state, verdict.tell) == (OrderState.COMPLETED, Tell.RESOLUTION)
    assert kinds(verdict) == ["order.completed", "order.dispute_resolved"]


def test_corrections_end_and_a_late_one_is_told_but_not_taken() -> None:
    order = two_sided()
    settled = after(hear(order, final(order, hours(900, 2000))))
    late = deadlines.corrections_until(order) + timedelta(seconds=1)
    verdict = hear(settled, final(settled, hours(100, 100)), trading=late)
    assert kinds(verdict) == ["order.correction_ignored"] and after(verdict).settlement == settled.settlement
    assert hear(settled, final(settled, hours(900, 2000)), trading=late).step is None


# --- Rounds -----------------------------------------------------------------------------------------------------------


def a_round(order: Order, sellers: Series, final_wh: Series, round_: int) -> Word:
    return Word(seller_wh=sellers, final_wh=final_wh, round_=round_)


def test_a_closed_round_keeps_what_it_settles_and_asks_for_our_next_word() -> None:
    order = two_sided(policy=ITERATED)
    verdict = hear(order, a_round(order, hours(900, 2000), hours(900, 1500), 1))
    done = after(verdict)
    assert (done.alloc_round, done.final_wh, done.buyer_alloc_wh) == (1, hours(900, 1500), None)
    assert kinds(verdict) == ["order.round_settled"]
    assert hear(done, a_round(order, hours(900, 2000), hours(900, 1500), 1)).step is None  # said twice


def test_a_round_that_settles_more_than_both_allow_is_not_taken() -> None:
    order = two_sided(policy=ITERATED)
    verdict = hear(order, a_round(order, hours(900, 2000), hours(900, 2000), 1))
    assert after(verdict).alloc_round == 0
    assert kinds(verdict) == ["order.change_ignored"]


def test_a_round_that_was_closed_without_us_settles_less_and_is_taken() -> None:
    order = two_sided(policy=ITERATED)
    assert after(hear(order, a_round(order, hours(900, 2000), hours(0, 0), 1))).final_wh == hours(0, 0)


# --- A utility's figure -----------------------------------------------------------------------------------------------


def test_a_lower_figure_of_the_utility_takes_the_place_of_ours_and_is_never_told_against() -> None:
    order = two_sided()
    theirs = replace(order, buyer_alloc_wh=hours(400, 1500))
    verdict = hear(order, final(theirs, hours(900, 2000), is_utilitys=True))
    settled = after(verdict)
    assert (settled.state, settled.buyer_alloc_wh) == (OrderState.COMPLETED, hours(400, 1500))
    assert moved(verdict) == [paid(1900 * 23)]
    assert not shares.is_allocation_due(settled, [settled], now_trading=OVER)


def test_a_higher_figure_that_the_seller_says_the_utility_gave_is_a_dispute() -> None:
    order = two_sided()
    theirs = replace(order, buyer_alloc_wh=hours(1000, 2000))
    verdict = hear(order, final(theirs, hours(1000, 2000), is_utilitys=True))
    assert (after(verdict).state, verdict.tell) == (OrderState.DISPUTED, Tell.DISPUTE)
    opened = after(verdict).dispute
    assert opened is not None and "utility" in opened.reason
    assert (opened.buyer_total_milli, opened.seller_total_milli) == (2500 * 23, QUOTED_MILLI)
