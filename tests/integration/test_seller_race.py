"""Fifty buyers want the same ten kWh at once: exactly ten kWh are sold, whoever gets them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bpp import jobs
from tests.support.seller_rig import Seller, running_seller, wanted
from tests.support.trade_cases import an_offer, hours
from trade.order import Order


async def buy(seller: Seller, order: Order) -> bool:
    """init and confirm, each of which may be refused."""
    letter = await seller.init(order)
    if "error" in letter:
        assert letter["error"]["code"] == "40002"
        return False
    total = letter["message"]["order"]["quote"]["price"]["value"]
    assert total == "0.22"
    held = await seller.held(order)  # said twice: a repeat replaces the hold
    first, second = await asyncio.gather(seller.confirm(held), seller.confirm(held))
    assert "error" not in first and "error" not in second
    return True


async def test_fifty_buyers_for_ten_kwh_buy_exactly_ten_kwh(database_url: str) -> None:
    async with running_seller(database_url) as seller:
        await seller.open_shop(an_offer(offered_wh=hours(4000, 6000), order_wh_max=10_000))
        orders = [
            wanted(1000, 0) if number % 2 else wanted(0, 1000, price_micro_per_kwh=hours(0, 0)) for number in range(50)
        ]
        prices = {"flat_price_per_kwh": "0.2"}
        await seller.asked("PATCH", "/api/offers/offer-1", {"price": prices})
        bought = await asyncio.gather(*(buy(seller, order) for order in orders))
        assert sum(bought) == 10
        offer = await seller.asked("GET", "/api/offers/offer-1")
        assert offer["sold"]["energy_wh"] == [4000, 6000]
        assert offer["held"]["energy_wh"] == [0, 0]
        active = (await seller.asked("GET", "/api/orders?state=ACTIVE&limit=100"))["items"]
        assert sum(sum(item["contracted"]["energy_wh"]) for item in active) == 10_000


async def test_a_lapsing_hold_and_a_confirm_of_it_never_both_win(database_url: str) -> None:
    """The expiry job runs against confirms of the same quotes: every order ends sold or free, never both."""
    async with running_seller(database_url) as seller:
        await seller.open_shop(an_offer(offered_wh=hours(10_000), order_wh_max=10_000))
        held = [await seller.held(wanted(1000)) for _ in range(10)]
        async with seller.node.database.unit_of_work() as uow:  # half of the quotes have run out
            await uow.connection.execute(
                "UPDATE orders SET quote_expires_at = now() - interval '1 s' WHERE order_id IN"
                " (SELECT order_id FROM orders ORDER BY order_id LIMIT 5)"
            )
        answers, _ = await asyncio.gather(
            asyncio.gather(*(seller.confirm(replace(order)) for order in held)), jobs.expire_quotes(seller.shop)
        )
        sold = sum("error" not in answer for answer in answers)
        offer = await seller.asked("GET", "/api/offers/offer-1")
        assert offer["sold"]["energy_wh"] == [1000 * sold]
        assert offer["held"]["energy_wh"] == [0]
        assert 5 <= sold <= 10
