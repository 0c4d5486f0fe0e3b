"""A seller's node as its utility's buyer, letter by letter: every answer a utility may give, asked for or not.

The test plays the buyer's node and the utility; the seller's node is real, with its database and sockets.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

import bap.translate as wire
from beckn import envelope, signing
from beckn.actions import Role
from beckn.envelope import Party
from beckn.outbox import Outgoing
from bpp import cascade_desk
from bpp.translate import utility as grid
from bpp.utility import Clearance, Request, Trade, TradeState
from tests.support.post_office import BPP, NETWORK, OTHER_BAP, identity, record
from tests.support.seller_rig import BAP_URL, Seller, running_seller, wanted
from trade.order import Order

UTILITY = identity("utility.example", 9)
FACE = grid.Face(UTILITY.subscriber_id, "Bright Grid")


@dataclass
class Desk:
    """The seller's node, and the two who write to it."""

    seller: Seller
    #: What the utility was last asked to log.
    request: Request = field(init=False)

    async def asked(self, action: str) -> dict[str, Any]:
        """The letter that the utility gets."""
        return await self.seller.caught.letter(action, bpp_id=UTILITY.subscriber_id)

    async def answer(
        self,
        asked: dict[str, Any],
        action: str,
        message: dict[str, Any],
        *,
        error: dict[str, str] | None = None,
        who: signing.Identity = UTILITY,
        path: str = "/beckn-bap",
        **context: Any,
    ) -> int:
        """The utility's callback; the HTTP status."""
        written = envelope.request_context(
            action=action,
            network=NETWORK,
            bap=Party(BPP.subscriber_id, f"{self.seller.url}/beckn-bap"),
            bpp=Party(who.subscriber_id, BAP_URL),
            transaction_id=asked["context"]["transaction_id"],
            message_id=asked["context"]["message_id"],
            now=self.seller.clock.now(),
        )
        document = {"context": written | context, "message": message} | ({"error": error} if error else {})
        body = orjson.dumps(document)
        headers = {
            "Content-Type": "application/json",
            "Authorization": signing.sign(body, identity=who, now=self.seller.clock.now()),
        }
        post = self.seller.post_office.post(f"{self.seller.url}{path}/{action}", data=body, headers=headers)
        async with post as response:
            return response.status

    async def clear(self, asked: dict[str, Any], **options: Any) -> int:
        """The utility carries it: charges and limit."""
        request = grid.request_from_wire(asked["message"])
        cleared = Clearance(50_000, 10_000, request.energy_wh, 4000)
        message = grid.clearance_to_wire(request, cleared, face=FACE, billed_as="b", quote_id=str(uuid.uuid4()))
        return await self.answer(asked, "on_init", message, **options)

    async def log(
        self, asked: dict[str, Any], action: str = "on_confirm", state: TradeState = TradeState.ACTIVE
    ) -> int:
        """The utility has logged it."""
        now, request = self.seller.clock.now(), self.request
        trade = Trade(str(uuid.uuid4()), BPP.subscriber_id, request.order_id, "t", state, request, 1, 1, now, now)
        return await self.answer(asked, action, grid.trade_to_wire(trade, face=FACE))

    async def no(self, asked: dict[str, Any], action: str, code: str = "40002") -> int:
        """The utility refuses."""
        return await self.answer(asked, action, {"order": {}}, error={"code": code, "message": "the cable is full"})

    async def waits_for_clearing(self, order: Order) -> tuple[asyncio.Task[dict[str, Any]], dict[str, Any]]:
        """The buyer's init under way, and what the utility was asked."""
        waiting = asyncio.create_task(self.seller.init(order))
        return waiting, await self.asked("init")

    async def cleared(self, order: Order) -> Order:
        """The buyer's order after on_init."""
        waiting, asked = await self.waits_for_clearing(order)
        await self.clear(asked)
        view = wire.quote_from_wire((await waiting)["message"], order, self.seller.clock.now())
        return replace(order, quote=view.quote)

    async def waits_for_commit(self, order: Order) -> tuple[asyncio.Task[dict[str, Any]], dict[str, Any]]:
        """The buyer's confirm under way, and what the utility was asked."""
        waiting = asyncio.create_task(self.seller.confirm(order))
        asked = await self.asked("confirm")
        self.request = grid.request_from_wire(asked["message"])
        return waiting, asked

    async def held_and_sold(self) -> tuple[int, int]:
        """Wh of the offer."""
        offer = await self.seller.asked("GET", "/api/offers/offer-1")
        return sum(offer["held"]["energy_wh"]), sum(offer["sold"]["energy_wh"])

    async def states(self) -> list[str]:
        """The states of the seller's orders."""
        return [order["state"] for order in (await self.seller.asked("GET", "/api/orders"))["items"]]


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    settings: dict[str, Any] = {"utility_id": UTILITY.subscriber_id, "utility_look_every_s": 60}
    async with running_seller(database_url, **settings) as seller:
        records = seller.node.directory.records  # type: ignore[attr-defined]
        records += [record(UTILITY, Role.BPP, BAP_URL), record(OTHER_BAP, Role.BPP, BAP_URL)]
        await seller.open_shop()
        yield Desk(seller)


async def test_the_buyers_own_letter_is_answered_once_the_utility_has_spoken(desk: Desk) -> None:
    order = wanted()
    waiting, asked = await desk.waits_for_clearing(order)
    assert (await desk.states(), await desk.held_and_sold()) == (["CLEARING"], (3000, 0))
    assert asked["context"]["transaction_id"] != order.transaction_id
    assert asked["context"]["bap_uri"] == f"{desk.seller.url}/beckn-bap"
    assert not waiting.done()
    assert await desk.clear(asked) == 200
    answer = await waiting
    assert answer["context"]["transaction_id"] == order.transaction_id
    view = wire.quote_from_wire(answer["message"], order, desk.seller.clock.now())
    assert view.wheeling_micro_per_kwh == 50_000
    assert await desk.clear(asked, message_id=str(uuid.uuid4())) == 200  # said again, nothing happens
    assert await desk.states() == ["INITIALISED"]


async def test_nothing_is_sold_until_the_trade_is_logged(desk: Desk) -> None:
    order = await desk.cleared(wanted())
    waiting, asked = await desk.waits_for_commit(order)
    assert (await desk.states(), await desk.held_and_sold()) == (["COMMITTING"], (3000, 0))
    # Whoever asks meanwhile is told to wait, and a confirm that is said again is answered in the end.
    (seller_order,) = (await desk.seller.asked("GET", "/api/orders"))["items"]
    status = await desk.seller.send("status", {"order_id": seller_order["wire_order_id"]})
    assert (status["error"]["code"], "waits for the utility" in status["error"]["message"]) == ("40001", True)
    again = asyncio.create_task(desk.seller.confirm(order))
    await asyncio.sleep(0.2)
    await desk.log(asked)
    answer = await again
    assert answer["message"]["order"]["status"] == "ACTIVE"
    assert (await desk.states(), await desk.held_and_sold()) == (["ACTIVE"], (0, 3000))
    waiting.cancel()


async def test_a_refusal_reaches_the_buyer_word_for_word_at_init_and_at_confirm(desk: Desk) -> None:
    waiting, asked = await desk.waits_for_clearing(wanted())
    await desk.no(asked, "on_init")
    error = (await waiting)["error"]
    assert error["code"] == "40002"
    assert error["message"] == "The utility utility.example does not carry this trade: the cable is full"
    order = await desk.cleared(wanted())
    waiting, asked = await desk.waits_for_commit(order)
    await desk.no(asked, "on_confirm", code="no code at all")
    assert (await waiting)["error"]["code"] == "40001"
    assert (await desk.states(), await desk.held_and_sold()) == (["EXPIRED", "EXPIRED"], (0, 0))
    # The refused order can be tried again in the same session.
    assert (await desk.cleared(order)).quote is not None


async def test_an_answer_that_cannot_be_used_is_a_no(desk: Desk) -> None:
    waiting, asked = await desk.waits_for_clearing(wanted())
    request = grid.request_from_wire(asked["message"])
    message = grid.clearance_to_wire(
        request, Clearance(1, 1, request.energy_wh, 1), face=FACE, billed_as="b", quote_id=str(uuid.uuid4())
    )
    message["order"]["items"][0]["tags"].pop()  # the charges
    await desk.answer(asked, "on_init", message)
    assert "cannot be used" in (await waiting)["error"]["message"]
    order = await desk.cleared(wanted())
    waiting, asked = await desk.waits_for_commit(order)
    await desk.log(asked, state=TradeState.CANCELLED)
    assert "has not logged" in (await waiting)["error"]["message"]
    assert await desk.held_and_sold() == (0, 0)


async def test_only_the_utility_that_was_asked_is_heard(desk: Desk) -> None:
    waiting, asked = await desk.waits_for_clearing(wanted())
    assert await desk.clear(asked, who=OTHER_BAP) == 200  # acknowledged, and ignored
    assert await desk.clear(asked, transaction_id=str(uuid.uuid4())) == 200
    await asyncio.sleep(0.2)
    assert await desk.states() == ["CLEARING"]
    await desk.clear(asked, message_id=str(uuid.uuid4()))
    await waiting


async def test_each_role_has_its_own_door(desk: Desk) -> None:
    waiting, asked = await desk.waits_for_clearing(wanted())
    assert await desk.clear(asked, path="/beckn") == 404  # a seller serves no on_init
    assert await desk.answer(asked, "search", {}, path="/beckn-bap") == 404
    assert await desk.clear(asked, bap_uri=f"{desk.seller.url}/beckn") == 400
    assert await desk.clear(asked, who=identity("utility.example", 8)) == 401
    await desk.clear(asked)
    await waiting


async def test_a_utility_that_is_not_in_the_registry_is_a_no_before_anything_is_held(desk: Desk) -> None:
    records = desk.seller.node.directory.records  # type: ignore[attr-defined]
    kept = [entry for entry in records if entry.subscriber_id == UTILITY.subscriber_id]
    records.remove(kept[0])
    refused = await desk.seller.init(wanted())
    assert "not in the network's registry" in refused["error"]["message"]
    assert (await desk.states(), await desk.held_and_sold()) == ([], (0, 0))
    records += kept
    order = await desk.cleared(wanted())
    records.remove(kept[0])
    assert "not in the network's registry" in (await desk.seller.confirm(order))["error"]["message"]
    assert (await desk.states(), await desk.held_and_sold()) == (["INITIALISED"], (3000, 0))


async def test_silence_ends_an_init_and_chases_a_confirm(desk: Desk) -> None:
    waiting, _ = await desk.waits_for_clearing(wanted())
    desk.seller.clock.shift += timedelta(seconds=11)
    assert await cascade_desk.look_after(desk.seller.shop) == 1
    assert "has not answered within 10 s" in (await waiting)["error"]["message"]
    order = await desk.cleared(wanted())
    waiting, _ = await desk.waits_for_commit(order)
    for code in ("50000", ""):  # an error that decides nothing, then the trade
        desk.seller.clock.shift += timedelta(seconds=6)
        assert await cascade_desk.look_after(desk.seller.shop) == 1
        chased = await desk.asked("status")
        assert await desk.states() == ["COMMITTING", "EXPIRED"]
        await (desk.no(chased, "on_status", code=code) if code else desk.log(chased, "on_status"))
    assert (await waiting)["message"]["order"]["status"] == "ACTIVE"
    desk.seller.clock.shift += timedelta(hours=1)
    assert await cascade_desk.look_after(desk.seller.shop) == 0


async def test_a_confirm_that_certainly_never_arrived_is_a_no_and_one_that_may_have_is_chased(desk: Desk) -> None:
    order = await desk.cleared(wanted())
    waiting, asked = await desk.waits_for_commit(order)
    context, now = asked["context"], desk.seller.clock.now()
    letter = Outgoing(1, "l", BAP_URL, UTILITY.subscriber_id, "confirm", context["message_id"],
                      context["transaction_id"], b"", None, now, now)  # fmt: skip
    for certain, state in ((False, "COMMITTING"), (True, "EXPIRED")):
        async with desk.seller.node.database.unit_of_work() as uow:
            await cascade_desk.undelivered(desk.seller.shop, uow, letter, {"message": "401: who are you"}, certain)
        assert await desk.states() == [state]
    assert "401: who are you" in (await waiting)["error"]["message"]
    assert await desk.held_and_sold() == (0, 0)


async def test_a_second_init_of_a_session_that_waits_is_refused_and_so_is_its_confirm(desk: Desk) -> None:
    order = wanted()
    chosen = await desk.seller.select(order)
    quote = wire.quote_from_wire(chosen["message"], order, desk.seller.clock.now()).quote
    waiting, asked = await desk.waits_for_clearing(order)
    assert "is CLEARING" in (await desk.seller.init(order))["error"]["message"]
    assert (await desk.seller.confirm(replace(order, quote=quote)))["error"]["code"] == "40003"
    await desk.clear(asked)
    await waiting


async def test_without_a_utility_there_is_no_second_door(database_url: str) -> None:
    async with running_seller(database_url) as seller:
        desk = Desk(seller)
        asked = {"context": {"transaction_id": "t", "message_id": "m"}}
        assert await desk.answer(asked, "on_init", {}) == 404
        assert seller.node.second_me is None
        await seller.open_shop()
        await seller.contract()
