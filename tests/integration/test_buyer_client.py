"""The typed client against a running node: as an application would use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.client import BuyerApi, NoAnswer, NodeClient, Refused
from tests.support.buyer_rig import BuyerRig, buyer_rig


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url) as running:
        yield running


@pytest.fixture
async def buyer(rig: BuyerRig) -> AsyncIterator[BuyerApi]:
    token = rig.app["Authorization"].removeprefix("Bearer ")
    async with NodeClient(rig.node.settings.public_url, token) as node:
        yield BuyerApi(node)


async def test_a_refusal_carries_the_nodes_own_sentence(buyer: BuyerApi) -> None:
    with pytest.raises(Refused) as refusal:
        await buyer.open_account({"name": "Anna", "email": "no", "phone": "+49", "currency": "USD"})
    assert (refusal.value.status, refusal.value.field) == (422, "email")
    with pytest.raises(Refused, match="404"):
        await buyer.get_order("nobody")
    with pytest.raises(Refused, match="404"):
        async for _ in buyer.order_events("nobody"):
            pass


async def test_silence_is_told_apart_from_a_refusal() -> None:
    async with NodeClient("http://127.0.0.1:9", "token") as node:
        with pytest.raises(NoAnswer):
            await node.get("/api/accounts")


async def test_an_application_buys_and_hears_of_it(rig: BuyerRig, buyer: BuyerApi) -> None:
    found = await buyer.search({"seller_id": rig.seller.who.subscriber_id}, wait_s=5, offers=1)
    order = await buyer.order(rig.account_id, found, found["offers"][0], 1500, wait_s=5)
    for action, state in (("init", "INITIALISED"), ("confirm", "ACTIVE")):
        order = await buyer.act(order["order_id"], action, wait_s=5)
        assert order["state"] == state
    assert (await buyer.account(rig.account_id))["reserved_milli"] == order["quote"]["total_milli"]
    kinds = []
    async with asyncio.timeout(10):
        async for event in buyer.order_events(order["order_id"]):
            kinds.append(event["kind"])
            if event["kind"] == "order.active":
                break
    assert kinds[0] == "order.selecting"


async def test_an_application_gives_an_account_its_meter_and_hears_why_it_cannot_object(
    rig: BuyerRig, buyer: BuyerApi
) -> None:
    assert (await buyer.give_meter(rig.account_id, "home-of-anna"))["meter_id"] == "home-of-anna"
    order = await rig.order()
    with pytest.raises(Refused) as refusal:
        await buyer.dispute(order["order_id"], "Nothing came.")
    assert refusal.value.status == 409
    with pytest.raises(Refused) as refusal:
        await buyer.resolve("nobody", "WITHDRAW", "A mistake.")
    assert refusal.value.status == 403


async def test_a_list_is_read_to_its_end(rig: BuyerRig, buyer: BuyerApi) -> None:
    for _ in range(4):
        await rig.new_account(0)
    seen = [account["account_id"] async for account in buyer.node.every("/api/accounts", limit=2)]
    assert len(seen) == len(set(seen)) == 5


async def test_a_post_repeated_under_a_key_is_done_once(rig: BuyerRig, buyer: BuyerApi) -> None:
    consumer = {"name": "Ben", "email": "ben@example.com", "phone": "+4915112345", "currency": "USD"}
    first = await buyer.open_account(consumer, idempotency_key="k")
    assert await buyer.open_account(consumer, idempotency_key="k") == first
