"""The demo's three reports: a table on the screen, demo-report.json and a demo-report.html that needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.console import Console, Group
from rich.table import Table

from cli.street.bills import EXPORT_MICRO_PER_KWH
from cli.street.curves import Line, chart
from cli.street.figures import COMPLETED, DayFigures, Figures, kwh


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart with its legend."""

    title: str
    lines: Sequence[Line]
    svg: Markup


@dataclass(frozen=True, slots=True)
class DrawnDay:
    """The curves of one day."""

    name: str
    energy: Drawing
    market: Drawing


def write(figures: Figures, folder: Path) -> tuple[Path, Path]:
    """Write both report files into `folder`; returns their paths."""
    as_json, as_html = folder / "demo-report.json", folder / "demo-report.html"
    as_json.write_text(json.dumps(figures.to_json(), indent=2) + "\n", encoding="utf-8")
    as_html.write_text(html(figures), encoding="utf-8")
    return as_json, as_html


def html(figures: Figures) -> str:
    """The page: figures, curves of every day, money of every home, letters by action, the ledger's proof."""
    environment = Environment(
        loader=PackageLoader("cli.street", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    days = [_draw_day(day) for day in figures.days]
    return environment.get_template("report.html.j2").render(
        title=_title(figures),
        data=figures.to_json(),
        headline=_headline(figures),
        by_day=_draw_run(figures.days) if len(days) > 1 else None,
        deviation=_draw_deviation(figures.days),
        picture=allocation_picture(max(figures.days, key=lambda day: sum(day.delivered_wh), default=None)),
        bills=figures.bills,
        dollars=dollars,
        export_tariff=f"{EXPORT_MICRO_PER_KWH / 1_000_000:.2f}",
        days=days,
    )


def _title(figures: Figures) -> str:
    count = len(figures.days)
    days = f"{figures.first_day:%-d %B %Y}" + ("" if count == 1 else f" and {count - 1} days after it")
    return f"{len(figures.homes)} homes traded solar power: {days}"


def _headline(figures: Figures) -> list[tuple[str, str]]:
    return [
        ("offered", f"{kwh(figures.wh('offered_wh')):,.1f} kWh"),
        ("contracted", f"{kwh(figures.wh('contracted_wh')):,.1f} kWh"),
        ("delivered under contract", f"{kwh(figures.wh('delivered_wh')):,.1f} kWh"),
        ("of it drawn by its buyer in the same hour", f"{kwh(figures.wh('used_wh')):,.1f} kWh"),
        ("could be shared at most, hour by hour", f"{kwh(figures.wh('shareable_wh')):,.1f} kWh"),
        ("delivered / could be shared", f"{figures.share_of_max:.1%}"),
        ("the rules alone make of the same contracts", f"{kwh(figures.rules_wh('one_round_wh')):,.1f} kWh"),
        ("three rounds of allocation would deliver", f"{kwh(figures.rules_wh('three_rounds_wh')):,.1f} kWh"),
        ("contracted, but not fed in by the sellers", f"{kwh(figures.rules_wh('not_injected_wh')):,.1f} kWh"),
        ("contracted, but not drawn by the buyers", f"{kwh(figures.rules_wh('not_drawn_wh')):,.1f} kWh"),
        ("orders completed", f"{figures.orders(COMPLETED):,}"),
        ("orders cancelled by their buyer", f"{figures.orders('CANCELLED'):,}"),
        ("orders failed", f"{figures.orders_failed:,}"),
        ("took", f"{figures.seconds:.1f} s, trading {figures.seconds_trading:.1f} s"),
    ]


def _draw(title: str, lines: Sequence[Line], labels: Sequence[str]) -> Drawing:
    return Drawing(title, lines, chart(title, lines, labels=labels, unit="kWh"))


def _in_kwh(name: str, values_wh: Sequence[int]) -> Line:
    return Line(name, [kwh(wh) for wh in values_wh])


def _draw_day(day: DayFigures) -> DrawnDay:
    hours = _hours(day)
    energy = [_in_kwh("load of all homes", day.load_wh), _in_kwh("solar power of all homes", day.pv_wh)]
    market = [
        _in_kwh("offered (forecast surplus)", day.offered_wh),
        _in_kwh("contracted", day.contracted_wh),
        _in_kwh("delivered", day.delivered_wh),
        _in_kwh("could be shared at most", day.shareable_wh),
    ]
    return DrawnDay(
        f"{day.day:%A, %-d %B %Y}",
        _draw("Measured, by the hour (UTC-8)", energy, hours),
        _draw("Traded, by the hour (UTC-8)", market, hours),
    )


@dataclass(frozen=True, slots=True)
class Picture:
    """Who got how much from whom in one day: a row for each seller, a cell for each buyer."""

    day: str
    buyers: list[int]
    #: Seller's number, energy of each buyer in kWh (0 where nothing), and its sum.
    rows: list[tuple[int, list[float], float]]
    #: The largest cell, against which the others are shaded.
    most: float


def allocation_picture(day: DayFigures | None) -> Picture | None:
    """The day's settled energy by seller and buyer; None when nothing was settled."""
    if day is None or not sum(day.delivered_wh):
        return None
    cells: dict[tuple[int, int], int] = {}
    for order in day.orders:
        pair = order.provider, order.buyer
        cells[pair] = cells.get(pair, 0) + sum(order.delivered_wh)
    settled = {pair for pair, wh in cells.items() if wh}
    buyers = sorted({buyer for _, buyer in settled})
    rows = []
    for seller in sorted({seller for seller, _ in settled}):
        energy = [cells.get((seller, buyer), 0) for buyer in buyers]
        rows.append((seller, [kwh(wh) for wh in energy], kwh(sum(energy))))
    return Picture(f"{day.day:%A, %-d %B %Y}", buyers, rows, kwh(max(cells.values())))


def _draw_deviation(days: Sequence[DayFigures]) -> Drawing:
    """What was contracted and came to nothing, by the side that fell short; by the hour when there is one day only."""
    names = {"not_injected_wh": "not fed in by the sellers", "not_drawn_wh": "not drawn by the buyers"}
    if len(days) == 1:
        lines = [_in_kwh(text, getattr(days[0].rules, name)) for name, text in names.items()]
        return _draw("Deviation from the contracts, by the hour (UTC-8)", lines, _hours(days[0]))
    lines = [_in_kwh(text, [sum(getattr(day.rules, name)) for day in days]) for name, text in names.items()]
    return _draw("Deviation from the contracts, by the day", lines, [f"{day.day:%-d %b}" for day in days])


def _hours(day: DayFigures) -> list[str]:
    return [f"{hour:02d}:00" for hour in range(len(day.load_wh))]


def _draw_run(days: Sequence[DayFigures]) -> Drawing:
    names = ("offered", "contracted", "delivered", "shareable")
    legend = ("offered (forecast surplus)", "contracted", "delivered", "could be shared at most")
    lines = [
        _in_kwh(text, [sum(getattr(day, f"{name}_wh")) for day in days])
        for name, text in zip(names, legend, strict=True)
    ]
    return _draw("Traded, by the day", lines, [f"{day.day:%-d %b}" for day in days])


def dollars(amount_milli: int) -> str:
    """An amount in dollars, to the cent: for people."""
    return f"{amount_milli / 100_000:,.2f}"


def _bills(figures: Figures) -> Table:
    table = Table(title="Bill per home, without and with trade", title_justify="left")
    for name in ("home", "drawn kWh", "fed in kWh", "without $", "with $", "better by $"):
        table.add_column(name, justify="right")
    for bill in figures.bills:
        table.add_row(
            str(bill.number),
            f"{kwh(bill.import_wh):,.1f}",
            f"{kwh(bill.export_wh):,.1f}",
            dollars(bill.without_milli),
            dollars(bill.with_milli),
            dollars(bill.better_milli),
        )
    return table


def show(figures: Figures, console: Console) -> None:
    """Print the closing table."""
    summary = Table(title=_title(figures), show_header=False, title_justify="left")
    summary.add_column(style="dim")
    summary.add_column(justify="right")
    for name, value in _headline(figures):
        summary.add_row(name, value)
    proof = (
        "debits equal credits on every node; the books agree"
        if figures.ledger_balanced
        else "[red]does not add up[/red]"
    )
    summary.add_row("ledger", proof)
    console.print(Group(summary, _homes(figures), _bills(figures), _letters(figures)))
    for problem in [*figures.ledger_problems, *figures.failures]:
        console.print(f"[red]{problem}[/red]", highlight=False)


def _homes(figures: Figures) -> Table:
    table = Table(title="Money per home", title_justify="left")
    for name in ("home", "node", "sold kWh", "bought kWh", "earned $", "paid $", "below retail by $"):
        table.add_column(name, justify="left" if name == "node" else "right")
    for home in figures.homes:
        table.add_row(
            str(home.number),
            home.seller,
            f"{kwh(home.sold_wh):.1f}",
            f"{kwh(home.bought_wh):.1f}",
            dollars(home.earned_milli),
            dollars(home.paid_milli),
            dollars(home.saved_milli),
        )
    return table


def _letters(figures: Figures) -> Table:
    acks, nacks = figures.messages_by_action, figures.nacks_by_action
    table = Table(title="Letters received, by action", title_justify="left")
    for name in ("action", "ACK", "NACK"):
        table.add_column(name, justify="left" if name == "action" else "right")
    for action in sorted(acks.keys() | nacks.keys()):
        table.add_row(action, f"{acks.get(action, 0):,}", f"{nacks.get(action, 0):,}")
    table.add_row("all", f"{sum(acks.values()):,}", f"{sum(nacks.values()):,}", style="bold")
    return table
