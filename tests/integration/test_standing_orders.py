"""Standing orders over HTTP, with a real database and a scripted seller: refusals, runs, and what stops a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bap import jobs, letters, standing_runs
from bap.standing_run import RunState
from tests.support.buyer_rig import OPERATOR, BuyerRig, buyer_rig

#: 1 and 2 kWh at 0.20 and 0.21, wheeling at 0.02: 0.22 and 0.23 all-in; thousandths of a cent.
TWO_SLOTS_MILLI = 22_000 + 46_000


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url, standing_offers_s=0.3) as running:
        yield running


def wanted(rig: BuyerRig, **changes: Any) -> dict[str, Any]:
    """At two o'clock, 3 kWh of the afternoon of the same day at 0.30 at most."""
    return {
        "account_id": rig.account_id,
        "zone": "UTC",
        "when": {"at": "02:00"},
        "window": {"days_ahead": 0, "start": "15:00", "end": "18:00"},
        "energy": {"total_wh": 3000},
        "price_per_kwh_max": "0.30",
        **changes,
    }


async def leave(rig: BuyerRig, **changes: Any) -> str:
    """Leave a standing order; its id."""
    made = await rig.post("/api/standing-orders", wanted(rig, **changes), wait=0)
    assert made.status_code == 201, made.text
    return str(made.json()["standing_order_id"])


async def strike_two(rig: BuyerRig, *, day: int = 2) -> None:
    """Move the trading clock to two o'clock: runs begin."""
    answer = await rig.client.put("/api/clock", json={"trading_time": f"2016-08-{day:02}T02:00:00Z"}, headers=OPERATOR)
    assert answer.status_code == 200, answer.text


async def last_run(rig: BuyerRig, standing_order_id: str) -> dict[str, Any]:
    """The newest run."""
    runs: list[dict[str, Any]] = (await rig.get(f"/api/standing-orders/{standing_order_id}/runs")).json()["items"]
    return runs[0]


async def done(rig: BuyerRig, standing_order_id: str) -> dict[str, Any]:
    """The newest run, once it is done."""
    async with asyncio.timeout(15):
        while (run := await last_run(rig, standing_order_id))["state"] != "DONE":
            await standing_runs.go_on(rig.node)
            await asyncio.sleep(0.05)
    return run


async def problem(answer: Any, status: int) -> dict[str, Any]:
    """The error object of an answer that must have this status."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["sentence"]
    return error


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"when": {}}, "when"),
        ({"when": {"at": "02:00", "before_delivery_s": 60}}, "when"),
        ({"when": {"at": "24:00"}}, "when.at"),
        ({"when": {"at": "19:00"}}, "body"),
        ({"window": {"start": "18:00", "end": "15:00"}}, "window"),
        ({"window": {"days_ahead": 8}}, "window.days_ahead"),
        ({"energy": {}}, "energy"),
        ({"energy": {"total_wh": 5, "slot_s": 900, "slot_wh": 5}}, "energy"),
        ({"energy": {"slot_wh": 5}}, "energy"),
        ({"energy": {"total_wh": 0}}, "energy.total_wh"),
        ({"price_per_kwh_max": "cheap"}, "price_per_kwh_max"),
        ({"price_per_kwh_max": "0"}, "price_per_kwh_max"),
        ({"ranking": "DEAREST"}, "ranking"),
        ({"source": "COAL"}, "source"),
        ({"score_min": 1001}, "score_min"),
        ({"spend_milli_max": 0}, "spend_milli_max"),
        ({"weekday": 1}, "weekday"),
    ],
)
async def test_terms_that_cannot_be_are_422_and_name_the_field(
    rig: BuyerRig, change: dict[str, Any], field: str
) -> None:
    answer = await rig.post("/api/standing-orders", wanted(rig, **change), wait=0)
    assert (await problem(answer, 422))["field"] == field


async def test_a_standing_order_is_its_apps_alone(rig: BuyerRig) -> None:
    standing_order_id, path = await leave(rig), "/api/standing-orders"
    mine, rig.app = rig.app, await rig.new_app("other")
    for call in (
        rig.get(f"{path}/{standing_order_id}"),
        rig.get(f"{path}/{standing_order_id}/runs"),
        rig.get(f"{path}/{standing_order_id}/events"),
        rig.client.patch(f"{path}/{standing_order_id}", json={"active": False}, headers=rig.app),
        rig.client.delete(f"{path}/{standing_order_id}", headers=rig.app),
        rig.post(path, wanted(rig), wait=0),
    ):
        await problem(await call, 404)
    assert (await rig.get(path)).json()["items"] == []
    seen = await rig.client.get(f"{path}/{standing_order_id}", headers=OPERATOR)
    assert seen.json()["account_id"] == rig.account_id
    await problem(await rig.client.post(path, json=wanted(rig), headers=OPERATOR), 403)
    rig.app = mine
    assert [item["standing_order_id"] for item in (await rig.get(path)).json()["items"]] == [standing_order_id]


async def test_an_account_has_a_bounded_number_of_standing_orders(rig: BuyerRig) -> None:
    for _ in range(20):
        await leave(rig)
    error = await problem(await rig.post("/api/standing-orders", wanted(rig), wait=0), 409)
    assert error["field"] == "account_id"


async def test_a_cursor_that_is_none_is_422(rig: BuyerRig) -> None:
    standing_order_id = await leave(rig)
    await problem(await rig.get("/api/standing-orders", after="x"), 422)
    await problem(await rig.get(f"/api/standing-orders/{standing_order_id}/runs", after="WyJ4Il0"), 422)


# --- Runs -------------------------------------------------------------------------------------------------------------


async def test_a_run_searches_chooses_and_buys_and_tells_the_app(rig: BuyerRig) -> None:
    standing_order_id = await leave(rig)
    shown = (await rig.get(f"/api/standing-orders/{standing_order_id}")).json()
    assert (shown["next_run_at"], shown["price_per_kwh_max"]) == ("2016-08-02T02:00:00Z", "0.3")
    await strike_two(rig)
    run = await done(rig, standing_order_id)
    assert (run["run_date"], run["wanted_wh"], run["bought_wh"]) == ("2016-08-02", 3000, 3000)
    assert (run["total_milli"], run["sentences"]) == (TWO_SLOTS_MILLI, [])
    (bought,) = run["orders"]
    assert (bought["outcome"], bought["wanted"]["energy_wh"]) == ("BOUGHT", [1000, 2000])
    assert (await rig.shown(bought["order_id"]))["state"] == "ACTIVE"
    assert (await rig.wallet())[1] == TWO_SLOTS_MILLI
    assert await rig.events(f"standing:{standing_order_id}") == ["standing.run_done"]
    shown = (await rig.get(f"/api/standing-orders/{standing_order_id}")).json()
    assert shown["next_run_at"] == "2016-08-03T02:00:00Z"


async def test_one_date_is_bought_once_however_often_the_jobs_run(rig: BuyerRig) -> None:
    standing_order_id = await leave(rig)
    await strike_two(rig)
    await done(rig, standing_order_id)
    changed = await rig.client.patch(
        f"/api/standing-orders/{standing_order_id}", json={"terms": wanted_terms(rig, "02:01")}, headers=rig.app
    )
    assert changed.json()["next_run_at"] == "2016-08-02T02:01:00Z"
    await rig.client.put("/api/clock", json={"trading_time": "2016-08-02T02:01:00Z"}, headers=OPERATOR)
    for _ in range(3):
        await standing_runs.start_due(rig.node)
        await standing_runs.go_on(rig.node)
    assert len((await rig.get(f"/api/standing-orders/{standing_order_id}/runs")).json()["items"]) == 1
    assert len((await rig.get("/api/orders")).json()["items"]) == 1


def wanted_terms(rig: BuyerRig, at: str) -> dict[str, Any]:
    """The usual terms at another time."""
    return {name: value for name, value in wanted(rig, when={"at": at}).items() if name != "account_id"}


async def test_two_replicas_that_run_at_once_buy_once(rig: BuyerRig) -> None:
    # Both replicas' jobs are this node's functions, run at the same time on connections of their own: whoever comes
    # second finds the standing order's row, and later the run's, locked, and leaves it.
    standing_order_id = await leave(rig)
    rig.node.trading.move_to(rig.node.trading.now() + timedelta(hours=1))  # type: ignore[attr-defined]
    await asyncio.gather(*(standing_runs.start_due(rig.node) for _ in range(4)))
    async with asyncio.timeout(15):
        while (await last_run(rig, standing_order_id))["state"] != "DONE":
            await asyncio.gather(*(standing_runs.go_on(rig.node) for _ in range(4)))
            await asyncio.sleep(0.02)
    actions = [letter["context"]["action"] for letter in rig.seller.heard]
    assert sorted(actions) == ["confirm", "init", "search", "select"]
    assert (await rig.wallet())[1] == TWO_SLOTS_MILLI


async def test_a_crash_between_any_two_steps_loses_nothing_and_buys_nothing_twice(
    rig: BuyerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every letter's first attempt dies after it was written and before the step is committed.
    real, died = letters.send, set()

    async def dies_once(*arguments: Any, **named: Any) -> None:
        await real(*arguments, **named)
        if named["action"] not in died:
            died.add(named["action"])
            raise asyncio.CancelledError  # nothing of the node runs after this

    monkeypatch.setattr(letters, "send", dies_once)
    standing_order_id = await leave(rig)
    await strike_two(rig)
    async with asyncio.timeout(15):
        while (await last_run(rig, standing_order_id))["state"] != "DONE":
            with suppress(asyncio.CancelledError):
                await standing_runs.go_on(rig.node)
            await asyncio.sleep(0.02)
    assert died >= {"select", "init", "confirm"}
    assert sorted(letter["context"]["action"] for letter in rig.seller.heard) == ["confirm", "init", "search", "select"]
    assert (await rig.wallet())[1] == TWO_SLOTS_MILLI
    assert len((await rig.get("/api/orders")).json()["items"]) == 1


async def test_a_run_that_fails_by_a_defect_keeps_no_other_waiting(
    rig: BuyerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, real = await leave(rig), standing_runs._Step.search

    async def fails(step: Any) -> None:
        if step.run.standing_order_id == broken:
            raise RuntimeError("a defect")
        await real(step)

    monkeypatch.setattr(standing_runs._Step, "search", fails)
    sound = await leave(rig)
    await strike_two(rig)
    async with asyncio.timeout(15):
        while (await last_run(rig, sound))["state"] != "DONE":
            with suppress(RuntimeError):
                await standing_runs.go_on(rig.node)
            await asyncio.sleep(0.05)
    assert (await last_run(rig, broken))["state"] == "STARTED"
    monkeypatch.undo()
    rig.clock.shift = timedelta(seconds=61)
    assert (await done(rig, broken))["bought_wh"] == 3000


# --- What stops a run -------------------------------------------------------------------------------------------------


async def test_offers_above_the_highest_price_are_left_and_the_run_says_so(rig: BuyerRig) -> None:
    standing_order_id = await leave(rig, price_per_kwh_max="0.2199")
    await strike_two(rig)
    run = await done(rig, standing_order_id)
    assert (run["bought_wh"], run["orders"]) == (0, [])
    assert "0.2199 per kWh or less" in run["sentences"][0]


async def test_offers_that_count_a_meter_the_account_has_not_are_left_and_the_run_says_so(rig: BuyerRig) -> None:
    rig.seller.offer = replace(rig.seller.offer, policy="street@1")
    standing_order_id = await leave(rig)
    await strike_two(rig)
    run = await done(rig, standing_order_id)
    assert (run["bought_wh"], run["orders"]) == (0, [])
    assert "the account's own meter, too, and it has none" in run["sentences"][-1]


async def test_a_quote_above_the_highest_price_is_given_up(rig: BuyerRig) -> None:
    # The offer says 0.20 and 0.21; the quote comes with a wheeling charge that no offer showed.
    async def dearer(request: dict[str, Any]) -> None:
        kept = rig.seller.offer
        rig.seller.offer = replace(kept, wheeling_micro_per_kwh=200_000)
        await rig.seller.answer_honestly(request)
        rig.seller.offer = kept

    rig.seller.script["select"] = dearer
    standing_order_id = await leave(rig)
    await strike_two(rig)
    run = await done(rig, standing_order_id)
    assert [order["outcome"] for order in run["orders"]] == ["GIVEN_UP"]
    assert "above the highest price" in run["orders"][0]["sentence"]
    assert (await rig.wallet())[1] == 0


async def test_the_spend_limit_bounds_a_day(rig: BuyerRig) -> None:
    standing_order_id = await leave(rig, spend_milli_max=33_500)  # 1 kWh at 0.22, and half a kWh at 0.23
    await strike_two(rig)
    run = await done(rig, standing_order_id)
    assert (run["bought_wh"], run["total_milli"]) == (1500, 33_500)
    assert run["sentences"] == ["The spend limit was reached."]


async def test_a_wallet_that_cannot_pay_ends_the_order_and_not_the_standing_order(rig: BuyerRig) -> None:
    rig.account_id = await rig.new_account(1)
    standing_order_id = await leave(rig)
    await strike_two(rig)
    run = await done(rig, standing_order_id)
    assert run["orders"][0]["outcome"] == "GIVEN_UP"
    assert run["orders"][0]["sentence"] == "The wallet holds less than the order costs."
    assert (await rig.get(f"/api/standing-orders/{standing_order_id}")).json()["active"] is True


async def test_a_silent_seller_is_given_up_after_its_time_and_searched_around(rig: BuyerRig) -> None:
    rig.seller.script["select"] = None
    standing_order_id = await leave(rig)
    await strike_two(rig)
    async with asyncio.timeout(15):
        while (await last_run(rig, standing_order_id))["state"] != "DONE":
            await standing_runs.go_on(rig.node)
            if rig.seller.heard and rig.seller.heard[-1]["context"]["action"] == "select":
                rig.clock.shift = timedelta(seconds=31)  # the time a select may take is over
                await jobs.chase_unanswered(rig.node)
            await asyncio.sleep(0.05)
    run = await last_run(rig, standing_order_id)
    assert (run["bought_wh"], run["rounds"]) == (0, 2)
    assert run["orders"][0]["outcome"] == "REFUSED"
    assert "did not answer" in run["orders"][0]["sentence"]


async def test_a_refusal_is_told_and_what_else_is_offered_is_bought(rig: BuyerRig) -> None:
    # The first offer is sold out when it is asked for; by then the seller shows another.
    async def sold_out(request: dict[str, Any]) -> None:
        rig.seller.script.pop("select")
        rig.seller.offer = replace(rig.seller.offer, offer_id="offer-2")
        await rig.seller.refuse(request)

    rig.seller.script["select"] = sold_out
    standing_order_id = await leave(rig)
    await strike_two(rig)
    run = await done(rig, standing_order_id)
    assert [order["outcome"] for order in run["orders"]] == ["REFUSED", "BOUGHT"]
    assert (run["bought_wh"], run["orders"][0]["sentence"]) == (3000, "Sold out.")


async def test_a_seller_that_never_answers_the_confirm_leaves_the_run_done_and_the_order_chased(
    rig: BuyerRig,
) -> None:
    rig.seller.script["confirm"] = None
    standing_order_id = await leave(rig)
    await strike_two(rig)
    async with asyncio.timeout(15):
        while (run := await last_run(rig, standing_order_id))["state"] != "DONE":
            await standing_runs.go_on(rig.node)
            if rig.seller.heard and rig.seller.heard[-1]["context"]["action"] == "confirm":
                rig.clock.shift = timedelta(seconds=61)
                await jobs.chase_unanswered(rig.node)
            await asyncio.sleep(0.05)
    assert [order["outcome"] for order in run["orders"]] == ["UNANSWERED"]
    assert (await rig.wallet())[1] == TWO_SLOTS_MILLI


async def test_a_paused_standing_order_confirms_nothing_more(rig: BuyerRig) -> None:
    rig.seller.script["init"] = None
    standing_order_id = await leave(rig)
    await strike_two(rig)
    async with asyncio.timeout(15):
        while not any(letter["context"]["action"] == "init" for letter in rig.seller.heard):
            await standing_runs.go_on(rig.node)
            await asyncio.sleep(0.05)
    path = f"/api/standing-orders/{standing_order_id}"
    paused = (await rig.client.patch(path, json={"active": False}, headers=rig.app)).json()
    assert (paused["active"], paused["next_run_at"]) == (False, None)
    run = await done(rig, standing_order_id)
    assert run["orders"][0]["outcome"] == "GIVEN_UP"
    assert run["sentences"] == ["The standing order was stopped."]
    resumed = (await rig.client.patch(path, json={"active": True}, headers=rig.app)).json()
    assert resumed["next_run_at"] == "2016-08-03T02:00:00Z"


async def test_an_ended_standing_order_runs_no_more_and_is_gone(rig: BuyerRig) -> None:
    standing_order_id = await leave(rig)
    path = f"/api/standing-orders/{standing_order_id}"
    assert (await rig.client.delete(path, headers=rig.app)).status_code == 204
    await strike_two(rig)
    assert await rig.rows("SELECT 1 FROM standing_runs") == []
    await problem(await rig.get(path), 404)


async def test_dates_that_were_missed_are_not_made_up_for(rig: BuyerRig) -> None:
    standing_order_id = await leave(rig)
    await strike_two(rig, day=6)
    run = await done(rig, standing_order_id)
    assert run["run_date"] == "2016-08-06"
    assert len((await rig.get(f"/api/standing-orders/{standing_order_id}/runs")).json()["items"]) == 1
    assert run["sentences"] == ["No offer had energy in the window at 0.3 per kWh or less, wheeling included."]


async def test_without_a_gateway_the_run_waits_for_one(rig: BuyerRig) -> None:
    standing_order_id = await leave(rig)
    known = rig.directory.records
    rig.directory.records = [record for record in known if record.type != "BG"]
    await strike_two(rig)
    await standing_runs.go_on(rig.node)
    assert (await last_run(rig, standing_order_id))["state"] == RunState.STARTED
    rig.directory.records = known
    rig.clock.shift = timedelta(seconds=31)
    assert (await done(rig, standing_order_id))["bought_wh"] == 3000
