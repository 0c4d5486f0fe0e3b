"""A meter at a seller's node: claimed before it is kept, let go of on request, refused when held elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from beckn import meter_codes
from beckn.claims import meter_hash
from tests.support.hand_held_claims import SALT, HandHeldClaims
from tests.support.post_office import BPP
from tests.support.seller_rig import Seller, offer_json, running_seller
from tests.support.trade_cases import an_offer

HOME = {"provider_id": "home-7", "name": "Home 7", "gps": "34.1, -117.4", "meter_id": "meter-7"}
EXPORT = ("meter-7", "EXPORT")


@pytest.fixture
async def seller(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url) as running:
        yield running


def claims_of(seller: Seller) -> HandHeldClaims:
    assert isinstance(seller.node.claims, HandHeldClaims)
    return seller.node.claims


async def refused(seller: Seller, path: str, body: Any = None, **options: Any) -> tuple[int, str, str]:
    status, document = await seller.call("POST", path, body, **options)
    return status, document["error"]["field"], document["error"]["sentence"]


async def test_a_provider_is_registered_with_its_meter_claimed(seller: Seller) -> None:
    await seller.asked("POST", "/api/providers", HOME)
    assert claims_of(seller).own == {EXPORT}


async def test_a_meter_held_by_another_node_is_refused_and_nothing_is_kept(seller: Seller) -> None:
    claims_of(seller).elsewhere.add(EXPORT)
    status, field, sentence = await refused(seller, "/api/providers", HOME)
    assert (status, field) == (409, "meter_id")
    assert "another node" in sentence
    assert (await seller.asked("GET", "/api/providers"))["items"] == []


async def test_a_silent_registry_lets_no_meter_in_until_it_speaks(seller: Seller) -> None:
    claims_of(seller).silent = True
    status, field, sentence = await refused(seller, "/api/providers", HOME)
    assert (status, field) == (503, "meter_id")
    assert "try again" in sentence
    assert (await seller.asked("GET", "/api/providers"))["items"] == []
    claims_of(seller).silent = False
    await seller.asked("POST", "/api/providers", HOME)


async def test_a_second_provider_with_the_same_meter_does_not_touch_the_claim(seller: Seller) -> None:
    await seller.asked("POST", "/api/providers", HOME)
    status, field, _ = await refused(seller, "/api/providers", HOME | {"provider_id": "home-8"})
    assert (status, field) == (409, "meter_id")
    assert claims_of(seller).own == {EXPORT}


async def test_a_meter_is_let_go_of_only_when_nothing_is_sold_from_it(seller: Seller) -> None:
    await seller.asked("POST", "/api/providers", HOME)
    await seller.asked("POST", "/api/offers", offer_json(an_offer()))
    status, _, sentence = await refused(seller, "/api/providers/home-7/meter/release")
    assert status == 409
    assert "1 published offer(s)" in sentence
    await seller.asked("POST", "/api/offers/offer-1/withdraw")
    await seller.asked("POST", "/api/providers/home-7/meter/release")
    assert claims_of(seller).own == set()
    assert (await refused(seller, "/api/offers", offer_json(an_offer(offer_id="offer-2"))))[:2] == (409, "meter_id")


async def test_a_live_order_keeps_its_meter_here(seller: Seller) -> None:
    await seller.open_shop()
    await seller.contract()
    await seller.asked("POST", "/api/offers/offer-1/withdraw")
    status, _, sentence = await refused(seller, "/api/providers/home-7/meter/release")
    assert status == 409
    assert "1 live order(s)" in sentence
    assert claims_of(seller).own == {EXPORT}


async def test_a_meter_that_was_let_go_of_can_be_taken_again_unless_another_has_it(seller: Seller) -> None:
    await seller.asked("POST", "/api/providers", HOME)
    await seller.asked("POST", "/api/providers/home-7/meter/release")
    claims_of(seller).elsewhere.add(EXPORT)
    assert (await refused(seller, "/api/providers/home-7/meter/claim"))[0] == 409
    assert (await refused(seller, "/api/offers", offer_json(an_offer())))[0] == 409
    claims_of(seller).elsewhere.clear()
    await seller.asked("POST", "/api/providers/home-7/meter/claim")
    await seller.asked("POST", "/api/offers", offer_json(an_offer()))


async def test_a_registry_that_cannot_be_told_of_a_release_leaves_the_meter_unsold_and_is_told_later(
    seller: Seller,
) -> None:
    await seller.asked("POST", "/api/providers", HOME)
    claims_of(seller).silent = True
    assert (await refused(seller, "/api/providers/home-7/meter/release"))[0] == 503
    assert (await refused(seller, "/api/offers", offer_json(an_offer())))[:2] == (409, "meter_id")
    claims_of(seller).silent = False
    await seller.asked("POST", "/api/providers/home-7/meter/release")
    assert claims_of(seller).own == set()


@pytest.mark.parametrize("act", ["release", "claim"])
async def test_only_the_operator_moves_a_meter(seller: Seller, act: str) -> None:
    await seller.asked("POST", "/api/providers", HOME)
    path = f"/api/providers/home-7/meter/{act}"
    assert (await refused(seller, path, token=await seller.prosumer()))[0] == 403
    assert (await refused(seller, path.replace("home-7", "nobody")))[0] == 404
    claims_of(seller).silent = True
    assert (await refused(seller, path))[0] == 503


# --- Whose meter it is ---------------------------------------------------------------------------------------------


def code_for(meter_id: str, *, days: int = 1) -> str:
    expires_at = datetime.now(UTC) + timedelta(days=days)
    return meter_codes.issue(BPP, meter_hash(SALT, meter_id), expires_at=expires_at)[0]


@pytest.fixture
async def strict(database_url: str) -> AsyncIterator[Seller]:
    async with running_seller(database_url, meter_proof="code", meter_utilities=BPP.subscriber_id) as running:
        yield running


async def test_where_codes_are_asked_for_even_the_operator_needs_one(strict: Seller) -> None:
    status, field, sentence = await refused(strict, "/api/providers", HOME)
    assert (status, field) == (422, "code")
    assert "send the code that its utility gives its owner" in sentence
    for wrong in ("nonsense", code_for("meter-8"), code_for("meter-7", days=-1)):
        assert (await refused(strict, "/api/providers", HOME | {"code": wrong}))[:2] == (422, "code")
    assert claims_of(strict).own == set()
    await strict.asked("POST", "/api/providers", HOME | {"code": code_for("meter-7")})
    (proof,) = claims_of(strict).proofs
    assert proof is not None and proof.utility_id == BPP.subscriber_id
    await strict.asked("POST", "/api/providers/home-7/meter/release")
    assert (await refused(strict, "/api/providers/home-7/meter/claim"))[:2] == (422, "code")
    await strict.asked("POST", "/api/providers/home-7/meter/claim", {"code": code_for("meter-7")})


async def test_a_prosumer_registers_its_own_meters_with_codes_and_nobody_elses(database_url: str) -> None:
    async with running_seller(database_url, meter_utilities=BPP.subscriber_id) as seller:
        token = await seller.prosumer("home-7")
        further = HOME | {"provider_id": "home-7:shed", "meter_id": "meter-8"}
        assert (await refused(seller, "/api/providers", HOME, token=token))[:2] == (422, "code")
        given: dict[str, Any]
        for body in (HOME, further):
            given = body | {"code": code_for(str(body["meter_id"]))}
            await seller.asked("POST", "/api/providers", given, token=token)
        for other in ("home-8", "home-77", None):
            given = {**HOME, "provider_id": other, "meter_id": "meter-9", "code": code_for("meter-9")}
            assert (await refused(seller, "/api/providers", given, token=token))[:2] == (403, "Authorization")
        listed = (await seller.asked("GET", "/api/providers", token=token))["items"]
        assert [row["provider_id"] for row in listed] == ["home-7", "home-7:shed"]
        assert (await seller.asked("GET", "/api/providers/home-7:shed", token=token))["meter_id"] == "meter-8"
        assert (await seller.asked("GET", "/api/providers", token=await seller.prosumer("home-8")))["items"] == []
