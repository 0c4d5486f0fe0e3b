"""The desk's refusals and answers, over HTTP, without a database: public routes and the operator's token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import BaseModel, Field

from api.desk import Answer, Call, Desk
from api.paging import Page, Strict
from api.problems import ApiError, conflict
from beckn.clock import WallClock

OPERATOR = {"Authorization": "Bearer the-operators-own-token"}


class ParcelIn(Strict):
    weight_g: int = Field(ge=1, le=30_000)
    label: str = Field(max_length=10)


class ParcelOut(BaseModel):
    weight_g: int
    label: str


def make_desk(**options: Any) -> Desk:
    desk = Desk(title="Parcels <&>", version="1.2.3", **options)

    @desk.route("POST", "/api/parcels", role="operator", body=ParcelIn, answer=ParcelOut, status=201, tags=["parcels"])
    async def post_parcel(call: Call[ParcelIn]) -> ParcelOut:
        """Post a parcel."""
        return ParcelOut(weight_g=call.body.weight_g, label=call.body.label)

    @desk.route("GET", "/api/parcels", role=None, query=Page, answer=ParcelOut)
    async def get_parcels(call: Call[None]) -> ParcelOut:
        """List parcels."""
        return ParcelOut(weight_g=call.query.limit, label=str(call.wait.seconds))

    @desk.route("GET", "/api/parcels/{parcel_id}", role="app", answer=ParcelOut, waits=True)
    async def get_parcel(call: Call[None]) -> ParcelOut:
        """One parcel."""
        raise conflict("never reached")

    @desk.route("GET", "/api/broken", role=None, answer=ParcelOut)
    async def broken(call: Call[None]) -> ParcelOut:
        """A bug."""
        raise RuntimeError("secret detail")

    @desk.route("POST", "/api/refused", role=None, status=202)
    async def refused(call: Call[None]) -> Answer:
        """A refusal with a limit."""
        raise ApiError(409, "The shelf holds 5 parcels.", field="shelf", limit=5)

    return desk


async def serve(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    app = web.Application()
    node: Any = SimpleNamespace(
        settings=SimpleNamespace(admin_token="the-operators-own-token"), database=None, wall=WallClock()
    )
    desk.mount(app, node)
    async with TestServer(app) as server, httpx.AsyncClient(base_url=str(server.make_url("/"))) as client:
        yield client


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async for client in serve(make_desk()):
        yield client


async def test_a_call_without_a_token_is_401_and_names_the_scheme(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/parcels", json={})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["error"]["field"] == "Authorization"


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer\ta", "bearer" + " x" * 300, "Bearer \xe9"])
async def test_a_malformed_authorization_is_401(client: httpx.AsyncClient, header: str) -> None:
    answer = await client.post("/api/parcels", json={}, headers={"Authorization": header.encode("latin-1")})  # type: ignore[dict-item]
    assert answer.status_code == 401


async def test_the_wrong_role_is_403_and_names_the_right_one(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/parcels/1", headers=OPERATOR)
    assert answer.status_code == 403
    assert answer.json()["error"]["limit"] == "app"


async def test_a_number_over_its_limit_is_refused_with_field_limit_and_sentence(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/parcels", json={"weight_g": 30_001, "label": "x"}, headers=OPERATOR)
    assert answer.status_code == 422
    assert answer.json() == {
        "error": {
            "field": "weight_g",
            "limit": 30_000,
            "sentence": "'weight_g' is 30001 and must be at most 30000.",
        }
    }


async def test_a_misspelt_field_is_refused_by_name(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/parcels", json={"weight_g": 1, "label": "x", "lable": "y"}, headers=OPERATOR)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "lable"


async def test_a_missing_field_is_refused_and_the_others_are_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/parcels", json={}, headers=OPERATOR)
    assert answer.json()["error"]["sentence"] == "'weight_g' is missing; send it. (Also wrong: 'label'.)"


async def test_a_body_that_is_no_json_is_400(client: httpx.AsyncClient) -> None:
    headers = {**OPERATOR, "Content-Type": "application/json"}
    answer = await client.post("/api/parcels", content=b'{"weight_g": 1,', headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "body"


async def test_a_body_of_another_media_type_is_415(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/parcels", content=b"a,b", headers={**OPERATOR, "Content-Type": "text/csv"})
    assert answer.status_code == 415


async def test_a_body_over_the_cap_is_413_whether_its_length_is_announced_or_not(client: httpx.AsyncClient) -> None:
    big = b"x" * (1_048_576 + 1)

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 65_536):
            yield big[start : start + 65_536]

    headers = {**OPERATOR, "Content-Type": "application/json"}
    announced = await client.post("/api/parcels", content=big, headers=headers)
    piecewise = await client.post("/api/parcels", content=in_pieces(), headers=headers)
    assert [announced.status_code, piecewise.status_code] == [413, 413]
    assert announced.json()["error"]["limit"] == 1_048_576


async def test_a_query_over_its_limit_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/parcels", params={"limit": "501"})
    assert answer.status_code == 422
    assert answer.json()["error"]["limit"] == 500


async def test_an_unknown_path_is_a_problem_too(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/parcels", json={})
    assert answer.status_code == 404
    assert "PUT /api/parcels" in answer.json()["error"]["sentence"]


async def test_a_bug_is_500_with_a_reference_and_without_its_details(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/broken", headers={"X-Request-Id": "req-7"})
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert answer.json()["error"]["reference"] == "req-7"
    assert answer.headers["X-Request-Id"] == "req-7"


async def test_a_handlers_refusal_carries_its_field_and_limit(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/refused")
    assert answer.status_code == 409
    assert answer.json()["error"] == {"field": "shelf", "limit": 5, "sentence": "The shelf holds 5 parcels."}


async def test_guessing_tokens_is_slowed_down() -> None:
    async for client in serve(make_desk(strangers_rate_per_s=0.001)):
        # Half a permit's burst: no guess is left from the start.
        answer = await client.post("/api/parcels", headers=OPERATOR)
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "1"


async def test_a_token_over_its_rate_is_429() -> None:
    async for client in serve(make_desk(rate_per_s=0.001, burst=2)):
        parcel = {"weight_g": 1, "label": "x"}
        statuses = [(await client.post("/api/parcels", json=parcel, headers=OPERATOR)).status_code for _ in range(3)]
        assert statuses == [201, 201, 429]


async def test_a_good_call_is_answered_with_the_routes_status_and_model(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/parcels", json={"weight_g": 5, "label": "x"}, headers=OPERATOR)
    assert answer.status_code == 201
    assert answer.json() == {"weight_g": 5, "label": "x"}
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_prefer_wait_is_read_and_capped(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/parcels", headers={"Prefer": "respond-async, wait=900; offers=3"})
    assert answer.json()["label"] == "30.0"


async def test_every_route_is_in_the_document_with_its_models(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {
        "/api/clock",
        "/api/tokens",
        "/api/tokens/{token_id}",
        "/api/parcels",
        "/api/parcels/{parcel_id}",
        "/api/broken",
        "/api/refused",
    }
    post = document["paths"]["/api/parcels"]["post"]
    assert post["security"] == [{"bearer": []}]
    assert post["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ParcelIn"}
    assert post["responses"]["201"]["content"]["application/json"]["schema"]["$ref"].endswith("ParcelOut")
    waiting = document["paths"]["/api/parcels/{parcel_id}"]["get"]
    assert [p["name"] for p in waiting["parameters"]] == ["parcel_id", "Prefer"]


async def test_the_docs_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "Parcels &lt;&amp;&gt;" in page.text
    assert "http://" not in page.text and "https://" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for path in ("start.js", "swagger-ui-bundle.js", "swagger-ui.css", "openapi.json", "favicon-32x32.png"):
        assert (await client.get(f"/docs/{path}")).status_code == 200
    assert (await client.get("/docs/openapi.json")).json()["openapi"] == "3.0.3"
