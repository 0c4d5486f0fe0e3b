"""What happened that an app may want to hear of, and the webhooks that carry it.

An event and its webhook deliveries are written in the unit of work that made it happen. The events of one subject are
written under that subject's lock (an order's row, a transaction's turn), so their seq is the order they committed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from store.db import UnitOfWork

#: A part of statements that write events as `told` (seq, token_id, kind, at): queue them for the app's webhooks.
QUEUE = """queued AS (
  INSERT INTO webhook_deliveries (webhook_id, event_seq, next_at)
  SELECT w.webhook_id, told.seq, told.at FROM told JOIN webhooks w USING (token_id)
   WHERE w.deleted_at IS NULL AND (w.kinds = '[]'::jsonb OR w.kinds ? told.kind)
  RETURNING 1
)"""

#: $1 is the token, or with $6 given the account whose token is told.
_APPEND = f"""
WITH told AS (
  INSERT INTO events (token_id, subject, kind, data, at)
  SELECT CASE WHEN $6::text IS NULL THEN $1
              ELSE coalesce((SELECT token_id FROM customer_accounts WHERE account_id = $6), '') END, $2, kind, data, $5
    FROM unnest($3::text[], $4::jsonb[]) WITH ORDINALITY AS given(kind, data, position) ORDER BY position
  RETURNING seq, token_id, kind, at
), {QUEUE}
SELECT count(*) AS queued FROM queued
"""  # noqa: S608 - made of constants

_CLAIM = """
WITH due AS (
  SELECT DISTINCT ON (webhook_id) delivery_id FROM webhook_deliveries
   WHERE state = 'QUEUED' AND next_at <= $1 AND (claimed_until IS NULL OR claimed_until < $1)
     AND webhook_id <> ALL($4)
   ORDER BY webhook_id, next_at, delivery_id LIMIT $3
)
UPDATE webhook_deliveries d SET claimed_until = $2, attempts = attempts + 1
  FROM due, webhooks w, events e
 WHERE d.delivery_id = due.delivery_id AND d.state = 'QUEUED' AND (d.claimed_until IS NULL OR d.claimed_until < $1)
   AND w.webhook_id = d.webhook_id AND e.seq = d.event_seq
RETURNING d.delivery_id, d.attempts, w.webhook_id, w.url, w.secret, e.seq, e.subject, e.kind, e.data, e.at
"""


async def append(
    uow: UnitOfWork, *, token_id: str, subject: str, events: Sequence[tuple[str, dict[str, Any]]], now: datetime
) -> bool:
    """Write events (kind, what it says) for an app; True when its webhooks have something to carry."""
    return await _append(uow, token_id, subject, events, now=now, account_id=None)


async def append_of_order(
    uow: UnitOfWork,
    *,
    account_id: str,
    order_id: str,
    events: Sequence[tuple[str, dict[str, Any]]],
    now: datetime,
) -> bool:
    """Write an order's events for the app its account belongs to; True when webhooks have something to carry."""
    return await _append(uow, "", f"order:{order_id}", events, now=now, account_id=account_id)


async def _append(
    uow: UnitOfWork,
    token_id: str,
    subject: str,
    events: Sequence[tuple[str, dict[str, Any]]],
    *,
    now: datetime,
    account_id: str | None,
) -> bool:
    kinds, data = [kind for kind, _ in events], [data for _, data in events]
    row = await uow.connection.fetchrow(_APPEND, token_id, subject, kinds, data, now, account_id)
    return bool(row["queued"])


async def since(uow: UnitOfWork, subject: str, *, after: int, limit: int) -> list[Mapping[str, Any]]:
    """Events of one subject after a seq, oldest first."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        "SELECT seq, kind, data, at FROM events WHERE subject = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        subject, after, limit,
    )  # fmt: skip
    return rows


async def newest(uow: UnitOfWork, subject: str, kinds: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """The newest event of each of these kinds that the subject has, as (kind, what it says), oldest first."""
    rows = await uow.connection.fetch(
        "SELECT kind, data FROM events WHERE seq IN"
        " (SELECT max(seq) FROM events WHERE subject = $1 AND kind = ANY($2) GROUP BY kind) ORDER BY seq",
        subject, list(kinds),
    )  # fmt: skip
    return [(row["kind"], row["data"]) for row in rows]


async def first(uow: UnitOfWork, subject: str) -> Mapping[str, Any] | None:
    """The event a subject began with: whose it is, what it said, when."""
    row: Mapping[str, Any] | None = await uow.connection.fetchrow(
        "SELECT token_id, kind, data, at FROM events WHERE subject = $1 ORDER BY seq LIMIT 1", subject
    )
    return row


# --- Webhooks -----------------------------------------------------------------------------------------------------


async def add_webhook(
    uow: UnitOfWork,
    *,
    webhook_id: str,
    token_id: str,
    url: str,
    secret: str,
    kinds: Sequence[str],
    most: int,
    now: datetime,
) -> bool:
    """Keep a webhook; False when the app has `most` already."""
    tag: str = await uow.connection.execute(
        "INSERT INTO webhooks (webhook_id, token_id, url, secret, kinds, created_at) SELECT $1, $2, $3, $4, $5, $6"
        " WHERE (SELECT count(*) FROM webhooks WHERE token_id = $2 AND deleted_at IS NULL) < $7",
        webhook_id, token_id, url, secret, list(kinds), now, most,
    )  # fmt: skip
    return tag == "INSERT 0 1"


async def webhooks(uow: UnitOfWork, token_id: str) -> list[Mapping[str, Any]]:
    """An app's webhooks, oldest first, without their secrets."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        "SELECT webhook_id, url, kinds, created_at,"
        " (SELECT count(*) FROM webhook_deliveries d WHERE d.webhook_id = w.webhook_id AND d.state = 'DEAD') AS dead"
        " FROM webhooks w WHERE token_id = $1 AND deleted_at IS NULL ORDER BY created_at, webhook_id",
        token_id,
    )
    return rows


async def delete_webhook(uow: UnitOfWork, webhook_id: str, *, token_id: str, now: datetime) -> bool:
    """Stop a webhook and what still waits for it; False when the app has no such webhook."""
    tag: str = await uow.connection.execute(
        "UPDATE webhooks SET deleted_at = $3 WHERE webhook_id = $1 AND token_id = $2 AND deleted_at IS NULL",
        webhook_id, token_id, now,
    )  # fmt: skip
    if tag != "UPDATE 1":
        return False
    await uow.connection.execute(
        "UPDATE webhook_deliveries SET state = 'DEAD', finished_at = $2, last_error = 'the webhook was deleted'"
        " WHERE webhook_id = $1 AND state = 'QUEUED'",
        webhook_id, now,
    )  # fmt: skip
    return True


async def claim_deliveries(
    uow: UnitOfWork, *, now: datetime, until: datetime, busy: Sequence[str], limit: int
) -> list[Mapping[str, Any]]:
    """Take due deliveries, one of each webhook and none of the `busy` ones; a claim lapses at `until`."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(_CLAIM, now, until, limit, list(busy))
    return rows


async def finish_delivery(
    uow: UnitOfWork, delivery_id: int, *, state: str, error: str | None, next_at: datetime, now: datetime
) -> None:
    """Write down how an attempt went: SENT and DEAD end the delivery, QUEUED tries again at `next_at`."""
    await uow.connection.execute(
        "UPDATE webhook_deliveries SET state = $2, last_error = $3, next_at = $4, claimed_until = NULL,"
        " finished_at = CASE WHEN $2 = 'QUEUED' THEN NULL ELSE $5::timestamptz END WHERE delivery_id = $1",
        delivery_id, state, error, next_at, now,
    )  # fmt: skip


async def deliveries(
    uow: UnitOfWork, webhook_id: str, *, token_id: str, state: str | None, after: int | None, limit: int
) -> list[Mapping[str, Any]]:
    """Deliveries of an app's webhook, newest first; `after` is the last delivery_id of the page before."""
    rows: list[Mapping[str, Any]] = await uow.connection.fetch(
        "SELECT d.delivery_id, d.event_seq, e.kind, e.subject, d.state, d.attempts, d.next_at, d.last_error,"
        " d.finished_at"
        " FROM webhook_deliveries d JOIN webhooks w USING (webhook_id) JOIN events e ON e.seq = d.event_seq"
        " WHERE d.webhook_id = $1 AND w.token_id = $2 AND ($3::text IS NULL OR d.state = $3)"
        " AND ($4::bigint IS NULL OR d.delivery_id < $4) ORDER BY d.delivery_id DESC LIMIT $5",
        webhook_id, token_id, state, after, limit,
    )  # fmt: skip
    return rows


async def requeue_dead(uow: UnitOfWork, webhook_id: str, *, token_id: str, now: datetime) -> int | None:
    """Try an app's dead deliveries again; returns how many, None when the app has no such webhook."""
    known = await uow.connection.fetchval(
        "SELECT 1 FROM webhooks WHERE webhook_id = $1 AND token_id = $2 AND deleted_at IS NULL", webhook_id, token_id
    )
    if known is None:
        return None
    tag: str = await uow.connection.execute(
        "UPDATE webhook_deliveries SET state = 'QUEUED', next_at = $2, finished_at = NULL, attempts = 0"
        " WHERE webhook_id = $1 AND state = 'DEAD'",
        webhook_id, now,
    )  # fmt: skip
    return int(tag.removeprefix("UPDATE "))
