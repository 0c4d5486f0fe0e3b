"""Registry: who is subscribed with which key, and the change feed that tells every node.

One row per (subscriber, type, domain, key). A change is announced in the transaction that makes it: the feed's `seq` is
given out under a lock that is held until commit, so the order of `seq` is the order of commits and a reader that has
seen N has seen everything up to N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.db import Database, UnitOfWork

#: The advisory lock that orders the feed; any constant that nothing else in the registry's database uses.
_FEED_LOCK = 0x5245_4749  # "REGI"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One key of one subscriber in one role and domain. Keys are base64 of the raw 32 bytes.

    `status` is the stored one: INITIATED, UNDER_SUBSCRIPTION, SUBSCRIBED, SUSPENDED, UNSUBSCRIBED or INVALID_SSL;
    EXPIRED is derived from `valid_until`.
    """

    subscriber_id: str
    type: str
    domain: str
    key_id: str
    url: str
    country: str
    city: str
    location: dict[str, Any] | None
    signing_public_key: str
    encr_public_key: str
    valid_from: datetime
    valid_until: datetime
    status: str
    challenge_passed: bool
    created: datetime
    updated: datetime

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What the row is found by."""
        return self.subscriber_id, self.type, self.domain, self.key_id


@dataclass(frozen=True, slots=True)
class Filters:
    """What a lookup asks for; empty means any. `status` empty means: subscribed and valid now."""

    subscriber_id: str = ""
    type: str = ""
    domain: str = ""
    key_id: str = ""
    country: str = ""
    city: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the feed: the whole record as it was after the change."""

    seq: int
    record: dict[str, Any]


_COLUMNS = (
    "subscriber_id, type, domain, key_id, url, country, city, location, signing_public_key, encr_public_key, "
    "valid_from, valid_until, status, challenge_passed, created, updated"
)

_BY_SUBSCRIBER = f"""
SELECT {_COLUMNS} FROM subscriptions WHERE subscriber_id = $1
ORDER BY created DESC, type, domain, key_id
"""  # noqa: S608 - constants only

_SAVE = f"""
INSERT INTO subscriptions ({_COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (subscriber_id, type, domain, key_id) DO UPDATE SET
    url = EXCLUDED.url, country = EXCLUDED.country, city = EXCLUDED.city, location = EXCLUDED.location,
    signing_public_key = EXCLUDED.signing_public_key, encr_public_key = EXCLUDED.encr_public_key,
    valid_from = EXCLUDED.valid_from, valid_until = EXCLUDED.valid_until, status = EXCLUDED.status,
    challenge_passed = EXCLUDED.challenge_passed, created = EXCLUDED.created, updated = EXCLUDED.updated
"""  # noqa: S608 - constants only

_PAGE = f"""
SELECT {_COLUMNS} FROM subscriptions
WHERE (subscriber_id, type, domain, key_id) > ($1, $2, $3, $4) AND ($5 = '' OR {{status}} = $5)
ORDER BY subscriber_id, type, domain, key_id LIMIT $6
"""  # noqa: S608 - constants only

#: A row's status as its operator sees it, and as the wire does, at an instant (see registry/membership.py).
_STANDING = "CASE WHEN status = 'SUBSCRIBED' AND valid_until <= {now} THEN 'EXPIRED' ELSE status END"
_WIRE_STATUS = f"CASE WHEN status = 'SUSPENDED' THEN 'UNSUBSCRIBED' ELSE {_STANDING} END"

#: How each lookup filter reads in SQL; a record without a place serves every place.
_FILTERS = {
    "subscriber_id": "subscriber_id = {}",
    "type": "type = {}",
    "domain": "domain = {}",
    "key_id": "key_id = {}",
    "country": "country IN ('', '*', {})",
    "city": "city IN ('', '*', {})",
}


def _row(row: Any) -> Subscription:
    return Subscription(*row)


async def of_subscriber(uow: UnitOfWork, subscriber_id: str) -> list[Subscription]:
    """Every row of one subscriber, newest key first."""
    return [_row(row) for row in await uow.connection.fetch(_BY_SUBSCRIBER, subscriber_id)]


async def lock_feed(uow: UnitOfWork) -> None:
    """Wait for the turn to change subscriptions; held until the unit of work ends."""
    await uow.connection.execute("SELECT pg_advisory_xact_lock($1)", _FEED_LOCK)


async def save(uow: UnitOfWork, subscription: Subscription) -> None:
    """Write one row, new or changed."""
    s = subscription
    await uow.connection.execute(
        _SAVE, *s.key, s.url, s.country, s.city, s.location, s.signing_public_key, s.encr_public_key,
        s.valid_from, s.valid_until, s.status, s.challenge_passed, s.created, s.updated,
    )  # fmt: skip


async def announce(uow: UnitOfWork, record: dict[str, Any], *, now: datetime) -> int:
    """Add `record` to the feed and give its seq. The caller holds `lock_feed`, else seqs could commit out of order."""
    seq: int = await uow.connection.fetchval(
        "INSERT INTO registry_changes (seq, record, at) "
        "SELECT coalesce(max(seq), 0) + 1, $1, $2 FROM registry_changes RETURNING seq",
        record,
        now,
    )
    return seq


async def changes(database: Database, *, after: int, limit: int) -> tuple[list[Change], int]:
    """The feed after seq `after`, oldest first, and the newest seq there is."""
    rows = await database.pool.fetch(
        "SELECT seq, record FROM registry_changes WHERE seq > $1 ORDER BY seq LIMIT $2", after, limit
    )
    if rows:
        return [Change(row[0], row[1]) for row in rows], int(rows[-1][0])
    newest = await database.pool.fetchval("SELECT coalesce(max(seq), 0) FROM registry_changes")
    return [], int(newest)


async def find(database: Database, filters: Filters, *, now: datetime, limit: int) -> list[Subscription]:
    """What a lookup answers: newest key first; only valid subscriptions unless a status is asked for."""
    arguments: list[Any] = [now, limit]
    if filters.status:
        arguments.append(filters.status)
        conditions = [f"{_WIRE_STATUS.format(now='$1')} = $3"]
    else:
        conditions = ["status = 'SUBSCRIBED' AND valid_from <= $1 AND valid_until > $1"]
    for name, condition in _FILTERS.items():
        value = getattr(filters, name)
        if value:
            arguments.append(value)
            conditions.append(condition.format(f"${len(arguments)}"))
    # Only constant fragments and numbered placeholders: nothing a stranger wrote is part of the text.
    query = (
        f"SELECT {_COLUMNS} FROM subscriptions WHERE {' AND '.join(conditions)} "  # noqa: S608
        "ORDER BY created DESC, updated DESC, subscriber_id, key_id LIMIT $2"
    )
    return [_row(row) for row in await database.pool.fetch(query, *arguments)]


async def page(
    database: Database, *, status: str, after: Sequence[str] | None, now: datetime, limit: int
) -> list[Subscription]:
    """One page of all rows by key, for the operator; `status` empty means any."""
    query = _PAGE.format(status=_STANDING.format(now="$7::timestamptz"))
    rows = await database.pool.fetch(query, *(after or ("", "", "", "")), status, limit, now)
    return [_row(row) for row in rows]


async def count_pending(uow: UnitOfWork) -> int:
    """How many applications wait: not proven yet, or proven and waiting for the operator."""
    count: int = await uow.connection.fetchval(
        "SELECT count(*) FROM subscriptions WHERE status IN ('INITIATED', 'INVALID_SSL', 'UNDER_SUBSCRIPTION')"
    )
    return count


async def drop_unproven(uow: UnitOfWork, *, subscriber_id: str, type: str, domain: str) -> None:
    """Forget earlier applications for one role that never proved themselves; a new one takes their place."""
    await uow.connection.execute(
        "DELETE FROM subscriptions WHERE subscriber_id = $1 AND type = $2 AND domain = $3 "
        "AND status IN ('INITIATED', 'INVALID_SSL')",
        subscriber_id, type, domain,
    )  # fmt: skip


async def drop_oldest_unproven(uow: UnitOfWork) -> bool:
    """Forget the oldest application that never proved itself; False when there is none."""
    done = await uow.connection.execute(
        "DELETE FROM subscriptions WHERE (subscriber_id, type, domain, key_id) IN ("
        "SELECT subscriber_id, type, domain, key_id FROM subscriptions "
        "WHERE status IN ('INITIATED', 'INVALID_SSL') ORDER BY updated LIMIT 1)"
    )
    return bool(done == "DELETE 1")
