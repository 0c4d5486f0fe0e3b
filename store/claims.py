"""Registry: which node holds which meter, and the codes that proved whose meter it is.

A meter is known here by a salted hash alone. One node holds one flow of it at a time: that is the table's primary key,
so two nodes that ask at the same moment are told apart by the database.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from store.db import Database, UnitOfWork

#: Length of the salt, bytes.
SALT_BYTES = 32

_COLUMNS = "meter_hash, flow, subscriber_id, claimed_at"


@dataclass(frozen=True, slots=True)
class MeterClaim:
    """One flow (EXPORT or IMPORT) of one meter, held by one node."""

    meter_hash: str
    flow: str
    subscriber_id: str
    claimed_at: datetime

    @property
    def key(self) -> tuple[str, str]:
        """What the row is found by."""
        return self.meter_hash, self.flow


async def salt(database: Database) -> str:
    """The salt of this network as hex; made by whoever asks first, and the same ever after."""
    async with database.unit_of_work() as uow:
        await uow.connection.execute(
            "INSERT INTO meter_salt (one, salt) VALUES (true, $1) ON CONFLICT DO NOTHING", secrets.token_hex(SALT_BYTES)
        )
        kept: str = await uow.connection.fetchval("SELECT salt FROM meter_salt")
    return kept


async def take(uow: UnitOfWork, claim: MeterClaim) -> MeterClaim:
    """Hold a meter's flow if nobody does; who holds it now."""
    while True:
        await uow.connection.execute(
            f"INSERT INTO meter_claims ({_COLUMNS}) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",  # noqa: S608
            *claim.key, claim.subscriber_id, claim.claimed_at,
        )  # fmt: skip
        row = await uow.connection.fetchrow(
            f"SELECT {_COLUMNS} FROM meter_claims WHERE meter_hash = $1 AND flow = $2 FOR UPDATE",  # noqa: S608
            *claim.key,
        )
        if row is not None:  # else its holder let go between the two statements: ask again
            return MeterClaim(*row)


async def use_proof(uow: UnitOfWork, claim: MeterClaim, *, nonce_digest: str, utility_id: str) -> bool:
    """Note that a code proved this claim; False when it proved another one before."""
    await uow.connection.execute(
        "INSERT INTO meter_proofs (nonce_digest, meter_hash, flow, subscriber_id, utility_id, used_at)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        nonce_digest, *claim.key, claim.subscriber_id, utility_id, claim.claimed_at,
    )  # fmt: skip
    row = await uow.connection.fetchrow(
        "SELECT meter_hash, flow, subscriber_id FROM meter_proofs WHERE nonce_digest = $1", nonce_digest
    )
    return tuple(row) == (*claim.key, claim.subscriber_id)


async def of_meter(uow: UnitOfWork, meter_hash: str) -> list[MeterClaim]:
    """What is held of a meter, at most one claim for each flow, locked until the unit of work ends."""
    rows = await uow.connection.fetch(
        f"SELECT {_COLUMNS} FROM meter_claims WHERE meter_hash = $1 ORDER BY flow FOR UPDATE",  # noqa: S608
        meter_hash,
    )
    return [MeterClaim(*row) for row in rows]


async def release(uow: UnitOfWork, claim: MeterClaim) -> None:
    """Let go of a claim that its holder no longer wants."""
    await uow.connection.execute(
        "DELETE FROM meter_claims WHERE meter_hash = $1 AND flow = $2 AND subscriber_id = $3",
        *claim.key, claim.subscriber_id,
    )  # fmt: skip


async def release_all(uow: UnitOfWork, subscriber_id: str) -> list[MeterClaim]:
    """Free everything one node holds; what that was."""
    rows = await uow.connection.fetch(
        f"DELETE FROM meter_claims WHERE subscriber_id = $1 RETURNING {_COLUMNS}",  # noqa: S608
        subscriber_id,
    )
    return sorted((MeterClaim(*row) for row in rows), key=lambda claim: claim.key)


async def page(
    database: Database, *, subscriber_id: str, meter_hash: str, after: Sequence[str] | None, limit: int
) -> list[MeterClaim]:
    """One page of claims in order of meter and flow, of one node or of one meter, or (both empty) of all."""
    rows = await database.pool.fetch(
        f"SELECT {_COLUMNS} FROM meter_claims WHERE ($1 = '' OR subscriber_id = $1)"  # noqa: S608
        " AND ($2 = '' OR meter_hash = $2) AND (meter_hash, flow) > ($3, $4) ORDER BY meter_hash, flow LIMIT $5",
        subscriber_id, meter_hash, *(after or ("", "")), limit,
    )  # fmt: skip
    return [MeterClaim(*row) for row in rows]
