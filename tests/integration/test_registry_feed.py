"""The change feed: signed, gapless, and how fast a node hears of a revocation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from beckn import errors, signing
from beckn.clock import WallClock
from beckn.directory import RegistryDirectory
from beckn.registry_client import RegistryClient, RegistryUnavailable
from cli.servers import Servers
from registry import roll
from registry.membership import Status
from store import subscribers
from store.db import Database
from store.directory import DirectoryRows
from tests.support.membership_cases import subscription
from tests.support.registry_rig import (
    Member,
    Registry,
    free_port,
    new_database,
    running_registry,
    served,
)

MEMBER = Member("bpp.example.org", "https://bpp.example.org/beckn")


@pytest.fixture
async def registry(servers: Servers, migrated_template: str) -> AsyncIterator[Registry]:
    async with running_registry(servers, migrated_template) as running:
        yield running


async def enter(registry: Registry, member: Member = MEMBER) -> None:
    assert (await registry.operate("/api/subscribers", member.application())).status == 201


@asynccontextmanager
async def directory_of(url: str, public_key: bytes | None, database: Database) -> AsyncIterator[RegistryDirectory]:
    wall = WallClock()
    client = RegistryClient(url, public_key=public_key, wall=wall)
    directory = RegistryDirectory(client=client, store=DirectoryRows(database), wall=wall)
    await directory.start()
    try:
        yield directory
    finally:
        await directory.stop()


@pytest.fixture
async def database(servers: Servers, migrated_template: str) -> AsyncIterator[Database]:
    with new_database(servers, migrated_template) as url:
        opened = await Database.connect(url)
        try:
            yield opened
        finally:
            await opened.close()


# --- What is no feed, and who is not believed ------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=1.5", "limit=-3", "after=99999999999999999999"])
async def test_a_question_that_makes_no_sense_is_refused(registry: Registry, query: str) -> None:
    assert (await registry.get(f"/changes?{query}")).status == 400


async def test_a_feed_signed_by_anyone_else_is_not_believed(registry: Registry, database: Database) -> None:
    await enter(registry)
    other = Member("other", "").identity.public_key
    async with directory_of(registry.url, other, database) as directory:
        assert "not signed with REGISTRY_PUBLIC_KEY" in directory.status()["problem"]
        with pytest.raises(errors.RegistryUnreachable):
            await directory.find_key(MEMBER.subscriber_id, "k1")


@pytest.mark.parametrize("tampering", ["body", "no signature", "old page", "another page", "404"])
async def test_whoever_stands_between_can_delay_news_but_not_invent_any(registry: Registry, tampering: str) -> None:
    await enter(registry)

    async def forward(request: web.Request) -> web.Response:
        if tampering == "404":
            return web.Response(status=404)
        query = "after=1" if tampering == "another page" else request.query_string
        answer = await registry.get(f"/changes?{query}")
        headers = {"Signature": answer.headers["Signature"]}
        body = answer.body.replace(b"SUBSCRIBED", b"subscribed") if tampering == "body" else answer.body
        if tampering == "old page":
            registry_identity = registry.settings.identity
            past = datetime.now(UTC) - timedelta(seconds=90)
            headers["Signature"] = signing.sign(body, identity=registry_identity, now=past, ttl_s=60)
        return web.Response(body=body, headers={} if tampering == "no signature" else headers)

    app, port = web.Application(), free_port()
    app.router.add_get("/changes", forward)
    client = RegistryClient(f"http://127.0.0.1:{port}", public_key=registry.public_key, wall=WallClock())
    try:
        async with served(app, port):
            with pytest.raises(RegistryUnavailable):
                await client.changes(0)
    finally:
        await client.close()


# --- The feed --------------------------------------------------------------------------------------------------------


async def test_only_what_concerns_peers_is_in_the_feed(registry: Registry) -> None:
    await registry.subscribe(Member("stranger.example.org", "http://127.0.0.1:1/beckn"))
    await enter(registry)
    await registry.act("suspend", MEMBER.subscriber_id)
    await registry.act("approve", MEMBER.subscriber_id)
    await registry.act("revoke", MEMBER.subscriber_id)
    page = (await registry.get("/changes?after=0")).json
    told = [(c["seq"], c["record"]["subscriber_id"], c["record"]["status"]) for c in page["changes"]]
    name = MEMBER.subscriber_id
    assert told == [
        (1, "registry.example.org", "SUBSCRIBED"),
        (2, name, "SUBSCRIBED"),
        (3, name, "UNSUBSCRIBED"),
        (4, name, "SUBSCRIBED"),
        (5, name, "UNSUBSCRIBED"),
    ]
    assert (page["after"], page["next_seq"]) == (0, 5)
    rest = (await registry.get("/changes?after=3&limit=1")).json
    assert ([c["seq"] for c in rest["changes"]], rest["next_seq"]) == ([4], 4)
    beyond = (await registry.get("/changes?after=77")).json
    assert (beyond["changes"], beyond["next_seq"]) == ([], 5)


async def test_the_seq_is_the_order_of_commits_so_that_no_reader_misses_a_late_one(
    registry: Registry, database: Database
) -> None:
    # A slow change that took its turn first must commit before a quick one gets a seq; a reader that polls all the
    # time must see 1, 2, 3 ... without a hole that is filled later.
    seen: list[int] = []
    is_over = False

    async def read() -> None:
        while not is_over:
            after = seen[-1] if seen else 0
            found, _ = await subscribers.changes(database, after=after, limit=100)
            seen.extend(change.seq for change in found)
            await asyncio.sleep(0)

    async def change(number: int) -> None:
        async with database.unit_of_work() as uow:
            await roll.standing_of(uow, f"bpp-{number}")
            row = subscription(subscriber_id=f"bpp-{number}", status=Status.SUBSCRIBED)
            await roll.write(
                uow, [row], actor="test", act="add", subject=row.subscriber_id, detail={}, now=datetime.now(UTC)
            )
            await asyncio.sleep(0.01 if number % 3 == 0 else 0)

    reader = asyncio.create_task(read())
    await asyncio.gather(*(change(number) for number in range(40)))
    await asyncio.sleep(0.1)
    is_over = True
    await reader
    assert seen == list(range(1, 41))


# --- Nodes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["revoke", "suspend"])
async def test_a_key_taken_back_is_refused_by_a_polling_node_within_five_seconds(
    registry: Registry, database: Database, act: str
) -> None:
    await enter(registry)
    async with directory_of(registry.url, registry.public_key, database) as directory:
        record = await directory.find_key(MEMBER.subscriber_id, "k1")
        assert record is not None
        assert record.is_valid(datetime.now(UTC))
        await asyncio.sleep(0.3)  # somewhere between two polls
        await registry.act(act, MEMBER.subscriber_id)
        taken_back = time.monotonic()
        while True:
            cached = directory.cached_key(MEMBER.subscriber_id, "k1")
            assert cached is not None, "known, and known to be bad"
            if not cached.is_valid(datetime.now(UTC)):
                break
            assert time.monotonic() - taken_back < 5
            await asyncio.sleep(0.02)


async def test_a_rotated_key_is_known_to_a_node_at_the_first_letter_it_signs(
    registry: Registry, database: Database
) -> None:
    await enter(registry)
    async with directory_of(registry.url, registry.public_key, database) as directory:
        fresh = Member(MEMBER.subscriber_id, MEMBER.url, key_id="k2")
        await registry.operate(
            f"/api/subscribers/{MEMBER.subscriber_id}/rotate",
            {"new_key_id": "k2", "signing_public_key": fresh.identity.public_key_b64, "reason": "yearly"},
        )
        now = datetime.now(UTC)
        new = await directory.find_key(MEMBER.subscriber_id, "k2")
        old = await directory.find_key(MEMBER.subscriber_id, "k1")
        assert new is not None
        assert old is not None
        assert new.is_valid(now)
        assert old.is_valid(now)
        assert not old.is_valid(now + timedelta(seconds=3700))


async def test_a_node_restarted_while_the_registry_is_away_knows_its_peers_and_refuses_strangers(
    servers: Servers, migrated_template: str, database: Database
) -> None:
    async with running_registry(servers, migrated_template) as registry:
        await enter(registry)
        url, public_key = registry.url, registry.public_key
        async with directory_of(url, public_key, database):
            pass
    async with directory_of(url, public_key, database) as again:
        record = again.cached_key(MEMBER.subscriber_id, "k1")
        assert record is not None
        assert record.is_valid(datetime.now(UTC))
        assert [found.subscriber_id for found in await again.find("BPP")] == [MEMBER.subscriber_id]
        with pytest.raises(errors.RegistryUnreachable):
            await again.find_key("stranger.example.org", "k1")
        status = again.status()
        assert not status["reachable"]
        assert status["problem"]


async def test_a_node_of_another_registry_without_a_feed_works_by_lookups(
    registry: Registry, database: Database
) -> None:
    await enter(registry)

    async def lookup(request: web.Request) -> web.Response:
        answer = await registry.post("/lookup", await request.read())
        return web.Response(body=answer.body, content_type="application/json")

    app, port = web.Application(), free_port()
    app.router.add_post("/lookup", lookup)
    async with served(app, port), directory_of(f"http://127.0.0.1:{port}", None, database) as directory:
        assert directory.status()["mode"] == "lookup"
        assert await directory.find_key(MEMBER.subscriber_id, "k1") is not None
        assert await directory.url_of(MEMBER.subscriber_id, "BPP") == MEMBER.url
        assert await directory.find_key("nobody", "k1") is None
