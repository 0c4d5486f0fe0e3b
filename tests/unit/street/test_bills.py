"""Bills with and without trade: what a buyer saves and a seller earns comes out of the retailer's margin, exactly."""

from datetime import date

from cli.street import bills, cast, figures
from cli.street.figures import HomeBill, OrderFigures
from energy_catalog import fontana

DAY = date(2016, 8, 2)
STREET = fontana.load_street()
MEMBERS = cast.cast(STREET, homes=3, seed=1)
HOURS = STREET.hours_of(DAY)


def traded(*orders: OrderFigures) -> dict[int, HomeBill]:
    day = figures.day_figures(DAY, street=STREET, members=MEMBERS, offered_wh=[], orders=orders)
    return {bill.number: bill for bill in bills.home_bills([day], street=STREET, members=MEMBERS)}


def test_without_orders_both_bills_are_the_same() -> None:
    assert [bill.better_milli for bill in traded().values()] == [0, 0, 0]


def test_an_order_moves_its_energy_from_the_retailers_bill_to_the_neighbours() -> None:
    # An hour in which home 1 draws and home 2 feeds in at least 100 Wh.
    buyer, seller = (member.home for member in MEMBERS[:2])
    hour = next(i for i, t in enumerate(HOURS) if buyer.deficit_wh(t) >= 100 and seller.surplus_wh(t) >= 100)
    delivered = tuple(100 if index == hour else 0 for index in range(24))
    order = OrderFigures(1, 2, "COMPLETED", delivered, delivered, energy_milli=1_000, wheeling_milli=200)
    retail = STREET.price_micro_per_kwh[HOURS[hour]]
    found = traded(order)
    assert found[1].better_milli == 100 * retail // 10_000 - 1_200
    assert found[2].better_milli == 1_000 - 100 * bills.EXPORT_MICRO_PER_KWH // 10_000
    assert found[3].better_milli == 0
