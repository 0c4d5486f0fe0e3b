"""The seller's node, wired by hand."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from beckn import node
from beckn.actions import Role
from beckn.clock import Clock
from beckn.node import Node, SecondRole, Stores
from beckn.outbox import Outgoing
from beckn.transport import Transport
from bpp import api, cascade_desk, handlers, jobs
from bpp.config import SellerSettings
from bpp.shelf import Faces
from bpp.shop import Shop
from store.access import ClockRows
from store.db import Database
from store.directory import DirectoryRows
from store.messages import InboxRows, OutboxRows


def stores_of(settings: SellerSettings) -> Stores:
    """The seller's memory: one database."""
    database = Database(settings.database_url, pool_max=settings.database_pool_max)
    return Stores(database, InboxRows(database), OutboxRows(database), DirectoryRows(database), ClockRows(database))


def build(
    settings: SellerSettings,
    *,
    stores: Stores | None = None,
    wall: Clock | None = None,
    transport: Transport | None = None,
) -> web.Application:
    """The seller's application; what is not given is the real thing."""
    faces = Faces()

    def shop(running: Node) -> Shop:
        return Shop(running, settings, faces)

    async def undelivered(running: Node, uow: Any, letter: Outgoing, outcome: dict[str, Any], certain: bool) -> None:
        await cascade_desk.undelivered(shop(running), uow, letter, outcome, certain)

    asks = bool(settings.utility_id)
    as_buyer = SecondRole(Role.BAP, cascade_desk.PATH, lambda running: cascade_desk.handlers(shop(running)))
    return node.build_app(
        settings,
        role=Role.BPP,
        stores=stores or stores_of(settings),
        handlers=lambda running: handlers.handlers(shop(running)),
        api=lambda app, running: api.mount(app, shop(running)),
        jobs=jobs.jobs(settings, shop),
        on_undelivered=undelivered if asks else None,
        second=as_buyer if asks else None,
        wall=wall,
        transport=transport,
    )
