"""What a node says about itself, and its trading clock; over HTTP, with a real database and a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from beckn.jobs import Job
from beckn.node import Node
from beckn.nudges import Nudges
from cli.servers import Servers
from store.access import ClockRows
from tests.support.post_office import Office, office

OPERATOR = {"Authorization": "Bearer operator-token"}
DRIVEN = {"trading_clock": "driven", "trading_start": "2016-08-02T00:00:00Z"}


@pytest.fixture
async def here(shared_database_url: str) -> AsyncIterator[Office]:
    async with office(shared_database_url) as running:
        yield running


async def get(here: Office, path: str) -> tuple[int, Any]:
    async with here.client.get(here.url + path) as response:
        return response.status, orjson.loads(await response.read())


async def put_clock(here: Office, document: Any, headers: dict[str, str] = OPERATOR) -> tuple[int, Any]:
    async with here.client.put(f"{here.url}/api/clock", json=document, headers=headers) as response:
        return response.status, await response.json()


# --- Health, readiness, metrics, schemas -----------------------------------------------------------------------------


async def test_a_node_is_healthy_while_it_serves(here: Office) -> None:
    assert await get(here, "/health") == (200, {"status": "ok", "subscriber_id": "bpp.example", "role": "BPP"})


async def test_a_node_is_ready_when_its_database_answers(here: Office) -> None:
    status, document = await get(here, "/ready")
    assert (status, document["ready"], document["missing"]) == (200, True, {})


async def test_a_node_without_its_database_is_not_ready_and_says_so(here: Office) -> None:
    await here.node.database.close()
    status, document = await get(here, "/ready")
    assert (status, document["ready"]) == (503, False)
    assert "not open" in document["missing"]["database"]
    await here.node.database.open()
    assert (await get(here, "/ready"))[0] == 200


async def test_a_check_that_hangs_is_a_finding(here: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beckn.desk.CHECK_S_MAX", 0.05)

    async def hangs() -> Any:
        await asyncio.sleep(60)

    here.node.add_check("slow", hangs)
    status, document = await get(here, "/ready")
    assert status == 503 and document["missing"]["slow"].startswith("TimeoutError")


async def test_letters_are_counted_by_action_and_outcome(here: Office) -> None:
    await here.post(here.letter())
    await here.until(lambda: here.processed)
    async with here.client.get(f"{here.url}/metrics") as response:
        text = await response.text()
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for line in (
        'beckn_letters_received_total{action="status",outcome="accepted"} 1.0',
        'beckn_letters_processed_total{action="status",outcome="done"} 1.0',
        'beckn_receive_seconds_count{action="status"} 1.0',
        "process_resident_memory_bytes",
    ):
        assert line in text


async def test_the_schemas_of_the_network_are_published_in_both_profiles(here: Office) -> None:
    status, listed = await get(here, "/schemas/")
    assert status == 200 and set(listed) == {"accept", "emit"}
    assert set(listed["accept"]) >= {"search", "on_search", "confirm", "on_confirm", "cancellation_reasons"}
    for profile in listed.values():
        status, schema = await get(here, profile["confirm"])
        assert status == 200 and schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (await get(here, "/schemas/accept/teleport.json"))[0] == 404
    assert (await get(here, "/schemas/strict/confirm.json"))[0] == 404


# --- The trading clock -----------------------------------------------------------------------------------------------


async def test_a_wall_clock_cannot_be_moved(here: Office) -> None:
    status, answer = await put_clock(here, {"trading_time": "2030-01-01T00:00:00Z"})
    assert status == 409 and "TRADING_CLOCK" in answer["error"]["sentence"]
    assert (await get(here, "/api/clock"))[1]["mode"] == "wall"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "operator-token"}])
async def test_only_the_operator_moves_the_clock(shared_database_url: str, headers: dict[str, str]) -> None:
    async with office(shared_database_url, **DRIVEN) as here:
        status, _ = await put_clock(here, {"trading_time": "2016-08-03T00:00:00Z"}, headers)
        assert status == 401
        assert (await get(here, "/api/clock"))[1] == {"mode": "driven", "trading_time": "2016-08-02T00:00:00.000Z"}


async def test_no_token_moves_the_clock_of_a_node_without_an_operator(shared_database_url: str) -> None:
    async with office(shared_database_url, admin_token="", **DRIVEN) as here:
        assert (await put_clock(here, {"trading_time": "2016-08-03T00:00:00Z"}, {"Authorization": "Bearer "}))[0] == 401


@pytest.mark.parametrize("document", [{}, {"trading_time": 7}, {"trading_time": "tomorrow"}, [],
                                      {"trading_time": "2016-08-03T00:00:00"}])  # fmt: skip
async def test_a_time_that_is_none_is_refused(shared_database_url: str, document: Any) -> None:
    async with office(shared_database_url, **DRIVEN) as here:
        status, answer = await put_clock(here, document)
        assert (status, answer["error"]["field"]) == (400, "trading_time")


async def test_the_clock_never_goes_back_not_even_over_a_restart(shared_database_url: str) -> None:
    async with office(shared_database_url, **DRIVEN) as here:
        assert (await put_clock(here, {"trading_time": "2016-08-05T12:00:00Z"}))[0] == 200
        status, answer = await put_clock(here, {"trading_time": "2016-08-04T00:00:00Z"})
        assert status == 409 and "never goes back" in answer["error"]["sentence"]
    async with office(shared_database_url, **DRIVEN) as again:
        assert (await get(again, "/api/clock"))[1]["trading_time"] == "2016-08-05T12:00:00.000Z"
        assert await ClockRows(again.node.database).load() is not None


async def test_the_wall_clock_does_not_move_with_the_trading_clock(shared_database_url: str) -> None:
    async with office(shared_database_url, **DRIVEN) as here:
        await put_clock(here, {"trading_time": "2017-08-05T12:00:00Z"})
        assert here.node.trading.now().year == 2017
        assert (await here.post(here.letter()))[0] == 200, "letters are dated by the wall clock"


async def test_moving_the_clock_answers_when_the_jobs_that_follow_it_have_run(shared_database_url: str) -> None:
    ran: list[str] = []

    async def deliver(node: Node) -> None:
        await asyncio.sleep(0.05)
        ran.append(f"deliver at {node.trading.now():%d}")

    async def settle(node: Node) -> None:
        ran.append(f"settle at {node.trading.now():%d}")

    async def other(node: Node) -> None:
        ran.append("other")

    jobs = [Job("deliver", 600, deliver, True), Job("settle", 600, settle, True), Job("other", 600, other)]
    async with office(shared_database_url, jobs=jobs, **DRIVEN) as here:
        await put_clock(here, {"trading_time": "2016-08-03T00:00:00Z"})
        assert ran == ["deliver at 03", "settle at 03"]


async def test_a_job_that_fails_on_a_clock_move_is_told_with_a_reference(shared_database_url: str) -> None:
    async def fails(node: Node) -> None:
        raise ZeroDivisionError

    async with office(shared_database_url, jobs=[Job("settle", 600, fails, True)], **DRIVEN) as here:
        status, answer = await put_clock(here, {"trading_time": "2016-08-03T00:00:00Z"})
        assert status == 500 and "the job settle failed; quote reference" in answer["error"]["sentence"]
        assert b'powershare_job_failures_total{job="settle"} 1.0' in here.node.metrics.exposition()


# --- Jobs ------------------------------------------------------------------------------------------------------------


async def test_jobs_wake_at_their_times_survive_a_failure_and_never_overlap(shared_database_url: str) -> None:
    running = ran = 0

    async def work(node: Node) -> None:
        nonlocal running, ran
        running += 1
        ran += 1
        assert running == 1
        await asyncio.sleep(0.05)
        running -= 1
        raise RuntimeError("once more")

    async with office(shared_database_url, jobs=[Job("work", 0.02, work)]) as here:
        await here.until(lambda: ran >= 4)
    assert running == 0, "the one under way was let finish"
    after = ran
    await asyncio.sleep(0.1)
    assert ran == after, "stopped"


# --- Nudges ----------------------------------------------------------------------------------------------------------


async def test_a_nudge_reaches_listeners_in_this_process_without_redis(here: Office) -> None:
    with here.node.listen("search:t-1") as queue, here.node.listen("search:t-2") as other:
        here.node.nudge("search:t-1", {"offers": 3})
        assert queue.get_nowait() == {"offers": 3}
        assert other.empty()
    here.node.nudge("search:t-1")


async def test_a_slow_listener_loses_the_oldest_nudges_and_nobody_waits() -> None:
    nudges = Nudges(redis_url="", prefix="me")
    with nudges.listen("x") as queue:
        for number in range(1000):
            nudges.nudge("x", number)
        assert queue.qsize() < 1000
        assert [queue.get_nowait() for _ in range(queue.qsize())][-1] == 999


async def test_a_nudge_reaches_the_replicas_of_a_node_and_no_other_node(servers: Servers) -> None:
    def replica(prefix: str) -> Nudges:
        return Nudges(redis_url=servers.redis_url, prefix=prefix)

    one, two, stranger = replica("bap.example"), replica("bap.example"), replica("bpp.example")
    async with one.running(), two.running(), stranger.running():
        while one.trouble or two.trouble or stranger.trouble:
            await asyncio.sleep(0.01)
        with one.listen("x") as here, two.listen("x") as there, stranger.listen("x") as elsewhere:
            one.nudge("x", {"n": 1})
            async with asyncio.timeout(2):
                assert await there.get() == {"n": 1}
            assert here.get_nowait() == {"n": 1}
            await asyncio.sleep(0.05)
            assert here.empty(), "our own nudge does not come back"
            assert elsewhere.empty()


async def test_redis_may_be_away_and_the_node_is_ready_but_degraded(shared_database_url: str) -> None:
    async with office(shared_database_url, redis_url="unix:///nowhere/redis.sock") as here:
        await asyncio.sleep(0.1)
        status, document = await get(here, "/ready")
        assert (status, document["ready"], set(document["degraded"])) == (200, True, {"redis"})
        with here.node.listen("x") as queue:
            here.node.nudge("x", 1)
            assert queue.get_nowait() == 1
        assert (await here.post(here.letter()))[0] == 200


async def test_redis_that_comes_back_carries_nudges_again(servers: Servers) -> None:
    import redis.asyncio

    one = Nudges(redis_url=servers.redis_url, prefix="bap.example")
    two = Nudges(redis_url=servers.redis_url, prefix="bap.example")
    async with one.running(), two.running(), redis.asyncio.Redis.from_url(servers.redis_url) as operator:
        while one.trouble or two.trouble:
            await asyncio.sleep(0.01)
        await operator.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        with two.listen("x") as there:
            async with asyncio.timeout(5):
                while there.empty():
                    one.nudge("x", 1)
                    await asyncio.sleep(0.05)


async def test_an_unknown_path_is_404(here: Office) -> None:
    async with here.client.get(f"{here.url}/nothing") as response:
        assert response.status == 404


async def test_a_node_listens_only_after_its_database_is_open(shared_database_url: str) -> None:
    with pytest.raises(Exception, match="DATABASE_URL: PostgreSQL cannot be used"):
        async with office(shared_database_url + "x", database_wait_s=0.3) as here:
            raise AssertionError(here)


async def test_a_database_without_our_tables_is_named_with_the_remedy(servers: Servers) -> None:
    url = servers.create_database("empty_of_tables")
    try:
        with pytest.raises(Exception, match="powershare migrate"):
            async with office(url) as here:
                raise AssertionError(here)
    finally:
        servers.drop_database("empty_of_tables")


async def test_wire_messages_are_recorded_as_they_came(shared_database_url: str, tmp_path: Any) -> None:
    async with office(shared_database_url, record_dir=str(tmp_path / "wire")) as here:
        body = here.letter()
        headers = here.headers(body)
        await here.post(body, headers)
        await here.post(b"refused", {"Content-Type": "application/json"})
    first, second = sorted((tmp_path / "wire").glob("*.body"))
    assert first.name == "000000001-bpp.example-status.body"
    assert (first.read_bytes(), second.read_bytes()) == (body, b"refused")
    kept = orjson.loads(first.with_suffix(".headers").read_bytes())
    assert kept["Authorization"] == headers["Authorization"]


async def test_a_client_that_goes_away_is_no_error(here: Office) -> None:
    async with aiohttp.ClientSession() as client:
        with pytest.raises(asyncio.TimeoutError):
            await client.get(f"{here.url}/ready", timeout=aiohttp.ClientTimeout(total=0.000001))
    assert (await get(here, "/health"))[0] == 200
