"""Claims on meters at a real registry over HTTP: one holder, whoever asks and however often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from beckn import signing
from beckn.claims import ClaimRefused, MeterTaken, Proof, RegistryClaims, RegistrySilent, meter_hash
from beckn.registry_client import RegistryClient
from cli.servers import Servers
from tests.support.registry_rig import Answer, Member, Registry, free_port, running_registry

EAST = Member("east.example.org", "https://east.example.org/beckn")
WEST = Member("west.example.org", "https://west.example.org/beckn")
BUYER = Member("buyer.example.org", "https://buyer.example.org/beckn", type="BAP")
STRANGER = Member("stranger.example.org", "https://stranger.example.org/beckn")


@pytest.fixture
async def registry(servers: Servers, migrated_template: str) -> AsyncIterator[Registry]:
    async with running_registry(servers, migrated_template) as running:
        for member in (EAST, WEST, BUYER):
            answer = await running.operate("/api/subscribers", {**member.application(), "reason": "by hand"})
            assert answer.status == 201, answer.body
        yield running


async def hash_of(registry: Registry, meter_id: str = "meter-7") -> str:
    return meter_hash(bytes.fromhex((await registry.get("/meter_claims/salt")).json["salt"]), meter_id)


async def tell(registry: Registry, who: Member, act: str = "claim", path: str = "", **changes: Any) -> Answer:
    document = {"act": act, "meter_hash": await hash_of(registry), "flow": "EXPORT"} | changes
    body = orjson.dumps(document)
    path = path or ("/meter_claims" if act == "claim" else "/meter_claims/release")
    return await registry.post(path, body, Authorization=who.sign(body, registry.clock.now()))


def claims_of(registry: Registry, who: Member) -> RegistryClaims:
    client = RegistryClient(registry.url, public_key=registry.public_key, wall=registry.clock)
    return RegistryClaims(client, identity=lambda: who.identity, wall=registry.clock)


async def test_the_salt_is_made_once_and_signed(registry: Registry) -> None:
    answers = await asyncio.gather(*(registry.get("/meter_claims/salt") for _ in range(8)))
    assert len({answer.json["salt"] for answer in answers}) == 1
    assert len(answers[0].json["salt"]) == 64
    parsed = signing.parse_header(answers[0].headers["Signature"])
    signing.verify(signing.digest(answers[0].body), parsed, public_key=registry.public_key)


async def test_the_second_node_is_refused_and_not_told_who_holds_the_meter(registry: Registry) -> None:
    assert (await tell(registry, EAST)).json["status"] == "HELD"
    assert (await tell(registry, EAST)).status == 200  # the holder may ask again
    refused = await tell(registry, WEST)
    assert (refused.status, refused.json["error"]["code"]) == (409, "30025")
    assert b"east" not in refused.body
    # The other direction of the same meter is another claim, of another role.
    assert (await tell(registry, BUYER, flow="IMPORT")).status == 200
    looked = await registry.get(f"/meter_claims/{await hash_of(registry)}")
    assert looked.json["flows"] == {"EXPORT": "HELD", "IMPORT": "HELD"}
    assert b"example.org" not in looked.body


async def test_of_many_that_ask_at_once_one_gets_the_meter(registry: Registry) -> None:
    answers = await asyncio.gather(*(tell(registry, who) for who in (EAST, WEST) * 8))
    winners = {answer.status for answer in answers}
    assert winners == {200, 409}
    assert sum(answer.status == 200 for answer in answers) == 8


async def test_released_by_its_holder_a_meter_is_free_for_another(registry: Registry) -> None:
    await tell(registry, EAST)
    assert (await tell(registry, WEST, "release")).status == 409
    assert (await tell(registry, EAST, "release")).json["status"] == "FREE"
    assert (await tell(registry, EAST, "release")).status == 200  # let go of already
    assert (await tell(registry, WEST)).status == 200
    acts = (await registry.operate("/api/audit?subject=east.example.org")).json["items"]
    assert [act["act"] for act in acts][:2] == ["release", "claim"]


async def test_a_claim_played_again_as_a_release_is_refused(registry: Registry) -> None:
    refused = await tell(registry, EAST, "claim", path="/meter_claims/release")
    assert (refused.status, refused.json["error"]["paths"]) == (400, "act")


@pytest.mark.parametrize(
    ("who", "changes", "status"),
    [
        (STRANGER, {}, 401),
        (BUYER, {}, 401),
        (EAST, {"flow": "IMPORT"}, 401),
        (EAST, {"flow": "SIDEWAYS"}, 400),
        (EAST, {"meter_hash": "meter-7"}, 400),
        (EAST, {"proof": {}}, 400),
        (Member(EAST.subscriber_id, EAST.url), {}, 401),  # the right name, another key
    ],
)
async def test_a_claim_against_the_rules_is_refused(
    registry: Registry, who: Member, changes: dict[str, Any], status: int
) -> None:
    answer = await tell(registry, who, **changes)
    assert answer.status == status, answer.body
    assert answer.json["error"]["message"]


async def test_an_unsigned_claim_and_an_unreadable_hash_are_refused(registry: Registry) -> None:
    assert (await registry.post("/meter_claims", {"act": "claim"})).status == 401
    assert (await registry.get("/meter_claims/meter-7")).status == 400


async def test_a_revoked_node_claims_no_more_and_its_meters_are_freed_by_the_operator(registry: Registry) -> None:
    await tell(registry, EAST)
    await registry.act("revoke", EAST.subscriber_id)
    assert (await tell(registry, EAST)).status == 401
    assert (await tell(registry, WEST)).status == 409  # held until somebody decides
    listed = (await registry.operate(f"/api/meter_claims?subscriber_id={EAST.subscriber_id}")).json["items"]
    assert [(row["meter_hash"], row["flow"]) for row in listed] == [(await hash_of(registry), "EXPORT")]
    path = f"/api/subscribers/{EAST.subscriber_id}/release_claims"
    assert len((await registry.operate(path, {"reason": "revoked"})).json["items"]) == 1
    assert (await registry.operate(path, {"reason": "revoked"})).json["items"] == []
    assert (await tell(registry, WEST)).status == 200
    (act,) = (await registry.operate(f"/api/audit?subject={EAST.subscriber_id}&limit=1")).json["items"]
    assert (act["act"], act["detail"]["reason"]) == ("free", "revoked")


async def test_the_operator_frees_one_claim_and_says_why(registry: Registry) -> None:
    await tell(registry, EAST)
    body = {"meter_hash": await hash_of(registry), "flow": "EXPORT", "reason": "the owner moved"}
    freed = await registry.operate("/api/meter_claims/release", body)
    assert (freed.status, freed.json["subscriber_id"]) == (200, EAST.subscriber_id)
    assert (await registry.operate("/api/meter_claims/release", body)).status == 404
    assert (await registry.operate("/api/meter_claims/release", body | {"reason": ""})).status == 422
    assert (await registry.operate("/api/meter_claims/release", body | {"meter_hash": "x"})).status == 422
    for path in ("/api/meter_claims", "/api/meter_claims?limit=1"):
        assert (await registry.operate(path)).json == {"items": [], "next": None}
        assert (await registry.get(path)).status == 401


async def test_a_code_proves_one_claim_and_no_other(registry: Registry) -> None:
    proof = {"utility_id": "utility.example.org", "nonce_digest": "cd" * 32}
    assert (await tell(registry, EAST, proof=proof)).status == 200
    assert (await tell(registry, EAST, proof=proof)).status == 200  # the same claim again
    other = await hash_of(registry, "meter-8")
    used = await tell(registry, EAST, meter_hash=other, proof=proof)
    assert (used.status, used.json["error"]["code"]) == (409, "30026")
    assert (await registry.get(f"/meter_claims/{other}")).json["flows"]["EXPORT"] == "FREE"  # nothing is half done


async def test_the_port_says_taken_refused_or_silent(registry: Registry) -> None:
    east, west = claims_of(registry, EAST), claims_of(registry, WEST)
    await east.take("meter-7", "EXPORT", Proof("utility.example.org", "cd" * 32))
    await east.take("der://meter/METER-7", "EXPORT")
    with pytest.raises(MeterTaken, match="another node"):
        await west.take("meter-7", "EXPORT")
    with pytest.raises(ClaimRefused, match="before"):
        await west.take("meter-8", "EXPORT", Proof("utility.example.org", "cd" * 32))
    await east.release("meter-7", "EXPORT")
    await west.take("meter-7", "EXPORT")
    away = RegistryClient(f"http://127.0.0.1:{free_port()}", public_key=registry.public_key, wall=registry.clock)
    with pytest.raises(RegistrySilent, match="try again"):
        await RegistryClaims(away, identity=lambda: EAST.identity, wall=registry.clock).take("meter-7", "EXPORT")
    wrong_key = RegistryClient(registry.url, public_key=EAST.identity.public_key, wall=registry.clock)
    with pytest.raises(RegistrySilent, match="not signed"):
        await RegistryClaims(wrong_key, identity=lambda: EAST.identity, wall=registry.clock).take("m", "EXPORT")
