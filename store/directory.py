"""The registry records that a node keeps, so that a restart or a silent registry does not make it forget its peers.

Fits `beckn.directory.DirectoryStore` by shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from store.db import Database

_SAVE = """
INSERT INTO directory_records (subscriber_id, type, domain, key_id, record, good_until)
SELECT r ->> 'subscriber_id', r ->> 'type', r ->> 'domain', r ->> 'key_id', r,
       least((r ->> 'valid_until')::timestamptz, $2::timestamptz)
FROM jsonb_array_elements($1::jsonb) AS r
ON CONFLICT (subscriber_id, type, domain, key_id)
DO UPDATE SET record = EXCLUDED.record, good_until = EXCLUDED.good_until
"""

_SAVE_STATE = """
INSERT INTO directory_state (registry_url, last_seq, read_at) VALUES ($1, $2, $3)
ON CONFLICT (registry_url) DO UPDATE SET last_seq = EXCLUDED.last_seq, read_at = EXCLUDED.read_at
"""


class DirectoryRows:
    """The tables directory_records and directory_state of one node."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, registry_url: str) -> tuple[int, datetime, list[tuple[dict[str, Any], datetime]]] | None:
        """Last seq read from this registry, when, and every record with its good_until; None when never read."""
        async with self._database.unit_of_work() as uow:
            state = await uow.connection.fetchrow(
                "SELECT last_seq, read_at FROM directory_state WHERE registry_url = $1", registry_url
            )
            if state is None:
                return None
            rows = await uow.connection.fetch("SELECT record, good_until FROM directory_records")
        return state[0], state[1], [(row[0], row[1]) for row in rows]

    async def save(
        self,
        registry_url: str,
        records: Sequence[dict[str, Any]],
        *,
        last_seq: int,
        read_at: datetime,
        good_until: datetime,
        replace_all: bool,
    ) -> None:
        """Keep records and how far the feed was read, in one commit.

        `replace_all` forgets every record that is not in `records` (the first read of a registry, or of one that
        began anew). A record is good until `good_until` or the end of its own validity, whichever comes first.
        """
        async with self._database.unit_of_work() as uow:
            if replace_all:
                await uow.connection.execute("DELETE FROM directory_records")
                await uow.connection.execute("DELETE FROM directory_state")
            if records:
                await uow.connection.execute(_SAVE, list(records), good_until)
            await uow.connection.execute(_SAVE_STATE, registry_url, last_seq, read_at)

    async def forget(self, subscriber_id: str, key_id: str) -> None:
        """Drop a key that the registry no longer knows."""
        async with self._database.unit_of_work() as uow:
            await uow.connection.execute(
                "DELETE FROM directory_records WHERE subscriber_id = $1 AND key_id = $2", subscriber_id, key_id
            )
