"""Webhooks: signed posts checked by a receiver of its own, repeated after failures, given up after a day."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from api import webhooks
from tests.support.buyer_rig import BuyerRig, buyer_rig


@dataclass
class Receiver:
    """An app's server: keeps what it got, answers as told."""

    url: str = ""
    status: int = 200
    location: str = ""
    hang: bool = False
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.got.append((dict(request.headers), body))
        if self.hang:
            await asyncio.sleep(60)
        headers = {"Location": self.location} if self.location else {}
        return web.Response(status=self.status, headers=headers)

    async def until(self, count: int, *, within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            while len(self.got) < count:
                await asyncio.sleep(0.01)


@pytest.fixture
async def rig(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BuyerRig]:
    monkeypatch.setattr(webhooks, "TOTAL_S_MAX", 1.0)
    monkeypatch.setattr(webhooks, "POLL_S", 0.1)
    async with buyer_rig(database_url) as running:
        yield running


@pytest.fixture
async def receivers() -> AsyncIterator[Callable[[], Any]]:
    started: list[TestServer] = []

    async def start() -> Receiver:
        receiver, app = Receiver(), web.Application()
        app.router.add_post("/hook", receiver.take)
        server = TestServer(app)
        await server.start_server()
        started.append(server)
        receiver.url = str(server.make_url("/hook"))
        return receiver

    yield start
    for server in started:
        await server.close()


async def register(rig: BuyerRig, url: str, **body: Any) -> dict[str, Any]:
    answer = await rig.client.post("/api/webhooks", json={"url": url, **body}, headers=rig.app)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def deliveries(rig: BuyerRig, webhook_id: str, **query: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await rig.get(f"/api/webhooks/{webhook_id}/deliveries", **query)).json()["items"]
    return items


@pytest.mark.parametrize(
    "url", ["ftp://example.com/x", "https://", "no url", "https://user:secret@example.com/", "http://exa mple.com/"]
)
async def test_what_is_no_web_address_is_422(rig: BuyerRig, url: str) -> None:
    answer = await rig.client.post("/api/webhooks", json={"url": url}, headers=rig.app)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "url")


async def test_a_private_address_is_refused_at_registration_and_again_at_each_connect(
    database_url: str, receivers: Any
) -> None:
    receiver = await receivers()
    async with buyer_rig(database_url, allow_private_urls=False) as rig:
        for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost"), "http://169.254.169.254/x"):
            answer = await rig.client.post("/api/webhooks", json={"url": url}, headers=rig.app)
            assert (answer.status_code, answer.json()["error"]["limit"]) == (422, "public address")
        # A name that pointed elsewhere when it was registered.
        for number, host in enumerate(("127.0.0.1", "localhost")):
            await rig.node.database.pool.execute(
                "INSERT INTO webhooks (webhook_id, token_id, url, secret, kinds, created_at)"
                " SELECT $1, token_id, $2, 's', '[]', now() FROM tokens",
                f"hook-{number}",
                receiver.url.replace("127.0.0.1", host),
            )
        await rig.search()
        async with asyncio.timeout(10):
            while not (tried := await deliveries(rig, "hook-0")) or not tried[0]["last_error"]:
                await asyncio.sleep(0.02)
            while not (also := await deliveries(rig, "hook-1")) or not also[0]["last_error"]:
                await asyncio.sleep(0.02)
        assert "public internet" in tried[0]["last_error"]
        assert "public internet" in also[0]["last_error"]
    assert receiver.got == []


async def test_a_post_carries_a_signature_that_the_receiver_can_check(rig: BuyerRig, receivers: Any) -> None:
    receiver = await receivers()
    made = await register(rig, receiver.url)
    found = await rig.search()
    await receiver.until(1)
    headers, body = receiver.got[0]
    stamp, mac = headers["X-PowerShare-Signature"].split(",")
    expected = hmac.new(made["secret"].encode(), stamp.removeprefix("t=").encode() + b"." + body, hashlib.sha256)
    assert mac == f"v1={expected.hexdigest()}"
    assert abs(int(stamp.removeprefix("t=")) - rig.clock.now().timestamp()) < 5
    assert headers["X-PowerShare-Event"] == "search.offers"
    event = orjson.loads(body)
    assert event["subject"] == f"search:{found['transaction_id']}"
    listed = (await rig.client.get("/api/webhooks", headers=rig.app)).json()["items"]
    assert [hook["webhook_id"] for hook in listed] == [made["webhook_id"]]
    assert "secret" not in listed[0]


async def test_only_the_kinds_asked_for_are_posted_and_only_to_their_own_app(rig: BuyerRig, receivers: Any) -> None:
    mine, theirs = await receivers(), await receivers()
    await register(rig, mine.url, kinds=["order.active"])
    other = await rig.new_app("other")
    await rig.client.post("/api/webhooks", json={"url": theirs.url}, headers=other)
    await rig.order()
    await mine.until(1)
    await asyncio.sleep(0.2)
    assert [headers["X-PowerShare-Event"] for headers, _ in mine.got] == ["order.active"]
    assert theirs.got == []


async def test_a_failed_post_is_repeated_with_growing_pauses_until_it_arrives(rig: BuyerRig, receivers: Any) -> None:
    receiver = await receivers()
    receiver.status = 500
    made = await register(rig, receiver.url)
    await rig.search()
    for tries in range(1, 4):
        await receiver.until(tries)
        async with asyncio.timeout(5):
            while (await deliveries(rig, made["webhook_id"]))[0]["last_error"] is None:
                await asyncio.sleep(0.01)
        rig.clock.shift += timedelta(seconds=5 * 2**tries)
    receiver.status = 204
    rig.clock.shift += timedelta(seconds=60)
    async with asyncio.timeout(5):
        while not await deliveries(rig, made["webhook_id"], state="SENT"):
            await asyncio.sleep(0.01)
    seqs = {orjson.loads(body)["seq"] for _, body in receiver.got}
    assert len(seqs) == 1


async def test_a_redirect_is_not_followed(rig: BuyerRig, receivers: Any) -> None:
    receiver, trap = await receivers(), await receivers()
    receiver.status, receiver.location = 307, trap.url
    made = await register(rig, receiver.url)
    await rig.search()
    async with asyncio.timeout(5):
        while not (tried := await deliveries(rig, made["webhook_id"])) or not tried[0]["last_error"]:
            await asyncio.sleep(0.01)
    assert tried[0]["last_error"] == "the receiver answered 307"
    assert trap.got == []


async def test_a_receiver_that_hangs_is_cut_off_and_delays_nobody(rig: BuyerRig, receivers: Any) -> None:
    slow, quick = await receivers(), await receivers()
    slow.hang = True
    made = await register(rig, slow.url)
    await register(rig, quick.url)
    for _ in range(3):
        await rig.search()
    await quick.until(3, within_s=0.9)
    assert len(slow.got) == 1
    async with asyncio.timeout(5):
        while not any(d["last_error"] for d in await deliveries(rig, made["webhook_id"])):
            await asyncio.sleep(0.02)
    errors = [d["last_error"] for d in await deliveries(rig, made["webhook_id"]) if d["last_error"]]
    assert errors[0] == "no answer within 1 s"
    slow.hang = False


async def test_a_day_of_failures_makes_a_dead_delivery_that_can_be_tried_again(rig: BuyerRig, receivers: Any) -> None:
    receiver = await receivers()
    receiver.status = 503
    made = await register(rig, receiver.url)
    await rig.search()
    await receiver.until(1)
    async with asyncio.timeout(5):
        while (await deliveries(rig, made["webhook_id"]))[0]["last_error"] is None:
            await asyncio.sleep(0.01)
    rig.clock.shift = timedelta(hours=24)
    async with asyncio.timeout(5):
        while not (dead := await deliveries(rig, made["webhook_id"], state="DEAD")):
            await asyncio.sleep(0.01)
    assert dead[0]["attempts"] == 2
    listed = (await rig.client.get("/api/webhooks", headers=rig.app)).json()["items"]
    assert listed[0]["dead"] == 1

    receiver.status = 200
    again = await rig.client.post(f"/api/webhooks/{made['webhook_id']}/resend", headers=rig.app)
    assert again.json() == {"requeued": 1}
    await receiver.until(3)


async def test_a_deleted_webhook_gets_nothing_more_and_an_app_has_only_so_many(rig: BuyerRig, receivers: Any) -> None:
    receiver = await receivers()
    made = await register(rig, receiver.url)
    other = await rig.new_app("other")
    path = f"/api/webhooks/{made['webhook_id']}"
    assert (await rig.client.delete(path, headers=other)).status_code == 404
    assert (await rig.client.delete(path, headers=rig.app)).status_code == 204
    await rig.search()
    await asyncio.sleep(0.3)
    assert receiver.got == []
    for _ in range(webhooks.WEBHOOKS_EACH_MAX):
        await register(rig, receiver.url)
    full = await rig.client.post("/api/webhooks", json={"url": receiver.url}, headers=rig.app)
    assert full.status_code == 409
