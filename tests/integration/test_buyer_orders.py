"""The buyer's node from search to settlement, over HTTP, against a scripted seller."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.buyer_rig import BuyerRig, buyer_rig


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url) as running:
        yield running


async def test_an_order_goes_from_search_to_a_contract(rig: BuyerRig) -> None:
    found = await rig.search()
    assert [offer["offer_id"] for offer in found["offers"]] == ["offer-1"]
    order = (await rig.post("/api/orders", rig.choice(found))).json()
    assert order["state"] == "QUOTED", order
    order = (await rig.post(f"/api/orders/{order['order_id']}/init")).json()
    assert order["state"] == "INITIALISED"
    order = (await rig.post(f"/api/orders/{order['order_id']}/confirm")).json()
    assert order["state"] == "ACTIVE"
    assert await rig.wallet() == (10_000 - order["quote"]["total_minor"], order["quote"]["total_minor"])
