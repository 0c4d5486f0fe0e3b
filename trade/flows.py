"""From settled energy to money: what everybody owes everybody, exactly, rounded once and summing to zero.

A charge is exact: Wh x micro-units per kWh x parts per million is a whole number of femto-units (1e-15) of the
currency. A flow is a charge after its one rounding, a whole number of thousandths of a minor unit from a payer to a
payee. What one pays another gets, so the flows of a settlement sum to zero by their making. An amount with several
payers (a penalty) or several lines (energy at several prices) is rounded as one and split by largest remainder, so
that nothing is left over.

    ENERGY        buyer -> seller               q x p
    WHEELING      each side -> its utility      q_b x w_b, q_s x w_s
    TAX           buyer -> tax                  max(0, q x p) x tax
    PLATFORM_FEE  each side -> its platform     q_b x f_b, q_s x f_s
    UTILITY_FEE   each side -> its utility      q_b x u_b, q_s x u_s
    PENALTY       who fell short -> its utility max(0, contracted - q - tolerance x contracted) x r
    DEVIATION     buyer's utility -> buyer      (contracted - a_B) x (1 - loss) x export tariff
                  seller -> its utility         (contracted - a_S) x import tariff

q is the settled energy (under DEVIATION the contract in full), q_s = q and q_b = q x (1 - loss); under DEVIATION each
side's q_s and q_b are what its own meter was allocated. Sources: the wave-2 devkit's example policy, the published note
on allocation and settlement (appendix A for the deviations), and its open proposals for tolerance and attribution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trade.allocation import PPM, received_wh
from trade.money import MILLI_PER_MINOR, MILLI_PLACES, currency_exponent, divide_half_away
from trade.order import Order
from trade.policy import PenaltyRule, Rounding, SettlementRule
from trade.quote import TITLES, Flow, LineKind, Party, QuoteLine

#: Which charge: what for, who pays, who is paid.
Key = tuple[LineKind, Party, Party]

#: Decimal places of a femto-unit: Wh (3) x micro per kWh (6) x parts per million (6).
_FEMTO_PLACES = 15

_ENERGY: Key = (LineKind.ENERGY, Party.BUYER, Party.SELLER)
_TAX: Key = (LineKind.TAX, Party.BUYER, Party.TAX)
_WHEELING_B: Key = (LineKind.WHEELING, Party.BUYER, Party.BUYER_UTILITY)
_WHEELING_S: Key = (LineKind.WHEELING, Party.SELLER, Party.SELLER_UTILITY)
_PLATFORM_B: Key = (LineKind.PLATFORM_FEE, Party.BUYER, Party.BUYER_PLATFORM)
_PLATFORM_S: Key = (LineKind.PLATFORM_FEE, Party.SELLER, Party.SELLER_PLATFORM)
_UTILITY_B: Key = (LineKind.UTILITY_FEE, Party.BUYER, Party.BUYER_UTILITY)
_UTILITY_S: Key = (LineKind.UTILITY_FEE, Party.SELLER, Party.SELLER_UTILITY)
_PENALTY_S: Key = (LineKind.PENALTY, Party.SELLER, Party.SELLER_UTILITY)
_PENALTY_B: Key = (LineKind.PENALTY, Party.BUYER, Party.BUYER_UTILITY)
_DEVIATION_B: Key = (LineKind.DEVIATION, Party.BUYER_UTILITY, Party.BUYER)
_DEVIATION_S: Key = (LineKind.DEVIATION, Party.SELLER, Party.SELLER_UTILITY)


@dataclass(frozen=True, slots=True)
class Quantities:
    """The energy of one slot, Wh injected: contracted, settled, and what each side's meter was allocated (clamped)."""

    contracted_wh: int
    final_wh: int
    buyer_wh: int
    seller_wh: int


@dataclass(frozen=True, slots=True)
class Charged:
    """What a settlement costs: all flows that are not zero, and the buyer's lines, which sum to what the buyer pays."""

    flows: tuple[Flow, ...]
    lines: tuple[QuoteLine, ...]


def split(parts: Sequence[int], unit: int) -> list[int]:
    """Exact amounts as whole units: their sum rounded once, half away from zero, and shared by largest remainder.

    The result sums to that rounded sum exactly; equal remainders are served in the order given.
    """
    floors = [part // unit for part in parts]
    left = divide_half_away(sum(parts), unit) - sum(floors)
    by_remainder = sorted(range(len(parts)), key=lambda index: -(parts[index] % unit))
    for index in by_remainder[:left]:
        floors[index] += 1
    return floors


def charge(order: Order, slots: Sequence[Quantities]) -> Charged:
    """The flows and the buyer's lines of an order over the energy of its slots, rounded as its policy says."""
    prices = order.price_micro_per_kwh.values
    # A day's contract is empty at night: only the first slot is worked out in any case, so that every line is there.
    exact = [
        dict(_exact(order, price, slot)) if slot.contracted_wh or not index else {_ENERGY: 0}
        for index, (price, slot) in enumerate(zip(prices, slots, strict=True))
    ]
    if order.policy.rounding is Rounding.SLOT:
        unit = _unit(order.currency)
        rounded = [_rounded(charges, unit, 1) for charges in exact]
        amounts = _summed(rounded)
        energies = [charges[_ENERGY] for charges in rounded]
        by_price = _by_price(prices, slots, energies, order)
    else:
        unit = _unit(order.currency) * MILLI_PER_MINOR
        totals = _summed(exact)
        amounts = _rounded(totals, unit, MILLI_PER_MINOR)
        found = _by_price(prices, slots, [charges[_ENERGY] for charges in exact], order)
        parts = split(list(found.values()), unit)
        by_price = {price: part * MILLI_PER_MINOR for price, part in zip(found, parts, strict=True)}
    return Charged(_flows(amounts), _lines(order, slots, amounts, by_price))


def slot_flows(order: Order, index: int, slot: Quantities) -> tuple[Flow, ...]:
    """The flows of one slot under a policy that rounds by slot: what a statement shows for it."""
    exact = dict(_exact(order, order.price_micro_per_kwh.values[index], slot))
    return _flows(_rounded(exact, _unit(order.currency), 1))


def exact_cost(order: Order, index: int, slot: Quantities) -> int:
    """What the buyer owes for one slot before any rounding, in femto-units: for bounds that must hold exactly."""
    total = 0
    for (_, payer, payee), femto in _exact(order, order.price_micro_per_kwh.values[index], slot):
        total += femto * ((payer is Party.BUYER) - (payee is Party.BUYER))
    return total


def rounding_slack(order: Order) -> int:
    """How far the rounding of the buyer's charges can lift a contract above its exact cost, femto-units."""
    buyers = (_ENERGY, _TAX, _WHEELING_B, _PLATFORM_B, _UTILITY_B, _PENALTY_B, _DEVIATION_B)
    if order.policy.rounding is Rounding.SLOT:
        return len(buyers) * len(order.contracted_wh.values) * _unit(order.currency)
    return len(buyers) * _unit(order.currency) * MILLI_PER_MINOR


def milli_above(femto: int, currency: str) -> int:
    """The least whole number of thousandths of a minor unit that covers an exact amount."""
    return -(-femto // _unit(currency))


def nets(flows: Sequence[Flow]) -> dict[Party, int]:
    """What every party receives less what it pays; the values sum to zero."""
    totals: dict[Party, int] = {}
    for flow in flows:
        totals[flow.payer] = totals.get(flow.payer, 0) - flow.amount_milli
        totals[flow.payee] = totals.get(flow.payee, 0) + flow.amount_milli
    return totals


def _unit(currency: str) -> int:
    """Femto-units in a thousandth of a minor unit."""
    return int(10 ** (_FEMTO_PLACES - currency_exponent(currency) - MILLI_PLACES))


def _exact(order: Order, price: int, slot: Quantities) -> Iterator[tuple[Key, int]]:
    """The charges of one slot, exact; a charge whose rate is zero is left out, energy never is."""
    policy = order.policy
    arrives = PPM - policy.loss_ppm
    if policy.settlement is SettlementRule.DEVIATION:
        priced_wh, seller_wh, buyer_wh = slot.contracted_wh, slot.seller_wh, slot.buyer_wh
        yield _DEVIATION_B, (slot.contracted_wh - buyer_wh) * arrives * policy.export_micro_per_kwh
        yield _DEVIATION_S, (slot.contracted_wh - seller_wh) * PPM * policy.import_micro_per_kwh
    else:
        priced_wh = seller_wh = buyer_wh = slot.final_wh
        if policy.penalty_micro_per_kwh:
            yield from _penalties(order, slot)
    value = priced_wh * price
    yield _ENERGY, value * PPM
    if policy.tax_ppm:
        yield _TAX, max(0, value) * policy.tax_ppm
    sides = (
        (_WHEELING_B, order.wheeling_micro_per_kwh, buyer_wh * arrives),
        (_WHEELING_S, order.wheeling_seller_micro_per_kwh, seller_wh * PPM),
        (_PLATFORM_B, policy.platform_buyer_micro_per_kwh, buyer_wh * arrives),
        (_PLATFORM_S, policy.platform_seller_micro_per_kwh, seller_wh * PPM),
        (_UTILITY_B, policy.utility_fee_buyer_micro_per_kwh, buyer_wh * arrives),
        (_UTILITY_S, policy.utility_fee_seller_micro_per_kwh, seller_wh * PPM),
    )
    for key, rate, quantity in sides:
        if rate:
            yield key, rate * quantity


def _penalties(order: Order, slot: Quantities) -> Iterator[tuple[Key, int]]:
    """The penalty of a slot, parted between the sides in proportion to how far each fell short.

    Where neither meter fell short (a figure that was agreed against the meters) nobody pays.
    """
    policy = order.policy
    short_ppm = (slot.contracted_wh - slot.final_wh) * PPM - slot.contracted_wh * policy.tolerance_ppm
    due = max(0, short_ppm) * policy.penalty_micro_per_kwh
    if policy.penalty is PenaltyRule.SELLER or policy.settlement is SettlementRule.ONE_SIDED:
        yield _PENALTY_S, due
        return
    seller_short, buyer_short = slot.contracted_wh - slot.seller_wh, slot.contracted_wh - slot.buyer_wh
    if seller_short + buyer_short:
        sellers = due * seller_short // (seller_short + buyer_short)
        yield _PENALTY_S, sellers
        yield _PENALTY_B, due - sellers


def _summed(charges: Sequence[Mapping[Key, int]]) -> dict[Key, int]:
    totals: dict[Key, int] = {}
    for slot in charges:
        for key, amount in slot.items():
            totals[key] = totals.get(key, 0) + amount
    return totals


def _rounded(charges: Mapping[Key, int], unit: int, scale: int) -> dict[Key, int]:
    """Every charge in thousandths of a minor unit, rounded once to units; penalties are one amount with two payers."""
    amounts = {key: divide_half_away(femto, unit) * scale for key, femto in charges.items()}
    if _PENALTY_B in charges:
        sellers, buyers = split([charges[_PENALTY_S], charges[_PENALTY_B]], unit)
        amounts |= {_PENALTY_S: sellers * scale, _PENALTY_B: buyers * scale}
    return amounts


def _flows(amounts: Mapping[Key, int]) -> tuple[Flow, ...]:
    """Flows in the order of their kinds; a negative amount (a negative price) is paid the other way."""
    kinds = list(LineKind)
    flows = []
    for kind, payer, payee in sorted(amounts, key=lambda key: (kinds.index(key[0]), key[1], key[2])):
        amount = amounts[kind, payer, payee]
        if amount > 0:
            flows.append(Flow(kind, payer, payee, amount))
        elif amount < 0:
            flows.append(Flow(kind, payee, payer, -amount))
    return tuple(flows)


# The buyer's lines.


def _priced_wh(order: Order, slot: Quantities) -> int:
    return slot.contracted_wh if order.policy.settlement is SettlementRule.DEVIATION else slot.final_wh


def _by_price(
    prices: Sequence[int], slots: Sequence[Quantities], amounts: Sequence[int], order: Order
) -> dict[int, int]:
    """What energy costs at each distinct price, in order of time; at the first price when there is no energy."""
    found: dict[int, int] = {}
    for price, slot, amount in zip(prices, slots, amounts, strict=True):
        if _priced_wh(order, slot):
            found[price] = found.get(price, 0) + amount
    return found or {prices[0]: 0}


def _lines(
    order: Order, slots: Sequence[Quantities], amounts: Mapping[Key, int], by_price: Mapping[int, int]
) -> tuple[QuoteLine, ...]:
    """What the buyer pays, line by line: energy by price, then every charge that has a rate, then what fell short."""
    policy, prices = order.policy, order.price_micro_per_kwh.values
    energy_wh = dict.fromkeys(by_price, 0)
    for price, slot in zip(prices, slots, strict=True):
        if _priced_wh(order, slot):
            energy_wh[price] += _priced_wh(order, slot)
    lines = [
        QuoteLine(LineKind.ENERGY, TITLES[LineKind.ENERGY], amount, energy_wh[price], price)
        for price, amount in by_price.items()
    ]
    is_deviation = policy.settlement is SettlementRule.DEVIATION
    carried_wh = received_wh(sum(slot.buyer_wh if is_deviation else slot.final_wh for slot in slots), policy.loss_ppm)
    missing_wh = received_wh(sum(slot.contracted_wh - slot.buyer_wh for slot in slots), policy.loss_ppm)
    others: tuple[tuple[Key, int | None, int | None], ...] = (
        (_WHEELING_B, carried_wh, order.wheeling_micro_per_kwh),
        (_TAX, None, None),
        (_PLATFORM_B, carried_wh, policy.platform_buyer_micro_per_kwh),
        (_UTILITY_B, carried_wh, policy.utility_fee_buyer_micro_per_kwh),
        (_PENALTY_B, None, policy.penalty_micro_per_kwh),
        (_DEVIATION_B, missing_wh, policy.export_micro_per_kwh),
    )
    for key, wh, rate in others:
        amount = amounts.get(key, 0)
        if key in (_PENALTY_B, _DEVIATION_B) and not amount:
            continue
        if key in amounts:
            sign = 1 if key[1] is Party.BUYER else -1
            lines.append(QuoteLine(key[0], TITLES[key[0]], sign * amount, wh, rate))
    return tuple(lines)
