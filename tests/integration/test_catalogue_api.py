"""The prosumer's catalogue over HTTP: assets, indices, prices of every kind, quality; and what a search then shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

import bap.translate as wire
from energy_catalog.offers import FulfillmentType, Intent, OfferView
from store import providers
from store.providers import Rating
from tests.support.seller_rig import Seller, offer_json, running_seller, wanted
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_offer, hours

PANELS = {"asset_id": "roof", "kind": "SOLAR", "name": "Roof", "rating_w": 5000}
CONNECTION = {
    "asset_id": "connection",
    "kind": "GRID_CONNECTION",
    "name": "House connection",
    "rating_w": 10_000,
    "details": {"export_limit_w": 2500},
}
SLOTS = {"start": SLOT_START.isoformat(), "slot_s": 3600}


@pytest.fixture
async def seller(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url) as running:
        await running.open_shop()
        yield running


async def refused(seller: Seller, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str, str]:
    status, document = await seller.call(method, path, body, **options)
    assert status >= 400, document
    return status, document["error"]["field"], document["error"]["sentence"]


async def found(seller: Seller, **wishes: Any) -> list[OfferView]:
    letter = await seller.send("search", wire.search_to_wire(Intent(**wishes)))
    return wire.offers_from_wire(letter["message"], "bpp.example")


# --- Assets --------------------------------------------------------------------------------------------------------


_BAD_ASSETS: list[Any] = [
    ({"kind": "FUSION"}, 422, "kind"),
    ({"rating_w": 0}, 422, "rating_w"),
    ({"rating_w": "5 kW"}, 422, "rating_w"),
    ({"sanctioned_load_w": 0}, 422, "sanctioned_load_w"),
    ({"gps": "the roof"}, 422, "gps"),
    ({"meter_id": "no meter"}, 422, "meter_id"),
    ({"details": {"tilt_degrees": 91}}, 422, "details.tilt_degrees"),
    ({"details": {"tilt_degrees": 30.5}}, 422, "details.tilt_degrees"),
    ({"details": {"inverter_w": "5 kW"}}, 422, "details.inverter_w"),
    ({"details": {"inverter_w": [5000]}}, 422, "details.inverter_w"),
    ({"details": {"inverter_w": None}}, 422, "details.inverter_w"),
    ({"details": {"capacity_wh": 5}}, 422, "details.capacity_wh"),
    ({"details": {str(n): 1 for n in range(21)}}, 422, "details"),
    ({"colour": "red"}, 422, "colour"),
    ({"kind": "GRID_CONNECTION"}, 422, "details.export_limit_w"),
    ({**CONNECTION, "meter_id": "meter-8"}, 422, "meter_id"),
]


async def test_an_asset_is_refused_by_field(seller: Seller) -> None:
    for changes, status, field in _BAD_ASSETS:
        body = {**PANELS, **changes}
        assert (await refused(seller, "POST", "/api/providers/home-7/assets", body))[:2] == (status, field), changes


async def test_an_asset_is_kept_whole_changed_and_retired(seller: Seller) -> None:
    token = await seller.prosumer()
    body = {
        **PANELS,
        "meter_id": "der://meter/0FB7-1",
        "gps": "34.10624, -117.43511",
        "sanctioned_load_w": 8000,
        "details": {"efficiency_per_mille": 850, "tilt_degrees": 30},
    }
    made = await seller.asked("POST", "/api/providers/home-7/assets", body, token=token)
    assert made["meter_id"] == "0FB7-1"
    assert made["details"] == {"efficiency_per_mille": 850, "tilt_degrees": 30}
    assert (await refused(seller, "PATCH", "/api/assets/roof", {"rating_w": -1}))[:2] == (422, "rating_w")
    changed = await seller.asked("PATCH", "/api/assets/roof", {"rating_w": 6000}, token=token)
    assert changed == {**made, "rating_w": 6000}
    assert await seller.asked("GET", "/api/assets/roof", token=token) == changed
    retired = await seller.asked("POST", "/api/assets/roof/retire", token=token)
    assert retired["retired_at"] is not None
    assert await seller.asked("POST", "/api/assets/roof/retire", token=token) == retired
    assert (await refused(seller, "PATCH", "/api/assets/roof", {"rating_w": 1}))[:2] == (409, "asset_id")
    assert (await seller.asked("GET", "/api/providers/home-7/assets"))["items"] == [retired]
    for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/retire")):
        assert (await refused(seller, method, f"/api/assets/none{path}", {}))[:2] == (404, "asset")
        neighbour = await seller.prosumer("home-8")
        assert (await refused(seller, method, f"/api/assets/roof{path}", {}, token=neighbour))[0] == 403
    assert len((await seller.asked("GET", "/api/asset-kinds"))["items"]) == 6


async def test_an_exact_position_never_leaves_the_node(seller: Seller) -> None:
    await seller.asked("POST", "/api/providers/home-7/assets", {**PANELS, "gps": "34.10624, -117.43511"})
    letter = await seller.send("search", wire.search_to_wire(Intent()))
    assert "34.10624" not in str(letter)
    assert "34.106, -117.435" in str(letter)


# --- The grid connection -------------------------------------------------------------------------------------------


async def test_a_grid_connection_is_the_operators_word(seller: Seller) -> None:
    token = await seller.prosumer()
    path = "/api/providers/home-7/assets"
    assert (await refused(seller, "POST", path, CONNECTION, token=token))[:2] == (403, "Authorization")
    await seller.asked("POST", path, CONNECTION)
    again = {**CONNECTION, "asset_id": "second"}
    assert (await refused(seller, "POST", path, again))[:2] == (409, "kind")
    more = {"details": {"export_limit_w": 9000}}
    assert (await refused(seller, "PATCH", "/api/assets/connection", more, token=token))[:2] == (403, "Authorization")
    assert (await refused(seller, "POST", "/api/assets/connection/retire", token=token))[:2] == (403, "Authorization")


async def test_a_connection_limits_what_is_offered_shown_and_sold_over_all_offers(seller: Seller) -> None:
    second = offer_json(an_offer(offer_id="offer-2", offered_wh=hours(1000, 2000, 2000)))
    await seller.asked("POST", "/api/offers", second)
    await seller.asked("POST", "/api/providers/home-7/assets", CONNECTION)
    third = offer_json(an_offer(offer_id="offer-3"))
    status, field, sentence = await refused(seller, "POST", "/api/offers", third)
    assert (status, field) == (422, "energy")
    assert "3000 Wh are offered in the slot from 2016-08-02T17:00:00Z" in sentence
    assert "2500 W, which is 2500 Wh at most" in sentence
    shown = {offer.offer_id: offer.available_wh.values for offer in await found(seller)}
    assert shown == {"offer-1": (1000, 2000, 2500), "offer-2": (1000, 2000, 2000)}
    await seller.contract(wanted(500, 2000))
    shown = {offer.offer_id: offer.available_wh.values for offer in await found(seller)}
    assert shown == {"offer-1": (500, 0, 2500), "offer-2": (1000, 500, 2000)}
    letter = await seller.init(wanted(0, 501, offer_id="offer-2"))
    assert letter["error"]["code"] == "40002"
    await seller.contract(wanted(0, 500, offer_id="offer-2"))
    lower = {"details": {"export_limit_w": 2499}}
    status, field, sentence = await refused(seller, "PATCH", "/api/assets/connection", lower)
    assert (status, field) == (409, "details.export_limit_w")
    assert "2016-08-02T16:00:00" in sentence
    await seller.asked("POST", "/api/assets/connection/retire")
    await seller.contract(wanted(0, 1500, offer_id="offer-2"))


# --- Indices -------------------------------------------------------------------------------------------------------


_BAD_INDICES: list[Any] = [
    ("price-indices/de-lu", {}, 422, "body"),
    ("price-indices/de-lu", {"values": [1]}, 422, "body"),
    ("price-indices/de-lu", {**SLOTS, "values": [1]}, 422, "currency"),
    ("price-indices/de-lu", {**SLOTS, "values": [1], "currency": "euro"}, 422, "currency"),
    ("price-indices/de-lu", {**SLOTS, "slot_s": 5, "values": [1], "currency": "EUR"}, 422, "slot_s"),
    ("price-indices/de-lu", {**SLOTS, "values": [10**13], "currency": "EUR"}, 422, "body"),
    ("price-indices/de%20lu", {**SLOTS, "values": [1], "currency": "EUR"}, 422, "name"),
    ("price-indices/de-lu", {"xml": "<a/>"}, 422, "body"),
    ("price-indices/de-lu", {"csv": "a,b"}, 422, "body"),
    ("carbon-indices/de", {**SLOTS, "values": [1], "currency": "EUR"}, 422, "currency"),
    ("carbon-indices/de", {**SLOTS, "values": [-1]}, 422, "values"),
    ("carbon-indices/de", {"xml": "<a/>"}, 422, "body"),
]


async def test_an_index_is_refused_by_field(seller: Seller) -> None:
    for path, body, status, field in _BAD_INDICES:
        got = await refused(seller, "PUT", f"/api/{path}", body)
        assert (got[0], got[1] or "") == (status, field), (path, body, got)
    token = await seller.prosumer()
    body = {**SLOTS, "values": [1], "currency": "EUR"}
    assert (await refused(seller, "PUT", "/api/price-indices/de-lu", body, token=token))[0] == 403
    assert (await refused(seller, "GET", "/api/price-indices/none?start=2016-01-01T00:00Z&end=2016-01-02T00:00Z"))[
        :2
    ] == (404, "price index")
    response = await seller.api.put(
        "/api/price-indices/de-lu",
        content=b"\xff\xfe",
        headers={"Content-Type": "text/csv", "Authorization": "Bearer operator-token-of-tests"},
    )
    assert response.status_code == 400


async def test_the_last_version_of_a_slot_wins_and_a_currency_stays(seller: Seller) -> None:
    first = {**SLOTS, "values": [100_000, -50_000, 70_000], "currency": "USD", "note": "day ahead"}
    kept = await seller.asked("PUT", "/api/price-indices/caiso", first)
    assert (kept["kind"], kept["currency"], kept["note"]) == ("PRICE", "USD", "day ahead")
    assert (kept["first"], kept["last"]) == ("2016-08-02T15:00:00Z", "2016-08-02T18:00:00Z")
    quarters = {**SLOTS, "start": "2016-08-02T16:00:00Z", "slot_s": 900, "values": [1, 2, 3, 4], "currency": "USD"}
    await seller.asked("PUT", "/api/price-indices/caiso", quarters)
    path = "/api/price-indices/caiso?start=2016-08-02T15:30:00Z&end=2016-08-02T17:30:00Z"
    points = (await seller.asked("GET", path))["items"]
    assert [(point["slot_s"], point["value"]) for point in points] == [
        (3600, 100_000),
        *((900, value) for value in (1, 2, 3, 4)),
        (3600, 70_000),
    ]
    other = {**first, "currency": "EUR"}
    assert (await refused(seller, "PUT", "/api/price-indices/caiso", other))[:2] == (409, "currency")
    assert [item["name"] for item in (await seller.asked("GET", "/api/price-indices"))["items"]] == ["caiso"]
    assert (await seller.asked("GET", "/api/carbon-indices"))["items"] == []


async def test_an_index_comes_as_csv_with_its_unit_in_the_header(seller: Seller) -> None:
    text = "starts_at,price_per_mwh\n2016-08-02T15:00:00Z,102.1\n2016-08-02T16:00:00Z,-4.37\n"
    response = await seller.api.put(
        "/api/price-indices/caiso?currency=USD&note=export",
        content=text,
        headers={"Content-Type": "text/csv", "Authorization": "Bearer operator-token-of-tests"},
    )
    assert response.status_code == 200, response.text
    path = "/api/price-indices/caiso?start=2016-08-02T15:00:00Z&end=2016-08-02T17:00:00Z"
    assert [point["value"] for point in (await seller.asked("GET", path))["items"]] == [102_100, -4_370]


# --- Prices and quality of offers ----------------------------------------------------------------------------------


async def test_an_offer_may_be_priced_by_an_index_and_a_margin_never_below_nothing(seller: Seller) -> None:
    await seller.asked(
        "PUT", "/api/price-indices/caiso", {**SLOTS, "values": [100_000, -50_000, 70_000], "currency": "USD"}
    )
    price = {"index": {"name": "caiso", "margin_per_kwh": "0.01"}}
    made = await seller.asked("POST", "/api/offers", offer_json(an_offer(offer_id="indexed"), price=price))
    assert made["price"]["price_micro_per_kwh"] == [110_000, 0, 80_000]
    assert made["price_model"] == {"kind": "INDEXED", "tiers": [], "index": "caiso", "margin_per_kwh": "0.01"}
    again = {"price": {"index": {"name": "caiso", "margin_per_kwh": "-0.02", "floor_per_kwh": "0.001"}}}
    changed = await seller.asked("PATCH", "/api/offers/indexed", again)
    assert changed["price"]["price_micro_per_kwh"] == [80_000, 1_000, 50_000]


async def test_an_offer_may_be_priced_by_supply_and_demand(seller: Seller) -> None:
    price = {
        "supply_demand": {
            "supply": {**SLOTS, "energy_wh": [0, 500, 5000]},
            "demand": {**SLOTS, "energy_wh": [1000, 1000, 1000]},
            "export_price_per_kwh": "0.075",
            "import_price_per_kwh": "0.3",
        }
    }
    made = await seller.asked("POST", "/api/offers", offer_json(an_offer(offer_id="local"), price=price))
    assert made["price"]["price_micro_per_kwh"] == [300_000, 120_000, 75_000]


async def test_a_block_price_is_shown_by_its_blocks_and_quoted_by_what_is_ordered(seller: Seller) -> None:
    blocks = [{"up_to_wh": 2000, "price_per_kwh": "0.3"}, {"price_per_kwh": "0.1"}]
    body = offer_json(an_offer(offer_id="blocks"), price={"blocks": blocks})
    made = await seller.asked("POST", "/api/offers", body)
    assert made["price"]["price_micro_per_kwh"] == [300_000] * 3
    [offer] = await found(seller, offer_id="blocks")
    assert [(tier.up_to_wh, tier.price_micro_per_kwh) for tier in offer.tiers] == [(2000, 300_000), (None, 100_000)]
    letter = await seller.select(wanted(1000, 2000, offer_id="blocks"))
    # 1 kWh at 0.30, then 1 kWh at 0.30 and 1 kWh at 0.10 in the second slot; wheeling of 0.02 on all three.
    assert letter["message"]["order"]["quote"]["price"]["value"] == "0.76"
    contract = await seller.contract(wanted(1000, 2000, offer_id="blocks"))
    refusal = (await seller.about("update", contract, hours(1000, 1000)))["error"]
    assert "priced in blocks" in refusal["message"]


_BAD_OFFERS: list[Any] = [
    ({"price": {"blocks": [{"up_to_wh": 5, "price_per_kwh": "1"}]}}, "price.blocks"),
    ({"price": {"blocks": [{"price_per_kwh": "-1"}]}}, "price.blocks.0.price_per_kwh"),
    ({"price": {"index": {"name": "none"}}}, "price.index.name"),
    ({"price": {"index": {"name": "short"}}}, "price.index"),
    ({"price": {"index": {"name": "euro"}}}, "price.index.name"),
    (
        {
            "price": {
                "supply_demand": {
                    "supply": {**SLOTS, "energy_wh": [1, 1, 1]},
                    "demand": {**SLOTS, "energy_wh": [1, 1, 1]},
                    "export_price_per_kwh": "2",
                    "import_price_per_kwh": "1",
                }
            }
        },
        "price.supply_demand",
    ),
    ({"price": {"flat_price_per_kwh": "1", "blocks": [{"price_per_kwh": "1"}]}}, "price"),
    ({"policy": "generous@1"}, "policy"),
    ({"asset_id": "none"}, "asset_id"),
    ({"asset_id": "roof", "source": "WIND"}, "source"),
    ({"asset_id": "roof", "fulfillment_type": "V2G"}, "fulfillment_type"),
    ({"fulfillment_type": "PIGEON"}, "fulfillment_type"),
    ({"fulfillment_type": "VIRTUAL"}, "wheeling_per_kwh"),
    ({"renewable_per_mille": 1001}, "renewable_per_mille"),
    ({"carbon": {}}, "carbon"),
    ({"carbon": {"index": "none"}}, "carbon.index"),
    ({"carbon": {"index": "gaps"}}, "carbon.index"),
    ({"carbon": {**SLOTS, "g_per_kwh": [1, 2]}}, "carbon"),
    ({"carbon": {**SLOTS, "g_per_kwh": [1, 2, 5001]}}, "carbon.g_per_kwh.2"),
    ({"certificates": ["I-REC 7"]}, "certificates"),
    ({"energy": {**SLOTS, "slot_s": 7200, "energy_wh": [1]}}, "energy.slot_s"),
]


async def test_an_offer_shows_the_wheeling_that_its_policy_asks_unless_it_says_its_own(seller: Seller) -> None:
    for offer_id, said, shown in (("theirs", "0", "0.25"), ("own", "0.1", "0.1")):
        offer = offer_json(an_offer(offer_id=offer_id), policy="deg-wave2@1", wheeling_per_kwh=said)
        assert (await seller.asked("POST", "/api/offers", offer))["wheeling_per_kwh"] == shown


async def test_an_offers_price_quality_and_slots_are_refused_by_field(seller: Seller) -> None:
    await seller.asked("POST", "/api/providers/home-7/assets", PANELS)
    for name, values, currency in (("short", [1], "USD"), ("euro", [1, 1, 1], "EUR")):
        await seller.asked("PUT", f"/api/price-indices/{name}", {**SLOTS, "values": values, "currency": currency})
    await seller.asked("PUT", "/api/carbon-indices/gaps", {**SLOTS, "values": [1, 1]})
    for changes, field in _BAD_OFFERS:
        body = offer_json(an_offer(offer_id="bad"), **changes)
        assert (await refused(seller, "POST", "/api/offers", body))[:2] == (422, field), changes


async def test_an_asset_on_sale_is_not_retired(seller: Seller) -> None:
    await seller.asked("POST", "/api/providers/home-7/assets", PANELS)
    await seller.asked("POST", "/api/offers", offer_json(an_offer(offer_id="from-roof"), asset_id="roof"))
    assert (await refused(seller, "POST", "/api/assets/roof/retire"))[:2] == (409, "asset_id")
    await seller.asked("POST", "/api/offers/from-roof/withdraw")
    await seller.asked("POST", "/api/assets/roof/retire")
    late = offer_json(an_offer(offer_id="late"), asset_id="roof")
    assert (await refused(seller, "POST", "/api/offers", late))[:2] == (422, "asset_id")


async def test_quality_policy_and_score_travel_to_the_buyer_and_are_searched_by(seller: Seller) -> None:
    await seller.asked("PUT", "/api/carbon-indices/roofs", {**SLOTS, "values": [41_400, 41_500, 0]})
    body = offer_json(
        an_offer(offer_id="green"),
        carbon={"index": "roofs"},
        renewable_per_mille=950,
        certificates=["I-REC:7", "GO-8"],
        policy="street@1",
        fulfillment_type="EV_CHARGING",
    )
    made = await seller.asked("POST", "/api/offers", body)
    assert made["carbon"]["g_per_kwh"] == [41, 42, 0]
    async with seller.node.database.unit_of_work() as uow:
        await providers.rate(uow, [Rating("bap", "Provider", "home-7", "home-7", "4.5", EVENING_BEFORE)])
        await providers.add_score(uow, "home-7", 4000, 3999)
    [offer] = await found(
        seller,
        renewable_per_mille_min=950,
        carbon_g_per_kwh_max=42,
        rating_tenths_min=45,
        delivered_per_mille_min=999,
        fulfillment_type=FulfillmentType.EV_CHARGING.value,
        near_gps="34.106, -117.435",
        radius_m=500,
        window_start=SLOT_START,
        window_end=SLOT_START + timedelta(hours=3),
    )
    assert (offer.offer_id, offer.policy, len(offer.policy_digest)) == ("green", "street@1", 16)
    assert (offer.renewable_per_mille, offer.certificates) == (950, ("I-REC:7", "GO-8"))
    assert offer.carbon_g_per_kwh == hours(41, 42, 0)
    face = offer.provider
    assert (face.rating, face.rating_count, face.delivered_per_mille, face.settled) == ("4.5", 1, 999, 1)
    for wish in (
        {"renewable_per_mille_min": 951},
        {"carbon_g_per_kwh_max": 20},
        {"rating_tenths_min": 46},
        {"delivered_per_mille_min": 1000},
        {"fulfillment_type": "V2G"},
        {"near_gps": "34.2, -117.435", "radius_m": 500},
    ):
        assert await found(seller, **wish) == [], wish
