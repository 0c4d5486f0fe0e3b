"""Who gets which watt-hour of a meter: one slot, rounds, series, losses, both sides at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trade_cases import SLOT_START, hours, slot_wh
from trade import allocation
from trade.allocation import Claim, Joint
from trade.money import Series

contracts = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), slot_wh, max_size=8)
losses = st.integers(0, 400_000)


# One slot, one round.


@pytest.mark.parametrize(("metered", "contracted"), [(-1, {"a": 5}), (5, {"a": -1, "b": 2})])
def test_negative_energy_is_never_allocated(metered: int, contracted: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="never negative"):
        allocation.pro_rata(metered, contracted)


def test_a_meter_that_delivered_enough_gives_everyone_their_contract() -> None:
    assert allocation.pro_rata(101, {"a": 60, "b": 40}) == {"a": 60, "b": 40}


def test_a_shortfall_is_shared_in_proportion_to_the_contracts() -> None:
    assert allocation.pro_rata(50, {"a": 60, "b": 40}) == {"a": 30, "b": 20}


def test_two_contracts_of_10_kwh_on_a_meter_that_counted_15_get_7_and_a_half_each() -> None:
    assert allocation.pro_rata(15_000, {"a": 10_000, "b": 10_000}) == {"a": 7_500, "b": 7_500}


def test_left_over_watt_hours_go_to_the_largest_remainder_and_ties_to_the_first_id() -> None:
    assert allocation.pro_rata(1, {"c": 1, "b": 1, "a": 1}) == {"a": 1, "b": 0, "c": 0}
    assert allocation.pro_rata(4, {"a": 2, "b": 3, "c": 3}) == {"a": 1, "b": 2, "c": 1}


def test_no_orders_get_nothing() -> None:
    assert allocation.pro_rata(7, {}) == {}


@given(slot_wh, contracts)
def test_shares_sum_exactly_and_none_exceeds_its_contract(metered: int, contracted: dict[str, int]) -> None:
    shares = allocation.pro_rata(metered, contracted)
    assert shares.keys() == contracted.keys()
    assert sum(shares.values()) == min(metered, sum(contracted.values()))
    assert all(0 <= shares[order_id] <= contracted[order_id] for order_id in shares)


@given(slot_wh, contracts)
def test_no_share_is_a_watt_hour_or_more_from_its_exact_proportion(metered: int, contracted: dict[str, int]) -> None:
    total = sum(contracted.values())
    if metered < total:
        for order_id, share in allocation.pro_rata(metered, contracted).items():
            assert abs(share * total - contracted[order_id] * metered) < total


@given(slot_wh, contracts, st.randoms(use_true_random=False))
def test_the_order_in_which_contracts_are_listed_does_not_matter(metered: int, contracted: dict[str, int], rng) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(contracted.items())
    rng.shuffle(shuffled)
    assert allocation.pro_rata(metered, dict(shuffled)) == allocation.pro_rata(metered, contracted)


# Rounds.


def test_the_first_round_is_plain_pro_rata() -> None:
    assert allocation.residual_round(50, {"a": 60, "b": 40}, {}) == {"a": 30, "b": 20}


def test_a_later_round_shares_what_is_left_over_what_is_unsettled() -> None:
    # 50 Wh were shared 30 to 20; the other side took only 10 of a's 30, so 20 Wh are left for 50 and 20 unsettled.
    assert allocation.residual_round(50, {"a": 60, "b": 40}, {"a": 10, "b": 20}) == {"a": 24, "b": 26}


def test_a_later_round_serves_first_what_the_other_side_has_offered() -> None:
    # 20 Wh are left; the other side had 15 more for b and nothing more for a, so b gets 15 and both share the rest.
    found = allocation.residual_round(50, {"a": 60, "b": 40}, {"a": 10, "b": 20}, {"a": 10, "b": 35})
    assert found == {"a": 10 + 5, "b": 35}


def test_one_watt_hour_left_for_three_equal_contracts_goes_to_the_first_id() -> None:
    contracted = dict.fromkeys("cba", 100)
    settled = dict.fromkeys("abc", 33)
    assert allocation.residual_round(100, contracted, settled) == {"a": 34, "b": 33, "c": 33}


def test_a_reading_corrected_below_what_was_settled_is_shared_in_proportion_to_that() -> None:
    assert allocation.residual_round(15, {"a": 60, "b": 40}, {"a": 10, "b": 20}) == {"a": 5, "b": 10}


@pytest.mark.parametrize("settled", [{"a": 61}, {"a": -1}])
def test_more_settled_than_contracted_is_refused(settled: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="between 0 and the contract"):
        allocation.residual_round(50, {"a": 60}, settled)


@given(slot_wh, contracts, st.data())
def test_a_round_never_takes_back_never_overfills_and_leaves_nothing_it_could_give(
    metered: int, contracted: dict[str, int], data: st.DataObject
) -> None:
    settled = {order_id: data.draw(st.integers(0, wh)) for order_id, wh in contracted.items()}
    offered = {order_id: data.draw(slot_wh) for order_id in contracted if data.draw(st.booleans())}
    found = allocation.residual_round(metered, contracted, settled, offered or None)
    assert sum(found.values()) == min(metered, sum(contracted.values()))
    assert all(found[order_id] <= contracted[order_id] for order_id in found)
    if metered >= sum(settled.values()):
        assert all(found[order_id] >= settled[order_id] for order_id in found)


# Losses.


def test_a_tenth_lost_on_the_way_leaves_nine_tenths() -> None:
    assert allocation.received_wh(1000, 100_000) == 900
    assert allocation.injected_wh(900, 100_000) == 1000


@given(slot_wh, losses)
def test_a_buyer_that_received_everything_is_never_short_for_the_rounding_of_its_meter(wh: int, loss: int) -> None:
    assert allocation.injected_wh(allocation.received_wh(wh, loss), loss) >= wh


@given(slot_wh, losses)
def test_less_arrives_than_was_injected(wh: int, loss: int) -> None:
    assert allocation.received_wh(wh, loss) <= wh <= allocation.injected_wh(wh, loss)


# Series.


def test_contracts_over_other_runs_of_the_grid_share_only_the_slots_they_have() -> None:
    later = hours(50, 50, start=SLOT_START + timedelta(hours=1))
    found = allocation.allocate(hours(90, 90, 30), {"a": Claim(hours(100, 100)), "b": Claim(later)})
    assert found["a"] == hours(90, 60)
    assert found["b"] == later.with_values((30, 30))


def test_slots_the_meter_does_not_cover_get_nothing() -> None:
    assert allocation.allocate(hours(90), {"a": Claim(hours(100, 100))}) == {"a": hours(90, 0)}


def test_a_contract_over_other_slots_than_the_meter_is_refused() -> None:
    halves = Series(SLOT_START, 1800, (50, 50))
    with pytest.raises(ValueError, match="slots of its readings"):
        allocation.allocate(hours(90), {"a": Claim(halves)})


def test_a_buyers_meter_is_shared_in_what_arrives_and_said_in_what_was_injected() -> None:
    claims = {"a": Claim(hours(1000), loss_ppm=100_000), "b": Claim(hours(1000))}
    assert allocation.allocate(hours(1900), claims) == {"a": hours(1000), "b": hours(1000)}
    # 950 Wh over 900 and 1000 that should arrive: 450 and 500, and 450 arriving are 500 injected.
    assert allocation.allocate(hours(950), claims) == {"a": hours(500), "b": hours(500)}


def test_a_later_round_of_a_series_keeps_what_was_settled() -> None:
    claims = {"a": Claim(hours(60), hours(10)), "b": Claim(hours(40), hours(20))}
    assert allocation.allocate(hours(50), claims) == {"a": hours(24), "b": hours(26)}


def test_a_later_round_of_a_series_serves_first_what_the_other_side_has_offered() -> None:
    claims = {
        "a": Claim(hours(60), hours(10), offered_wh=hours(10)),
        "b": Claim(hours(40), hours(20), offered_wh=hours(35)),
    }
    assert allocation.allocate(hours(50), claims) == {"a": hours(15), "b": hours(35)}


def test_what_the_other_side_has_offered_is_said_in_energy_injected_too() -> None:
    # 900 and 450 Wh should arrive; a was settled at 500 injected (450 arrived) and 100 more (90) are offered to it.
    claims = {
        "a": Claim(hours(1000), hours(500), 100_000, offered_wh=hours(600)),
        "b": Claim(hours(500), hours(0), 100_000, offered_wh=hours(0)),
    }
    # 180 of the 630 Wh are left: 90 for what is offered to a, then 90 pro rata over the 360 and 450 still open.
    assert allocation.allocate(hours(630), claims) == {"a": hours(645), "b": hours(56)}


@given(st.lists(slot_wh, min_size=1, max_size=30), losses, st.data())
def test_no_contract_ever_gets_more_than_it_is_for(metered: list[int], loss: int, data: st.DataObject) -> None:
    size = len(metered)
    claims = {
        name: Claim(hours(*data.draw(st.lists(slot_wh, min_size=size, max_size=size))), loss_ppm=loss) for name in "ab"
    }
    found = allocation.allocate(hours(*metered), claims)
    for index, wh in enumerate(metered):
        shares = [found[name].values[index] for name in "ab"]
        assert all(
            0 <= share <= claims[name].contracted_wh.values[index] for name, share in zip("ab", shares, strict=True)
        )
        # Each share arrives within its own rounding of half a Wh, up and down.
        assert sum(allocation.received_wh(share, loss) for share in shares) <= wh + len(shares)


# Both sides.

#: Three trades of two buyers and two sellers (the published cross-linked case): 10 each, sellers and buyers both short.
CROSSED = {
    "ab": Joint("buyer-a", "seller-b", 10_000),
    "ac": Joint("buyer-a", "seller-c", 10_000),
    "dc": Joint("buyer-d", "seller-c", 10_000),
}


def test_one_round_is_pro_rata_on_both_sides_and_the_lesser_figure() -> None:
    found = allocation.iterated(
        CROSSED,
        import_wh={"buyer-a": 15_000, "buyer-d": 10_000},
        export_wh={"seller-b": 10_000, "seller-c": 15_000},
        rounds=1,
    )
    assert found == {"ab": 7500, "ac": 7500, "dc": 7500}
    assert sum(found.values()) == 22_500  # the guide's own figure; first-in-first-out gives 20,000


def test_each_further_round_settles_what_the_last_one_left_on_both_sides() -> None:
    # The buyer's 15 kWh are shared alike, but b can deliver only 5: what is left goes where c has offered more.
    contracts = {"ab": Joint("a", "b", 10_000), "ac": Joint("a", "c", 10_000)}
    meters = {"import_wh": {"a": 15_000}, "export_wh": {"b": 5_000, "c": 10_000}}
    found = [allocation.iterated(contracts, **meters, rounds=rounds) for rounds in (1, 2)]
    assert found == [{"ab": 5_000, "ac": 7_500}, {"ab": 5_000, "ac": 10_000}]


def test_further_rounds_change_nothing_where_a_meter_is_used_up() -> None:
    meters = {
        "import_wh": {"buyer-a": 15_000, "buyer-d": 10_000},
        "export_wh": {"seller-b": 10_000, "seller-c": 15_000},
    }
    assert sum(allocation.iterated(CROSSED, **meters, rounds=9).values()) == 22_500  # the optimum would be 25,000


def test_a_silent_meter_settles_nothing() -> None:
    found = allocation.iterated(CROSSED, import_wh={"buyer-a": 15_000}, export_wh={"seller-c": 15_000}, rounds=3)
    assert (found["ab"], found["dc"]) == (0, 0)
    assert found["ac"] > 0
