"""`make demo`: a network of its own trades recorded days of the street, then says what came of it.

The trading clock goes from one evening to the next: market for tomorrow at 18:00, the meters of the day before at
00:05, settlement at 00:10, a look at the running orders at noon. Signatures and time-outs go by the wall clock all
the while.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import uvloop
from rich.console import Console

from api.series import rfc3339
from cli import processes, show
from cli.network import Network, NetworkFailed
from cli.plan import SELLERS, Plan
from cli.plan import Report as TellProgress
from cli.street import bills, counts, delivery, evening, figures, report
from cli.street.calls import CallFailed, Node, open_session
from cli.street.cast import HOMES_MAX, Member, cast
from cli.street.figures import DayFigures, Figures, OrderFigures
from cli.street.stage import Stage, TradingDay, evening_before, open_stage
from energy_catalog import fontana
from energy_catalog.fontana import OutsideTheRecording

#: The first day of the recording only warms the forecast up, so a demo begins on the second unless told otherwise.
_DAY_BY_DEFAULT = fontana.FIRST_DAY + timedelta(days=1)
_SETTINGS = {
    "TRADING_CLOCK": "driven",
    "LOG_LEVEL": "warning",
    "COUNTRY_CODE": "USA",
    "COUNTRY_NAME": "United States",
    "CITY_CODE": "std:909",
    "CITY_NAME": "Fontana",
    "SUPPORT_PHONE": "+19095550100",
    "SUPPORT_EMAIL": "support@street.example",
    "SUPPORT_URL": "https://street.example/support",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What to trade, and where to put what came of it."""

    days: int = 1
    #: The first day; None: the second recorded day, or the latest day from which `days` days are recorded.
    date: dt.date | None = None
    homes: int = HOMES_MAX
    seed: int = 1
    #: What the contracts are settled by: a policy that the nodes know.
    policy: str = "street@1"
    #: Folder for every wire message as received; None: they are not kept.
    record: Path | None = None
    #: Folder for demo-report.json and demo-report.html.
    reports: Path = Path()

    def dates(self) -> list[dt.date]:
        """The days to trade; raises OutsideTheRecording when one of them was not recorded."""
        latest = fontana.LAST_DAY - timedelta(days=self.days - 1)
        first = self.date or min(_DAY_BY_DEFAULT, latest)
        if not fontana.FIRST_DAY <= first <= latest:
            raise OutsideTheRecording(
                f"{self.days} days from {first} are not all recorded: the street has {fontana.FIRST_DAY} to "
                f"{fontana.LAST_DAY}"
            )
        return [first + timedelta(days=offset) for offset in range(self.days)]


def run(options: Options) -> int:
    """Trade and report; 0 when every order ended as it should and the books agree, 1 when not, 2 for bad options."""
    console = Console()
    started = time.monotonic()
    try:
        days = options.dates()
        members = cast(fontana.load_street(), homes=options.homes, seed=options.seed)
    except ValueError as error:
        console.print(f"[red]{error}[/red]")
        return 2
    settings = _SETTINGS | {"TRADING_START": rfc3339(evening_before(days[0]))}
    plan = Plan.of(bpps=SELLERS, settings=settings, record=options.record)
    try:
        with show.progress() as tell, Network.start(plan, report=tell) as network:
            found = uvloop.run(_trade(network, options, days, members, tell))
    except NetworkFailed as failure:
        console.print(f"[red]{failure}[/red]", highlight=False)
        return 1
    found = replace(found, seconds=time.monotonic() - started)
    as_json, as_html = report.write(found, options.reports)
    report.show(found, console)
    console.print(f"Reports: {as_json}, {as_html}" + (f"; letters: {options.record}" if options.record else ""))
    return 0 if found.is_clean else 1


async def _trade(
    network: Network,
    options: Options,
    days: list[dt.date],
    members: tuple[Member, ...],
    tell: TellProgress,
) -> Figures:
    """Everything between the network's start and its stop. Raises NetworkFailed."""
    async with open_session() as session:
        operators = {node.name: Node(session, name=node.name, url=node.url, token=node.admin_token) for node in network}
        try:
            stage = await open_stage(
                street=fontana.load_street(),
                members=members,
                seed=options.seed,
                policy=options.policy,
                days=len(days),
                operators=operators,
                bookkeepers={name: network[name].subscriber_id for name in ("bap", *SELLERS)},
            )
            trading_from = time.monotonic()
            traded = await trade_days(stage, days, tell)
            return await _add_up(stage, traded, seconds_trading=time.monotonic() - trading_from)
        except CallFailed as failure:
            network.check()
            last_words = processes.tail(network[failure.node].log) if failure.status >= 500 else ""
            raise NetworkFailed(f"{failure}\n{last_words}".rstrip()) from failure


async def trade_days(stage: Stage, days: list[dt.date], tell: TellProgress) -> list[TradingDay]:
    """Market, delivery and settlement of each day, in the order in which the clock meets them."""
    traded: list[TradingDay] = []
    for number, day in enumerate(days):
        today = stage.day(day)
        tell(f"{day:%-d %b %Y}: offers and orders", number, len(days))
        await stage.move_clock(evening_before(day))
        await evening.hold_market(stage, today)
        if traded:
            await delivery.settle(stage, traded[-1])
        await delivery.watch(stage, today)
        traded.append(today)
    tell(f"{days[-1]:%-d %b %Y}: settlement", len(days), len(days))
    await delivery.settle(stage, traded[-1])
    return traded


async def _add_up(stage: Stage, traded: list[TradingDay], *, seconds_trading: float) -> Figures:
    days = [_day(stage, today) for today in traded]
    homes = figures.home_figures(days, street=stage.street, members=stage.members)
    nodes, between_books = await counts.of_nodes(stage)
    return Figures(
        first_day=traded[0].day,
        seed=stage.seed,
        homes=homes,
        days=days,
        nodes=nodes,
        books_differ=between_books + await counts.disagreements(stage, homes),
        seconds=seconds_trading,
        seconds_trading=seconds_trading,
        failures=[failure for today in traded for failure in today.failures],
        bills=bills.home_bills(days, street=stage.street, members=stage.members),
    )


def _day(stage: Stage, today: TradingDay) -> DayFigures:
    orders = [
        OrderFigures.of(
            placed.order, buyer=placed.buyer.number, provider=placed.provider.number, fee_milli=placed.fee_milli
        )
        for placed in today.orders
    ]
    return figures.day_figures(
        today.day, street=stage.street, members=stage.members, offered_wh=today.offered_wh.values(), orders=orders
    )
