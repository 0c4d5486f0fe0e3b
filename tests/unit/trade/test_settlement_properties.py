"""Settlement and allocation over a hundred thousand random contracts and meters.

Cases are drawn from seeded generators, not by hypothesis, because a case costs 0.1 ms and hypothesis' own work would
cost ten times that. A failing case names its seed and number; it is the same on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.support.trade_cases import SLOT_START, an_order, hours
from trade import allocation, flows, retail, settlement
from trade.allocation import PPM, Claim, Joint
from trade.money import Series
from trade.order import Order, Side
from trade.policy import PenaltyRule, Policy, Rounding, SettlementRule
from trade.quote import LineKind, Party, SettlementResult

AFTER = SLOT_START + timedelta(hours=30)

#: How many cases each test draws.
CASES = {
    "settled": 45_000,
    "monotone": 10_000,
    "corrected": 10_000,
    "rounds": 25_000,
    "joint": 6_000,
    "billed": 10_000,
}
_PLAIN_ORDER = an_order(energy_wh=hours(1))


def test_a_hundred_thousand_cases_are_drawn() -> None:
    assert sum(CASES.values()) >= 100_000


def drawn(name: str) -> Iterator[tuple[int, random.Random]]:
    """The number of every case and the generator to draw it from."""
    rng = random.Random(f"powershare {name}")
    for number in range(CASES[name]):
        yield number, rng


def rate(rng: random.Random, most: int = 1_000_000) -> int:
    """A rate that is often zero, often round, and sometimes neither."""
    return rng.choice((0, 250_000, rng.randint(0, most)))


def a_policy(rng: random.Random) -> Policy:
    rule = rng.choice(list(SettlementRule))
    penalty = 0 if rule is SettlementRule.DEVIATION else rate(rng)
    return Policy(
        "drawn",
        1,
        settlement=rule,
        rounding=rng.choice(list(Rounding)),
        penalty=rng.choice(list(PenaltyRule)),
        penalty_micro_per_kwh=penalty,
        tolerance_ppm=rng.choice((0, 0, 100_000)) if penalty else 0,
        loss_ppm=rng.choice((0, 0, 30_000, rng.randint(0, 400_000))),
        tax_ppm=rng.choice((0, 180_000)),
        platform_buyer_micro_per_kwh=rate(rng),
        platform_seller_micro_per_kwh=rate(rng),
        utility_fee_buyer_micro_per_kwh=rate(rng),
        utility_fee_seller_micro_per_kwh=rate(rng),
        import_micro_per_kwh=rate(rng),
        export_micro_per_kwh=rate(rng),
    )


def energy(rng: random.Random) -> int:
    return rng.choice((0, 44, rng.randint(0, 3000), rng.randint(0, 5_000_000)))


def a_contract(rng: random.Random, *, least_price: int = -200_000) -> Order:
    """One to four slots of energy and prices under a random policy, in a currency of 0, 2 or 3 places."""
    size = rng.randint(1, 4)
    contracted = hours(*(energy(rng) for _ in range(size)))
    prices = (rng.randint(least_price, 500_000), rng.randint(max(0, least_price), 20_000_000))
    return replace(
        _PLAIN_ORDER,
        contracted_wh=contracted,
        price_micro_per_kwh=hours(*(rng.choice(prices) for _ in range(size))),
        currency=rng.choice(("USD", "INR", "JPY", "KWD")),
        policy=a_policy(rng),
        wheeling_micro_per_kwh=rate(rng),
        wheeling_seller_micro_per_kwh=rate(rng),
        quote=None,
    )


def a_meter(rng: random.Random, contracted: Series) -> Series:
    """What a meter may say of a contract: nothing, a part, all, or more."""
    return contracted.with_values(
        tuple(rng.choice((0, wh, rng.randint(0, wh), wh + rng.randint(0, 999))) for wh in contracted.values)
    )


def settle(order: Order, sold: Series, bought: Series, version: int = 1) -> SettlementResult:
    return settlement.settle(order, seller_alloc_wh=sold, buyer_alloc_wh=bought, now=AFTER, version=version)


def exact_nets(order: Order, result: SettlementResult, sold: Series, bought: Series) -> dict[Party, float]:
    """What every party gains in thousandths of a minor unit before rounding, by the formulas as people write them."""
    rules, net = order.policy, dict.fromkeys(Party, 0.0)
    milli = 10 ** (2 + 3) if order.currency in ("USD", "INR") else 10**3 if order.currency == "JPY" else 10**6

    def pay(payer: Party, payee: Party, kwh: float, micro: float) -> None:
        net[payer] -= kwh * micro / 1e6 * milli
        net[payee] += kwh * micro / 1e6 * milli

    arrives, is_deviation = 1 - rules.loss_ppm / PPM, rules.settlement is SettlementRule.DEVIATION
    for contract, final, sell, buy, price in zip(
        order.contracted_wh.values,
        result.delivered_wh.values,
        sold.values,
        bought.values,
        order.price_micro_per_kwh.values,
        strict=True,
    ):
        load, generation = min(buy, contract), min(sell, contract)
        priced = contract if is_deviation else final
        q_b = (load if is_deviation else final) / 1000 * arrives
        q_s = (generation if is_deviation else final) / 1000
        pay(Party.BUYER, Party.SELLER, priced / 1000, price)
        pay(Party.BUYER, Party.TAX, max(0, priced / 1000 * price), rules.tax_ppm / PPM)
        pay(Party.BUYER, Party.BUYER_UTILITY, q_b, order.wheeling_micro_per_kwh + rules.utility_fee_buyer_micro_per_kwh)
        sellers = order.wheeling_seller_micro_per_kwh + rules.utility_fee_seller_micro_per_kwh
        pay(Party.SELLER, Party.SELLER_UTILITY, q_s, sellers)
        pay(Party.BUYER, Party.BUYER_PLATFORM, q_b, rules.platform_buyer_micro_per_kwh)
        pay(Party.SELLER, Party.SELLER_PLATFORM, q_s, rules.platform_seller_micro_per_kwh)
        if is_deviation:
            pay(Party.BUYER_UTILITY, Party.BUYER, (contract - load) / 1000 * arrives, rules.export_micro_per_kwh)
            pay(Party.SELLER, Party.SELLER_UTILITY, (contract - generation) / 1000, rules.import_micro_per_kwh)
            continue
        short = max(0.0, contract - final - rules.tolerance_ppm / PPM * contract) / 1000
        seller_share = 1.0
        if rules.penalty is PenaltyRule.ATTRIBUTED and rules.settlement is SettlementRule.MIN_OF_TWO and short:
            seller_share = (contract - generation) / (2 * contract - generation - load)
        pay(Party.SELLER, Party.SELLER_UTILITY, short * seller_share, rules.penalty_micro_per_kwh)
        pay(Party.BUYER, Party.BUYER_UTILITY, short * (1 - seller_share), rules.penalty_micro_per_kwh)
    return net


def test_every_settlement_sums_to_zero_stays_in_its_bounds_and_is_the_formulas_rounded() -> None:
    kinds: set[LineKind] = set()
    for number, rng in drawn("settled"):
        order = a_contract(rng)
        sold, bought = a_meter(rng, order.contracted_wh), a_meter(rng, order.contracted_wh)
        result = settle(order, sold, bought)
        net = flows.nets(result.flows)
        assert sum(net.values()) == 0, number
        assert all(flow.amount_milli > 0 and flow.payer is not flow.payee for flow in result.flows), number
        assert len({(flow.kind, flow.payer, flow.payee) for flow in result.flows}) == len(result.flows), number
        assert result.total_milli == -net.get(Party.BUYER, 0), number
        sides = (sold, bought) if order.policy.is_two_sided else (sold,)
        for index, final in enumerate(result.delivered_wh.values):
            said = min(side.values[index] for side in sides)
            assert final == min(order.contracted_wh.values[index], said), number
        assert result.total_milli <= settlement.exposure_milli(order), number
        is_by_slot = order.policy.rounding is Rounding.SLOT
        roundings = len(order.contracted_wh.values) if is_by_slot else 1000
        for party, exact in exact_nets(order, result, sold, bought).items():
            slack = 6 * roundings + abs(exact) * 1e-9
            assert abs(net.get(party, 0) - exact) <= slack, (number, party)
        kinds |= {flow.kind for flow in result.flows}
    assert kinds == set(LineKind) - {LineKind.CANCELLATION_FEE, LineKind.RESOLUTION}


def test_more_delivered_never_costs_the_buyer_less_nor_earns_the_seller_less() -> None:
    """Without a penalty on the buyer and at prices that pay for wheeling, as any seller would ask."""
    for number, rng in drawn("monotone"):
        order = a_contract(rng, least_price=0)
        rules = replace(order.policy, settlement=SettlementRule.MIN_OF_TWO, penalty=PenaltyRule.SELLER)
        charges = order.wheeling_seller_micro_per_kwh + rules.platform_seller_micro_per_kwh
        floor = charges + rules.utility_fee_seller_micro_per_kwh
        prices = order.price_micro_per_kwh
        order = replace(
            order,
            policy=replace(rules, rounding=Rounding.SLOT),
            price_micro_per_kwh=prices.with_values(tuple(price + floor for price in prices.values)),
        )
        less = a_meter(rng, order.contracted_wh)
        more = less.with_values(tuple(wh + rng.choice((0, 1, 50, 5000)) for wh in less.values))
        bought = a_meter(rng, order.contracted_wh)
        before, after = settle(order, less, bought), settle(order, more, bought)
        assert after.total_milli >= before.total_milli, number
        # Each of the seller's charges is rounded by itself, so a slot may lose as many halves as it has charges.
        slack = 4 * len(less.values)
        earned = [flows.nets(result.flows).get(Party.SELLER, 0) for result in (before, after)]
        assert earned[1] >= earned[0] - slack, number


def test_a_correction_moves_the_difference_and_correcting_back_moves_it_back() -> None:
    for number, rng in drawn("corrected"):
        order = a_contract(rng)
        sold, bought = a_meter(rng, order.contracted_wh), a_meter(rng, order.contracted_wh)
        corrected = a_meter(rng, order.contracted_wh)
        first = settle(order, sold, bought)
        second = settle(order, corrected, bought, 2)
        third = settle(order, sold, bought, 3)
        assert replace(third, version=1) == first, number
        assert settle(replace(order, side=Side.SELLER), sold, bought) == first, number
        nets = [flows.nets(result.flows) for result in (first, second, third)]
        moved = [
            {party: later.get(party, 0) - earlier.get(party, 0) for party in Party} for earlier, later in pairwise(nets)
        ]
        assert sum(moved[0].values()) == 0, number
        assert all(moved[0][party] == -moved[1][party] for party in Party), number


def test_no_round_of_allocation_makes_loses_or_takes_back_energy() -> None:
    for number, rng in drawn("rounds"):
        contracted = {f"order-{index}": energy(rng) for index in range(rng.randint(1, 6))}
        settled = {key: rng.choice((0, rng.randint(0, wh))) for key, wh in contracted.items()}
        offered = rng.choice((None, {key: energy(rng) for key in contracted}))
        total = sum(contracted.values())
        metered = rng.choice((total, rng.randint(0, total + 10), max(0, sum(settled.values()) + rng.randint(-2, 2))))
        found = allocation.residual_round(metered, contracted, settled, offered)
        assert sum(found.values()) == min(metered, total), number
        assert all(0 <= found[key] <= wh for key, wh in contracted.items()), number
        if metered >= sum(settled.values()):
            assert all(found[key] >= wh for key, wh in settled.items()), number
        shuffled = rng.sample(list(contracted), len(contracted))
        again = allocation.residual_round(metered, {key: contracted[key] for key in shuffled}, settled, offered)
        assert again == found, number


def test_two_nodes_that_exchange_allocations_settle_what_one_that_sees_both_would() -> None:
    """Each meter allocates by itself, by series, and hears the other side's figures: the result is the joint one."""
    for number, rng in drawn("joint"):
        buyers, sellers = rng.randint(1, 3), rng.randint(1, 3)
        contracts = {
            f"{b}-{s}": Joint(f"b{b}", f"s{s}", rng.randint(0, 2000)) for b in range(buyers) for s in range(sellers)
        }
        import_wh = {f"b{b}": rng.randint(0, 4000) for b in range(buyers)}
        export_wh = {f"s{s}": rng.randint(0, 4000) for s in range(sellers)}
        rounds = rng.randint(1, 3)
        joint = allocation.iterated(contracts, import_wh=import_wh, export_wh=export_wh, rounds=rounds)
        assert joint == exchanged(contracts, import_wh, export_wh, rounds), number
        for side, metered in (("buyer_meter", import_wh), ("seller_meter", export_wh)):
            for meter, wh in metered.items():
                assert sum(joint[key] for key, entry in contracts.items() if getattr(entry, side) == meter) <= wh, (
                    number
                )


def exchanged(
    contracts: dict[str, Joint], import_wh: dict[str, int], export_wh: dict[str, int], rounds: int
) -> dict[str, int]:
    """The same by allocations of every meter alone, exchanged between rounds."""
    said: dict[str, dict[str, Series]] = {"buyer_meter": {}, "seller_meter": {}}
    final: dict[str, Series] = {}
    for _ in range(rounds):
        heard = {"buyer_meter": said["seller_meter"], "seller_meter": said["buyer_meter"]}
        now: dict[str, dict[str, Series]] = {"buyer_meter": {}, "seller_meter": {}}
        for side, metered in (("buyer_meter", import_wh), ("seller_meter", export_wh)):
            for meter, wh in metered.items():
                claims: dict[str, Any] = {
                    key: Claim(hours(entry.contracted_wh), final.get(key), offered_wh=heard[side].get(key))
                    for key, entry in contracts.items()
                    if getattr(entry, side) == meter
                }
                now[side] |= allocation.allocate(hours(wh), claims)
        said = now
        final = {
            key: hours(min(said["buyer_meter"][key].values[0], said["seller_meter"][key].values[0]))
            for key in contracts
        }
    return {key: series.values[0] for key, series in final.items()}


def test_a_retailer_bills_exactly_the_energy_that_no_contract_moved() -> None:
    for number, rng in drawn("billed"):
        size = rng.randint(1, 4)
        used, spilled, bought, sold = (hours(*(rng.randint(0, 3000) for _ in range(size))) for _ in range(4))
        tariff = retail.Tariff(
            hours(*(rate(rng) for _ in range(size))), hours(*(rate(rng) for _ in range(size))), "USD"
        )
        bill = retail.retail_bill(import_wh=used, export_wh=spilled, bought_wh=bought, sold_wh=sold, tariff=tariff)
        outside = used.total - bought.total - (spilled.total - sold.total)
        assert bill.import_wh - bill.export_wh == outside, number
        nothing = Series.flat(used, 0)
        alone = retail.retail_bill(import_wh=used, export_wh=spilled, bought_wh=nothing, sold_wh=nothing, tariff=tariff)
        assert (alone.import_wh, alone.export_wh) == (used.total, spilled.total), number
        assert alone.total_milli == alone.import_milli - alone.export_milli, number


@pytest.mark.parametrize("fault", ["slots", "sign"])
def test_a_bill_over_other_slots_or_negative_energy_is_refused(fault: str) -> None:
    tariff = retail.Tariff(hours(1, 1), hours(1, 1), "USD")
    readings = {"import_wh": hours(1, 1), "export_wh": hours(0, 0), "bought_wh": hours(0, 0), "sold_wh": hours(0, 0)}
    readings["bought_wh"] = hours(1) if fault == "slots" else hours(-1, 0)
    with pytest.raises(ValueError, match="different slots" if fault == "slots" else "never negative"):
        retail.retail_bill(**readings, tariff=tariff)
