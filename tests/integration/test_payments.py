"""Deposits by a payment provider: a page to pay on, from a small server that speaks Stripe, and its signed word."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bap.config import BuyerSettings
from tests.support.buyer_rig import OPERATOR, BuyerRig, buyer_rig

SECRET = "whsec_of_tests"


@dataclass
class Stripe:
    """What of the provider's API this node uses, as its documentation says it behaves."""

    asked: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    refusal: tuple[int, Any] | None = None

    async def create_session(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        if request.headers.get("Authorization") != "Bearer sk_of_tests":
            return web.json_response({"error": {"message": "Invalid API Key provided"}}, status=401)
        if self.refusal is not None:
            status, document = self.refusal
            return web.Response(body=document, status=status, content_type="application/json")
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        number = len(self.asked)
        return web.json_response({"id": f"cs_{number}", "url": f"https://checkout.example/c/cs_{number}"})


@pytest.fixture
async def stripe() -> AsyncIterator[tuple[Stripe, str]]:
    played = Stripe()
    app = web.Application()
    app.router.add_post("/v1/checkout/sessions", played.create_session)
    async with TestServer(app) as server:
        yield played, str(server.make_url("")).rstrip("/")


@pytest.fixture
async def rig(database_url: str, stripe: tuple[Stripe, str]) -> AsyncIterator[BuyerRig]:
    given = {
        "stripe_api_key": "sk_of_tests",
        "stripe_webhook_secret": SECRET,
        "stripe_success_url": "https://app.example/paid",
        "stripe_cancel_url": "https://app.example/back",
        "stripe_api_url": stripe[1],
    }
    async with buyer_rig(database_url, **given) as running:
        yield running


async def tell(rig: BuyerRig, document: Any, *, secret: str = SECRET, age_s: int = 0) -> httpx.Response:
    body = orjson.dumps(document)
    stamp = int(rig.clock.now().timestamp()) - age_s
    mac = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Stripe-Signature": f"t={stamp},v1={mac}", "Content-Type": "application/json; charset=utf-8"}
    return await rig.client.post("/api/payments/stripe/webhook", content=body, headers=headers)


def paid(account_id: str, event_id: str = "evt_1", **changes: Any) -> dict[str, Any]:
    session = {
        "id": "cs_1",
        "client_reference_id": account_id,
        "amount_total": 1250,
        "currency": "usd",
        "payment_status": "paid",
        **changes,
    }
    return {"id": event_id, "type": "checkout.session.completed", "data": {"object": session}}


async def balance(rig: BuyerRig) -> int:
    return int((await rig.get(f"/api/accounts/{rig.account_id}")).json()["balance_milli"]) - 10_000_000


async def test_a_node_without_a_payment_provider_says_so(database_url: str) -> None:
    async with buyer_rig(database_url) as rig:
        refusal = await rig.post(f"/api/accounts/{rig.account_id}/payments", {"amount_minor": 5})
        assert refusal.status_code == 409
        assert "STRIPE_API_KEY" in refusal.json()["error"]["sentence"]
        assert (await tell(rig, paid(rig.account_id))).status_code == 409


def test_half_a_configuration_stops_the_node(database_url: str) -> None:
    with pytest.raises(ValueError, match="STRIPE_WEBHOOK_SECRET is missing"):
        BuyerSettings(
            port=0,
            public_url="http://127.0.0.1:1",
            subscriber_id="bap.example",
            key_id="k",
            signing_key="A" * 43 + "=",
            database_url=database_url,
            stripe_api_key="sk",
        )


async def test_an_event_that_is_not_proven_moves_nothing(rig: BuyerRig) -> None:
    unsigned = await rig.client.post("/api/payments/stripe/webhook", json=paid(rig.account_id))
    forged = await tell(rig, paid(rig.account_id), secret="whsec_guessed")
    replayed = await tell(rig, paid(rig.account_id), age_s=301)
    nonsense = await tell(rig, {"id": "evt_1"})
    assert [answer.status_code for answer in (unsigned, forged, replayed, nonsense)] == [400] * 4
    assert "Stripe-Signature" in forged.json()["error"]["sentence"]
    assert await balance(rig) == 0


async def test_the_providers_refusals_and_silence_are_502_with_its_reason(
    rig: BuyerRig, stripe: tuple[Stripe, str]
) -> None:
    path = f"/api/accounts/{rig.account_id}/payments"
    for refusal, says in (
        ((402, b'{"error": {"message": "Amount too small"}}'), "refused (402): Amount too small"),
        ((500, b"{}"), "refused (500): no reason given"),
        ((200, b"{}"), "no session and page"),
        ((200, b"<html>"), "cannot be reached (JSONDecodeError)"),
    ):
        stripe[0].refusal = refusal
        answer = await rig.post(path, {"amount_minor": 5})
        assert (answer.status_code, says in answer.json()["error"]["sentence"]) == (502, True), answer.text
    answer = await rig.post(path, {"amount_minor": 5, "currency": "XWH"})
    assert (answer.status_code, "XWH cannot be paid by card" in answer.text) == (502, True)
    assert (await rig.post("/api/accounts/nobody/payments", {"amount_minor": 5})).status_code == 404
    assert (await rig.post(path, {"amount_minor": 0})).status_code == 422
    strangers = await rig.new_app("other")
    assert (await rig.client.post(path, json={"amount_minor": 5}, headers=strangers)).status_code == 404


async def test_a_payment_is_started_and_credited_once_by_the_providers_word(
    rig: BuyerRig, stripe: tuple[Stripe, str]
) -> None:
    path = f"/api/accounts/{rig.account_id}/payments"
    started = (await rig.post(path, {"amount_minor": 1250})).json()
    assert (started["url"], started["state"]) == ("https://checkout.example/c/cs_1", "OPEN")
    [form] = stripe[0].asked
    assert form == {
        "mode": "payment",
        "client_reference_id": rig.account_id,
        "success_url": "https://app.example/paid",
        "cancel_url": "https://app.example/back",
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": "usd",
        "line_items[0][price_data][unit_amount]": "1250",
        "line_items[0][price_data][product_data][name]": "Deposit",
    }
    assert stripe[0].headers[0]["Idempotency-Key"]
    assert await balance(rig) == 0  # a page that was opened is no money

    waiting = paid(rig.account_id, "evt_0", payment_status="unpaid")
    assert (await tell(rig, waiting)).json() == {"received": True, "known": False}
    assert await balance(rig) == 0
    first, again = await tell(rig, paid(rig.account_id)), await tell(rig, paid(rig.account_id))
    assert (first.json()["known"], again.json()["known"]) == (False, True)
    later = paid(rig.account_id, "evt_2") | {"type": "checkout.session.async_payment_succeeded"}
    assert (await tell(rig, later)).status_code == 200  # another event about the same payment
    assert await balance(rig) == 1_250_000
    expired = paid(rig.account_id, "evt_3") | {"type": "checkout.session.expired"}
    await tell(rig, expired)
    [shown] = (await rig.get(path)).json()["items"]
    assert shown["state"] == "PAID"
    proof = (await rig.client.get("/api/ledger/proof", headers=OPERATOR)).json()
    assert proof["balanced"]


async def test_a_payment_for_nobody_is_kept_and_moves_nothing(rig: BuyerRig) -> None:
    assert (await tell(rig, paid("nobody"))).status_code == 200
    [row] = await rig.rows("SELECT outcome FROM payment_events")
    assert row["outcome"] == "NO_SUCH_ACCOUNT"
    assert await balance(rig) == 0
