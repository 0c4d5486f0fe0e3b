"""Joining, changing and leaving, over HTTP against a real registry: the refusals first."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from beckn import challenge, signing
from beckn.node import NODE
from cli.servers import Servers
from tests.support.registry_rig import (
    Answer,
    Member,
    Registry,
    answering,
    free_port,
    place,
    running_registry,
)


@pytest.fixture
async def registry(servers: Servers, migrated_template: str) -> AsyncIterator[Registry]:
    async with running_registry(servers, migrated_template) as running:
        yield running


@pytest.fixture
async def open_registry(servers: Servers, migrated_template: str) -> AsyncIterator[Registry]:
    """One that approves by itself."""
    async with running_registry(servers, migrated_template, auto_approve=True) as running:
        yield running


def nack(answer: Answer) -> tuple[int, str, str]:
    assert answer.json["message"]["ack"]["status"] == "NACK"
    error = answer.json["error"]
    return answer.status, error.get("paths", ""), error["message"]


# --- What cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/subscribe", "/lookup", "/subscribers/subscribe", "/subscribers/lookup"])
@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"\xff\xfe", b"{}x"])
async def test_a_body_that_is_no_json_object_is_refused(registry: Registry, path: str, body: bytes) -> None:
    assert nack(await registry.post(path, body))[0] == 400


@pytest.mark.parametrize("path", ["/subscribe", "/lookup"])
async def test_a_body_larger_than_the_limit_is_refused(registry: Registry, path: str) -> None:
    assert nack(await registry.post(path, b" " * 70_000))[0] == 413


async def test_a_missing_field_is_refused_by_its_name(registry: Registry) -> None:
    member = Member("bpp.example.org", "http://127.0.0.1:1")
    for name in ("subscriber_id", "type", "key_id", "signing_public_key"):
        document = member.application()
        del document[name]
        assert nack(await registry.post("/subscribe", document))[:2] == (400, name)


async def test_the_registrys_own_role_and_name_are_not_to_be_had(registry: Registry) -> None:
    member = Member("registry.example.org", "http://127.0.0.1:1")
    assert nack(await registry.subscribe(member, type="BREG"))[:2] == (400, "type")
    assert nack(await registry.subscribe(member))[:2] == (401, "header.Authorization")


# --- Signatures ------------------------------------------------------------------------------------------------------


async def test_a_signature_that_does_not_hold_is_refused_even_where_none_is_needed(registry: Registry) -> None:
    member = Member("bpp.example.org", "http://127.0.0.1:1")
    body = orjson.dumps(member.application())
    for header in ("Signature nonsense", member.sign(body + b" ", registry.clock.now())):
        answer = await registry.post("/subscribe", body, Authorization=header)
        assert nack(answer)[0] == 401
        assert answer.headers["WWW-Authenticate"].startswith('Signature realm="registry.example.org"')


async def test_an_expired_signature_is_refused(registry: Registry) -> None:
    member = Member("bpp.example.org", "http://127.0.0.1:1")
    body = orjson.dumps(member.application())
    header = member.sign(body, registry.clock.now() - timedelta(seconds=400))
    status, _, sentence = nack(await registry.post("/subscribe", body, Authorization=header))
    assert status == 401
    assert "expired" in sentence


async def test_nobody_applies_in_anothers_name(registry: Registry) -> None:
    member, other = Member("bpp.example.org", "http://127.0.0.1:1"), Member("other.example.org", "http://x")
    answer = await registry.subscribe(member, signed_by=other)
    assert nack(answer)[:2] == (401, "subscriber_id")


@pytest.fixture
async def subscribed(open_registry: Registry) -> AsyncIterator[tuple[Registry, Member]]:
    """A member that is in, with a place that answers challenges for it under any key added to `keys`."""
    member = Member("bpp.example.org", "")
    keys = [member]
    async with place(answering(keys, open_registry)) as url:
        member.url = url
        answer = await open_registry.subscribe(member)
        assert (answer.status, answer.json["status"]) == (200, "SUBSCRIBED")
        member.__dict__["keys"] = keys
        yield open_registry, member


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://127.0.0.1:9/beckn"},
        {"key_id": "k2"},
        {"type": "BAP"},
        {"domain": "uei:ev_charging"},
        {"valid_until": "2036-01-01T00:00:00Z"},
    ],
)
async def test_a_member_is_not_changed_or_extended_by_a_letter_without_its_signature(
    subscribed: tuple[Registry, Member], change: dict[str, Any]
) -> None:
    registry, member = subscribed
    before = await registry.lookup(subscriber_id=member.subscriber_id)
    status, path, sentence = nack(await registry.subscribe(member, **change))
    assert (status, path) == (401, "header.Authorization")
    assert "k1" in sentence
    stranger = Member(member.subscriber_id, member.url, key_id="k2")
    assert nack(await registry.subscribe(stranger, signed_by=stranger))[0] == 401
    after = await registry.lookup(subscriber_id=member.subscriber_id)
    assert [{**r, "valid_until": ""} for r in after] == [{**r, "valid_until": ""} for r in before]


async def test_a_repetition_is_answered_with_the_status_and_poses_no_challenge(
    subscribed: tuple[Registry, Member],
) -> None:
    registry, member = subscribed
    member.__dict__["keys"].clear()  # nobody would answer a challenge now
    for signer in (None, member):
        answer = await registry.subscribe(member, signed_by=signer)
        assert (answer.status, answer.json["status"]) == (200, "SUBSCRIBED")


async def test_a_revoked_key_never_comes_back_and_its_owner_only_through_the_operator(
    subscribed: tuple[Registry, Member],
) -> None:
    registry, member = subscribed
    assert (await registry.act("revoke", member.subscriber_id)).status == 200
    status, path, sentence = nack(await registry.subscribe(member, signed_by=member))
    assert (status, path) == (400, "key_id")
    assert "revoked" in sentence
    again = member.with_key("k2")
    member.__dict__["keys"].append(again)
    answer = await registry.subscribe(again)
    assert answer.json["status"] == "UNDER_SUBSCRIPTION"
    assert await registry.lookup(subscriber_id=member.subscriber_id) == []


async def test_a_suspended_member_can_change_nothing_until_it_is_approved_again(
    subscribed: tuple[Registry, Member],
) -> None:
    registry, member = subscribed
    await registry.act("suspend", member.subscriber_id)
    assert await registry.lookup(subscriber_id=member.subscriber_id) == []
    assert "suspended" in nack(await registry.subscribe(member.with_key("k2"), signed_by=member))[2]
    await registry.act("approve", member.subscriber_id)
    assert len(await registry.lookup(subscriber_id=member.subscriber_id)) == 1


# --- Rotation --------------------------------------------------------------------------------------------------------


async def test_rotation_is_signed_by_the_old_key_which_stays_valid_for_the_overlap(
    subscribed: tuple[Registry, Member],
) -> None:
    registry, member = subscribed
    fresh = member.with_key("k2")
    member.__dict__["keys"].append(fresh)
    answer = await registry.subscribe(fresh, signed_by=member)
    assert (answer.status, answer.json["status"]) == (200, "SUBSCRIBED")
    records = await registry.lookup(subscriber_id=member.subscriber_id)
    assert [record["key_id"] for record in records] == ["k2", "k1"], "the newest first: peers take the first"
    registry.clock.ahead = timedelta(seconds=3659)
    assert len(await registry.lookup(subscriber_id=member.subscriber_id)) == 2
    registry.clock.ahead = timedelta(seconds=3661)
    assert [r["key_id"] for r in await registry.lookup(subscriber_id=member.subscriber_id)] == ["k2"]
    expired = await registry.lookup(subscriber_id=member.subscriber_id, status="EXPIRED")
    assert [record["key_id"] for record in expired] == ["k1"]
    assert nack(await registry.subscribe(member.with_key("k3"), signed_by=member))[0] == 401


async def test_a_rotation_whose_challenge_fails_leaves_the_old_key_in_force(
    subscribed: tuple[Registry, Member],
) -> None:
    registry, member = subscribed
    answer = await registry.subscribe(member.with_key("k2"), signed_by=member)
    assert answer.json["status"] == "INITIATED"
    assert "plaintext" in answer.json["error"]["message"]
    assert [r["key_id"] for r in await registry.lookup(subscriber_id=member.subscriber_id)] == ["k1"]


async def test_a_new_url_is_proven_before_it_counts(subscribed: tuple[Registry, Member]) -> None:
    registry, member = subscribed
    moved = f"http://127.0.0.1:{free_port()}/beckn"
    answer = await registry.subscribe(member, signed_by=member, url=moved)
    assert answer.status == 400
    assert "cannot connect" in nack(answer)[2]
    assert [r["url"] for r in await registry.lookup(subscriber_id=member.subscriber_id)] == [member.url]


# --- The challenge, and why it failed --------------------------------------------------------------------------------


async def joined(registry: Registry, url: str, **changes: Any) -> Answer:
    return await registry.subscribe(Member("bpp.example.org", url), **changes)


async def test_every_way_a_challenge_fails_is_told_apart(registry: Registry) -> None:
    async def silent(_request: web.Request, _body: bytes) -> web.StreamResponse:
        await asyncio.sleep(5)
        raise AssertionError

    async def refusing(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.json_response({"error": {"message": "I hold another key"}}, status=400)

    async def chatty(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.Response(text="hello")

    async def signing_like_protocol_server(_request: web.Request, body: bytes) -> web.StreamResponse:
        asked = orjson.loads(body)["challenge"].encode()
        return web.json_response({"answer": base64.b64encode(bytes(64) + asked).decode()})

    async def moved(_request: web.Request, _body: bytes) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/elsewhere")

    async def trimming(_request: web.Request, body: bytes) -> web.StreamResponse:
        return web.json_response({"answer": " almost "})

    expected = {
        silent: "no answer within 1 s",
        refusing: "HTTP 400: I hold another key",
        chatty: 'JSON object {"answer"',
        signing_like_protocol_server: "operator",
        moved: "HTTP 307",
        trimming: "AES-256-ECB",
    }
    for behaviour, words in expected.items():
        async with place(behaviour) as url:
            answer = await joined(registry, url)
        assert (answer.status, answer.json["status"]) == (200, "INITIATED")
        assert words in answer.json["error"]["message"], answer.json
    nobody = await joined(registry, f"http://127.0.0.1:{free_port()}/beckn")
    assert "cannot connect" in nobody.json["error"]["message"]
    keyless = await joined(registry, "http://127.0.0.1:1/beckn", encr_public_key="")
    assert "encr_public_key is missing" in keyless.json["error"]["message"]


def self_signed(directory: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bpp.example.org")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2095, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    (directory / "both.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "both.pem")
    return context


async def test_a_place_whose_certificate_nobody_vouches_for_is_invalid_ssl(registry: Registry, tmp_path: Path) -> None:
    async def never(_request: web.Request, _body: bytes) -> web.StreamResponse:
        raise AssertionError

    async with place(never, tls=self_signed(tmp_path)) as url:
        answer = await joined(registry, url)
    assert (answer.status, answer.json["status"]) == (200, "INVALID_SSL")
    assert "certificate" in answer.json["error"]["message"]


async def test_what_fails_on_the_registrys_side_is_told_with_a_reference(registry: Registry) -> None:
    await registry.app[NODE].database.close()
    for answer in (
        await registry.post("/lookup", {}),
        await registry.subscribe(Member("bpp.example.org", "http://127.0.0.1:1")),
        await registry.get("/changes"),
    ):
        assert answer.status == 503
        assert "reference" in answer.json["error"]["message"]
    assert (await registry.get("/ready")).status == 503


async def test_a_private_address_is_never_called(servers: Servers, migrated_template: str) -> None:
    async def called(_request: web.Request, _body: bytes) -> web.StreamResponse:
        raise AssertionError("the guard let it through")

    async with (
        running_registry(servers, migrated_template, allow_private_urls=False) as registry,
        place(called) as url,
    ):
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0"):
            answer = await joined(registry, url.replace("127.0.0.1", host))
            assert answer.json["status"] == "INITIATED"
            assert "not on the public internet" in answer.json["error"]["message"], host


async def test_the_challenge_is_signed_by_the_registry_and_names_whom_it_is_for(registry: Registry) -> None:
    member, asked = Member("bpp.example.org", ""), []
    async with place(answering([member], registry, asked)) as url:
        member.url = url
        answer = await registry.subscribe(member)
    assert answer.json["status"] == "UNDER_SUBSCRIPTION"
    ((headers, body),) = asked
    parsed = signing.parse_header(headers["Authorization"])
    signing.verify(signing.digest(body), parsed, public_key=registry.public_key)
    assert (parsed.subscriber_id, parsed.key_id) == ("registry.example.org", "r1")
    document = orjson.loads(body)
    assert document["subscriber_id"] == "bpp.example.org"
    assert set(document) == {"subscriber_id", "message_id", "challenge"}


async def test_an_encryption_key_in_der_is_challenged_like_a_raw_one(registry: Registry) -> None:
    member = Member("bpp.example.org", "")
    spki = bytes.fromhex("302a300506032b656e032100") + base64.b64decode(challenge.public_key_b64(member.encryption_key))
    async with place(answering([member], registry)) as url:
        member.url = url
        answer = await registry.subscribe(member, encr_public_key=base64.b64encode(spki).decode())
    assert answer.json["status"] == "UNDER_SUBSCRIPTION"


async def test_only_so_many_challenges_are_under_way_at_once(servers: Servers, migrated_template: str) -> None:
    release = asyncio.Event()

    async def waiting(_request: web.Request, _body: bytes) -> web.StreamResponse:
        await release.wait()
        return web.json_response({"answer": ""})

    async with (
        running_registry(servers, migrated_template, challenges_max=1) as registry,
        place(waiting) as url,
    ):
        first = asyncio.create_task(joined(registry, url))
        await asyncio.sleep(0.2)
        status, _, sentence = nack(await joined(registry, url, subscriber_id="other.example.org"))
        release.set()
        assert status == 429
        assert "try again" in sentence
        assert (await first).status == 200


async def test_strangers_cannot_fill_the_roll_with_unproven_applications(
    servers: Servers, migrated_template: str
) -> None:
    async with running_registry(servers, migrated_template, pending_max=3) as registry:
        for number in range(6):
            answer = await joined(registry, "http://127.0.0.1:1/beckn", subscriber_id=f"bpp-{number}.example.org")
            assert answer.json["status"] == "INITIATED"
        listed = (await registry.operate("/api/subscribers?status=INITIATED")).json["items"]
        assert {row["subscriber_id"] for row in listed} == {f"bpp-{n}.example.org" for n in (3, 4, 5)}


# --- Joining ---------------------------------------------------------------------------------------------------------


async def test_a_stranger_joins_once_the_operator_approves(registry: Registry) -> None:
    member = Member("bpp.example.org", "")
    async with place(answering([member], registry)) as url:
        member.url = url
        answer = await registry.subscribe(member, signed_by=member)
    assert answer.json == {
        "subscriber_id": "bpp.example.org",
        "type": "BPP",
        "domain": "uei:p2p_trading",
        "key_id": "k1",
        "status": "UNDER_SUBSCRIPTION",
        "error": {"code": "30000", "message": "the challenge is passed; the network's operator has to approve"},
    }
    assert await registry.lookup(subscriber_id=member.subscriber_id) == []
    approved = await registry.act("approve", member.subscriber_id)
    assert [row["status"] for row in approved.json["items"]] == ["SUBSCRIBED"]
    assert len(await registry.lookup(subscriber_id=member.subscriber_id)) == 1


async def test_two_applications_at_the_same_moment_end_in_one_record(open_registry: Registry) -> None:
    member = Member("bpp.example.org", "")
    async with place(answering([member], open_registry)) as url:
        member.url = url
        answers = await asyncio.gather(*(open_registry.subscribe(member, signed_by=member) for _ in range(8)))
    assert {answer.json["status"] for answer in answers} == {"SUBSCRIBED"}
    assert len(await open_registry.lookup(subscriber_id=member.subscriber_id)) == 1
