"""A node that kills itself, as `kill -9` would, at one exact point of one letter's way.

    python -m tests.support.network_crash bpp accepted confirm

Settings are read from the environment, as by the real entry points. The four points are the seams between a commit and
what follows it:

    accepted    the letter's row is committed, its sender has not been told
    working     everything the letter asks for is done, nothing of it committed
    decided     the answer's row is committed, nothing is sent
    delivered   the answer has arrived, that it did is not noted
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bap import app as buyer_app
from bap.config import BuyerSettings
from beckn import config, lifecycle
from beckn.config import NodeSettings
from beckn.node import Stores
from beckn.transport import HttpTransport
from bpp import app as seller_app
from bpp.config import SellerSettings
from store.access import ClockRows
from store.db import Database
from store.directory import DirectoryRows
from store.messages import InboxRow, InboxRows, OutboxRows

POINTS = ("accepted", "working", "decided", "delivered")


def die() -> None:
    """Nothing is cleaned up, given back or said."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Fate:
    """Where this process ends."""

    point: str
    action: str

    def meet(self, point: str, action: str) -> None:
        """End here, if it is here."""
        if (point, action) == (self.point, self.action):
            die()


class DoomedInbox(InboxRows):
    """Ends when a letter is accepted, or just before its work is committed."""

    def __init__(self, database: Database, fate: Fate) -> None:
        super().__init__(database)
        self._fate = fate
        self._actions: dict[str, str] = {}

    async def add(self, rows: Sequence[InboxRow], **options: Any) -> list[str]:
        self._actions |= {row[0]: row[2] for row in rows}
        stored = await super().add(rows, **options)
        for row in rows:
            self._fate.meet("accepted", row[2])
        return stored

    async def finish(self, uow: Any, letter_id: str, **options: Any) -> bool:
        done = await super().finish(uow, letter_id, **options)
        self._fate.meet("working", self._actions.get(letter_id, ""))
        return done


class DoomedOutbox(OutboxRows):
    """Ends when a letter has arrived and that is to be noted."""

    def __init__(self, database: Database, fate: Fate) -> None:
        super().__init__(database)
        self._fate = fate

    async def sent(self, results: Sequence[tuple[int, datetime, str]]) -> None:
        async with self._database.connection() as connection:
            seqs = [result[0] for result in results]
            rows = await connection.fetch("SELECT action FROM outbox WHERE seq = ANY($1)", seqs)
        for row in rows:
            self._fate.meet("delivered", row["action"])
        await super().sent(results)


@dataclass
class DoomedTransport:
    """Ends when a letter is about to leave."""

    fate: Fate
    http: HttpTransport | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self.fate.meet("decided", url.rpartition("/")[2])
        assert self.http is not None
        return await self.http.post(url, body, headers)


def main(role: str, point: str, action: str) -> None:
    """Run a node of this role until its end."""
    fate = Fate(point, action)
    transport = DoomedTransport(fate)
    settings: Any = config.load(BuyerSettings if role == "bap" else SellerSettings)
    build: Any = buyer_app.build if role == "bap" else seller_app.build
    app = build(settings, stores=_stores(settings, fate), transport=transport)

    async def connected(_app: Any) -> AsyncIterator[None]:
        async with HttpTransport.open(connect_s=2, answer_s=10, per_host_max=16) as transport.http:
            yield

    app.cleanup_ctx.insert(0, connected)
    lifecycle.run(app, settings)


def _stores(settings: NodeSettings, fate: Fate) -> Stores:
    database = Database(settings.database_url, pool_max=settings.database_pool_max)
    inbox, outbox = DoomedInbox(database, fate), DoomedOutbox(database, fate)
    return Stores(database, inbox, outbox, DirectoryRows(database), ClockRows(database))


async def run_doomed(name: str, settings: Any, point: str, action: str) -> asyncio.subprocess.Process:
    """Start such a process with the settings of a node of the test's network."""
    given = {key: value for key, value in settings.model_dump(mode="json").items() if value not in (None, "")}
    environment = {key.upper(): str(value) for key, value in given.items()}
    passed_on = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "PYTHONPATH")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.network_crash", "bap" if name == "bap" else "bpp", point, action),
        env=passed_on | environment | {"LOG_LEVEL": "error"},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
