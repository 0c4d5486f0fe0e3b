"""The registry's operator: who may call, what an act does, and that the audit says who did what when and why."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.servers import Servers
from tests.support.registry_rig import DOMAIN, Member, Registry, running_registry

MEMBER = Member("bpp.example.org", "https://bpp.example.org/beckn")


@pytest.fixture
async def registry(servers: Servers, migrated_template: str) -> AsyncIterator[Registry]:
    async with running_registry(servers, migrated_template) as running:
        yield running


async def enter(registry: Registry, member: Member = MEMBER, **changes: Any) -> None:
    answer = await registry.operate("/api/subscribers", {**member.application(**changes), "reason": "by hand"})
    assert answer.status == 201, answer.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/subscribers"),
        ("POST", "/api/subscribers"),
        ("POST", "/api/subscribers/x/approve"),
        ("POST", "/api/subscribers/x/suspend"),
        ("POST", "/api/subscribers/x/revoke"),
        ("POST", "/api/subscribers/x/rotate"),
        ("GET", "/api/audit"),
    ],
)
async def test_nobody_but_the_operator_gets_in(registry: Registry, method: str, path: str) -> None:
    made = await registry.operate("/api/tokens", {"role": "app", "name": "an app"})
    for token, status in [("", 401), ("Bearer wrong", 401), (f"Bearer {made.json['token']}", 403)]:
        headers = {"Authorization": token} if token else {}
        answer = await (registry.get(path, **headers) if method == "GET" else registry.post(path, {}, **headers))
        assert answer.status == status


@pytest.mark.parametrize("act", ["approve", "suspend", "revoke"])
async def test_an_act_on_nobody_is_404_and_one_without_a_reason_422(registry: Registry, act: str) -> None:
    assert (await registry.act(act, "nobody")).status == 404
    assert (await registry.operate(f"/api/subscribers/{MEMBER.subscriber_id}/{act}", {})).status == 422


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"signing_public_key": "?"}, "signing_public_key"),
        ({"encr_public_key": base64.b64encode(bytes(31)).decode()}, "encr_public_key"),
        ({"url": "ftp://x"}, "url"),
        ({"type": "BREG"}, "type"),
        ({"key_id": 'a"b'}, "key_id"),
        ({"status": "EXPIRED"}, "status"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
async def test_a_record_that_peers_could_not_use_is_refused_by_its_field(
    registry: Registry, change: dict[str, Any], field: str
) -> None:
    answer = await registry.operate("/api/subscribers", {**MEMBER.application(), **change})
    assert (answer.status, answer.json["error"]["field"]) == (422, field)


async def test_what_the_rules_forbid_is_409_for_the_operator_too(registry: Registry) -> None:
    await enter(registry)
    twice = await registry.operate("/api/subscribers", MEMBER.application())
    assert (twice.status, twice.json["error"]["field"]) == (409, "key_id")
    assert (await registry.act("approve", MEMBER.subscriber_id)).status == 409
    assert (await registry.act("revoke", MEMBER.subscriber_id)).status == 200
    assert (await registry.act("revoke", MEMBER.subscriber_id)).status == 409
    assert (await registry.operate("/api/subscribers", MEMBER.application())).status == 409


async def test_a_node_that_cannot_answer_the_challenge_is_entered_by_hand(registry: Registry) -> None:
    await enter(registry)
    (record,) = await registry.lookup(subscriber_id=MEMBER.subscriber_id)
    assert record["status"] == "SUBSCRIBED"
    (row,) = (await registry.operate("/api/subscribers?status=SUBSCRIBED&limit=500")).json["items"][:1]
    assert (row["subscriber_id"], row["challenge_passed"]) == (MEMBER.subscriber_id, False)


async def test_an_application_that_failed_the_challenge_can_still_be_approved(registry: Registry) -> None:
    answer = await registry.subscribe(Member("ps.example.org", "http://127.0.0.1:1/beckn"))
    assert answer.json["status"] == "INITIATED"
    approved = await registry.act("approve", "ps.example.org", key_id="k1")
    assert approved.json["items"][0]["status"] == "SUBSCRIBED"
    assert len(await registry.lookup(subscriber_id="ps.example.org")) == 1


async def test_acts_are_limited_to_what_they_name(registry: Registry) -> None:
    await enter(registry)
    await enter(registry, type="BAP")
    answer = await registry.act("suspend", MEMBER.subscriber_id, type="BAP", domain=DOMAIN)
    assert [(row["type"], row["status"]) for row in answer.json["items"]] == [("BAP", "SUSPENDED")]
    assert [r["type"] for r in await registry.lookup(subscriber_id=MEMBER.subscriber_id)] == ["BPP"]


async def test_the_operator_rotates_a_key_with_an_overlap_of_choice(registry: Registry) -> None:
    await enter(registry)
    fresh = Member(MEMBER.subscriber_id, MEMBER.url, key_id="k2")
    answer = await registry.operate(
        f"/api/subscribers/{MEMBER.subscriber_id}/rotate",
        {
            "new_key_id": "k2",
            "signing_public_key": fresh.identity.public_key_b64,
            "overlap_s": 60,
            "reason": "old key lost",
        },
    )
    assert [row["key_id"] for row in answer.json["items"]] == ["k2", "k1"]
    old_end = datetime.fromisoformat(answer.json["items"][1]["valid_until"])
    assert timedelta(seconds=55) < old_end - datetime.now(UTC) <= timedelta(seconds=60)
    registry.clock.ahead = timedelta(seconds=61)
    assert [r["key_id"] for r in await registry.lookup(subscriber_id=MEMBER.subscriber_id)] == ["k2"]


async def test_the_list_is_paged_and_filtered_by_the_operators_own_words(registry: Registry) -> None:
    for number in range(5):
        await enter(registry, Member(f"bpp-{number}", f"https://bpp-{number}.example.org"))
    await registry.act("suspend", "bpp-3")
    seen, after = [], ""
    while True:
        page = (await registry.operate(f"/api/subscribers?limit=2{after and f'&after={after}'}")).json
        seen += [row["subscriber_id"] for row in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == [*(f"bpp-{number}" for number in range(5)), "registry.example.org"]
    suspended = (await registry.operate("/api/subscribers?status=SUSPENDED")).json["items"]
    assert [row["subscriber_id"] for row in suspended] == ["bpp-3"]
    assert (await registry.operate("/api/subscribers?status=nonsense")).status == 422
    registry.clock.ahead = timedelta(days=400)
    expired = (await registry.operate("/api/subscribers?status=EXPIRED")).json["items"]
    assert len(expired) == 4


async def test_the_audit_says_who_did_what_to_whom_and_why(registry: Registry) -> None:
    await registry.subscribe(Member("bpp.example.org", "http://127.0.0.1:1/beckn"))
    await registry.operate("/api/subscribers/bpp.example.org/approve", {"key_id": "k1", "reason": "known by phone"})
    await registry.operate("/api/subscribers/bpp.example.org/revoke", {"reason": "key stolen"})
    await registry.act("suspend", "bpp.example.org")  # refused, so no entry
    entries = (await registry.operate("/api/audit?subject=bpp.example.org")).json["items"]
    assert [entry["act"] for entry in entries] == ["revoke", "approve", "subscribe"]
    revoked, approved, applied = entries
    assert (revoked["actor"], revoked["detail"]["reason"]) == ("operator", "key stolen")
    assert approved["detail"]["keys"] == [{"type": "BPP", "domain": DOMAIN, "key_id": "k1", "status": "SUBSCRIBED"}]
    assert applied["actor"] == "bpp.example.org (unsigned)"
    assert "cannot connect" in applied["detail"]["why"]
    page = (await registry.operate("/api/audit?limit=2")).json
    rest = (await registry.operate(f"/api/audit?limit=2&after={page['next']}")).json
    assert [e["act"] for e in page["items"] + rest["items"]] == ["revoke", "approve", "subscribe", "enter"]
