"""Units of work on a real database: all or nothing, and what happens after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from store import access
from store.db import Database

NOW = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, pool_max=3)
    yield opened
    await opened.close()


async def note(uow: Any, subject: str, detail: Any = None) -> None:
    await uow.connection.execute(
        "INSERT INTO audit (at, actor, act, subject, detail) VALUES ($1, 'a', 'b', $2, $3)", NOW, subject, detail or {}
    )


async def noted(database: Database) -> list[str]:
    async with database.connection() as connection:
        return [row[0] for row in await connection.fetch("SELECT subject FROM audit ORDER BY seq")]


async def test_a_unit_of_work_that_fails_leaves_nothing_and_calls_nobody(database: Database) -> None:
    called: list[str] = []
    with pytest.raises(ZeroDivisionError):
        async with database.unit_of_work() as uow:
            uow.after_commit(lambda: called.append("after"))
            await note(uow, "x")
            raise ZeroDivisionError
    assert (await noted(database), called) == ([], [])


async def test_a_snapshot_sees_one_instant_and_writes_nothing(database: Database) -> None:
    count = "SELECT count(*) FROM audit"
    async with database.unit_of_work(snapshot=True) as uow:
        assert await uow.connection.fetchval(count) == 0
        async with database.unit_of_work() as other:
            await note(other, "x")
        assert await uow.connection.fetchval(count) == 0
    assert await noted(database) == ["x"]
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with database.unit_of_work(snapshot=True) as uow:
            await note(uow, "y")


async def test_what_waits_for_the_commit_runs_after_it_in_order(database: Database) -> None:
    called: list[str] = []
    async with database.unit_of_work() as uow:
        uow.after_commit(lambda: called.append("first"))
        uow.after_commit(lambda: called.append("second"))
        await note(uow, "x")
        assert called == []
    assert (await noted(database), called) == (["x"], ["first", "second"])


async def test_a_commit_that_the_database_refuses_calls_nobody(database: Database) -> None:
    called: list[str] = []
    async with database.connection() as connection:
        await connection.execute(
            "CREATE TABLE once (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED); INSERT INTO once VALUES (1)"
        )
    with pytest.raises(Exception, match="duplicate key"):
        async with database.unit_of_work() as uow:
            uow.after_commit(lambda: called.append("after"))
            await uow.connection.execute("INSERT INTO once VALUES (1)")
    assert called == []


async def test_documents_go_in_and_come_out_as_python(database: Database) -> None:
    document = {"a": [1, 2.5, None, True], "b": {"c": "é"}}
    async with database.unit_of_work() as uow:
        await note(uow, "x", document)
        assert await uow.connection.fetchval("SELECT detail FROM audit") == document


async def test_a_cancelled_unit_of_work_is_rolled_back_and_stays_cancelled_when_the_connection_is_gone(
    database: Database,
) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with database.unit_of_work() as uow:
            await note(uow, "x")
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await inside.wait()
    async with database.connection() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE state = 'idle in transaction' AND datname = current_database()"
        )
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await noted(database) == []


async def test_a_database_that_is_not_open_says_so() -> None:
    with pytest.raises(ConnectionError, match="not open"):
        async with Database("postgresql://u@h/d").unit_of_work():
            raise AssertionError


async def test_a_database_that_cannot_be_reached_says_so_without_the_password() -> None:
    with pytest.raises(ConnectionError) as caught:
        await Database.connect("postgresql://u:hunter2@/d?host=/nowhere")
    assert "hunter2" not in str(caught.value)


# --- Idempotency keys and the clock ----------------------------------------------------------------------------------


async def claim(database: Database, *, digest: bytes = b"d", now: datetime = NOW) -> Any:
    async with database.unit_of_work() as uow:
        return await access.claim_key(uow, "token", "key", digest, now=now, lapse_s=60)


async def test_a_key_is_claimed_once_answered_once_and_given_back(database: Database) -> None:
    assert await claim(database) is None
    assert (await claim(database))["status"] == 0, "still being worked on"
    async with database.unit_of_work() as uow:
        await access.release_key(uow, "token", "key")
    assert await claim(database) is None
    async with database.unit_of_work() as uow:
        await access.keep_answer(uow, "token", "key", status=201, body=b"made")
        await access.release_key(uow, "token", "key")  # too late: it is answered
    kept = await claim(database, digest=b"other")
    assert (kept["status"], kept["body"], kept["request_digest"]) == (201, b"made", b"d")


async def test_a_claim_whose_process_died_lapses_for_the_same_request_alone(database: Database) -> None:
    assert await claim(database) is None
    later = NOW + timedelta(seconds=61)
    assert (await claim(database, digest=b"other", now=later))["status"] == 0
    assert await claim(database, now=later) is None


async def test_of_many_claims_at_once_one_wins(database: Database) -> None:
    claims = await asyncio.gather(*(claim(database) for _ in range(20)))
    assert claims.count(None) == 1


async def test_the_kept_clock_never_goes_back(database: Database) -> None:
    rows = access.ClockRows(database)
    assert await rows.load() is None
    await rows.save(NOW)
    await rows.save(NOW - timedelta(days=1))
    assert await rows.load() == NOW
