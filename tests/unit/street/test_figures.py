"""The demo's sums: what failed is not counted as traded, what nobody drew is not counted as used."""

from datetime import date
from typing import Any

from cli.street import cast, figures, report
from cli.street.figures import DayFigures, Figures, NodeFigures, OrderFigures
from energy_catalog import fontana

DAY = date(2016, 8, 2)
STREET = fontana.load_street()
MEMBERS = cast.cast(STREET, homes=3, seed=1)


def order(state: str, *, contracted: int = 0, delivered: int = 0, hour: int = 10, **money: int) -> OrderFigures:
    def at(value: int) -> tuple[int, ...]:
        return tuple(value if index == hour else 0 for index in range(24))

    return OrderFigures(1, 2, state, at(contracted), at(delivered), **money)


def day(*orders: OrderFigures) -> DayFigures:
    offered = [(100,) * 24, (50,) * 24]
    return figures.day_figures(DAY, street=STREET, members=MEMBERS, offered_wh=offered, orders=orders)


def run(*days: DayFigures, nodes: list[NodeFigures] | None = None, failures: list[str] | None = None) -> Figures:
    homes = figures.home_figures(days, street=STREET, members=MEMBERS)
    return Figures(DAY, 1, homes, list(days), nodes or [], [], 12.0, 4.0, failures or [])


def test_refused_and_cancelled_orders_are_neither_contracted_nor_delivered() -> None:
    traded = day(order("REFUSED", contracted=500), order("CANCELLED", contracted=400, fee_milli=3))
    assert sum(traded.contracted_wh) == sum(traded.delivered_wh) == 0
    document = run(traded).to_json()
    assert (document["orders_failed"], document["orders_cancelled"], document["orders_completed"]) == (1, 1, 0)
    assert document["money_by_home"][0]["paid_milli"] == document["money_by_home"][1]["earned_milli"] == 3


def test_an_order_that_never_completed_counts_as_failed() -> None:
    assert run(day(order("ACTIVE", contracted=10), order("UNANSWERED"))).orders_failed == 2


def test_books_that_do_not_balance_are_reported() -> None:
    nodes = [
        NodeFigures("gateway", {}, {}, balanced=None),
        NodeFigures("bap", {}, {}, balanced=False, problems=("bap: balances in USD sum to 1, not to zero",)),
    ]
    document = run(day(), nodes=nodes).to_json()
    assert document["ledger_balanced"] is False
    assert document["ledger_problems"] == ["bap: balances in USD sum to 1, not to zero"]


def test_delivery_beyond_what_the_buyer_drew_is_delivered_but_not_used() -> None:
    drawn = MEMBERS[0].home.deficit_wh(STREET.hours_of(DAY)[20])
    traded = day(order("COMPLETED", contracted=drawn + 300, delivered=drawn + 200, hour=20))
    assert traded.delivered_wh[20] == drawn + 200
    assert traded.used_wh[20] == drawn


def test_the_report_holds_what_it_promises() -> None:
    traded = day(order("COMPLETED", contracted=900, delivered=700, energy_milli=10, wheeling_milli=2))
    nodes = [
        NodeFigures("bap", {"on_search": 3}, {}, balanced=True),
        NodeFigures("east", {"search": 2}, {"search": 1}, True),
    ]
    document: dict[str, Any] = run(traded, nodes=nodes).to_json()
    assert document["days"] == 1
    assert document["homes"] == 3
    assert document["kwh_offered"] == 3.6
    assert document["kwh_contracted"] == 0.9
    assert document["kwh_delivered"] == 0.7
    assert document["kwh_shareable_max"] == round(
        fontana.shareable_wh(STREET.homes[:3], STREET.hours_of(DAY)) / 1000, 3
    )
    assert (document["messages_total"], document["acks_total"], document["nacks_total"]) == (6, 5, 1)
    assert document["ledger_balanced"] is True
    assert document["seconds"] == 12.0


def test_money_is_the_lines_of_the_settlement() -> None:
    settled = {
        "state": "COMPLETED",
        "contracted": {"energy_wh": [900, 0]},
        "settlement": {
            "delivered": {"energy_wh": [700, 0]},
            "lines": [{"kind": "ENERGY", "amount_milli": 9}, {"kind": "WHEELING", "amount_milli": 2}],
        },
    }
    known = OrderFigures.of(settled, buyer=1, provider=2)
    assert (known.delivered_wh, known.energy_milli, known.wheeling_milli, known.paid_milli) == ((700, 0), 9, 2, 11)


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_shows() -> None:
    page = report.html(run(day(), day(order("COMPLETED", contracted=5)), failures=["<script>alert(1)</script>"]))
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert page.count('<svg viewBox="0 0 720 220"') == 6
    assert "2 August 2016" in page


def test_the_picture_shows_who_got_how_much_from_whom_on_the_best_day() -> None:
    traded = day(order("COMPLETED", contracted=900, delivered=700), order("COMPLETED", contracted=50, delivered=0))
    picture = report.allocation_picture(traded)
    assert picture is not None
    assert (picture.buyers, picture.rows, picture.most) == ([1], [(2, [0.7], 0.7)], 0.7)
    assert "0.70" in report.html(run(traded))
    assert report.allocation_picture(day()) is None
