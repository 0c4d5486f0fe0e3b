"""A real registry over HTTP with its own database, and strangers that subscribe to it."""

from __future__ import annotations

import base64
import itertools
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from beckn import challenge, signing
from cli.servers import Servers
from registry import app as registry_app
from registry.config import RegistrySettings

OPERATOR = "operator-token-of-the-test"
DOMAIN = "uei:p2p_trading"

_numbers = itertools.count(1)


class TurnedClock:
    """The wall clock, turned by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        """The present, as turned."""
        return datetime.now(UTC) + self.ahead


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_x25519() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


@contextmanager
def new_database(servers: Servers, template: str) -> Iterator[str]:
    name = f"rig_{next(_numbers)}"
    yield servers.create_database(name, template=template)
    servers.drop_database(name)


@asynccontextmanager
async def served(app: web.Application, port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()


@dataclass
class Answer:
    """An HTTP answer, read."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Registry:
    """A running registry and how to speak to it."""

    url: str
    settings: RegistrySettings
    clock: TurnedClock
    http: aiohttp.ClientSession
    app: web.Application

    @property
    def public_key(self) -> bytes:
        return self.settings.identity.public_key

    async def post(self, path: str, body: Any, **headers: str) -> Answer:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.http.post(
            self.url + path, data=content, headers={"Content-Type": "application/json", **headers}
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **headers: str) -> Answer:
        async with self.http.get(self.url + path, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def operate(self, path: str, body: Any = None) -> Answer:
        token = {"Authorization": f"Bearer {OPERATOR}"}
        return await (self.get(path, **token) if body is None else self.post(path, body, **token))

    async def act(self, act: str, subscriber_id: str, **body: Any) -> Answer:
        return await self.operate(f"/api/subscribers/{subscriber_id}/{act}", {"reason": "test", **body})

    async def lookup(self, **filters: Any) -> list[dict[str, Any]]:
        answer = await self.post("/lookup", filters)
        assert answer.status == 200, answer.body
        return list(answer.json)

    async def challenge_key(self) -> str:
        (record,) = await self.lookup(type="BREG")
        return str(record["encr_public_key"])

    async def subscribe(self, member: Member, *, signed_by: Member | None = None, **changes: Any) -> Answer:
        body = orjson.dumps(member.application(**changes))
        headers = {"Authorization": signed_by.sign(body, self.clock.now())} if signed_by is not None else {}
        return await self.post("/subscribe", body, **headers)


@dataclass
class Member:
    """Someone with keys and a place to be challenged at."""

    subscriber_id: str
    url: str
    type: str = "BPP"
    key_id: str = "k1"
    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    encryption_key: str = field(default_factory=new_x25519)

    @property
    def identity(self) -> signing.Identity:
        return signing.Identity(self.subscriber_id, self.key_id, self.seed)

    def sign(self, body: bytes, now: datetime) -> str:
        return signing.sign(body, identity=self.identity, now=now)

    def application(self, **changes: Any) -> dict[str, Any]:
        return {
            "subscriber_id": self.subscriber_id,
            "url": self.url,
            "type": self.type,
            "domain": DOMAIN,
            "country": "IND",
            "city": "std:080",
            "key_id": self.key_id,
            "signing_public_key": self.identity.public_key_b64,
            "encr_public_key": challenge.public_key_b64(self.encryption_key),
        } | changes

    def with_key(self, key_id: str) -> Member:
        """The same subscriber with another pair of keys."""
        return Member(self.subscriber_id, self.url, self.type, key_id)


@asynccontextmanager
async def running_registry(servers: Servers, template: str, **settings: Any) -> AsyncIterator[Registry]:
    """A registry with a database of its own."""
    port, clock = free_port(), TurnedClock()
    with new_database(servers, template) as database_url:
        given: dict[str, Any] = {
            "port": port,
            "public_url": f"http://127.0.0.1:{port}",
            "subscriber_id": "registry.example.org",
            "key_id": "r1",
            "signing_key": base64.b64encode(secrets.token_bytes(32)).decode(),
            "database_url": database_url,
            "admin_token": OPERATOR,
            "allow_private_urls": True,
            "challenge_s_max": 1.0,
        } | settings
        configured = RegistrySettings(**given)
        app = registry_app.build(configured, wall=clock)
        async with served(app, configured.port), aiohttp.ClientSession() as http:
            yield Registry(configured.public_url, configured, clock, http, app)


OnSubscribe = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def place(on_subscribe: OnSubscribe, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A stranger's server that answers POST /beckn/on_subscribe; its base URL."""

    async def serve(request: web.Request) -> web.StreamResponse:
        return await on_subscribe(request, await request.read())

    app, port = web.Application(), free_port()
    app.router.add_post("/beckn/on_subscribe", serve)
    async with served(app, port, tls=tls):
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}/beckn"


def answering(members: list[Member], registry: Registry, asked: list[tuple[Any, bytes]] | None = None) -> OnSubscribe:
    """Answer the challenge of whichever member it is for, trying each of its keys."""

    async def on_subscribe(request: web.Request, body: bytes) -> web.StreamResponse:
        if asked is not None:
            asked.append((request.headers.copy(), body))
        document = orjson.loads(body)
        public_key = await registry.challenge_key()
        for member in members:
            if member.subscriber_id != document["subscriber_id"]:
                continue
            try:
                plaintext = challenge.answer_challenge(
                    document["challenge"], private_key=member.encryption_key, public_key=public_key
                )
            except challenge.ChallengeUnreadable:
                continue
            return web.json_response({"answer": plaintext})
        return web.json_response({"answer": "no idea"})

    return on_subscribe
