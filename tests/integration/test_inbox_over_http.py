"""Accepting letters over real sockets into a real database: once, durably, in order, and through crashes."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from beckn import errors
from beckn.actions import Role
from beckn.envelope import Letter
from beckn.node import Node
from store import dead_letters
from store.messages import InboxRows
from tests.support.post_office import BAP, BPP, OTHER_BAP, Office, office, record

ACK = (200, {"message": {"ack": {"status": "ACK"}}})


@pytest.fixture
async def here(shared_database_url: str) -> AsyncIterator[Office]:
    async with office(shared_database_url) as running:
        yield running


@pytest.fixture
async def buyer(shared_database_url: str) -> AsyncIterator[Office]:
    async with office(shared_database_url, role=Role.BAP) as running:
        yield running


async def states(here: Office) -> list[str]:
    return [row["state"] for row in await here.rows("SELECT state FROM inbox ORDER BY received_at")]


# --- Duplicates ------------------------------------------------------------------------------------------------------


async def test_a_repeat_of_a_letter_gets_the_same_acknowledgement_and_runs_nothing_twice(here: Office) -> None:
    body = here.letter()
    first, second = await here.post(body), await here.post(body)
    assert first[:2] == second[:2] == ACK
    await here.until(lambda: here.processed)
    await asyncio.sleep(0.05)
    assert len(here.processed) == 1
    assert await states(here) == ["DONE"]
    assert 'outcome="duplicate"} 1.0' in here.node.metrics.exposition().decode()


async def test_a_repeat_with_a_new_signature_is_the_same_letter(here: Office) -> None:
    body = here.letter()
    await here.post(body)
    here.clock.shift = timedelta(seconds=2)
    assert (await here.post(body))[:2] == ACK
    assert len(await states(here)) == 1


async def test_repeats_that_arrive_together_are_one_letter(here: Office) -> None:
    body = here.letter()
    answers = await asyncio.gather(*(here.post(body) for _ in range(40)))
    assert all(answer[:2] == ACK for answer in answers)
    await here.until(lambda: here.processed)
    assert (len(here.processed), len(await states(here))) == (1, 1)


async def test_a_request_under_a_known_message_id_with_another_body_is_refused(here: Office) -> None:
    body = here.letter()
    await here.post(body)
    known = orjson.loads(body)["context"]
    other = here.letter("status", {"order_id": "order-2"}, **known)
    status, answer, _ = await here.post(other)
    assert (status, answer["error"]["code"]) == (errors.MessageIdReused.http_status, errors.MessageIdReused.code)
    assert answer["error"]["paths"] == "context.message_id"
    assert known["message_id"] in answer["error"]["message"]
    assert len(await states(here)) == 1


async def test_one_signer_cannot_use_up_the_message_ids_of_another(here: Office) -> None:
    here.directory.records.append(record(OTHER_BAP, Role.BAP, here.bap.url))
    theirs = here.letter("status", {"order_id": "x"}, bap_id=OTHER_BAP.subscriber_id, message_id="m-1")
    assert (await here.post(theirs, here.headers(theirs, OTHER_BAP)))[:2] == ACK
    ours = here.letter("status", {"order_id": "y"}, message_id="m-1")
    assert (await here.post(ours))[:2] == ACK
    await here.until(lambda: len(here.processed) == 2)


async def test_the_same_message_id_serves_two_actions(here: Office) -> None:
    assert (await here.post(here.letter("status", message_id="m-1")))[:2] == ACK
    assert (await here.post(here.letter("search", message_id="m-1"), action="search"))[:2] == ACK


async def test_several_different_callbacks_of_one_message_id_are_all_accepted(buyer: Office) -> None:
    for page in range(3):
        body = buyer.letter("on_search", {"catalog": {"providers": [], "descriptor": {"name": f"page {page}"}}},
                            message_id="m-1", transaction_id="t-1")  # fmt: skip
        for _ in range(2):  # and each may come twice
            assert (await buyer.post(body, buyer.headers(body, BPP), action="on_search"))[:2] == ACK
    await buyer.until(lambda: len(buyer.processed) == 3)
    pages = [letter.message["catalog"]["descriptor"]["name"] for letter in buyer.processed]
    assert pages == ["page 0", "page 1", "page 2"]


async def test_a_letter_that_was_refused_may_be_sent_again_corrected(here: Office) -> None:
    wrong = here.letter("status", {"order_id": 7}, message_id="m-1")
    assert (await here.post(wrong))[0] == 400
    assert (await here.post(here.letter("status", {"order_id": "7"}, message_id="m-1")))[:2] == ACK


# --- Durable before acknowledged -------------------------------------------------------------------------------------


async def test_what_is_kept_is_the_bytes_received_and_who_signed_them(here: Office) -> None:
    body = b" " + here.letter().replace(b'"order-1"', b'"order-\\u0031"')
    headers = here.headers(body)
    await here.post(body, headers)
    [row] = await here.rows("SELECT * FROM inbox")
    assert row["body"] == body
    assert row["signer_id"] == BAP.subscriber_id
    assert row["headers"] == {"authorization": headers["Authorization"]}
    await here.until(lambda: here.processed)
    [letter] = here.processed
    assert letter.message == {"order_id": "order-1"}
    assert (letter.signer_url, letter.authorization) == (here.bap.url, headers["Authorization"])


async def test_letters_that_arrive_together_share_a_commit(shared_database_url: str) -> None:
    batches: list[int] = []

    class Counting(InboxRows):
        async def add(self, rows: Any, **claim: Any) -> list[str]:
            batches.append(len(rows))
            return await super().add(rows, **claim)

    async with office(shared_database_url, inbox_rows=Counting, inbox_batch_max=64) as here:
        answers = await asyncio.gather(*(here.post(here.letter()) for _ in range(200)))
        assert all(answer[:2] == ACK for answer in answers)
        await here.until(lambda: len(here.processed) == 200)
        assert await here.rows("SELECT count(*) FROM inbox WHERE state = 'DONE'") == [(200,)]
        assert sum(batches) == 200
        assert len(batches) < 100
        assert max(batches) <= 64


async def test_a_failed_commit_acknowledges_nobody_and_the_next_one_works(shared_database_url: str) -> None:
    class Broken(InboxRows):
        fails = True

        async def add(self, rows: Any, **claim: Any) -> list[str]:
            if Broken.fails:
                raise ConnectionResetError("cut in the middle")
            return await super().add(rows, **claim)

    async with office(shared_database_url, inbox_rows=Broken) as here:
        answers = await asyncio.gather(*(here.post(here.letter()) for _ in range(10)))
        assert {answer[0] for answer in answers} == {503}
        Broken.fails = False
        assert (await here.post(here.letter()))[:2] == ACK


# --- Processing ------------------------------------------------------------------------------------------------------


async def test_letters_of_one_transaction_are_processed_in_order_and_others_beside_them(
    shared_database_url: str,
) -> None:
    running: defaultdict[str, int] = defaultdict(int)
    most_together = 0

    async def handler(letter: Letter, uow: Any, node: Node) -> None:
        nonlocal most_together
        key = letter.context.transaction_id
        running[key] += 1
        assert running[key] == 1, "two letters of one transaction at the same time"
        most_together = max(most_together, sum(running.values()))
        await asyncio.sleep(0.002)
        running[key] -= 1

    async with office(shared_database_url, handler=handler, database_pool_max=8) as here:
        for number in range(10):
            await asyncio.gather(
                *(
                    here.post(here.letter("status", {"order_id": str(number)}, transaction_id=f"t{lane}"))
                    for lane in range(6)
                )
            )
        await here.until(lambda: len(here.processed) == 60)
        for lane in range(6):
            order = [int(x.message["order_id"]) for x in here.processed if x.context.transaction_id == f"t{lane}"]
            assert order == list(range(10))
        assert most_together > 1


async def test_a_letter_is_done_in_the_same_unit_of_work_as_what_it_asked_for(shared_database_url: str) -> None:
    attempts = 0

    async def handler(letter: Letter, uow: Any, node: Node) -> None:
        nonlocal attempts
        attempts += 1
        await uow.connection.execute(
            "INSERT INTO audit (at, actor, act, subject, detail) VALUES (now(), 'x', 'y', $1, '{}')",
            letter.context.message_id,
        )
        if attempts < 3:
            raise RuntimeError("a bug, so far")

    async with office(shared_database_url, handler=handler) as here:
        await here.post(here.letter(message_id="m-1"))
        await here.until(lambda: here.processed)
        assert attempts == 3
        assert await here.rows("SELECT count(*) FROM audit WHERE subject = 'm-1'") == [(1,)]
        [row] = await here.rows("SELECT state, attempts, error FROM inbox")
        assert (row["state"], row["attempts"], row["error"]) == ("DONE", 3, None)


async def test_a_letter_that_cannot_be_processed_is_parked_and_its_lane_goes_on(
    shared_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beckn.processing.RETRY_S_MIN", 0.001)

    async def handler(letter: Letter, uow: Any, node: Node) -> None:
        if letter.message["order_id"] == "poison":
            raise ZeroDivisionError("always")

    async with office(shared_database_url, handler=handler, inbox_attempts_max=3) as here:
        await here.post(here.letter("status", {"order_id": "poison"}, transaction_id="t"))
        await here.post(here.letter("status", {"order_id": "good"}, transaction_id="t"))
        await here.until(lambda: here.processed)
        [parked, done] = await here.rows("SELECT letter_id, state, attempts, error FROM inbox ORDER BY received_at")
        assert (parked["state"], parked["attempts"]) == ("PARKED", 3)
        assert parked["error"] == "ZeroDivisionError: always"
        assert done["state"] == "DONE"
        async with here.node.database.unit_of_work() as uow:
            assert [row["letter_id"] for row in await dead_letters.parked(uow)] == [parked["letter_id"]]
            assert await dead_letters.process_again(uow, [parked["letter_id"]]) == [parked["letter_id"]]
        await here.until(lambda: 'action="status",outcome="parked"} 2.0' in here.node.metrics.exposition().decode())


# --- Crashes and neighbours ------------------------------------------------------------------------------------------


async def test_letters_of_a_process_that_died_are_taken_over_when_its_claim_lapses(shared_database_url: str) -> None:
    async def hangs(letter: Letter, uow: Any, node: Node) -> None:
        await asyncio.sleep(60)

    async with office(shared_database_url, handler=hangs, stop_s_max=0.01) as first:
        for number in range(3):
            await first.post(first.letter("status", {"order_id": str(number)}, transaction_id="t"))
        rows = await first.rows("SELECT claimed_by, claimed_until FROM inbox")
        assert len({row["claimed_by"] for row in rows}) == 1
        async with office(shared_database_url) as second:
            await asyncio.sleep(0.3)
            assert second.processed == [], "the claim has not lapsed"
            second.clock.shift = timedelta(seconds=20)
            await second.until(lambda: len(second.processed) == 3)
            assert [letter.message["order_id"] for letter in second.processed] == ["0", "1", "2"]
        assert await first.rows("SELECT DISTINCT state FROM inbox") == [("DONE",)]


async def test_a_graceful_stop_finishes_what_was_accepted(shared_database_url: str) -> None:
    async def slow(letter: Letter, uow: Any, node: Node) -> None:
        await asyncio.sleep(0.02)

    async with office(shared_database_url, handler=slow, inbox_workers=2) as here:
        for _ in range(10):
            await here.post(here.letter())
    assert len(here.processed) == 10


async def test_a_stop_gives_back_what_it_cannot_finish(shared_database_url: str) -> None:
    async def hangs(letter: Letter, uow: Any, node: Node) -> None:
        await asyncio.sleep(60)

    async with office(shared_database_url, handler=hangs, stop_s_max=0.1) as first:
        await first.post(first.letter())
        started = time.monotonic()
    assert time.monotonic() - started < 2
    async with office(shared_database_url) as second:
        await second.until(lambda: second.processed)


async def test_a_process_that_only_receives_leaves_the_work_to_others(shared_database_url: str) -> None:
    async with office(shared_database_url, inbox_workers=0) as receiver:
        await receiver.post(receiver.letter())
        await asyncio.sleep(0.2)
        assert await states(receiver) == ["NEW"]
        async with office(shared_database_url) as worker:
            await worker.until(lambda: worker.processed)
        assert receiver.processed == []


async def test_two_processes_share_the_work_and_no_letter_runs_twice(shared_database_url: str) -> None:
    async with office(shared_database_url) as one, office(shared_database_url) as two:
        # Both answer to one name behind a balancer; each has a URL of its own here only because of its port.
        two.directory.records = one.directory.records
        posts = []
        for number in range(60):
            door = one if number % 2 else two
            posts.append(door.post(door.letter()))
        assert {answer[0] for answer in await asyncio.gather(*posts)} <= {200}
        await one.until(lambda: len(one.processed) + len(two.processed) == 60)
        await asyncio.sleep(0.3)
        ids = [letter.letter_id for letter in one.processed + two.processed]
        assert len(ids) == len(set(ids)) == 60


async def test_letters_beyond_memory_wait_in_the_table_and_keep_their_order(shared_database_url: str) -> None:
    gate = asyncio.Event()

    async def waits(letter: Letter, uow: Any, node: Node) -> None:
        await gate.wait()

    async with office(shared_database_url, handler=waits, inbox_memory_max=4) as here:
        for number in range(20):
            await here.post(here.letter("status", {"order_id": str(number)}, transaction_id="t"))
        held = await here.rows("SELECT count(*) FROM inbox WHERE claimed_by IS NOT NULL")
        assert held[0][0] <= 4
        gate.set()
        await here.until(lambda: len(here.processed) == 20)
        assert [int(letter.message["order_id"]) for letter in here.processed] == list(range(20))


async def test_a_waiting_letter_stays_claimed_longer_than_its_lease(shared_database_url: str) -> None:
    gate = asyncio.Event()

    async def waits(letter: Letter, uow: Any, node: Node) -> None:
        await gate.wait()

    async with office(shared_database_url, handler=waits, lease_s=1.0, inbox_workers=1) as here:
        for _ in range(3):
            await here.post(here.letter())
        async with office(shared_database_url) as neighbour:
            await asyncio.sleep(2.0)
            assert neighbour.processed == []
            gate.set()
            await here.until(lambda: len(here.processed) == 3)


async def test_the_database_may_go_away_and_come_back(shared_database_url: str) -> None:
    async with office(shared_database_url) as here:
        await here.post(here.letter())
        await here.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                        " AND datname = current_database()")  # fmt: skip
        answers = [await here.post(here.letter()) for _ in range(5)]
        accepted = [answer for answer in answers if answer[0] == 200]
        assert {answer[0] for answer in answers} <= {200, 503}
        assert accepted
        await here.until(lambda: len(here.processed) == len(accepted) + 1)
