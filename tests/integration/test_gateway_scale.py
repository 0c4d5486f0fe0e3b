"""The gateway with many sellers and slow ones: one commit for a thousand copies, and nobody waits for the slow."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest
from aiohttp import web

from beckn import envelope
from beckn.node import NODE
from cli.servers import Servers
from tests.support.gateway_rig import Gateway, running_gateway, search
from tests.support.registry_rig import DOMAIN, free_port, served


@pytest.fixture
async def gateway(servers: Servers, migrated_template: str) -> AsyncIterator[Gateway]:
    async with running_gateway(servers, migrated_template, fanout_max=900) as running:
        yield running


async def enter_many(gateway: Gateway, urls: list[str]) -> None:
    """Sellers written straight into the registry's tables, as their operator's bulk import would."""
    now = datetime.now(UTC)
    connection = await asyncpg.connect(gateway.registry.settings.database_url)
    try:
        names = [f"bpp-{number}.example.org" for number in range(len(urls))]
        await connection.execute(
            "INSERT INTO registry_changes (seq, record, at) SELECT (SELECT max(seq) FROM registry_changes) + n, "
            "jsonb_build_object('subscriber_id', s, 'url', u, 'type', 'BPP', 'domain', $3::text, 'key_id', 'k1', "
            "'signing_public_key', $4::text, 'status', 'SUBSCRIBED', 'country', 'IND', 'city', 'std:080', "
            "'valid_until', '2095-01-01T00:00:00.000Z'), $5 "
            "FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS x(s, u, n)",
            names, urls, DOMAIN, base64.b64encode(bytes(32)).decode(), now,
        )  # fmt: skip
    finally:
        await connection.close()
    await gateway.app[NODE].directory.poll()  # type: ignore[attr-defined]


async def test_a_thousand_sellers_are_queued_in_one_go_and_no_more_than_the_limit_get_a_copy(gateway: Gateway) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")
    got: set[str] = set()

    async def serve(request: web.Request) -> web.Response:
        got.add(request.match_info["seller"])
        return web.Response(body=envelope.ACK, content_type="application/json")

    app, port = web.Application(), free_port()
    app.router.add_post("/{seller}/search", serve)
    async with served(app, port):
        await enter_many(gateway, [f"http://127.0.0.1:{port}/{number}" for number in range(1000)])
        transaction_id, body = search(bap.party)
        started = time.monotonic()
        assert (await gateway.send(bap, "search", body)).status == 200
        assert time.monotonic() - started < 1, "the acknowledgement does not wait for the copies"
        fate = await gateway.settled(transaction_id, within_s=30)
    assert fate["destinations"] == len(fate["copies"]) == len(got) == 900
    assert {copy["state"] for copy in fate["copies"]} == {"SENT"}


async def test_a_seller_that_hangs_delays_no_other(gateway: Gateway) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")
    slow = await gateway.enter("slow.example.org", "BPP")
    quick = await gateway.enter("quick.example.org", "BPP")

    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    slow.behaviour = hang
    started = time.monotonic()
    for _ in range(20):
        assert (await gateway.send(bap, "search", search(bap.party)[1])).status == 200
    async with asyncio.timeout(5):
        while len(quick.received) < 20:
            await asyncio.sleep(0.01)
    assert time.monotonic() - started < 5
    assert len(slow.received) <= 4, "so many at once, and no more, wait for one seller"
