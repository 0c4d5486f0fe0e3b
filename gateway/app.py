"""The gateway, wired by hand."""

from __future__ import annotations

from aiohttp import web

from beckn import node
from beckn.actions import Role
from beckn.clock import Clock
from beckn.node import Stores
from beckn.transport import Transport
from gateway import api, handlers
from gateway.config import GatewaySettings
from store.access import ClockRows
from store.db import Database
from store.directory import DirectoryRows
from store.messages import InboxRows, OutboxRows


def build(
    settings: GatewaySettings, *, wall: Clock | None = None, transport: Transport | None = None
) -> web.Application:
    """The gateway's application."""
    database = Database(settings.database_url, pool_max=settings.database_pool_max)
    stores = Stores(database, InboxRows(database), OutboxRows(database), DirectoryRows(database), ClockRows(database))
    return node.build_app(
        settings,
        role=Role.BG,
        stores=stores,
        handlers=handlers.table,
        api=api.mount,
        wall=wall,
        transport=transport,
    )
