"""What the year costs every home, with and without its neighbours: the retailer's bill, and what trade makes of it.

Without trade a home pays the retailer for all it draws and is paid the export tariff for all it feeds in. With trade
the retailer bills what is left of both, and the home pays and earns under its contracts instead. The retail price is
recorded; the export tariff is made up (a usual net-billing rate), and says so wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cli.street.cast import Member
from cli.street.figures import DayFigures, HomeBill
from energy_catalog import fontana
from energy_catalog.fontana import Street
from trade.money import Series, cost_milli

#: What the retailer pays for energy fed into the grid, micro-USD per kWh: MADE UP.
EXPORT_MICRO_PER_KWH = 50_000


def home_bills(days: Iterable[DayFigures], *, street: Street, members: Sequence[Member]) -> list[HomeBill]:
    """Every home's bill over the days."""
    bills = {member.number: HomeBill(member.number) for member in members}
    homes = {member.number: member.home for member in members}
    for day in days:
        hours = street.hours_of(day.day)
        bought, sold = _traded(day, len(hours))
        retail = street.series(hours, [street.price_micro_per_kwh[t] for t in hours])
        for number, bill in bills.items():
            drawn = [homes[number].deficit_wh(t) for t in hours]
            fed = [homes[number].surplus_wh(t) for t in hours]
            bill.import_wh += sum(drawn)
            bill.export_wh += sum(fed)
            bill.without_milli += _retailer(drawn, fed, retail)
            bill.with_milli += _retailer(_less(drawn, bought.get(number)), _less(fed, sold.get(number)), retail)
        for order in day.orders:
            bills[order.buyer].with_milli += order.paid_milli
            bills[order.provider].with_milli -= order.energy_milli + order.fee_milli
    return list(bills.values())


def _traded(day: DayFigures, hours: int) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """What every home bought and sold in each hour."""
    bought: dict[int, list[int]] = {}
    sold: dict[int, list[int]] = {}
    for order in day.orders:
        for side, number in ((bought, order.buyer), (sold, order.provider)):
            series = side.setdefault(number, [0] * hours)
            for hour, wh in enumerate(order.delivered_wh):
                series[hour] += wh
    return bought, sold


def _less(metered: Sequence[int], traded: Sequence[int] | None) -> list[int]:
    return [max(0, wh - less) for wh, less in zip(metered, traded or (0,) * len(metered), strict=True)]


def _retailer(drawn_wh: Sequence[int], fed_wh: Sequence[int], retail: Series) -> int:
    asked = cost_milli(
        energy_wh=retail.with_values(tuple(drawn_wh)), price_micro_per_kwh=retail, currency=fontana.CURRENCY
    )
    export = Series.flat(retail, EXPORT_MICRO_PER_KWH)
    paid = cost_milli(
        energy_wh=retail.with_values(tuple(fed_wh)), price_micro_per_kwh=export, currency=fontana.CURRENCY
    )
    return asked - paid
