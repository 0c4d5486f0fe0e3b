"""The whole network in one process: a registry, a gateway, a buyer's node and three sellers' nodes.

Each is built by its shop's own `app.build`, listens on a loopback port, has a PostgreSQL database of its own, has asked
the registry for its place, answered the challenge and been approved by the operator. Only three things are not as in
production: everybody reads one wall clock that the test puts forward, the trading clocks are driven through the
operators' calls, and letters travel by `Mischief`, which leaves them alone until it is told not to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from api.client import BuyerApi, GatewayApi, NodeClient, RegistryApi, SellerApi
from bap import app as buyer_app
from bap import jobs as buyer_jobs
from bap.config import BuyerSettings
from beckn.node import NODE, Node
from beckn.transport import HttpTransport
from books import proof, reconcile
from bpp import app as seller_app
from bpp import jobs as seller_jobs
from bpp.config import SellerSettings
from bpp.shelf import Faces
from bpp.shop import Shop
from cli import keys
from cli.plan import SELLERS, UTILITY
from cli.servers import Servers
from gateway import app as gateway_app
from gateway.config import GatewaySettings
from registry import app as registry_app
from registry.config import RegistrySettings
from tests.support.mischief import NONE, Mischief, Odds
from tests.support.registry_rig import TurnedClock, free_port, new_database, served
from tests.support.trade_cases import DOLLAR, EVENING_BEFORE

OPERATOR = "operator-token-of-tests"
#: A utility is a member of those networks only that ask for one.
MEMBERS = ("gateway", "bap", *SELLERS)

_SELL = (*SELLERS, UTILITY)
_SETTINGS: dict[str, Any] = {"gateway": GatewaySettings, "bap": BuyerSettings} | dict.fromkeys(_SELL, SellerSettings)
_BUILD: dict[str, Callable[..., web.Application]] = {"gateway": gateway_app.build, "bap": buyer_app.build}
_BUILD |= dict.fromkeys(_SELL, seller_app.build)


def subscriber_id(name: str) -> str:
    """What a node of this network is called on the wire."""
    return f"{name}.powershare.example"


@dataclass
class Member:
    """One running node."""

    name: str
    settings: Any
    app: web.Application
    #: What its letters travel by.
    mischief: Mischief
    #: Its JSON API, called as its operator.
    operator: NodeClient
    running: AsyncExitStack

    @property
    def node(self) -> Node:
        """The node itself."""
        return self.app[NODE]

    @property
    def id(self) -> str:
        """Its subscriber id."""
        return str(self.settings.subscriber_id)

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        """Rows of the node's database."""
        async with self.node.database.connection() as connection:
            found: list[Any] = await connection.fetch(query, *arguments)
        return found


@dataclass
class Network:
    """Everybody, and how a test speaks to them."""

    clock: TurnedClock
    registry_url: str
    operator_of_registry: RegistryApi
    settings: Mapping[str, Any]
    odds: Odds
    seed: int
    http: HttpTransport
    stack: AsyncExitStack
    members: dict[str, Member] = field(default_factory=dict)
    #: The buyer's node, called by a consumer's app.
    buyer: BuyerApi = field(init=False)

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    @property
    def bap(self) -> Member:
        """The buyer's node."""
        return self.members["bap"]

    @property
    def sellers(self) -> list[Member]:
        """The sellers' nodes that run."""
        return [self.members[name] for name in SELLERS if name in self.members]

    def seller(self, name: str) -> SellerApi:
        """A seller's JSON API, called as its operator."""
        return SellerApi(self.members[name].operator)

    @property
    def gateway(self) -> GatewayApi:
        """The gateway's JSON API, called as its operator."""
        return GatewayApi(self.members["gateway"].operator)

    # --- Coming and going -------------------------------------------------------------------------------------------

    async def start(self, name: str) -> Member:
        """Run a node, as its settings say."""
        settings, running = self.settings[name], AsyncExitStack()
        mischief = Mischief(self.http, random.Random(f"{self.seed} {name}"), self.odds)
        app = _BUILD[name](settings, wall=self.clock, transport=mischief)
        await running.enter_async_context(served(app, settings.port))
        operator = await running.enter_async_context(NodeClient(settings.public_url, OPERATOR))
        member = self.members[name] = Member(name, settings, app, mischief, operator, running)
        self.stack.push_async_callback(self.stop, name)
        return member

    async def stop(self, name: str) -> None:
        """Stop a node gracefully; none is no error."""
        member = self.members.pop(name, None)
        if member is not None:
            await member.mischief.settled()
            await member.running.aclose()

    async def let_in(self, *names: str) -> None:
        """Approve the nodes that have proven their keys, until all of these are SUBSCRIBED and know each other."""
        async with asyncio.timeout(15):
            while any(not _is_in(self.members[name].node) for name in names):
                rows = self.operator_of_registry.subscribers(status="UNDER_SUBSCRIPTION")
                for waiting in {row["subscriber_id"] async for row in rows}:  # one may wait in two roles
                    await self.operator_of_registry.act(waiting, "approve", reason="part of this test")
                await asyncio.sleep(0.02)
        await self.read_registry()

    async def read_registry(self) -> None:
        """Everybody reads the change feed now, not at the next poll."""
        directories: list[Any] = [member.node.directory for member in self.members.values()]
        await asyncio.gather(*(directory.poll() for directory in directories))

    # --- Clocks -----------------------------------------------------------------------------------------------------

    def turn(self, **ahead: float) -> None:
        """Put everybody's wall clock forward: `turn(seconds=30)`."""
        self.clock.ahead += timedelta(**ahead)

    async def work(self) -> None:
        """Run every job of buyer and sellers once, as their schedulers would."""
        for job in buyer_jobs.JOBS:
            await job.run(self.bap.node)
        for seller in self.sellers:
            shop = Shop(seller.node, seller.settings, Faces())
            for job in seller_jobs.jobs(seller.settings, lambda _node, shop=shop: shop):  # type: ignore[misc]
                await job.run(seller.node)

    async def trade_at(self, instant: datetime) -> None:
        """Move the trading clocks of buyer and sellers, through their operators' calls."""
        for member in (self.bap, *self.sellers):
            await member.operator.call("PUT", "/api/clock", {"trading_time": instant.isoformat()})

    async def until(self, is_so: Callable[[], Awaitable[Any]], *, within_s: float = 5) -> Any:
        """Wait until something is true of the network; what it was."""
        async with asyncio.timeout(within_s):
            while not (found := await is_so()):
                await asyncio.sleep(0.01)
        return found

    # --- What every test needs --------------------------------------------------------------------------------------

    async def new_account(self, name: str = "Anna", *, deposit_minor: int = 100_000) -> str:
        """A consumer of the app, with money in its wallet."""
        consumer = {"name": name, "email": f"{name.lower()}@homes.example", "phone": "+15550100", "currency": DOLLAR}
        account = await self.buyer.open_account(consumer)
        account_id = str(account["account_id"])
        if deposit_minor:
            operator = BuyerApi(self.bap.operator)
            await operator.deposit(account_id, amount_minor=deposit_minor, reference=f"first-{account_id}")
        return account_id

    async def open_shop(self, name: str, provider_id: str, *offers: Mapping[str, Any]) -> None:
        """Enter a provider at a seller's node and publish its offers."""
        provider = {
            "provider_id": provider_id,
            "name": provider_id.replace("-", " ").title(),
            "short_desc": "Rooftop solar",
            "gps": "34.10624, -117.43511",
            "meter_id": f"meter-of-{provider_id}",
        }
        await self.seller(name).add_provider(provider)
        for offer in offers:
            await self.seller(name).publish({**offer, "provider_id": provider_id})

    async def proofs(self) -> dict[str, Any]:
        """The proof of everybody's books, by subscriber id."""
        return {member.id: await member.operator.get("/api/ledger/proof") for member in (self.bap, *self.sellers)}

    async def check_books(self) -> dict[str, Any]:
        """Every node's books balance, and no two contradict each other; the proofs."""
        proofs = await self.proofs()
        assert all(entry["balanced"] and not entry["problems"] for entry in proofs.values()), proofs
        assert proof.disagreements(proofs) == []
        await self.check_statements()
        return proofs

    async def check_statements(self) -> None:
        """Buyer and sellers settled the same, line by line; every order's statement adds up to its node's ledger."""
        for seller in self.sellers:
            lists = []
            for node, other in ((self.bap, seller), (seller, self.bap)):
                orders = [order async for order in node.operator.every("/api/settled-orders", counterparty_id=other.id)]
                for order in orders:
                    await node.operator.get(f"/api/orders/{order['order_id']}/statement")
                lists.append(orders)
            assert [difference.sentence for difference in reconcile.compare(*lists)] == []


def _is_in(node: Node) -> bool:
    """True once the registry knows a node in all its roles."""
    second = node.second_subscription
    return node.subscription.is_subscribed and (second is None or second.is_subscribed)


def _settings_of_registry(port: int, database_url: str) -> RegistrySettings:
    made = keys.generate("registry-1")
    return RegistrySettings(
        port=port,
        public_url=f"http://127.0.0.1:{port}",
        subscriber_id=subscriber_id("registry"),
        key_id=made.key_id,
        signing_key=made.signing_key,
        database_url=database_url,
        database_pool_max=4,
        admin_token=OPERATOR,
        allow_private_urls=True,
    )


def _settings_of(name: str, registry: RegistrySettings, database_url: str, **more: Any) -> Any:
    made, port = keys.generate(f"{name}-1"), free_port()
    given: dict[str, Any] = {
        "port": port,
        "public_url": f"http://127.0.0.1:{port}",
        "subscriber_id": subscriber_id(name),
        "key_id": made.key_id,
        "signing_key": made.signing_key,
        "encryption_key": made.encryption_key,
        "registry_url": registry.public_url,
        "registry_public_key": registry.identity.public_key_b64,
        "database_url": database_url,
        "database_pool_max": 8 if name == "bap" else 4,
        "admin_token": OPERATOR,
        "allow_private_urls": True,
        "trading_clock": "driven",
        "trading_start": EVENING_BEFORE,
        "poll_s": 0.1,
        "outbox_backoff_s_min": 0.02,
        "outbox_backoff_s_max": 0.2,
        "stop_s_max": 4,
    }
    if name in SELLERS:
        given["support_email"] = f"help@{name}.example"
    return _SETTINGS[name](**(given | more))


@asynccontextmanager
async def running_network(
    servers: Servers,
    template: str,
    *,
    members: tuple[str, ...] = MEMBERS,
    odds: Odds = NONE,
    seed: int = 0,
    own: Mapping[str, Mapping[str, Any]] | None = None,
    **settings: Any,
) -> AsyncIterator[Network]:
    """Run a network whose members are all in; `odds` are those of the letters from the start.

    `settings` are everybody's, `own` those of single members. A member called `utility` is one, and is asked by whoever
    has its subscriber id as `utility_id`.
    """
    by_name = {UTILITY: {"utility": True}} | {name: dict(more) for name, more in (own or {}).items()}
    async with AsyncExitStack() as stack:
        made = _settings_of_registry(free_port(), stack.enter_context(new_database(servers, template)))
        clock = TurnedClock()
        await stack.enter_async_context(served(registry_app.build(made, wall=clock), made.port))
        operator = await stack.enter_async_context(NodeClient(made.public_url, OPERATOR))
        http = await stack.enter_async_context(HttpTransport.open(connect_s=2, answer_s=10, per_host_max=64))
        given = {
            name: _settings_of(
                name,
                made,
                stack.enter_context(new_database(servers, template)),
                **(settings | by_name.get(name, {})),
            )
            for name in members
        }
        network = Network(clock, made.public_url, RegistryApi(operator), given, odds, seed, http, stack)
        await asyncio.gather(*(network.start(name) for name in members))
        await network.let_in(*members)
        if "bap" in members:
            token = await network.bap.operator.post("/api/tokens", {"role": "app", "name": "app of the test"})
            app = await stack.enter_async_context(NodeClient(network.bap.settings.public_url, token["token"]))
            network.buyer = BuyerApi(app)
        yield network
