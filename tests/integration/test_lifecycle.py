"""A node as a process: it refuses to start on a bad configuration, and stops when it has finished what it accepted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import asyncpg
import orjson
import pytest

from beckn import envelope, signing
from beckn.envelope import Party
from tests.support.post_office import BAP, BPP, NETWORK
from tests.support.slow_node import BAP_URL


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(database_url: str, port: int, **changes: str) -> dict[str, str]:
    own = {
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SUBSCRIBER_ID": BPP.subscriber_id,
        "KEY_ID": BPP.key_id,
        "SIGNING_KEY": "A" * 43 + "=",
        "DATABASE_URL": database_url,
        "ADMIN_TOKEN": "hush-hush",
        "INBOX_WORKERS": "2",
        "DATABASE_WAIT_S": "0.2",
    }
    return {"PATH": os.environ["PATH"]} | own | changes


@asynccontextmanager
async def process(settings: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.slow_node", env=settings, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def ended(settings: dict[str, str]) -> tuple[int | None, str]:
    async with process(settings) as running:
        async with asyncio.timeout(20):
            _, errors = await running.communicate()
        return running.returncode, errors.decode()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"PORT": "eight"}, "PORT: "),
        ({"SIGNING_KEY": "AAAA"}, "SIGNING_KEY: "),
        ({"DATABASE_URL": "postgresql://u@/d?host=/nowhere"}, "DATABASE_URL: PostgreSQL cannot be used"),
        ({"RECORD_DIR": "/proc/nowhere"}, "RECORD_DIR: cannot write"),
    ],
)
async def test_a_bad_configuration_ends_with_two_and_names_the_setting(
    database_url: str, changes: dict[str, str], sentence: str
) -> None:
    code, said = await ended(environment(database_url, free_port(), **changes))
    assert code == 2
    assert said.splitlines()[-1].startswith(sentence)
    assert "Traceback" not in said


async def test_a_port_that_is_taken_is_named(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = await ended(environment(database_url, port))
    assert code == 2 and said.splitlines()[-1].startswith(f"PORT: cannot listen on 127.0.0.1:{port}")


async def test_a_node_told_to_stop_finishes_what_it_accepted_and_takes_no_more(database_url: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with process(environment(database_url, port)) as running, aiohttp.ClientSession() as client:
        await answering(client, url)
        accepted = await asyncio.gather(*(posted(client, url) for _ in range(8)))
        assert accepted == [200] * 8
        running.send_signal(signal.SIGTERM)
        started = time.monotonic()
        _, errors = await asyncio.wait_for(running.communicate(), 15)
        assert running.returncode == 0
        assert time.monotonic() - started > 0.3, "eight letters of 0.2 s by two workers take a while"
        with pytest.raises(aiohttp.ClientConnectorError):
            await posted(client, url)
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetch("SELECT state, count(*) FROM inbox GROUP BY state") == [("DONE", 8)]
    finally:
        await connection.close()
    events = [json.loads(line) for line in errors.splitlines()]
    assert [event["event"] for event in events] == ["listening", "stopping", "stopped"]
    assert {event["node"] for event in events} == {BPP.subscriber_id}
    assert b"hush-hush" not in errors


async def test_a_node_killed_in_the_middle_loses_nothing_it_acknowledged(database_url: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = environment(database_url, port, LEASE_S="1", POLL_S="0.1")
    async with aiohttp.ClientSession() as client:
        async with process(settings) as running:
            await answering(client, url)
            assert await asyncio.gather(*(posted(client, url) for _ in range(8))) == [200] * 8
            running.kill()
        async with process(settings):
            await answering(client, url)
            connection = await asyncpg.connect(database_url)
            try:
                async with asyncio.timeout(15):
                    while await connection.fetchval("SELECT count(*) FROM inbox WHERE state = 'DONE'") < 8:
                        await asyncio.sleep(0.05)
            finally:
                await connection.close()


async def answering(client: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                async with client.get(f"{url}/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)


async def posted(client: aiohttp.ClientSession, url: str) -> int:
    """Post a letter of its own; the HTTP status."""
    now = datetime.now(UTC)
    context = envelope.request_context(
        action="status", network=NETWORK, bap=Party(BAP.subscriber_id, BAP_URL),
        bpp=Party(BPP.subscriber_id, f"{url}/beckn"), transaction_id=str(uuid.uuid4()), message_id=str(uuid.uuid4()),
        now=now,
    )  # fmt: skip
    body = orjson.dumps({"context": context, "message": {"order_id": "1"}})
    headers = {"Content-Type": "application/json", "Authorization": signing.sign(body, identity=BAP, now=now)}
    async with client.post(f"{url}/beckn/status", data=body, headers=headers) as response:
        return response.status
