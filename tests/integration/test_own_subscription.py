"""A node's own place in the registry: the challenge it answers and those it does not, approval, and a late registry."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import pytest

from beckn import challenge, signing
from cli.servers import Servers
from gateway import app as gateway_app
from gateway.config import GatewaySettings
from tests.support.registry_rig import (
    OPERATOR,
    Answer,
    Member,
    Registry,
    free_port,
    new_database,
    new_x25519,
    running_registry,
    served,
)


class RunningNode:
    """A gateway, standing for any node, and how to speak to it."""

    def __init__(self, settings: GatewaySettings, http: aiohttp.ClientSession) -> None:
        self.settings, self.http = settings, http

    async def ready(self) -> tuple[int, dict[str, Any]]:
        async with self.http.get(f"http://127.0.0.1:{self.settings.port}/ready") as answer:
            return answer.status, await answer.json()

    async def becomes(self, wanted: Callable[[int, dict[str, Any]], bool], *, within_s: float = 10) -> dict[str, Any]:
        """Wait until /ready says what is wanted."""
        document: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within_s):
                while True:
                    status, document = await self.ready()
                    if wanted(status, document):
                        return document
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"/ready says {document}") from None

    async def challenged(self, body: bytes, **headers: str) -> Answer:
        url = f"{self.settings.protocol_url}/on_subscribe"
        async with self.http.post(url, data=body, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


@asynccontextmanager
async def running_node(
    servers: Servers, template: str, registry_url: str, registry_key: bytes | None, **settings: Any
) -> AsyncIterator[RunningNode]:
    port = free_port()
    with new_database(servers, template) as database_url:
        given: dict[str, Any] = {
            "port": port,
            "public_url": f"http://127.0.0.1:{port}",
            "subscriber_id": "node.example.org",
            "key_id": "n1",
            "signing_key": base64.b64encode(secrets.token_bytes(32)).decode(),
            "encryption_key": new_x25519(),
            "registry_url": registry_url,
            "registry_public_key": base64.b64encode(registry_key).decode() if registry_key else "",
            "database_url": database_url,
            "admin_token": OPERATOR,
            "allow_private_urls": True,
        } | settings
        configured = GatewaySettings(**given)
        async with served(gateway_app.build(configured), port), aiohttp.ClientSession() as http:
            yield RunningNode(configured, http)


@pytest.fixture
async def registry(servers: Servers, migrated_template: str) -> AsyncIterator[Registry]:
    async with running_registry(servers, migrated_template) as running:
        yield running


def is_ready(status: int, _document: dict[str, Any]) -> bool:
    return status == 200


# --- Challenges that get no answer -----------------------------------------------------------------------------------


async def test_only_the_registry_gets_a_challenge_answered(
    servers: Servers, migrated_template: str, registry: Registry
) -> None:
    async with running_node(servers, migrated_template, registry.url, registry.public_key) as node:
        asked = challenge.make_challenge(
            "secret",
            private_key=registry.settings.challenge_key,
            public_key=challenge.public_key_b64(node.settings.encryption_key),
        )

        async def refused(document: Any, signer: signing.Identity | None) -> tuple[int, str]:
            body = document if isinstance(document, bytes) else orjson.dumps(document)
            headers = {"Authorization": signing.sign(body, identity=signer, now=datetime.now(UTC))} if signer else {}
            answer = await node.challenged(body, **headers)
            assert answer.json["message"]["ack"]["status"] == "NACK"
            return answer.status, answer.json["error"].get("paths", "")

        real, stranger = registry.settings.identity, Member("registry.example.org", "", key_id="r1").identity
        good = {"subscriber_id": "node.example.org", "message_id": "m", "challenge": asked}
        assert await refused(good, None) == (401, "header.Authorization")
        assert await refused(good, stranger) == (401, "header.Authorization")
        assert await refused({**good, "subscriber_id": "other.example.org"}, real) == (400, "subscriber_id")
        assert await refused({**good, "challenge": 7}, real) == (400, "challenge")
        assert await refused({**good, "challenge": "AAAA"}, real) == (400, "challenge")
        assert (await refused(b"[]", real))[0] == 400
        assert (await refused(b" " * 20_000, real))[0] == 413
        body = orjson.dumps(good)
        answer = await node.challenged(body, Authorization=signing.sign(body, identity=real, now=datetime.now(UTC)))
        assert (answer.status, answer.json) == (200, {"answer": "secret"})


# --- Getting in ------------------------------------------------------------------------------------------------------


async def test_a_node_proves_itself_and_is_ready_once_the_operator_approves(
    servers: Servers, migrated_template: str, registry: Registry
) -> None:
    async with running_node(servers, migrated_template, registry.url, registry.public_key) as node:
        document = await node.becomes(lambda _, d: "UNDER_SUBSCRIPTION" in d["missing"].get("subscription", ""))
        assert "operator has to approve" in document["missing"]["subscription"]
        (row,) = (await registry.operate("/api/subscribers?status=UNDER_SUBSCRIPTION")).json["items"]
        assert row["challenge_passed"]
        await registry.act("approve", "node.example.org")
        await node.becomes(is_ready, within_s=5)
        async with node.http.get(f"{node.settings.public_url}/metrics") as answer:
            metrics = await answer.text()
        assert "powershare_directory_records 2.0" in metrics
        assert "powershare_directory_read_seconds" in metrics
        await registry.act("revoke", "node.example.org")
        document = await node.becomes(lambda _, d: "revoked" in d["missing"].get("subscription", ""), within_s=6)
        assert "new key_id" in document["missing"]["subscription"]


async def test_a_node_whose_challenge_fails_says_why_in_ready(
    servers: Servers, migrated_template: str, registry: Registry
) -> None:
    # The classic: PUBLIC_URL names a port where nobody listens.
    wrong = f"http://127.0.0.1:{free_port()}"
    async with running_node(servers, migrated_template, registry.url, registry.public_key, public_url=wrong) as node:
        document = await node.becomes(lambda _, d: "INITIATED" in d["missing"].get("subscription", ""))
        assert f"POST {wrong}/beckn/on_subscribe: cannot connect" in document["missing"]["subscription"]


async def test_a_node_that_started_before_its_registry_gets_in_when_it_is_there(
    servers: Servers, migrated_template: str
) -> None:
    port, seed = free_port(), secrets.token_bytes(32)
    url, public_key = f"http://127.0.0.1:{port}", signing.Identity("registry.example.org", "r1", seed).public_key
    async with running_node(servers, migrated_template, url, public_key) as node:
        document = await node.becomes(lambda status, d: status == 503 and "registry" in d["missing"])
        assert "127.0.0.1" in document["missing"]["registry"]
        async with running_registry(
            servers,
            migrated_template,
            auto_approve=True,
            port=port,
            public_url=url,
            signing_key=base64.b64encode(seed).decode(),
        ):
            await node.becomes(is_ready)
        document = await node.becomes(lambda _, d: bool(d["degraded"]))
        assert document["ready"], "a node that knows its peers goes on without the registry"
        assert "known keys stay good until" in document["degraded"]["registry"]


async def test_a_node_that_moved_to_another_url_tells_the_registry_with_its_own_signature(
    servers: Servers, migrated_template: str
) -> None:
    keys = {
        "signing_key": base64.b64encode(secrets.token_bytes(32)).decode(),
        "encryption_key": new_x25519(),
    }
    async with running_registry(servers, migrated_template, auto_approve=True) as registry:
        urls = []
        for _ in range(2):
            async with running_node(servers, migrated_template, registry.url, registry.public_key, **keys) as node:
                await node.becomes(is_ready)
                urls.append(node.settings.protocol_url)
                records = await registry.lookup(subscriber_id="node.example.org")
                assert [record["url"] for record in records] == [node.settings.protocol_url]
        assert urls[0] != urls[1]


async def test_a_node_rotates_its_key_by_signing_the_change_with_the_one_before(
    servers: Servers, migrated_template: str
) -> None:
    old, new = (base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
    async with running_registry(servers, migrated_template) as registry:
        url, public_key = registry.url, registry.public_key
        async with running_node(servers, migrated_template, url, public_key, signing_key=old) as node:
            await node.becomes(lambda _, d: "UNDER_SUBSCRIPTION" in d["missing"].get("subscription", ""))
            await registry.act("approve", "node.example.org")
            await node.becomes(is_ready)
        rotated = {"key_id": "n2", "signing_key": new, "previous_key_id": "n1", "previous_signing_key": old}
        async with running_node(servers, migrated_template, url, public_key, **rotated) as node:
            await node.becomes(is_ready)
        records = await registry.lookup(subscriber_id="node.example.org")
        assert [record["key_id"] for record in records] == ["n2", "n1"]
        # Once the old key's time is over the same settings still work.
        async with running_node(servers, migrated_template, url, public_key, **rotated) as node:
            await node.becomes(is_ready)


async def test_a_node_with_a_new_key_alone_cannot_take_its_old_place(servers: Servers, migrated_template: str) -> None:
    async with running_registry(servers, migrated_template, auto_approve=True) as registry:
        async with running_node(servers, migrated_template, registry.url, registry.public_key) as node:
            await node.becomes(is_ready)
        async with running_node(servers, migrated_template, registry.url, registry.public_key, key_id="n2") as node:
            document = await node.becomes(lambda _, d: "REFUSED" in d["missing"].get("subscription", ""))
            assert "n1" in document["missing"]["subscription"]
