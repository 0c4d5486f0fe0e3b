"""Statements, invoices and lists of settled orders over HTTP, on both nodes, with real databases; refusals first."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

import store.statements
from books import signed
from tests.support.buyer_rig import OPERATOR, BuyerRig, buyer_rig
from tests.support.post_office import BAP, BPP
from tests.support.seller_rig import Seller, running_seller, wanted
from tests.support.trade_cases import SLOT_START, hours

#: 0.9 kWh at 0.22 and 2 kWh at 0.23 with wheeling, thousandths of a cent.
SETTLED_MILLI = 19_800 + 46_000
AFTER_DELIVERY = SLOT_START + timedelta(hours=3)


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url) as running:
        yield running


@pytest.fixture
async def seller(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url) as running:
        await running.open_shop()
        yield running


async def problem(answer: Any, status: int) -> dict[str, Any]:
    """The error object of an answer that must have this status."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["sentence"]
    return error


async def settled(rig: BuyerRig) -> dict[str, Any]:
    """An order that was delivered, all but a tenth of a kWh, and settled."""
    order = await rig.order()
    await move(rig, AFTER_DELIVERY.isoformat())
    rig.seller.settle(hours(900, 2000))
    await rig.seller.tell("on_status")
    return await rig.until(order["order_id"], "COMPLETED")


async def move(rig: BuyerRig, instant: str) -> None:
    answer = await rig.client.put("/api/clock", json={"trading_time": instant}, headers=OPERATOR)
    assert answer.status_code == 200, answer.text


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("period", ["2016", "2016-13", "yesterday", "2016-02-30"])
async def test_what_is_no_period_is_422_and_says_what_to_send(rig: BuyerRig, period: str) -> None:
    error = await problem(await rig.get(f"/api/accounts/{rig.account_id}/statements/{period}"), 422)
    assert (error["field"], "2017-05" in error["sentence"]) == ("period", True)


@pytest.mark.parametrize(("query", "field"), [({"zone": "Mars/Base"}, "zone"), ({"format": "docx"}, "format")])
async def test_an_unknown_zone_or_form_is_422(rig: BuyerRig, query: dict[str, str], field: str) -> None:
    answer = await rig.get(f"/api/accounts/{rig.account_id}/statements/2016-08", **query)
    assert (await problem(answer, 422))["field"] == field


async def test_anothers_account_order_or_invoice_is_404(rig: BuyerRig) -> None:
    order = await rig.order()
    rig.app = await rig.new_app("other")
    for path in (
        f"/api/accounts/{rig.account_id}/statements/2016-08",
        f"/api/accounts/{rig.account_id}/invoices/2016-08",
        f"/api/orders/{order['order_id']}/statement",
    ):
        await problem(await rig.get(path), 404)
    await problem(await rig.get("/api/settled-orders", counterparty_id=BPP.subscriber_id), 403)


async def test_an_invoice_needs_a_month_that_is_over_and_had_trade(rig: BuyerRig) -> None:
    await settled(rig)
    path = f"/api/accounts/{rig.account_id}/invoices"
    early = await problem(await rig.get(f"{path}/2016-08"), 409)
    assert early["field"] == "month"
    assert "can be had from 2016-09-01T01:00:00Z on" in early["sentence"]
    assert (await problem(await rig.get(f"{path}/2016-08-02"), 422))["field"] == "month"
    assert (await problem(await rig.get(f"{path}/2016-07"), 404))["field"] == "month"


async def test_a_statement_that_would_be_too_long_is_422(rig: BuyerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    await settled(rig)
    monkeypatch.setattr("books.statements.MOVEMENTS_MAX", 1)
    error = await problem(await rig.get(f"/api/accounts/{rig.account_id}/statements/2016-08"), 422)
    assert "one by one" in error["sentence"]


async def test_a_prosumer_sees_its_own_provider_alone(seller: Seller) -> None:
    other = await seller.prosumer("home-8")
    path = "/api/providers/home-7/statements/2016-08"
    assert (await seller.call("GET", path, token=other))[0] == 403
    assert (await seller.call("GET", "/api/providers/home-9/statements/2016-08"))[0] == 404
    assert (await seller.call("GET", "/api/providers/home-7/statements/08-2016"))[0] == 422
    assert (await seller.call("GET", "/api/orders/none/statement"))[0] == 404
    status, refused = await seller.call("GET", "/api/settled-orders?counterparty_id=x", token=await seller.prosumer())
    assert (status, refused["error"]["limit"]) == (403, "operator")
    assert (await seller.call("GET", "/api/settled-orders"))[0] == 422


# --- What a consumer gets ---------------------------------------------------------------------------------------------


async def test_a_statement_is_signed_over_its_exact_bytes_in_every_form(rig: BuyerRig) -> None:
    await settled(rig)
    path = f"/api/accounts/{rig.account_id}/statements/2016-08-02"
    for form, media in (("json", "application/json"), ("csv", "text/csv"), ("pdf", "application/pdf")):
        answer = await rig.get(path, format=form)
        assert answer.headers["Content-Type"].startswith(media)
        assert answer.headers["Content-Disposition"] == f'attachment; filename="statement-2016-08-02.{form}"'
        made = signed.parse(answer.headers["Signature"])
        assert (made.subscriber_id, made.key_id) == (BAP.subscriber_id, BAP.key_id)
        signed.verify(answer.content, made, public_key=BAP.public_key)
        with pytest.raises(signed.SignatureRefused):
            signed.verify(answer.content + b" ", made, public_key=BAP.public_key)
        apart = await rig.get(path, format=f"{form}.sig")
        assert apart.text == f"{answer.headers['Signature']}\n"
    assert (await rig.get(path, format="sig")).text == (await rig.get(path, format="json.sig")).text


async def test_a_day_states_the_order_and_the_balance(rig: BuyerRig) -> None:
    order = await settled(rig)
    made = (await rig.get(f"/api/accounts/{rig.account_id}/statements/2016-08-02")).json()
    (stated,) = made["orders"]
    assert (stated["order_id"], stated["policy"]) == (order["order_id"], "plain@1")
    assert [slot["final_wh"] for slot in stated["slots"]] == [900, 2000]
    assert [version["total_milli"] for version in stated["versions"]] == [SETTLED_MILLI]
    (total,) = made["totals"]
    deposited = 10_000 * 1000
    assert (total["brought_forward_milli"], total["other_milli"]) == (0, deposited)
    assert total["carried_forward_milli"] == deposited - SETTLED_MILLI
    assert sum(await rig.wallet()) == deposited - SETTLED_MILLI


async def test_days_follow_the_zone_that_is_asked_for(rig: BuyerRig) -> None:
    await settled(rig)  # at 18:00 UTC on 2 August: the 3rd in Tokyo
    path = f"/api/accounts/{rig.account_id}/statements"
    assert (await rig.get(f"{path}/2016-08-02", zone="Asia/Tokyo")).json()["orders"] == []
    assert len((await rig.get(f"{path}/2016-08-03", zone="Asia/Tokyo")).json()["orders"]) == 1


async def test_an_order_has_a_statement_of_its_own(rig: BuyerRig) -> None:
    order = await settled(rig)
    made = (await rig.get(f"/api/orders/{order['order_id']}/statement")).json()
    assert made["period"] is None
    assert [movement["amount_milli"] for movement in made["movements"]] == [-SETTLED_MILLI]
    assert (await rig.get(f"/api/orders/{order['order_id']}/statement", format="pdf")).content.startswith(b"%PDF")


async def test_an_invoice_is_issued_once_and_never_changes(rig: BuyerRig) -> None:
    order = await settled(rig)
    path = f"/api/accounts/{rig.account_id}/invoices/2016-08"
    await move(rig, "2016-09-01T01:00:00Z")
    # Ten ask at once for an invoice nobody has issued yet: one number, the same bytes for all.
    answers = await asyncio.gather(*(rig.get(path, format="json") for _ in range(10)))
    assert len({answer.content for answer in answers}) == 1
    issued = answers[0].json()
    assert (issued["invoice_number"], issued["totals"][0]["invoice_total_minor"]) == (1, 66)
    assert issued["totals"][0]["rounding_milli"] == SETTLED_MILLI - 66_000
    # A correction that comes in September is a note of September's invoice, which has the next number.
    rig.seller.settle(hours(1000, 2000))
    await rig.seller.tell("on_status")
    async with asyncio.timeout(5):
        while len((await rig.get(f"/api/orders/{order['order_id']}/statement")).json()["movements"]) < 2:
            await asyncio.sleep(0.02)
    await move(rig, "2016-10-01T01:00:00Z")
    assert (await rig.get(path, format="json")).content == answers[0].content
    following = (await rig.get(f"/api/accounts/{rig.account_id}/invoices/2016-09", format="json")).json()
    (total,) = following["totals"]
    assert (following["invoice_number"], total["settled_milli"], total["corrected_milli"]) == (2, 0, -2_200)
    assert (await rig.get(path)).content.startswith(b"%PDF")


async def test_an_operator_lists_what_was_settled_with_a_seller(rig: BuyerRig) -> None:
    order = await settled(rig)
    asked = {"counterparty_id": BPP.subscriber_id, "period": "2016-08-02"}
    found = (await rig.client.get("/api/settled-orders", params=asked, headers=OPERATOR)).json()
    assert [item["wire_order_id"] for item in found["items"]] == [order["wire_order_id"]]
    assert found["items"][0]["between_nodes_milli"] == SETTLED_MILLI
    asked |= {"limit": "1"}
    page = (await rig.client.get("/api/settled-orders", params=asked, headers=OPERATOR)).json()
    following = await rig.client.get("/api/settled-orders", params=asked | {"after": page["next"]}, headers=OPERATOR)
    assert following.json() == {"items": [], "next": None}
    other_day = asked | {"period": "2016-08-03"}
    assert (await rig.client.get("/api/settled-orders", params=other_day, headers=OPERATOR)).json()["items"] == []


async def test_a_statement_asked_for_while_a_correction_is_booked_fits_together(
    rig: BuyerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is read before its movements: a correction in between must be in both or in none."""
    order = await settled(rig)
    movements, corrected = store.statements.movements, asyncio.Event()

    async def after_a_correction(*given: Any, **named: Any) -> Any:
        if not corrected.is_set():
            corrected.set()
            rig.seller.settle(hours(1000, 2000))
            await rig.seller.tell("on_status")
            async with asyncio.timeout(5):
                while (await rig.shown(order["order_id"]))["settlement"]["version"] < 2:
                    await asyncio.sleep(0.02)
        return await movements(*given, **named)

    monkeypatch.setattr("store.statements.movements", after_a_correction)
    path = f"/api/orders/{order['order_id']}/statement"
    for versions in (1, 2):
        made = (await rig.get(path)).json()
        assert [len(made["movements"]), len(made["orders"][0]["versions"])] == [versions, versions]


# --- What a prosumer gets ---------------------------------------------------------------------------------------------


async def test_a_provider_gets_what_it_earned_signed(seller: Seller) -> None:
    order = await seller.contract(wanted(1000, 2000))
    await seller.move_clock(AFTER_DELIVERY)
    await seller.measure(900, 2500, start=SLOT_START)
    token = await seller.prosumer()
    headers = {"Authorization": f"Bearer {token}"}
    answer = await seller.api.get("/api/providers/home-7/statements/2016-08", headers=headers)
    signed.verify(answer.content, signed.parse(answer.headers["Signature"]), public_key=BPP.public_key)
    made = answer.json()
    (total,) = made["totals"]
    # 0.9 kWh at 0.20 and 2 kWh at 0.21; the wheeling is the utility's.
    assert (total["due_milli"], total["invoice_total_minor"]) == (18_000 + 42_000, 60)
    own = (await seller.of_wire(order.wire_order_id))["order_id"]
    sheet = await seller.api.get(f"/api/orders/{own}/statement", headers=headers, params={"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(sheet.text)))
    assert [row["final_wh"] for row in rows if row["record"] == "SLOT"] == ["900", "2000"]
    listed = await seller.asked("GET", f"/api/settled-orders?counterparty_id={BAP.subscriber_id}")
    assert [item["between_nodes_milli"] for item in listed["items"]] == [SETTLED_MILLI]
