"""One day of Anna's, who buys the solar power of a neighbour: read this first, then run it with logging on.

    .venv/bin/python -m pytest tests/network/test_buy_solar_power.py -s

Four kinds of node take part, each with a database of its own: the registry that knows who is who, the gateway that
passes searches on, the buyer's node (BAP) that Anna's app talks to, and sellers' nodes (BPP), one of which speaks for
the roof of Home 7. Everything the app does is a call of the BAP's JSON API; everything that happens between the nodes
are signed letters. Each step below says what every side shows afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.client import NodeClient, Refused
from beckn.actions import ACTIONS
from tests.support.network_agreement import every, under_way
from tests.support.network_rig import OPERATOR, Network, subscriber_id
from tests.support.seller_rig import offer_json
from tests.support.trade_cases import SLOT_START, an_offer

#: How long the app is ready to wait for an answer, seconds; it comes much sooner.
WAIT_S = 5

#: Home 7 offers 1, 2 and 3 kWh in three hours of tomorrow, at 0.20, 0.21 and 0.22 dollars a kWh; the grid takes 0.02.
OFFER = offer_json(an_offer())


def energy(*wh: int) -> dict[str, Any]:
    """Wh in each hour from the first that is offered."""
    return {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": list(wh)}


@dataclass
class Street:
    """The network, and the people in it."""

    network: Network
    anna: str

    async def act(self, order: dict[str, Any], action: str, body: Any = None) -> dict[str, Any]:
        """What Anna's app calls, and the order once the seller has answered."""
        return await self.network.buyer.act(order["order_id"], action, body, wait_s=WAIT_S)

    async def wallet(self) -> tuple[int, int]:
        """Cents that Anna is free to spend, and cents that are reserved."""
        account = await self.network.buyer.account(self.anna)
        return account["balance_milli"], account["reserved_milli"]

    async def at_the_seller(self, order: dict[str, Any]) -> dict[str, Any]:
        """The same order as Home 7 sees it."""
        found = await every(self.network["bpp-solo"].operator, "/api/orders", transaction_id=order["transaction_id"])
        assert len(found) == 1
        return found[0]

    async def shelf(self) -> dict[str, list[int]]:
        """What of the offer is held for somebody, and what is sold, in each hour."""
        offer = await self.network["bpp-solo"].operator.get("/api/offers/offer-1")
        return {"held": offer["held"]["energy_wh"], "sold": offer["sold"]["energy_wh"]}

    async def quoted(self, *wh: int) -> dict[str, Any]:
        """Search and choose."""
        found = await self.network.buyer.search({"account_id": self.anna}, wait_s=WAIT_S, offers=3)
        return await self.network.buyer.order(self.anna, found, found["offers"][0], energy(*wh), wait_s=WAIT_S)

    async def contract(self, *wh: int) -> dict[str, Any]:
        """Search, choose, hold, confirm."""
        order = await self.act(await self.quoted(*wh), "init")
        return await self.act(order, "confirm")


@pytest.fixture
async def street(network: Network) -> Street:
    await network.open_shop("bpp-solo", "home-7", OFFER)
    return Street(network, await network.new_account("Anna", deposit_minor=1_000))


async def test_a_consumer_buys_solar_power_from_search_to_settlement(street: Street) -> None:
    network = street.network

    # 1. search -> on_search. Through the gateway to all three sellers; the one that has something answers with it.
    found = await network.buyer.search({"account_id": street.anna, "source": "SOLAR"}, wait_s=WAIT_S, offers=3)
    (offer,) = found["offers"]
    assert offer["seller_id"] == subscriber_id("bpp-solo")
    assert offer["provider"]["name"] == "Home 7"
    assert offer["available"] == energy(1000, 2000, 3000)
    passed_on = await network.gateway.search(found["transaction_id"])
    assert {copy["subscriber_id"] for copy in passed_on["copies"]} == {seller.id for seller in network.sellers}

    # 2. select -> on_select. A quote, and nothing is bound yet: the seller has not even written the order down.
    order = await network.buyer.order(street.anna, found, offer, energy(1000, 2000), wait_s=WAIT_S)
    assert order["state"] == "QUOTED"
    assert [(line["kind"], line["amount_milli"]) for line in order["quote"]["lines"]] == [
        ("ENERGY", 20_000),  # 1 kWh at 0.20
        ("ENERGY", 42_000),  # 2 kWh at 0.21
        ("WHEELING", 6_000),  # 3 kWh at 0.02
    ]
    assert await every(network["bpp-solo"].operator, "/api/orders") == []

    # 3. init -> on_init. Now the seller holds the energy until the quote runs out. No money has moved.
    order = await street.act(order, "init")
    assert order["state"] == "INITIALISED"
    assert (await street.at_the_seller(order))["state"] == "INITIALISED"
    assert await street.shelf() == {"held": [1000, 2000, 0], "sold": [0, 0, 0]}
    assert await street.wallet() == (1_000_000, 0)

    # 4. confirm -> on_confirm. A contract: the energy is sold, the money reserved, under one id on both sides.
    order = await street.act(order, "confirm")
    assert order["state"] == "ACTIVE"
    theirs = await street.at_the_seller(order)
    assert (theirs["state"], theirs["wire_order_id"]) == ("ACTIVE", order["wire_order_id"])
    assert theirs["contracted"] == order["contracted"]
    assert await street.shelf() == {"held": [0, 0, 0], "sold": [1000, 2000, 0]}
    assert await street.wallet() == (932_000, 68_000)

    # 5. status -> on_status. What is known already is not news.
    assert (await street.act(order, "status"))["state"] == "ACTIVE"

    # 6. track -> on_track. A link that anybody who has it may follow.
    order = await street.act(order, "track")
    assert order["tracking"]["status"] == "active"
    async with httpx.AsyncClient() as anybody:
        shown = (await anybody.get(order["tracking"]["url"])).json()
    assert shown["contracted"] == order["contracted"]

    # 7. update -> on_update. Anna needs less in the second hour; what it costs less is given back at once.
    order = await street.act(order, "update", {"energy": energy(1000, 1000)})
    assert order["contracted"]["energy_wh"] == [1000, 1000]
    assert (await street.at_the_seller(order))["contracted"]["energy_wh"] == [1000, 1000]
    assert await street.shelf() == {"held": [0, 0, 0], "sold": [1000, 1000, 0]}
    assert await street.wallet() == (955_000, 45_000)  # 0.20 + 0.21 + 2 x 0.02

    # 8. support -> on_support. Whom to write to.
    order = await street.act(order, "support")
    assert order["support"]["email"] == "help@bpp-solo.example"

    # 9. The day comes: trading clocks move, delivery begins, and the seller says so unasked (on_status).
    await network.trade_at(SLOT_START + timedelta(minutes=10))
    assert (await street.at_the_seller(order))["state"] == "DELIVERING"
    assert (await network.buyer.get_order(order["order_id"]))["state"] == "DELIVERING"

    # 10. The meter is read. The second hour was cloudy: 400 Wh of 1,000 came. What came is what is paid, on both sides.
    await network.trade_at(SLOT_START + timedelta(hours=2))
    readings = [
        {"starts_at": "2016-08-02T15:00:00Z", "energy_wh": 1700},
        {"starts_at": "2016-08-02T16:00:00Z", "energy_wh": 400},
    ]
    body = {"flow": "EXPORT", "slot_s": 3600, "readings": readings}
    await network.seller("bpp-solo").read_meter("meter-of-home-7", body)

    async def is_completed() -> bool:
        return (await network.buyer.get_order(order["order_id"]))["state"] == "COMPLETED"

    await network.until(is_completed)
    order = await network.buyer.get_order(order["order_id"])
    assert order["settlement"]["delivered"]["energy_wh"] == [1000, 400]
    assert order["settlement"]["total_milli"] == 20_000 + 8_400 + 2_800  # 0.4 kWh at 0.21, 1.4 kWh at 0.02
    assert (await street.at_the_seller(order))["settlement"]["total_milli"] == 31_200
    assert await street.wallet() == (968_800, 0)
    earned = await network.seller("bpp-solo").balance("home-7")
    assert [item["balance_milli"] for item in earned["items"]] == [28_400]

    # 11. rating -> on_rating. It shows on the order, and on the provider in the next search.
    order = await street.act(order, "rating", {"category": "Provider", "value": "5"})
    assert order["ratings"] == [{"category": "Provider", "value": "5"}]
    provider = await network["bpp-solo"].operator.get("/api/providers/home-7")
    assert provider["rating"] == "5.0"

    # At the end nothing is on the way, and the books of both nodes balance and agree.
    assert await under_way(network) == []
    await network.check_books()


async def test_a_consumer_asks_why_one_may_cancel_and_cancels_for_one_of_the_reasons(street: Street) -> None:
    network, seller_id = street.network, subscriber_id("bpp-solo")
    order = await street.contract(1000, 2000)

    # get_cancellation_reasons -> cancellation_reasons. (The protocol's meta calls carry no "on_".)
    asked = await network.buyer.node.post(f"/api/sellers/{seller_id}/cancellation_reasons", {}, wait_s=WAIT_S)
    reason = next(entry for entry in asked["items"] if "no longer needed" in entry["name"])

    # cancel -> on_cancel. Three hours before delivery the terms say: a quarter of the energy's price.
    await network.trade_at(SLOT_START - timedelta(hours=3))
    order = await street.act(order, "cancel", {"reason_id": reason["id"], "note": "we go away"})
    theirs = await street.at_the_seller(order)
    assert order["state"] == theirs["state"] == "CANCELLED"
    assert (theirs["cancelled_by"], theirs["cancellation_reason_id"]) == ("CONSUMER", reason["id"])
    assert await street.shelf() == {"held": [0, 0, 0], "sold": [0, 0, 0]}
    fee_milli = 15_500  # a quarter of 62 cents
    assert await street.wallet() == (1_000_000 - fee_milli, 0)
    earned = await network.seller("bpp-solo").balance("home-7")
    assert [item["balance_milli"] for item in earned["items"]] == [fee_milli]
    await network.check_books()


async def test_a_consumer_asks_what_a_seller_may_be_rated_for(street: Street) -> None:
    # get_rating_categories -> rating_categories.
    path = f"/api/sellers/{subscriber_id('bpp-solo')}/rating_categories"
    asked = await street.network.buyer.node.post(path, {}, wait_s=WAIT_S)
    assert {"Order", "Provider"} <= {entry["id"] for entry in asked["items"]}


async def test_a_seller_that_cannot_deliver_all_says_so_and_the_buyer_pays_less(street: Street) -> None:
    order = await street.contract(1000, 2000)
    theirs = await street.at_the_seller(order)
    await street.network.seller("bpp-solo").curtail(theirs["order_id"], energy(1000, 500), reason="a panel broke")

    async def is_told() -> bool:  # on_update, unasked
        newest = await street.network.buyer.get_order(order["order_id"])
        return bool(newest["contracted"]["energy_wh"] == [1000, 500])

    await street.network.until(is_told)
    assert await street.wallet() == (966_500, 33_500)  # 0.20 + 0.105 + 0.03


async def test_a_quote_that_nobody_confirms_runs_out_and_its_energy_is_free_again(street: Street) -> None:
    order = await street.act(await street.quoted(1000, 2000), "init")
    street.network.turn(seconds=301)
    await street.network.work()
    assert (await street.network.buyer.get_order(order["order_id"]))["state"] == "EXPIRED"
    assert (await street.at_the_seller(order))["state"] == "EXPIRED"
    assert await street.shelf() == {"held": [0, 0, 0], "sold": [0, 0, 0]}
    assert await street.wallet() == (1_000_000, 0)


async def test_every_action_of_the_protocol_crosses_the_wire_and_is_worked_on(street: Street) -> None:
    """The letters behind the calls: each action of the table is received and done by the node it is for."""
    network, seller_id = street.network, subscriber_id("bpp-solo")
    order = await street.contract(1000, 2000)
    for action, body in (
        ("status", None),
        ("track", None),
        ("support", None),
        ("update", {"energy": energy(1000, 1500)}),
        ("rating", {"category": "Order", "value": "4"}),
        ("cancel", {"reason_id": "002"}),
    ):
        order = await street.act(order, action, body)
    for question in ("cancellation_reasons", "rating_categories"):
        await network.buyer.node.post(f"/api/sellers/{seller_id}/{question}", {}, wait_s=WAIT_S)
    done = {
        row["action"]
        for member in network.members.values()
        for row in await member.rows("SELECT action FROM inbox WHERE state = 'DONE'")
    }
    assert done == set(ACTIONS)


async def test_nobody_but_the_operator_sees_the_books(street: Street) -> None:
    for member in (street.network.bap, street.network["bpp-solo"]):
        async with NodeClient(member.settings.public_url, f"not-{OPERATOR}") as anybody:
            with pytest.raises(Refused, match="401"):
                await anybody.get("/api/ledger/proof")
