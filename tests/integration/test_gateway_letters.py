"""The gateway (protocol notes, section 4) between real servers: refusals first, then bytes, headers, fan-out, fate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from beckn import signing
from beckn.envelope import format_instant
from cli.servers import Servers
from tests.support.gateway_rig import Gateway, Peer, on_search, running_gateway, search
from tests.support.registry_rig import OPERATOR, Answer, Member


@pytest.fixture
async def gateway(servers: Servers, migrated_template: str) -> AsyncIterator[Gateway]:
    async with running_gateway(servers, migrated_template) as running:
        yield running


def refused(answer: Answer) -> tuple[int, str]:
    assert answer.json["message"]["ack"]["status"] == "NACK"
    return answer.status, answer.json["error"].get("paths", "")


# --- Rule 1: who may search ------------------------------------------------------------------------------------------


async def test_a_search_that_is_not_signed_by_the_buyer_it_names_goes_nowhere(gateway: Gateway) -> None:
    bap, other = await gateway.enter("bap.example.org", "BAP"), await gateway.enter("other.example.org", "BAP")
    bpp = await gateway.enter("bpp.example.org", "BPP")
    _, body = search(bap.party)
    now = datetime.now(UTC)
    stranger = Member("bap.example.org", "", key_id="k1")  # the right name, another key
    cases: list[tuple[dict[str, str], tuple[int, str]]] = [
        ({}, (401, "header.Authorization")),
        ({"Authorization": "Signature nonsense"}, (401, "header.Authorization")),
        ({"Authorization": stranger.sign(body, now)}, (401, "header.Authorization")),
        ({"Authorization": other.member.sign(body, now)}, (401, "context.bap_id")),
        ({"Authorization": bpp.member.sign(body, now)}, (401, "header.Authorization")),
        ({"Authorization": bap.member.sign(body + b" ", now)}, (401, "header.Authorization")),
        ({"Authorization": bap.member.sign(body, now - timedelta(seconds=301))}, (401, "header.Authorization")),
        ({"Authorization": bap.member.with_key("k9").sign(body, now)}, (401, "header.Authorization")),
    ]
    for headers, expected in cases:
        answer = await gateway.post("search", body, **headers)
        assert refused(answer) == expected
        assert answer.headers["WWW-Authenticate"] == (
            'Signature realm="gateway.example.org",headers="(created) (expires) digest"'
        )
    assert bpp.received == []


async def test_a_search_with_an_answer_address_that_is_not_registered_is_refused(gateway: Gateway) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")
    _, body = search(bap.party, bap_uri="http://169.254.169.254/beckn")
    assert refused(await gateway.send(bap, "search", body)) == (400, "context.bap_uri")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"domain": "uei:ev_charging"}, "context.domain"),
        ({"version": "1.1.1"}, "context.version"),
        ({"action": "select"}, "context.action"),
        ({"timestamp": "2020-01-01T00:00:00.000Z"}, "context.timestamp"),
        ({"timestamp": format_instant(datetime.now(UTC) + timedelta(hours=1))}, "context.timestamp"),
    ],
)
async def test_a_search_that_is_not_for_this_network_or_not_alive_is_refused(
    gateway: Gateway, change: dict[str, Any], path: str
) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")
    _, body = search(bap.party, **change)
    assert refused(await gateway.send(bap, "search", body)) == (400, path)


async def test_only_search_and_its_answer_pass_the_gateway(gateway: Gateway) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")
    _, body = search(bap.party, action="confirm")
    assert refused(await gateway.send(bap, "confirm", body)) == (404, "context.action")


async def test_a_revoked_buyer_is_refused_within_five_seconds(gateway: Gateway) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")
    await gateway.registry.act("revoke", "bap.example.org")
    async with asyncio.timeout(5):
        while True:
            answer = await gateway.send(bap, "search", search(bap.party)[1])
            if answer.status == 401:
                break
            await asyncio.sleep(0.1)
    assert "UNSUBSCRIBED" in answer.json["error"]["message"]


# --- Rules 2, 3, 4: copies, bytes, headers ---------------------------------------------------------------------------


def check_gateway_headers(gateway: Gateway, letter: Any, body: bytes, authorization: str) -> None:
    assert letter.body == body, "not one byte may change: the sender's digest is over these"
    assert letter.headers["Authorization"] == authorization
    assert letter.headers["X-Gateway-Authorization"] == letter.headers["Proxy-Authorization"]
    assert len(letter.headers.getall("Authorization")) == 1
    assert len(letter.headers.getall("X-Gateway-Authorization")) == 1
    assert letter.headers["Content-Type"] == "application/json"
    parsed = signing.parse_header(letter.headers["X-Gateway-Authorization"])
    assert (parsed.subscriber_id, parsed.key_id) == ("gateway.example.org", "g1")
    signing.verify(signing.digest(letter.body), parsed, public_key=gateway.identity.public_key)


async def test_every_seller_that_fits_gets_the_same_bytes_and_both_signatures(gateway: Gateway) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")
    sellers = [await gateway.enter(f"bpp-{n}.example.org", "BPP") for n in range(3)]
    elsewhere = await gateway.enter("far.example.org", "BPP", city="std:011")
    nationwide = await gateway.enter("wide.example.org", "BPP", city="*", country="")
    waiting = await gateway.enter("new.example.org", "BPP", status="INITIATED")
    transaction_id, body = search(bap.party)
    authorization = bap.member.sign(body, datetime.now(UTC))
    answer = await gateway.post("search", body, Authorization=authorization)
    assert (answer.status, answer.body) == (200, b'{"message":{"ack":{"status":"ACK"}}}')
    fate = await gateway.settled(transaction_id)
    for seller in [*sellers, nationwide]:
        (letter,) = seller.received
        assert letter.action == "search"
        check_gateway_headers(gateway, letter, body, authorization)
    assert elsewhere.received == waiting.received == bap.received == []
    assert fate["destinations"] == 4
    assert fate["note"] == ""
    assert {copy["state"] for copy in fate["copies"]} == {"SENT"}
    assert {copy["subscriber_id"] for copy in fate["copies"]} == {
        *(f"bpp-{n}.example.org" for n in range(3)),
        "wide.example.org",
    }


async def test_gateway_headers_that_a_sender_forges_are_not_passed_on(gateway: Gateway) -> None:
    bap, bpp = await gateway.enter("bap.example.org", "BAP"), await gateway.enter("bpp.example.org", "BPP")
    transaction_id, body = search(bap.party)
    now = datetime.now(UTC)
    authorization = bap.member.sign(body, now)
    for name in ("X-Gateway-Authorization", "Proxy-Authorization"):
        forged = {"Authorization": authorization, name: bap.member.sign(body, now)}
        answer = await gateway.post("search", body, **forged)
        assert answer.status == 401
        assert "Proxy-Authenticate" in answer.headers
    await gateway.post("search", body, Authorization=authorization)
    await gateway.settled(transaction_id)
    (letter,) = bpp.received
    check_gateway_headers(gateway, letter, body, authorization)


async def test_a_search_that_names_a_seller_goes_to_that_one_alone(gateway: Gateway) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")
    one, two = await gateway.enter("one.example.org", "BPP"), await gateway.enter("two.example.org", "BPP")
    transaction_id, body = search(bap.party, bpp_id="two.example.org", bpp_uri=two.member.url)
    assert (await gateway.send(bap, "search", body)).status == 200
    await gateway.settled(transaction_id)
    assert (len(one.received), len(two.received)) == (0, 1)


async def test_who_asks_gets_no_copy_of_its_own_search_though_it_sells_too(gateway: Gateway) -> None:
    bap = await gateway.enter("both.example.org", "BAP")
    seller = bap.member.application(type="BPP")
    assert (await gateway.registry.operate("/api/subscribers", seller)).status == 201
    transaction_id, body = search(bap.party)
    await gateway.send(bap, "search", body)
    assert (await gateway.settled(transaction_id))["destinations"] == 0
    assert bap.received == []


# --- Rule 5 and the fate of each copy --------------------------------------------------------------------------------


async def test_the_fate_of_every_copy_is_told(gateway: Gateway) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")

    def behave(peer: Peer, status: int, body: bytes) -> None:
        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, body=body, content_type="application/json")

        peer.behaviour = answer

    good = await gateway.enter("good.example.org", "BPP")
    accepting = await gateway.enter("accepting.example.org", "BPP")
    behave(accepting, 202, b'{"context":{},"message":{"ack":{"status":"ACK"}}}')
    refusing = await gateway.enter("refusing.example.org", "BPP")
    behave(refusing, 200, b'{"message":{"ack":{"status":"NACK"}},"error":{"code":"30000","message":"not today"}}')
    strange = await gateway.enter("strange.example.org", "BPP")
    behave(strange, 404, b"")
    transaction_id, body = search(bap.party)
    await gateway.send(bap, "search", body)
    copies = {copy["subscriber_id"]: copy for copy in (await gateway.settled(transaction_id))["copies"]}
    assert copies["good.example.org"]["state"] == copies["accepting.example.org"]["state"] == "SENT"
    assert copies["refusing.example.org"]["state"] == copies["strange.example.org"]["state"] == "DEAD"
    assert "not today" in str(copies["refusing.example.org"]["outcome"])
    assert [len(peer.received) for peer in (good, accepting, refusing, strange)] == [1, 1, 1, 1], "4xx is not retried"


async def test_a_seller_that_is_down_holds_nobody_up_and_is_tried_again(gateway: Gateway) -> None:
    bap, good = await gateway.enter("bap.example.org", "BAP"), await gateway.enter("good.example.org", "BPP")
    await gateway.enter("gone.example.org", "BPP", is_up=False)
    transaction_id, body = search(bap.party)
    await gateway.send(bap, "search", body)
    async with asyncio.timeout(5):
        while not good.received:
            await asyncio.sleep(0.02)
    async with asyncio.timeout(10):
        while True:
            copies = {copy["subscriber_id"]: copy for copy in (await gateway.fate(transaction_id))["copies"]}
            if copies["gone.example.org"]["attempts"] >= 2:
                break
            await asyncio.sleep(0.1)
    assert copies["gone.example.org"]["state"] == "QUEUED"
    assert not copies["gone.example.org"]["uncertain"], "nobody was there, so it cannot have arrived"


async def test_a_copy_is_given_up_when_the_searchs_ttl_is_over_and_the_fate_says_why(gateway: Gateway) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")
    await gateway.enter("gone.example.org", "BPP", is_up=False)
    transaction_id, body = search(bap.party, ttl="PT2S")
    await gateway.send(bap, "search", body)
    (copy,) = (await gateway.settled(transaction_id))["copies"]
    assert copy["state"] == "DEAD"
    assert copy["outcome"]


async def test_a_seller_that_hangs_is_cut_off_and_its_copy_called_uncertain(
    servers: Servers, migrated_template: str
) -> None:
    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(20)
        raise AssertionError

    async with running_gateway(servers, migrated_template, answer_s_max=0.3, connect_s_max=0.3) as gateway:
        bap, slow = await gateway.enter("bap.example.org", "BAP"), await gateway.enter("slow.example.org", "BPP")
        slow.behaviour = hang
        transaction_id, body = search(bap.party, ttl="PT2S")
        await gateway.send(bap, "search", body)
        (copy,) = (await gateway.settled(transaction_id))["copies"]
    assert (copy["state"], copy["uncertain"]) == ("DEAD", True)


async def test_a_search_that_was_acknowledged_goes_on_after_a_restart(gateway: Gateway) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")
    bpp = await gateway.enter("bpp.example.org", "BPP", is_up=False)
    transaction_id, body = search(bap.party)
    authorization = bap.member.sign(body, datetime.now(UTC))
    assert (await gateway.post("search", body, Authorization=authorization)).status == 200
    await gateway.stop()
    await gateway.bring_up(bpp)
    await gateway.start()
    await gateway.settled(transaction_id)
    (letter,) = bpp.received
    check_gateway_headers(gateway, letter, body, authorization)


# --- Rules 6, 7, 8 ---------------------------------------------------------------------------------------------------


async def test_an_answer_goes_to_the_buyers_registered_url_with_the_sellers_own_signature(gateway: Gateway) -> None:
    bap, bpp = await gateway.enter("bap.example.org", "BAP"), await gateway.enter("bpp.example.org", "BPP")
    transaction_id, _ = search(bap.party)
    # The address in the letter is not where it goes.
    body = on_search(bap.party, bpp.party, transaction_id, bap_uri="http://127.0.0.1:9/beckn")
    authorization = bpp.member.sign(body, datetime.now(UTC))
    assert (await gateway.post("on_search", body, Authorization=authorization)).status == 200
    async with asyncio.timeout(5):
        while not bap.received:
            await asyncio.sleep(0.02)
    (letter,) = bap.received
    assert letter.action == "on_search"
    check_gateway_headers(gateway, letter, body, authorization)


async def test_an_answer_that_is_not_signed_by_the_seller_it_names_is_refused(gateway: Gateway) -> None:
    bap, bpp = await gateway.enter("bap.example.org", "BAP"), await gateway.enter("bpp.example.org", "BPP")
    other = await gateway.enter("other.example.org", "BPP")
    body = on_search(bap.party, bpp.party, search(bap.party)[0])
    assert refused(await gateway.send(other, "on_search", body)) == (401, "context.bpp_id")
    assert refused(await gateway.send(bap, "on_search", body)) == (401, "header.Authorization")


async def test_an_answer_to_a_buyer_nobody_knows_is_acknowledged_and_goes_nowhere(gateway: Gateway) -> None:
    bpp = await gateway.enter("bpp.example.org", "BPP")
    nobody = Member("nobody.example.org", "http://127.0.0.1:9/beckn", type="BAP")
    bap = Peer(nobody)
    body = on_search(bap.party, bpp.party, search(bap.party)[0])
    assert (await gateway.send(bpp, "on_search", body)).status == 200


async def test_a_search_without_any_seller_is_acknowledged_and_the_status_says_so(gateway: Gateway) -> None:
    bap = await gateway.enter("bap.example.org", "BAP")
    transaction_id, body = search(bap.party)
    assert (await gateway.send(bap, "search", body)).status == 200
    fate = await gateway.settled(transaction_id)
    assert (fate["destinations"], fate["copies"]) == (0, [])
    assert "No seller got this search" in fate["note"]


async def test_the_same_search_twice_is_acknowledged_twice_and_sent_once(gateway: Gateway) -> None:
    bap, bpp = await gateway.enter("bap.example.org", "BAP"), await gateway.enter("bpp.example.org", "BPP")
    transaction_id, body = search(bap.party)
    answers = await asyncio.gather(*(gateway.send(bap, "search", body) for _ in range(5)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, b'{"message":{"ack":{"status":"ACK"}}}')}
    await gateway.settled(transaction_id)
    await asyncio.sleep(0.2)
    assert len(bpp.received) == 1
    other = body.replace(b"solar", b"wind")
    assert refused(await gateway.send(bap, "search", other)) == (409, "context.message_id")


async def test_nobody_but_the_operator_sees_what_became_of_a_search(gateway: Gateway) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        async with gateway.http.get(f"{gateway.url}/api/searches/x", headers=headers) as answer:
            assert answer.status == 401
    async with gateway.http.get(
        f"{gateway.url}/api/searches/never-came", headers={"Authorization": f"Bearer {OPERATOR}"}
    ) as answer:
        assert answer.status == 404
