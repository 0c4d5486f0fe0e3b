"""A node is killed at the worst moments of a confirm and started again: one contract, one payment, no letter lost.

The points lie on both sides of every commit between the consumer's click and the contract; see
tests/support/network_crash.py. The process that dies is a real one. It gives nothing back, so whoever follows it has
to wait until its claims lapse; the wall clock is put forward for that.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import Any

import httpx
import pytest

from api.client import NoAnswer
from cli.servers import Servers
from tests.support import network_agreement, network_crash
from tests.support.network_rig import Network, running_network
from tests.support.seller_rig import offer_json
from tests.support.trade_cases import an_offer

#: Longer than a claim lasts, and shorter than a buyer's node waits before it asks what became of a confirm.
LEASE_S = 20
#: 1 kWh at 0.20, 2 kWh at 0.21 and 3 kWh wheeling at 0.02.
TOTAL_MILLI = 68_000


async def ready(url: str) -> None:
    """Wait until a node says that it is."""
    async with asyncio.timeout(20), httpx.AsyncClient() as client:
        while True:
            with suppress(httpx.TransportError):
                if (await client.get(f"{url}/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def held_order(network: Network) -> dict[str, Any]:
    """An order that only needs to be confirmed."""
    await network.open_shop("bpp-solo", "home-7", offer_json(an_offer()))
    account_id = await network.new_account(deposit_minor=1_000)
    found = await network.buyer.search({"account_id": account_id}, wait_s=5, offers=1)
    energy = {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": [1000, 2000]}
    order = await network.buyer.order(account_id, found, found["offers"][0], energy, wait_s=5)
    order = await network.buyer.act(order["order_id"], "init", wait_s=5)
    assert order["state"] == "INITIALISED"
    return order


async def confirm_while_dying(network: Network, order: dict[str, Any], name: str, point: str, action: str) -> None:
    """Confirm; on the way the node dies at the point; it is started again once its claims have lapsed."""
    settings = network.settings[name]
    await network.stop(name)
    doomed = await network_crash.run_doomed(name, settings, point, action)
    try:
        await ready(settings.public_url)
        with suppress(NoAnswer):  # the buyer's own node may be the one that dies
            await network.buyer.act(order["order_id"], "confirm")
        assert await asyncio.wait_for(doomed.wait(), 10) == -signal.SIGKILL
    finally:
        with suppress(ProcessLookupError):
            doomed.kill()
    network.turn(seconds=LEASE_S)
    await network.start(name)


def cases() -> list[Any]:
    """Each point, for the letters that a node receives and those that it sends."""
    of_node = {"bpp-solo": ("confirm", "on_confirm"), "bap": ("on_confirm", "confirm")}
    return [
        pytest.param(name, point, received if point in ("accepted", "working") else sent, id=f"{name}-{point}")
        for name, (received, sent) in of_node.items()
        for point in network_crash.POINTS
    ]


@pytest.mark.parametrize(("name", "point", "action"), cases())
async def test_a_confirm_survives_a_node_that_is_killed(
    servers: Servers, migrated_template: str, name: str, point: str, action: str
) -> None:
    async with running_network(servers, migrated_template, members=("gateway", "bap", "bpp-solo")) as network:
        order = await held_order(network)
        await confirm_while_dying(network, order, name, point, action)

        async def is_at_rest() -> bool:
            order_now = await network.buyer.get_order(order["order_id"])
            return order_now["state"] == "ACTIVE" and not await letters_on_the_way(network)

        await network.until(is_at_rest, within_s=10)
        # One contract, sold once and reserved once, without anybody having had to ask what became of it.
        (theirs,) = await network_agreement.every(network["bpp-solo"].operator, "/api/orders")
        assert (theirs["state"], theirs["wire_order_id"]) == ("ACTIVE", order["order_id"])
        offer = await network["bpp-solo"].operator.get("/api/offers/offer-1")
        assert (offer["sold"]["energy_wh"], offer["held"]["energy_wh"]) == ([1000, 2000, 0], [0, 0, 0])
        account = await network.buyer.account(order["account_id"])
        assert (account["balance_milli"], account["reserved_milli"]) == (1_000_000 - TOTAL_MILLI, TOTAL_MILLI)
        for member, letter in ((network["bpp-solo"], "confirm"), (network.bap, "on_confirm")):
            assert await member.rows("SELECT state FROM inbox WHERE action = $1", letter) == [("DONE",)]
        assert await network.bap.rows("SELECT 1 FROM outbox WHERE action = 'status'") == []
        await network.check_books()


async def letters_on_the_way(network: Network) -> list[str]:
    """Letters that are not sent, or not worked on."""
    waiting = await network_agreement.under_way(network)
    return [line for line in waiting if " sends " in line or " processes " in line]
