"""A utility's memory: meters on its grid, trades it carries, and what those use of each meter's limit.

Usage is one row for each meter, direction and quarter of an hour. Rows are made and locked in one order everywhere
before anything is decided on them, so that of two trades that want the last Wh one waits and then sees what the other
took; a CHECK refuses what would go beyond the limit whatever the code thinks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict, cast

from store.db import UnitOfWork

#: A meter, a direction, the start of a quarter of an hour.
Place = tuple[str, str, datetime]

_METER = (
    "meter_id, sanctioned_load_w, limit_percent, export_limit_w, import_limit_w, wheeling_buyer_micro_per_kwh,"
    " wheeling_seller_micro_per_kwh, currency"
)
_TRADE = (
    "trade_id",
    "bpp_id",
    "order_id",
    "transaction_id",
    "state",
    "seller_meter_id",
    "buyer_meter_id",
    "currency",
    "starts_at",
    "slot_s",
    "energy_wh",
    "seller_alloc_wh",
    "buyer_alloc_wh",
    "wheeling_buyer_micro_per_kwh",
    "wheeling_seller_micro_per_kwh",
    "created_at",
    "updated_at",
)
_SELECT_TRADE = f"SELECT {', '.join(_TRADE)} FROM utility_trades"  # noqa: S608 - constants only


class StoredMeter(TypedDict):
    """A meter's row, named as the rules name it."""

    meter_id: str
    sanctioned_load_w: int
    limit_percent: int
    export_limit_w: int | None
    import_limit_w: int | None
    wheeling_buyer_micro_per_kwh: int
    wheeling_seller_micro_per_kwh: int
    currency: str


class StoredTrade(TypedDict):
    """A trade's row; the series share `starts_at` and `slot_s`."""

    trade_id: str
    bpp_id: str
    order_id: str
    transaction_id: str
    state: str
    seller_meter_id: str
    buyer_meter_id: str
    currency: str
    starts_at: datetime
    slot_s: int
    energy_wh: list[int]
    seller_alloc_wh: list[int] | None
    buyer_alloc_wh: list[int] | None
    wheeling_buyer_micro_per_kwh: int
    wheeling_seller_micro_per_kwh: int
    created_at: datetime
    updated_at: datetime


# --- Meters --------------------------------------------------------------------------------------------------------


async def put_meter(uow: UnitOfWork, meter: StoredMeter, *, now: datetime) -> None:
    """Keep a meter, or change it; what was cleared before stays cleared."""
    await uow.connection.execute(
        f"INSERT INTO utility_meters ({_METER}, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"  # noqa: S608
        " ON CONFLICT (meter_id) DO UPDATE SET sanctioned_load_w = $2, limit_percent = $3, export_limit_w = $4,"
        " import_limit_w = $5, wheeling_buyer_micro_per_kwh = $6, wheeling_seller_micro_per_kwh = $7, currency = $8,"
        " updated_at = $9",
        *meter.values(), now,
    )  # fmt: skip


async def meters_of(uow: UnitOfWork, meter_ids: Iterable[str]) -> list[StoredMeter]:
    """The meters with these ids that are on the grid, kept from changing until the unit of work ends."""
    rows = await uow.connection.fetch(
        f"SELECT {_METER} FROM utility_meters WHERE meter_id = ANY($1) ORDER BY meter_id FOR SHARE",  # noqa: S608
        list(meter_ids),
    )
    return [_meter(row) for row in rows]


async def list_meters(uow: UnitOfWork, *, after: str | None, limit: int) -> list[StoredMeter]:
    """Meters in order of id; `after` is the last of the page before."""
    rows = await uow.connection.fetch(
        f"SELECT {_METER} FROM utility_meters WHERE ($1::text IS NULL OR meter_id > $1)"  # noqa: S608
        " ORDER BY meter_id LIMIT $2",
        after,
        limit,
    )
    return [_meter(row) for row in rows]


# --- Usage ---------------------------------------------------------------------------------------------------------


async def lock_usage(uow: UnitOfWork, places: Mapping[Place, int]) -> dict[Place, int]:
    """What is used in these quarters, J, locked until the unit of work ends.

    The value of each place is its limit, J, which a row that is not there yet begins with.
    """
    wanted = sorted(places)
    columns = ([p[0] for p in wanted], [p[1] for p in wanted], [p[2] for p in wanted])
    await uow.connection.execute(
        "INSERT INTO utility_usage (meter_id, flow, starts_at, used_j, limit_j)"
        " SELECT meter_id, flow, starts_at, 0, limit_j FROM unnest($1::text[], $2::text[], $3::timestamptz[],"
        " $4::bigint[]) AS u (meter_id, flow, starts_at, limit_j) ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING",
        *columns,
        [places[place] for place in wanted],
    )
    rows = await uow.connection.fetch(
        "SELECT u.meter_id, u.flow, u.starts_at, u.used_j FROM utility_usage u"
        " JOIN unnest($1::text[], $2::text[], $3::timestamptz[]) AS w (meter_id, flow, starts_at)"
        " USING (meter_id, flow, starts_at) ORDER BY 1, 2, 3 FOR UPDATE OF u",
        *columns,
    )
    return {(row["meter_id"], row["flow"], row["starts_at"]): row["used_j"] for row in rows}


async def used(uow: UnitOfWork, places: Iterable[Place]) -> dict[Place, int]:
    """What is used in these quarters, J, to look at: unlocked, and only where anything ever was."""
    wanted = sorted(places)
    rows = await uow.connection.fetch(
        "SELECT meter_id, flow, starts_at, used_j FROM utility_usage WHERE (meter_id, flow, starts_at) IN"
        " (SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[]))",
        [p[0] for p in wanted], [p[1] for p in wanted], [p[2] for p in wanted],
    )  # fmt: skip
    return {(row["meter_id"], row["flow"], row["starts_at"]): row["used_j"] for row in rows}


async def add_usage(uow: UnitOfWork, change: Mapping[Place, int], limits: Mapping[Place, int]) -> None:
    """Add to what locked quarters use, J (negative: give back), under the present limits, J.

    Giving back is always possible, however far the limit was lowered since; the database refuses anything else that
    goes beyond a limit.
    """
    places = sorted(place for place, joules in change.items() if joules)
    await uow.connection.execute(
        "UPDATE utility_usage u SET used_j = u.used_j + c.joules,"
        " limit_j = CASE WHEN c.joules > 0 THEN c.limit_j ELSE u.limit_j END"
        " FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[])"
        " AS c (meter_id, flow, starts_at, joules, limit_j)"
        " WHERE (u.meter_id, u.flow, u.starts_at) = (c.meter_id, c.flow, c.starts_at)",
        [p[0] for p in places], [p[1] for p in places], [p[2] for p in places],
        [change[p] for p in places], [limits.get(p, 0) for p in places],
    )  # fmt: skip


# --- Trades --------------------------------------------------------------------------------------------------------


async def save_trade(uow: UnitOfWork, trade: StoredTrade) -> None:
    """Keep a trade, new or changed."""
    await uow.connection.execute(
        f"INSERT INTO utility_trades ({', '.join(_TRADE)})"  # noqa: S608
        f" VALUES ({', '.join(f'${n + 1}' for n in range(len(_TRADE)))})"
        " ON CONFLICT (trade_id) DO UPDATE SET state = $5, energy_wh = $11, seller_alloc_wh = $12,"
        " buyer_alloc_wh = $13, updated_at = $17",
        *(trade[name] for name in _TRADE),  # type: ignore[literal-required]
    )


async def lock_order(uow: UnitOfWork, *, bpp_id: str, order_id: str) -> StoredTrade | None:
    """The trade one seller's node knows by its order id, locked; also keeps the same order from being logged twice."""
    await uow.connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('utility trade ' || $1 || ' ' || $2, 0))", bpp_id, order_id
    )
    return _trade(
        await uow.connection.fetchrow(
            f"{_SELECT_TRADE} WHERE bpp_id = $1 AND order_id = $2 FOR UPDATE", bpp_id, order_id
        )
    )


async def lock_trade(uow: UnitOfWork, trade_id: str) -> StoredTrade | None:
    """The trade with this id, locked."""
    return _trade(await uow.connection.fetchrow(f"{_SELECT_TRADE} WHERE trade_id = $1 FOR UPDATE", trade_id))


async def list_trades(
    uow: UnitOfWork, *, meter_id: str, state: str, after: str | None, limit: int
) -> list[StoredTrade]:
    """Trades, newest first, of one meter and in one state (empty: any); `after` is the last id of the page before."""
    rows = await uow.connection.fetch(
        f"{_SELECT_TRADE} WHERE ($1 = '' OR $1 IN (seller_meter_id, buyer_meter_id)) AND ($2 = '' OR state = $2)"  # noqa: S608
        " AND ($3::text IS NULL OR (created_at, trade_id) <"
        "      (SELECT created_at, trade_id FROM utility_trades WHERE trade_id = $3))"
        " ORDER BY created_at DESC, trade_id DESC LIMIT $4",
        meter_id,
        state,
        after,
        limit,
    )
    return [cast(StoredTrade, dict(row)) for row in rows]


# --- Codes ---------------------------------------------------------------------------------------------------------


async def keep_code(
    uow: UnitOfWork, *, nonce_digest: str, meter_id: str, issued_by: str, issued_at: datetime, expires_at: datetime
) -> None:
    """Note that a code of ownership was given out."""
    await uow.connection.execute(
        "INSERT INTO utility_codes (nonce_digest, meter_id, issued_by, issued_at, expires_at)"
        " VALUES ($1, $2, $3, $4, $5)",
        nonce_digest,
        meter_id,
        issued_by,
        issued_at,
        expires_at,
    )


def _meter(row: Any) -> StoredMeter:
    return cast(StoredMeter, dict(row))


def _trade(row: Any) -> StoredTrade | None:
    return None if row is None else cast(StoredTrade, dict(row))
