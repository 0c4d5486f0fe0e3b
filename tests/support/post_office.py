"""A node's post office for tests: real sockets and database, a directory filled by hand, letters signed for real."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from beckn import config, envelope, errors, signing
from beckn.actions import Role, received_by
from beckn.envelope import Letter, Network, Party
from beckn.jobs import Job
from beckn.node import NODE, Node, Stores, build_app
from beckn.outbox import Outgoing
from beckn.records import Record
from store.access import ClockRows
from store.db import Database
from store.messages import InboxRows, OutboxRows

NETWORK = Network("uei:p2p_trading", "IND", "India", "std:080", "Bengaluru")
FOR_EVER = datetime(2100, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def identity(subscriber_id: str, number: int) -> signing.Identity:
    """An identity with a key of its own."""
    return signing.Identity(subscriber_id, "k1", bytes([number]) * 32)


BAP = identity("bap.example", 1)
BPP = identity("bpp.example", 2)
GATEWAY = identity("gateway.example", 3)
OTHER_BAP = identity("other-bap.example", 4)


def record(who: signing.Identity, role: Role, url: str, **changes: Any) -> Record:
    """A registry record of an identity, SUBSCRIBED and valid unless `changes` says otherwise."""
    subscribed = Record(
        subscriber_id=who.subscriber_id,
        type=role.value,
        domain=NETWORK.domain,
        key_id=who.key_id,
        url=url,
        country=NETWORK.country_code,
        city=NETWORK.city_code,
        signing_public_key=who.public_key,
        encr_public_key="",
        status="SUBSCRIBED",
        valid_from=LONG_AGO,
        valid_until=FOR_EVER,
        created=LONG_AGO,
    )
    return replace(subscribed, **changes)


@dataclass
class HandFilledDirectory:
    """The directory port in memory."""

    records: list[Record] = field(default_factory=list)
    #: The registry cannot be asked: unknown keys stay unknown.
    silent: bool = False

    def cached_key(self, subscriber_id: str, key_id: str, *, role: str = "") -> Record | None:
        found = [r for r in self.records if (r.subscriber_id, r.key_id) == (subscriber_id, key_id)]
        return next((r for r in found if r.type == role), found[0] if found else None)

    async def find_key(self, subscriber_id: str, key_id: str, *, role: str = "") -> Record | None:
        if self.silent:
            raise errors.RegistryUnreachable
        return self.cached_key(subscriber_id, key_id, role=role)

    async def find(self, type: str, domain: str = "", subscriber_id: str = "") -> list[Record]:
        return [r for r in self.records if r.type == type and subscriber_id in ("", r.subscriber_id)]

    async def url_of(self, subscriber_id: str, role: str) -> str | None:
        found = await self.find(role, subscriber_id=subscriber_id)
        return found[0].url if found else None


class AdjustableClock:
    """The wall clock, put forward or back by hand."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift


@dataclass
class Office:
    """A running node: what its handlers were given, and how to post to it."""

    url: str
    node: Node
    app: web.Application
    client: aiohttp.ClientSession
    directory: HandFilledDirectory
    clock: AdjustableClock
    processed: list[Letter]
    undelivered: list[tuple[Outgoing, dict[str, Any], bool]]
    bap: Party
    bpp: Party
    #: Called with every letter that was not delivered.
    told: Callable[[tuple[Outgoing, dict[str, Any], bool]], None]

    def request_context(self, action: str, /, **changes: Any) -> dict[str, Any]:
        """The context of a letter between our BAP and our BPP, with fresh ids unless `changes` says otherwise."""
        context = envelope.request_context(
            action=action,
            network=NETWORK,
            bap=self.bap,
            bpp=self.bpp,
            transaction_id=str(uuid.uuid4()),
            message_id=str(uuid.uuid4()),
            now=self.clock.now(),
        )
        return {name: value for name, value in (context | changes).items() if value is not None}

    def letter(self, action: str = "status", message: Any = None, /, **changes: Any) -> bytes:
        """A letter; its message is the least that the action's schema accepts."""
        document = {"context": self.request_context(action, **changes), "message": message or MESSAGES[action]}
        return orjson.dumps(document)

    def headers(self, body: bytes, who: signing.Identity = BAP, **changes: str) -> dict[str, str]:
        """The headers of a letter signed by `who`."""
        signed = signing.sign(body, identity=who, now=self.clock.now())
        return {"Content-Type": "application/json", "Authorization": signed} | changes

    async def post(
        self, body: bytes, headers: Mapping[str, str] | None = None, *, action: str = "status"
    ) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        """Post a letter; status, answer, headers."""
        given = self.headers(body) if headers is None else headers
        async with self.client.post(f"{self.url}/beckn/{action}", data=body, headers=given) as response:
            return response.status, orjson.loads(await response.read()), response.headers

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        """Rows of the node's database."""
        async with self.node.database.connection() as connection:
            found: list[Any] = await connection.fetch(query, *arguments)
        return found

    async def until(self, is_so: Callable[[], Any], *, within_s: float = 5.0) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(within_s):
            while not (await is_so() if asyncio.iscoroutinefunction(is_so) else is_so()):
                await asyncio.sleep(0.005)


#: The least message that each action's schema accepts.
MESSAGES: dict[str, dict[str, Any]] = {
    "search": {"intent": {}},
    "status": {"order_id": "order-1"},
    "on_status": {"order": {"id": "order-1"}},
    "on_search": {"catalog": {"providers": []}},
}


class Settings(config.NodeSettings):
    """Settings from arguments alone."""


@asynccontextmanager
async def office(
    database_url: str,
    *,
    role: Role = Role.BPP,
    handler: Callable[[Letter, Any, Node], Awaitable[None]] | None = None,
    database: Any = None,
    clock: AdjustableClock | None = None,
    transport: Any = None,
    inbox_rows: type[InboxRows] = InboxRows,
    outbox_rows: type[OutboxRows] = OutboxRows,
    jobs: Sequence[Job] = (),
    **settings: Any,
) -> AsyncIterator[Office]:
    """Run a node. Letters are noted once their unit of work is committed; `handler`, if given, does something in it."""
    me = {Role.BAP: BAP, Role.BPP: BPP, Role.BG: GATEWAY}[role]
    server = TestServer(web.Application())  # takes a port, for the URL has to be known beforehand
    await server.start_server()
    port = server.port
    await server.close()
    url = f"http://127.0.0.1:{port}"
    processed: list[Letter] = []
    undelivered: list[tuple[Outgoing, dict[str, Any], bool]] = []

    def handlers(node: Node) -> dict[str, Callable[[Letter, Any], Awaitable[None]]]:
        async def handle(letter: Letter, uow: Any) -> None:
            if handler is not None:
                await handler(letter, uow, node)
            uow.after_commit(lambda: processed.append(letter))

        return {action.name: handle for action in received_by(role)}

    async def on_undelivered(node: Node, uow: Any, letter: Outgoing, outcome: dict[str, Any], certain: bool) -> None:
        here.told((letter, outcome, certain))

    values = {
        "port": port,
        "public_url": url,
        "subscriber_id": me.subscriber_id,
        "key_id": me.key_id,
        "signing_key": "A" * 43 + "=",
        "database_url": database_url,
        "poll_s": 0.1,
        "admin_token": "operator-token",
    }
    given = Settings(**(values | settings))
    clock = clock or AdjustableClock()
    database = database or Database(database_url, pool_max=4)
    stores = Stores(database, inbox_rows(database), outbox_rows(database), None, ClockRows(database))
    app = build_app(
        given,
        role=role,
        stores=stores,
        handlers=handlers,
        on_undelivered=on_undelivered,
        jobs=jobs,
        wall=clock,
        transport=transport,
    )
    node = app[NODE]
    node.identity = me
    bap = Party(BAP.subscriber_id, f"{url}/beckn" if role is Role.BAP else "http://127.0.0.1:9/beckn")
    bpp = Party(BPP.subscriber_id, f"{url}/beckn" if role is Role.BPP else "http://127.0.0.1:9/beckn")
    directory = HandFilledDirectory(
        [
            record(BAP, Role.BAP, bap.url),
            record(BPP, Role.BPP, bpp.url),
            record(GATEWAY, Role.BG, "http://127.0.0.1:9/bg"),
            record(OTHER_BAP, Role.BAP, bap.url),
        ]
    )
    node.directory = directory  # type: ignore[assignment]
    server = TestServer(app, port=port)
    await server.start_server(auto_decompress=False)
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as client:
            here = Office(
                url, node, app, client, directory, clock, processed, undelivered, bap, bpp, undelivered.append
            )
            yield here
    finally:
        await server.close()
