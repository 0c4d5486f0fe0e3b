"""Who sells here: providers, what stands behind their meters, and what buyers thought of them.

A provider leaves here as plain fields (`StoredProvider`): the catalogue's own class is built by the node that knows it.
Its `rating` is the mean of `rating_count` Provider ratings, one decimal, empty when nobody rated it. Of what it sold in
`settled` orders it delivered `delivered_per_mille`, None before the first. Both are kept beside the provider, where
searches filter by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, cast

from store.db import UnitOfWork

_SELECT = (
    "SELECT p.provider_id, p.name, p.short_desc, p.image_url, p.gps, p.meter_id,"
    " coalesce(round(p.rating_mean, 1)::text, '') AS rating, p.rating_count, p.delivered_per_mille, p.settled"
    " FROM providers p"
)


class StoredProvider(TypedDict):
    """The fields of one provider, named as the catalogue's provider names them."""

    provider_id: str
    name: str
    short_desc: str
    image_url: str
    gps: str
    meter_id: str
    rating: str
    rating_count: int
    delivered_per_mille: int | None
    settled: int


class ProviderExists(Exception):
    """Another provider has this id (`field` is provider_id) or this meter (`field` is meter_id)."""

    def __init__(self, field: str) -> None:
        super().__init__(f"another provider has this {field}")
        self.field = field


@dataclass(frozen=True, slots=True)
class Rating:
    """What one buyer's node thought of one thing."""

    rater_id: str
    category: str
    subject_id: str
    provider_id: str
    value: str
    at: datetime


async def add(uow: UnitOfWork, provider: StoredProvider, *, now: datetime) -> None:
    """Keep a new provider; raises ProviderExists when its id or its meter is taken. `now` is the wall clock."""
    done = await uow.connection.execute(
        "INSERT INTO providers (provider_id, name, short_desc, image_url, gps, meter_id, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        provider["provider_id"],
        provider["name"],
        provider["short_desc"],
        provider["image_url"],
        provider["gps"],
        provider["meter_id"],
        now,
    )
    if done != "INSERT 0 1":
        same_id = await get(uow, provider["provider_id"])
        raise ProviderExists("provider_id" if same_id else "meter_id")


async def get(uow: UnitOfWork, provider_id: str) -> StoredProvider | None:
    """The provider with this id."""
    row = await uow.connection.fetchrow(f"{_SELECT} WHERE p.provider_id = $1", provider_id)
    return None if row is None else _provider(row)


async def of_ids(uow: UnitOfWork, provider_ids: Iterable[str]) -> list[StoredProvider]:
    """The providers with these ids, as far as there are any."""
    rows = await uow.connection.fetch(f"{_SELECT} WHERE p.provider_id = ANY($1)", list(provider_ids))
    return [_provider(row) for row in rows]


async def of_meter(uow: UnitOfWork, meter_id: str) -> StoredProvider | None:
    """The provider that owns this meter."""
    row = await uow.connection.fetchrow(f"{_SELECT} WHERE p.meter_id = $1", meter_id)
    return None if row is None else _provider(row)


async def list_for(
    uow: UnitOfWork, *, own: str | None = None, after: str | None = None, limit: int
) -> list[StoredProvider]:
    """Providers in order of id; `after` is the last provider_id of the page before.

    `own` narrows them to one prosumer's: the provider of that id, and those whose id goes on after it with a colon.
    """
    rows = await uow.connection.fetch(
        f"{_SELECT} WHERE ($1::text IS NULL OR p.provider_id > $1)"
        " AND ($3::text IS NULL OR p.provider_id = $3 OR starts_with(p.provider_id, $3 || ':'))"
        " ORDER BY p.provider_id LIMIT $2",
        after,
        limit,
        own,
    )
    return [_provider(row) for row in rows]


async def rate(uow: UnitOfWork, ratings: Sequence[Rating]) -> None:
    """Keep ratings; a later rating of the same thing by the same node replaces the earlier.

    The providers' rows are locked first, in one order, so that ratings at the same moment all count.
    """
    rated = sorted({rating.provider_id for rating in ratings if rating.category == "Provider"})
    await uow.connection.execute(
        "SELECT FROM providers WHERE provider_id = ANY($1) ORDER BY provider_id FOR NO KEY UPDATE", rated
    )
    await uow.connection.execute(
        "INSERT INTO ratings (rater_id, category, subject_id, provider_id, value, at)"
        " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])"
        " ON CONFLICT (rater_id, category, subject_id) DO UPDATE SET value = excluded.value, at = excluded.at",
        *(
            [getattr(rating, name) for rating in ratings]
            for name in ("rater_id", "category", "subject_id", "provider_id", "value", "at")
        ),
    )
    await uow.connection.execute(
        "UPDATE providers SET (rating_count, rating_mean) = (SELECT count(*), avg(value::numeric) FROM ratings"
        " WHERE ratings.provider_id = providers.provider_id AND category = 'Provider') WHERE provider_id = ANY($1)",
        rated,
    )


async def add_score(
    uow: UnitOfWork, provider_id: str, contracted_wh: int, delivered_wh: int, *, settled: int = 1
) -> None:
    """Count what a settled order promised and what was delivered of it.

    A correction of an order that was counted before adds the differences, with `settled=0`.
    """
    await uow.connection.execute(
        "UPDATE providers SET contracted_wh = contracted_wh + $2, delivered_wh = delivered_wh + $3,"
        " settled = settled + $4 WHERE provider_id = $1",
        provider_id,
        contracted_wh,
        delivered_wh,
        settled,
    )


async def ratings_of(uow: UnitOfWork, provider_id: str, *, limit: int) -> list[Rating]:
    """What buyers thought of a provider and of what it sold, newest first."""
    rows = await uow.connection.fetch(
        "SELECT rater_id, category, subject_id, provider_id, value, at FROM ratings WHERE provider_id = $1"
        " ORDER BY at DESC LIMIT $2",
        provider_id,
        limit,
    )
    return [Rating(**dict(row)) for row in rows]


def _provider(row: Any) -> StoredProvider:
    return cast(StoredProvider, dict(row))
