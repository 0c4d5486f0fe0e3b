"""Standing orders of the buyer's node and their runs: what is due, and how far each run has come.

A standing order belongs to an account, an account to an app; `token_id` None is the operator, who sees all. A run is
one row per standing order and date, so that nothing is bought twice for a date however often it is tried, and by
however many processes. Rows are locked in one order: a standing order before its run, a run before its orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from store.db import UnitOfWork

_COLUMNS = "s.standing_order_id, s.account_id, s.terms, s.active, s.next_run_date, s.next_run_at, s.created_at"
_OWNED = (
    "FROM standing_orders s JOIN customer_accounts a USING (account_id)"
    " WHERE s.ended_at IS NULL AND ($1::text IS NULL OR a.token_id = $1)"
)
_RUN = "standing_order_id, run_date, account_id, state, wake_at, document, created_at, updated_at"


async def insert(
    uow: UnitOfWork,
    *,
    standing_order_id: str,
    account_id: str,
    terms: Mapping[str, Any],
    active: bool,
    next_run: tuple[date, datetime] | None,
    most: int,
    now: datetime,
) -> bool:
    """Keep a new standing order; False when the account has `most` already."""
    next_date, next_at = next_run or (None, None)
    tag: str = await uow.connection.execute(
        "INSERT INTO standing_orders (standing_order_id, account_id, terms, active, next_run_date, next_run_at,"
        " created_at, updated_at) SELECT $1, $2, $3, $4, $5, $6, $7, $7"
        " WHERE (SELECT count(*) FROM standing_orders WHERE account_id = $2 AND ended_at IS NULL) < $8",
        standing_order_id, account_id, dict(terms), active, next_date, next_at, now, most,
    )  # fmt: skip
    return tag == "INSERT 0 1"


async def get(
    uow: UnitOfWork, standing_order_id: str, *, token_id: str | None, lock: bool = False
) -> Mapping[str, Any] | None:
    """One standing order that was not ended, if the token may see it."""
    row: Mapping[str, Any] | None = await uow.connection.fetchrow(
        f"SELECT {_COLUMNS} {_OWNED} AND s.standing_order_id = $2" + (" FOR UPDATE OF s" if lock else ""),
        token_id, standing_order_id,
    )  # fmt: skip
    return row


async def page(
    uow: UnitOfWork, *, token_id: str | None, account_id: str | None, after: str | None, limit: int
) -> list[Mapping[str, Any]]:
    """Standing orders the token may see, by id; `after` is the last id of the page before."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        f"SELECT {_COLUMNS} {_OWNED} AND ($2::text IS NULL OR s.account_id = $2)"
        " AND ($3::text IS NULL OR s.standing_order_id > $3) ORDER BY s.standing_order_id LIMIT $4",
        token_id, account_id, after, limit,
    )  # fmt: skip
    return rows


async def change(
    uow: UnitOfWork,
    standing_order_id: str,
    *,
    terms: Mapping[str, Any],
    active: bool,
    next_run: tuple[date, datetime] | None,
    now: datetime,
) -> None:
    """Write other terms over a standing order; runs that have begun keep theirs."""
    next_date, next_at = next_run or (None, None)
    await uow.connection.execute(
        "UPDATE standing_orders SET terms = $2, active = $3, next_run_date = $4, next_run_at = $5, updated_at = $6"
        " WHERE standing_order_id = $1",
        standing_order_id, dict(terms), active, next_date, next_at, now,
    )  # fmt: skip


async def end(uow: UnitOfWork, standing_order_id: str, *, now: datetime) -> None:
    """Let a standing order run no more; its runs stay."""
    await uow.connection.execute(
        "UPDATE standing_orders SET ended_at = $2, active = false, next_run_date = NULL, next_run_at = NULL,"
        " updated_at = $2 WHERE standing_order_id = $1",
        standing_order_id, now,
    )  # fmt: skip


async def lock_due(uow: UnitOfWork, now_trading: datetime) -> Mapping[str, Any] | None:
    """A standing order whose next run has come, locked; those locked elsewhere are left to whoever has them."""
    row: Mapping[str, Any] | None = await uow.connection.fetchrow(
        "SELECT standing_order_id, account_id, terms, next_run_date, next_run_at FROM standing_orders"
        " WHERE next_run_at <= $1 ORDER BY next_run_at, standing_order_id LIMIT 1 FOR UPDATE SKIP LOCKED",
        now_trading,
    )
    return row


async def schedule(uow: UnitOfWork, standing_order_id: str, *, run_date: date, at: datetime) -> None:
    """Set when a standing order runs next."""
    await uow.connection.execute(
        "UPDATE standing_orders SET next_run_date = $2, next_run_at = $3 WHERE standing_order_id = $1",
        standing_order_id, run_date, at,
    )  # fmt: skip


# --- Runs -------------------------------------------------------------------------------------------------------------


async def begin_run(
    uow: UnitOfWork,
    *,
    standing_order_id: str,
    run_date: date,
    account_id: str,
    state: str,
    wake_at: datetime | None,
    document: Mapping[str, Any],
    now: datetime,
) -> bool:
    """Keep a new run; False when that date has one already."""
    tag: str = await uow.connection.execute(
        f"INSERT INTO standing_runs ({_RUN}) VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING",  # noqa: S608
        standing_order_id, run_date, account_id, state, wake_at, dict(document), now,
    )  # fmt: skip
    return tag == "INSERT 0 1"


async def lock_waking(uow: UnitOfWork, now: datetime) -> Mapping[str, Any] | None:
    """A run that is to go on (wall clock), locked; those locked elsewhere are left to whoever has them."""
    row: Mapping[str, Any] | None = await uow.connection.fetchrow(
        f"SELECT {_RUN} FROM standing_runs WHERE wake_at <= $1"  # noqa: S608
        " ORDER BY wake_at, standing_order_id LIMIT 1 FOR UPDATE SKIP LOCKED",
        now,
    )
    return row


async def lock_run(uow: UnitOfWork, standing_order_id: str, run_date: date) -> Mapping[str, Any] | None:
    """One run, locked."""
    row: Mapping[str, Any] | None = await uow.connection.fetchrow(
        f"SELECT {_RUN} FROM standing_runs WHERE standing_order_id = $1 AND run_date = $2 FOR UPDATE",  # noqa: S608
        standing_order_id, run_date,
    )  # fmt: skip
    return row


async def save_run(
    uow: UnitOfWork,
    standing_order_id: str,
    run_date: date,
    *,
    state: str,
    wake_at: datetime | None,
    document: Mapping[str, Any],
    now: datetime,
) -> None:
    """Write how far a run has come; without `wake_at` it is done."""
    await uow.connection.execute(
        "UPDATE standing_runs SET state = $3, wake_at = $4, document = $5, updated_at = $6"
        " WHERE standing_order_id = $1 AND run_date = $2",
        standing_order_id, run_date, state, wake_at, dict(document), now,
    )  # fmt: skip


async def put_off(uow: UnitOfWork, standing_order_id: str, run_date: date, *, until: datetime) -> None:
    """Let a run go on no earlier than an instant (wall clock); one that is done stays done."""
    await uow.connection.execute(
        "UPDATE standing_runs SET wake_at = $3 WHERE standing_order_id = $1 AND run_date = $2 AND wake_at IS NOT NULL",
        standing_order_id, run_date, until,
    )  # fmt: skip


async def runs(uow: UnitOfWork, standing_order_id: str, *, before: date | None, limit: int) -> list[Mapping[str, Any]]:
    """The runs of a standing order, newest first; `before` is the last date of the page before."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        f"SELECT {_RUN} FROM standing_runs WHERE standing_order_id = $1 AND ($2::date IS NULL OR run_date < $2)"  # noqa: S608
        " ORDER BY run_date DESC LIMIT $3",
        standing_order_id, before, limit,
    )  # fmt: skip
    return rows
