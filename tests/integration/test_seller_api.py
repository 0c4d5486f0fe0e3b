"""The seller's JSON API: who may do what, what is refused and why, and what a prosumer can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

import bap.translate as wire
from tests.support.post_office import BAP
from tests.support.seller_rig import Seller, offer_json, running_seller, wanted
from tests.support.trade_cases import SLOT_START, an_offer, hours

HOUR = timedelta(hours=1)


@pytest.fixture
async def seller(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url) as running:
        await running.open_shop()
        neighbour = {"provider_id": "home-8", "name": "Home 8", "gps": "34.1, -117.4", "meter_id": "meter-8"}
        await running.asked("POST", "/api/providers", neighbour)
        yield running


async def refused(seller: Seller, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str, str]:
    status, document = await seller.call(method, path, body, **options)
    assert status >= 400, document
    return status, document["error"]["field"], document["error"]["sentence"]


# --- Who may -------------------------------------------------------------------------------------------------------


_OTHERS: list[Any] = [
    ("GET", "/api/providers/home-8", None),
    ("GET", "/api/providers/home-8/balance", None),
    ("GET", "/api/providers/home-8/ratings", None),
    ("GET", "/api/providers/home-8/assets", None),
    ("POST", "/api/providers/home-8/assets", {"kind": "SOLAR", "name": "Roof", "rating_w": 1}),
    ("POST", "/api/offers", offer_json(an_offer(offer_id="o", provider_id="home-8"))),
    ("GET", "/api/offers?provider_id=home-8", None),
    ("GET", "/api/orders?provider_id=home-8", None),
    ("GET", "/api/offers/offer-1", None),
    ("PATCH", "/api/offers/offer-1", {"order_wh_min": 5}),
    ("POST", "/api/offers/offer-1/withdraw", None),
    ("POST", "/api/meters/meter-8/readings", {"readings": []}),
    ("GET", "/api/meters/meter-8/readings", None),
    ("POST", "/api/providers", {"name": "x", "gps": "1, 1", "meter_id": "m"}),
    ("GET", "/api/ledger/proof", None),
    ("POST", "/api/tokens", {"role": "operator", "name": "x"}),
]


async def test_a_prosumer_is_kept_to_its_own_provider(seller: Seller) -> None:
    tokens = {own: await seller.prosumer(own) for own in ("home-7", "home-9")}
    for method, path, body in _OTHERS:
        token = tokens["home-9" if "offer-1" in path else "home-7"]
        status, field, _ = await refused(seller, method, path, body, token=token)
        assert (status, field) == (403, "Authorization"), path


async def test_a_prosumer_is_kept_from_anothers_order(seller: Seller) -> None:
    order = await seller.contract()
    own = await seller.of_wire(order.wire_order_id)
    token = await seller.prosumer("home-8")
    for method, path, body in (
        ("GET", "", None),
        ("POST", "/cancel", {"reason": "storm"}),
        ("POST", "/curtail", {"contracted": {**own["contracted"], "energy_wh": [1, 1]}, "reason": "storm"}),
    ):
        assert (await refused(seller, method, f"/api/orders/{own['order_id']}{path}", body, token=token))[0] == 403
    assert (await seller.asked("GET", "/api/orders", token=token))["items"] == []
    assert (await seller.asked("GET", "/api/offers", token=token))["items"] == []
    providers = (await seller.asked("GET", "/api/providers", token=token))["items"]
    assert [provider["provider_id"] for provider in providers] == ["home-8"]


async def test_without_a_token_nothing_but_a_tracking_link_is_shown(seller: Seller) -> None:
    response = await seller.api.get("/api/offers")
    assert response.status_code == 401
    assert (await seller.api.get("/api/track/nothing")).status_code == 404


_MISSING: list[Any] = [
    ("GET", "/api/providers/nobody", "provider"),
    ("GET", "/api/offers/nothing", "offer"),
    ("PATCH", "/api/offers/nothing", "offer"),
    ("POST", "/api/offers/nothing/withdraw", "offer"),
    ("GET", "/api/orders/nothing", "order"),
    ("POST", "/api/meters/nothing/readings", "meter"),
    ("GET", "/api/meters/nothing/readings", "meter"),
]


async def test_what_is_not_there_is_not_found(seller: Seller) -> None:
    for method, path, field in _MISSING:
        assert (await refused(seller, method, path, {} if method != "GET" else None))[:2] == (404, field), path


# --- Providers -----------------------------------------------------------------------------------------------------


_BAD_PROVIDERS: list[Any] = [
    ({"provider_id": "home-7"}, 409, "provider_id"),
    ({"meter_id": "meter-7"}, 409, "meter_id"),
    ({"gps": "nowhere"}, 422, "gps"),
    ({"gps": "91, 0"}, 422, "gps"),
    ({"name": ""}, 422, "name"),
    ({"meter_id": "a b"}, 422, "meter_id"),
    ({"image_url": "javascript:1"}, 422, "image_url"),
    ({"short_desc": "x" * 501}, 422, "short_desc"),
    ({"nickname": "x"}, 422, "nickname"),
]


async def test_a_provider_is_refused_by_field(seller: Seller) -> None:
    for changes, status, field in _BAD_PROVIDERS:
        body = {"provider_id": "home-9", "name": "Home 9", "gps": "34.1, -117.4", "meter_id": "meter-9", **changes}
        assert (await refused(seller, "POST", "/api/providers", body))[:2] == (status, field), changes


async def test_a_position_is_kept_as_a_cell_and_not_as_the_house(seller: Seller) -> None:
    provider = await seller.asked("GET", "/api/providers/home-7")
    assert provider["gps"] == "34.106, -117.435"


async def test_assets_stand_behind_a_meter(seller: Seller) -> None:
    token = await seller.prosumer()
    panels = {"asset_id": "roof", "kind": "SOLAR", "name": "Roof", "rating_w": 5000}
    made = await seller.asked("POST", "/api/providers/home-7/assets", panels, token=token)
    assert made["rating_w"] == 5000
    assert (await refused(seller, "POST", "/api/providers/home-7/assets", panels))[:2] == (409, "asset_id")
    bad = panels | {"kind": "FUSION", "asset_id": "other"}
    assert (await refused(seller, "POST", "/api/providers/home-7/assets", bad))[:2] == (422, "kind")
    assert len((await seller.asked("GET", "/api/providers/home-7/assets"))["items"]) == 1


# --- Offers --------------------------------------------------------------------------------------------------------


_BAD_OFFERS: list[Any] = [
    ({"offer_id": "offer-1"}, 409, "offer_id"),
    ({"provider_id": "nobody"}, 404, "provider"),
    ({"currency": "usd"}, 422, "currency"),
    ({"source": "COAL"}, 422, "source"),
    ({"price": {}}, 422, "price"),
    ({"price": {"flat_price_per_kwh": "-0.2"}}, 422, "price.flat_price_per_kwh"),
    ({"price": {"flat_price_per_kwh": "0.1234567"}}, 422, "price.flat_price_per_kwh"),
    (
        {
            "price": {
                "time_of_use": {
                    "zone": "Mars/Base",
                    "bands": [{"from": "00:00", "to": "24:00", "price_per_kwh": "1"}],
                }
            }
        },
        422,
        "price.time_of_use",
    ),
    (
        {"price": {"time_of_use": {"zone": "UTC", "bands": [{"from": "00:00", "to": "01:00", "price_per_kwh": "1"}]}}},
        422,
        "price.time_of_use",
    ),
    ({"energy": {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": [-1]}}, 422, "energy.energy_wh.0"),
    ({"energy": {"start": "2016-08-02T15:00:00", "slot_s": 3600, "energy_wh": [1]}}, 422, "energy.start"),
    ({"energy": {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": []}}, 422, "energy.energy_wh"),
    ({"energy": {"start": "2016-07-02T15:00:00Z", "slot_s": 3600, "energy_wh": [1, 2, 3]}}, 422, "energy"),
    ({"quote_ttl_s": 4}, 422, "quote_ttl_s"),
    ({"cancellation_terms": [{"notice_s_min": 0, "fee_percent": 101}]}, 422, "cancellation_terms.0.fee_percent"),
]


async def test_an_offer_is_refused_by_field(seller: Seller) -> None:
    for changes, status, field in _BAD_OFFERS:
        body = offer_json(an_offer(offer_id="offer-2"), **changes)
        assert (await refused(seller, "POST", "/api/offers", body))[:2] == (status, field), changes


async def test_one_meter_is_not_sold_in_two_grids_of_slots(seller: Seller) -> None:
    quarters = an_offer(offer_id="offer-2", offered_wh=hours(100, start=SLOT_START + timedelta(minutes=30)))
    status, field, sentence = await refused(seller, "POST", "/api/offers", offer_json(quarters))
    assert (status, field) == (409, "energy")
    assert "same slots" in sentence


async def test_a_time_of_use_offer_is_priced_by_the_local_day(seller: Seller) -> None:
    bands = [
        {"from": "16:00", "to": "09:00", "price_per_kwh": "0.1"},
        {"from": "09:00", "to": "16:00", "price_per_kwh": "0.3"},
    ]
    price = {"time_of_use": {"zone": "Etc/GMT+8", "bands": bands}}
    body = offer_json(an_offer(offer_id="offer-2", offered_wh=hours(1, 1, 1, 1)), price=price)
    offer = await seller.asked("POST", "/api/offers", body)
    assert offer["price"]["price_micro_per_kwh"] == [100_000, 100_000, 300_000, 300_000]


async def test_an_offer_changes_down_to_what_is_taken_and_not_below(seller: Seller) -> None:
    await seller.contract(wanted(800))
    slots = {"start": SLOT_START.isoformat(), "slot_s": 3600}
    status, field, sentence = await refused(
        seller, "PATCH", "/api/offers/offer-1", {"energy": {**slots, "energy_wh": [799, 0, 0]}}
    )
    assert (status, field) == (422, "energy")
    assert "held or sold" in sentence
    body = {"energy": {**slots, "energy_wh": [800, 0, 5000]}, "price": {"flat_price_per_kwh": "0.5"}}
    changed = await seller.asked("PATCH", "/api/offers/offer-1", body)
    assert changed["available"]["energy_wh"] == [0, 0, 5000]
    letter = await seller.select(wanted(0, 0, 1000, price_micro_per_kwh=hours(0, 0, 0)))
    assert letter["message"]["order"]["quote"]["price"]["value"] == "0.52"


async def test_a_withdrawn_offer_is_found_no_more_but_its_quotes_stand(seller: Seller) -> None:
    order = await seller.held(wanted())
    withdrawn = await seller.asked("POST", "/api/offers/offer-1/withdraw")
    assert withdrawn["state"] == "WITHDRAWN"
    catalog = await seller.send("search", {"intent": {}})
    assert wire.offers_from_wire(catalog["message"], "bpp.example") == []
    assert (await seller.select(wanted(1)))["error"]["code"] == "30004"
    assert "error" not in await seller.confirm(order)
    assert (await refused(seller, "PATCH", "/api/offers/offer-1", {"order_wh_min": 2}))[0] == 422


# --- Meters --------------------------------------------------------------------------------------------------------


async def test_every_line_of_an_upload_is_judged_by_itself(seller: Seller) -> None:
    await seller.move_clock(SLOT_START + 3 * HOUR)
    token = await seller.prosumer()
    body = {
        "slot_s": 3600,
        "readings": [
            {"starts_at": SLOT_START.isoformat(), "energy_wh": 900},
            {"starts_at": "yesterday", "energy_wh": 1},
            {"starts_at": (SLOT_START + HOUR).isoformat(), "energy_wh": -5},
            {"starts_at": (SLOT_START + 3 * HOUR).isoformat(), "energy_wh": 5},
            {"energy_wh": 5},
        ],
    }
    answer = await seller.asked("POST", "/api/meters/meter-7/readings", body, token=token)
    assert (answer["accepted"], [entry["line"] for entry in answer["refused"]]) == (1, [2, 3, 4, 5])
    again = await seller.asked("POST", "/api/meters/meter-7/readings", body, token=token)
    assert (again["accepted"], again["unchanged"]) == (0, 1)


async def test_a_csv_upload_is_read_line_by_line(seller: Seller) -> None:
    await seller.move_clock(SLOT_START + 3 * HOUR)
    text = f"starts_at,energy_wh,flow\n{SLOT_START.isoformat()},700\n{SLOT_START.isoformat()},9,IMPORT\nbad,1\n"
    headers = {"Content-Type": "text/csv", "Authorization": f"Bearer {await seller.prosumer()}"}
    response = await seller.api.post("/api/meters/meter-7/readings?slot_s=3600", content=text.encode(), headers=headers)
    answer = response.json()
    assert (answer["accepted"], [entry["line"] for entry in answer["refused"]]) == (2, [4])
    known = await seller.asked("GET", "/api/meters/meter-7/readings?flow=IMPORT")
    assert [entry["energy_wh"] for entry in known["items"]] == [9]
    not_text = await seller.api.post("/api/meters/meter-7/readings", content=b"\xff\xfe\x00", headers=headers)
    assert not_text.status_code == 400


async def test_a_slot_that_overlaps_a_known_one_is_named_by_its_line(seller: Seller) -> None:
    await seller.move_clock(SLOT_START + 3 * HOUR)
    await seller.measure(900, start=SLOT_START)
    answer = await seller.measure(1, 1, start=SLOT_START + timedelta(minutes=45), slot_s=900)
    assert (answer["accepted"], [entry["line"] for entry in answer["refused"]]) == (1, [1])


async def test_readings_are_listed_in_pages(seller: Seller) -> None:
    await seller.move_clock(SLOT_START + 9 * HOUR)
    await seller.measure(1, 2, 3, start=SLOT_START)
    path = "/api/meters/meter-7/readings"
    first = await seller.asked("GET", f"{path}?limit=2")
    assert [entry["energy_wh"] for entry in first["items"]] == [1, 2]
    rest = await seller.asked("GET", path, params={"limit": 2, "after": first["next"]})
    assert ([entry["energy_wh"] for entry in rest["items"]], rest["next"]) == ([3], None)
    window = {"start": (SLOT_START + HOUR).isoformat(), "end": (SLOT_START + 2 * HOUR).isoformat()}
    assert len((await seller.asked("GET", path, params=window))["items"]) == 1
    assert (await refused(seller, "GET", path, params={"after": "nonsense"}))[:2] == (422, "after")


# --- Orders --------------------------------------------------------------------------------------------------------


async def test_curtailing_tells_the_buyer_and_takes_the_energy_off_the_shelf(seller: Seller) -> None:
    order = await seller.contract()
    own = await seller.of_wire(order.wire_order_id)
    path, slots = f"/api/orders/{own['order_id']}/curtail", own["contracted"]
    more = {"contracted": {**slots, "energy_wh": [1001, 0]}, "reason": "clouds"}
    assert (await refused(seller, "POST", path, more))[:2] == (422, "contracted")
    body = {"contracted": {**slots, "energy_wh": [1000, 500]}, "reason": "clouds"}
    curtailed = await seller.asked("POST", path, body, token=await seller.prosumer())
    assert (curtailed["note"], curtailed["quote"]["total_milli"]) == ("clouds", 33_500)
    letter = await seller.caught.letter("on_update")
    view = wire.order_from_wire(letter["message"])
    assert (view.contracted_wh, view.total_milli) == (hours(1000, 500), 33_500)
    assert letter["context"]["bap_id"] == BAP.subscriber_id
    offer = await seller.asked("GET", "/api/offers/offer-1")
    assert (offer["energy"]["energy_wh"], offer["available"]["energy_wh"]) == ([1000, 500, 3000], [0, 0, 3000])


async def test_a_provider_that_cancels_tells_the_buyer_and_asks_no_fee(seller: Seller) -> None:
    order = await seller.contract()
    own = await seller.of_wire(order.wire_order_id)
    path = f"/api/orders/{own['order_id']}/cancel"
    cancelled = await seller.asked("POST", path, {"reason": "inverter broke"})
    assert (cancelled["state"], cancelled["cancelled_by"]) == ("CANCELLED", "PROVIDER")
    view = wire.order_from_wire((await seller.caught.letter("on_status"))["message"])
    assert (view.status, view.cancelled_by, view.total_milli) == ("CANCELLED", "PROVIDER", 0)
    assert (await refused(seller, "POST", path, {"reason": "again"}))[0] == 409
    assert (await seller.asked("GET", "/api/offers/offer-1"))["available"]["energy_wh"] == [0, 0, 3000]


async def test_orders_are_listed_by_state_and_transaction_in_pages(seller: Seller) -> None:
    one, two = await seller.contract(wanted(100)), await seller.held(wanted(100))
    listed = await seller.asked("GET", "/api/orders?state=ACTIVE")
    assert [item["wire_order_id"] for item in listed["items"]] == [one.wire_order_id]
    listed = await seller.asked("GET", f"/api/orders?transaction_id={two.transaction_id}")
    assert [item["state"] for item in listed["items"]] == ["INITIALISED"]
    first = await seller.asked("GET", "/api/orders?limit=1")
    rest = await seller.asked("GET", f"/api/orders?limit=5&after={first['next']}")
    assert [item["transaction_id"] for item in first["items"] + rest["items"]] == [
        two.transaction_id,
        one.transaction_id,
    ]
    shown = await seller.asked("GET", f"/api/orders/{rest['items'][0]['order_id']}")
    assert shown["buyer_id"] == BAP.subscriber_id
    assert "customer" not in shown


async def test_the_api_documents_itself(seller: Seller) -> None:
    document = (await seller.api.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert "/api/meters/{meter_id}/readings" in document["paths"]
    assert (await seller.api.get("/docs")).status_code == 200


async def test_a_nul_character_is_refused_wherever_it_stands(seller: Seller) -> None:
    provider = {"provider_id": "home-9", "name": "a\x00b", "gps": "34.1, -117.4", "meter_id": "meter-9"}
    assert (await refused(seller, "POST", "/api/providers", provider))[:2] == (400, "body")
    assert (await refused(seller, "GET", "/api/orders?transaction_id=a%00b"))[:2] == (400, "query")
    assert (await refused(seller, "GET", "/api/track/a%00b"))[:2] == (400, "path")
