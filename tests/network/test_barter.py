"""Energy for energy, energy for carbon: orders paid in credits go the way every order goes, through the same code.

Anna's account is in dollars. She also holds energy credits (XWH, counted in kWh) and carbon credits (XCO, in kgCO2e).
Home 7 sells one offer for each; what she pays with follows from the offer, and each wallet stands for itself.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from api.client import BuyerApi, Refused
from tests.support.network_agreement import every, under_way
from tests.support.network_rig import Network
from tests.support.seller_rig import offer_json
from tests.support.trade_cases import SLOT_START, an_offer, hours

WAIT_S = 5
#: Per kWh: nine tenths of a kilowatt-hour later for one now, or 350 grams of carbon credits. The grid takes a fiftieth.
ENERGY_PRICE, CARBON_PRICE, WHEELING = 900_000, 350_000, 20_000


def offer_in(currency: str, price_micro: int) -> dict[str, Any]:
    offer = an_offer(
        offer_id=f"offer-{currency}",
        currency=currency,
        price_micro_per_kwh=hours(price_micro, price_micro, price_micro),
        wheeling_micro_per_kwh=WHEELING,
    )
    return offer_json(replace(offer, offered_wh=hours(400, 400, 400)))


def energy(*wh: int) -> dict[str, Any]:
    return {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": list(wh)}


async def held(network: Network, account_id: str) -> dict[str, tuple[int, int]]:
    """What is free and what is reserved, by currency."""
    account = await network.buyer.account(account_id)
    return {each["currency"]: (each["balance_milli"], each["reserved_milli"]) for each in account["balances"]}


async def contract(network: Network, anna: str, currency: str) -> dict[str, Any]:
    found = await network.buyer.search({"account_id": anna}, wait_s=WAIT_S, offers=3)
    (offer,) = [offer for offer in found["offers"] if offer["currency"] == currency]
    order = await network.buyer.order(anna, found, offer, energy(333, 400), wait_s=WAIT_S)
    assert order["state"] == "QUOTED", order
    order = await network.buyer.act(order["order_id"], "init", wait_s=WAIT_S)
    return await network.buyer.act(order["order_id"], "confirm", wait_s=WAIT_S)


@pytest.fixture
async def anna(network: Network) -> str:
    await network.open_shop("bpp-solo", "home-7", offer_in("XWH", ENERGY_PRICE), offer_in("XCO", CARBON_PRICE))
    return await network.new_account("Anna", deposit_minor=100)


async def test_dollars_do_not_pay_for_what_is_sold_for_credits(network: Network, anna: str) -> None:
    with pytest.raises(Refused) as refusal:
        await contract(network, anna, "XWH")
    assert refusal.value.status == 402
    assert await held(network, anna) == {"USD": (100_000, 0)}


async def test_orders_in_energy_and_carbon_credits_are_traded_and_settled_like_any_other(
    network: Network, anna: str
) -> None:
    operator = BuyerApi(network.bap.operator)
    await operator.deposit(anna, amount_minor=2_000, reference="energy", currency="XWH")
    await operator.deposit(anna, amount_minor=1_000, reference="carbon", currency="XCO")
    for_energy = await contract(network, anna, "XWH")
    for_carbon = await contract(network, anna, "XCO")
    assert for_energy["state"] == for_carbon["state"] == "ACTIVE"

    # 733 Wh: 0.6597 kWh and 0.01466 kWh of wheeling; 0.25655 kg and 0.01466 kg.
    assert for_energy["quote"]["total_milli"] == 659_700 + 14_660
    assert for_carbon["quote"]["total_milli"] == 256_550 + 14_660
    assert await held(network, anna) == {
        "USD": (100_000, 0),
        "XCO": (1_000_000 - 271_210, 271_210),
        "XWH": (2_000_000 - 674_360, 674_360),
    }

    # The meter delivers half of what both contracts asked for in the second hour.
    await network.trade_at(SLOT_START + timedelta(hours=2))
    readings = [
        {"starts_at": "2016-08-02T15:00:00Z", "energy_wh": 666},
        {"starts_at": "2016-08-02T16:00:00Z", "energy_wh": 400},
    ]
    body = {"flow": "EXPORT", "slot_s": 3600, "readings": readings}
    await network.seller("bpp-solo").read_meter("meter-of-home-7", body)

    async def are_completed() -> bool:
        orders = [await network.buyer.get_order(order["order_id"]) for order in (for_energy, for_carbon)]
        return all(order["state"] == "COMPLETED" for order in orders)

    await network.until(are_completed)
    # 533 Wh each.
    paid_energy, paid_carbon = 479_700 + 10_660, 186_550 + 10_660
    assert await held(network, anna) == {
        "USD": (100_000, 0),
        "XCO": (1_000_000 - paid_carbon, 0),
        "XWH": (2_000_000 - paid_energy, 0),
    }
    earned = await network.seller("bpp-solo").balance("home-7")
    assert earned["items"] == [
        {"currency": "XCO", "balance_milli": 186_550},
        {"currency": "XWH", "balance_milli": 479_700},
    ]
    assert await under_way(network) == []
    await network.check_books()
    for order in (for_energy, for_carbon):
        owed = [
            entry["owed_milli"]
            for member in (network.bap, network["bpp-solo"])
            for entry in await every(member.operator, "/api/ledger/orders")
            if entry["wire_order_id"] == order["wire_order_id"]
        ]
        assert owed == [paid_energy if order is for_energy else paid_carbon] * 2
