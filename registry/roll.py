"""The registry's roll: rows, feed and audit written together, so that none of the three can say what the others do not.

Everything that changes the roll takes the feed's lock first and looks at the rows only then: two changes of one
subscriber are decided one after the other, and the order of the feed is the order of commits.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from beckn import challenge, errors, signing
from registry.membership import CLOCK_SLACK, PENDING, Status
from registry.translate import record_to_wire
from store import audit, subscribers
from store.db import Database, UnitOfWork
from store.subscribers import Subscription

#: How long the registry's own record is valid from each start on.
OWN_LIFETIME = timedelta(days=3650)
#: The actor of what the registry does by itself.
OWN_ACTOR = "registry"


async def standing_of(uow: UnitOfWork, subscriber_id: str) -> list[Subscription]:
    """Everything held about a subscriber, read under the lock that orders all changes."""
    await subscribers.lock_feed(uow)
    return await subscribers.of_subscriber(uow, subscriber_id)


async def write(
    uow: UnitOfWork,
    rows: Sequence[Subscription],
    *,
    actor: str,
    act: str,
    subject: str,
    detail: dict[str, Any],
    now: datetime,
) -> None:
    """Write rows, announce those that concern peers, and note who did it and why."""
    for row in rows:
        await subscribers.save(uow, row)
        if row.status not in PENDING:
            await subscribers.announce(uow, record_to_wire(row, now=now, is_rolling=False), now=now)
    keys = [{"type": row.type, "domain": row.domain, "key_id": row.key_id, "status": row.status} for row in rows]
    await audit.add(uow, actor=actor, act=act, subject=subject, detail={**detail, "keys": keys}, now=now)


async def make_room(uow: UnitOfWork, row: Subscription, *, pending_max: int) -> None:
    """A new application takes the place of unproven ones for the same role, and of the oldest unproven one of all.

    Raises errors.TooManyLetters when `pending_max` proven applications wait for the operator already.
    """
    await subscribers.drop_unproven(uow, subscriber_id=row.subscriber_id, type=row.type, domain=row.domain)
    if row.status not in PENDING:
        return
    while await subscribers.count_pending(uow) >= pending_max:
        if not await subscribers.drop_oldest_unproven(uow):
            raise errors.TooManyLetters("too many applications wait for the network's operator; try again later")


async def enter_registry(
    database: Database,
    *,
    identity: signing.Identity,
    encryption_key: str,
    url: str,
    domain: str,
    now: datetime,
) -> None:
    """The registry's own record (type BREG): where nodes find the key that its challenges are made with."""
    async with database.unit_of_work() as uow:
        standing = await standing_of(uow, identity.subscriber_id)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        own = Subscription(
            subscriber_id=identity.subscriber_id,
            type="BREG",
            domain=domain,
            key_id=identity.key_id,
            url=url,
            country="",
            city="",
            location=None,
            signing_public_key=base64.b64encode(identity.public_key).decode(),
            encr_public_key=challenge.public_key_b64(encryption_key),
            valid_from=now - CLOCK_SLACK,
            valid_until=now + OWN_LIFETIME,
            status=Status.SUBSCRIBED,
            challenge_passed=False,
            created=now,
            updated=now,
        )
        old = next((row for row in standing if row.key == own.key), None)
        if old is not None:
            own = replace(own, valid_from=old.valid_from, created=old.created)
            is_same = replace(old, valid_until=own.valid_until, updated=now) == own
            if is_same and old.valid_until > now + OWN_LIFETIME / 2:
                return
        retired = [
            replace(row, status=Status.UNSUBSCRIBED, updated=now)
            for row in standing
            if row.type == "BREG" and row.key != own.key and row.status == Status.SUBSCRIBED
        ]
        rows = [own, *retired]
        await write(uow, rows, actor=OWN_ACTOR, act="enter", subject=own.subscriber_id, detail={}, now=now)
