"""The street on the network: its homes as providers and customers, with tokens, meters and money, and its clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, TypeVar

from api.series import rfc3339
from cli.street.calls import Node
from cli.street.cast import Member
from cli.street.matching import Deal
from energy_catalog import fontana
from energy_catalog.fontana import Street
from trade.money import utc

T = TypeVar("T")
R = TypeVar("R")

#: When tomorrow's offers are made, as time before its first hour (18:00 the evening before).
EVENING_BEFORE = timedelta(hours=6)
#: What every home pays into its wallet for each day of the demo, cents: more than the dearest day costs.
DEPOSIT_PER_DAY_MINOR = 20_00
#: How many conversations the demo holds at once: enough that both cores have work while some wait for the disk.
AT_ONCE = 16


@dataclass(slots=True)
class Placed:
    """One order as its buyer sees it; `order` is the newest answer of the buyer's node."""

    buyer: Member
    provider: Member
    deal: Deal
    order: dict[str, Any]
    #: What it cost to cancel it.
    fee_milli: int = 0

    @property
    def order_id(self) -> str:
        """The buyer's id of the order."""
        return str(self.order["order_id"])

    @property
    def state(self) -> str:
        """Its state when last heard of."""
        return str(self.order["state"])

    @property
    def is_contracted(self) -> bool:
        """True while energy is owed under it."""
        return self.state in {"ACTIVE", "DELIVERING"}


@dataclass(slots=True)
class TradingDay:
    """One day's market from offers to settlement."""

    day: date
    hours: range
    offered_wh: dict[int, tuple[int, ...]] = field(default_factory=dict)
    orders: list[Placed] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def starts_at(self) -> datetime:
        """Beginning of the first recorded hour of the day."""
        return fontana.starts_at(self.hours.start)

    @property
    def ends_at(self) -> datetime:
        """End of its last recorded hour."""
        return fontana.starts_at(self.hours.stop)


@dataclass(frozen=True, slots=True)
class Stage:
    """Everybody and everything that trades: `operators` are all nodes called with their operators' tokens."""

    street: Street
    members: Sequence[Member]
    seed: int
    #: What the contracts are settled by.
    policy: str
    operators: Mapping[str, Node]
    #: Subscriber ids of the nodes that keep books: the buyers' and the sellers'.
    bookkeepers: Mapping[str, str]
    #: The buyers' node, called by the consumer app that all homes use.
    app: Node
    #: The seller's node of each home, called by the home itself.
    prosumers: Mapping[int, Node]
    #: The wallet of each home at the buyers' node.
    accounts: Mapping[int, str]
    deposit_minor: int

    def day(self, day: date) -> TradingDay:
        """A day that has not been traded yet; raises fontana.OutsideTheRecording."""
        return TradingDay(day, self.street.hours_of(day))

    async def move_clock(self, instant: datetime) -> None:
        """Move every node's trading clock; returns when all have done what became due."""
        body = {"trading_time": rfc3339(instant)}
        await asyncio.gather(*(node.call("PUT", "/api/clock", body) for node in self.operators.values()))


def evening_before(day: date) -> datetime:
    """The instant at which a day's offers are made."""
    return utc(datetime.combine(day, time(), fontana.ZONE)) - EVENING_BEFORE


async def in_parallel(work: Callable[[T], Awaitable[R]], items: Iterable[T], *, at_once: int = AT_ONCE) -> list[R]:
    """Do the work on every item, a bounded number at a time; the first failure ends it all."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: T) -> R:
        async with gate:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def open_stage(
    *,
    street: Street,
    members: Sequence[Member],
    seed: int,
    policy: str,
    days: int,
    operators: Mapping[str, Node],
    bookkeepers: Mapping[str, str],
) -> Stage:
    """Register every home: as a provider with its meter and panels at its seller's node, as a customer at the BAP."""
    bap = operators["bap"]
    app = bap.with_token(str((await bap.post("/api/tokens", {"role": "app", "name": "street app"}))["token"]))
    deposit_minor = DEPOSIT_PER_DAY_MINOR * days

    async def move_in(member: Member) -> tuple[Node, str]:
        seller = operators[member.seller]
        await seller.post("/api/providers", _provider(member))
        token = {"role": "prosumer", "name": member.name, "scope": member.provider_id}
        prosumer = seller.with_token(str((await seller.post("/api/tokens", token))["token"]))
        panels = {"kind": "SOLAR", "name": "panels", "rating_w": member.home.pv_rated_w}
        await prosumer.post(f"/api/providers/{member.provider_id}/assets", panels)
        account = str((await app.post("/api/accounts", _customer(member)))["account_id"])
        await app.call("PUT", f"/api/accounts/{account}/meter", {"meter_id": member.meter_id})
        deposit = {"amount_minor": deposit_minor, "reference": "opening"}
        await bap.post(f"/api/accounts/{account}/deposits", deposit)
        return prosumer, account

    moved_in = await in_parallel(move_in, members)
    return Stage(
        street=street,
        members=members,
        seed=seed,
        policy=policy,
        operators=operators,
        bookkeepers=bookkeepers,
        app=app,
        prosumers={member.number: prosumer for member, (prosumer, _) in zip(members, moved_in, strict=True)},
        accounts={member.number: account for member, (_, account) in zip(members, moved_in, strict=True)},
        deposit_minor=deposit_minor,
    )


def _provider(member: Member) -> dict[str, Any]:
    return {
        "provider_id": member.provider_id,
        "name": member.name,
        "short_desc": f"{member.name}, {member.home.pv_rated_w // 1000} kW of solar panels; the position is made up",
        "gps": member.gps,
        "meter_id": member.meter_id,
    }


def _customer(member: Member) -> dict[str, Any]:
    return {
        "name": member.name,
        "email": f"{member.provider_id}@street.example",
        "phone": f"+190955501{member.number:02d}",
        "currency": fontana.CURRENCY,
    }
