"""Who may call the JSON APIs, what they were answered, and where a driven clock stands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from store.db import Database, UnitOfWork

_CLAIM = """
INSERT INTO idempotency_keys AS kept (token_id, key, request_digest, status, body, created_at)
VALUES ($1, $2, $3, 0, '', $4)
ON CONFLICT (token_id, key) DO UPDATE SET created_at = $4
WHERE kept.status = 0 AND kept.created_at < $5 AND kept.request_digest = $3
RETURNING 1
"""


async def insert_token(
    uow: UnitOfWork, *, token_id: str, token_hash: bytes, role: str, name: str, scope: str, now: datetime
) -> None:
    """Keep a new token's hash and what it may do."""
    await uow.connection.execute(
        "INSERT INTO tokens (token_id, token_hash, role, name, scope, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        token_id, token_hash, role, name, scope, now,
    )  # fmt: skip


async def find_token(uow: UnitOfWork, token_hash: bytes) -> Mapping[str, Any] | None:
    """The live token with this hash; None when there is none or it was revoked."""
    row: Mapping[str, Any] | None = await uow.connection.fetchrow(
        "SELECT token_id, role, scope, name FROM tokens WHERE token_hash = $1 AND revoked_at IS NULL", token_hash
    )
    return row


async def list_tokens(uow: UnitOfWork) -> list[Mapping[str, Any]]:
    """All tokens, newest first, without their hashes."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        "SELECT token_id, role, name, scope, created_at, revoked_at FROM tokens ORDER BY created_at DESC, token_id"
    )
    return rows


async def revoke_token(uow: UnitOfWork, token_id: str, *, now: datetime) -> bool:
    """Take a token back; False when there is no such token. A token revoked before keeps its first date."""
    return await _changed(
        uow, "UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE token_id = $1", token_id, now
    )


async def claim_key(
    uow: UnitOfWork, token_id: str, key: str, request_digest: bytes, *, now: datetime, lapse_s: float
) -> Mapping[str, Any] | None:
    """Take an Idempotency-Key for a request about to run, and return None; else what is kept under the key.

    What is kept has status 0 while the first request is still running. A claim older than `lapse_s` whose request
    never answered is taken over by a repeat of the same request.
    """
    lapse = timedelta(seconds=lapse_s)
    while True:
        claimed = await uow.connection.fetchval(_CLAIM, token_id, key, request_digest, now, now - lapse)
        if claimed is not None:
            return None
        row: Mapping[str, Any] | None = await uow.connection.fetchrow(
            "SELECT request_digest, status, body FROM idempotency_keys WHERE token_id = $1 AND key = $2", token_id, key
        )
        if row is not None:  # else it was released between the two statements: claim it again
            return row


async def keep_answer(uow: UnitOfWork, token_id: str, key: str, *, status: int, body: bytes) -> None:
    """Keep the first answer under its key."""
    await uow.connection.execute(
        "UPDATE idempotency_keys SET status = $3, body = $4 WHERE token_id = $1 AND key = $2",
        token_id, key, status, body,
    )  # fmt: skip


async def release_key(uow: UnitOfWork, token_id: str, key: str) -> None:
    """Give back a key whose request came to nothing worth repeating."""
    await uow.connection.execute(
        "DELETE FROM idempotency_keys WHERE token_id = $1 AND key = $2 AND status = 0", token_id, key
    )


class ClockRows:
    """Where a driven trading clock stands, kept so that a restart does not move it back."""

    _NAME = "trading"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> datetime | None:
        """The instant last kept; None when the clock was never driven."""
        async with self._database.unit_of_work() as uow:
            kept: datetime | None = await uow.connection.fetchval(
                "SELECT trading_time FROM clock_state WHERE name = $1", self._NAME
            )
        return kept

    async def save(self, trading_time: datetime) -> None:
        """Keep where the clock stands now; it never goes back."""
        async with self._database.unit_of_work() as uow:
            await uow.connection.execute(
                """
                INSERT INTO clock_state AS kept (name, trading_time) VALUES ($1, $2)
                ON CONFLICT (name) DO UPDATE SET trading_time = greatest(kept.trading_time, EXCLUDED.trading_time)
                """,
                self._NAME,
                trading_time,
            )


async def _changed(uow: UnitOfWork, statement: str, *arguments: Any) -> bool:
    tag: str = await uow.connection.execute(statement, *arguments)
    return tag != "UPDATE 0"
