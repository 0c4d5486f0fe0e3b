"""One meter, two sellers' nodes, the real registry between them: no Wh can be sold through both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.client import Refused, UtilityApi
from cli.servers import Servers
from tests.support.network_rig import Network, running_network, subscriber_id

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
    await east.release_meter("home-7")
    await west.add_provider(HOME)
    with pytest.raises(Refused, match="another node"):
        await east.claim_meter("home-7")
    # A node that is gone for good lets go of nothing; the registry's operator frees what it held.
    registry = network.operator_of_registry
    (held,) = [claim async for claim in registry.meter_claims(subscriber_id=subscriber_id("bpp-west"))]
    assert held["flow"] == "EXPORT"
    await network.stop("bpp-west")
    await registry.act(subscriber_id("bpp-west"), "revoke", reason="gone")
    await registry.free_claims(subscriber_id("bpp-west"), reason="gone")
    await east.claim_meter("home-7")


async def test_a_utilitys_code_registers_its_meter_once_at_any_node(servers: Servers, migrated_template: str) -> None:
    trusting = {"meter_proof": "code", "meter_utilities": subscriber_id("utility")}
    members = ("bpp-east", "bpp-west", "utility")
    async with running_network(
        servers, migrated_template, members=members, own={"bpp-east": trusting, "bpp-west": trusting}
    ) as network:
        utility, east, west = UtilityApi(network["utility"].operator), *map(network.seller, members[:2])
        await utility.put_meter("meter-7", {"sanctioned_load_w": 4000})
        code = (await utility.issue_code("meter-7"))["code"]
        with pytest.raises(Refused, match="send the code"):
            await east.add_provider(HOME)
        await east.add_provider(HOME | {"code": code})
        await east.release_meter("home-7")
        with pytest.raises(Refused, match="before"):
            await west.add_provider(HOME | {"code": code})  # it has proven one claim
        again = (await utility.issue_code("meter-7", days=1))["code"]
        await west.add_provider(HOME | {"code": again})
