"""Published worked examples, to the last unit, and the traps that other implementations fell into."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.support.trade_cases import SLOT_START, an_order, hours
from trade import flows, policy, pricing, retail, settlement
from trade.money import Series
from trade.order import Order
from trade.policy import BUILT_IN, PenaltyRule, Policy, SettlementRule
from trade.quote import LineKind, Party, SettlementResult

AFTER = SLOT_START + timedelta(hours=30)
WAVE2 = BUILT_IN["deg-wave2@1"]
DEVIATION = BUILT_IN["deviation@1"]
#: Thousandths of a minor unit in a rupee.
RUPEE = 100_000


def rupees(*wh: int, price: Series | int, rules: Policy, **changes: object) -> Order:
    """A contract in rupees under these rules, with their wheeling rates."""
    return an_order(
        energy_wh=hours(*wh),
        price=price,
        currency="INR",
        policy=rules,
        wheeling_micro_per_kwh=rules.wheeling_buyer_micro_per_kwh,
        wheeling_seller_micro_per_kwh=rules.wheeling_seller_micro_per_kwh,
        **changes,
    )


def settled(order: Order, *, seller: Series, buyer: Series | None = None) -> SettlementResult:
    return settlement.settle(order, seller_alloc_wh=seller, buyer_alloc_wh=buyer, now=AFTER)


def net(result: SettlementResult) -> dict[Party, int]:
    found = flows.nets(result.flows)
    assert sum(found.values()) == 0
    assert result.total_milli == -found.get(Party.BUYER, 0)
    return found


# The wave-2 example policy.


def test_twenty_of_twenty_and_a_half_kwh_at_12_50() -> None:
    order = rupees(20_500, price=12_500_000, rules=WAVE2)
    found = net(settled(order, seller=hours(20_000), buyer=hours(20_500)))
    assert found == {
        Party.BUYER: -255_00_000,
        Party.SELLER: 243_75_000,
        Party.BUYER_UTILITY: 5_00_000,
        Party.SELLER_UTILITY: 6_25_000,
    }


def test_two_intervals_of_which_the_wheeling_rounds_half_a_paisa_away_from_zero() -> None:
    order = rupees(20_500, 15_500, price=hours(12_500_000, 14_500_000), rules=WAVE2)
    result = settled(order, seller=hours(18_500, 14_200), buyer=hours(20_500, 15_500))
    assert net(result) == {
        Party.BUYER: -445_33_000,
        Party.SELLER: 425_69_000,
        Party.BUYER_UTILITY: 8_18_000,  # 8.175
        Party.SELLER_UTILITY: 11_46_000,  # 9.81 + 1.65
    }
    assert sum(line.amount_milli for line in result.lines if line.kind is LineKind.ENERGY) == 437_15_000


def test_value_is_rounded_as_one_and_shared_among_the_lines_of_its_prices() -> None:
    # 33.3 and 33.4 paise are 66.7 together, so 67: the larger remainder takes the one that is left over.
    order = rupees(1000, 1000, price=hours(333_000, 334_000), rules=replace(WAVE2, penalty_micro_per_kwh=0))
    result = settled(order, seller=hours(1000, 1000), buyer=hours(1000, 1000))
    energy = [line.amount_milli for line in result.lines if line.kind is LineKind.ENERGY]
    assert energy == [33_000, 34_000]


def test_half_a_paisa_rounds_away_from_zero_on_either_side_of_it() -> None:
    rules = replace(WAVE2, wheeling_buyer_micro_per_kwh=0, wheeling_seller_micro_per_kwh=0)
    for price, paise in ((125_000, 13), (-125_000, -13)):
        result = settled(rupees(1000, price=price, rules=rules), seller=hours(1000), buyer=hours(1000))
        assert result.total_milli == paise * 1000


# Deviations.


@pytest.mark.parametrize(
    ("contracted", "load", "generation", "buyer", "seller", "sellers_utility", "buyers_utility"),
    [(10, 8, 7, 52, 36, 24, 8), (100, 80, 70, 520, 360, 240, 80)],
)
def test_each_side_settles_its_own_deviation_with_its_utility(
    contracted: int, load: int, generation: int, buyer: int, seller: int, sellers_utility: int, buyers_utility: int
) -> None:
    order = rupees(contracted * 1000, price=6_000_000, rules=DEVIATION)
    result = settled(order, seller=hours(generation * 1000), buyer=hours(load * 1000))
    assert net(result) == {
        Party.BUYER: -buyer * RUPEE,
        Party.SELLER: seller * RUPEE,
        Party.SELLER_UTILITY: sellers_utility * RUPEE,
        Party.BUYER_UTILITY: -buyers_utility * RUPEE,
    }


def test_load_and_generation_beyond_the_contract_are_no_deviation() -> None:
    order = rupees(10_000, price=6_000_000, rules=DEVIATION)
    assert net(settled(order, seller=hours(12_000), buyer=hours(15_000))) == {
        Party.BUYER: -60 * RUPEE,
        Party.SELLER: 60 * RUPEE,
    }


def test_a_buyers_deviation_is_settled_in_the_energy_that_would_have_arrived() -> None:
    order = rupees(10_000, price=6_000_000, rules=replace(DEVIATION, loss_ppm=100_000))
    found = net(settled(order, seller=hours(10_000), buyer=hours(8_000)))
    assert found[Party.BUYER] == round(-(60 - 2 * 0.9 * 4) * RUPEE)


# Min of two.


def test_a_meter_that_consumed_more_is_billed_for_the_rest_by_its_retailer() -> None:
    # 10 kWh at 6; consumed 15, produced 8: 8 settle, the buyer pays 48 and 7 kWh at 10 to its retailer.
    order = rupees(10_000, price=6_000_000, rules=BUILT_IN["street@1"])
    result = settled(order, seller=hours(8_000), buyer=hours(10_000))
    assert (result.delivered_wh, result.total_milli) == (hours(8_000), 48 * RUPEE)
    bill = retail.retail_bill(
        import_wh=hours(15_000),
        export_wh=hours(0),
        bought_wh=result.delivered_wh,
        sold_wh=hours(0),
        tariff=retail.Tariff(hours(10_000_000), hours(0), "INR"),
    )
    assert (bill.import_wh, bill.import_milli, bill.total_milli) == (7_000, 70 * RUPEE, 70 * RUPEE)


def test_hundred_kwh_with_80_taken_and_70_delivered_settle_70() -> None:
    order = rupees(100_000, price=6_000_000, rules=BUILT_IN["street@1"])
    assert net(settled(order, seller=hours(70_000), buyer=hours(80_000))) == {
        Party.BUYER: -420 * RUPEE,
        Party.SELLER: 420 * RUPEE,
    }


def test_curtailed_energy_is_neither_billed_nor_missed() -> None:
    # 15 contracted, 5 taken back: billable is min(delivered, 10), whatever the wire calls the 5.
    curtailed = rupees(10_000, price=12_500_000, rules=WAVE2, curtailed_wh=hours(5_000))
    full = settled(curtailed, seller=hours(10_000), buyer=hours(12_000))
    assert (full.delivered_wh, LineKind.PENALTY in {flow.kind for flow in full.flows}) == (hours(10_000), False)
    assert settled(curtailed, seller=hours(12_000), buyer=hours(12_000)) == full


# Penalties.

ATTRIBUTED = replace(BUILT_IN["street@1"], penalty=PenaltyRule.ATTRIBUTED, penalty_micro_per_kwh=500_000)


def penalties(result: SettlementResult) -> dict[Party, int]:
    return {flow.payer: flow.amount_milli for flow in result.flows if flow.kind is LineKind.PENALTY}


def test_a_shortfall_is_charged_to_the_side_that_fell_short() -> None:
    order = rupees(10_000, price=6_000_000, rules=ATTRIBUTED)
    short = 2 * RUPEE // 2  # 2 kWh at 0.50
    assert penalties(settled(order, seller=hours(8_000), buyer=hours(10_000))) == {Party.SELLER: short}
    assert penalties(settled(order, seller=hours(10_000), buyer=hours(8_000))) == {Party.BUYER: short}


def test_a_shortfall_of_both_is_charged_in_proportion() -> None:
    order = rupees(10_000, price=6_000_000, rules=ATTRIBUTED)
    # 3 kWh are missing, 1.50 rupees: the seller is 3 short and the buyer 1.
    found = penalties(settled(order, seller=hours(7_000), buyer=hours(9_000)))
    assert found == {Party.SELLER: 112_500, Party.BUYER: 37_500}


def test_a_buyer_that_took_less_while_the_seller_delivered_is_not_the_sellers_fault_unless_the_policy_says_so() -> None:
    for rules, payer in ((ATTRIBUTED, Party.BUYER), (WAVE2, Party.SELLER)):
        order = rupees(10_000, price=6_000_000, rules=rules)
        assert set(penalties(settled(order, seller=hours(10_000), buyer=hours(0)))) == {payer}


def test_a_tolerance_forgives_its_share_of_the_contract_and_no_more() -> None:
    rules = replace(ATTRIBUTED, tolerance_ppm=100_000)
    order = rupees(10_000, price=6_000_000, rules=rules)
    assert penalties(settled(order, seller=hours(9_000), buyer=hours(10_000))) == {}
    assert penalties(settled(order, seller=hours(8_999), buyer=hours(10_000))) == {Party.SELLER: 50}  # 1 Wh at 0.50


def test_a_penalty_with_two_payers_is_rounded_once_and_parted_without_a_rest() -> None:
    rules = replace(ATTRIBUTED, penalty_micro_per_kwh=10)
    order = rupees(300, price=0, rules=rules)
    found = penalties(settled(order, seller=hours(100), buyer=hours(200)))
    assert found == {}  # 2 nano-rupees x 1000 are nothing
    rules = replace(ATTRIBUTED, penalty_micro_per_kwh=150_000)
    order = rupees(3, price=0, rules=rules)
    # 3 Wh at 0.15 are 45 thousandths of a paisa: parted 3 to 2 they are 27 and 18.
    assert penalties(settled(order, seller=hours(0), buyer=hours(1))) == {Party.SELLER: 27, Party.BUYER: 18}


def test_one_thousandth_that_both_sides_owe_half_of_is_paid_once() -> None:
    order = rupees(1, price=0, rules=replace(ATTRIBUTED, penalty_micro_per_kwh=10_000))
    assert penalties(settled(order, seller=hours(0), buyer=hours(0))) == {Party.SELLER: 1}


# Charges per side.

CHARGED = Policy(
    "charged",
    1,
    settlement=SettlementRule.MIN_OF_TWO,
    loss_ppm=100_000,
    tax_ppm=180_000,
    platform_buyer_micro_per_kwh=420_000,
    platform_seller_micro_per_kwh=100_000,
    utility_fee_buyer_micro_per_kwh=50_000,
    utility_fee_seller_micro_per_kwh=60_000,
    wheeling_buyer_micro_per_kwh=250_000,
    wheeling_seller_micro_per_kwh=300_000,
)


def test_each_side_is_charged_for_the_energy_at_its_own_end_of_the_wire() -> None:
    order = rupees(10_000, price=6_000_000, rules=CHARGED)
    result = settled(order, seller=hours(10_000), buyer=hours(10_000))  # 9 kWh arrive
    assert net(result) == {
        Party.BUYER: -round((60 + 10.8 + 9 * (0.25 + 0.42 + 0.05)) * RUPEE),
        Party.SELLER: round((60 - 10 * (0.30 + 0.10 + 0.06)) * RUPEE),
        Party.TAX: round(10.8 * RUPEE),
        Party.BUYER_UTILITY: round(9 * 0.30 * RUPEE),
        Party.SELLER_UTILITY: round(10 * 0.36 * RUPEE),
        Party.BUYER_PLATFORM: round(9 * 0.42 * RUPEE),
        Party.SELLER_PLATFORM: round(10 * 0.10 * RUPEE),
    }
    assert [(line.kind, line.title, line.energy_wh) for line in result.lines] == [
        (LineKind.ENERGY, "ENERGY", 10_000),
        (LineKind.WHEELING, "DISCOM_FEES", 9_000),
        (LineKind.TAX, "TAX", None),
        (LineKind.PLATFORM_FEE, "ADD_ON", 9_000),
        (LineKind.UTILITY_FEE, "DISCOM_FEES", 9_000),
    ]


def test_a_negative_price_is_paid_by_the_seller_and_not_taxed() -> None:
    order = rupees(10_000, 10_000, price=hours(-1_000_000, 400_000), rules=replace(CHARGED, loss_ppm=0))
    result = settled(order, seller=hours(10_000, 10_000), buyer=hours(10_000, 10_000))
    energy = [flow for flow in result.flows if flow.kind is LineKind.ENERGY]
    assert [(flow.payer, flow.payee, flow.amount_milli) for flow in energy] == [(Party.SELLER, Party.BUYER, 6 * RUPEE)]
    assert net(result)[Party.TAX] == round(4 * 0.18 * RUPEE)
    assert all(flow.amount_milli > 0 for flow in result.flows)


# Traps.


def test_a_negative_allocation_is_refused_and_not_taken_for_the_lesser_figure() -> None:
    order = rupees(20_000, price=12_500_000, rules=WAVE2)
    with pytest.raises(ValueError, match="positive reading"):
        settled(order, seller=hours(-19_200), buyer=hours(20_000))
    with pytest.raises(ValueError, match="positive reading"):
        settled(order, seller=hours(19_200), buyer=hours(-20_000))


def test_a_meter_cannot_sell_to_itself() -> None:
    order = rupees(20_000, price=12_500_000, rules=WAVE2, meter_id="meter-7", buyer_meter_id="meter-7")
    with pytest.raises(settlement.OneMeter, match="both sides"):
        settled(order, seller=hours(20_000), buyer=hours(20_000))


def test_a_silent_side_is_said_on_purpose() -> None:
    order = rupees(20_000, price=12_500_000, rules=BUILT_IN["street@1"])
    with pytest.raises(ValueError, match="a series of zeros"):
        settled(order, seller=hours(20_000))
    assert settled(order, seller=hours(20_000), buyer=hours(0)).total_milli == 0


@pytest.mark.parametrize(("day", "slots"), [((2016, 10, 2), 23), ((2016, 4, 3), 25), ((2016, 6, 1), 24)])
def test_a_day_of_23_or_25_hours_settles_every_one_of_them(day: tuple[int, int, int], slots: int) -> None:
    zone = ZoneInfo("Australia/Sydney")
    start, end = (datetime(*day, tzinfo=zone) + timedelta(days=days) for days in (0, 1))
    first = start.astimezone(UTC)
    count = int((end.astimezone(UTC) - first).total_seconds()) // 3600
    assert count == slots
    energy = Series(first, 3600, (1000,) * count)
    prices = pricing.tou_series(energy, [(0, 1440, 210_000)], zone)
    order = an_order(energy_wh=energy, price=prices, wheeling_micro_per_kwh=0)
    assert settled(order, seller=energy).total_milli == slots * 21_000


def test_settling_twice_gives_the_same_and_a_correction_only_what_changed() -> None:
    order = rupees(20_500, 15_500, price=hours(12_500_000, 14_500_000), rules=WAVE2)
    first = settled(order, seller=hours(18_500, 14_200), buyer=hours(20_500, 15_500))
    assert settled(order, seller=hours(18_500, 14_200), buyer=hours(20_500, 15_500)) == first
    corrected = settlement.settle(
        order, seller_alloc_wh=hours(18_500, 15_200), buyer_alloc_wh=hours(20_500, 15_500), now=AFTER, version=2
    )
    assert (corrected.version, corrected.delivered_wh.total - first.delivered_wh.total) == (2, 1000)
    before, after = flows.nets(first.flows), flows.nets(corrected.flows)
    difference = {party: after[party] - before[party] for party in before}
    # 14.50 for the kWh, 0.25 more wheeling to 8.425 -> 8.43, 0.30 more wheeling and 0.50 less penalty for the seller.
    assert difference == {
        Party.BUYER: -14_75_000,
        Party.SELLER: 14_70_000,
        Party.BUYER_UTILITY: 25_000,
        Party.SELLER_UTILITY: -20_000,
    }


def test_the_published_policies_are_known_by_name_and_digest() -> None:
    assert sorted(BUILT_IN) == ["deg-wave2@1", "deviation@1", "iterated@1", "plain@1", "street@1"]
    assert len({policy.digest(entry) for entry in BUILT_IN.values()}) == 5
