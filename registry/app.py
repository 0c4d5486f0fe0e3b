"""The registry, wired by hand: its protocol desk, the operator's API, and its own record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from beckn import node
from beckn.actions import Role
from beckn.clock import Clock, WallClock
from beckn.node import NODE, Node, Stores
from registry import api, roll
from registry.challenger import Challenger
from registry.claim_desk import ClaimDesk
from registry.config import RegistrySettings
from registry.handlers import RegistryDesk
from registry.window import Window
from store.access import ClockRows
from store.db import Database


def build(settings: RegistrySettings, *, wall: Clock | None = None) -> web.Application:
    """The registry's application."""
    wall = wall or WallClock()
    database = Database(settings.database_url, pool_max=settings.database_pool_max)
    challenger = Challenger(
        identity=settings.identity,
        encryption_key=settings.challenge_key,
        wall=wall,
        answer_s_max=settings.challenge_s_max,
        at_once_max=settings.challenges_max,
        allow_private_urls=settings.allow_private_urls,
    )

    @asynccontextmanager
    async def entered(running: Node) -> AsyncIterator[None]:
        """Its own record first: without it no node could answer a challenge."""
        await roll.enter_registry(
            database,
            identity=settings.identity,
            encryption_key=settings.challenge_key,
            url=settings.public_url,
            domain=settings.domain,
            now=running.wall.now(),
        )
        try:
            yield
        finally:
            await challenger.close()

    app = node.build_app(
        settings,
        role=Role.REGISTRY,
        stores=Stores(database, inbox=None, outbox=None, directory=None, clock=ClockRows(database)),
        api=api.mount,
        contexts=[entered],
        wall=wall,
    )
    running = app[NODE]
    window = Window(settings=settings, wall=wall, metrics=running.metrics)
    desk = RegistryDesk(
        settings=settings,
        database=database,
        challenger=challenger,
        window=window,
        recorder=running.recorder,
    )
    app.router.add_routes(desk.routes())
    app.router.add_routes(ClaimDesk(database=database, window=window).routes())
    return app
