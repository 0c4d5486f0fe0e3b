"""What a seller does by itself: quotes lapse, deliveries begin, meters are settled; once, even in two replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

import bap.translate as wire
from bpp import jobs
from bpp.shelf import Faces
from bpp.shop import Shop
from store import readings, transfers
from store.readings import Reading
from tests.support.seller_rig import Seller, run_jobs, running_seller, wanted
from tests.support.trade_cases import SLOT_START, an_offer, hours
from trade.order import Order

HOUR = timedelta(hours=1)


@pytest.fixture
async def seller(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url) as running:
        await running.open_shop(an_offer(offered_wh=hours(10_000, 10_000, 10_000), gate_closure_s=0))
        yield running


async def told(seller: Seller, action: str = "on_status") -> Any:
    letter = await seller.caught.letter(action)
    return letter["context"], wire.order_from_wire(letter["message"])


async def settled(seller: Seller, order: Order) -> dict[str, Any]:
    own = await seller.of_wire(order.wire_order_id)
    return own["settlement"] or {}


async def held_wh(seller: Seller) -> list[int]:
    offer = await seller.asked("GET", "/api/offers/offer-1")
    return list(offer["held"]["energy_wh"])


# --- Expiry ----------------------------------------------------------------------------------------------------------


async def test_an_unexpired_quote_keeps_its_energy(seller: Seller) -> None:
    await seller.held(wanted())
    assert await jobs.expire_quotes(seller.shop) == 0
    assert await held_wh(seller) == [1000, 2000, 0]


async def test_expired_quotes_are_released_in_batches_and_only_once(database_url: str) -> None:
    async with running_seller(database_url, job_batch_max=2) as seller:
        await seller.open_shop()
        for _ in range(5):
            await seller.held(wanted(100))
        seller.clock.shift += timedelta(seconds=301)
        replicas = [Shop(seller.node, seller.shop.settings, Faces()) for _ in range(2)]
        assert sum(await asyncio.gather(*(jobs.expire_quotes(replica) for replica in replicas))) == 5
        assert await jobs.expire_quotes(seller.shop) == 0
        assert await held_wh(seller) == [0, 0, 0]
        states = {item["state"] for item in (await seller.asked("GET", "/api/orders"))["items"]}
        assert states == {"EXPIRED"}


async def test_a_session_whose_quote_expired_can_init_and_confirm_again(seller: Seller) -> None:
    order = await seller.held(wanted())
    seller.clock.shift += timedelta(seconds=301)
    await run_jobs(seller)
    assert (await seller.confirm(order))["error"]["code"] == "40003"
    contract = await seller.contract(order)
    assert contract.wire_order_id == order.order_id


async def test_the_expiry_job_wakes_by_itself(database_url: str) -> None:
    async with running_seller(database_url, expire_every_s=0.1) as seller:
        await seller.open_shop()
        await seller.held(wanted())
        seller.clock.shift += timedelta(seconds=301)
        async with asyncio.timeout(5):
            while await held_wh(seller) != [0, 0, 0]:
                await asyncio.sleep(0.05)


# --- Delivery --------------------------------------------------------------------------------------------------------


async def test_moving_the_clock_into_delivery_tells_the_buyer_once(seller: Seller) -> None:
    order = await seller.contract()
    await seller.move_clock(SLOT_START - timedelta(seconds=1))
    assert seller.caught.letters == []
    await seller.move_clock(SLOT_START)
    context, view = await told(seller)
    assert (view.wire_order_id, view.detail_state) == (order.wire_order_id, "DELIVERING")
    assert context["transaction_id"] == order.transaction_id
    await seller.move_clock(SLOT_START + HOUR)
    await run_jobs(seller)
    assert seller.caught.letters == []


async def test_a_buyer_that_left_the_registry_does_not_stop_the_job(seller: Seller) -> None:
    order = await seller.contract()
    seller.node.directory.records.clear()  # type: ignore[attr-defined]
    await seller.move_clock(SLOT_START)
    assert (await seller.of_wire(order.wire_order_id))["state"] == "DELIVERING"
    assert seller.caught.letters == []


# --- Settlement ------------------------------------------------------------------------------------------------------


async def test_nothing_is_settled_before_its_slots_are_over_and_measured(seller: Seller) -> None:
    order = await seller.contract()
    await seller.move_clock(SLOT_START + HOUR)
    await seller.measure(900, start=SLOT_START)
    await seller.move_clock(SLOT_START + 2 * HOUR)
    assert not await settled(seller, order)
    await seller.measure(1500, start=SLOT_START + HOUR)
    assert (await settled(seller, order))["delivered"]["energy_wh"] == [900, 1500]


async def test_late_readings_settle_at_once_and_pay_provider_and_utility(seller: Seller) -> None:
    order = await seller.contract()
    await seller.move_clock(SLOT_START + 30 * HOUR)
    await told(seller)
    await seller.measure(800, 2500, start=SLOT_START)
    _, view = await told(seller)
    assert (view.status, view.detail_state, view.payment_status) == ("COMPLETE", "COMPLETED", "PAID")
    assert view.metered_wh == hours(800, 2000)
    assert view.total_milli == 63_600
    assert (await seller.of_wire(order.wire_order_id))["state"] == "COMPLETED"
    balance = await seller.asked("GET", "/api/providers/home-7/balance")
    assert balance["items"] == [{"currency": "USD", "balance_milli": 58_000}]
    async with seller.node.database.unit_of_work() as uow:
        assert await transfers.balance(uow, "utility", "USD") == 5_600
        assert await transfers.balance(uow, "receivable:bap.example", "USD") == -63_600


async def test_a_short_meter_is_shared_by_all_orders_on_it(seller: Seller) -> None:
    one, two = await seller.contract(wanted(3000)), await seller.contract(wanted(1000, 500))
    await seller.move_clock(SLOT_START + 2 * HOUR)
    await seller.measure(2000, 9000, start=SLOT_START)
    assert (await settled(seller, one))["delivered"]["energy_wh"] == [1500]
    assert (await settled(seller, two))["delivered"]["energy_wh"] == [500, 500]


async def test_an_order_that_ends_earlier_is_settled_earlier_and_the_rest_stays_fair(seller: Seller) -> None:
    one, two = await seller.contract(wanted(1000)), await seller.contract(wanted(1000, 1000))
    await seller.move_clock(SLOT_START + HOUR)
    await seller.measure(1000, start=SLOT_START)
    assert (await settled(seller, one))["delivered"]["energy_wh"] == [500]
    assert not await settled(seller, two)
    await seller.move_clock(SLOT_START + 2 * HOUR)
    await seller.measure(700, start=SLOT_START + HOUR)
    assert (await settled(seller, two))["delivered"]["energy_wh"] == [500, 700]


async def test_a_correction_counts_before_settlement_and_settles_again_after_it(seller: Seller) -> None:
    order = await seller.contract(wanted(1000, 1000))
    await seller.move_clock(SLOT_START + 3 * HOUR)
    await seller.measure(100, start=SLOT_START)
    assert (await seller.measure(400, start=SLOT_START))["corrected"] == 1
    await seller.measure(1000, start=SLOT_START + HOUR)
    assert (await settled(seller, order))["delivered"]["energy_wh"] == [400, 1000]
    await seller.measure(900, start=SLOT_START)
    await run_jobs(seller)
    assert (await settled(seller, order))["delivered"]["energy_wh"] == [900, 1000]
    assert (await settled(seller, order))["version"] == 2


async def test_quarter_hours_add_up_to_the_hours_of_the_contract(seller: Seller) -> None:
    order = await seller.contract(wanted(1000))
    await seller.move_clock(SLOT_START + HOUR)
    await seller.measure(100, 200, 300, 150, start=SLOT_START, slot_s=900)
    assert (await settled(seller, order))["delivered"]["energy_wh"] == [750]


async def test_cancelled_orders_have_no_claim_on_the_meter(seller: Seller) -> None:
    one, two = await seller.contract(wanted(1000)), await seller.contract(wanted(1000))
    await seller.about("cancel", two, "001")
    await seller.move_clock(SLOT_START + HOUR)
    await seller.measure(1000, start=SLOT_START)
    assert (await settled(seller, one))["delivered"]["energy_wh"] == [1000]


async def test_what_a_provider_gives_up_midway_is_shared_by_the_others_also_by_those_settled_before(
    seller: Seller,
) -> None:
    one, two = await seller.contract(wanted(1000)), await seller.contract(wanted(1000, 1000))
    await seller.move_clock(SLOT_START + HOUR)
    await seller.measure(1000, start=SLOT_START)
    assert (await settled(seller, one))["delivered"]["energy_wh"] == [500]
    given_up = await seller.of_wire(two.wire_order_id)
    await seller.asked("POST", f"/api/orders/{given_up['order_id']}/cancel", {"reason": "storm"})
    await run_jobs(seller)
    again = await settled(seller, one)
    assert (again["version"], again["delivered"]["energy_wh"]) == (2, [1000])


async def test_two_replicas_settle_every_order_once_and_the_books_balance(database_url: str) -> None:
    async with running_seller(database_url, job_batch_max=3) as seller:
        await seller.open_shop(an_offer(offered_wh=hours(10_000), gate_closure_s=0))
        for _ in range(10):
            await seller.contract(wanted(1000))
        await seller.move_clock(SLOT_START + HOUR)
        async with seller.node.database.unit_of_work() as uow:
            await readings.add(uow, "meter-7", "EXPORT", [Reading(SLOT_START, 3600, 9000)], seller.clock.now())
        replicas = [Shop(seller.node, seller.shop.settings, Faces()) for _ in range(2)]
        await asyncio.gather(*(jobs.settle_due(replica) for replica in replicas))
        await jobs.settle_due(seller.shop)
        items = (await seller.asked("GET", "/api/orders"))["items"]
        assert [item["settlement"]["delivered"]["energy_wh"] for item in items] == [[900]] * 10
        proof = await seller.asked("GET", "/api/ledger/proof")
        assert proof["balanced"]
        assert proof["moved_milli"] == {"USD": 198_000}


async def test_tracking_shows_what_was_read_so_far(seller: Seller) -> None:
    order = await seller.contract()
    await seller.contract(wanted(1000))
    url = (await seller.about("track", order))["message"]["tracking"]["url"]
    await seller.move_clock(SLOT_START + HOUR)
    await seller.measure(1000, start=SLOT_START)
    followed = (await seller.api.get(url)).json()
    assert (followed["state"], followed["status"]) == ("DELIVERING", "active")
    assert followed["delivered"]["energy_wh"] == [500, None]
    await seller.move_clock(SLOT_START + 2 * HOUR)
    await seller.measure(1000, start=SLOT_START + HOUR)
    followed = (await seller.api.get(url)).json()
    assert (followed["status"], followed["delivered_wh"], followed["contracted_wh"]) == ("inactive", 1500, 3000)
