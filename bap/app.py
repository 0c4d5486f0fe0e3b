"""The buyer's node, wired by hand."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from aiohttp import web

from api import live
from api.webhooks import Courier
from bap import api, handlers, jobs, undelivered
from bap.config import BuyerSettings
from beckn import node
from beckn.actions import Role
from beckn.clock import Clock
from beckn.node import Node, Stores
from beckn.transport import Transport
from store.access import ClockRows
from store.db import Database
from store.directory import DirectoryRows
from store.messages import InboxRows, OutboxRows


def stores_of(settings: BuyerSettings) -> Stores:
    """The buyer's memory: one database."""
    database = Database(settings.database_url, pool_max=settings.database_pool_max)
    return Stores(database, InboxRows(database), OutboxRows(database), DirectoryRows(database), ClockRows(database))


def build(
    settings: BuyerSettings,
    *,
    stores: Stores | None = None,
    wall: Clock | None = None,
    transport: Transport | None = None,
) -> web.Application:
    """The buyer's application; what is not given is the real thing."""
    app = node.build_app(
        settings,
        role=Role.BAP,
        stores=stores or stores_of(settings),
        handlers=handlers.table,
        api=api.build().mount,
        jobs=jobs.JOBS,
        contexts=[_courier],
        on_undelivered=undelivered.on_undelivered,
        wall=wall,
        transport=transport,
    )
    live.prepare(app)
    return app


def _courier(running: Node) -> AbstractAsyncContextManager[None]:
    """What carries webhooks for as long as the node runs."""
    settings = running.settings
    return Courier(
        running.database, nudges=running.nudges, wall=running.wall, allow_private=settings.allow_private_urls
    ).running()
