"""A node, put together: one aiohttp application with everything a shop needs, opened in order and closed in reverse.

A shop's `app.py` gives its stores, its handlers (one for every action it receives), its JSON API and its jobs:

    database = Database(settings.database_url, pool_max=settings.database_pool_max)
    stores = Stores(database, InboxRows(database), OutboxRows(database), DirectoryRows(database), ClockRows(database))
    app = node.build_app(settings, role=Role.BPP, stores=stores, handlers=handlers.table, api=desk.mount, jobs=JOBS)

Opened in this order: database, clock, Redis (which may be away), directory, the node's own subscription, what the shop
adds, outbox, inbox, jobs. A stop therefore ends the jobs first, finishes the letters that were accepted, then sends
what those wrote, and closes the database last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from beckn import config, envelope, signing, wiring
from beckn.actions import Role
from beckn.claims import Claims
from beckn.clock import Clock, DrivenClock, WallClock
from beckn.config import NodeSettings
from beckn.desk import Check, Desk, Finding
from beckn.directory import Directory, DirectoryStore
from beckn.inbox import Inbox, InboxStore
from beckn.jobs import Job, Jobs
from beckn.lifecycle import run
from beckn.metrics import Metrics
from beckn.nudges import Nudges
from beckn.outbox import Outbox, OutboxStore, Outgoing
from beckn.processing import Handler, ProcessingStore
from beckn.record import Recorder
from beckn.subscription import OwnSubscription
from beckn.transport import Transport

__all__ = [
    "NODE",
    "Api",
    "Context",
    "Handlers",
    "Job",
    "Node",
    "OnUndelivered",
    "SecondRole",
    "Stores",
    "build_app",
    "run",
]

#: Pause between tries to reach the database at the start, seconds.
DATABASE_RETRY_S = 0.25


class ClockStore(Protocol):
    """Where a driven clock's time outlives the process."""

    async def load(self) -> datetime | None:
        """The instant last kept."""
        ...

    async def save(self, trading_time: datetime) -> None:
        """Keep an instant."""
        ...


class LetterStore(InboxStore, ProcessingStore, Protocol):
    """Letters received: stored, then processed."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The node's memory; the registry has neither inbox nor outbox, nor a directory but itself."""

    database: Any
    inbox: LetterStore | None
    outbox: OutboxStore | None
    directory: DirectoryStore | None
    clock: ClockStore


@dataclass(repr=False)
class Node:
    """A running node: what handlers, APIs and jobs are given."""

    settings: Any
    role: Role
    identity: signing.Identity
    network: envelope.Network
    #: This node as its peers know it.
    me: envelope.Party
    wall: Clock
    trading: Clock
    stores: Stores
    metrics: Metrics
    nudges: Nudges
    recorder: Recorder | None
    #: This node as the peers of its second role know it; None without one.
    second_me: envelope.Party | None = None
    checks: dict[str, Check] = field(default_factory=dict)
    #: Its place in the registry in its second role.
    second_subscription: OwnSubscription | None = None
    # These are set while the application is put together; the registry has neither of the first five.
    directory: Directory = field(init=False)
    claims: Claims = field(init=False)
    subscription: OwnSubscription = field(init=False)
    inbox: Inbox = field(init=False)
    outbox: Outbox = field(init=False)
    jobs: Jobs = field(init=False)

    @property
    def database(self) -> Any:
        """The node's database: `async with node.database.unit_of_work() as uow`."""
        return self.stores.database

    def add_check(self, name: str, check: Check) -> None:
        """Let /ready ask one thing more."""
        self.checks[name] = check

    def nudge(self, channel: str, payload: Any = None) -> None:
        """Tell whoever listens to `channel`, in this process and in the node's replicas, to look again."""
        self.nudges.nudge(channel, payload)

    def listen(self, channel: str) -> AbstractContextManager[asyncio.Queue[Any]]:
        """A queue of what is nudged on `channel` while the block runs."""
        return self.nudges.listen(channel)


NODE = web.AppKey("node", Node)

#: A shop's handlers: an action's name to the function that does what the letter asks.
Handlers = Callable[[Node], Mapping[str, Handler]]
#: A shop's word on letters that were not delivered: node, unit of work, letter, outcome, certain.
OnUndelivered = Callable[[Node, Any, Outgoing, dict[str, Any], bool], Awaitable[None]]
#: Registers routes.
Api = Callable[[web.Application, Node], None]
#: Something of the shop's that runs as long as the node does.
Context = Callable[[Node], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class SecondRole:
    """A role a node has beside its own: the same subscriber and keys, another record and another base URL.

    A seller that asks its utility is a buyer to it, for instance. The two roles may not receive the same action.
    """

    role: Role
    #: Where its letters arrive, under PUBLIC_URL.
    path: str
    handlers: Handlers


def build_app(
    settings: NodeSettings,
    *,
    role: Role,
    stores: Stores,
    handlers: Handlers | None = None,
    api: Api | None = None,
    jobs: Sequence[Job] = (),
    contexts: Sequence[Context] = (),
    on_undelivered: OnUndelivered | None = None,
    second: SecondRole | None = None,
    wall: Clock | None = None,
    transport: Transport | None = None,
) -> web.Application:
    """The application of one node.

    `wall` and `transport` take other clocks and carriers, for tests of a whole network. Raises BadConfiguration for
    settings that only now prove wrong, ValueError when `handlers` leaves out an action that this role receives.
    """
    wall = wall or WallClock()
    node = Node(
        settings=settings,
        role=role,
        identity=settings.identity,
        network=settings.network,
        me=envelope.Party(settings.subscriber_id, settings.protocol_url),
        wall=wall,
        trading=_trading_clock(settings, wall),
        stores=stores,
        metrics=Metrics(),
        nudges=Nudges(redis_url=settings.redis_url, prefix=settings.subscriber_id),
        recorder=_recorder(settings),
        second_me=envelope.Party(settings.subscriber_id, settings.public_url + second.path) if second else None,
    )
    app = web.Application(client_max_size=settings.body_bytes_max)
    app[NODE] = node
    node.jobs = Jobs(jobs, node)
    wiring.add(app, _database(node))
    wiring.add(app, node.nudges.running())
    app.router.add_routes(Desk(node).routes())
    if stores.directory is not None:
        wiring.add_directory(app, node, stores.directory, second=second)
    for context in contexts:
        wiring.add(app, context(node))
    if stores.inbox is not None and stores.outbox is not None:
        wiring.add_post_office(
            app,
            node,
            letters=stores.inbox,
            outgoing=stores.outbox,
            handlers=handlers(node) if handlers is not None else {},
            on_undelivered=on_undelivered,
            second=second,
            transport=transport,
        )
    if api is not None:
        api(app, node)
    wiring.add(app, node.jobs.running())
    return app


def _trading_clock(settings: NodeSettings, wall: Clock) -> Clock:
    if settings.trading_clock == "wall" or settings.trading_start is None:
        return wall
    return DrivenClock(settings.trading_start)


def _recorder(settings: NodeSettings) -> Recorder | None:
    if not settings.record_dir:
        return None
    try:
        return Recorder(Path(settings.record_dir), receiver=settings.subscriber_id)
    except OSError as error:
        raise config.BadConfiguration([f"RECORD_DIR: cannot write to {settings.record_dir}: {error}"]) from error


@asynccontextmanager
async def _database(node: Node) -> AsyncIterator[None]:
    """The database, waited for at the start, and the driven clock as it was left."""
    database, settings = node.database, node.settings
    deadline = asyncio.get_running_loop().time() + settings.database_wait_s
    while True:
        try:
            await database.open()
            break
        except ConnectionError as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise config.BadConfiguration([f"DATABASE_URL: PostgreSQL cannot be used: {error}"]) from error
            await asyncio.sleep(DATABASE_RETRY_S)
    try:
        try:
            await database.check()
        except Exception as error:
            sentence = f"DATABASE_URL: the database has not our tables ({error}); run `powershare migrate`"
            raise config.BadConfiguration([sentence]) from error
        if isinstance(node.trading, DrivenClock):
            kept = await node.stores.clock.load()
            if kept is not None and kept > node.trading.now():
                node.trading.move_to(kept)
        node.add_check("database", lambda: _database_check(node))
        if settings.redis_url:
            node.add_check("redis", lambda: _redis_check(node))
        yield
    finally:
        await database.close()


async def _database_check(node: Node) -> Finding:
    await node.database.check()
    return Finding(ok=True)


async def _redis_check(node: Node) -> Finding:
    return Finding(ok=not node.nudges.trouble, detail=node.nudges.trouble, required=False)
