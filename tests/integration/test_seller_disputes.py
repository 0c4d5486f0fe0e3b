"""Disputes on a seller's node: opened by people and by letters, followed, decided, lapsed; what is refused to whom."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bap import translate as wire
from schemas import outcome_tags
from store import transfers
from tests.support.post_office import OTHER_BAP
from tests.support.seller_rig import Seller, running_seller, wanted
from tests.support.trade_cases import SLOT_START, an_offer, hours
from trade.order import Dispute, Order, Side

HOUR = timedelta(hours=1)
#: 700 of 1000 Wh came, at 0.20 a kWh and 0.02 of wheeling.
DUE_MILLI = 15_400


@pytest.fixture
async def seller(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url) as running:
        await running.open_shop(an_offer(offered_wh=hours(10_000, 10_000), gate_closure_s=0))
        yield running


async def settled(seller: Seller) -> tuple[Order, str]:
    """A settled order as the buyer keeps it, and the seller's id of it."""
    order = await seller.contract(wanted(1000))
    await seller.move_clock(SLOT_START + HOUR)
    await seller.measure(700, start=SLOT_START)
    seller.caught.letters.clear()
    own = await seller.of_wire(order.wire_order_id)
    assert own["state"] == "COMPLETED"
    return order, own["order_id"]


def objecting(order: Order, total_milli: int | None, dispute_id: str = "d-1") -> Order:
    """The buyer's copy, in dispute over this figure."""
    until = SLOT_START + timedelta(days=3)
    dispute = Dispute(dispute_id, Side.BUYER, "My meter says less.", SLOT_START + HOUR, until, total_milli, DUE_MILLI)
    return replace(order, dispute=dispute)


async def objected(seller: Seller, order: Order, total_milli: int | None, **options: Any) -> dict[str, Any]:
    """The buyer's objection, and the answer."""
    message = wire.dispute_to_wire(objecting(order, total_milli), None, 1)
    return await seller.send("update", message, transaction_id=order.transaction_id, **options)


async def ended(seller: Seller, order: Order, due_milli: int) -> dict[str, Any]:
    """The buyer's decision, and the answer."""
    disputed = objecting(order, due_milli)
    assert disputed.dispute is not None
    over = replace(disputed, dispute=replace(disputed.dispute, resolution="ACCEPT_THEIRS"))
    message = wire.resolution_to_wire(over, due_milli)
    return await seller.send("update", message, transaction_id=order.transaction_id)


def dispute_of(letter: dict[str, Any]) -> outcome_tags.DisputeTag:
    said = outcome_tags.dispute_from_wire(letter["message"]["order"]["tags"], path="")
    assert said is not None
    return said


async def earned(seller: Seller) -> int:
    async with seller.node.database.unit_of_work() as uow:
        return await transfers.balance(uow, "provider:home-7", "USD")


async def acts(seller: Seller) -> list[tuple[str, str, dict[str, Any]]]:
    async with seller.node.database.connection() as connection:
        rows = await connection.fetch("SELECT actor, act, detail FROM audit WHERE subject LIKE 'order:%' ORDER BY seq")
    return [(row["actor"], row["act"], row["detail"]) for row in rows]


# --- Letters ---------------------------------------------------------------------------------------------------------


async def test_the_buyers_objection_is_marked_answered_and_written_down(seller: Seller) -> None:
    order, order_id = await settled(seller)
    said = dispute_of(await objected(seller, order, 11_000))
    assert (said.state, said.opened_by, said.reason, said.total) == ("OPEN", "BUYER", "My meter says less.", "0.154")
    own = await seller.asked("GET", f"/api/orders/{order_id}")
    assert (own["state"], own["dispute"]["buyer_total_milli"]) == ("DISPUTED", 11_000)
    assert own["dispute"]["until"] == "2016-08-05T15:00:00Z"
    again = dispute_of(await objected(seller, order, 11_000))
    assert again == said
    assert [(actor, act) for actor, act, _ in await acts(seller)] == [("bap.example", "dispute.opened")]


async def test_the_operator_accepts_the_buyers_figure_and_the_buyer_hears_of_it(seller: Seller) -> None:
    order, _ = await settled(seller)
    await objected(seller, order, 11_000)
    decision = {"outcome": "ACCEPT_THEIRS", "note": "The inverter was off."}
    shown = await seller.asked("POST", "/api/disputes/d-1/resolve", decision)
    assert (shown["resolution"], shown["seller_total_milli"]) == ("ACCEPT_THEIRS", 11_000)
    letter = await seller.caught.letter("on_update")
    end = outcome_tags.resolution_from_wire(letter["message"]["order"]["tags"], path="")
    assert end is not None
    assert (end.dispute_id, end.outcome, end.total) == ("d-1", "ACCEPT_THEIRS", "0.11")
    lines = {line["item"]["descriptor"]["code"] for line in letter["message"]["order"]["quote"]["breakup"]}
    assert lines == {"ENERGY", "WHEELING", "RESOLUTION"}
    assert await earned(seller) == 14_000 - 4_400
    assert (await acts(seller))[-1][1:] == (
        "dispute.resolved",
        {
            "dispute_id": "d-1",
            "outcome": "ACCEPT_THEIRS",
            "note": "The inverter was off.",
            "buyer_total_milli": 11_000,
            "seller_total_milli": 11_000,
        },
    )


async def test_the_buyer_gives_in_and_the_books_stay(seller: Seller) -> None:
    order, order_id = await settled(seller)
    await objected(seller, order, 11_000)
    refused = await ended(seller, order, 12_000)
    assert refused["error"]["code"] == "30013"
    assert "at our figure, 0.154 USD, or above" in refused["error"]["message"]
    assert dispute_of(await ended(seller, order, DUE_MILLI)).state == "RESOLVED"
    assert (await seller.asked("GET", f"/api/orders/{order_id}"))["settlement"]["version"] == 1
    assert await earned(seller) == 14_000
    assert dispute_of(await ended(seller, order, DUE_MILLI)).state == "RESOLVED"  # said again


async def test_a_dispute_that_nobody_decides_lapses_at_the_lesser_figure(seller: Seller) -> None:
    order, order_id = await settled(seller)
    await objected(seller, order, 11_000)
    await seller.move_clock(SLOT_START + timedelta(days=3, seconds=-1))
    assert (await seller.asked("GET", f"/api/orders/{order_id}"))["state"] == "DISPUTED"
    await seller.move_clock(SLOT_START + timedelta(days=3))
    own = await seller.asked("GET", f"/api/orders/{order_id}")
    assert (own["state"], own["dispute"]["resolution"]) == ("COMPLETED", "LESSER")
    assert await earned(seller) == 9_600
    assert (await seller.caught.letter("on_update"))["context"]["transaction_id"] == order.transaction_id


async def test_objections_that_cannot_be_are_refused_in_the_callback(seller: Seller) -> None:
    running = await seller.contract(wanted(100))
    refused = await objected(seller, running, 1)
    assert refused["error"]["code"] == "40001"
    assert "only a settled or cancelled order" in refused["error"]["message"]
    order, _ = await settled(seller)
    assert (await objected(seller, order, 1, who=OTHER_BAP))["error"]["code"] == "30010"
    message = wire.dispute_to_wire(objecting(order, 1), None, 1)
    message["order"]["tags"][-1]["list"] = []
    assert "DISPUTE.id is missing" in (await seller.send("update", message))["error"]["message"]
    assert (await ended(seller, order, DUE_MILLI))["error"]["code"] == "40001"


async def test_a_decided_figure_is_not_corrected_by_readings(seller: Seller) -> None:
    order, order_id = await settled(seller)
    await objected(seller, order, 11_000)
    await seller.asked("POST", "/api/disputes/d-1/resolve", {"outcome": "ACCEPT_THEIRS", "note": "Agreed."})
    await seller.measure(900, start=SLOT_START)
    assert (await seller.asked("GET", f"/api/orders/{order_id}"))["settlement"]["version"] == 2


# --- People ----------------------------------------------------------------------------------------------------------


async def test_a_prosumer_opens_and_follows_its_own_disputes_and_an_operator_withdraws(seller: Seller) -> None:
    _, order_id = await settled(seller)
    token = await seller.prosumer()
    opened = await seller.asked("POST", f"/api/orders/{order_id}/disputes", {"reason": "Odd."}, token=token)
    assert (opened["opened_by"], opened["order_id"], opened["reason"]) == ("SELLER", order_id, "Odd.")
    said = dispute_of(await seller.caught.letter("on_update"))
    assert (said.dispute_id, said.opened_by, said.total) == (opened["dispute_id"], "SELLER", "0.154")
    for state, listed in (("OPEN", [opened]), ("RESOLVED", [])):
        assert (await seller.asked("GET", f"/api/disputes?state={state}", token=token))["items"] == listed
    end = f"/api/disputes/{opened['dispute_id']}/resolve"
    assert (await seller.call("POST", end, {"outcome": "WITHDRAW", "note": "x"}, token=token))[0] == 403
    shown = await seller.asked("POST", end, {"outcome": "WITHDRAW", "note": "It was right."})
    assert shown["resolution"] == "WITHDRAW"
    assert (await seller.asked("GET", "/api/disputes?state=RESOLVED", token=token))["items"] == [shown]
    assert [act for _, act, _ in await acts(seller)] == ["dispute.opened", "dispute.resolved"]


async def test_disputes_are_listed_by_pages(seller: Seller) -> None:
    for _ in range(3):
        await seller.contract(wanted(100))
    await seller.move_clock(SLOT_START + HOUR)
    await seller.measure(700, start=SLOT_START)
    ids = [item["order_id"] for item in (await seller.asked("GET", "/api/orders"))["items"]]
    for order_id in ids:
        await seller.asked("POST", f"/api/orders/{order_id}/disputes", {"reason": "Odd."})
    first = await seller.asked("GET", "/api/disputes?limit=2")
    rest = await seller.asked("GET", f"/api/disputes?limit=2&after={first['next']}")
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    assert {item["order_id"] for item in (*first["items"], *rest["items"])} == set(ids)


async def test_what_people_may_not_do_is_refused(seller: Seller) -> None:
    running = await seller.of_wire((await seller.contract(wanted(0, 100))).wire_order_id)
    order, order_id = await settled(seller)
    stranger, body = await seller.prosumer("home-8"), {"reason": "Odd."}
    unknown = uuid.uuid4()
    for path, given, token, status, says in (
        (f"/api/orders/{running['order_id']}/disputes", body, None, 409, "only a settled or cancelled order"),
        (f"/api/orders/{unknown}/disputes", body, None, 404, "order"),
        (f"/api/orders/{order_id}/disputes", body, stranger, 403, "home-8"),
        (f"/api/orders/{order_id}/disputes", {"reason": ""}, None, 422, "reason"),
        (f"/api/orders/{order_id}/disputes", {}, None, 422, "reason"),
        ("/api/disputes/unknown/resolve", {"outcome": "WITHDRAW", "note": "x"}, None, 404, "dispute"),
        ("/api/disputes/unknown/resolve", {"outcome": "LESSER", "note": "x"}, None, 422, "outcome"),
        ("/api/disputes/unknown/resolve", {"outcome": "WITHDRAW"}, None, 422, "note"),
    ):
        code, answer = await seller.call("POST", path, given, **({"token": token} if token else {}))
        assert (code, says in str(answer)) == (status, True), answer
    await objected(seller, order, None)
    end = "/api/disputes/d-1/resolve"
    for outcome, says in (("WITHDRAW", "only it can withdraw"), ("ACCEPT_THEIRS", "has named no figure")):
        code, answer = await seller.call("POST", end, {"outcome": outcome, "note": "x"})
        assert (code, answer["error"]["field"]) == (409, "outcome")
        assert says in answer["error"]["sentence"]
    code, answer = await seller.call("POST", f"/api/orders/{order_id}/disputes", body)
    assert (code, "in dispute already" in answer["error"]["sentence"]) == (409, True)
    assert (await seller.call("GET", "/api/disputes?state=LOST"))[0] == 422
    await seller.move_clock(SLOT_START + timedelta(days=31))
    other = await seller.of_wire(order.wire_order_id)
    code, answer = await seller.call("POST", f"/api/orders/{other['order_id']}/disputes", body)
    assert (code, "time for objections ended" in answer["error"]["sentence"]) == (409, True)
