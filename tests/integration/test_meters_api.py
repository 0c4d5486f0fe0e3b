"""The meter calls over HTTP, at a seller's node and at a buyer's: every form of upload, and every refusal."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from api.meter_models import CHUNK_ROWS
from tests.support.buyer_rig import BuyerRig, buyer_rig
from tests.support.seller_rig import ADMIN_TOKEN, Seller, running_seller
from tests.support.trade_cases import SLOT_START

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
METER = "/api/meters/meter-7"
NOW = SLOT_START + 40 * DAY


@pytest.fixture
async def seller(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url) as running:
        await running.open_shop()
        await running.move_clock(NOW)
        yield running


@pytest.fixture
async def buyer(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url) as running:
        yield running


async def refused(seller: Seller, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str, str]:
    status, document = await seller.call(method, path, body, **options)
    assert status >= 400, document
    return status, document["error"]["field"], document["error"]["sentence"]


async def sent(seller: Seller, content: bytes, media: str, **query: str) -> tuple[int, Any]:
    headers = {"Content-Type": media, "Authorization": f"Bearer {ADMIN_TOKEN}"}
    response = await seller.api.post(f"{METER}/readings", content=content, headers=headers, params=query)
    return response.status_code, response.json()


def hours(*values: int, start: datetime = SLOT_START) -> list[dict[str, Any]]:
    return [{"starts_at": (start + n * HOUR).isoformat(), "energy_wh": wh} for n, wh in enumerate(values)]


async def known(seller: Seller, **query: Any) -> list[Any]:
    return [
        (item["energy_wh"], item["quality"], item["version"])
        for item in (await seller.asked("GET", f"{METER}/readings", params=query))["items"]
    ]


# --- Uploads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"starts_at": "yesterday", "energy_wh": 1}, "is no instant"),
        ({"starts_at": "2016-08-02T15:00:00", "energy_wh": 1}, "with a zone"),
        ({"starts_at": "2016-08-02T15:00:00.5Z", "energy_wh": 1}, "whole seconds"),
        ({"energy_wh": 1}, "is no instant"),
        ({"starts_at": "2016-08-02T15:00:00Z"}, "whole number of Wh"),
        ({"starts_at": "2016-08-02T15:00:00Z", "energy_wh": 1.5}, "whole number of Wh"),
        ({"starts_at": "2016-08-02T15:00:00Z", "energy_wh": -1}, "whole number of Wh"),
        ({"starts_at": "2016-08-02T15:00:00Z", "energy_wh": 1_000_000_001}, "from 0 to 1000000000"),
        ({"starts_at": "2016-08-02T15:00:00Z", "energy_wh": 1, "flow": "UP"}, "EXPORT or IMPORT"),
        ({"starts_at": "2016-08-02T15:00:00Z", "energy_wh": 1, "quality": "GUESSED"}, "is not known"),
        ({"starts_at": "2036-08-02T15:00:00Z", "energy_wh": 1}, "still to come"),
        ({"starts_at": "1999-08-02T15:00:00Z", "energy_wh": 1}, "before 2000"),
    ],
)
async def test_a_bad_line_is_refused_with_its_reason_and_the_good_one_is_kept(
    seller: Seller, line: dict[str, Any], says: str
) -> None:
    answer = await seller.asked("POST", f"{METER}/readings", {"readings": [line, *hours(5)]})
    assert answer["accepted"] == 1
    [entry] = answer["refused"]
    assert (entry["line"], says in entry["reason"]) == (1, True)


async def test_a_correction_is_a_new_version_that_the_history_shows(seller: Seller) -> None:
    await seller.asked("POST", f"{METER}/readings", {"readings": hours(5, 6)})
    answer = await seller.asked("POST", f"{METER}/readings", {"readings": hours(5, 7)})
    assert (answer["unchanged"], answer["corrected"]) == (1, 1)
    assert await known(seller) == [(5, "MEASURED", 1), (7, "MEASURED", 2)]
    assert await known(seller, history=True) == [(5, "MEASURED", 1), (6, "MEASURED", 1), (7, "MEASURED", 2)]
    page = await seller.asked("GET", f"{METER}/readings", params={"history": True, "limit": 2})
    rest = await seller.asked("GET", f"{METER}/readings", params={"history": True, "after": page["next"]})
    assert [item["energy_wh"] for item in rest["items"]] == [7]


async def test_a_csv_is_read_by_the_mapping_in_the_query_or_in_the_body(seller: Seller) -> None:
    text = "when;out;in\n02.08.2016 17:00;1,5;0,25\n02.08.2016 17:30;1,0;0,5\nsoon;1;1\n"
    columns = '[{"column": "out", "unit": "kW", "flow": "EXPORT"}, {"column": "in", "unit": "kW", "flow": "IMPORT"}]'
    mapping = f'{{"instant": "when", "zone": "Europe/Paris", "values": {columns}}}'
    status, answer = await sent(seller, text.encode(), "text/csv", mapping=mapping)
    assert (status, answer["accepted"], [entry["line"] for entry in answer["refused"]]) == (200, 4, [4, 4])
    assert await known(seller) == [(750, "MEASURED", 1), (500, "MEASURED", 1)]
    assert await known(seller, flow="IMPORT") == [(125, "MEASURED", 1), (250, "MEASURED", 1)]
    body = {"csv": "t,v\n2016-08-03 17:00,2\n", "mapping": {"instant": "t", "values": [{"column": "v", "unit": "kWh"}]}}
    answer = await seller.asked("POST", f"{METER}/readings", {**body, "zone": "Europe/Paris", "slot_s": 1800})
    assert answer["accepted"] == 1


_FEED = """<feed xmlns="http://www.w3.org/2005/Atom"><entry><link rel="self" href="r"/><content><ReadingType
xmlns="http://naesb.org/espi"><flowDirection>{flow}</flowDirection><intervalLength>3600</intervalLength><uom>{uom}</uom>
<currency>840</currency></ReadingType></content></entry><entry><content><IntervalBlock xmlns="http://naesb.org/espi">
<IntervalReading><cost>819</cost><timePeriod><duration>3600</duration><start>1470150000</start></timePeriod><value>{wh}
</value></IntervalReading></IntervalBlock></content></entry></feed>"""


@pytest.mark.parametrize("media", ["application/atom+xml", "application/xml", "text/xml"])
async def test_a_green_button_feed_is_read_with_what_it_says_of_costs(seller: Seller, media: str) -> None:
    status, answer = await sent(seller, _FEED.format(flow=19, uom=72, wh=273).encode(), media)
    assert (status, answer["accepted"], answer["refused"]) == (200, 1, [])
    assert answer["cost"] == {"currency": "USD", "amount": "0.00819"}
    assert await known(seller) == [(273, "MEASURED", 1)]


@pytest.mark.parametrize(
    ("content", "media", "query", "status", "says"),
    [
        (_FEED.format(flow=1, uom=38, wh=1), "application/xml", {}, 422, "38 (W, power)"),
        ("<feed/>", "application/xml", {}, 422, "no ReadingType"),
        ("<feed", "application/xml", {}, 422, "no well-formed XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "application/atom+xml", {}, 422, "document type or entities"),
        ("colour,size\nred,big\n", "text/csv", {}, 422, "send a mapping"),
        ("t,v\n", "text/csv", {"mapping": "{"}, 422, "the mapping is no JSON"),
        ("t,v\n", "text/csv", {"mapping": "[]"}, 422, "no JSON object"),
        ("t,v\n", "text/csv", {"mapping": '{"instant":"t","values":[{"column":"w"}]}'}, 422, "no column 'w'"),
        ("t,v\n", "text/csv", {"zone": "Mars"}, 422, "IANA name"),
        ("t,v\n", "text/csv", {"flow": "UP"}, 422, "must be one of"),
        ("x,1\n" * 50_001, "text/csv", {}, 422, "powershare meter import"),
        ("x" * 13_000_000, "text/csv", {}, 413, "at most"),
        ("a,b", "text/html", {}, 415, "text/csv"),
    ],
)
async def test_an_upload_that_cannot_be_read_is_refused_with_what_to_do(
    seller: Seller, content: str, media: str, query: dict[str, str], status: int, says: str
) -> None:
    answered, document = await sent(seller, content.encode(), media, **query)
    assert answered == status
    assert says in document["error"]["sentence"]


async def test_a_meter_is_the_same_however_its_id_is_written(seller: Seller) -> None:
    path = "/api/meters/der%3A%2F%2Fmeter%2Fmeter-7/readings"
    assert (await seller.asked("POST", path, {"readings": hours(5)}))["accepted"] == 1
    assert await known(seller) == [(5, "MEASURED", 1)]
    assert (await refused(seller, "GET", "/api/meters/a%20b/readings"))[:2] == (422, "meter_id")


async def test_only_whom_it_concerns_may_touch_a_meter(seller: Seller) -> None:
    stranger = await seller.prosumer("home-8")
    for method, rest, body in _CALLS:
        assert (await refused(seller, method, f"{METER}/{rest}", body, token=stranger))[0] == 403, rest
        assert (await refused(seller, method, f"/api/meters/nothing/{rest}", body))[:2] == (404, "meter"), rest


_ID = "0" * 64
_RANGE = {"start": SLOT_START.isoformat(), "end": (SLOT_START + HOUR).isoformat()}
_CALLS: list[Any] = [
    ("POST", "readings", {"readings": []}),
    ("GET", "readings", None),
    ("GET", "findings", None),
    ("POST", "estimate", _RANGE),
    ("POST", "edits", {"reason": "seal broken", "readings": hours(1)}),
    ("POST", "imports", {"import_id": _ID, "name": "a.csv"}),
    ("GET", "imports", None),
    ("GET", f"imports/{_ID}", None),
    ("GET", f"imports/{_ID}/chunks", None),
    ("PUT", f"imports/{_ID}/chunks/0", {"rows": [], "last": True}),
]


# --- Findings, estimates, edits ------------------------------------------------------------------------------------


async def test_findings_name_gaps_contradictions_and_what_the_range_holds(seller: Seller) -> None:
    lines = hours(*[200] * 120)
    lines = [*lines[:10], *lines[13:], {**lines[50], "energy_wh": 300}]
    await seller.asked("POST", f"{METER}/readings", {"readings": lines})
    answer = await seller.asked("GET", f"{METER}/findings")
    assert (answer["slot_s"], answer["measured"], answer["estimated"]) == (3600, 117, 0)
    assert {kind: count for kind, count in answer["counts"].items() if count} == {"GAP": 1, "DUPLICATE": 1}
    gap, twice = answer["findings"]
    assert (gap["kind"], gap["starts_at"]) == ("GAP", "2016-08-03T01:00:00Z")
    assert "200 and then 300 Wh" in twice["sentence"]
    only = await seller.asked("GET", f"{METER}/findings", params={"kind": "GAP", "rated_w": 250})
    assert (only["counts"]["SPIKE"], len(only["findings"])) == (0, 1)
    spikes = await seller.asked("GET", f"{METER}/findings", params={"kind": "SPIKE", "rated_w": 250})
    assert "275 Wh" in spikes["findings"][0]["sentence"]
    assert (await refused(seller, "GET", f"{METER}/findings", params={"zone": "Mars"}))[:2] == (422, "zone")
    assert (await refused(seller, "GET", f"{METER}/findings", params={"kind": "BORING"}))[:2] == (422, "kind")


async def test_gaps_are_filled_and_marked_until_a_measurement_comes(seller: Seller) -> None:
    lines = hours(*[200] * 72)
    await seller.asked("POST", f"{METER}/readings", {"readings": [*lines[:10], *lines[12:40], *lines[47:]]})
    body = {"start": SLOT_START.isoformat(), "end": (SLOT_START + 3 * DAY).isoformat(), "zone": "America/Los_Angeles"}
    made = await seller.asked("POST", f"{METER}/estimate", body)
    assert ([each["energy_wh"] for each in made["estimated"]], made["left"]) == ([200] * 9, [])
    assert made["estimated"][0]["reason"] == "on the line from 200 to 200 Wh"
    assert made["estimated"][-1]["reason"] == "the mean of 2 like days"
    assert (await seller.asked("POST", f"{METER}/estimate", body))["estimated"] == []
    window = {"start": (SLOT_START + 10 * HOUR).isoformat(), "limit": 1}
    assert await known(seller, **window) == [(200, "ESTIMATED", 1)]
    await seller.asked("POST", f"{METER}/readings", {"readings": [lines[10]]})
    assert await known(seller, **window) == [(200, "MEASURED", 2)]
    assert (await seller.asked("GET", f"{METER}/findings"))["estimated"] == 8


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"end": SLOT_START.isoformat()}, "end"),
        ({"end": (SLOT_START + 63 * DAY).isoformat(), "start": (SLOT_START - 63 * DAY).isoformat()}, "end"),
        ({"start": (NOW + DAY).isoformat(), "end": (NOW + 2 * DAY).isoformat()}, "end"),
        ({"method": "magic"}, "method"),
        ({"zone": "Mars"}, "zone"),
        ({"start": "2016-08-02T15:00:00"}, "start"),
        ({"flow": "UP"}, "flow"),
    ],
)
async def test_an_estimate_that_makes_no_sense_is_refused(seller: Seller, changes: dict[str, Any], field: str) -> None:
    assert (await refused(seller, "POST", f"{METER}/estimate", {**_RANGE, **changes}))[:2] == (422, field)


async def test_an_edit_keeps_the_original_and_the_audit_names_both(seller: Seller) -> None:
    await seller.asked("POST", f"{METER}/readings", {"readings": hours(5, 6)})
    body = {"reason": "the seal was broken", "readings": [*hours(50), *hours(1, start=SLOT_START + 9 * HOUR)]}
    answer = await seller.asked("POST", f"{METER}/edits", body)
    assert (answer["corrected"], [entry["line"] for entry in answer["refused"]]) == (1, [2])
    items = (await seller.asked("GET", f"{METER}/readings", params={"history": True}))["items"]
    assert [(item["energy_wh"], item["quality"], item["reason"]) for item in items] == [
        (5, "MEASURED", ""),
        (50, "EDITED", "the seal was broken"),
        (6, "MEASURED", ""),
    ]
    async with seller.node.database.connection() as connection:
        row = await connection.fetchrow("SELECT actor, subject, detail FROM audit WHERE act = 'edit'")
    assert (row["actor"], row["subject"]) == ("operator", "meter:meter-7")
    assert row["detail"]["slots"] == [["2016-08-02T15:00:00Z", 5, 50]]
    again = await seller.asked("POST", f"{METER}/readings", {"readings": hours(5, 6)})
    assert (again["unchanged"], again["corrected"]) == (2, 0)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reason": "x"}, "reason"),
        ({"readings": []}, "readings"),
        ({"readings": [{"starts_at": SLOT_START.isoformat(), "energy_wh": -1}]}, "readings.0.energy_wh"),
    ],
)
async def test_an_edit_without_a_reason_or_a_value_is_refused(
    seller: Seller, changes: dict[str, Any], field: str
) -> None:
    body = {"reason": "seal broken", "readings": hours(1), **changes}
    assert (await refused(seller, "POST", f"{METER}/edits", body))[:2] == (422, field)


# --- Imports -------------------------------------------------------------------------------------------------------


def rows(count: int, *, first: int = 0, wh: int = 7) -> list[Any]:
    start_s = int(SLOT_START.timestamp())
    return [[n + 1, start_s + 60 * n, 60, wh, "EXPORT", "MEASURED"] for n in range(first, first + count)]


async def test_an_import_goes_on_where_it_was_and_a_repeated_chunk_changes_nothing(seller: Seller) -> None:
    begin = {"import_id": hashlib.sha256(b"file").hexdigest(), "name": "year.csv"}
    path = f"{METER}/imports/{begin['import_id']}"
    status, begun = await seller.call("POST", f"{METER}/imports", begin)
    assert (status, begun["state"], begun["chunks"], begun["chunk_rows"]) == (201, "OPEN", 0, CHUNK_ROWS)
    chunk = {"rows": rows(CHUNK_ROWS - 1), "refused": [[CHUNK_ROWS, "it is no number"]]}
    first = await seller.asked("PUT", f"{path}/chunks/0", chunk)
    assert (first["accepted"], first["refused"]) == (
        CHUNK_ROWS - 1,
        [{"line": CHUNK_ROWS, "reason": "it is no number"}],
    )
    assert await seller.asked("PUT", f"{path}/chunks/0", chunk) == first
    status, begun = await seller.call("POST", f"{METER}/imports", begin)
    assert (status, begun["chunks"], begun["accepted"], begun["refused"]) == (200, 1, CHUNK_ROWS - 1, 1)
    late = [[CHUNK_ROWS + 2, int(SLOT_START.timestamp()) + 30, 60, 1, "EXPORT", "MEASURED"]]
    last = {"rows": [*rows(1, first=5, wh=8), *rows(1, first=6), *late], "last": True}
    second = await seller.asked("PUT", f"{path}/chunks/1", last)
    assert (second["accepted"], second["unchanged"], second["corrected"]) == (0, 1, 1)
    assert "overlaps" in second["refused"][0]["reason"]
    done = await seller.asked("GET", path)
    assert (done["state"], done["accepted"] + done["unchanged"] + done["corrected"] + done["refused"]) == (
        "DONE",
        CHUNK_ROWS + 3,
    )
    listed = await seller.asked("GET", f"{path}/chunks", params={"limit": 1})
    rest = await seller.asked("GET", f"{path}/chunks", params={"after": listed["next"]})
    assert [listed["items"], rest["items"]] == [[first], [second]]
    imports = await seller.asked("GET", f"{METER}/imports")
    assert [item["name"] for item in imports["items"]] == ["year.csv"]


async def test_a_chunk_out_of_turn_or_out_of_shape_is_refused(seller: Seller) -> None:
    path = f"{METER}/imports/{_ID}"
    assert (await refused(seller, "PUT", f"{path}/chunks/0", {"rows": []}))[:2] == (404, "import")
    bad_id = {"import_id": "short", "name": "a"}
    assert (await refused(seller, "POST", f"{METER}/imports", bad_id))[:2] == (422, "import_id")
    await seller.asked("POST", f"{METER}/imports", {"import_id": _ID, "name": "a.csv"})
    for chunk, body, status, field in (
        ("1", {"rows": [], "last": True}, 409, "chunk"),
        ("x", {"rows": [], "last": True}, 422, "chunk"),
        ("99999", {"rows": [], "last": True}, 422, "chunk"),
        ("0", {"rows": rows(3)}, 422, "rows"),
        ("0", {"rows": rows(CHUNK_ROWS), "refused": [[1, "no"]], "last": True}, 422, "rows"),
        ("0", {"rows": [[1, 0, 60, -1, "EXPORT", "MEASURED"]], "last": True}, 422, "rows.0.3"),
        ("0", {"rows": [[1, 0, 60, 1, "UP", "MEASURED"]], "last": True}, 422, "rows.0.4"),
        ("0", {"rows": [], "refused": [[1, "x" * 401]], "last": True}, 422, "refused.0.1"),
    ):
        assert (await refused(seller, "PUT", f"{path}/chunks/{chunk}", body))[:2] == (status, field), (chunk, field)
    await seller.asked("PUT", f"{path}/chunks/0", {"rows": rows(2), "last": True})
    assert (await refused(seller, "PUT", f"{path}/chunks/0", {"rows": rows(1), "last": True}))[:2] == (409, "chunk")
    assert (await refused(seller, "PUT", f"{path}/chunks/1", {"rows": [], "last": True}))[:2] == (409, "import_id")
    for page in (f"{METER}/imports", f"{path}/chunks", f"{METER}/readings"):
        assert (await refused(seller, "GET", page, params={"after": "nonsense"}))[:2] == (422, "after")


# --- At the buyer's node -------------------------------------------------------------------------------------------


async def test_a_consumers_meter_has_the_same_calls(buyer: BuyerRig) -> None:
    async with buyer.node.database.connection() as connection:
        await connection.execute(
            "UPDATE customer_accounts SET meter_id = 'meter-9' WHERE account_id = $1", buyer.account_id
        )
    path = "/api/meters/meter-9/readings"
    lines = hours(5, 6, start=SLOT_START - DAY)
    answer = await buyer.post(path, {"readings": lines})
    assert (answer.status_code, answer.json()["accepted"]) == (200, 2)
    shown = (await buyer.get(path)).json()["items"]
    assert [(item["energy_wh"], item["quality"]) for item in shown] == [(5, "MEASURED"), (6, "MEASURED")]
    flows = await buyer.rows("SELECT DISTINCT flow FROM readings")
    assert [row["flow"] for row in flows] == ["IMPORT"]
    assert (await buyer.get("/api/meters/meter-9/findings")).status_code == 200
    async with asyncio.timeout(4):  # sooner than the job's own turn
        while await buyer.rows("SELECT 1 FROM meters_read"):
            await asyncio.sleep(0.02)


async def test_another_apps_meter_is_not_there(buyer: BuyerRig) -> None:
    async with buyer.node.database.connection() as connection:
        await connection.execute(
            "UPDATE customer_accounts SET meter_id = 'meter-9' WHERE account_id = $1", buyer.account_id
        )
    buyer.app = await buyer.new_app()
    for meter_id in ("meter-9", "nothing"):
        answer = await buyer.post(f"/api/meters/{meter_id}/readings", {"readings": []})
        assert (answer.status_code, answer.json()["error"]["field"]) == (404, "meter")
