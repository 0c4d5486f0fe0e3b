"""Searches: through the gateway or straight to a seller, and the ways to hear what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest

import bpp.translate as wire
from api import live
from tests.support.buyer_rig import OTHER_BPP, PROVIDER, BuyerRig, buyer_rig
from tests.support.trade_cases import hours
from trade.price_rules import PriceKind, PriceModel, Tier


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url) as running:
        yield running


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"window": {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}}, "window"),
        ({"window": {"start": "2026-01-01T00:00:00", "end": "2026-01-02T00:00:00Z"}}, "window.start"),
        ({"price_per_kwh_max": "0.2"}, "body"),
        ({"price_per_kwh_max": "cheap", "currency": "USD"}, "body"),
        ({"fulfillment_type": "PIGEON"}, "fulfillment_type"),
        ({"renewable_per_mille_min": 1001}, "renewable_per_mille_min"),
        ({"carbon_g_per_kwh_max": -1}, "carbon_g_per_kwh_max"),
        ({"rating_min": "5.55"}, "rating_min"),
        ({"delivered_per_mille_min": 1001}, "delivered_per_mille_min"),
        ({"near": {"gps": "north", "radius_m": 5}}, "near.gps"),
        ({"source": "COAL"}, "source"),
        ({"energy_wh": 0}, "energy_wh"),
        ({"energy": 5}, "energy"),
    ],
)
async def test_a_search_for_something_impossible_is_422(rig: BuyerRig, body: dict[str, Any], field: str) -> None:
    answer = await rig.post("/api/searches", body, wait=0)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["field"] == field


async def test_without_a_gateway_a_search_is_503_and_says_so(rig: BuyerRig) -> None:
    rig.directory.records = [r for r in rig.directory.records if r.type != "BG"]
    answer = await rig.post("/api/searches", {}, wait=0)
    assert answer.status_code == 503
    assert "gateway" in answer.json()["error"]["sentence"]


async def test_an_unknown_seller_is_503(rig: BuyerRig) -> None:
    answer = await rig.post("/api/searches", {"seller_id": "nobody.example"}, wait=0)
    assert (answer.status_code, answer.json()["error"]["field"]) == (503, "seller_id")


async def test_a_search_goes_to_the_gateway_and_says_what_is_wanted(rig: BuyerRig) -> None:
    rig.seller.script["search"] = None
    body = {
        "window": {"start": "2016-08-02T15:00:00Z", "end": "2016-08-02T18:00:00Z"},
        "energy_wh": 1500,
        "price_per_kwh_max": "0.25",
        "currency": "USD",
        "source": "SOLAR",
        "near": {"gps": "34.1, -117.4", "radius_m": 5000},
        "fulfillment_type": "V2G",
        "renewable_per_mille_min": 800,
        "carbon_g_per_kwh_max": 120,
        "rating_min": "4.5",
        "delivered_per_mille_min": 950,
    }
    answer = await rig.post("/api/searches", body, wait=0)
    assert (answer.status_code, answer.json()["offers"]) == (202, [])
    async with asyncio.timeout(5):
        while not rig.seller.heard:
            await asyncio.sleep(0.01)
    letter = rig.seller.last("search")
    assert "bpp_id" not in letter["context"]
    intent = wire.intent_from_wire(letter["message"])
    assert (intent.energy_wh, intent.price_micro_per_kwh_max, intent.radius_m) == (1500, 250_000, 5000)
    assert (intent.fulfillment_type, intent.renewable_per_mille_min, intent.carbon_g_per_kwh_max) == ("V2G", 800, 120)
    assert (intent.rating_tenths_min, intent.delivered_per_mille_min) == (45, 950)


async def test_quality_blocks_policy_and_score_of_an_offer_are_shown(rig: BuyerRig) -> None:
    rig.seller.offer = replace(
        rig.seller.offer,
        policy="street@1",
        renewable_per_mille=900,
        certificates=("I-REC:7",),
        carbon_g_per_kwh=hours(40, 50, 60),
        price_model=PriceModel(PriceKind.BLOCK, tiers=(Tier(1000, 200_000), Tier(None, 100_000))),
    )
    found = await rig.search()
    [offer] = (await rig.get(f"/api/searches/{found['transaction_id']}")).json()["offers"]
    assert (offer["policy"], len(offer["policy_digest"]), offer["renewable_per_mille"]) == ("street@1", 16, 900)
    assert (offer["carbon"]["g_per_kwh"], offer["certificates"]) == ([40, 50, 60], ["I-REC:7"])
    assert offer["blocks"] == [
        {"up_to_wh": 1000, "price_micro_per_kwh": 200_000},
        {"up_to_wh": None, "price_micro_per_kwh": 100_000},
    ]
    assert (offer["provider"]["rating_count"], offer["provider"]["delivered_per_mille"]) == (0, None)


async def test_a_wait_ends_when_enough_sellers_answered_and_not_before(rig: BuyerRig) -> None:
    async def two_sellers(request: dict[str, Any]) -> None:
        await rig.seller._search(request)
        await rig.seller._search(request)  # the same seller again is not another seller
        await asyncio.sleep(0.2)
        other = replace(rig.seller.offer, offer_id="offer-9")
        await rig.seller.send("on_search", wire.catalog_to_wire([(PROVIDER, [other])]), request=request, who=OTHER_BPP)

    rig.seller.script["search"] = two_sellers
    started = time.monotonic()
    answer = await rig.post("/api/searches", {}, wait=0, headers={"Prefer": "wait=10, offers=2"})
    assert 0.2 <= time.monotonic() - started < 5
    assert answer.json()["sellers"] == 2
    assert len(answer.json()["offers"]) == 2


async def test_a_wait_ends_with_its_time(rig: BuyerRig) -> None:
    started = time.monotonic()
    answer = await rig.post("/api/searches", {}, wait=0, headers={"Prefer": "wait=0.3, offers=2"})
    assert 0.3 <= time.monotonic() - started < 3
    assert answer.json()["sellers"] == 1


async def test_a_search_that_could_not_be_delivered_ends_the_wait_and_is_told(rig: BuyerRig) -> None:
    rig.seller.nack = {"search"}
    answer = await rig.post("/api/searches", {}, wait=0, headers={"Prefer": "wait=10, offers=1"})
    subject = f"search:{answer.json()['transaction_id']}"
    assert await rig.events(subject) == ["search.undelivered"]


async def test_a_sellers_newer_offer_replaces_its_older_one(rig: BuyerRig) -> None:
    found = await rig.search()
    rig.seller.offer = replace(rig.seller.offer, sold_wh=hours(500, 0, 0))
    await rig.seller._search(rig.seller.last("search"))
    await rig.processed()
    shown = (await rig.get(f"/api/searches/{found['transaction_id']}")).json()
    assert [offer["available"]["energy_wh"] for offer in shown["offers"]] == [[500, 2000, 3000]]


async def test_offers_for_a_search_that_nobody_made_are_ignored(rig: BuyerRig) -> None:
    message = wire.catalog_to_wire([(PROVIDER, [rig.seller.offer])])
    assert await rig.seller.send("on_search", message, transaction_id="nobodys") == 200
    await rig.processed()
    assert await rig.rows("SELECT 1 FROM search_offers") == []


# --- Server-sent events ----------------------------------------------------------------------------------------------


async def read_events(
    response: httpx.Response, count: int, lines: AsyncIterator[str] | None = None
) -> list[dict[str, Any]]:
    """The next events of a stream; it is closed afterwards, unless the caller holds its `lines`."""
    found: list[dict[str, Any]] = []
    async for line in lines or response.aiter_lines():
        if line.startswith("data: "):
            found.append(orjson.loads(line.removeprefix("data: ")))
            if len(found) == count:
                break
    return found


async def test_a_stream_shows_what_was_and_what_comes_and_goes_on_after_the_last_id(rig: BuyerRig) -> None:
    order = await rig.order("init")
    path = f"/api/orders/{order['order_id']}/events"
    async with asyncio.timeout(10), rig.client.stream("GET", path, headers=rig.app) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        asyncio.get_running_loop().call_later(
            0.1, lambda: asyncio.ensure_future(rig.post(f"/api/orders/{order['order_id']}/confirm"))
        )
        seen = await read_events(stream, 6)
    kinds = [event["kind"] for event in seen]
    assert kinds[-2:] == ["order.confirming", "order.active"]
    assert seen[-1]["data"]["order_id"] == order["order_id"]

    headers = {**rig.app, "Last-Event-ID": str(seen[3]["seq"])}
    async with asyncio.timeout(10), rig.client.stream("GET", path, headers=headers) as stream:
        assert [event["kind"] for event in await read_events(stream, 2)] == kinds[4:]
    async with (
        asyncio.timeout(10),
        rig.client.stream("GET", f"{path}?after={seen[4]['seq']}", headers=rig.app) as stream,
    ):
        assert [event["kind"] for event in await read_events(stream, 1)] == kinds[5:]


async def test_a_searchs_stream_tells_who_answered(rig: BuyerRig) -> None:
    found = await rig.search()
    path = f"/api/searches/{found['transaction_id']}/events"
    async with asyncio.timeout(10), rig.client.stream("GET", path, headers=rig.app) as stream:
        [event] = await read_events(stream, 1)
    assert event["data"] == {
        "transaction_id": found["transaction_id"],
        "seller_id": rig.seller.who.subscriber_id,
        "offers": 1,
    }


async def test_a_bad_last_event_id_is_400(rig: BuyerRig) -> None:
    found = await rig.search()
    path = f"/api/searches/{found['transaction_id']}/events"
    for value in ("x", "-1", "9" * 19):
        answer = await rig.client.get(path, headers={**rig.app, "Last-Event-ID": value})
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "Last-Event-ID")


async def test_an_app_may_hold_only_so_many_streams(rig: BuyerRig) -> None:
    rig.streams.each_max = 1
    found = await rig.search()
    path = f"/api/searches/{found['transaction_id']}/events"
    async with asyncio.timeout(10), rig.client.stream("GET", path, headers=rig.app) as stream:
        lines = stream.aiter_lines()
        await read_events(stream, 1, lines)
        assert (await rig.client.get(path, headers=rig.app)).status_code == 429


async def test_a_client_that_does_not_read_is_cut_off(rig: BuyerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WRITE_S_MAX", 0.3)
    found = await rig.search()
    subject = f"search:{found['transaction_id']}"
    _, writer = await asyncio.open_connection("127.0.0.1", rig.node.settings.port, limit=1024)
    lines = [f"GET /api/searches/{found['transaction_id']}/events HTTP/1.1", "Host: x"]
    lines += [f"{name}: {value}" for name, value in rig.app.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    async with asyncio.timeout(10):
        while not rig.streams._open:
            await asyncio.sleep(0.01)
        big = {"filler": "x" * 100_000}
        for _ in range(300):
            await rig.node.database.pool.execute(
                "INSERT INTO events (token_id, subject, kind, data, at) VALUES ('', $1, 'filler', $2, now())",
                subject,
                big,
            )
        rig.node.nudge(subject)
        while rig.streams._open:
            await asyncio.sleep(0.05)
    writer.close()


async def test_streams_end_at_once_when_the_node_stops(database_url: str) -> None:
    async with buyer_rig(database_url) as rig:
        found = await rig.search()
        path = f"/api/searches/{found['transaction_id']}/events"
        stream = await rig.client.send(rig.client.build_request("GET", path, headers=rig.app), stream=True)
        lines = stream.aiter_lines()
        await read_events(stream, 1, lines)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 3
