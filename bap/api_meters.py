"""Consumer apps' desk, meters: the calls of both nodes, for the meters of this node's accounts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from api import meters
from api.desk import Call, Desk
from api.problems import not_found
from bap import metering
from bap.api_calls import READERS, visible_to
from store import customers
from store.db import UnitOfWork
from trade.reading import IMPORT


def add_routes(desk: Desk) -> None:
    """Give the desk the calls about meters."""
    meters.Meters(meters.Keeper(READERS, IMPORT, find_account_of_meter, _settled, _rated_w)).add_routes(desk)


async def find_account_of_meter(call: Call[Any], uow: UnitOfWork, meter_id: str) -> Mapping[str, Any]:
    """The account whose meter it is, if the caller may see it; 404 otherwise, also for another app's meter."""
    account = await customers.of_meter(uow, meter_id, token_id=visible_to(call))
    if account is None:
        raise not_found("meter", meter_id)
    return account


async def _settled(call: Call[Any], _meter_id: str, flow: str, _start: datetime, _end: datetime) -> None:
    """Have the meter looked at now: the job finds its news by itself, and would a little later in any case."""
    if flow == IMPORT:
        call.node.jobs.wake(metering.JOB)


async def _rated_w(_uow: UnitOfWork, _meter_id: str, _flow: str) -> int:
    """Nothing is known here of what a consumer's connection allows."""
    return 0
