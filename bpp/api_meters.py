"""Prosumer's desk, meters: the calls of both nodes, for the meters this node's providers sell from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from api import meters
from api.desk import Call, Desk
from bpp.scope import PROSUMER, find_meter
from store import meter_limits
from store.db import UnitOfWork
from trade.reading import EXPORT


class Meters:
    """The meter calls of a seller's node; `settle` is told of every meter whose export has news."""

    def __init__(self, settle: Callable[[str], Awaitable[Any]]) -> None:
        self._settle = settle

    def add_routes(self, desk: Desk) -> None:
        """Add the calls of this module."""
        keeper = meters.Keeper(PROSUMER, EXPORT, find_meter, self._settled, _rated_w)
        meters.Meters(keeper).add_routes(desk)

    async def _settled(self, _call: Call[Any], meter_id: str, flow: str, _start: datetime, _end: datetime) -> None:
        """Settle what the news concerns; which slots it was about, the settlement's own notes say."""
        if flow == EXPORT:
            await self._settle(meter_id)


async def _rated_w(uow: UnitOfWork, meter_id: str, flow: str) -> int:
    """What the grid connection may export, watts; nothing is known of what it may take."""
    return await meter_limits.get(uow, meter_id) or 0 if flow == EXPORT else 0
