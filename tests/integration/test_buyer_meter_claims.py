"""A consumer's meter at the buyer's node: claimed for what it imports, its ownership proven where that is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from beckn import meter_codes
from beckn.actions import Role
from beckn.claims import meter_hash
from tests.support.buyer_rig import BuyerRig, buyer_rig
from tests.support.hand_held_claims import SALT, HandHeldClaims
from tests.support.post_office import identity, record

UTILITY = identity("utility.example", 9)
IMPORT = ("flat-1", "IMPORT")


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[BuyerRig]:
    async with buyer_rig(database_url) as opened:
        yield opened


def claims_of(rig: BuyerRig) -> HandHeldClaims:
    assert isinstance(rig.node.claims, HandHeldClaims)
    return rig.node.claims


async def give(rig: BuyerRig, meter_id: str = "flat-1", **more: Any) -> tuple[int, Any]:
    answer = await rig.client.put(
        f"/api/accounts/{rig.account_id}/meter", json={"meter_id": meter_id, **more}, headers=rig.app
    )
    return answer.status_code, answer.json()


async def meter_of(rig: BuyerRig) -> str:
    return str((await rig.get(f"/api/accounts/{rig.account_id}")).json()["meter_id"])


async def test_an_accounts_meter_is_claimed_and_the_one_before_let_go_of(rig: BuyerRig) -> None:
    assert (await give(rig))[0] == 200
    assert claims_of(rig).own == {IMPORT}
    assert (await give(rig, "flat-2"))[0] == 200
    assert claims_of(rig).own == {("flat-2", "IMPORT")}


async def test_a_meter_that_cannot_be_let_go_of_does_not_undo_the_change(rig: BuyerRig) -> None:
    await give(rig)
    claims_of(rig).deaf = True
    assert (await give(rig, "flat-2"))[0] == 200
    assert await meter_of(rig) == "flat-2"
    assert claims_of(rig).own == {IMPORT, ("flat-2", "IMPORT")}


async def test_a_meter_that_is_held_elsewhere_or_cannot_be_asked_about_is_not_kept(rig: BuyerRig) -> None:
    claims_of(rig).elsewhere.add(IMPORT)
    status, problem = await give(rig)
    assert (status, problem["error"]["field"]) == (409, "meter_id")
    assert "another node" in problem["error"]["sentence"]
    claims_of(rig).silent = True
    status, problem = await give(rig, "flat-2")
    assert (status, problem["error"]["field"]) == (503, "meter_id")
    assert await meter_of(rig) == ""


async def test_where_codes_are_asked_for_an_account_gets_its_meter_with_one(database_url: str) -> None:
    async with buyer_rig(database_url, meter_proof="code", meter_utilities=UTILITY.subscriber_id) as rig:
        rig.directory.records.append(record(UTILITY, Role.BPP, "http://127.0.0.1:9/beckn"))
        expires_at = datetime.now(UTC) + timedelta(days=1)
        code, _ = meter_codes.issue(UTILITY, meter_hash(SALT, "flat-1"), expires_at=expires_at)
        for given in ({}, {"code": "nonsense"}, {"code": code[:-4]}):
            status, problem = await give(rig, **given)
            assert (status, problem["error"]["field"]) == (422, "code"), problem
        assert (await give(rig, "flat-2", code=code))[0] == 422
        assert await meter_of(rig) == ""
        assert (await give(rig, code=code))[0] == 200
        (proof,) = claims_of(rig).proofs
        assert proof is not None and proof.utility_id == UTILITY.subscriber_id
