"""Four nodes and four meters: what a contract settles at is the lesser of what both its meters say, on both sides.

Two sellers' nodes sell under street@1, two consumers with meters of their own buy from both. The test plays the meters;
allocations, settlements, corrections, disputes and their ends are signed letters between the nodes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from api.client import Refused
from tests.support import network_agreement
from tests.support.network_agreement import every
from tests.support.network_rig import Network
from tests.support.seller_rig import offer_json
from tests.support.trade_cases import SLOT_START, an_offer, hours

WAIT_S = 5
HOUR = timedelta(hours=1)
OVER = SLOT_START + 2 * HOUR
#: 10 kWh in each of two hours, at 0.20 and 0.21 a kWh; the grid takes 0.02; settled by both meters.
OFFER = offer_json(an_offer(offered_wh=hours(10_000, 10_000)), policy="street@1")


def energy(*wh: int) -> dict[str, Any]:
    """Wh in each hour from the first that is offered."""
    return {"start": SLOT_START.isoformat(), "slot_s": 3600, "energy_wh": list(wh)}


@dataclass
class Street:
    """The network, its consumers and its roofs."""

    network: Network
    anna: str
    ben: str

    async def buy(self, account_id: str, seller: str, *wh: int) -> dict[str, Any]:
        """A contract of one consumer with one seller's roof."""
        found = await self.network.buyer.search({"account_id": account_id}, wait_s=WAIT_S, offers=3)
        offer = next(offer for offer in found["offers"] if offer["seller_id"].startswith(seller))
        order = await self.network.buyer.order(account_id, found, offer, energy(*wh), wait_s=WAIT_S)
        order = await self.network.buyer.act(order["order_id"], "init", wait_s=WAIT_S)
        assert order["state"] == "INITIALISED", order["refusal"]
        return await self.network.buyer.act(order["order_id"], "confirm", wait_s=WAIT_S)

    async def exported(self, seller: str, *wh: int) -> None:
        """What the roof of a seller sent into the grid."""
        await self._read(self.network[seller].operator, f"meter-of-roof-{seller}", "EXPORT", wh)

    async def imported(self, account_id: str, *wh: int) -> None:
        """What the meter of a consumer took from the grid."""
        meter_id = (await self.network.buyer.account(account_id))["meter_id"]
        await self._read(self.network.bap.operator, meter_id, "IMPORT", wh)

    async def _read(self, node: Any, meter_id: str, flow: str, wh: tuple[int, ...]) -> None:
        slots = hours(*wh).slots()
        lines = [{"starts_at": slot.start.isoformat(), "energy_wh": e} for slot, e in zip(slots, wh, strict=True)]
        await node.post(f"/api/meters/{meter_id}/readings", {"flow": flow, "slot_s": 3600, "readings": lines})
        await self.network.work()

    async def both(self, order: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The order as its buyer's and its seller's node show it now."""
        ours = await self.network.buyer.get_order(order["order_id"])
        seller = next(seller for seller in self.network.sellers if seller.id == order["seller_id"])
        found = await every(seller.operator, "/api/orders", transaction_id=order["transaction_id"])
        return ours, found[0]

    async def settled(self, order: dict[str, Any], version: int = 1) -> tuple[list[int], int]:
        """Wh and thousandths of a cent of a settlement, once both sides have the same version of it."""

        async def agreed() -> Any:
            ours, theirs = [side["settlement"] for side in await self.both(order)]
            return ours and theirs and ours["version"] == theirs["version"] == version and (ours, theirs)

        ours, theirs = await self.network.until(agreed)
        for name in ("delivered", "lines", "flows", "total_milli"):
            assert ours[name] == theirs[name], name
        assert {side["state"] for side in await self.both(order)} == {"COMPLETED"}
        return ours["delivered"]["energy_wh"], ours["total_milli"]

    async def state(self, order: dict[str, Any], state: str) -> list[dict[str, Any]]:
        """The order on both sides, once both show this state."""

        async def shown() -> Any:
            sides = await self.both(order)
            return all(side["state"] == state for side in sides) and list(sides)

        return list(await self.network.until(shown))


@pytest.fixture
async def street(network: Network) -> Street:
    for seller in ("bpp-east", "bpp-west"):
        await network.open_shop(seller, f"roof-{seller}", {**OFFER, "offer_id": f"offer-{seller}"})
    accounts = []
    for name in ("Anna", "Ben"):
        account_id = await network.new_account(name, deposit_minor=1_000)
        await network.buyer.node.call("PUT", f"/api/accounts/{account_id}/meter", {"meter_id": f"home-of-{name}"})
        accounts.append(account_id)
    return Street(network, *accounts)


async def test_every_contract_settles_at_the_lesser_of_its_two_meters(street: Street) -> None:
    contracts = {
        (name, seller): await street.buy(account_id, seller, 1000, 2000)
        for name, account_id in (("anna", street.anna), ("ben", street.ben))
        for seller in ("bpp-east", "bpp-west")
    }
    await street.network.trade_at(OVER)
    await street.exported("bpp-east", 2000, 3000)  # short in the second hour: 1,500 Wh for each
    await street.exported("bpp-west", 9000, 9000)
    await street.imported(street.anna, 1000, 9000)  # short in the first hour: 500 Wh from each
    await street.imported(street.ben, 9000, 9000)
    settled = {names: await street.settled(order) for names, order in contracts.items()}
    assert settled == {
        ("anna", "bpp-east"): ([500, 1500], 500 * 22 + 1500 * 23),
        ("anna", "bpp-west"): ([500, 2000], 500 * 22 + 2000 * 23),
        ("ben", "bpp-east"): ([1000, 1500], 1000 * 22 + 1500 * 23),
        ("ben", "bpp-west"): ([1000, 2000], 1000 * 22 + 2000 * 23),
    }
    await network_agreement.check_letters(street.network)
    await network_agreement.check_orders(street.network)
    owed = await network_agreement.check_money(street.network, deposited_minor=2_000)
    assert owed == sum(total for _, total in settled.values())


async def test_corrected_readings_of_either_side_settle_again_on_both(street: Street) -> None:
    anna, ben = await street.buy(street.anna, "bpp-east", 1000), await street.buy(street.ben, "bpp-east", 1000)
    await street.network.trade_at(OVER)
    for account_id in (street.anna, street.ben):
        await street.imported(account_id, 900)
    await street.exported("bpp-east", 1000)
    assert await street.settled(anna) == ([500], 11_000)
    await street.exported("bpp-east", 1600)
    assert await street.settled(anna, version=2) == ([800], 17_600)
    assert await street.settled(ben, version=2) == ([800], 17_600)
    await street.imported(street.anna, 300)
    assert await street.settled(anna, version=3) == ([300], 6_600)
    ours, theirs = await street.both(anna)
    assert [side["version"] for side in ours["superseded"]] == [1, 2]
    assert [side["total_milli"] for side in theirs["superseded"]] == [11_000, 17_600]
    assert await network_agreement.check_money(street.network, deposited_minor=2_000) == 24_200


async def test_a_side_that_stays_silent_counts_as_zero_and_no_escrow_waits(street: Street) -> None:
    sold, bought = await street.buy(street.anna, "bpp-east", 1000), await street.buy(street.ben, "bpp-west", 1000)
    await street.network.trade_at(OVER)
    await street.exported("bpp-east", 1000)
    await street.imported(street.ben, 1000)
    await street.network.trade_at(OVER + timedelta(days=2))
    await street.network.work()
    assert await street.settled(sold) == ([0], 0)
    assert await street.settled(bought) == ([0], 0)
    assert await network_agreement.check_money(street.network, deposited_minor=2_000) == 0


async def test_a_person_objects_and_an_operator_decides_and_both_books_agree(street: Street) -> None:
    order = await street.buy(street.anna, "bpp-east", 1000)
    await street.network.trade_at(OVER)
    await street.imported(street.anna, 700)
    await street.exported("bpp-east", 1000)
    assert await street.settled(order) == ([700], 15_400)
    seller = street.network["bpp-east"].operator
    theirs = (await street.both(order))[1]
    opened = await seller.post(f"/api/orders/{theirs['order_id']}/disputes", {"reason": "Our meter was replaced."})
    ours, theirs = await street.state(order, "DISPUTED")
    assert ours["dispute"]["dispute_id"] == opened["dispute_id"] == theirs["dispute"]["dispute_id"]
    assert ours["dispute"]["reason"] == "Our meter was replaced."
    with pytest.raises(Refused):
        await seller.post(f"/api/orders/{theirs['order_id']}/disputes", {"reason": "Once more."})
    end = f"/api/disputes/{opened['dispute_id']}/resolve"
    await seller.post(end, {"outcome": "WITHDRAW", "note": "It was right after all."})
    ours, theirs = await street.state(order, "COMPLETED")
    assert {side["dispute"]["resolution"] for side in (ours, theirs)} == {"WITHDRAW"}
    assert await network_agreement.check_money(street.network, deposited_minor=2_000) == 15_400


async def test_a_dispute_that_nobody_decides_lapses_on_both_sides(street: Street) -> None:
    order = await street.buy(street.anna, "bpp-east", 1000)
    await street.network.trade_at(OVER)
    await street.imported(street.anna, 700)
    await street.exported("bpp-east", 1000)
    await street.settled(order)
    opened = await street.network.buyer.node.post(
        f"/api/orders/{order['order_id']}/disputes", {"reason": "The lights were out."}
    )
    await street.state(order, "DISPUTED")
    listed = await every(street.network["bpp-east"].operator, "/api/disputes", state="OPEN")
    assert [entry["dispute_id"] for entry in listed] == [opened["dispute_id"]]
    await street.network.trade_at(OVER + timedelta(days=15))
    await street.network.work()
    ours, theirs = await street.state(order, "COMPLETED")
    assert {side["dispute"]["resolution"] for side in (ours, theirs)} == {"LESSER"}
    assert await network_agreement.check_money(street.network, deposited_minor=2_000) == 15_400


@pytest.mark.parametrize("who", ["seller", "buyer", "both at once"])
async def test_figures_that_differ_are_disputed_and_whoever_gives_in_both_books_agree(street: Street, who: str) -> None:
    order = await street.buy(street.anna, "bpp-east", 1000)
    seller, buyer = street.network["bpp-east"], street.network.bap.operator
    await seller.rows(  # the seller's node takes it into its head that the price was 0.30
        "UPDATE orders SET document = jsonb_set(document, '{price_micro_per_kwh,values}', '[300000]')"
        " WHERE wire_order_id = $1 RETURNING 1",
        order["wire_order_id"],
    )
    await street.network.trade_at(OVER)
    await street.imported(street.anna, 1000)
    await street.exported("bpp-east", 1000)
    ours, theirs = await street.state(order, "DISPUTED")
    for side in (ours, theirs):
        dispute = side["dispute"]
        assert (dispute["buyer_total_milli"], dispute["seller_total_milli"]) == (22_000, 32_000)
        assert dispute["reason"] == "The seller's settlement differs from ours."
    path, decision = f"/api/disputes/{ours['dispute']['dispute_id']}/resolve", {"outcome": "ACCEPT_THEIRS", "note": "x"}
    sides = {"seller": [seller.operator], "buyer": [buyer]}.get(who, [seller.operator, buyer])
    await asyncio.gather(*(side.post(path, decision) for side in sides), return_exceptions=True)
    await street.state(order, "COMPLETED")

    async def agreed() -> Any:
        shown = [side["settlement"]["total_milli"] for side in await street.both(order)]
        return shown[0] == shown[1] and shown

    await street.network.until(agreed)
    owed = await network_agreement.check_money(street.network, deposited_minor=2_000)
    assert owed == {"seller": 22_000, "buyer": 32_000}.get(who, owed)
    assert owed in (22_000, 32_000)
