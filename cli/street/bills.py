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
from trade.money import Series
from trade.retail import Tariff, retail_bill

#: What the retailer pays for energy fed into the grid, micro-USD per kWh: MADE UP.
EXPORT_MICRO_PER_KWH = 50_000


def home_bills(days: Iterable[DayFigures], *, street: Street, members: Sequence[Member]) -> list[HomeBill]:
    """Every home's bill over the days."""
    bills = {member.number: HomeBill(member.number) for member in members}
    for day in days:
        hours = street.hours_of(day.day)
        retail = street.series(hours, [street.price_micro_per_kwh[t] for t in hours])
        tariff = Tariff(retail, Series.flat(retail, EXPORT_MICRO_PER_KWH), fontana.CURRENCY)
        bought, sold = _traded(day, retail)
        nothing = Series.flat(retail, 0)
        for member in members:
            bill, number = bills[member.number], member.number
            drawn = street.series(hours, [member.home.deficit_wh(t) for t in hours])
            fed = street.series(hours, [member.home.surplus_wh(t) for t in hours])
            bill.import_wh += drawn.total
            bill.export_wh += fed.total
            without = retail_bill(import_wh=drawn, export_wh=fed, bought_wh=nothing, sold_wh=nothing, tariff=tariff)
            rest = retail_bill(
                import_wh=drawn,
                export_wh=fed,
                bought_wh=bought.get(number, nothing),
                sold_wh=sold.get(number, nothing),
                tariff=tariff,
            )
            bill.without_milli += without.total_milli
            bill.with_milli += rest.total_milli
        for order in day.orders:
            bills[order.buyer].with_milli += order.paid_milli
            bills[order.provider].with_milli -= order.energy_milli + order.fee_milli
    return list(bills.values())


def _traded(day: DayFigures, like: Series) -> tuple[dict[int, Series], dict[int, Series]]:
    """What every home bought and sold in each hour."""
    bought: dict[int, Series] = {}
    sold: dict[int, Series] = {}
    for order in day.orders:
        for side, number in ((bought, order.buyer), (sold, order.provider)):
            before = side.get(number, Series.flat(like, 0)).values
            side[number] = like.with_values(tuple(a + b for a, b in zip(before, order.delivered_wh, strict=True)))
    return bought, sold
