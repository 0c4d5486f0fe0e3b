"""When a meter's contracts are settled, and at what: one side or two, in rounds, late, silent, corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpp import contract, refusals, settling
from bpp.refusals import UnableToUpdate
from bpp.settling import Meter, Outcome
from tests.support.seller_cases import confirmed, demand, ids, moment
from tests.support.trade_cases import EVENING_BEFORE, HOUR_S, SLOT_START, an_offer, hours
from trade.money import Series
from trade.order import Dispute, Order, OrderState, Side
from trade.policy import AllocationRule, PenaltyRule, Policy, SettlementRule
from trade.quote import LineKind

HOUR = timedelta(hours=1)
STREET = Policy("street", 1, settlement=SettlementRule.MIN_OF_TWO, allocation_due_s=48 * HOUR_S)
ITERATED = replace(STREET, name="iterated", allocation=AllocationRule.ITERATED, rounds=3)


def running(number: int, *values: int, start: datetime = SLOT_START, policy: Policy | None = None) -> Order:
    """A contract over these hours, in delivery."""
    offer = an_offer(offered_wh=Series(SLOT_START, HOUR_S, (10_000,) * 6), order_wh_max=10**9)
    asked = demand(requested_wh=hours(*values, start=start), buyer_meter_id=f"buyer-{number}" if policy else "")
    given_ = {"policy": policy} if policy else {}
    sold = confirmed(asked, offer=offer, ids=ids(number), **given_)
    return contract.start(sold.order, now_wall=EVENING_BEFORE)


def look(
    orders: Sequence[Order], *metered: int | None, due: Sequence[Order] | None = None, trading: datetime | None = None
) -> dict[str, Outcome]:
    """What readings of the hours from the first on make of the orders, at the end of the last reading."""
    grid = Series(SLOT_START, HOUR_S, (0,) * len(metered))
    meter = Meter.of(grid, metered, orders)
    found = settling.look(meter, orders if due is None else due, at=moment(trading=trading or grid.end))
    return {outcome.order.order_id: outcome for outcome in found}


def settled(orders: Sequence[Order], *metered: int | None, **given_: Any) -> dict[str, Order]:
    return {order_id: outcome.order for order_id, outcome in look(orders, *metered, **given_).items()}


def delivered(order: Order) -> tuple[int, ...]:
    assert order.settlement is not None
    return order.settlement.delivered_wh.values


def heard(order: Order, *values: int, round_: int = 1, trading: datetime = SLOT_START + HOUR) -> Order:
    allocated_wh = order.contracted_wh.with_values(values)
    return settling.hear(order, allocated_wh, round_=round_, at=moment(trading=trading))


def paid(outcome: Outcome) -> dict[str, int]:
    return {leg.account: leg.amount_milli for transfer in outcome.transfers for leg in transfer.legs}


# --- One side --------------------------------------------------------------------------------------------------------


def test_a_short_meter_is_shared_in_proportion_to_the_contracts() -> None:
    done = settled([running(1, 3000, 0), running(2, 1000, 500)], 2000, 900)
    assert delivered(done["order-1"]) == (1500, 0)
    assert delivered(done["order-2"]) == (500, 500)


def test_nothing_is_settled_before_its_slots_are_over_and_measured() -> None:
    order = running(1, 1000, 1000)
    assert not look([order], 1000, None, trading=SLOT_START + 2 * HOUR)
    assert not look([order], 1000, 1000, trading=SLOT_START + HOUR)
    assert look([order], 1000, 1000)


def test_an_order_that_ends_earlier_is_settled_earlier_and_keeps_its_share() -> None:
    early, long = running(1, 1000), running(2, 1000, 1000)
    done = settled([early, long], 1000)
    assert list(done) == ["order-1"]
    assert delivered(done["order-1"]) == (500,)
    assert delivered(settled([done["order-1"], long], 1000, 800)["order-2"]) == (500, 800)


def test_an_order_with_empty_slots_at_its_ends_needs_only_its_own_readings() -> None:
    order = running(1, 0, 1000, 0)
    assert delivered(settled([order], None, 700, None, trading=SLOT_START + 3 * HOUR)["order-1"]) == (0, 700, 0)


def test_settling_pays_the_provider_and_the_utility_and_tells_by_on_status() -> None:
    outcome = look([running(1, 1000)], 500)["order-1"]
    assert paid(outcome) == {"receivable:bap.example": -11_000, "provider:home-7": 10_000, "utility": 1_000}
    assert outcome.tell == "on_status"
    assert outcome.order.settlement is not None
    assert outcome.order.settlement.settled_at == SLOT_START + HOUR
    assert [line.kind for line in outcome.order.settlement.lines] == [LineKind.ENERGY, LineKind.WHEELING]


def test_a_contract_that_was_never_started_is_settled_all_the_same() -> None:
    active = confirmed(demand(1000)).order
    assert settled([active], 1000)["order-1"].state is OrderState.COMPLETED


def test_readings_that_never_come_count_as_zero_once_corrections_end() -> None:
    order = running(1, 1000, 1000)
    end = SLOT_START + 2 * HOUR + timedelta(days=30)
    assert not look([order], 1000, None, trading=end - timedelta(seconds=1))
    assert delivered(settled([order], 1000, None, trading=end)["order-1"]) == (1000, 0)


def test_contracts_in_hours_and_in_quarters_share_one_meter() -> None:
    hour, quarters = running(1, 1000), running(2, 1000)
    quarters = replace(
        quarters,
        contracted_wh=Series(SLOT_START, 900, (250,) * 4),
        price_micro_per_kwh=Series(SLOT_START, 900, (200_000,) * 4),
    )
    meter = Meter.of(settling.grid_of([hour], [quarters]), (500, 100, None, 0), [hour, quarters])
    found = settling.shares(meter, now_trading=SLOT_START)
    assert (found["order-1"], found["order-2"].values) == (hours(300), (250, 50, 0, 0))
    assert (meter.measured(hour), meter.measured(quarters)) == ([False], [True, True, False, True])
    whole = Meter.of(meter.metered_wh, (500, 500, 0, 300), [hour, quarters])
    done = settling.look(whole, [hour, quarters], at=moment(trading=SLOT_START + HOUR))
    assert [delivered(outcome.order) for outcome in done] == [(650,), (250, 250, 0, 150)]


def test_a_curtailed_contract_is_paid_for_what_is_left_of_it_at_most() -> None:
    order = running(1, 1000, 1000)
    sold = confirmed(demand(1000, 1000))
    cut = contract.curtail(sold.order, sold.offer, new_wh=hours(1000, 400), at=moment(), quote_id="q").order
    assert cut.curtailed_wh == hours(0, 600)
    again = contract.curtail(
        cut, replace(sold.offer, offered_wh=hours(1000, 1400, 3000), sold_wh=hours(1000, 400, 0)),
        new_wh=hours(1000, 100), at=moment(), quote_id="q",
    ).order  # fmt: skip
    assert again.curtailed_wh == hours(0, 900)
    assert delivered(settled([cut], 5000, 5000)["order-1"]) == (1000, 400)
    assert delivered(settled([order], 5000, 5000)["order-1"]) == (1000, 1000)


# --- Two sides -------------------------------------------------------------------------------------------------------


def test_the_lesser_of_both_meters_is_settled_and_told_by_on_update() -> None:
    order = heard(running(1, 1000, policy=STREET), 700)
    outcome = look([order], 900)["order-1"]
    assert delivered(outcome.order) == (700,)
    assert outcome.order.seller_alloc_wh == hours(900)
    assert (outcome.tell, outcome.order.state) == ("on_update", OrderState.COMPLETED)


def test_a_buyer_that_took_less_is_settled_at_what_it_took_though_the_seller_delivered() -> None:
    assert delivered(settled([heard(running(1, 1000, policy=STREET), 0)], 5000)["order-1"]) == (0,)


def test_the_seller_waits_for_the_buyers_word_and_then_counts_it_as_zero() -> None:
    order = running(1, 1000, policy=STREET)
    due = SLOT_START + 49 * HOUR
    assert not look([order], 1000)
    assert not look([order], 1000, trading=due - timedelta(seconds=1))
    done = settled([order], 1000, trading=due)["order-1"]
    assert delivered(done) == (0,)
    assert (done.buyer_alloc_wh, done.seller_alloc_wh) == (hours(0), hours(1000))


def test_a_seller_without_readings_counts_as_zero_once_it_is_due() -> None:
    order = heard(running(1, 1000, policy=STREET), 1000)
    assert not look([order], None)
    assert delivered(settled([order], None, trading=SLOT_START + 49 * HOUR)["order-1"]) == (0,)


def test_a_word_that_comes_after_it_counted_as_zero_settles_again() -> None:
    silent = settled([running(1, 1000, policy=STREET)], 800, trading=SLOT_START + 49 * HOUR)["order-1"]
    late = heard(silent, 1000, trading=SLOT_START + 50 * HOUR)
    outcome = look([late], 800, trading=SLOT_START + 50 * HOUR)["order-1"]
    assert delivered(outcome.order) == (800,)
    assert outcome.order.settlement is not None
    assert outcome.order.settlement.version == 2
    assert [delivered(replace(outcome.order, settlement=old)) for old in outcome.order.superseded] == [(0,)]
    assert paid(outcome) == {"receivable:bap.example": -17_600, "provider:home-7": 16_000, "utility": 1_600}


def test_the_penalty_falls_on_the_side_that_fell_short() -> None:
    policy = replace(STREET, penalty_micro_per_kwh=100_000)
    seller_short = look([heard(running(1, 1000, policy=policy), 1000)], 600)["order-1"]
    assert paid(seller_short)["provider:home-7"] == 600 * 20 - 400 * 10
    assert seller_short.order.settlement is not None
    assert LineKind.PENALTY not in {line.kind for line in seller_short.order.settlement.lines if line.amount_milli}
    buyer_short = look([heard(running(1, 1000, policy=policy), 600)], 1000)["order-1"]
    assert paid(buyer_short)["provider:home-7"] == 600 * 20
    strict = replace(policy, penalty=PenaltyRule.SELLER)
    assert paid(look([heard(running(1, 1000, policy=strict), 600)], 1000)["order-1"])["provider:home-7"] == 8_000


def test_deviations_are_settled_with_the_utilities_and_the_contract_in_full() -> None:
    policy = Policy(
        "deviation", 1, settlement=SettlementRule.DEVIATION, import_micro_per_kwh=800_000, export_micro_per_kwh=400_000
    )
    order = replace(
        heard(running(1, 1000, policy=policy), 800), price_micro_per_kwh=hours(600_000), wheeling_micro_per_kwh=0
    )
    outcome = look([order], 700)["order-1"]
    assert outcome.order.settlement is not None
    assert outcome.order.settlement.total_milli == 52_000
    assert paid(outcome)["provider:home-7"] == 36_000


# --- Rounds ----------------------------------------------------------------------------------------------------------


def test_three_rounds_use_what_others_leave() -> None:
    """One buyer takes little: its part of the meter goes to the other one in the second round."""
    one, two = running(1, 1000, policy=ITERATED), running(2, 1000, policy=ITERATED)
    first = look([heard(one, 200), heard(two, 1000)], 1200)
    assert {outcome.tell for outcome in first.values()} == {"on_update"}
    assert [outcome.order.final_wh for outcome in first.values()] == [hours(200), hours(600)]
    assert [outcome.order.state for outcome in first.values()] == [OrderState.DELIVERING] * 2
    told = first["order-2"].told
    assert told is not None
    assert (told.buyer_alloc_wh, told.seller_alloc_wh, told.alloc_round) == (hours(1000), hours(600), 1)
    one, two = (outcome.order for outcome in first.values())
    assert not look([one, two], 1200)
    second = look([heard(one, 200, round_=2), heard(two, 1000, round_=2)], 1200)
    assert second["order-2"].order.seller_alloc_wh == hours(1000)
    one, two = (outcome.order for outcome in second.values())
    done = settled([heard(one, 200, round_=3), heard(two, 1000, round_=3)], 1200)
    assert (delivered(done["order-1"]), delivered(done["order-2"])) == ((200,), (1000,))
    assert done["order-2"].alloc_round == 3


def test_contracts_go_through_a_round_together_unless_one_is_overdue() -> None:
    one, two = running(1, 1000, policy=ITERATED), running(2, 1000, policy=ITERATED)
    assert not look([heard(one, 1000), two], 2000)
    overdue = look([heard(one, 1000), two], 2000, trading=SLOT_START + 49 * HOUR)
    assert overdue["order-1"].order.final_wh == hours(1000)
    assert overdue["order-2"].order.final_wh == hours(0)


def test_a_side_silent_in_a_later_round_keeps_what_was_settled() -> None:
    first = settled([heard(running(1, 1000, policy=ITERATED), 400)], 1000)["order-1"]
    second = settled([first], 1000, trading=SLOT_START + 97 * HOUR)["order-1"]
    assert (second.final_wh, second.alloc_round) == (hours(400), 2)
    assert delivered(settled([second], 1000, trading=SLOT_START + 145 * HOUR)["order-1"]) == (400,)


def test_a_word_for_a_round_that_is_over_changes_nothing_and_one_too_early_is_refused() -> None:
    first = settled([heard(running(1, 1000, policy=ITERATED), 400)], 1000)["order-1"]
    assert heard(first, 900, round_=1) == first
    with pytest.raises(UnableToUpdate, match="is in round 2") as refusal:
        heard(first, 900, round_=3)
    assert refusal.value.code == refusals.UPDATE_INCONSISTENT


# --- Corrections -----------------------------------------------------------------------------------------------------


def test_a_correction_after_payout_recomputes_everybody_on_the_meter_and_moves_the_difference() -> None:
    done = settled([running(1, 1000), running(2, 1000)], 1000)
    again = look(list(done.values()), 1400, trading=SLOT_START + 3 * HOUR)
    assert {order_id: delivered(outcome.order) for order_id, outcome in again.items()} == {
        "order-1": (700,),
        "order-2": (700,),
    }
    assert {outcome.tell for outcome in again.values()} == {"on_update"}
    assert paid(again["order-1"]) == {"receivable:bap.example": -4_400, "provider:home-7": 4_000, "utility": 400}
    lower = look([outcome.order for outcome in again.values()], 300, trading=SLOT_START + 4 * HOUR)
    assert paid(lower["order-1"])["provider:home-7"] == -11_000
    assert [result.version for result in lower["order-1"].order.superseded] == [1, 2]


def test_readings_said_again_change_nothing() -> None:
    done = settled([running(1, 1000)], 700)["order-1"]
    assert not look([done], 700, trading=SLOT_START + 3 * HOUR)


def test_a_share_that_changes_without_changing_the_outcome_is_kept_silently() -> None:
    done = settled([heard(running(1, 1000, policy=STREET), 400)], 900)["order-1"]
    outcome = look([done], 800, trading=SLOT_START + 3 * HOUR)["order-1"]
    assert (outcome.tell, outcome.transfers, outcome.order.seller_alloc_wh) == ("", (), hours(800))
    assert outcome.order.settlement == done.settlement


def test_a_contract_whose_corrections_ended_keeps_its_share_and_the_others_divide_the_rest() -> None:
    short = replace(STREET, correction_s=50 * HOUR_S)
    old = settled([heard(running(1, 1000, policy=short), 1000), running(2, 1000)], 1000)["order-1"]
    late = SLOT_START + timedelta(days=10)
    found = settled([old, running(2, 1000)], 1400, trading=late)
    assert list(found) == ["order-2"]
    assert delivered(found["order-2"]) == (900,)
    with pytest.raises(UnableToUpdate, match="settled for good"):
        heard(old, 300, trading=late)


def test_a_disputed_order_is_settled_again_and_stays_disputed() -> None:
    done = settled([running(1, 1000)], 700)["order-1"]
    dispute = Dispute("d", Side.BUYER, "less", SLOT_START, SLOT_START + timedelta(days=14), 1, 2)
    disputed = replace(done, state=OrderState.DISPUTED, dispute=dispute)
    again = settled([disputed], 500, trading=SLOT_START + 3 * HOUR)["order-1"]
    assert (again.state, delivered(again)) == (OrderState.DISPUTED, (500,))
    assert again.dispute is not None
    assert (again.dispute.buyer_total_milli, again.dispute.seller_total_milli) == (1, 11_000)


# --- The utility's figures -------------------------------------------------------------------------------------------


def replaced(order: Order, trading: datetime = SLOT_START + HOUR, **figures: int) -> Order | None:
    return settling.replaced(order, {Side[name]: hours(wh) for name, wh in figures.items()}, at=moment(trading=trading))


def test_a_utilitys_figure_takes_the_place_of_readings_and_of_the_buyers_word() -> None:
    order = replaced(running(1, 1000, policy=STREET), SELLER=900, BUYER=600)
    assert order is not None
    assert order.utility_sides == (Side.BUYER, Side.SELLER)
    done = settled([order], None, trading=SLOT_START + HOUR)["order-1"]
    assert delivered(done) == (600,)
    assert not look([done], 100, trading=SLOT_START + 2 * HOUR)
    with pytest.raises(UnableToUpdate, match="The utility has replaced the buyer's figure") as refusal:
        heard(done, 1000)
    assert refusal.value.code == refusals.UPDATE_IMPOSSIBLE


def test_what_a_utility_gives_to_one_contract_the_others_do_not_get() -> None:
    order = replaced(running(1, 1000), SELLER=800)
    assert order is not None
    done = settled([order, running(2, 1000)], 1000)
    assert (delivered(done["order-1"]), delivered(done["order-2"])) == ((800,), (200,))


def test_a_figure_after_settlement_settles_again_and_changes_the_score() -> None:
    done = settled([running(1, 1000)], 1000)["order-1"]
    order = replaced(done, SELLER=400)
    assert order is not None
    again = settled([order], 1000, trading=SLOT_START + 2 * HOUR)["order-1"]
    assert (delivered(again), again.settlement and again.settlement.version) == ((400,), 2)
    assert settling.score(done, again) == settling.Score(0, -600, 0)


def test_a_figure_for_every_round_is_kept_through_all_of_them() -> None:
    order = replaced(running(1, 1000, policy=ITERATED), BUYER=300)
    for trading in (1, 2, 3):
        assert order is not None
        order = settled([order], 1000, trading=SLOT_START + trading * HOUR)["order-1"]
    assert order is not None
    assert delivered(order) == (300,)


@pytest.mark.parametrize(
    ("order", "figures", "trading"),
    [
        (running(1, 1000), {}, SLOT_START),
        (running(1, 1000, 1000), {"SELLER": 5}, SLOT_START),
        (replace(running(1, 1000), state=OrderState.CANCELLED), {"SELLER": 5}, SLOT_START),
        (settled([running(1, 1000)], 1000)["order-1"], {"SELLER": 5}, SLOT_START + timedelta(days=40)),
    ],
)
def test_a_figure_that_fits_nothing_or_comes_too_late_changes_nothing(
    order: Order, figures: dict[str, int], trading: datetime
) -> None:
    assert replaced(order, trading, **figures) is None


def test_what_a_buyer_did_not_take_is_not_held_against_the_seller() -> None:
    before = heard(running(1, 1000, policy=STREET), 0)
    after = settled([before], 900)["order-1"]
    assert settling.score(before, after) == settling.Score(1000, 900, 1)
    assert settling.score(after, after) is None
    assert settling.score(before, before) is None


# --- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "values", "code", "says"),
    [
        (running(1, 1000), hours(1000), refusals.NOT_APPLICABLE, "by the seller's meter alone"),
        (
            replace(running(1, 1000, policy=STREET), state=OrderState.CANCELLED),
            hours(1000),
            refusals.UPDATE_IMPOSSIBLE,
            "nothing to allocate",
        ),
        (running(1, 1000, policy=STREET), hours(1, 2), refusals.UPDATE_INCONSISTENT, "1 slots of 3600 s"),
    ],
)
def test_a_word_that_cannot_count_is_refused(order: Order, values: Series, code: str, says: str) -> None:
    with pytest.raises(UnableToUpdate, match=says) as refusal:
        settling.hear(order, values, round_=1, at=moment())
    assert refusal.value.code == code


# --- Always ----------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.integers(0, 3000), min_size=1, max_size=3)), min_size=1, max_size=6
    ),
    st.lists(st.integers(0, 6000), min_size=5, max_size=5),
    st.lists(st.integers(0, 6000), min_size=5, max_size=5),
    st.randoms(use_true_random=False),
)
def test_in_whatever_order_contracts_settle_no_slot_gives_more_than_its_meter(
    contracts: list[tuple[int, list[int]]], metered: list[int], corrected: list[int], dice: Any
) -> None:
    """Each is settled alone, in any order, then corrected: shares never sum above the meter or above a contract."""
    orders = [
        running(n, *values, start=SLOT_START + timedelta(hours=offset))
        for n, (offset, values) in enumerate(contracts)
        if sum(values)
    ]
    by_id = {order.order_id: order for order in orders}
    for readings in (metered, corrected):
        waiting = list(by_id)
        dice.shuffle(waiting)
        for order_id in waiting:
            by_id |= settled(list(by_id.values()), *readings, due=[by_id[order_id]])
        for index, reading in enumerate(readings):
            slot_start = SLOT_START + timedelta(hours=index)
            given_out = contracted = 0
            for order in by_id.values():
                for (slot, wh), share in zip(order.contracted_wh.items(), delivered(order), strict=True):
                    if slot.start == slot_start:
                        assert 0 <= share <= wh
                        given_out, contracted = given_out + share, contracted + wh
            assert given_out == min(reading, contracted)
