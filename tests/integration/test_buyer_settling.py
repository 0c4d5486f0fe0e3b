"""How a contract ends on a buyer's node, over HTTP: both meters counted, silence, corrections, rounds, disputes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bap import closing, metering, undelivered
from beckn.outbox import Outgoing
from store import transfers
from tests.support.buyer_rig import CHARGED, OPERATOR, BuyerRig, buyer_rig
from tests.support.hand_held_claims import HandHeldClaims
from tests.support.trade_cases import SLOT_START, hours
from trade import ledger, policy
from trade.money import Series
from trade.order import Dispute, OrderState, Side
from trade.policy import BUILT_IN
from trade.quote import LineKind, QuoteLine

METER = "0B2FDE2A8A34463F8F1AE8B0F2A0BA01"
#: 1 and 2 kWh at 0.20 and 0.21, and wheeling at 0.02, thousandths of a cent.
QUOTED_MILLI = 68_000
WALLET_MILLI = 10_000_000
OVER = SLOT_START + timedelta(hours=3)


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url) as opened:
        yield opened


@pytest.fixture
async def charging(database_url: str, tmp_path: Path) -> AsyncIterator[BuyerRig]:
    """A buyer's node that knows the policy with every charge."""
    (tmp_path / "charged.json").write_text(json.dumps(policy.document(CHARGED)))
    async with buyer_rig(database_url, policy_dir=str(tmp_path)) as opened:
        yield opened


async def move_clock(rig: BuyerRig, to: Any) -> None:
    """Drive the trading clock."""
    moved = await rig.client.put("/api/clock", json={"trading_time": to.isoformat()}, headers=OPERATOR)
    assert moved.status_code == 200, moved.text


async def give_meter(rig: BuyerRig, meter_id: str = METER) -> Any:
    return await rig.client.put(f"/api/accounts/{rig.account_id}/meter", json={"meter_id": meter_id}, headers=rig.app)


async def contract(rig: BuyerRig, policy_id: str = "street@1") -> dict[str, Any]:
    """A confirmed order of 1 and 2 kWh under a policy, by an account with a meter."""
    rig.seller.offer = replace(rig.seller.offer, policy=policy_id)
    assert (await give_meter(rig)).status_code == 200
    order = await rig.order()
    assert (order["state"], order["policy"]["policy"]) == ("ACTIVE", policy_id)
    return order


async def read_meter(rig: BuyerRig, series: Series, meter_id: str = METER) -> None:
    """Upload what the consumer's meter imported, and let the node look at it."""
    lines = [{"starts_at": slot.start.isoformat(), "energy_wh": wh} for slot, wh in series.items()]
    body = {"flow": "IMPORT", "slot_s": series.slot_s, "readings": lines}
    sent = await rig.client.post(f"/api/meters/{meter_id}/readings", json=body, headers=rig.app)
    assert sent.status_code in (200, 201) and not sent.json()["refused"], sent.text
    await metering.allocate(rig.node)


async def heard(rig: BuyerRig, target: str, count: int = 1) -> dict[str, Any]:
    """The newest update with this target that the seller heard, once it has heard so many."""
    async with asyncio.timeout(5):
        while True:
            found = [
                letter
                for letter in rig.seller.heard
                if letter["context"]["action"] == "update" and letter["message"]["update_target"] == target
            ]
            if len(found) >= count:
                return found[-1]
            await asyncio.sleep(0.01)


def values_of(letter: dict[str, Any], code: str) -> dict[str, str]:
    group = next(g for g in letter["message"]["order"]["tags"] if g["descriptor"]["code"] == code)
    return {entry["descriptor"]["code"]: entry["value"] for entry in group["list"]}


async def assert_books_balance(rig: BuyerRig) -> None:
    proof = (await rig.client.get("/api/ledger/proof", headers=OPERATOR)).json()
    assert proof["balanced"], proof["problems"]


# --- Both meters ------------------------------------------------------------------------------------------------------


async def test_the_sellers_hear_what_the_meter_took_and_the_lesser_figure_is_paid(rig: BuyerRig) -> None:
    order = await contract(rig)
    await move_clock(rig, OVER)
    rig.seller.metered_wh = hours(900, 2000)
    await read_meter(rig, hours(5000, 1500))
    shown = await rig.until(order["order_id"], "COMPLETED")
    assert values_of(await heard(rig, "order.tags.BUYER_ALLOC"), "BUYER_ALLOC")["values"] == "1000 1500"
    assert shown["settlement"]["delivered"]["energy_wh"] == [900, 1500]
    assert shown["settlement"]["total_milli"] == 18_000 + 31_500 + 4_800
    allocations = shown["allocations"]
    assert [allocations[side]["energy_wh"] for side in ("buyer", "seller", "final")] == [
        [1000, 1500],
        [900, 2000],
        [900, 1500],
    ]
    assert await rig.wallet() == (WALLET_MILLI - 54_300, 0)
    assert (await rig.events(f"order:{order['order_id']}"))[-2:] == ["order.allocated", "order.completed"]
    await assert_books_balance(rig)


async def test_contracts_of_one_meter_share_its_import_and_nobodys_watt_hour_counts_twice(rig: BuyerRig) -> None:
    first = await contract(rig)
    second = await rig.order()
    rig.seller.script["update"] = None
    await move_clock(rig, OVER)
    await read_meter(rig, hours(1000, 4000))
    await heard(rig, "order.tags.BUYER_ALLOC", 2)
    shares = [(await rig.shown(order["order_id"]))["allocations"]["buyer"]["energy_wh"] for order in (first, second)]
    assert shares == [[500, 2000], [500, 2000]]


async def test_nothing_is_allocated_before_every_slot_is_read(rig: BuyerRig) -> None:
    order = await contract(rig)
    await move_clock(rig, SLOT_START + timedelta(hours=1))
    await read_meter(rig, hours(1000))
    assert (await rig.shown(order["order_id"]))["allocations"]["buyer"] is None
    await move_clock(rig, OVER)
    await read_meter(rig, hours(2000, start=SLOT_START + timedelta(hours=1)))
    await heard(rig, "order.tags.BUYER_ALLOC")
    assert (await rig.shown(order["order_id"]))["allocations"]["buyer"]["energy_wh"] == [1000, 2000]


async def test_a_corrected_reading_is_told_again_and_the_difference_comes_back(rig: BuyerRig) -> None:
    order = await contract(rig)
    await move_clock(rig, OVER)
    rig.seller.metered_wh = hours(1000, 2000)
    await read_meter(rig, hours(1000, 2000))
    await rig.until(order["order_id"], "COMPLETED")
    await read_meter(rig, hours(400, 2000))
    await heard(rig, "order.tags.BUYER_ALLOC", 2)
    shown = await settled_as(rig, order, 2)
    assert (shown["state"], shown["settlement"]["delivered"]["energy_wh"]) == ("COMPLETED", [400, 2000])
    assert [entry["version"] for entry in shown["superseded"]] == [1]
    assert await rig.wallet() == (WALLET_MILLI - 8_000 - 42_000 - 4_800, 0)
    assert "order.resettled" in await rig.events(f"order:{order['order_id']}")
    await assert_books_balance(rig)


async def settled_as(rig: BuyerRig, order: dict[str, Any], version: int) -> dict[str, Any]:
    """The order once its settlement has a version."""
    async with asyncio.timeout(5):
        while True:
            shown = await rig.shown(order["order_id"])
            if shown["settlement"] and shown["settlement"]["version"] == version:
                return shown
            await asyncio.sleep(0.01)


async def test_a_correction_upwards_takes_from_the_wallet_and_what_it_lacks_becomes_debt(rig: BuyerRig) -> None:
    order = await contract(rig)
    await move_clock(rig, OVER)
    rig.seller.metered_wh = hours(500, 2000)
    await read_meter(rig, hours(1000, 2000))
    await rig.until(order["order_id"], "COMPLETED")
    free, _ = await rig.wallet()
    spent = ledger.between(
        transfer_id="spent",
        source=ledger.wallet(rig.account_id),
        target=ledger.external(),
        amount_milli=free - 1_000,
        currency="USD",
        memo="spent elsewhere meanwhile",
        at=OVER,
    )
    async with rig.node.database.unit_of_work() as uow:
        await transfers.post(uow, [spent])
    rig.seller.settle(hours(1000, 2000))
    assert await rig.seller.tell("on_update") == 200
    shown = await settled_as(rig, order, 2)
    assert shown["settlement"]["total_milli"] == QUOTED_MILLI
    account = (await rig.get(f"/api/accounts/{rig.account_id}")).json()
    assert account["balances"][0]["balance_milli"] == 0
    assert account["balances"][0]["debt_milli"] == 11_000 - 1_000
    await assert_books_balance(rig)


async def test_every_charge_of_the_policy_is_quoted_reserved_and_settled(charging: BuyerRig) -> None:
    rig = charging
    order = await contract(rig, CHARGED.id)
    kinds = {line["kind"]: line["amount_milli"] for line in order["quote"]["lines"]}
    assert set(kinds) == {"ENERGY", "WHEELING", "TAX", "PLATFORM_FEE", "UTILITY_FEE"}
    _, reserved = await rig.wallet()
    assert reserved >= order["quote"]["total_milli"]
    await move_clock(rig, OVER)
    rig.seller.metered_wh = hours(1000, 2000)
    await read_meter(rig, hours(500, 2000))  # half a kWh was not taken: the buyer pays the penalty for it
    shown = await rig.until(order["order_id"], "COMPLETED")
    settled = {line["kind"]: line["amount_milli"] for line in shown["settlement"]["lines"]}
    assert settled["PENALTY"] == 5_000
    assert await rig.wallet() == (WALLET_MILLI - shown["settlement"]["total_milli"], 0)
    rows = await rig.rows("SELECT account, balance_milli FROM ledger_accounts WHERE account LIKE 'platform%'")
    assert [row["balance_milli"] for row in rows] == [settled["PLATFORM_FEE"]]


# --- Silence ----------------------------------------------------------------------------------------------------------


async def test_a_seller_silent_past_the_deadline_is_paid_nothing_until_it_speaks(rig: BuyerRig) -> None:
    order = await contract(rig)
    rig.seller.script["update"] = None
    await move_clock(rig, OVER)
    await read_meter(rig, hours(1000, 2000))
    await move_clock(rig, SLOT_START + timedelta(hours=2, seconds=BUILT_IN["street@1"].allocation_due_s - 1))
    await closing.close_overdue(rig.node)
    assert (await rig.wallet())[1] == QUOTED_MILLI
    await move_clock(rig, SLOT_START + timedelta(hours=2, seconds=BUILT_IN["street@1"].allocation_due_s))
    await closing.close_overdue(rig.node)
    shown = await rig.shown(order["order_id"])
    assert (shown["state"], shown["settlement"]["total_milli"]) == ("COMPLETED", 0)
    assert await rig.wallet() == (WALLET_MILLI, 0)
    await heard(rig, "order.tags.BUYER_ALLOC", 2)  # it is told once more

    rig.seller.become(buyer_alloc_wh=hours(1000, 2000))
    rig.seller.settle(hours(900, 2000))
    assert await rig.seller.tell("on_update") == 200
    shown = await settled_as(rig, order, 2)
    assert shown["settlement"]["delivered"]["energy_wh"] == [900, 2000]
    assert await rig.wallet() == (WALLET_MILLI - 65_800, 0)
    await assert_books_balance(rig)


async def test_a_correction_after_its_time_changes_nothing_and_is_told(rig: BuyerRig) -> None:
    order = await contract(rig)
    await move_clock(rig, OVER)
    rig.seller.metered_wh = hours(1000, 2000)
    await read_meter(rig, hours(1000, 2000))
    await rig.until(order["order_id"], "COMPLETED")
    await move_clock(rig, SLOT_START + timedelta(days=40))
    rig.seller.settle(hours(100, 2000))
    await rig.seller.tell("on_update")
    await rig.processed()
    shown = await rig.shown(order["order_id"])
    assert (shown["state"], shown["settlement"]["version"]) == ("COMPLETED", 1)
    assert (await rig.events(f"order:{order['order_id']}"))[-1] == "order.correction_ignored"


async def test_our_own_silence_counts_as_zero_and_a_late_reading_corrects_it(rig: BuyerRig) -> None:
    order = await contract(rig)
    await move_clock(rig, OVER)
    rig.seller.settle(hours(1000, 2000))  # too early: we may still speak
    await rig.seller.tell("on_update")
    await rig.processed()
    assert (await rig.shown(order["order_id"]))["state"] == "DELIVERING"
    await move_clock(rig, SLOT_START + timedelta(days=3))
    await rig.seller.tell("on_update")
    shown = await rig.until(order["order_id"], "COMPLETED")
    assert shown["settlement"]["total_milli"] == 0
    rig.seller.metered_wh = hours(1000, 2000)
    await read_meter(rig, hours(1000, 1000))
    shown = await settled_as(rig, order, 2)
    assert shown["settlement"]["delivered"]["energy_wh"] == [1000, 1000]


async def test_no_escrow_outlives_the_deadline_of_its_order_whatever_became_of_it(rig: BuyerRig) -> None:
    plain = await rig.order()  # one-sided, and its seller never meters
    lost = await rig.order("init")
    rig.seller.script["confirm"] = None
    await rig.post(f"/api/orders/{lost['order_id']}/confirm", wait=0.05)
    del rig.seller.script["confirm"]
    await contract(rig)
    rig.seller.script |= {"update": None, "status": None}
    assert (await rig.wallet())[1] == 3 * QUOTED_MILLI
    await move_clock(rig, SLOT_START + timedelta(days=60))
    await closing.close_overdue(rig.node)
    assert await rig.wallet() == (WALLET_MILLI, 0)
    assert (await rig.shown(plain["order_id"]))["state"] == "COMPLETED"
    assert (await rig.shown(lost["order_id"]))["state"] == "REFUSED"
    assert not await rig.rows("SELECT 1 FROM orders WHERE next_due IS NOT NULL")
    await assert_books_balance(rig)


# --- Rounds -----------------------------------------------------------------------------------------------------------


async def test_three_rounds_share_again_what_one_contract_leaves_unsettled(rig: BuyerRig) -> None:
    order = await contract(rig, "iterated@1")
    rig.seller.script["update"] = None
    await move_clock(rig, OVER)
    await read_meter(rig, hours(800, 2000))
    for round_, sellers in ((1, hours(600, 2000)), (2, hours(700, 2000))):
        letter = await heard(rig, "order.tags.BUYER_ALLOC", round_)
        assert values_of(letter, "BUYER_ALLOC")["round"] == str(round_)
        rig.seller.become(alloc_round=round_, seller_alloc_wh=sellers, final_wh=sellers, buyer_alloc_wh=None)
        await rig.seller.tell("on_update")
        await rig.processed()
        await metering.allocate(rig.node)
    letter = await heard(rig, "order.tags.BUYER_ALLOC", 3)
    assert values_of(letter, "BUYER_ALLOC") | {"round": "3"} == values_of(letter, "BUYER_ALLOC")
    rig.seller.become(buyer_alloc_wh=hours(800, 2000))
    rig.seller.settle(hours(750, 2000))
    await rig.seller.tell("on_update")
    shown = await rig.until(order["order_id"], "COMPLETED")
    assert shown["settlement"]["delivered"]["energy_wh"] == [750, 2000]
    assert shown["allocations"]["round"] == 3
    assert (await rig.events(f"order:{order['order_id']}")).count("order.round_settled") == 2


# --- Disputes ---------------------------------------------------------------------------------------------------------


async def differing(rig: BuyerRig) -> dict[str, Any]:
    """An order whose seller asks for the whole quote though half a kWh less was settled."""
    order = await contract(rig)
    await move_clock(rig, OVER)
    rig.seller.script["update"] = None
    await read_meter(rig, hours(500, 2000))
    await heard(rig, "order.tags.BUYER_ALLOC")
    assert rig.seller.order is not None and rig.seller.order.quote is not None
    rig.seller.become(buyer_alloc_wh=hours(500, 2000))
    rig.seller.settle(hours(1000, 2000), lines=rig.seller.order.quote.lines, flows=())
    await rig.seller.tell("on_update")
    return await rig.until(order["order_id"], "DISPUTED")


async def test_another_figure_of_the_seller_is_disputed_and_the_seller_hears_ours(rig: BuyerRig) -> None:
    shown = await differing(rig)
    assert (shown["dispute"]["buyer_total_milli"], shown["dispute"]["seller_total_milli"]) == (57_000, QUOTED_MILLI)
    told = values_of(await heard(rig, "order.tags.DISPUTE"), "DISPUTE")
    assert (told["id"], told["total"], told["opened_by"]) == (shown["dispute"]["dispute_id"], "0.57", "BUYER")
    assert await rig.wallet() == (WALLET_MILLI - QUOTED_MILLI, QUOTED_MILLI)
    [listed] = (await rig.get("/api/disputes", state="OPEN")).json()["items"]
    assert listed == shown["dispute"]


async def test_a_dispute_nobody_decides_ends_at_the_lesser_figure(rig: BuyerRig) -> None:
    shown = await differing(rig)
    await move_clock(rig, SLOT_START + timedelta(days=20))
    await closing.close_overdue(rig.node)
    shown = await rig.shown(shown["order_id"])
    assert (shown["state"], shown["dispute"]["resolution"]) == ("COMPLETED", "LESSER")
    assert await rig.wallet() == (WALLET_MILLI - 57_000, 0)
    assert (await rig.get("/api/disputes", state="OPEN")).json()["items"] == []
    await assert_books_balance(rig)


async def test_an_operator_accepts_the_sellers_figure_and_it_is_booked_told_and_audited(rig: BuyerRig) -> None:
    shown = await differing(rig)
    path = f"/api/disputes/{shown['dispute']['dispute_id']}/resolve"
    decision = {"outcome": "ACCEPT_THEIRS", "note": "Our meter stood still."}
    assert (await rig.client.post(path, json=decision, headers=rig.app)).status_code == 403
    decided = await rig.client.post(path, json=decision, headers=OPERATOR)
    assert decided.status_code == 200, decided.text
    assert decided.json()["resolution"] == "ACCEPT_THEIRS"
    shown = await rig.shown(shown["order_id"])
    assert (shown["state"], shown["settlement"]["total_milli"]) == ("COMPLETED", QUOTED_MILLI)
    assert shown["settlement"]["lines"][-1]["kind"] == "RESOLUTION"
    assert await rig.wallet() == (WALLET_MILLI - QUOTED_MILLI, 0)
    told = values_of(await heard(rig, "order.tags.RESOLUTION"), "RESOLUTION")
    assert (told["outcome"], told["total"], told["note"]) == ("ACCEPT_THEIRS", "0.68", "Our meter stood still.")
    [entry] = await rig.rows("SELECT detail FROM audit WHERE act = 'dispute.resolved'")
    assert entry["detail"]["note"] == "Our meter stood still."
    again = await rig.client.post(path, json=decision, headers=OPERATOR)
    assert again.status_code == 409
    await rig.seller.tell("on_update")  # the seller's answer says the same figures again: no new dispute
    await rig.processed()
    assert (await rig.shown(shown["order_id"]))["state"] == "COMPLETED"
    await assert_books_balance(rig)


async def test_a_person_objects_to_a_settled_order_and_withdraws(rig: BuyerRig) -> None:
    order = await contract(rig)
    path = f"/api/orders/{order['order_id']}/disputes"
    early = await rig.client.post(path, json={"reason": "Nothing came."}, headers=rig.app)
    assert early.status_code == 409 and "only a settled or cancelled order" in early.text
    await move_clock(rig, OVER)
    rig.seller.metered_wh = hours(1000, 2000)
    await read_meter(rig, hours(1000, 2000))
    await rig.until(order["order_id"], "COMPLETED")
    rig.seller.script["update"] = None
    opened = await rig.client.post(path, json={"reason": "The inverter was off."}, headers=rig.app)
    assert opened.status_code == 201, opened.text
    assert (await rig.shown(order["order_id"]))["state"] == "DISPUTED"
    assert values_of(await heard(rig, "order.tags.DISPUTE"), "DISPUTE")["reason"] == "The inverter was off."
    assert (await rig.client.post(path, json={"reason": "Again."}, headers=rig.app)).status_code == 409
    other = await rig.new_app("other")
    assert (await rig.client.post(path, json={"reason": "Mine?"}, headers=other)).status_code == 404
    await rig.seller.tell("on_update")  # the seller says the same again: a person's objection stays
    await rig.processed()
    assert (await rig.shown(order["order_id"]))["state"] == "DISPUTED"
    resolve = f"/api/disputes/{opened.json()['dispute_id']}/resolve"
    decided = await rig.client.post(resolve, json={"outcome": "WITHDRAW", "note": "It was on."}, headers=OPERATOR)
    assert decided.status_code == 200, decided.text
    shown = await rig.shown(order["order_id"])
    assert (shown["state"], shown["settlement"]["version"]) == ("COMPLETED", 1)
    assert await rig.wallet() == (WALLET_MILLI - QUOTED_MILLI, 0)
    await move_clock(rig, SLOT_START + timedelta(days=40))
    late = await rig.client.post(path, json={"reason": "Late."}, headers=rig.app)
    assert late.status_code == 409 and "time for objections ended" in late.text


async def test_the_seller_objects_and_only_the_seller_can_withdraw(rig: BuyerRig) -> None:
    order = await contract(rig)
    await move_clock(rig, OVER)
    rig.seller.metered_wh = hours(1000, 2000)
    await read_meter(rig, hours(1000, 2000))
    await rig.until(order["order_id"], "COMPLETED")
    rig.seller.script["update"] = None
    objection = Dispute("d-7", Side.SELLER, "Our meter was read twice.", OVER, OVER + timedelta(days=5))
    rig.seller.become(state=OrderState.DISPUTED, dispute=objection)
    await rig.seller.tell("on_update")
    shown = await rig.until(order["order_id"], "DISPUTED")
    assert (shown["dispute"]["dispute_id"], shown["dispute"]["opened_by"]) == ("d-7", "SELLER")
    assert shown["dispute"]["reason"] == "Our meter was read twice."
    assert shown["dispute"]["until"] == (OVER + timedelta(days=5)).isoformat().replace("+00:00", "Z")
    decision = {"outcome": "WITHDRAW", "note": "No."}
    refused = await rig.client.post("/api/disputes/d-7/resolve", json=decision, headers=OPERATOR)
    assert refused.status_code == 409 and "only the seller can withdraw" in refused.text
    rig.seller.become(state=OrderState.COMPLETED, dispute=replace(objection, resolution="WITHDRAW", resolved_at=OVER))
    await rig.seller.tell("on_update")
    shown = await rig.until(order["order_id"], "COMPLETED")
    assert shown["dispute"]["resolution"] == "WITHDRAW"
    assert await rig.wallet() == (WALLET_MILLI - QUOTED_MILLI, 0)


async def test_a_fee_above_the_terms_waits_in_escrow_and_lapses_to_what_was_agreed(rig: BuyerRig) -> None:
    order = await rig.order()
    await move_clock(rig, SLOT_START - timedelta(hours=2))

    async def charge(request: dict[str, Any]) -> None:
        quote = rig.seller.become(state=OrderState.CANCELLED, cancelled_by="CONSUMER").quote
        assert quote is not None
        line = QuoteLine(LineKind.CANCELLATION_FEE, "DISCOM_FEES", 40_000)
        rig.seller.become(quote=replace(quote, lines=(line,)))
        await rig.seller.tell("on_cancel", request=request)

    rig.seller.script |= {"cancel": charge, "update": None}
    answer = (await rig.post(f"/api/orders/{order['order_id']}/cancel", {"reason_id": "1"})).json()
    assert answer["state"] == "DISPUTED"
    assert (answer["dispute"]["buyer_total_milli"], answer["dispute"]["seller_total_milli"]) == (15_500, 40_000)
    await move_clock(rig, SLOT_START + timedelta(days=20))
    await closing.close_overdue(rig.node)
    shown = await rig.shown(order["order_id"])
    assert (shown["state"], shown["dispute"]["resolution"]) == ("CANCELLED", "LESSER")
    assert await rig.wallet() == (WALLET_MILLI - 15_500, 0)
    await assert_books_balance(rig)


async def test_a_word_the_seller_was_away_for_is_said_again_in_a_fresh_letter(rig: BuyerRig) -> None:
    shown = await differing(rig)
    first = await heard(rig, "order.tags.DISPUTE")
    lost = Outgoing(
        seq=1,
        letter_id="letter-1",
        url=rig.seller.url,
        receiver_id=rig.seller.who.subscriber_id,
        action="update",
        message_id=first["context"]["message_id"],
        transaction_id=shown["transaction_id"],
        body=b"",
        authorization=None,
        created_at=OVER,
        give_up_at=OVER,
    )
    for outcome in ({"result": "NACK", "code": "30000", "message": "no"}, {"result": "GIVEN_UP", "message": "over"}):
        async with rig.node.database.unit_of_work() as uow:
            await undelivered.on_undelivered(rig.node, uow, lost, outcome, False)
    again = await heard(rig, "order.tags.DISPUTE", 2)
    assert again["context"]["message_id"] != first["context"]["message_id"]
    assert values_of(again, "DISPUTE") == values_of(first, "DISPUTE")
    await asyncio.sleep(0.2)  # a seller that refused the letter is not sent it again
    assert sum(letter["message"].get("update_target") == "order.tags.DISPUTE" for letter in rig.seller.heard) == 2


# --- What is refused --------------------------------------------------------------------------------------------------


async def test_an_offer_under_a_policy_nobody_here_knows_is_shown_but_not_ordered(rig: BuyerRig) -> None:
    await give_meter(rig)
    found = await rig.search()
    for named, digest, sentence in (
        ("moonlight@3", "", "is not known here"),
        ("street@1", "0123456789abcdef", "means other rules by 'street@1'"),
    ):
        await rig.rows(
            "UPDATE search_offers SET document = document || jsonb_build_object('policy', $1::text,"
            " 'policy_digest', $2::text)", named, digest,
        )  # fmt: skip
        refused = await rig.post("/api/orders", rig.choice(found))
        assert refused.status_code == 422, refused.text
        assert sentence in refused.json()["error"]["sentence"], refused.text


async def test_an_account_without_a_meter_cannot_order_where_both_meters_count(rig: BuyerRig) -> None:
    rig.seller.offer = replace(rig.seller.offer, policy="street@1")
    refused = await rig.post("/api/orders", rig.choice(await rig.search()))
    assert refused.status_code == 422
    assert "give the account its meter" in refused.text


async def test_a_quote_under_another_policy_than_the_offers_refuses_the_order(rig: BuyerRig) -> None:
    await give_meter(rig)
    rig.seller.offer = replace(rig.seller.offer, policy="street@1")
    found = await rig.search()
    rig.seller.offer = replace(rig.seller.offer, policy="plain@1")
    order = (await rig.post("/api/orders", rig.choice(found))).json()
    assert (order["state"], order["refusal"]["code"]) == ("REFUSED", "QUOTE_UNFIT")
    assert "quoted under plain@1 what it offered under street@1" in order["refusal"]["sentence"]


async def test_a_meter_is_one_accounts_and_stays_while_its_orders_are_open(rig: BuyerRig) -> None:
    assert (await give_meter(rig, "not a meter")).status_code == 422
    first = await give_meter(rig, f"der://meter/{METER.lower()}")
    assert (first.status_code, first.json()["meter_id"]) == (200, METER)
    mine, rig.account_id = rig.account_id, await rig.new_account()
    assert (await give_meter(rig)).status_code == 409
    rig.account_id = mine
    await contract(rig)
    refused = await give_meter(rig, "another-meter")
    assert refused.status_code == 409 and "not settled yet" in refused.text
    other = await rig.new_app("other")
    hidden = await rig.client.put(f"/api/accounts/{mine}/meter", json={"meter_id": "m-1"}, headers=other)
    assert hidden.status_code == 404


async def test_a_meter_held_by_another_node_or_a_silent_registry_keeps_it_from_the_account(rig: BuyerRig) -> None:
    claims = rig.node.claims
    assert isinstance(claims, HandHeldClaims)
    claims.elsewhere.add((METER, "IMPORT"))
    assert (await give_meter(rig)).status_code == 409
    claims.elsewhere.clear()
    claims.silent = True
    silent = await give_meter(rig)
    assert (silent.status_code, silent.headers["Retry-After"]) == (503, "2")
    assert (await rig.get(f"/api/accounts/{rig.account_id}")).json()["meter_id"] == ""
    claims.silent = False
    assert (await give_meter(rig)).status_code == 200
    assert (await give_meter(rig, "next-meter")).json()["meter_id"] == "next-meter"
    assert claims.own == {("next-meter", "IMPORT")}


async def test_an_order_is_paid_in_the_offers_currency_and_needs_money_of_it(rig: BuyerRig) -> None:
    rig.seller.offer = replace(rig.seller.offer, currency="XWH")
    order = await rig.order("init")
    refused = await rig.post(f"/api/orders/{order['order_id']}/confirm")
    assert refused.status_code == 402, refused.text
    assert refused.json()["error"]["sentence"].startswith("The wallet holds 0.000 XWH and this would reserve 0.680;")
    body = {"amount_minor": 1_000, "reference": "credits", "currency": "XWH"}
    paid = await rig.client.post(f"/api/accounts/{rig.account_id}/deposits", json=body, headers=OPERATOR)
    assert paid.status_code == 201, paid.text
    confirmed = await rig.post(f"/api/orders/{order['order_id']}/confirm")
    assert confirmed.json()["state"] == "ACTIVE", confirmed.text
    await move_clock(rig, OVER)
    rig.seller.settle(hours(1000, 2000))
    await rig.seller.tell("on_status")
    shown = await rig.until(order["order_id"], "COMPLETED")
    account = (await rig.get(f"/api/accounts/{rig.account_id}")).json()
    credits = next(held for held in account["balances"] if held["currency"] == "XWH")
    assert credits["balance_milli"] == 1_000_000 - shown["settlement"]["total_milli"]
    assert account["balance_milli"] == WALLET_MILLI
    await assert_books_balance(rig)


async def test_a_rating_is_changed_until_its_time_is_over(rig: BuyerRig) -> None:
    order = await rig.order()
    path = f"/api/orders/{order['order_id']}/rating"
    for value in ("3", "5"):
        assert (await rig.post(path, {"category": "Order", "value": value})).status_code == 202
    assert (await rig.shown(order["order_id"]))["ratings"] == [{"category": "Order", "value": "5"}]
    for days in (31, 62):  # settled unanswered after 30 days, and rated for 30 more
        await move_clock(rig, SLOT_START + timedelta(days=days))
        await closing.close_overdue(rig.node)
    late = await rig.post(path, {"category": "Order", "value": "1"})
    assert late.status_code == 409 and "time for rating" in late.text
