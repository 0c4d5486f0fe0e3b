"""An order on its way to a contract, over HTTP with a real database, against a scripted seller; refusals first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bap import jobs
from tests.support.buyer_rig import OTHER_BPP, PROVIDER, BuyerRig, buyer_rig
from tests.support.trade_cases import hours
from trade.money import Series
from trade.order import OrderState

#: 1 and 2 kWh at 0.20 and 0.21 and wheeling at 0.02.
QUOTED_MILLI = 20_000 + 42_000 + 6_000


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url) as running:
        yield running


async def problem(answer: Any, status: int) -> dict[str, Any]:
    """The error object of an answer that must have this status."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["sentence"]
    return error


# --- What is refused before anything is sent -------------------------------------------------------------------------


async def test_an_offer_that_no_search_found_is_404(rig: BuyerRig) -> None:
    choice = rig.choice(await rig.search()) | {"offer_id": "offer-2"}
    assert (await problem(await rig.post("/api/orders", choice), 404))["field"] == "offer_id"
    assert len(rig.seller.heard) == 1


async def test_an_order_needs_a_series_or_a_sum_and_not_both(rig: BuyerRig) -> None:
    choice = rig.choice(await rig.search())
    await problem(await rig.post("/api/orders", choice | {"energy_wh": 5}), 422)
    await problem(await rig.post("/api/orders", choice | {"energy": None}), 422)


@pytest.mark.parametrize("energy", [hours(1001, 0), hours(1, 1, 1, 1), Series(hours(1).start, 900, (5,))])
async def test_energy_the_offer_does_not_have_is_422(rig: BuyerRig, energy: Series) -> None:
    error = await problem(await rig.post("/api/orders", rig.choice(await rig.search(), energy)), 422)
    assert error["field"].startswith("energy")


async def test_confirm_is_refused_before_init_and_after_the_quote_expired(rig: BuyerRig) -> None:
    order = await rig.order("select")
    await problem(await rig.post(f"/api/orders/{order['order_id']}/confirm"), 409)
    order = (await rig.post(f"/api/orders/{order['order_id']}/init")).json()
    rig.clock.shift = timedelta(seconds=301)
    error = await problem(await rig.post(f"/api/orders/{order['order_id']}/confirm"), 409)
    assert "expired" in error["sentence"]
    assert await rig.wallet() == (10_000_000, 0)
    await jobs.expire_quotes(rig.node)
    assert (await rig.shown(order["order_id"]))["state"] == "EXPIRED"


async def test_confirm_without_the_money_is_402_and_changes_nothing(rig: BuyerRig) -> None:
    rig.account_id = await rig.new_account(QUOTED_MILLI // 1000 - 1)
    order = await rig.order("init")
    error = await problem(await rig.post(f"/api/orders/{order['order_id']}/confirm"), 402)
    assert error["balance_milli"] == {"USD": QUOTED_MILLI - 1000}
    assert (error["currency"], error["needed_milli"]) == ("USD", QUOTED_MILLI)
    assert (await rig.shown(order["order_id"]))["state"] == "INITIALISED"
    assert rig.seller.heard[-1]["context"]["action"] == "init"

    await rig.deposit(rig.account_id, 1, "second")
    assert (await rig.post(f"/api/orders/{order['order_id']}/confirm")).json()["state"] == "ACTIVE"
    assert await rig.wallet() == (0, QUOTED_MILLI)


async def test_a_seller_that_left_the_registry_is_503_and_nothing_is_kept(rig: BuyerRig) -> None:
    found = await rig.search()
    rig.directory.records = [r for r in rig.directory.records if r.type != "BPP"]
    await problem(await rig.post("/api/orders", rig.choice(found)), 503)
    assert (await rig.get("/api/orders")).json()["items"] == []


# --- What the seller refuses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["select", "init", "confirm"])
async def test_a_sellers_refusal_ends_the_order_and_releases_the_money(rig: BuyerRig, action: str) -> None:
    rig.seller.script[action] = rig.seller.refusing("40002", "Sold out.")
    order = await rig.order(action)
    assert order["state"] == "REFUSED"
    assert order["refusal"] == {"code": "40002", "sentence": "Sold out."}
    assert await rig.wallet() == (10_000_000, 0)


@pytest.mark.parametrize("action", ["select", "init", "confirm"])
async def test_a_refusal_at_the_door_ends_the_order_too(rig: BuyerRig, action: str) -> None:
    rig.seller.nack = {action}
    order = await rig.order(action)
    assert order["state"] == "REFUSED"
    assert "not today" in order["refusal"]["sentence"]
    assert await rig.wallet() == (10_000_000, 0)


async def test_a_quote_for_more_than_was_asked_is_not_taken(rig: BuyerRig) -> None:
    async def greedy(request: dict[str, Any]) -> None:
        order = rig.seller._drafted(request, OrderState.INITIALISED)
        rig.seller.order = order
        rig.seller.become(contracted_wh=hours(1000, 2001))
        rig.seller.become(quote=rig.seller.quote_of(rig.seller.order))
        import bpp.translate as wire

        await rig.seller.send(
            "on_select", wire.quote_to_wire(rig.seller.order, PROVIDER, rig.seller.offer), request=request
        )

    rig.seller.script["select"] = greedy
    order = await rig.order("select")
    assert (order["state"], order["refusal"]["code"]) == ("REFUSED", "QUOTE_UNFIT")


# --- Drafts ----------------------------------------------------------------------------------------------------------


async def test_choosing_again_replaces_the_draft_and_an_answer_to_the_first_choice_is_ignored(rig: BuyerRig) -> None:
    found = await rig.search()
    rig.seller.script["select"] = None
    first = (await rig.post("/api/orders", rig.choice(found, hours(500, 500)), wait=0)).json()
    async with asyncio.timeout(5):
        while len(rig.seller.heard) < 2:
            await asyncio.sleep(0.01)
    stale = rig.seller.last("select")
    del rig.seller.script["select"]

    second = (await rig.post("/api/orders", rig.choice(found))).json()
    assert second["order_id"] == first["order_id"]
    assert second["quote"]["total_milli"] == QUOTED_MILLI
    await rig.seller._select(stale)
    await rig.processed()
    assert (await rig.shown(first["order_id"]))["quote"]["total_milli"] == QUOTED_MILLI


async def test_choosing_again_after_confirm_is_409(rig: BuyerRig) -> None:
    found = await rig.search()
    order = (await rig.post("/api/orders", rig.choice(found))).json()
    for step in ("init", "confirm"):
        await rig.post(f"/api/orders/{order['order_id']}/{step}")
    await problem(await rig.post("/api/orders", rig.choice(found)), 409)


async def test_a_draft_that_nobody_answers_ends(rig: BuyerRig) -> None:
    rig.seller.script["select"] = None
    found = await rig.search()
    order = (await rig.post("/api/orders", rig.choice(found), wait=0.05)).json()
    assert (order["state"], order["awaiting_answer"]) == ("SELECTING", True)
    rig.clock.shift = timedelta(seconds=31)
    await jobs.chase_unanswered(rig.node)
    order = await rig.shown(order["order_id"])
    assert (order["state"], order["refusal"]["code"]) == ("EXPIRED", "NO_ANSWER")


async def test_a_sum_without_a_series_is_spread_over_the_offer(rig: BuyerRig) -> None:
    choice = rig.choice(await rig.search())
    del choice["energy"]
    order = (await rig.post("/api/orders", choice | {"energy_wh": 1500})).json()
    assert order["contracted"]["energy_wh"] == [1000, 500, 0]


# --- Confirming ------------------------------------------------------------------------------------------------------


async def test_an_order_goes_from_search_to_a_contract(rig: BuyerRig) -> None:
    order = await rig.order()
    assert order["state"] == "ACTIVE"
    assert order["wire_order_id"] == order["order_id"]
    assert order["quote"]["total_milli"] == QUOTED_MILLI
    assert await rig.wallet() == (10_000_000 - QUOTED_MILLI, QUOTED_MILLI)
    assert await rig.events(f"order:{order['order_id']}") == [
        "order.selecting",
        "order.quoted",
        "order.initialising",
        "order.initialised",
        "order.confirming",
        "order.active",
    ]


async def test_a_repeated_confirm_answers_the_same_order_and_reserves_nothing_twice(rig: BuyerRig) -> None:
    order = await rig.order("init")
    path = f"/api/orders/{order['order_id']}/confirm"
    answers = await asyncio.gather(*(rig.post(path) for _ in range(5)))
    assert {answer.json()["state"] for answer in answers} == {"ACTIVE"}
    assert [letter["context"]["action"] for letter in rig.seller.heard].count("confirm") == 1
    assert await rig.wallet() == (10_000_000 - QUOTED_MILLI, QUOTED_MILLI)


async def test_the_sellers_own_order_id_is_used_from_then_on(rig: BuyerRig) -> None:
    async def rename(request: dict[str, Any]) -> None:
        rig.seller.order = rig.seller._drafted(request, OrderState.ACTIVE)
        rig.seller.become(wire_order_id="their-17")
        await rig.seller.tell("on_confirm", request=request)

    rig.seller.script["confirm"] = rename
    order = await rig.order()
    assert (order["state"], order["wire_order_id"]) == ("ACTIVE", "their-17")
    await rig.post(f"/api/orders/{order['order_id']}/status")
    assert rig.seller.last("status")["message"]["order_id"] == "their-17"


async def _unanswered(rig: BuyerRig) -> dict[str, Any]:
    """An order whose confirm the seller read and never answered."""
    order = await rig.order("init")
    rig.seller.script["confirm"] = None
    order = (await rig.post(f"/api/orders/{order['order_id']}/confirm", wait=0.05)).json()
    assert order["state"] == "CONFIRMING"
    async with asyncio.timeout(5):
        while rig.seller.heard[-1]["context"]["action"] != "confirm":
            await asyncio.sleep(0.01)
    rig.clock.shift = timedelta(seconds=61)
    return order


async def test_silence_after_confirm_keeps_the_money_and_is_chased_with_status(rig: BuyerRig) -> None:
    rig.seller.script["status"] = None
    order = await _unanswered(rig)
    await jobs.chase_unanswered(rig.node)
    assert (await rig.shown(order["order_id"]))["state"] == "UNANSWERED"
    assert await rig.wallet() == (10_000_000 - QUOTED_MILLI, QUOTED_MILLI)
    async with asyncio.timeout(5):
        while rig.seller.heard[-1]["context"]["action"] != "status":
            await asyncio.sleep(0.01)
    assert rig.seller.last("status")["message"]["order_id"] == order["order_id"]

    # The next question waits twice as long.
    rig.clock.shift = timedelta(seconds=61 + 119)
    await jobs.chase_unanswered(rig.node)
    await asyncio.sleep(0.05)
    assert [letter["context"]["action"] for letter in rig.seller.heard].count("status") == 1

    await rig.seller._confirm(rig.seller.last("confirm"))
    assert (await rig.until(order["order_id"], "ACTIVE"))["wire_order_id"] == order["order_id"]


async def test_a_status_that_shows_the_contract_confirms_the_order(rig: BuyerRig) -> None:
    order = await _unanswered(rig)
    rig.seller.order = rig.seller._drafted(rig.seller.last("confirm"), OrderState.ACTIVE)
    await jobs.chase_unanswered(rig.node)
    await rig.until(order["order_id"], "ACTIVE")
    # The on_confirm that was late after all changes nothing.
    await rig.seller.tell("on_confirm", request=rig.seller.last("confirm"))
    await rig.processed()
    assert (await rig.shown(order["order_id"]))["state"] == "ACTIVE"


async def test_a_seller_that_does_not_know_the_order_never_confirmed_it(rig: BuyerRig) -> None:
    order = await _unanswered(rig)
    rig.seller.script["status"] = rig.seller.refusing("30010", "No such order.")
    await jobs.chase_unanswered(rig.node)
    assert (await rig.until(order["order_id"], "REFUSED"))["refusal"]["sentence"] == "No such order."
    assert await rig.wallet() == (10_000_000, 0)


async def test_a_late_refusal_of_an_unanswered_confirm_releases_the_money(rig: BuyerRig) -> None:
    rig.seller.script["status"] = None
    order = await _unanswered(rig)
    await jobs.chase_unanswered(rig.node)
    await rig.seller.refuse(rig.seller.last("confirm"))
    await rig.until(order["order_id"], "REFUSED")
    assert await rig.wallet() == (10_000_000, 0)


async def test_an_unasked_status_before_on_confirm_confirms_the_order(rig: BuyerRig) -> None:
    order = await rig.order("init")
    rig.seller.script["confirm"] = None
    await rig.post(f"/api/orders/{order['order_id']}/confirm", wait=0.05)
    async with asyncio.timeout(5):
        while rig.seller.heard[-1]["context"]["action"] != "confirm":
            await asyncio.sleep(0.01)
    rig.seller.order = rig.seller._drafted(rig.seller.last("confirm"), OrderState.ACTIVE)
    assert await rig.seller.tell("on_status") == 200
    await rig.until(order["order_id"], "ACTIVE")


# --- Strangers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["on_confirm", "on_status", "on_cancel", "on_update"])
async def test_another_sellers_word_about_an_order_changes_nothing_and_is_audited(rig: BuyerRig, action: str) -> None:
    order = await rig.order()
    honest = rig.seller.order
    assert honest is not None
    if action == "on_cancel":
        rig.seller.become(state=OrderState.CANCELLED, cancelled_by="PROVIDER")
    if action == "on_update":
        rig.seller.become(contracted_wh=hours(1, 1))
    assert await rig.seller.tell(action, who=OTHER_BPP) == 200
    await rig.processed()
    shown = await rig.shown(order["order_id"])
    assert (shown["state"], shown["contracted"]["energy_wh"]) == ("ACTIVE", [1000, 2000])
    [entry] = await rig.rows("SELECT actor, act, subject FROM audit")
    assert tuple(entry) == (OTHER_BPP.subscriber_id, "callback_for_anothers_order", order["order_id"])


async def test_another_sellers_quote_for_the_same_question_is_ignored(rig: BuyerRig) -> None:
    rig.seller.script["select"] = None
    found = await rig.search()
    order = (await rig.post("/api/orders", rig.choice(found), wait=0)).json()
    async with asyncio.timeout(5):
        while rig.seller.heard[-1]["context"]["action"] != "select":
            await asyncio.sleep(0.01)
    request, who = rig.seller.last("select"), rig.seller.who
    rig.seller.who = OTHER_BPP
    await rig.seller._select(request)
    rig.seller.who = who
    await rig.processed()
    assert (await rig.shown(order["order_id"]))["state"] == "SELECTING"


async def test_a_contract_that_was_never_confirmed_here_is_not_taken(rig: BuyerRig) -> None:
    order = await rig.order("init")
    rig.seller.become(state=OrderState.ACTIVE)
    await rig.seller.tell("on_confirm", request=rig.seller.last("init"))
    await rig.processed()
    assert (await rig.shown(order["order_id"]))["state"] == "INITIALISED"
    assert await rig.wallet() == (10_000_000, 0)


# --- Letters that do not arrive --------------------------------------------------------------------------------------


async def test_a_confirm_that_never_reached_the_seller_is_given_up_and_the_money_released(database_url: str) -> None:
    async with buyer_rig(database_url) as rig:
        order = await rig.order("init")
        gone = [replace(r, url="http://127.0.0.1:9/beckn") for r in rig.directory.records]
        rig.directory.records = gone
        order = (await rig.post(f"/api/orders/{order['order_id']}/confirm", wait=0.2)).json()
        assert order["state"] == "CONFIRMING"
        rig.clock.shift = timedelta(hours=25)
        shown = await rig.until(order["order_id"], "REFUSED", within_s=10)
        assert shown["refusal"]["code"] == "UNDELIVERED"
        assert await rig.wallet() == (10_000_000, 0)


async def test_a_confirm_that_may_have_reached_the_seller_is_unanswered_and_the_money_kept(database_url: str) -> None:
    async with buyer_rig(database_url, answer_s_max=0.3) as rig:
        order = await rig.order("init")
        rig.seller.hang = {"confirm"}
        order = (await rig.post(f"/api/orders/{order['order_id']}/confirm", wait=0.5)).json()
        assert order["state"] == "CONFIRMING"
        rig.clock.shift = timedelta(hours=25)
        rig.seller.script["status"] = None
        await rig.until(order["order_id"], "UNANSWERED", within_s=10)
        assert await rig.wallet() == (10_000_000 - QUOTED_MILLI, QUOTED_MILLI)
        # The seller had read it after all.
        rig.seller.order = rig.seller._drafted(rig.seller.last("confirm"), OrderState.ACTIVE)
        await rig.seller.tell("on_confirm", request=rig.seller.last("confirm"))
        await rig.until(order["order_id"], "ACTIVE")
