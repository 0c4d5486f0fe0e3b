"""Trade while one letter in four is lost, late, doubled, out of order or damaged: at the end both sides agree.

The buyers only use the JSON API and do what people do: search again when nothing comes, choose anew when a quote ran
out, ask once more. The wall clock runs about forty times as fast as it should, so that every time-out and every chase
of the nodes happens, and the test does not wait for them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from api.client import Refused
from cli.servers import Servers
from tests.support import network_agreement
from tests.support.mischief import Odds
from tests.support.network_rig import SELLERS, Network, running_network
from tests.support.seller_rig import offer_json
from tests.support.trade_cases import SLOT_START, an_offer, hours

BUYERS = 12
DEPOSIT_MINOR = 1_000
#: Times a buyer searches for somebody to sell before it gives up.
SEARCHES_MAX = 6
#: How long the buyer's app waits for one answer, seconds of the machine's clock.
WAIT_S = 1.5
#: How long the network may take to come to rest, seconds of the machine's clock.
REST_S_MAX = 15
ODDS = Odds.evenly(0.03)


@asynccontextmanager
async def hurried(network: Network) -> AsyncIterator[None]:
    """While the block runs every tenth of a second counts four, and all jobs run all the time."""

    enough = asyncio.Event()

    async def hurry() -> None:
        while not enough.is_set():
            await asyncio.sleep(0.1)
            network.turn(seconds=4)
            await network.work()

    hurrying = asyncio.create_task(hurry())
    try:
        yield
    finally:
        enough.set()
        await hurrying


async def act(network: Network, order: dict[str, Any], action: str, body: Any = None) -> dict[str, Any]:
    """One call about an order; a refusal (the quote ran out, delivery began) leaves it as it is."""
    try:
        return await network.buyer.act(order["order_id"], action, body, wait_s=WAIT_S)
    except Refused:
        return await network.buyer.get_order(order["order_id"])


async def settled_down(network: Network, order: dict[str, Any]) -> dict[str, Any]:
    """The order once nothing is awaited for it."""
    while order["awaiting_answer"]:
        await asyncio.sleep(0.1)
        order = await network.buyer.get_order(order["order_id"])
    return order


async def draft(network: Network, account_id: str, lot: random.Random) -> dict[str, Any] | None:
    """Search, choose one of what was found, confirm; the order as it then is."""
    found = await network.buyer.search({"account_id": account_id}, wait_s=WAIT_S, offers=lot.randint(1, 3))
    if not found["offers"]:
        return None
    try:
        order = await network.buyer.order(
            account_id, found, lot.choice(found["offers"]), lot.randrange(500, 2500), wait_s=WAIT_S
        )
    except Refused:  # less is left than was wanted
        return None
    for state, action in (("QUOTED", "init"), ("INITIALISED", "confirm")):
        order = await settled_down(network, order)
        if order["state"] == state:
            order = await act(network, order, action)
    return await settled_down(network, order)


async def buy(network: Network, lot: random.Random) -> dict[str, Any] | None:
    """Get a contract somehow, then perhaps change it or cancel it."""
    account_id = await network.new_account(deposit_minor=DEPOSIT_MINOR)
    for _ in range(SEARCHES_MAX):
        order = await draft(network, account_id, lot)
        if order is not None and order["state"] == "ACTIVE":
            break
    else:
        return None
    wish = lot.random()
    if wish < 0.25:
        order = await act(network, order, "cancel", {"reason_id": "002", "note": "changed my mind"})
    elif wish < 0.5:
        energy = order["contracted"] | {"energy_wh": [wh // 2 for wh in order["contracted"]["energy_wh"]]}
        order = await act(network, order, "update", {"energy": energy})
    elif wish < 0.7:
        order = await act(network, order, lot.choice(["status", "track", "support"]))
    return await settled_down(network, order)


async def curtail_some(network: Network, lot: random.Random) -> None:
    """Sellers take a little back of every fourth contract."""
    for name in SELLERS:
        for order in await network_agreement.every(network[name].operator, "/api/orders", state="ACTIVE"):
            if lot.random() < 0.25:
                less = [max(0, wh - 100) for wh in order["contracted"]["energy_wh"]]
                if any(less):
                    contracted = order["contracted"] | {"energy_wh": less}
                    await network.seller(name).curtail(order["order_id"], contracted, reason="clouds")


async def deliver(network: Network, lot: random.Random) -> None:
    """The day passes and the meters are read: sometimes more came than was sold, sometimes less."""
    await network.trade_at(SLOT_START + timedelta(minutes=30))
    await network.trade_at(SLOT_START + timedelta(hours=4))
    for name in SELLERS:
        readings = [
            {"starts_at": slot.start.isoformat(), "energy_wh": lot.randrange(0, 4000)}
            for slot, _ in hours(0, 0, 0).items()
        ]
        body = {"flow": "EXPORT", "slot_s": 3600, "readings": readings}
        await network.seller(name).read_meter(f"meter-of-home-of-{name}", body)


async def come_to_rest(network: Network) -> None:
    """Go on until nothing is under way; what was not heard of for a day is asked about."""
    await network.trade_at(SLOT_START + timedelta(hours=30))
    deadline = asyncio.get_running_loop().time() + REST_S_MAX
    while waiting := await network_agreement.under_way(network):
        assert asyncio.get_running_loop().time() < deadline, "\n".join(waiting)
        await asyncio.sleep(0.2)
        if not any("sends" in line or "processes" in line for line in waiting):
            network.turn(minutes=61)  # nothing is on the way: an hour passes in which nobody writes
    for member in network.members.values():
        await member.mischief.settled()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_happens_to_letters_both_sides_agree_in_the_end(
    servers: Servers, migrated_template: str, seed: int
) -> None:
    lot = random.Random(seed)
    async with running_network(servers, migrated_template, odds=ODDS, seed=seed) as network:
        for name in SELLERS:
            offer = an_offer(offer_id=f"offer-of-{name}", offered_wh=hours(2000, 2000, 2000))
            await network.open_shop(name, f"home-of-{name}", offer_json(offer))
        async with hurried(network):
            buyers = [buy(network, random.Random(f"{seed} {number}")) for number in range(BUYERS)]
            await asyncio.gather(*buyers)
            await curtail_some(network, lot)
            await deliver(network, lot)
            await come_to_rest(network)
        fates = await network_agreement.check_letters(network)
        ends = await network_agreement.check_orders(network)
        assert await network_agreement.check_shelves(network) > 0
        assert await network_agreement.check_money(network, deposited_minor=BUYERS * DEPOSIT_MINOR) > 0
        assert ends["COMPLETED"] >= BUYERS // 4, ends
        assert fates["DEAD"] > 0, "so much mischief must have killed a letter"
        happened = sum((member.mischief.happened for member in network.members.values()), start=Counter[str]())
        assert all(happened[kind] for kind in vars(ODDS)), happened
