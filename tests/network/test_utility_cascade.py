"""A seller that asks its utility: charges in the quote, limits that hold, and a utility that goes away in between.

The real network: a buyer's node, a seller's node that is a second subscriber (of type BAP) to its utility, and the
utility, which is a seller's node of ours in that role.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from api.client import UtilityApi
from cli.servers import Servers
from tests.support.mischief import NONE, Odds
from tests.support.network_agreement import every
from tests.support.network_rig import Network, running_network, subscriber_id
from tests.support.seller_rig import offer_json
from tests.support.trade_cases import SLOT_START, an_offer

WAIT_S = 5
METER = "meter-of-home-7"
#: 4 kW x 50 %: 2 kWh in an hour.
GRID = {"sanctioned_load_w": 4000, "wheeling_buyer_per_kwh": "0.05", "wheeling_seller_per_kwh": "0.01"}
SELLER: dict[str, Any] = {
    "utility_id": subscriber_id("utility"),
    "utility_answer_s_max": 8.0,
    "utility_chase_every_s": 0.3,
    "utility_look_every_s": 0.1,
}


@dataclass
class Grid:
    """The network, Anna who buys, and what the utility shows."""

    network: Network
    anna: str

    async def quoted(self, *wh: int) -> dict[str, Any]:
        """Search and choose; a utility is a seller's node, too, and answers with nothing."""
        sellers = sum(name in self.network.members for name in ("bpp-solo", "utility"))
        found = await self.network.buyer.search({"account_id": self.anna}, wait_s=WAIT_S, offers=sellers)
        energy = {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": list(wh)}
        return await self.network.buyer.order(self.anna, found, found["offers"][0], energy, wait_s=WAIT_S)

    async def act(self, order: dict[str, Any], action: str, body: Any = None, wait_s: float = WAIT_S) -> dict[str, Any]:
        """What the app calls, and the order once it was answered."""
        return await self.network.buyer.act(order["order_id"], action, body, wait_s=wait_s)

    async def contract(self, *wh: int) -> dict[str, Any]:
        """Search, choose, hold, confirm."""
        return await self.act(await self.act(await self.quoted(*wh), "init"), "confirm")

    async def trades(self) -> list[dict[str, Any]]:
        """What the utility has logged."""
        return [trade async for trade in UtilityApi(self.network["utility"].operator).trades()]

    async def shelf(self) -> tuple[int, int]:
        """Wh of the offer that are held and sold."""
        offer = await self.network["bpp-solo"].operator.get("/api/offers/offer-1")
        return sum(offer["held"]["energy_wh"]), sum(offer["sold"]["energy_wh"])

    async def at_the_seller(self, order: dict[str, Any]) -> dict[str, Any]:
        """The seller's copy."""
        (found,) = await every(self.network["bpp-solo"].operator, "/api/orders", transaction_id=order["transaction_id"])
        return found

    async def seller_state(self, order: dict[str, Any]) -> str:
        """The state of the seller's copy."""
        return str((await self.at_the_seller(order))["state"])

    async def reaches(self, order: dict[str, Any], state: str) -> dict[str, Any]:
        """Wait until the buyer's copy is in a state."""

        async def is_there() -> Any:
            seen = await self.network.buyer.get_order(order["order_id"])
            return seen if seen["state"] == state else None

        return dict(await self.network.until(is_there, within_s=10))


@pytest.fixture
async def grid(servers: Servers, migrated_template: str) -> AsyncIterator[Grid]:
    members = ("gateway", "bap", "bpp-solo", "utility")
    own = {"bpp-solo": SELLER}
    async with running_network(servers, migrated_template, members=members, own=own) as network:
        await UtilityApi(network["utility"].operator).put_meter(METER, GRID)
        await network.open_shop("bpp-solo", "home-7", offer_json(an_offer()))
        yield Grid(network, await network.new_account("Anna", deposit_minor=10_000))


async def test_the_utilitys_charges_are_in_the_quote_and_its_log_has_the_trade(grid: Grid) -> None:
    order = await grid.quoted(1000, 2000)
    assert [line["amount_milli"] for line in order["quote"]["lines"] if line["kind"] == "WHEELING"] == [6_000]
    order = await grid.act(order, "init")
    assert order["state"] == "INITIALISED"
    # The offer said 0.02 a kWh, the utility says 0.05: what on_init quotes is what counts.
    assert [line["amount_milli"] for line in order["quote"]["lines"] if line["kind"] == "WHEELING"] == [15_000]
    assert await grid.trades() == []
    order = await grid.act(order, "confirm")
    assert (order["state"], await grid.seller_state(order)) == ("ACTIVE", "ACTIVE")
    (trade,) = await grid.trades()
    assert (trade["state"], trade["seller_meter_id"], sum(trade["energy"]["energy_wh"])) == ("ACTIVE", METER, 3000)
    assert trade["bpp_id"] == subscriber_id("bpp-solo")
    assert await grid.shelf() == (0, 3000)


async def test_beyond_the_limit_the_buyer_hears_the_utilitys_own_words(grid: Grid) -> None:
    order = await grid.act(await grid.quoted(0, 2000, 2500), "init")
    assert order["state"] == "REFUSED"
    assert "may export 2 kWh by trade" in order["refusal"]["sentence"]
    assert await grid.shelf() == (0, 0)
    assert await grid.trades() == []


async def test_of_confirms_at_once_no_more_are_contracts_than_the_limit_carries(grid: Grid) -> None:
    orders = [await grid.act(await grid.quoted(0, 500), "init") for _ in range(4)]
    await grid.network["utility"].operator.call(
        "PUT", f"/api/utility/meters/{METER}", GRID | {"sanctioned_load_w": 2000}
    )
    await asyncio.gather(*(grid.act(order, "confirm") for order in orders))
    states = sorted([(await grid.network.buyer.get_order(order["order_id"]))["state"] for order in orders])
    assert states == ["ACTIVE", "ACTIVE", "REFUSED", "REFUSED"]
    assert len(await grid.trades()) == 2
    assert await grid.shelf() == (0, 1000)
    account = await grid.network.buyer.account(grid.anna)
    active = [o for o in [await grid.network.buyer.get_order(x["order_id"]) for x in orders] if o["state"] == "ACTIVE"]
    assert account["reserved_milli"] == sum(order["quote"]["total_milli"] for order in active)


async def test_a_cancelled_order_gives_its_limit_back(grid: Grid) -> None:
    order = await grid.contract(0, 2000)
    assert (await grid.act(await grid.quoted(0, 0, 2500), "init"))["state"] == "REFUSED"
    await grid.act(order, "cancel", {"reason_id": "001"})

    async def is_free() -> bool:
        return bool((await grid.trades())[0]["state"] == "CANCELLED")

    await grid.network.until(is_free)
    assert (await grid.contract(0, 2000))["state"] == "ACTIVE"


async def test_a_utility_that_is_silent_at_init_is_a_no_and_nothing_stays_held(grid: Grid) -> None:
    await grid.network.stop("utility")
    order = await grid.quoted(1000)
    asked = asyncio.create_task(grid.act(order, "init"))

    async def is_asked() -> bool:
        return await grid.shelf() == (1000, 0)

    await grid.network.until(is_asked)
    assert await grid.seller_state(order) == "CLEARING"
    grid.network.turn(seconds=9)
    await asked
    order = await grid.reaches(order, "REFUSED")
    assert "has not answered within 8 s" in order["refusal"]["sentence"]
    assert await grid.shelf() == (0, 0)


async def test_a_utility_that_dies_before_the_confirm_reaches_it_is_waited_for(grid: Grid) -> None:
    order = await grid.act(await grid.quoted(1000), "init")
    await grid.network.stop("utility")
    await grid.act(order, "confirm", wait_s=0.5)
    assert await grid.seller_state(order) == "COMMITTING"
    assert await grid.shelf() == (1000, 0)
    await grid.network.start("utility")
    await grid.reaches(order, "ACTIVE")
    assert len(await grid.trades()) == 1
    assert await grid.shelf() == (0, 1000)


async def test_a_logged_trade_whose_answer_was_lost_is_found_by_asking(grid: Grid) -> None:
    utility = grid.network["utility"]
    order = await grid.act(await grid.quoted(1000), "init")
    utility.mischief.odds = Odds(refused_connection=1.0)
    await grid.act(order, "confirm", wait_s=0.5)

    async def is_logged() -> list[dict[str, Any]]:
        return await grid.trades()

    assert await grid.network.until(is_logged)
    assert await grid.seller_state(order) == "COMMITTING"
    await utility.rows("UPDATE outbox SET state = 'DEAD' WHERE action = 'on_confirm'")  # it never comes
    await grid.network.stop("utility")
    (await grid.network.start("utility")).mischief.odds = NONE
    await grid.reaches(order, "ACTIVE")
    assert len(await grid.trades()) == 1


async def test_a_confirm_the_utility_never_logged_ends_the_order_when_it_says_so(grid: Grid) -> None:
    utility = grid.network["utility"]
    order = await grid.act(await grid.quoted(1000), "init")
    utility.mischief.odds = Odds(refused_connection=1.0)
    await utility.operator.call("PUT", f"/api/utility/meters/{METER}", GRID | {"limit_percent": 0})
    await grid.act(order, "confirm", wait_s=0.5)
    await asyncio.sleep(0.3)
    await utility.rows("UPDATE outbox SET state = 'DEAD' WHERE action = 'on_confirm'")
    await grid.network.stop("utility")
    await grid.network.start("utility")
    await grid.reaches(order, "REFUSED")
    assert await grid.shelf() == (0, 0)
    assert await grid.trades() == []


async def test_whoever_makes_a_contract_smaller_gives_its_limit_back(grid: Grid) -> None:
    order = await grid.contract(0, 2000)
    at_seller = await grid.at_the_seller(order)

    async def logged(*wh: int) -> None:
        async def is_told() -> bool:
            return bool((await grid.trades())[0]["energy"]["energy_wh"] == list(wh))

        await grid.network.until(is_told)

    # The buyer takes less, and cannot take more again: the utility was asked about what it logged.
    slots = order["contracted"]
    less = {"energy": {**slots, "energy_wh": [0, 1500]}}
    order = await grid.act(order, "update", less)
    await logged(0, 1500)
    more = await grid.act(order, "update", {"energy": {**slots, "energy_wh": [0, 1600]}})
    assert (more["state"], more["contracted"]["energy_wh"]) == ("ACTIVE", [0, 1500])
    # The provider takes back part, then all.
    seller = grid.network["bpp-solo"].operator
    curtailed = {"contracted": {**slots, "energy_wh": [0, 1000]}, "reason": "clouds"}
    await seller.post(f"/api/orders/{at_seller['order_id']}/curtail", curtailed)
    await logged(0, 1000)
    await seller.post(f"/api/orders/{at_seller['order_id']}/cancel", {"reason": "the inverter broke"})

    async def is_cancelled() -> bool:
        return bool((await grid.trades())[0]["state"] == "CANCELLED")

    await grid.network.until(is_cancelled)


async def test_a_figure_the_utility_replaces_is_what_both_sides_settle_at(grid: Grid) -> None:
    order = await grid.contract(1000)
    await grid.network.trade_at(SLOT_START + timedelta(hours=1))
    lines = [{"starts_at": SLOT_START.isoformat(), "energy_wh": 1000}]
    seller = grid.network["bpp-solo"].operator
    await seller.post(f"/api/meters/{METER}/readings", {"flow": "EXPORT", "slot_s": 3600, "readings": lines})
    order = await grid.reaches(order, "COMPLETED")
    assert order["settlement"]["delivered"]["energy_wh"] == [1000]
    (trade,) = await grid.trades()
    figure = {"side": "SELLER", "allocation": {**trade["energy"], "energy_wh": [400]}, "reason": "read by hand"}
    await grid.network["utility"].operator.call("PUT", f"/api/utility/trades/{trade['trade_id']}/allocation", figure)

    async def settled_again() -> Any:
        ours, theirs = await grid.network.buyer.get_order(order["order_id"]), await grid.at_the_seller(order)
        return all(side["settlement"]["version"] == 2 for side in (ours, theirs)) and (ours, theirs)

    ours, theirs = await grid.network.until(settled_again, within_s=10)
    assert ours["settlement"]["delivered"]["energy_wh"] == theirs["settlement"]["delivered"]["energy_wh"] == [400]
    assert ours["settlement"]["total_milli"] == theirs["settlement"]["total_milli"] == 400 * 25
    acts = await grid.network["bpp-solo"].rows("SELECT actor, act FROM audit WHERE act = 'allocation.replaced'")
    assert [tuple(row) for row in acts] == [(subscriber_id("utility"), "allocation.replaced")]
    await seller.post(f"/api/meters/{METER}/readings", {"flow": "EXPORT", "slot_s": 3600, "readings": [
        {**lines[0], "energy_wh": 900}
    ]})  # fmt: skip
    assert (await grid.at_the_seller(order))["settlement"]["version"] == 2
