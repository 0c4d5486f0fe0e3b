"""What stands behind providers' meters. An asset's exact position is kept here and shown to nobody but its owner."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import asyncpg

from store.db import UnitOfWork


class AssetExists(Exception):
    """Another asset has this id (`field` is asset_id), or the meter has a grid connection already (kind)."""

    def __init__(self, field: str) -> None:
        super().__init__(f"another asset has this {field}")
        self.field = field


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """The fields of one asset, named as the catalogue's asset names them (`kind` as text)."""

    asset_id: str
    provider_id: str
    meter_id: str
    kind: str
    name: str
    rating_w: int
    gps: str
    sanctioned_load_w: int | None
    details: dict[str, Any]
    created_at: datetime
    retired_at: datetime | None


_COLUMNS = tuple(field.name for field in fields(StoredAsset))
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM assets"  # noqa: S608
_PLACES = ", ".join(f"${place + 1}" for place in range(len(_COLUMNS)))


async def add(uow: UnitOfWork, asset: StoredAsset) -> None:
    """Keep a new asset of a known provider; raises AssetExists."""
    statement = f"INSERT INTO assets ({', '.join(_COLUMNS)}) VALUES ({_PLACES})"  # noqa: S608
    await _write(uow, statement, asset)


async def save(uow: UnitOfWork, asset: StoredAsset) -> None:
    """Write every field of a locked asset; raises AssetExists."""
    statement = f"UPDATE assets SET ({', '.join(_COLUMNS)}) = ROW ({_PLACES}) WHERE asset_id = $1"  # noqa: S608
    await _write(uow, statement, asset)


async def get(uow: UnitOfWork, asset_id: str) -> StoredAsset | None:
    """The asset with this id."""
    row = await uow.connection.fetchrow(f"{_SELECT} WHERE asset_id = $1", asset_id)
    return None if row is None else StoredAsset(**dict(row))


async def lock(uow: UnitOfWork, asset_id: str) -> StoredAsset | None:
    """The asset with this id, locked until the unit of work ends."""
    row = await uow.connection.fetchrow(f"{_SELECT} WHERE asset_id = $1 FOR UPDATE", asset_id)
    return None if row is None else StoredAsset(**dict(row))


async def of_provider(uow: UnitOfWork, provider_id: str, *, after: str | None = None, limit: int) -> list[StoredAsset]:
    """A provider's assets in order of id, retired ones, too; `after` is the last asset_id of the page before."""
    rows = await uow.connection.fetch(
        f"{_SELECT} WHERE provider_id = $1 AND ($2::text IS NULL OR asset_id > $2) ORDER BY asset_id LIMIT $3",
        provider_id,
        after,
        limit,
    )
    return [StoredAsset(**dict(row)) for row in rows]


async def is_on_sale(uow: UnitOfWork, asset_id: str, now: datetime) -> bool:
    """True while a published offer of this asset has slots to come at `now` (trading clock)."""
    found: bool = await uow.connection.fetchval(
        "SELECT EXISTS (SELECT FROM offers WHERE asset_id = $1 AND state = 'PUBLISHED' AND ends_at > $2"
        " AND meter_id = (SELECT meter_id FROM assets WHERE asset_id = $1))",
        asset_id,
        now,
    )
    return found


async def _write(uow: UnitOfWork, statement: str, asset: StoredAsset) -> None:
    try:
        await uow.connection.execute(statement, *(getattr(asset, name) for name in _COLUMNS))
    except asyncpg.UniqueViolationError as taken:
        raise AssetExists("kind" if taken.constraint_name == "assets_one_connection" else "asset_id") from taken
