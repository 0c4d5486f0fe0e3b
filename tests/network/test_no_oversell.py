"""Fifty consumers want the same ten kWh at once, each by its app, the gateway and signed letters: ten kWh are sold."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support import network_agreement
from tests.support.network_rig import Network
from tests.support.seller_rig import offer_json
from tests.support.trade_cases import an_offer, hours

BUYERS, OFFERED_WH = 50, (4000, 6000)


async def buy(network: Network, account_id: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """From search to confirm; the order as it stands wherever the seller stopped it."""
    found = await network.buyer.search(
        {"account_id": account_id, "seller_id": network["bpp-solo"].id}, wait_s=20, offers=1
    )
    order = await network.buyer.order(account_id, found, found["offers"][0], wanted, wait_s=20)
    for state, action in (("QUOTED", "init"), ("INITIALISED", "confirm")):
        if order["state"] != state:
            break
        order = await network.buyer.act(order["order_id"], action, wait_s=20)
    return order


async def test_fifty_buyers_for_ten_kwh_buy_exactly_ten_kwh(network: Network) -> None:
    offer = offer_json(an_offer(offered_wh=hours(*OFFERED_WH)), price={"flat_price_per_kwh": "0.2"})
    await network.open_shop("bpp-solo", "home-7", offer)
    accounts = await asyncio.gather(*(network.new_account(f"Buyer{number}") for number in range(BUYERS)))
    # Everybody has seen the whole offer before anybody has chosen, and each wants a kWh of one of the two hours.
    orders = await asyncio.gather(
        *(
            buy(network, account_id, {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": wanted})
            for account_id, wanted in zip(accounts, [[1000, 0], [0, 1000]] * (BUYERS // 2), strict=True)
        )
    )
    bought = [order for order in orders if order["state"] == "ACTIVE"]
    assert sum(sum(order["contracted"]["energy_wh"]) for order in bought) == sum(OFFERED_WH)
    assert {order["state"] for order in orders} == {"ACTIVE", "REFUSED"}
    assert {order["refusal"]["code"] for order in orders if order["state"] == "REFUSED"} == {"40002"}
    shown = await network["bpp-solo"].operator.get("/api/offers/offer-1")
    assert shown["sold"]["energy_wh"] == list(OFFERED_WH)
    assert shown["available"]["energy_wh"] == [0, 0]
    theirs = await network_agreement.every(network["bpp-solo"].operator, "/api/orders", state="ACTIVE")
    assert {order["wire_order_id"] for order in theirs} == {order["wire_order_id"] for order in bought}
    assert await network_agreement.check_shelves(network) == sum(OFFERED_WH)

    async def reserved(account_id: str) -> int:
        return int((await network.buyer.account(account_id))["reserved_milli"])

    assert sum(await asyncio.gather(*map(reserved, accounts))) == 10 * 22_000  # who got nothing pays nothing
    await network.check_books()


async def test_two_assets_behind_one_meter_are_sold_up_to_what_the_meter_exports(network: Network) -> None:
    """A roof and a battery offer 10 kWh in the hour, the connection carries 5: five of twenty buyers get theirs."""
    offers = [
        offer_json(an_offer(offer_id=name, offered_wh=hours(5000)), price={"flat_price_per_kwh": "0.2"})
        for name in ("roof", "battery")
    ]
    await network.open_shop("bpp-solo", "home-7", offers[0])
    operator = network["bpp-solo"].operator
    await operator.post("/api/offers", offers[1])
    connection = {"kind": "GRID_CONNECTION", "name": "House", "rating_w": 9000, "details": {"export_limit_w": 5000}}
    await operator.post("/api/providers/home-7/assets", connection)
    accounts = await asyncio.gather(*(network.new_account(f"Buyer{number}") for number in range(20)))

    async def buy_of(account_id: str, number: int) -> dict[str, Any]:
        found = await network.buyer.search(
            {"account_id": account_id, "seller_id": network["bpp-solo"].id}, wait_s=20, offers=1
        )
        wanted = {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": [1000]}
        order = await network.buyer.order(account_id, found, found["offers"][number % 2], wanted, wait_s=20)
        for state, action in (("QUOTED", "init"), ("INITIALISED", "confirm")):
            if order["state"] == state:
                order = await network.buyer.act(order["order_id"], action, wait_s=20)
        return order

    orders = await asyncio.gather(*(buy_of(account_id, number) for number, account_id in enumerate(accounts)))
    bought = [order for order in orders if order["state"] == "ACTIVE"]
    assert len(bought) == 5
    assert {order["refusal"]["code"] for order in orders if order["state"] == "REFUSED"} == {"40002"}
    shown = [await operator.get(f"/api/offers/{name}") for name in ("roof", "battery")]
    assert sum(offer["sold"]["energy_wh"][0] for offer in shown) == 5000
    assert [offer["available"]["energy_wh"] for offer in shown] == [[0], [0]]
