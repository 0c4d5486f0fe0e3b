"""What a consumer's meter took, shared over its contracts: exactly once, over any slots, with losses, in rounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bap import shares
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_order, hours
from trade.allocation import received_wh
from trade.money import Series
from trade.order import Order, OrderState
from trade.policy import BUILT_IN, Policy, SettlementRule

STREET, ITERATED = BUILT_IN["street@1"], BUILT_IN["iterated@1"]
AFTER = SLOT_START + timedelta(hours=3)


def a_contract(order_id: str = "order-1", energy_wh: Series | None = None, **changes: Any) -> Order:
    given = {"state": OrderState.DELIVERING, "policy": STREET, "buyer_meter_id": "m", **changes}
    return replace(an_order(energy_wh=energy_wh, **given), order_id=order_id)


def allocate(orders: list[Order], *metered_wh: int | None, due: list[Order] | None = None) -> dict[str, Series]:
    due = due or orders
    return shares.allocate(orders, due, like=shares.grid(orders, due), metered_wh=metered_wh)


def test_a_meter_that_took_less_is_shared_in_proportion_and_one_that_took_more_gives_each_its_contract() -> None:
    orders = [a_contract("a", hours(1000, 1000)), a_contract("b", hours(3000, 1000))]
    found = allocate(orders, 2000, 9000)
    assert found == {"a": hours(500, 1000), "b": hours(1500, 1000)}


def test_only_what_is_due_is_told_but_all_contracts_have_their_share() -> None:
    one, other = a_contract("a", hours(1000)), a_contract("b", hours(1000))
    assert allocate([one, other], 1000, due=[one]) == {"a": hours(500)}


def test_an_order_with_a_slot_that_nobody_read_is_left_out_and_one_that_needs_it_not_is_told() -> None:
    short, long = a_contract("a", hours(1000, 0)), a_contract("b", hours(1000, 1000))
    assert allocate([short, long], 1500, None) == {"a": hours(750, 0)}


def test_contracts_in_hours_and_half_hours_share_the_half_hours() -> None:
    halves = Series(SLOT_START, 1800, (1000, 500))
    orders = [a_contract("a", hours(1001)), a_contract("b", halves)]
    grid = shares.grid(orders, orders)
    assert (grid.slot_s, len(grid.values)) == (1800, 2)
    found = allocate(orders, 9000, 250)
    assert found["a"].values == (501 + 125,)
    assert found["b"].values == (1000, 125)


def test_what_is_lost_on_the_way_is_added_to_what_arrived() -> None:
    lossy = Policy("lossy", 1, settlement=SettlementRule.MIN_OF_TWO, loss_ppm=100_000)
    assert allocate([a_contract("a", hours(1000), policy=lossy)], 900) == {"a": hours(1000)}
    assert allocate([a_contract("a", hours(1000), policy=lossy)], 450) == {"a": hours(500)}


def test_a_later_round_shares_what_the_earlier_left_and_leaves_the_one_round_contracts_as_they_were() -> None:
    once = a_contract("a", hours(1000))
    again = [
        a_contract("b", hours(1000), policy=ITERATED, alloc_round=1, final_wh=hours(0)),
        a_contract("c", hours(1000), policy=ITERATED, alloc_round=1, final_wh=hours(500)),
    ]
    first = allocate([once, *(replace(order, final_wh=None) for order in again)], 1500)
    assert first == {"a": hours(500), "b": hours(500), "c": hours(500)}
    second = allocate([once, *again], 1500)
    # 1,000 are left for the two: 500 are settled, the other 500 go to them as 2:1, what each still lacks.
    assert second["a"] == hours(500)
    assert (second["b"].total, second["c"].total) == (333, 667)


@given(
    st.lists(st.lists(st.integers(0, 3000), min_size=3, max_size=3), min_size=1, max_size=5),
    st.lists(st.integers(0, 9000), min_size=3, max_size=3),
    st.sampled_from([0, 50_000, 200_000]),
)
def test_no_watt_hour_of_a_meter_is_allocated_twice(
    contracts: list[list[int]], metered: list[int], loss_ppm: int
) -> None:
    rules = Policy("lossy", 1, settlement=SettlementRule.MIN_OF_TWO, loss_ppm=loss_ppm)
    orders = [a_contract(str(n), hours(*values), policy=rules) for n, values in enumerate(contracts)]
    found = allocate(orders, *metered)
    for index, wh in enumerate(metered):
        taken = sum(received_wh(found[order.order_id].values[index], loss_ppm) for order in orders)
        assert taken <= wh + (len(orders) if loss_ppm else 0)  # a share is rounded up to the Wh injected for it
        assert all(found[o.order_id].values[index] <= o.contracted_wh.values[index] for o in orders)


def test_nothing_is_due_before_the_end_nor_under_one_sided_rules_nor_when_corrections_are_over() -> None:
    order = a_contract()
    is_due = shares.is_allocation_due
    assert not is_due(order, [order], now_trading=order.delivery_end - timedelta(seconds=1))
    assert is_due(order, [order], now_trading=order.delivery_end)
    assert not is_due(an_order(state=OrderState.ACTIVE), [], now_trading=AFTER)
    settled = replace(order, state=OrderState.COMPLETED)
    assert is_due(settled, [settled], now_trading=AFTER + timedelta(days=29))
    assert not is_due(settled, [settled], now_trading=AFTER + timedelta(days=31))


def test_a_round_waits_for_the_contracts_that_share_slots_until_their_deadline() -> None:
    ahead = a_contract("a", policy=ITERATED, alloc_round=1)
    behind = a_contract("b", policy=ITERATED)
    is_due = shares.is_allocation_due
    assert not is_due(ahead, [ahead, behind], now_trading=AFTER)
    assert is_due(behind, [ahead, behind], now_trading=AFTER)
    assert is_due(ahead, [ahead, behind], now_trading=AFTER + timedelta(seconds=ITERATED.allocation_due_s))
    later = replace(behind, contracted_wh=hours(1000, start=SLOT_START + timedelta(days=1)))
    assert is_due(ahead, [ahead, later], now_trading=AFTER)


def test_the_same_allocation_is_not_told_twice_and_another_is_a_correction() -> None:
    step = shares.record_allocation(a_contract(), hours(500, 2000), message_id="m-1", now=EVENING_BEFORE)
    assert step is not None and step.order.buyer_alloc_wh == hours(500, 2000)
    assert step.events[0][0] == "order.allocated" and step.events[0][1]["round"] == 1
    assert shares.record_allocation(step.order, hours(500, 2000), message_id="m-2", now=EVENING_BEFORE) is None
    again = shares.record_allocation(step.order, hours(400, 2000), message_id="m-3", now=EVENING_BEFORE)
    assert again is not None and again.events[0][0] == "order.allocation_corrected"


@pytest.mark.parametrize(
    ("changes", "told"),
    [({}, hours(0, 0)), ({"final_wh": hours(1, 2)}, hours(1, 2)), ({"buyer_alloc_wh": hours(3, 4)}, hours(3, 4))],
)
def test_silence_adds_nothing_to_what_earlier_rounds_settled(changes: dict[str, Any], told: Series) -> None:
    assert shares.told_wh(a_contract(**changes)) == told
