"""A contract's life at the buyer's node: changed, cancelled, delivered, settled, asked about, rated; refusals first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bap import jobs
from tests.support.buyer_rig import OPERATOR, BuyerRig, buyer_rig
from tests.support.trade_cases import SLOT_START, hours
from trade.order import OrderState
from trade.quote import LineKind, QuoteLine

QUOTED_MILLI = 68_000


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url) as running:
        yield running


def energy(*values: int) -> dict[str, Any]:
    return {"energy": {"start": SLOT_START.isoformat(), "slot_s": 3600, "energy_wh": list(values)}}


async def move_clock(rig: BuyerRig, instant: Any) -> None:
    answer = await rig.client.put("/api/clock", json={"trading_time": instant.isoformat()}, headers=OPERATOR)
    assert answer.status_code == 200, answer.text


async def assert_books_balance(rig: BuyerRig) -> None:
    proof = (await rig.client.get("/api/ledger/proof", headers=OPERATOR)).json()
    assert proof["balanced"], proof


# --- Changes ---------------------------------------------------------------------------------------------------------


async def test_a_draft_cannot_be_updated_cancelled_tracked_or_rated(rig: BuyerRig) -> None:
    order = await rig.order("init")
    for step, body in (
        ("update", energy(1, 1)),
        ("cancel", {"reason_id": "1"}),
        ("track", {}),
        ("status", {}),
        ("support", {}),
        ("rating", {"category": "Order", "value": "5"}),
    ):
        answer = await rig.post(f"/api/orders/{order['order_id']}/{step}", body)
        assert answer.status_code == 409, (step, answer.text)


async def test_a_refused_update_leaves_contract_and_escrow(rig: BuyerRig) -> None:
    order = await rig.order()
    rig.seller.script["update"] = rig.seller.refusing("50002", "The gate has closed.")
    answer = (await rig.post(f"/api/orders/{order['order_id']}/update", energy(1000, 2000))).json()
    assert answer["contracted"]["energy_wh"] == [1000, 2000]
    assert answer["last_refusal"]["sentence"] == "The gate has closed."
    assert await rig.wallet() == (10_000_000 - QUOTED_MILLI, QUOTED_MILLI)


async def test_an_update_that_the_wallet_cannot_pay_is_402_and_sends_nothing(rig: BuyerRig) -> None:
    rig.account_id = await rig.new_account(QUOTED_MILLI // 1000)
    rig.seller.offer = replace(rig.seller.offer, offered_wh=hours(9000, 9000, 9000))
    order = await rig.order()
    answer = await rig.post(f"/api/orders/{order['order_id']}/update", energy(9000, 9000))
    assert answer.status_code == 402
    assert rig.seller.heard[-1]["context"]["action"] == "confirm"
    assert not (await rig.shown(order["order_id"]))["awaiting_answer"]


async def test_an_update_reserves_more_or_gives_back_and_takes_the_sellers_answer(rig: BuyerRig) -> None:
    order = await rig.order()
    path = f"/api/orders/{order['order_id']}/update"
    more = (await rig.post(path, energy(3000, 2000))).json()
    assert (more["contracted"]["energy_wh"], more["awaiting_answer"]) == ([3000, 2000], False)
    assert await rig.wallet() == (10_000_000 - more["quote"]["total_milli"], more["quote"]["total_milli"])
    assert more["quote"]["total_milli"] == 60_000 + 42_000 + 10_000
    less = (await rig.post(path, energy(1000, 0))).json()
    assert await rig.wallet() == (10_000_000 - 22_000, 22_000)
    assert less["quote"]["total_milli"] == 22_000
    await assert_books_balance(rig)


async def test_a_second_update_waits_for_the_first_and_a_lost_answer_is_asked_for(rig: BuyerRig) -> None:
    order = await rig.order()
    path = f"/api/orders/{order['order_id']}/update"

    async def change_silently(request: dict[str, Any]) -> None:
        rig.seller.become(contracted_wh=hours(3000, 2000))
        rig.seller.become(quote=rig.seller.quote_of(rig.seller.order))

    rig.seller.script["update"] = change_silently
    assert (await rig.post(path, energy(3000, 2000), wait=0.1)).json()["awaiting_answer"]
    assert (await rig.post(path, energy(500, 500))).status_code == 409
    rig.clock.shift = timedelta(seconds=61)
    await jobs.chase_unanswered(rig.node)
    async with asyncio.timeout(5):
        while (await rig.shown(order["order_id"]))["awaiting_answer"]:
            await asyncio.sleep(0.01)
    assert (await rig.shown(order["order_id"]))["contracted"]["energy_wh"] == [3000, 2000]
    assert (await rig.wallet())[1] == 112_000


async def test_a_curtailment_comes_unasked_and_a_raise_is_not_taken(rig: BuyerRig) -> None:
    order = await rig.order()
    rig.seller.become(contracted_wh=hours(1000, 500))
    rig.seller.become(quote=rig.seller.quote_of(rig.seller.order))
    await rig.seller.tell("on_update")
    await rig.processed()
    shown = await rig.shown(order["order_id"])
    assert shown["contracted"]["energy_wh"] == [1000, 500]
    assert await rig.wallet() == (10_000_000 - shown["quote"]["total_milli"], shown["quote"]["total_milli"])

    rig.seller.become(contracted_wh=hours(5000, 5000))
    await rig.seller.tell("on_update")
    await rig.processed()
    assert (await rig.shown(order["order_id"]))["contracted"]["energy_wh"] == [1000, 500]
    kinds = await rig.events(f"order:{order['order_id']}")
    assert kinds[-2:] == ["order.curtailed", "order.change_ignored"]
    await assert_books_balance(rig)


# --- Cancelling ------------------------------------------------------------------------------------------------------


async def test_a_cancel_after_delivery_began_is_409(rig: BuyerRig) -> None:
    order = await rig.order()
    await move_clock(rig, SLOT_START + timedelta(seconds=1))
    assert (await rig.shown(order["order_id"]))["state"] == "DELIVERING"
    answer = await rig.post(f"/api/orders/{order['order_id']}/cancel", {"reason_id": "1"})
    assert answer.status_code == 409


async def test_a_cancel_the_seller_refuses_leaves_the_contract(rig: BuyerRig) -> None:
    order = await rig.order()
    rig.seller.script["cancel"] = rig.seller.refusing("50001", "Too late.")
    answer = (await rig.post(f"/api/orders/{order['order_id']}/cancel", {"reason_id": "1"})).json()
    assert (answer["state"], answer["last_refusal"]["sentence"]) == ("ACTIVE", "Too late.")


async def test_a_free_cancel_gives_everything_back(rig: BuyerRig) -> None:
    order = await rig.order()
    answer = (await rig.post(f"/api/orders/{order['order_id']}/cancel", {"reason_id": "1"})).json()
    assert (answer["state"], answer["cancelled_by"]) == ("CANCELLED", "CONSUMER")
    assert await rig.wallet() == (10_000_000, 0)
    again = await rig.post(f"/api/orders/{order['order_id']}/cancel", {"reason_id": "1"})
    assert again.json()["state"] == "CANCELLED"
    await assert_books_balance(rig)


async def test_a_cancel_at_a_fee_pays_the_fee_and_one_above_the_terms_is_disputed(rig: BuyerRig) -> None:
    for fee_milli, paid in ((15_500, True), (15_501, False)):
        order = await rig.order()
        await move_clock(rig, SLOT_START - timedelta(hours=2))

        async def charge(request: dict[str, Any], fee_milli: int = fee_milli) -> None:
            quote = rig.seller.become(state=OrderState.CANCELLED, cancelled_by="CONSUMER").quote
            assert quote is not None
            line = QuoteLine(LineKind.CANCELLATION_FEE, "DISCOM_FEES", fee_milli)
            rig.seller.become(quote=replace(quote, lines=(line,)))
            await rig.seller.tell("on_cancel", request=request)

        rig.seller.script["cancel"] = charge
        answer = (await rig.post(f"/api/orders/{order['order_id']}/cancel", {"reason_id": "1"})).json()
        assert answer["state"] == ("CANCELLED" if paid else "DISPUTED")
        assert (answer["cancellation"]["by"], answer["cancellation"]["fee_milli"]) == ("CONSUMER", fee_milli)
        assert (answer["dispute"] is None) == paid
        assert await rig.wallet() == (
            (10_000_000 - 15_500, 0) if paid else (10_000_000 - 15_500 - QUOTED_MILLI, QUOTED_MILLI)
        )
    await assert_books_balance(rig)


async def test_a_seller_that_cancels_gets_nothing(rig: BuyerRig) -> None:
    order = await rig.order()
    rig.seller.become(state=OrderState.CANCELLED, cancelled_by="PROVIDER")
    assert await rig.seller.tell("on_cancel") == 200
    shown = await rig.until(order["order_id"], "CANCELLED")
    # The seller's quote still shows the energy, but no fee: nothing is owed.
    assert (shown["cancelled_by"], shown["dispute"]) == ("PROVIDER", None)
    assert await rig.wallet() == (10_000_000, 0)


async def test_an_unanswered_cancel_is_asked_about_and_a_contract_that_stands_ends_the_wait(rig: BuyerRig) -> None:
    order = await rig.order()
    rig.seller.script["cancel"] = None
    answer = (await rig.post(f"/api/orders/{order['order_id']}/cancel", {"reason_id": "1"}, wait=0.05)).json()
    assert answer["state"] == "CANCELLING"
    rig.clock.shift = timedelta(seconds=61)
    await jobs.chase_unanswered(rig.node)
    await rig.until(order["order_id"], "ACTIVE")


# --- Settling --------------------------------------------------------------------------------------------------------


async def test_an_agreed_settlement_pays_the_seller_and_returns_the_rest(rig: BuyerRig) -> None:
    order = await rig.order()
    await move_clock(rig, SLOT_START + timedelta(hours=3))
    rig.seller.settle(hours(900, 2500))
    for _ in range(2):  # the seller repeats itself
        assert await rig.seller.tell("on_status") == 200
    shown = await rig.until(order["order_id"], "COMPLETED")
    assert shown["settlement"]["delivered"]["energy_wh"] == [900, 2000]
    assert shown["settlement"]["total_milli"] == 18_000 + 42_000 + 5_800
    assert await rig.wallet() == (10_000_000 - 65_800, 0)
    [payable] = await rig.rows("SELECT balance_milli FROM ledger_accounts WHERE account = 'payable:bpp.example'")
    assert payable["balance_milli"] == 65_800
    await assert_books_balance(rig)


async def test_a_settlement_that_differs_is_disputed_and_escrow_stays_until_both_agree(rig: BuyerRig) -> None:
    order = await rig.order()
    await move_clock(rig, SLOT_START + timedelta(hours=3))
    assert rig.seller.order is not None and rig.seller.order.quote is not None
    rig.seller.settle(hours(900, 2000), lines=rig.seller.order.quote.lines, flows=())
    await rig.seller.tell("on_status")
    shown = await rig.until(order["order_id"], "DISPUTED")
    dispute = shown["dispute"]
    assert (dispute["buyer_total_milli"], dispute["seller_total_milli"]) == (65_800, QUOTED_MILLI)
    assert (dispute["opened_by"], dispute["resolution"]) == ("BUYER", "")
    assert dispute["reason"] == "The seller's settlement differs from ours."
    assert await rig.wallet() == (10_000_000 - QUOTED_MILLI, QUOTED_MILLI)

    rig.seller.settle(hours(1000, 2000))
    await rig.seller.tell("on_status")
    shown = await rig.until(order["order_id"], "COMPLETED")
    assert shown["dispute"]["resolution"] == "AGREED"
    assert (await rig.wallet())[1] == 0


async def test_a_completion_heard_before_any_confirmation_settles_the_order(rig: BuyerRig) -> None:
    order = await rig.order("init")
    rig.seller.script["confirm"] = None
    await rig.post(f"/api/orders/{order['order_id']}/confirm", wait=0.05)
    async with asyncio.timeout(5):
        while rig.seller.heard[-1]["context"]["action"] != "confirm":
            await asyncio.sleep(0.01)
    rig.seller.order = rig.seller._drafted(rig.seller.last("confirm"), OrderState.ACTIVE)
    await move_clock(rig, SLOT_START + timedelta(hours=3))
    rig.seller.settle(hours(1000, 2000))
    await rig.seller.tell("on_status")
    await rig.until(order["order_id"], "COMPLETED")
    assert (await rig.wallet())[1] == 0


async def test_an_order_whose_settlement_is_late_is_asked_about(rig: BuyerRig) -> None:
    order = await rig.order()
    await move_clock(rig, SLOT_START + timedelta(days=2))
    rig.seller.settle(hours(1000, 2000))
    await jobs.ask_about_late_settlements(rig.node)
    assert (await rig.shown(order["order_id"]))["state"] == "DELIVERING"  # it was touched less than an hour ago
    rig.clock.shift = timedelta(hours=2)
    await jobs.ask_about_late_settlements(rig.node)
    await rig.until(order["order_id"], "COMPLETED")


# --- Questions -------------------------------------------------------------------------------------------------------


async def test_track_support_and_rating_bring_the_sellers_answers(rig: BuyerRig) -> None:
    order = await rig.order()
    path = f"/api/orders/{order['order_id']}"
    assert (await rig.post(f"{path}/track")).json()["tracking"] == {
        **(await rig.shown(order["order_id"]))["tracking"],
        "url": "https://example.com/track/1",
        "status": "active",
    }
    assert (await rig.post(f"{path}/support")).json()["support"]["phone"] == "+15550100"
    rated = (await rig.post(f"{path}/rating", {"category": "Order", "value": "4.5"})).json()
    assert rated["ratings"] == [{"category": "Order", "value": "4.5"}]
    assert rated["feedback_form"]["url"] == "https://example.com/form"
    assert rig.seller.last("support")["message"]["support"]["phone"] == "+4915112345"


async def test_a_question_the_seller_does_not_answer_is_told(rig: BuyerRig) -> None:
    order = await rig.order()
    rig.seller.script["track"] = rig.seller.refusing("40005", "No tracking here.")
    shown = (await rig.post(f"/api/orders/{order['order_id']}/track")).json()
    assert shown["last_refusal"] == {**shown["last_refusal"], "action": "on_track", "sentence": "No tracking here."}
    assert shown["state"] == "ACTIVE"


@pytest.mark.parametrize("value", ["6", "-1", "good", "5.5", ""])
async def test_a_rating_outside_0_to_5_is_422(rig: BuyerRig, value: str) -> None:
    answer = await rig.post("/api/orders/any/rating", {"category": "Order", "value": value})
    assert answer.status_code == 422


async def test_a_tracking_url_that_is_none_of_the_webs_is_not_passed_on(rig: BuyerRig) -> None:
    import bpp.translate as wire

    async def sly(request: dict[str, Any]) -> None:
        assert rig.seller.order is not None
        message = wire.tracking_to_wire(rig.seller.order, url="https://x")
        message["tracking"]["url"] = "javascript:alert(1)"
        await rig.seller.send("on_track", message, request=request)

    order = await rig.order()
    rig.seller.script["track"] = sly
    shown = (await rig.post(f"/api/orders/{order['order_id']}/track")).json()
    assert shown["tracking"]["url"] == ""


async def test_a_sellers_lists_are_asked_for_and_kept(rig: BuyerRig) -> None:
    seller_id = rig.seller.who.subscriber_id
    reasons = (await rig.post(f"/api/sellers/{seller_id}/cancellation_reasons")).json()
    assert reasons["items"][0] == {"id": "1", "name": "No longer needed"}
    categories = (await rig.post(f"/api/sellers/{seller_id}/rating_categories", wait=0)).json()
    assert categories["items"] is None
    path = f"/api/sellers/{seller_id}/answers/{categories['message_id']}"
    async with asyncio.timeout(5):
        while (kept := (await rig.get(path)).json())["items"] is None:
            await asyncio.sleep(0.01)
    assert [item["id"] for item in kept["items"]] == ["Order", "Provider"]
    other = await rig.new_app("other")
    assert (await rig.client.get(path, headers=other)).status_code == 404


async def test_a_seller_that_refuses_a_question_at_the_door_ends_the_wait(rig: BuyerRig) -> None:
    rig.seller.nack = {"get_cancellation_reasons"}
    answer = (await rig.post(f"/api/sellers/{rig.seller.who.subscriber_id}/cancellation_reasons")).json()
    assert "not today" in answer["refusal"]["sentence"]
