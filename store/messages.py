"""Letters in and letters out: the inbox and outbox rows, written in batches.

Fits the ports of `beckn.inbox` and `beckn.outbox` by shape: rows go in as tuples in the order of the columns named
here, because turning 256 rows into one `unnest` is then a single `zip`. A row that goes alone, as most do, goes as
VALUES: the server cannot know how long an array is, and would plan such a statement anew each time. A *claim* says
which process holds a letter and until when; a claim that lapsed may be taken over. The raw bytes are kept as received
or as they will be sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

from store.db import Database, UnitOfWork

# letter_id, signer_id, action, message_id, variant, digest, transaction_id, body, headers (JSON), received_at
InboxRow = tuple[str, str, str, str, bytes, bytes, str, bytes, str, datetime]

# letter_id, destination_url, receiver_id, action, message_id, transaction_id, body, authorization, created_at,
# give_up_at
OutboxRow = tuple[str, str, str, str, str, str, bytes, str | None, datetime, datetime]

_ADD_ROWS = """
INSERT INTO inbox (letter_id, signer_id, action, message_id, variant, digest, transaction_id, body, headers,
                   received_at, claimed_by, claimed_until)
SELECT l, s, a, m, v, d, t, b, h::jsonb, r, $11, $12
FROM {rows} AS x(l, s, a, m, v, d, t, b, h, r)
ON CONFLICT ON CONSTRAINT inbox_once DO NOTHING
RETURNING letter_id
"""
_ADD = _ADD_ROWS.format(
    rows="unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::text[], $8::bytea[],"
    " $9::text[], $10::timestamptz[])"
)
_ADD_ONE = _ADD_ROWS.format(
    rows="(VALUES ($1::text, $2::text, $3::text, $4::text, $5::bytea, $6::bytea, $7::text, $8::bytea, $9::text,"
    " $10::timestamptz))"
)

_KNOWN = """
SELECT x.l, inbox.digest
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[]) AS x(l, s, a, m, v)
JOIN inbox ON (signer_id, action, message_id, variant) = (s, a, m, v)
"""

_CLAIM_LETTERS = """
UPDATE inbox SET claimed_by = $1, claimed_until = $3
WHERE letter_id IN (
    SELECT letter_id FROM inbox AS waiting
    WHERE state = 'NEW' AND (claimed_until IS NULL OR claimed_until < $2)
      AND NOT EXISTS (
          SELECT 1 FROM inbox AS earlier
          WHERE earlier.transaction_id = waiting.transaction_id AND earlier.state = 'NEW'
            AND earlier.received_at < waiting.received_at AND earlier.claimed_until >= $2)
    ORDER BY received_at LIMIT $4 FOR UPDATE SKIP LOCKED)
RETURNING letter_id, signer_id, body, headers, received_at, attempts
"""

_POST_ROWS = """
INSERT INTO outbox (letter_id, destination_url, receiver_id, action, message_id, transaction_id, body, "authorization",
                    created_at, give_up_at, next_at, claimed_by, claimed_until)
SELECT l, u, c, a, m, t, b, z, n, g, greatest(n, k),
       CASE WHEN held THEN $12 END, CASE WHEN held THEN $13::timestamptz END
FROM (
    SELECT x.*, $12::text IS NOT NULL AND k IS NULL AND NOT EXISTS (
        SELECT 1 FROM outbox AS earlier
        WHERE earlier.transaction_id = t AND earlier.destination_url = u AND earlier.state = 'QUEUED'
          AND earlier.claimed_by IS DISTINCT FROM $12) AS held
    FROM {rows} AS x(l, u, c, a, m, t, b, z, n, g, k, position)
) AS y
ORDER BY position
RETURNING seq, letter_id, claimed_by IS NOT NULL AS held
"""
_POST = _POST_ROWS.format(
    rows="unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[],"
    " $9::timestamptz[], $10::timestamptz[], $11::timestamptz[]) WITH ORDINALITY"
)
_POST_ONE = _POST_ROWS.format(
    rows="(VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::bytea, $8::text, $9::timestamptz,"
    " $10::timestamptz, $11::timestamptz, 1))"
)

_CLAIM_OUTGOING = """
UPDATE outbox SET claimed_by = $1, claimed_until = $3, uncertain = uncertain OR claimed_by IS NOT NULL
WHERE seq IN (
    SELECT seq FROM outbox AS waiting
    WHERE state = 'QUEUED' AND (next_at <= $2 OR give_up_at <= $2)
      AND (claimed_until IS NULL OR claimed_until < $2)
      AND NOT EXISTS (
          SELECT 1 FROM outbox AS earlier
          WHERE earlier.transaction_id = waiting.transaction_id AND earlier.state = 'QUEUED'
            AND earlier.destination_url = waiting.destination_url AND earlier.seq < waiting.seq
            AND (earlier.claimed_until >= $2 OR (earlier.next_at > $2 AND earlier.give_up_at > $2)))
    ORDER BY seq LIMIT $4 FOR UPDATE SKIP LOCKED)
RETURNING seq, letter_id, destination_url, receiver_id, action, message_id, transaction_id, body, "authorization",
          created_at, give_up_at, attempts, uncertain
"""

# An acknowledgement forgotten in a crash of the server costs one more delivery, which the peer knows for a repeat; so
# this commit need not wait for the disk. `set_config` is for this statement's transaction only.
_SENT_ROWS = """
WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS setting)
UPDATE outbox SET state = 'SENT', attempts = attempts + 1, finished_at = x.f, outcome = x.o::jsonb,
                  claimed_by = NULL, claimed_until = NULL
FROM {rows} AS x(q, f, o), relaxed
WHERE seq = x.q AND state = 'QUEUED' AND relaxed.setting = 'off'
"""
_SENT = _SENT_ROWS.format(rows="unnest($1::bigint[], $2::timestamptz[], $3::text[])")
_SENT_ONE = _SENT_ROWS.format(rows="(VALUES ($1::bigint, $2::timestamptz, $3::text))")

_RETRY = """
UPDATE outbox SET attempts = attempts + x.a, uncertain = uncertain OR x.u, next_at = x.n,
                  outcome = coalesce(x.o::jsonb, outcome), claimed_by = NULL, claimed_until = NULL
FROM unnest($1::bigint[], $2::int[], $3::boolean[], $4::timestamptz[], $5::text[]) AS x(q, a, u, n, o)
WHERE seq = x.q AND state = 'QUEUED' AND claimed_by = $6
"""


class InboxRows:
    """The table inbox of one node."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unit_of_work(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """One transaction."""
        return self._database.unit_of_work()

    async def add(self, rows: Sequence[InboxRow], *, claimed_by: str | None, claimed_until: datetime) -> list[str]:
        """Store letters in one durable statement; for each row, in order: "NEW", "SAME" or "OTHER".

        "SAME" means that this signer sent this letter before, "OTHER" that it sent another body under its id. Letters
        are held by `claimed_by` from the start, or by nobody when it is None.
        """
        async with self._database.connection() as connection:
            statement, columns = (_ADD_ONE, rows[0]) if len(rows) == 1 else (_ADD, zip(*rows, strict=True))
            stored = await connection.fetch(
                statement, *columns, claimed_by, claimed_until if claimed_by is not None else None
            )
            if len(stored) == len(rows):
                return ["NEW"] * len(rows)
            new = {record[0] for record in stored}
            known = [row for row in rows if row[0] not in new]
            digests = {
                record[0]: record[1]
                for record in await connection.fetch(_KNOWN, *zip(*(row[:5] for row in known), strict=True))
            }
        return ["NEW" if row[0] in new else "SAME" if digests[row[0]] == row[5] else "OTHER" for row in rows]

    async def claim(
        self, *, claimed_by: str, now: datetime, claimed_until: datetime, limit: int
    ) -> list[Mapping[str, Any]]:
        """Take over letters that nobody holds, oldest first; a letter waits while an earlier one of its transaction
        is held."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_CLAIM_LETTERS, claimed_by, now, claimed_until, limit)
        return sorted(rows, key=lambda row: (row["received_at"], row["letter_id"]))

    async def renew(
        self, letter_ids: Sequence[str], *, claimed_by: str, claimed_until: datetime, older_than: datetime
    ) -> None:
        """Hold on to letters that still wait in memory and whose claim ends before `older_than`."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE inbox SET claimed_until = $3 WHERE letter_id = ANY($1) AND state = 'NEW'"
                " AND claimed_by = $2 AND claimed_until < $4",
                list(letter_ids),
                claimed_by,
                claimed_until,
                older_than,
            )

    async def release(self, letter_ids: Sequence[str], *, claimed_by: str) -> None:
        """Give letters back to whoever takes them next."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE inbox SET claimed_by = NULL, claimed_until = NULL"
                " WHERE letter_id = ANY($1) AND claimed_by = $2 AND state = 'NEW'",
                list(letter_ids),
                claimed_by,
            )

    async def finish(self, uow: UnitOfWork, letter_id: str, *, claimed_by: str, now: datetime) -> bool:
        """Mark a letter DONE within the unit of work that does it; False when another process took it over."""
        tag = await uow.connection.execute(
            "UPDATE inbox SET state = 'DONE', attempts = attempts + 1, finished_at = $3, error = NULL,"
            " claimed_by = NULL, claimed_until = NULL WHERE letter_id = $1 AND state = 'NEW' AND claimed_by = $2",
            letter_id,
            claimed_by,
            now,
        )
        return bool(tag == "UPDATE 1")

    async def fail(
        self, letter_id: str, *, claimed_by: str, error: str, attempts_max: int, claimed_until: datetime, now: datetime
    ) -> bool:
        """Note a failed try; True when that was the last one and the letter is now PARKED."""
        async with self._database.connection() as connection:
            state = await connection.fetchval(
                "UPDATE inbox SET attempts = attempts + 1, error = $3,"
                " state = CASE WHEN attempts + 1 >= $4 THEN 'PARKED' ELSE 'NEW' END,"
                " finished_at = CASE WHEN attempts + 1 >= $4 THEN $6::timestamptz END, claimed_until = $5"
                " WHERE letter_id = $1 AND claimed_by = $2 AND state = 'NEW' RETURNING state",
                letter_id,
                claimed_by,
                error,
                attempts_max,
                claimed_until,
                now,
            )
        return bool(state == "PARKED")


class OutboxRows:
    """The table outbox of one node."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unit_of_work(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """One transaction."""
        return self._database.unit_of_work()

    async def post(
        self,
        uow: UnitOfWork,
        rows: Sequence[OutboxRow],
        *,
        not_before: Sequence[datetime | None],
        claimed_by: str | None,
        claimed_until: datetime | None,
    ) -> list[tuple[int, bool]]:
        """Queue letters within the unit of work that decided to send them: seq and whether `claimed_by` holds it.

        A letter is not held when it must wait for `not_before`, or for an earlier one of its destination and
        transaction that is not held by the same process.
        """
        if len(rows) == 1:
            stored = await uow.connection.fetch(_POST_ONE, *rows[0], not_before[0], claimed_by, claimed_until)
        else:
            stored = await uow.connection.fetch(
                _POST, *zip(*rows, strict=True), list(not_before), claimed_by, claimed_until
            )
        by_id = {record[1]: (record[0], record[2]) for record in stored}
        return [by_id[row[0]] for row in rows]

    async def claim(
        self, *, claimed_by: str, now: datetime, claimed_until: datetime, limit: int
    ) -> list[Mapping[str, Any]]:
        """Take letters that are due and that nobody holds, in order; a letter waits for the earlier ones of its
        destination and transaction."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_CLAIM_OUTGOING, claimed_by, now, claimed_until, limit)
        return sorted(rows, key=lambda row: row["seq"])

    async def renew(
        self, seqs: Sequence[int], *, claimed_by: str, claimed_until: datetime, older_than: datetime
    ) -> None:
        """Hold on to letters that still wait in memory and whose claim ends before `older_than`."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE outbox SET claimed_until = $3 WHERE seq = ANY($1) AND state = 'QUEUED'"
                " AND claimed_by = $2 AND claimed_until < $4",
                list(seqs),
                claimed_by,
                claimed_until,
                older_than,
            )

    async def sent(self, results: Sequence[tuple[int, datetime, str]]) -> None:
        """Note acknowledged letters: seq, when, outcome (JSON)."""
        async with self._database.connection() as connection:
            if len(results) == 1:
                await connection.execute(_SENT_ONE, *results[0])
            else:
                await connection.execute(_SENT, *zip(*results, strict=True))

    async def retry(self, results: Sequence[tuple[int, int, bool, datetime, str | None]], *, claimed_by: str) -> None:
        """Give letters back to be tried later: seq, attempts made now (0 or 1), whether the peer may have got it,
        when to try again, outcome (JSON, or None to leave the last)."""
        async with self._database.connection() as connection:
            await connection.execute(_RETRY, *zip(*results, strict=True), claimed_by)

    async def dead(
        self,
        uow: UnitOfWork,
        seq: int,
        *,
        claimed_by: str,
        tried: bool,
        uncertain: bool,
        outcome: dict[str, Any],
        now: datetime,
    ) -> bool:
        """Park a letter for good; False when another process took it over."""
        tag = await uow.connection.execute(
            "UPDATE outbox SET state = 'DEAD', attempts = attempts + $3, uncertain = uncertain OR $4, outcome = $5,"
            " finished_at = $6, claimed_by = NULL, claimed_until = NULL"
            " WHERE seq = $1 AND state = 'QUEUED' AND claimed_by = $2",
            seq,
            claimed_by,
            int(tried),
            uncertain,
            outcome,
            now,
        )
        return bool(tag == "UPDATE 1")

    async def wake(self, destination_url: str, *, now: datetime) -> None:
        """A destination works again: whatever waits for it is due now."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE outbox SET next_at = $2 WHERE state = 'QUEUED' AND destination_url = $1 AND next_at > $2",
                destination_url,
                now,
            )
