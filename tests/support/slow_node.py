"""`python -m tests.support.slow_node`: a seller's node from the environment whose handlers take a while."""

from __future__ import annotations

import asyncio
from typing import Any

from beckn import config, node
from beckn.actions import Role, received_by
from beckn.envelope import Letter
from beckn.node import NODE, Stores
from store.access import ClockRows
from store.db import Database
from store.messages import InboxRows, OutboxRows
from tests.support.post_office import BAP, HandFilledDirectory, record

#: How long a letter takes, seconds.
WORK_S = 0.2
BAP_URL = "http://127.0.0.1:9/beckn"


async def work(letter: Letter, uow: Any) -> None:
    """Take a while."""
    await asyncio.sleep(WORK_S)


def main() -> None:
    """Serve until stopped."""
    settings = config.load(config.NodeSettings)
    database = Database(settings.database_url)
    try:
        app = node.build_app(
            settings,
            role=Role.BPP,
            stores=Stores(database, InboxRows(database), OutboxRows(database), None, ClockRows(database)),
            handlers=lambda _: {action.name: work for action in received_by(Role.BPP)},
        )
    except config.BadConfiguration as error:
        config.refuse_to_start(error)
    app[NODE].directory = HandFilledDirectory([record(BAP, Role.BAP, BAP_URL)])  # type: ignore[assignment]
    node.run(app, settings)


if __name__ == "__main__":
    main()
