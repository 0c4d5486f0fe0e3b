"""A utility's node and the letters of sellers' nodes: charges, limits, trades logged once and given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from beckn import meter_codes
from beckn.claims import meter_hash
from bpp.translate import utility as wire
from bpp.utility import Request
from tests.support.hand_held_claims import SALT
from tests.support.post_office import OTHER_BAP
from tests.support.seller_rig import Seller, running_seller
from tests.support.utility_cases import REQUEST, a_request, open_grid

CHARGES = wire.Charges(30_000, 10_000, None)


@pytest.fixture
async def utility(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url, utility=True, utility_name="Bright Grid") as running:
        await open_grid(running)
        yield running


async def init(utility: Seller, request: Request, **options: Any) -> dict[str, Any]:
    return await utility.send("init", wire.carry_to_wire(request, utility_id="u", billed_as="bpp"), **options)


async def confirm(utility: Seller, request: Request, **options: Any) -> dict[str, Any]:
    message = wire.carry_to_wire(request, utility_id="u", billed_as="bpp", charges=CHARGES)
    return await utility.send("confirm", message, **options)


async def update(utility: Seller, request: Request) -> dict[str, Any]:
    return await utility.send("update", wire.resize_to_wire(request, utility_id="u"))


async def ask(utility: Seller, action: str, order_id: str, **options: Any) -> dict[str, Any]:
    return await utility.send(action, wire.order_id_to_wire(order_id), **options)


async def left(utility: Seller) -> int | None:
    answer = await init(utility, a_request(0, 0))
    return wire.charges_from_wire(answer["message"]).remaining_wh


async def test_init_is_answered_with_charges_and_the_remaining_limit_and_keeps_nothing(utility: Seller) -> None:
    answer = await init(utility, REQUEST)
    assert wire.charges_from_wire(answer["message"]) == wire.Charges(30_000, 10_000, 4000)
    assert answer["message"]["order"]["provider"]["descriptor"]["name"] == "Bright Grid"
    assert await left(utility) == 4000
    assert (await utility.asked("GET", "/api/utility/trades"))["items"] == []


async def test_a_utility_registers_no_provider_and_publishes_no_offer(utility: Seller) -> None:
    provider = {"provider_id": "home-7", "name": "Home 7", "gps": "34.106, -117.435", "meter_id": "meter-7"}
    offer = {
        "provider_id": "home-7",
        "source": "SOLAR",
        "currency": "USD",
        "energy": {"start": "2016-08-02T10:00:00Z", "slot_s": 3600, "energy_wh": [1000]},
        "price": {"flat_price_per_kwh": "0.20"},
    }
    for path, body in (("/api/providers", provider), ("/api/offers", offer)):
        status, answer = await utility.call("POST", path, body)
        assert (status, "sells nothing" in answer["error"]["sentence"]) == (409, True), answer
    assert (await utility.asked("GET", "/api/providers"))["items"] == []


async def test_a_confirmed_trade_uses_the_limit_once_however_often_it_is_said(utility: Seller) -> None:
    request = a_request()
    for _ in range(2):
        assert wire.is_carried((await confirm(utility, request))["message"])
    assert await left(utility) == 2000
    (trade,) = (await utility.asked("GET", "/api/utility/trades?meter_id=flat-1"))["items"]
    assert (trade["order_id"], trade["state"], trade["wheeling_buyer_per_kwh"]) == (request.order_id, "ACTIVE", "0.03")
    assert wire.is_carried((await ask(utility, "status", request.order_id))["message"])
    changed = await confirm(utility, replace(request, energy_wh=request.energy_wh.with_values((1, 1))))
    assert changed["error"]["code"] == "40001"


@pytest.mark.parametrize(
    ("request_", "code", "sentence"),
    [
        (a_request(2001), "40002", "2 kWh are left"),
        (a_request(seller_meter_id="meter-8"), "30014", "not on this utility's grid"),
        (a_request(currency="INR"), "30000", "in USD, not in INR"),
        (replace(a_request(), order_id=""), "30000", "under which id"),
    ],
)
async def test_a_trade_that_cannot_be_carried_is_refused_in_words(
    utility: Seller, request_: Request, code: str, sentence: str
) -> None:
    if request_.order_id:
        refused = await confirm(utility, request_)
        at_init = await init(utility, request_)
        assert at_init["error"] == refused["error"]
    else:
        message = wire.carry_to_wire(request_, utility_id="u", billed_as="bpp", charges=CHARGES)
        del message["order"]["id"]
        refused = await utility.send("confirm", message)
    assert (refused["error"]["code"], sentence in refused["error"]["message"]) == (code, True), refused
    assert await left(utility) == 4000


async def test_of_many_trades_confirmed_at_once_no_more_are_logged_than_the_limit_carries(utility: Seller) -> None:
    requests = [a_request(500) for _ in range(10)]
    answers = await asyncio.gather(*(confirm(utility, request) for request in requests))
    assert sum("error" not in answer for answer in answers) == 4  # 4 x 500 Wh are the 2 kWh of the slot
    assert {answer["error"]["code"] for answer in answers if "error" in answer} == {"40002"}
    assert await left(utility) == 2000


async def test_cancelling_gives_the_limit_back_once(utility: Seller) -> None:
    request = a_request(2000)
    await confirm(utility, request)
    assert await left(utility) == 2000
    for _ in range(2):
        answer = await ask(utility, "cancel", request.order_id)
        assert answer["message"]["order"]["status"] == "CANCELLED"
    assert await left(utility) == 4000
    assert (await confirm(utility, request))["error"]["code"] == "40001"  # a cancelled trade does not come back
    assert (await update(utility, request))["error"]["code"] == "50002"


async def test_a_changed_trade_gives_back_what_it_no_longer_uses_and_takes_more_if_it_is_left(utility: Seller) -> None:
    request = a_request(2000, 1000)
    await confirm(utility, request)
    less = replace(request, energy_wh=request.energy_wh.with_values((500, 1000)))
    assert wire.is_carried((await update(utility, less))["message"])
    assert await left(utility) == 2500
    assert wire.is_carried((await update(utility, request))["message"])
    too_much = replace(request, energy_wh=request.energy_wh.with_values((2000, 2001)))
    assert (await update(utility, too_much))["error"]["code"] == "40002"
    assert await left(utility) == 1000


async def test_a_limit_that_was_lowered_stops_new_trades_and_lets_old_ones_shrink(utility: Seller) -> None:
    request = a_request(2000, 2000)
    await confirm(utility, request)
    await open_grid(utility, **{"meter-7": {"limit_percent": 10}})
    assert (await confirm(utility, a_request(1)))["error"]["code"] == "40002"
    less = replace(request, energy_wh=request.energy_wh.with_values((1000, 0)))
    assert wire.is_carried((await update(utility, less))["message"])
    assert wire.is_carried((await confirm(utility, a_request(0, 400)))["message"])
    await ask(utility, "cancel", request.order_id)


async def test_a_trade_is_known_to_the_node_that_asked_for_it_and_to_no_other(utility: Seller) -> None:
    request = a_request()
    await confirm(utility, request)
    for action in ("status", "cancel"):
        assert (await ask(utility, action, request.order_id, who=OTHER_BAP))["error"]["code"] == "30010"
    # The same order id of another node is another trade.
    assert wire.is_carried((await confirm(utility, request, who=OTHER_BAP))["message"])
    assert await left(utility) == 0


async def test_a_figure_the_utility_replaces_is_told_to_the_sellers_node(utility: Seller) -> None:
    request = a_request(1000, 500)
    await confirm(utility, request)
    (trade,) = (await utility.asked("GET", "/api/utility/trades"))["items"]
    figure = {**trade["energy"], "energy_wh": [900, 400]}
    body = {"side": "BUYER", "allocation": figure, "reason": "meter read by hand"}
    done = await utility.asked("PUT", f"/api/utility/trades/{trade['trade_id']}/allocation", body)
    assert (done["buyer_alloc"]["energy_wh"], done["seller_alloc"]) == ([900, 400], None)
    told = await utility.caught.letter("on_update")
    assert told["message"]["order"]["id"] == request.order_id
    assert wire.allocations_from_wire(told["message"])["BUYER"].values == (900, 400)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("PUT", "meters/meter-9", {"sanctioned_load_w": 0}, 422, "sanctioned_load_w"),
        ("PUT", "meters/meter-9", {"sanctioned_load_w": 1, "limit_percent": 101}, 422, "limit_percent"),
        (
            "PUT",
            "meters/meter-9",
            {"sanctioned_load_w": 1, "wheeling_buyer_per_kwh": "x"},
            422,
            "wheeling_buyer_per_kwh",
        ),
        ("PUT", "meters/meter-9", {"sanctioned_load_w": 1, "currency": "usd"}, 422, "currency"),
        ("PUT", "meters/a b", {"sanctioned_load_w": 1}, 422, "meter_id"),
        ("PUT", "trades/none/allocation", {"side": "SELLER", "allocation": {}, "reason": "x"}, 422, "allocation.start"),
        ("GET", "trades?state=LOST", None, 422, "state"),
    ],
)
async def test_what_the_operator_gets_wrong_is_refused_by_field(
    utility: Seller, method: str, path: str, body: Any, status: int, field: str
) -> None:
    answered, document = await utility.call(method, f"/api/utility/{path}", body)
    assert (answered, document["error"]["field"]) == (status, field), document


async def test_an_allocation_of_no_trade_or_of_other_slots_is_refused(utility: Seller) -> None:
    request = a_request()
    await confirm(utility, request)
    (trade,) = (await utility.asked("GET", "/api/utility/trades"))["items"]
    body = {"side": "SELLER", "allocation": {**trade["energy"], "energy_wh": [1]}, "reason": "x"}
    status, document = await utility.call("PUT", f"/api/utility/trades/{trade['trade_id']}/allocation", body)
    assert (status, document["error"]["field"]) == (409, "allocation")
    assert (await utility.call("PUT", "/api/utility/trades/none/allocation", body))[0] == 404


async def test_only_the_operator_runs_the_grid_and_meters_are_listed_by_page(utility: Seller) -> None:
    token = await utility.prosumer()
    for method, path in (("GET", "meters"), ("GET", "trades"), ("PUT", "meters/m")):
        assert (await utility.call(method, f"/api/utility/{path}", {"sanctioned_load_w": 1}, token=token))[0] == 403
    first = await utility.asked("GET", "/api/utility/meters?limit=1")
    assert [row["meter_id"] for row in first["items"]] == ["flat-1"]
    second = await utility.asked("GET", f"/api/utility/meters?limit=1&after={first['next']}")
    assert (second["items"][0]["meter_id"], second["items"][0]["export_w_max"]) == ("meter-7", 2000)


async def test_a_node_that_is_no_utility_has_no_such_desk(database_url: str) -> None:
    async with running_seller(database_url) as seller:
        assert (await seller.call("GET", "/api/utility/meters"))[0] == 404


async def test_a_code_of_ownership_is_given_out_for_a_meter_on_the_grid(utility: Seller) -> None:
    given = await utility.asked("POST", "/api/utility/meters/meter-7/codes", {"days": 2})
    said, _, _ = meter_codes.read(given["code"])
    assert (said.utility_id, said.meter_hash) == (utility.node.me.subscriber_id, meter_hash(SALT, "meter-7"))
    assert said.expires_at == datetime.fromisoformat(given["expires_at"])
    proven = await meter_codes.prove(
        given["code"],
        "meter-7",
        claims=utility.node.claims,
        directory=utility.node.directory,
        trusted={utility.node.me.subscriber_id},
        now=utility.clock.now(),
    )
    kept = await utility.node.database.pool.fetch("SELECT nonce_digest, issued_by FROM utility_codes")
    assert [tuple(row) for row in kept] == [(proven.nonce_digest, "operator")]


async def test_no_code_is_given_out_for_a_strange_meter_nor_while_the_registry_is_silent(utility: Seller) -> None:
    path = "/api/utility/meters/{}/codes"
    assert (await utility.call("POST", path.format("meter-9"), {}))[0] == 404
    assert (await utility.call("POST", path.format("meter-7"), {"days": 0}))[0] == 422
    assert (await utility.call("POST", path.format("meter-7"), {}, token=await utility.prosumer()))[0] == 403
    utility.node.claims.silent = True  # type: ignore[attr-defined]
    assert (await utility.call("POST", path.format("meter-7"), {}))[0] == 503
