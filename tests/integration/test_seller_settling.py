"""Settling by both meters on a seller's node, as letters and readings come: first, last, late, wrong, twice, never."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bap import translate as wire
from schemas import tags
from store import transfers
from tests.support.post_office import OTHER_BAP
from tests.support.seller_rig import Seller, offer_json, run_jobs, running_seller, wanted
from tests.support.trade_cases import SLOT_START, an_offer, hours
from trade.money import Series
from trade.order import Order
from trade.policy import BUILT_IN

HOUR = timedelta(hours=1)
DUE = SLOT_START + HOUR + timedelta(days=2)


async def open_shop(seller: Seller, policy: str = "street@1") -> None:
    """A provider with one offer under this policy."""
    provider = {"provider_id": "home-7", "name": "Home 7", "gps": "34.10624, -117.43511", "meter_id": "meter-7"}
    await seller.asked("POST", "/api/providers", provider)
    offer = an_offer(offered_wh=hours(10_000, 10_000, 10_000), gate_closure_s=0)
    await seller.asked("POST", "/api/offers", offer_json(offer, policy=policy))


@pytest.fixture
async def seller(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url) as running:
        await open_shop(running)
        yield running


def order_of(*values: int, meter: str = "buyer-1", policy: str = "street@1") -> Order:
    """An order whose buyer names its meter."""
    return wanted(*(values or (1000,)), buyer_meter_id=meter, policy=BUILT_IN[policy])


async def contract(seller: Seller, *values: int, **named: str) -> Order:
    return await seller.contract(order_of(*values, **named))


async def allocate(seller: Seller, order: Order, *values: int, round_: int = 1, **options: Any) -> dict[str, Any]:
    """The buyer's word, and the answer."""
    message = wire.allocation_to_wire(order, Series(SLOT_START, 3600, values), round_)
    return await seller.send("update", message, transaction_id=order.transaction_id, **options)


def groups(letter: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The tag groups of a letter's order, by code."""
    found = letter["message"]["order"]["tags"]
    return {group["descriptor"]["code"]: tags.group_from_wire([group], group["descriptor"]["code"]) for group in found}


def values(letter: dict[str, Any], code: str) -> tuple[str, str]:
    """An allocation's values and its round."""
    group = groups(letter)[code]
    return group["values"], group["round"]


async def shown(seller: Seller, order: Order) -> dict[str, Any]:
    return await seller.of_wire(order.wire_order_id)


async def after(seller: Seller, *readings_wh: int, moved_to: timedelta = HOUR) -> None:
    """The clock past the first hour, and its readings; what is told of the start of delivery is put aside."""
    await seller.move_clock(SLOT_START + moved_to)
    if readings_wh:
        await seller.measure(*readings_wh, start=SLOT_START)
    seller.caught.letters = [x for x in seller.caught.letters if x["context"]["action"] != "on_status"]


async def balance(seller: Seller, account: str) -> int:
    async with seller.node.database.unit_of_work() as uow:
        return await transfers.balance(uow, account, "USD")


# --- Order ---------------------------------------------------------------------------------------------------------


async def test_a_quote_names_its_policy_and_what_was_free(seller: Seller) -> None:
    letter = await seller.init(order_of())
    item = letter["message"]["order"]["items"][0]
    terms = tags.offer_terms_from_wire(item["tags"], path="")
    policies = {entry["id"]: entry for entry in (await seller.asked("GET", "/api/policies"))["items"]}
    assert (terms.policy, terms.policy_digest) == ("street@1", policies["street@1"]["digest"])
    free = tags.series_from_wire(item["tags"], tags.AVAILABLE_SERIES, path="")
    assert free is not None
    assert free.values == (10_000,)
    assert groups(letter)[tags.BUYER_METER] == {"meter_id": "buyer-1"}


async def test_a_two_sided_policy_needs_the_buyers_meter_at_init(seller: Seller) -> None:
    assert "error" not in await seller.select(wanted(1000))
    refused = await seller.init(order_of(meter=""))
    assert refused["error"]["code"] == "30000"
    assert "name the buyer's: order.tags BUYER_METER" in refused["error"]["message"]


async def test_a_meter_does_not_trade_with_itself(seller: Seller) -> None:
    refused = await seller.init(order_of(meter="meter-7"))
    assert refused["error"]["code"] == "30000"
    assert "a contract needs two meters" in refused["error"]["message"]


async def test_a_buyer_that_means_other_rules_is_told(seller: Seller) -> None:
    message = wire.init_to_wire(order_of())
    item = message["order"]["items"][0]
    item["tags"] = [group for group in item["tags"] if group["descriptor"]["code"] != tags.OFFER_TERMS]
    item["tags"].append(tags.offer_terms_to_wire(tags.OfferTermsTag(None, None, "street@1", "0123456789abcdef")))
    refused = await seller.send("init", message)
    assert refused["error"]["code"] == "40003"
    assert "settled by policy street@1 (digest" in refused["error"]["message"]


# --- Both sides ------------------------------------------------------------------------------------------------------


async def test_the_sellers_readings_first_then_the_buyers_word_settle_at_once(seller: Seller) -> None:
    order = await contract(seller)
    await after(seller, 800)
    assert (await shown(seller, order))["settlement"] is None
    assert seller.caught.letters == []
    answer = await allocate(seller, order, 700)
    assert values(answer, tags.BUYER_ALLOC) == ("700", "1")
    assert values(answer, tags.SELLER_ALLOC) == ("800", "1")
    assert values(answer, tags.FINAL_ALLOC) == ("700", "1")
    assert groups(answer)[tags.METER_READINGS]["values"] == "800"
    settled = groups(answer)[tags.SETTLEMENT]
    assert (settled["version"], settled["rule"], settled["state"], settled["total"]) == (
        "1", "MIN_OF_TWO", "SETTLED", "0.154",
    )  # fmt: skip
    assert answer["message"]["order"]["status"] == "COMPLETE"
    assert await balance(seller, "provider:home-7") == 14_000
    assert seller.caught.letters == []


async def test_the_buyers_word_first_then_the_readings_settle_unasked(seller: Seller) -> None:
    order = await contract(seller)
    await after(seller)
    answer = await allocate(seller, order, 700)
    assert values(answer, tags.BUYER_ALLOC) == ("700", "1")
    assert {tags.SELLER_ALLOC, tags.FINAL_ALLOC, tags.SETTLEMENT}.isdisjoint(groups(answer))
    await seller.measure(800, start=SLOT_START)
    letter = await seller.caught.letter("on_update")
    assert values(letter, tags.FINAL_ALLOC) == ("700", "1")
    assert letter["context"]["transaction_id"] == order.transaction_id
    seen = await shown(seller, order)
    assert (seen["state"], seen["policy"]["policy"]) == ("COMPLETED", "street@1")
    assert {side: seen["allocations"][side]["energy_wh"] for side in ("buyer", "seller", "final")} == {
        "buyer": [700], "seller": [800], "final": [700],
    }  # fmt: skip
    assert sum(flow["amount_milli"] for flow in seen["settlement"]["flows"]) == 15_400


async def test_two_buyers_share_the_sellers_meter_and_neither_waits_for_the_other(seller: Seller) -> None:
    one, two = await contract(seller), await contract(seller, meter="buyer-2")
    await after(seller, 1000)
    assert values(await allocate(seller, one, 1000), tags.FINAL_ALLOC) == ("500", "1")
    assert (await shown(seller, two))["settlement"] is None
    assert values(await allocate(seller, two, 100), tags.FINAL_ALLOC) == ("100", "1")


async def test_a_duplicate_word_is_answered_and_moves_nothing(seller: Seller) -> None:
    order = await contract(seller)
    await after(seller, 800)
    await allocate(seller, order, 700)
    again = await allocate(seller, order, 700)
    assert groups(again)[tags.SETTLEMENT]["version"] == "1"
    assert await balance(seller, "provider:home-7") == 14_000


async def test_a_silent_buyer_counts_as_zero_once_it_is_due_and_its_late_word_corrects_that(seller: Seller) -> None:
    order = await contract(seller)
    await after(seller, 800)
    await seller.move_clock(DUE - timedelta(seconds=1))
    assert (await shown(seller, order))["settlement"] is None
    await seller.move_clock(DUE)
    letter = await seller.caught.letter("on_update")
    assert values(letter, tags.BUYER_ALLOC) == ("0", "1")
    assert values(letter, tags.FINAL_ALLOC) == ("0", "1")
    assert groups(letter)[tags.SETTLEMENT]["total"] == "0.00"
    answer = await allocate(seller, order, 700)
    settled = groups(answer)[tags.SETTLEMENT]
    assert (settled["version"], settled["state"], settled["total"]) == ("2", "CORRECTED", "0.154")
    assert await balance(seller, "receivable:bap.example") == -15_400


async def test_a_seller_without_readings_counts_as_zero_once_it_is_due(seller: Seller) -> None:
    order = await contract(seller)
    await after(seller)
    await allocate(seller, order, 1000)
    await seller.move_clock(DUE)
    assert values(await seller.caught.letter("on_update"), tags.SELLER_ALLOC) == ("0", "1")
    await seller.measure(900, start=SLOT_START)
    letter = await seller.caught.letter("on_update")
    assert values(letter, tags.FINAL_ALLOC) == ("900", "1")
    assert (await shown(seller, order))["settlement"]["version"] == 2


# --- Corrections -----------------------------------------------------------------------------------------------------


async def test_a_corrected_reading_settles_every_contract_on_the_meter_again(seller: Seller) -> None:
    one, two = await contract(seller), await contract(seller, meter="buyer-2")
    await after(seller, 1000)
    for order in (one, two):
        await allocate(seller, order, 1000)
    await seller.measure(1400, start=SLOT_START)
    letters = [await seller.caught.letter("on_update") for _ in (one, two)]
    assert {values(letter, tags.FINAL_ALLOC) for letter in letters} == {("700", "1")}
    seen = await shown(seller, one)
    assert [result["delivered"]["energy_wh"] for result in seen["superseded"]] == [[500]]
    assert seen["settlement"]["version"] == 2
    assert await balance(seller, "provider:home-7") == 2 * 700 * 20
    proof = await seller.asked("GET", "/api/ledger/proof")
    assert proof["balanced"]


async def test_a_word_before_the_correction_counts_and_the_same_reading_twice_changes_nothing(seller: Seller) -> None:
    order = await contract(seller)
    await after(seller, 1000)
    await seller.measure(600, start=SLOT_START)
    assert values(await allocate(seller, order, 1000), tags.FINAL_ALLOC) == ("600", "1")
    await seller.measure(600, start=SLOT_START)
    await run_jobs(seller)
    assert seller.caught.letters == []


async def test_a_buyers_correction_is_answered_with_the_next_version(seller: Seller) -> None:
    order = await contract(seller)
    await after(seller, 1000)
    await allocate(seller, order, 300)
    answer = await allocate(seller, order, 450)
    assert groups(answer)[tags.SETTLEMENT]["version"] == "2"
    assert await balance(seller, "provider:home-7") == 9_000


async def test_nothing_is_corrected_any_more_once_the_time_for_it_is_over(seller: Seller) -> None:
    order = await contract(seller)
    await after(seller, 1000)
    await allocate(seller, order, 300)
    await seller.move_clock(SLOT_START + HOUR + timedelta(days=30))
    refused = await allocate(seller, order, 450)
    assert refused["error"]["code"] == "50002"
    assert "settled for good" in refused["error"]["message"]
    await seller.measure(100, start=SLOT_START)
    assert (await shown(seller, order))["settlement"]["version"] == 1


async def test_what_was_curtailed_is_settled_at_what_was_left(seller: Seller) -> None:
    order = await contract(seller, 1000, 1000)
    own = await shown(seller, order)
    left = {"start": SLOT_START.isoformat(), "slot_s": 3600, "energy_wh": [1000, 250]}
    cut = await seller.asked("POST", f"/api/orders/{own['order_id']}/curtail", {"contracted": left, "reason": "storm"})
    assert cut["curtailed"]["energy_wh"] == [0, 750]
    letter = await seller.caught.letter("on_update")
    item = letter["message"]["order"]["items"][0]
    taken = tags.series_from_wire(item["tags"], tags.CURTAILED_SERIES, path="")
    assert taken is not None
    assert taken.values == (0, 750)
    await after(seller, 1000, 1000, moved_to=2 * HOUR)
    assert values(await allocate(seller, order, 1000, 1000), tags.FINAL_ALLOC) == ("1000 250", "1")


async def test_a_penalty_is_charged_and_told_as_the_contracts_policy_says(database_url: str) -> None:
    """The wave-2 devkit's rates: 0.25 and 0.30 of wheeling and 0.50 a kWh of penalty, always the seller's."""
    async with running_seller(database_url) as seller:
        await open_shop(seller, "deg-wave2@1")
        order = await contract(seller, policy="deg-wave2@1")
        own = await shown(seller, order)
        assert (own["wheeling_micro_per_kwh"], [line["amount_milli"] for line in own["quote"]["lines"]]) == (
            20_000, [20_000, 2_000],
        )  # fmt: skip
        await after(seller, 600)
        answer = await allocate(seller, order, 1000)
        assert groups(answer)[tags.SETTLEMENT]["total"] == "0.13"  # 0.12 for 0.6 kWh, 0.012 of wheeling in cents
        flows = (await shown(seller, order))["settlement"]["flows"]
        assert {(flow["kind"], flow["payer"], flow["payee"]): flow["amount_milli"] for flow in flows} == {
            ("ENERGY", "BUYER", "SELLER"): 12_000,
            ("WHEELING", "BUYER", "BUYER_UTILITY"): 1_000,
            ("WHEELING", "SELLER", "SELLER_UTILITY"): 18_000,
            ("PENALTY", "SELLER", "SELLER_UTILITY"): 20_000,
        }
        assert await balance(seller, "provider:home-7") == 12_000 - 18_000 - 20_000
        assert await balance(seller, "receivable:bap.example") == -13_000


async def test_the_score_of_a_provider_follows_what_it_delivered(seller: Seller) -> None:
    one, two = await contract(seller), await contract(seller, meter="buyer-2")
    await after(seller, 1000)
    await allocate(seller, one, 0)  # not taken, though it was delivered: that is not the seller's fault
    await allocate(seller, two, 1000)

    async def score() -> tuple[Any, Any]:
        provider = await seller.asked("GET", "/api/providers/home-7")
        return provider["delivered_per_mille"], provider["settled"]

    assert await score() == (500, 2)
    await seller.measure(1800, start=SLOT_START)
    assert await score() == (900, 2)


# --- Rounds ----------------------------------------------------------------------------------------------------------


async def test_three_rounds_give_one_buyer_what_the_other_leaves(database_url: str) -> None:
    async with running_seller(database_url) as seller:
        await open_shop(seller, "iterated@1")
        one, two = (
            await contract(seller, policy="iterated@1"),
            await contract(seller, meter="buyer-2", policy="iterated@1"),
        )
        await after(seller, 1200)
        for round_ in (1, 2, 3):
            answer = await allocate(seller, one, 200, round_=round_)
            assert values(answer, tags.BUYER_ALLOC) == ("200", str(round_))
            await allocate(seller, two, 1000, round_=round_)
            letters = [await seller.caught.letter("on_update") for _ in (one, two)]
            assert {values(letter, tags.FINAL_ALLOC)[1] for letter in letters} == {str(round_)}
        assert (await shown(seller, one))["settlement"]["delivered"]["energy_wh"] == [200]
        assert (await shown(seller, two))["settlement"]["delivered"]["energy_wh"] == [1000]


async def test_a_round_that_nobody_closes_is_closed_when_it_is_due(database_url: str) -> None:
    async with running_seller(database_url) as seller:
        await open_shop(seller, "iterated@1")
        order = await contract(seller, policy="iterated@1")
        await after(seller, 1000)
        await allocate(seller, order, 400)
        assert values(await seller.caught.letter("on_update"), tags.FINAL_ALLOC) == ("400", "1")
        await seller.move_clock(SLOT_START + HOUR + timedelta(days=4))
        assert values(await seller.caught.letter("on_update"), tags.FINAL_ALLOC) == ("400", "2")
        await seller.move_clock(SLOT_START + HOUR + timedelta(days=6))
        letter = await seller.caught.letter("on_update")
        assert values(letter, tags.FINAL_ALLOC) == ("400", "3")
        assert groups(letter)[tags.SETTLEMENT]["total"] == "0.088"


# --- Refusals --------------------------------------------------------------------------------------------------------


async def test_words_that_cannot_count_are_refused_in_the_callback(seller: Seller) -> None:
    order = await contract(seller)
    message = wire.allocation_to_wire(order, Series(SLOT_START, 3600, (700, 1)), 1)
    assert (await seller.send("update", message))["error"]["code"] == "30013"
    assert (await allocate(seller, order, 700, round_=2))["error"]["code"] == "30013"
    assert (await allocate(seller, order, 700, who=OTHER_BAP))["error"]["code"] == "30010"
    message = wire.allocation_to_wire(order, Series(SLOT_START, 3600, (700,)), 1)
    message["order"]["tags"][-1]["list"][3]["value"] = "-700"
    refused = await seller.send("update", message)
    assert refused["error"]["code"] == "30000"
    assert "message.order.tags.BUYER_ALLOC.values must be whole numbers" in refused["error"]["message"]
    message["order"]["tags"] = []
    assert "BUYER_ALLOC is missing" in (await seller.send("update", message))["error"]["message"]
    message["update_target"] = "order.tags.SELLER_ALLOC"
    assert (await seller.send("update", message))["error"]["code"] == "30012"


async def test_a_one_sided_contract_takes_no_allocation(database_url: str) -> None:
    async with running_seller(database_url) as seller:
        await open_shop(seller, "plain@1")
        order = await contract(seller, policy="plain@1")
        refused = await allocate(seller, order, 700)
        assert refused["error"]["code"] == "40001"
        assert "by the seller's meter alone" in refused["error"]["message"]
