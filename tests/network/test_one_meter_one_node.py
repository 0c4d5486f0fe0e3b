"""One meter, two sellers' nodes, the real registry between them: no Wh can be sold through both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.client import Refused
from cli.servers import Servers
from tests.support.network_rig import Network, running_network

HOME = {"provider_id": "home-7", "name": "Home 7", "gps": "34.1, -117.4", "meter_id": "meter-7"}


@pytest.fixture
async def network(servers: Servers, migrated_template: str) -> AsyncIterator[Network]:
    async with running_network(servers, migrated_template, members=("bpp-east", "bpp-west")) as running:
        yield running


async def test_of_two_sellers_that_register_a_meter_at_once_one_is_refused(network: Network) -> None:
    east, west = network.seller("bpp-east"), network.seller("bpp-west")
    results = await asyncio.gather(east.add_provider(HOME), west.add_provider(HOME), return_exceptions=True)
    (refusal,) = [result for result in results if isinstance(result, Refused)]
    assert (refusal.status, refusal.field) == (409, "meter_id")
    assert "bpp-" not in refusal.sentence  # held, but never by whom
    loser = network["bpp-west" if results[1] is refusal else "bpp-east"]
    assert (await loser.operator.get("/api/providers"))["items"] == []


async def test_a_meter_moves_once_its_first_node_lets_go_of_it(network: Network) -> None:
    east, west = network.seller("bpp-east"), network.seller("bpp-west")
    await east.add_provider(HOME)
    with pytest.raises(Refused, match="another node"):
        await west.add_provider(HOME | {"meter_id": "METER-7"})
    await network["bpp-east"].operator.post("/api/providers/home-7/meter/release")
    await west.add_provider(HOME)
    with pytest.raises(Refused, match="another node"):
        await network["bpp-east"].operator.post("/api/providers/home-7/meter/claim")
