"""BPP: meters whose claim this node let go of, and what keeps one from being let go of."""

from __future__ import annotations

from datetime import datetime

from store.db import UnitOfWork


async def business_on(uow: UnitOfWork, provider_id: str, *, now_trading: datetime) -> str:
    """What a provider still has for sale or to deliver, in words; empty when its meter can be let go of."""
    offers: int = await uow.connection.fetchval(
        "SELECT count(*) FROM offers WHERE provider_id = $1 AND state = 'PUBLISHED' AND ends_at > $2",
        provider_id,
        now_trading,
    )
    live: int = await uow.connection.fetchval(
        "SELECT count(*) FROM orders WHERE provider_id = $1 AND side = 'SELLER'"
        " AND state NOT IN ('COMPLETED', 'CANCELLED', 'EXPIRED', 'REFUSED')",
        provider_id,
    )
    named = [f"{count} {what}" for count, what in ((offers, "published offer(s)"), (live, "live order(s)")) if count]
    return " and ".join(named)


async def release(uow: UnitOfWork, provider_id: str, *, now: datetime) -> None:
    """Note that a provider's meter is no longer held here (wall clock)."""
    await uow.connection.execute(
        "INSERT INTO released_meters (provider_id, released_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        provider_id,
        now,
    )


async def take_again(uow: UnitOfWork, provider_id: str) -> None:
    """Note that a provider's meter is held here again."""
    await uow.connection.execute("DELETE FROM released_meters WHERE provider_id = $1", provider_id)


async def is_released(uow: UnitOfWork, provider_id: str) -> bool:
    """True when the provider's meter was let go of, so that nothing may be sold from it here.

    Waits for a release that is under way: the provider's row is locked until the unit of work ends.
    """
    await uow.connection.execute("SELECT 1 FROM providers WHERE provider_id = $1 FOR SHARE", provider_id)
    found: bool = await uow.connection.fetchval(
        "SELECT EXISTS (SELECT FROM released_meters WHERE provider_id = $1)", provider_id
    )
    return found


async def lock(uow: UnitOfWork, provider_id: str) -> None:
    """Keep offers of this provider from being published until the unit of work ends."""
    await uow.connection.execute("SELECT 1 FROM providers WHERE provider_id = $1 FOR UPDATE", provider_id)
