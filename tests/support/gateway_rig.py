"""A real gateway, subscribed to a real registry, between parties whose servers keep what they get."""

from __future__ import annotations

import asyncio
import base64
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from beckn import envelope, signing
from beckn.envelope import Network, Party
from beckn.node import NODE
from cli.servers import Servers
from gateway import app as gateway_app
from gateway.config import GatewaySettings
from tests.support.registry_rig import (
    DOMAIN,
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

NETWORK = Network(DOMAIN, "IND", "India", "std:080", "Bengaluru")


@dataclass
class Received:
    """One letter as a party's server got it."""

    action: str
    body: bytes
    headers: Any


@dataclass
class Peer:
    """A party with a server of its own that acknowledges and keeps everything."""

    member: Member
    received: list[Received] = field(default_factory=list)
    #: What the server does instead of acknowledging.
    behaviour: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    @property
    def party(self) -> Party:
        return Party(self.member.subscriber_id, self.member.url)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.received.append(Received(request.match_info["action"], body, request.headers.copy()))
        if self.behaviour is not None:
            return await self.behaviour(request)
        return web.Response(body=envelope.ACK, content_type="application/json")


@dataclass
class Gateway:
    """A running gateway and everyone around it."""

    url: str
    registry: Registry
    http: aiohttp.ClientSession
    app: web.Application
    stack: AsyncExitStack
    settings: GatewaySettings

    @property
    def identity(self) -> signing.Identity:
        return self.settings.identity

    async def start(self) -> None:
        """Start the gateway's process, as it were."""
        self.app = gateway_app.build(self.settings)
        self._process = AsyncExitStack()
        await self._process.enter_async_context(served(self.app, self.settings.port))

    async def stop(self) -> None:
        """Stop it; its database stays."""
        await self._process.aclose()

    async def enter(self, name: str, role: str, *, is_up: bool = True, **changes: Any) -> Peer:
        """A party, entered by the operator, with its server running; the gateway has heard of it."""
        port = free_port()
        peer = Peer(Member(name, f"http://127.0.0.1:{port}/beckn", type=role))
        if is_up:
            await self.bring_up(peer)
        answer = await self.registry.operate("/api/subscribers", peer.member.application(**changes))
        assert answer.status == 201, answer.body
        directory: Any = self.app[NODE].directory
        await directory.poll()
        return peer

    async def bring_up(self, peer: Peer) -> None:
        """Start a party's server."""
        server = web.Application()
        server.router.add_post("/beckn/{action}", peer.serve)
        await self.stack.enter_async_context(served(server, int(peer.member.url.split(":")[2].split("/")[0])))

    async def post(self, action: str, body: bytes, **headers: str) -> Answer:
        async with self.http.post(
            f"{self.url}/beckn/{action}", data=body, headers={"Content-Type": "application/json", **headers}
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def send(self, sender: Peer, action: str, body: bytes) -> Answer:
        """Post a letter signed by its sender."""
        return await self.post(action, body, Authorization=sender.member.sign(body, datetime.now(UTC)))

    async def fate(self, transaction_id: str) -> dict[str, Any]:
        """What the status API says of a search."""
        token = {"Authorization": f"Bearer {OPERATOR}"}
        async with self.http.get(f"{self.url}/api/searches/{transaction_id}", headers=token) as answer:
            assert answer.status == 200, await answer.read()
            return dict(await answer.json())

    async def settled(self, transaction_id: str, *, within_s: float = 10) -> dict[str, Any]:
        """The status once no copy is waiting any more."""
        async with asyncio.timeout(within_s):
            while True:
                fate = await self.fate(transaction_id)
                if fate["searches"] and all(copy["state"] != "QUEUED" for copy in fate["copies"]):
                    return fate
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running_gateway(servers: Servers, template: str, **settings: Any) -> AsyncIterator[Gateway]:
    """A gateway that has subscribed itself, its key proven by the challenge."""
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(running_registry(servers, template, auto_approve=True))
        database_url = stack.enter_context(new_database(servers, template))
        port = free_port()
        given: dict[str, Any] = {
            "port": port,
            "public_url": f"http://127.0.0.1:{port}",
            "subscriber_id": "gateway.example.org",
            "key_id": "g1",
            "signing_key": base64.b64encode(secrets.token_bytes(32)).decode(),
            "encryption_key": new_x25519(),
            "registry_url": registry.url,
            "registry_public_key": base64.b64encode(registry.public_key).decode(),
            "database_url": database_url,
            "admin_token": OPERATOR,
            "allow_private_urls": True,
        } | settings
        configured = GatewaySettings(**given)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        gateway = Gateway(configured.public_url, registry, http, web.Application(), stack, configured)
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        async with asyncio.timeout(10):
            while not gateway.app[NODE].subscription.is_subscribed:
                await asyncio.sleep(0.02)
        yield gateway


def search(bap: Party, **changes: Any) -> tuple[str, bytes]:
    """A search as a stranger writes it: odd spacing, escapes and order, none of which may change on the way."""
    transaction_id = str(uuid.uuid4())
    context = envelope.request_context(
        action="search",
        network=NETWORK,
        bap=bap,
        bpp=None,
        transaction_id=transaction_id,
        message_id=str(uuid.uuid4()),
        now=datetime.now(UTC),
    )
    message = b'{ "intent" :{"item":{"descriptor":{"name":"\\u0936\\u0915\\u094d\\u0924\\u093f \\/ solar"}}}  }'
    return transaction_id, b'{\n "message":' + message + b',\t"context": ' + orjson.dumps(context | changes) + b" }\n"


def on_search(bap: Party, bpp: Party, transaction_id: str, **changes: Any) -> bytes:
    """A seller's answer."""
    context = envelope.request_context(
        action="on_search",
        network=NETWORK,
        bap=bap,
        bpp=bpp,
        transaction_id=transaction_id,
        message_id=str(uuid.uuid4()),
        now=datetime.now(UTC),
    )
    return b'{"context":' + orjson.dumps(context | changes) + b', "message": {"catalog": {"providers":[ ]}}}'
