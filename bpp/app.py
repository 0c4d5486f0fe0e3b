"""The seller's node, wired by hand."""

from __future__ import annotations

from aiohttp import web

from beckn import node
from beckn.actions import Role
from beckn.clock import Clock
from beckn.node import Node, Stores
from beckn.transport import Transport
from bpp import api, handlers, jobs
from bpp.config import SellerSettings
from bpp.shelf import Faces
from bpp.shop import Shop
from store.access import ClockRows
from store.db import Database
from store.directory import DirectoryRows
from store.messages import InboxRows, OutboxRows


def build(
    settings: SellerSettings, *, wall: Clock | None = None, transport: Transport | None = None
) -> web.Application:
    """The seller's application."""
    database = Database(settings.database_url, pool_max=settings.database_pool_max)
    stores = Stores(database, InboxRows(database), OutboxRows(database), DirectoryRows(database), ClockRows(database))
    faces = Faces()

    def shop(running: Node) -> Shop:
        return Shop(running, settings, faces)

    return node.build_app(
        settings,
        role=Role.BPP,
        stores=stores,
        handlers=lambda running: handlers.handlers(shop(running)),
        api=lambda app, running: api.mount(app, shop(running)),
        jobs=jobs.jobs(settings, shop),
        wall=wall,
        transport=transport,
    )
