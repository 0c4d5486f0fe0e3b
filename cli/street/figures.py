"""The demo's figures: what was offered, contracted, delivered and paid, out of the orders as their buyer sees them.

Pure sums of whole Wh and thousandths of a cent; nothing here asks a node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from cli.street import recheck
from cli.street.cast import Member
from cli.street.recheck import Contract, Resettled
from energy_catalog import fontana
from energy_catalog.fontana import Street
from trade.money import Series, amount_from_milli, cost_milli

#: What an order that ran its course looks like to its buyer.
COMPLETED, CANCELLED = "COMPLETED", "CANCELLED"
#: States in which an order is over without delivery, or in which its outcome was never learnt.
FAILED = frozenset(
    {"SELECTING", "QUOTED", "INITIALISING", "INITIALISED", "CONFIRMING", "UNANSWERED", "EXPIRED", "REFUSED"}
)


@dataclass(frozen=True, slots=True)
class OrderFigures:
    """One order at its end: who, in which state, how much, and what was paid for what (thousandths of a cent)."""

    buyer: int
    provider: int
    state: str
    contracted_wh: tuple[int, ...]
    delivered_wh: tuple[int, ...]
    energy_milli: int = 0
    wheeling_milli: int = 0
    fee_milli: int = 0

    @classmethod
    def of(cls, order: Mapping[str, Any], *, buyer: int, provider: int, fee_milli: int = 0) -> OrderFigures:
        """From an order as the buyer's JSON API shows it, and what cancelling it cost."""
        contracted = tuple(order["contracted"]["energy_wh"])
        settlement = order["settlement"]
        if settlement is None:
            return cls(buyer, provider, order["state"], contracted, (0,) * len(contracted), fee_milli=fee_milli)
        paid = {"ENERGY": 0, "WHEELING": 0}
        for line in settlement["lines"]:
            paid[line["kind"]] += line["amount_milli"]
        return cls(
            buyer,
            provider,
            order["state"],
            contracted,
            tuple(settlement["delivered"]["energy_wh"]),
            paid["ENERGY"],
            paid["WHEELING"],
        )

    @property
    def paid_milli(self) -> int:
        """What the buyer paid in all."""
        return self.energy_milli + self.wheeling_milli + self.fee_milli


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One traded day. The series are sums over the street's homes, Wh for each of the day's hours."""

    day: date
    load_wh: tuple[int, ...]
    pv_wh: tuple[int, ...]
    #: The most that could be shared in each hour: the lesser of all surplus and all deficit.
    shareable_wh: tuple[int, ...]
    offered_wh: tuple[int, ...]
    contracted_wh: tuple[int, ...]
    delivered_wh: tuple[int, ...]
    #: Delivered energy that met what its buyer drew in the same hour; the rest was contracted on a wrong forecast.
    used_wh: tuple[int, ...]
    #: The same contracts settled by the rules alone, without the nodes.
    rules: Resettled
    orders: tuple[OrderFigures, ...]


def day_figures(
    day: date,
    *,
    street: Street,
    members: Sequence[Member],
    offered_wh: Iterable[Sequence[int]],
    orders: Sequence[OrderFigures],
) -> DayFigures:
    """Sum one day over its homes and orders."""
    hours = street.hours_of(day)
    homes = [member.home for member in members]
    zeros = (0,) * len(hours)

    def measured(value: Callable[[fontana.Home, int], int]) -> tuple[int, ...]:
        return tuple(sum(value(home, t) for home in homes) for t in hours)

    kept = [order for order in orders if order.state not in FAILED and order.state != CANCELLED]
    bought: dict[int, tuple[int, ...]] = {}
    for order in kept:
        bought[order.buyer] = _sum([bought.get(order.buyer, zeros), order.delivered_wh], zeros)
    by_number = {home.number: home for home in homes}
    used = [
        tuple(min(wh, by_number[number].deficit_wh(t)) for wh, t in zip(series, hours, strict=True))
        for number, series in bought.items()
    ]
    return DayFigures(
        day=day,
        load_wh=measured(lambda home, t: home.load_wh[t]),
        pv_wh=measured(lambda home, t: home.pv_wh[t]),
        shareable_wh=tuple(fontana.shareable_wh(homes, range(t, t + 1)) for t in hours),
        offered_wh=_sum(offered_wh, zeros),
        contracted_wh=_sum((order.contracted_wh for order in kept), zeros),
        delivered_wh=_sum((order.delivered_wh for order in kept), zeros),
        used_wh=_sum(used, zeros),
        rules=recheck.resettle(
            [Contract(order.buyer, order.provider, order.contracted_wh) for order in kept],
            homes=by_number,
            hours=hours,
        ),
        orders=tuple(orders),
    )


def _sum(series: Iterable[Sequence[int]], zeros: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sum(values) for values in zip(zeros, *series, strict=True))


@dataclass(slots=True)
class HomeFigures:
    """One home over the whole run: energy in Wh, money in thousandths of a cent."""

    number: int
    seller: str
    sold_wh: int = 0
    bought_wh: int = 0
    earned_milli: int = 0
    paid_milli: int = 0
    #: What the energy it bought would have cost at the retail price.
    retail_milli: int = 0

    @property
    def saved_milli(self) -> int:
        """How much less it paid than the utility would have asked."""
        return self.retail_milli - self.paid_milli


def home_figures(days: Iterable[DayFigures], *, street: Street, members: Sequence[Member]) -> list[HomeFigures]:
    """What every home sold, bought, earned and paid."""
    homes = {member.number: HomeFigures(member.number, member.seller) for member in members}
    for figures in days:
        hours = street.hours_of(figures.day)
        retail = street.series(hours, [street.price_micro_per_kwh[t] for t in hours])
        for order in figures.orders:
            buyer, provider = homes[order.buyer], homes[order.provider]
            delivered = sum(order.delivered_wh)
            provider.sold_wh += delivered
            buyer.bought_wh += delivered
            provider.earned_milli += order.energy_milli + order.fee_milli
            buyer.paid_milli += order.paid_milli
            buyer.retail_milli += _at_retail(order.delivered_wh, retail)
    return list(homes.values())


def _at_retail(energy_wh: tuple[int, ...], retail: Series) -> int:
    return cost_milli(energy_wh=retail.with_values(energy_wh), price_micro_per_kwh=retail, currency=fontana.CURRENCY)


@dataclass(slots=True)
class HomeBill:
    """One home's energy through its meter, Wh, and its bill without and with trade, thousandths of a cent."""

    number: int
    import_wh: int = 0
    export_wh: int = 0
    without_milli: int = 0
    with_milli: int = 0

    @property
    def better_milli(self) -> int:
        """How much trade saves the home; negative when it costs it."""
        return self.without_milli - self.with_milli


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """What one node counted of itself: letters in by action and answer, and whether its books add up."""

    name: str
    #: Action -> letters acknowledged / refused.
    acks: Mapping[str, int]
    nacks: Mapping[str, int]
    #: None for nodes that keep no books.
    balanced: bool | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything the demo reports."""

    first_day: date
    seed: int
    homes: list[HomeFigures]
    days: list[DayFigures]
    nodes: list[NodeFigures]
    #: Where the nodes' books contradict each other or the orders, a sentence each.
    books_differ: list[str]
    seconds: float
    seconds_trading: float
    failures: list[str] = field(default_factory=list)
    bills: list[HomeBill] = field(default_factory=list)

    def orders(self, *states: str) -> int:
        """How many orders ended in one of these states."""
        return sum(order.state in states for day in self.days for order in day.orders)

    def wh(self, series: str) -> int:
        """The sum of one of the days' series over the whole run."""
        return sum(sum(getattr(day, series)) for day in self.days)

    def rules_wh(self, series: str) -> int:
        """The sum over the whole run of what the rules alone make of the contracts."""
        return sum(sum(getattr(day.rules, series)) for day in self.days)

    @property
    def orders_failed(self) -> int:
        """Orders that were neither delivered nor cancelled by their buyer."""
        return sum(len(day.orders) for day in self.days) - self.orders(COMPLETED, CANCELLED)

    @property
    def messages_by_action(self) -> dict[str, int]:
        """Letters received and acknowledged anywhere on the network, by action."""
        return _by_action(node.acks for node in self.nodes)

    @property
    def nacks_by_action(self) -> dict[str, int]:
        """Letters refused anywhere on the network, by action."""
        return _by_action(node.nacks for node in self.nodes)

    @property
    def ledger_balanced(self) -> bool:
        """True when every node that keeps books proves that debits equal credits, and the books agree."""
        return not self.ledger_problems and all(node.balanced is not False for node in self.nodes)

    @property
    def ledger_problems(self) -> list[str]:
        """What is wrong with the books: within one node, between nodes, and against the orders."""
        return [*(problem for node in self.nodes for problem in node.problems), *self.books_differ]

    @property
    def is_clean(self) -> bool:
        """True when every order ended as it should and the books are right."""
        return self.ledger_balanced and not self.orders_failed and not self.failures

    @property
    def share_of_max(self) -> float:
        """Delivered energy as a share of the most that could be shared hour by hour."""
        return self.wh("delivered_wh") / max(self.wh("shareable_wh"), 1)

    def to_json(self) -> dict[str, Any]:
        """The content of demo-report.json."""
        messages = self.messages_by_action
        return {
            "days": len(self.days),
            "first_day": self.first_day.isoformat(),
            "homes": len(self.homes),
            "seed": self.seed,
            "orders_completed": self.orders(COMPLETED),
            "orders_cancelled": self.orders(CANCELLED),
            "orders_failed": self.orders_failed,
            "kwh_offered": kwh(self.wh("offered_wh")),
            "kwh_contracted": kwh(self.wh("contracted_wh")),
            "kwh_delivered": kwh(self.wh("delivered_wh")),
            "kwh_used": kwh(self.wh("used_wh")),
            "kwh_shareable_max": kwh(self.wh("shareable_wh")),
            "share_of_max": round(self.share_of_max, 4),
            "kwh_by_the_rules": kwh(self.rules_wh("one_round_wh")),
            "kwh_in_three_rounds": kwh(self.rules_wh("three_rounds_wh")),
            "kwh_not_injected": kwh(self.rules_wh("not_injected_wh")),
            "kwh_not_drawn": kwh(self.rules_wh("not_drawn_wh")),
            "messages_total": sum(messages.values()) + sum(self.nacks_by_action.values()),
            "acks_total": sum(messages.values()),
            "nacks_total": sum(self.nacks_by_action.values()),
            "messages_by_action": messages,
            "ledger_balanced": self.ledger_balanced,
            "ledger_problems": self.ledger_problems,
            "seconds": round(self.seconds, 1),
            "seconds_trading": round(self.seconds_trading, 1),
            "money_by_home": [_home_json(home) for home in self.homes],
            "bills_by_home": [_bill_json(bill) for bill in self.bills],
            "by_day": [_day_json(day) for day in self.days],
            "failures": self.failures,
        }


def kwh(wh: int) -> float:
    """Wh as kWh with three decimals, for people and reports only."""
    return round(wh / 1000, 3)


def usd(amount_milli: int) -> str:
    """An amount in dollars, to the thousandth of a cent, idle zeros dropped."""
    return amount_from_milli(amount_milli, fontana.CURRENCY)


def _by_action(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for action, number in count.items():
            total[action] = total.get(action, 0) + number
    return dict(sorted(total.items()))


def _home_json(home: HomeFigures) -> dict[str, Any]:
    return {
        "home": home.number,
        "seller_node": home.seller,
        "kwh_sold": kwh(home.sold_wh),
        "kwh_bought": kwh(home.bought_wh),
        "earned_milli": home.earned_milli,
        "paid_milli": home.paid_milli,
        "saved_milli": home.saved_milli,
    }


def _bill_json(bill: HomeBill) -> dict[str, Any]:
    return {
        "home": bill.number,
        "kwh_import": kwh(bill.import_wh),
        "kwh_export": kwh(bill.export_wh),
        "without_milli": bill.without_milli,
        "with_milli": bill.with_milli,
        "better_milli": bill.better_milli,
    }


def _day_json(day: DayFigures) -> dict[str, Any]:
    names = ("offered", "contracted", "delivered", "used", "shareable")
    sums = {f"kwh_{name}": kwh(sum(getattr(day, f"{name}_wh"))) for name in names}
    return {"day": day.day.isoformat(), "orders": len(day.orders), **sums}
