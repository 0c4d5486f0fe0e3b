"""A buyer's node under test: real database and sockets, its JSON API, and a scripted seller at the other end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

import bpp.translate as wire
from api import live
from api.limits import Concurrency
from bap import app as buyer_app
from bap.config import BuyerSettings
from beckn import envelope, signing
from beckn.actions import ACTIONS, Role
from beckn.node import NODE, Node, Stores
from energy_catalog.offers import Offer, Provider
from store.access import ClockRows
from store.db import Database
from store.messages import InboxRows, OutboxRows
from tests.support.hand_held_claims import HandHeldClaims
from tests.support.post_office import (
    BAP,
    BPP,
    GATEWAY,
    NETWORK,
    AdjustableClock,
    HandFilledDirectory,
    identity,
    record,
)
from tests.support.trade_cases import DOLLAR, EVENING_BEFORE, TERMS, an_offer, hours
from trade import pricing, settlement
from trade.money import Series
from trade.order import Order, OrderState, Side
from trade.policy import BUILT_IN, Policy, SettlementRule, digest

OPERATOR = {"Authorization": "Bearer operator-token-of-tests"}
OTHER_BPP = identity("other-bpp.example", 9)
#: The policies a scripted seller sells under: those built in, and one with every charge.
CHARGED = Policy(
    "charged",
    1,
    settlement=SettlementRule.MIN_OF_TWO,
    tax_ppm=50_000,
    platform_buyer_micro_per_kwh=10_000,
    utility_fee_buyer_micro_per_kwh=5_000,
    penalty_micro_per_kwh=100_000,
)
POLICIES = {**BUILT_IN, CHARGED.id: CHARGED}
PROVIDER = Provider("home-7", "Home 7", "Rooftop solar", "https://example.com/home.png", "34.100, -117.400", "meter-7")

Answer = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass
class ScriptedSeller:
    """A seller's node that keeps its word, unless a test scripts another answer to an action.

    `script[action]` is called instead of the honest answer; None is silence. `nack` holds actions that are refused at
    the door, `hang` those that are never acknowledged.
    """

    who: signing.Identity
    clock: AdjustableClock
    offer: Offer = field(default_factory=lambda: an_offer(cancellation_terms=TERMS))
    url: str = ""
    bap_url: str = ""
    heard: list[dict[str, Any]] = field(default_factory=list)
    script: dict[str, Answer | None] = field(default_factory=dict)
    nack: set[str] = field(default_factory=set)
    hang: set[str] = field(default_factory=set)
    order: Order | None = None
    #: What the seller's meter gave to the order, once it knows; it settles when it hears the buyer's allocation.
    metered_wh: Series | None = None
    client: Any = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def receive(self, request: web.Request) -> web.Response:
        """The door: acknowledge, then answer by callback."""
        document = orjson.loads(await request.read())
        action = document["context"]["action"]
        self.heard.append(document)
        if action in self.hang:
            await asyncio.sleep(30)
        if action in self.nack:
            body = {"message": {"ack": {"status": "NACK"}}, "error": {"code": "30000", "message": "not today"}}
            return web.json_response(body, status=400)
        answer = self.script.get(action, self.answer_honestly)
        if answer is not None:
            task: asyncio.Task[None] = asyncio.create_task(answer(document))  # type: ignore[arg-type]
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return web.Response(body=envelope.ACK, content_type="application/json")

    def last(self, action: str) -> dict[str, Any]:
        """The newest letter of an action that was heard."""
        return next(letter for letter in reversed(self.heard) if letter["context"]["action"] == action)

    async def send(
        self,
        action: str,
        message: dict[str, Any] | None,
        *,
        request: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        transaction_id: str = "",
        message_id: str = "",
        who: signing.Identity | None = None,
        url: str = "",
    ) -> int:
        """Send a callback, in answer to `request` or (without one) unasked; the status it got."""
        context = request["context"] if request else {}
        me = who or self.who
        body = envelope.build(
            envelope.request_context(
                action=action,
                network=NETWORK,
                bap=envelope.Party(BAP.subscriber_id, self.bap_url),
                bpp=envelope.Party(me.subscriber_id, url or self.url),
                transaction_id=transaction_id or context.get("transaction_id", ""),
                message_id=message_id or context.get("message_id") or str(uuid.uuid4()),
                now=self.clock.now(),
            ),
            message,
            error,
        )
        headers = {
            "Content-Type": "application/json",
            "Authorization": signing.sign(body, identity=me, now=self.clock.now()),
        }
        answer = await self.client.post(f"{self.bap_url}/{action}", content=body, headers=headers)
        return int(answer.status_code)

    async def refuse(self, request: dict[str, Any], *, code: str = "40002", sentence: str = "Sold out.") -> None:
        """Answer a request with an error callback."""
        action = ACTIONS[request["context"]["action"]].callback or ""
        message, error = wire.refusal_to_wire(action, wire.WireRefusal(code, "", sentence))
        await self.send(action, message, request=request, error=error)

    def refusing(self, code: str = "40002", sentence: str = "Sold out.") -> Answer:
        """A scripted refusal."""

        async def answer(request: dict[str, Any]) -> None:
            await self.refuse(request, code=code, sentence=sentence)

        return answer

    # --- The honest seller ------------------------------------------------------------------------------------------

    async def answer_honestly(self, request: dict[str, Any]) -> None:
        """What a seller of this network answers."""
        action = request["context"]["action"]
        await getattr(self, f"_{action.removeprefix('get_')}")(request)

    async def _search(self, request: dict[str, Any]) -> None:
        await self.send(
            "on_search",
            wire.catalog_to_wire([(PROVIDER, [self.offer])], lambda named: digest(POLICIES[named])),
            request=request,
        )

    def _drafted(self, request: dict[str, Any], state: OrderState) -> Order:
        selection = wire.selection_from_wire(request["message"])
        energy = selection.requested_wh or pricing.spread_request(self.offer.available_wh, selection.energy_wh)
        start = self.offer.price_micro_per_kwh.start
        offset = int((energy.start - start).total_seconds()) // energy.slot_s
        prices = energy.with_values(self.offer.price_micro_per_kwh.values[offset : offset + len(energy.values)])
        now = self.clock.now()
        order = Order(
            order_id=selection.order_id or "seller-draft",
            side=Side.SELLER,
            state=state,
            transaction_id=request["context"]["transaction_id"],
            counterparty_id=BAP.subscriber_id,
            provider_id=selection.provider_id,
            offer_id=selection.offer_id,
            contracted_wh=energy,
            price_micro_per_kwh=prices,
            currency=self.offer.currency,
            created_at=now,
            updated_at=now,
            meter_id=self.offer.meter_id,
            provider_name=PROVIDER.name,
            wheeling_micro_per_kwh=self.offer.wheeling_micro_per_kwh,
            customer=selection.customer,
            cancellation_terms=self.offer.cancellation_terms,
            wire_order_id=selection.order_id,
            policy=POLICIES[self.offer.policy],
            buyer_meter_id=selection.buyer_meter_id,
        )
        return replace(order, quote=self.quote_of(order))

    def quote_of(self, order: Order) -> Any:
        """The honest quote of an order."""
        return pricing.quote_of(
            order,
            energy_wh=order.contracted_wh,
            now=self.clock.now(),
            ttl_s=self.offer.quote_ttl_s,
            quote_id=str(uuid.uuid4()),
        )

    async def _select(self, request: dict[str, Any]) -> None:
        order = self._drafted(request, OrderState.INITIALISED)
        await self.send("on_select", wire.quote_to_wire(order, PROVIDER, self.offer), request=request)

    async def _init(self, request: dict[str, Any]) -> None:
        self.order = self._drafted(request, OrderState.INITIALISED)
        await self.send("on_init", wire.quote_to_wire(self.order, PROVIDER, self.offer), request=request)

    async def _confirm(self, request: dict[str, Any]) -> None:
        self.order = self._drafted(request, OrderState.ACTIVE)
        await self.tell("on_confirm", request=request)

    async def tell(self, action: str, *, request: dict[str, Any] | None = None, **options: Any) -> int:
        """A callback that shows the order as it is; unasked without a request."""
        assert self.order is not None
        message = wire.order_to_wire(self.order, PROVIDER)
        if request is None:
            options.setdefault("transaction_id", self.order.transaction_id)
        return await self.send(action, message, request=request, **options)

    def become(self, **changes: Any) -> Order:
        """Change the seller's copy of the order."""
        assert self.order is not None
        self.order = replace(self.order, **changes)
        return self.order

    def settle(self, metered_wh: Series, **changes: Any) -> None:
        """Meter and settle the order, or settle it again; `changes` to its settlement are the seller's own."""
        assert self.order is not None
        earlier = self.order.settlement
        buyers = self.order.buyer_alloc_wh or Series.flat(self.order.contracted_wh, 0)
        result = settlement.settle(
            self.order,
            seller_alloc_wh=metered_wh,
            buyer_alloc_wh=buyers if self.order.policy.is_two_sided else None,
            now=self.order.delivery_end,
            version=earlier.version + 1 if earlier else 1,
        )
        self.become(
            state=OrderState.COMPLETED,
            settlement=replace(result, **changes),
            seller_alloc_wh=metered_wh,
            buyer_alloc_wh=buyers if self.order.policy.is_two_sided else None,
            final_wh=result.delivered_wh,
            alloc_round=self.order.policy.rounds,
        )

    async def _status(self, request: dict[str, Any]) -> None:
        await self.tell("on_status", request=request)

    async def _track(self, request: dict[str, Any]) -> None:
        assert self.order is not None
        message = wire.tracking_to_wire(self.order, url="https://example.com/track/1")
        await self.send("on_track", message, request=request)

    async def _update(self, request: dict[str, Any]) -> None:
        notice = wire.update_from_wire(request["message"])
        assert self.order is not None
        if isinstance(notice, wire.AllocationNotice):
            self.become(buyer_alloc_wh=notice.allocated_wh)
            if self.metered_wh is not None:
                self.settle(self.metered_wh)
        elif isinstance(notice, wire.UpdateRequest):
            assert notice.requested_wh is not None
            self.become(contracted_wh=notice.requested_wh)
            self.become(quote=self.quote_of(self.order))
        await self.tell("on_update", request=request)

    async def _cancel(self, request: dict[str, Any]) -> None:
        assert self.order is not None and self.order.quote is not None
        fee = pricing.cancellation_fee(self.order, now_trading=EVENING_BEFORE)
        lines = (fee,) if fee else ()
        self.become(state=OrderState.CANCELLED, cancelled_by="CONSUMER", quote=replace(self.order.quote, lines=lines))
        await self.tell("on_cancel", request=request)

    async def _rating(self, request: dict[str, Any]) -> None:
        await self.send("on_rating", wire.feedback_to_wire("https://example.com/form"), request=request)

    async def _support(self, request: dict[str, Any]) -> None:
        ref_id = wire.support_from_wire(request["message"]).ref_id
        await self.send("on_support", wire.support_to_wire(ref_id, phone="+15550100"), request=request)

    async def _cancellation_reasons(self, request: dict[str, Any]) -> None:
        message = wire.reasons_to_wire([("1", "No longer needed"), ("2", "Too dear")])
        await self.send("cancellation_reasons", message, request=request)

    async def _rating_categories(self, request: dict[str, Any]) -> None:
        await self.send("rating_categories", wire.categories_to_wire(["Order", "Provider"]), request=request)


@dataclass
class BuyerRig:
    """The node, an app's client of it, and the seller."""

    node: Node = field(repr=False)
    client: httpx.AsyncClient
    seller: ScriptedSeller
    clock: AdjustableClock
    directory: HandFilledDirectory
    streams: Concurrency
    app: dict[str, str] = field(default_factory=dict)
    account_id: str = ""

    async def post(self, path: str, body: Any = None, *, wait: float = 5, headers: Any = None) -> httpx.Response:
        """POST as the app, waiting for the seller's answer."""
        given = {**self.app, **({"Prefer": f"wait={wait}"} if wait else {}), **(headers or {})}
        return await self.client.post(path, json=body or {}, headers=given)

    async def get(self, path: str, **query: Any) -> httpx.Response:
        """GET as the app."""
        return await self.client.get(path, params=query, headers=self.app)

    async def new_app(self, name: str = "app") -> dict[str, str]:
        """Headers of a new app's token."""
        made = await self.client.post("/api/tokens", json={"role": "app", "name": name}, headers=OPERATOR)
        assert made.status_code == 201, made.text
        return {"Authorization": f"Bearer {made.json()['token']}"}

    async def new_account(self, deposit_minor: int = 10_000) -> str:
        """A consumer of the app with money in its wallet."""
        given = {"name": "Anna", "email": "anna@example.com", "phone": "+4915112345", "currency": DOLLAR}
        made = await self.client.post("/api/accounts", json=given, headers=self.app)
        assert made.status_code == 201, made.text
        account_id = str(made.json()["account_id"])
        if deposit_minor:
            await self.deposit(account_id, deposit_minor, "first")
        return account_id

    async def deposit(self, account_id: str, amount_minor: int, reference: str) -> httpx.Response:
        """Pay into a wallet as the operator."""
        body = {"amount_minor": amount_minor, "reference": reference}
        return await self.client.post(f"/api/accounts/{account_id}/deposits", json=body, headers=OPERATOR)

    async def wallet(self) -> tuple[int, int]:
        """Balance and reserved of the account."""
        account = (await self.get(f"/api/accounts/{self.account_id}")).json()
        return account["balance_milli"], account["reserved_milli"]

    async def search(self) -> dict[str, Any]:
        """Search the seller and wait for its offers."""
        headers = {"Prefer": "wait=5, offers=1"}
        asked = {"account_id": self.account_id, "seller_id": self.seller.who.subscriber_id}
        answer = await self.post("/api/searches", asked, wait=0, headers=headers)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def choice(self, found: dict[str, Any], energy: Series | None = None) -> dict[str, Any]:
        """The body of an order for the first offer of a search: 1 and 2 kWh unless said otherwise."""
        offer, series = found["offers"][0], energy or hours(1000, 2000)
        return {
            "account_id": self.account_id,
            "transaction_id": found["transaction_id"],
            "seller_id": offer["seller_id"],
            "provider_id": offer["provider"]["provider_id"],
            "offer_id": offer["offer_id"],
            "energy": {
                "start": series.start.isoformat(),
                "slot_s": series.slot_s,
                "energy_wh": list(series.values),
            },
        }

    async def order(self, until: str = "confirm") -> dict[str, Any]:
        """An order taken as far as asked: select, init or confirm."""
        answer = await self.post("/api/orders", self.choice(await self.search()))
        assert answer.status_code == 202, answer.text
        for step in {"select": [], "init": ["init"], "confirm": ["init", "confirm"]}[until]:
            answer = await self.post(f"/api/orders/{answer.json()['order_id']}/{step}")
            assert answer.status_code == 202, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def shown(self, order_id: str) -> dict[str, Any]:
        """An order as the app sees it now."""
        shown: dict[str, Any] = (await self.get(f"/api/orders/{order_id}")).json()
        return shown

    async def until(self, order_id: str, state: str, *, within_s: float = 5) -> dict[str, Any]:
        """Wait until the order is in a state."""
        async with asyncio.timeout(within_s):
            while (shown := await self.shown(order_id))["state"] != state:
                await asyncio.sleep(0.01)
        return shown

    async def events(self, subject: str) -> list[str]:
        """The kinds of a subject's events, in order."""
        rows = await self.rows("SELECT kind FROM events WHERE subject = $1 ORDER BY seq", subject)
        return [row["kind"] for row in rows]

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        """Rows of the node's database."""
        async with self.node.database.connection() as connection:
            found: list[Any] = await connection.fetch(query, *arguments)
        return found

    async def processed(self) -> None:
        """Wait until every letter received so far has been worked on."""
        async with asyncio.timeout(5):
            while (await self.rows("SELECT count(*) AS waiting FROM inbox WHERE state = 'NEW'"))[0]["waiting"]:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def buyer_rig(database_url: str, **settings: Any) -> AsyncIterator[BuyerRig]:
    """Run a buyer's node with a driven trading clock, the evening before delivery, and a seller."""
    clock = AdjustableClock()
    seller = ScriptedSeller(BPP, clock, offer=_standing_offer())
    door = web.Application()
    door.router.add_post("/beckn/{action}", seller.receive)
    port = unused_port()
    values: dict[str, Any] = {
        "port": port,
        "public_url": f"http://127.0.0.1:{port}",
        "subscriber_id": BAP.subscriber_id,
        "key_id": BAP.key_id,
        "signing_key": "A" * 43 + "=",
        "database_url": database_url,
        "database_pool_max": 8,
        "poll_s": 0.1,
        "admin_token": "operator-token-of-tests",
        "trading_clock": "driven",
        "trading_start": EVENING_BEFORE,
        "allow_private_urls": True,
    }
    given = BuyerSettings(**(values | settings))
    database = Database(database_url, pool_max=given.database_pool_max)
    stores = Stores(database, InboxRows(database), OutboxRows(database), None, ClockRows(database))
    app = buyer_app.build(given, stores=stores, wall=clock)
    node = app[NODE]
    node.identity = BAP
    async with TestServer(door) as seller_server, httpx.AsyncClient(timeout=30) as seller_client:
        seller.url, seller.client = str(seller_server.make_url("/beckn")), seller_client
        seller.bap_url = given.protocol_url
        directory = HandFilledDirectory(
            [
                record(BAP, Role.BAP, given.protocol_url),
                record(BPP, Role.BPP, seller.url),
                record(OTHER_BPP, Role.BPP, seller.url),
                record(GATEWAY, Role.BG, seller.url),
            ]
        )
        node.directory = directory
        node.claims = HandHeldClaims()
        server = TestServer(app, port=port)
        await server.start_server(auto_decompress=False)
        try:
            async with httpx.AsyncClient(base_url=given.public_url, timeout=30) as client:
                rig = BuyerRig(node, client, seller, clock, directory, app[live.STREAMS])
                rig.app = await rig.new_app()
                rig.account_id = await rig.new_account()
                yield rig
        finally:
            await server.close()


def _standing_offer() -> Offer:
    """1, 2 and 3 kWh at 0.20, 0.21 and 0.22 and wheeling at 0.02, open the evening before."""
    now = datetime.now(UTC)
    return an_offer(valid_from=now - timedelta(days=1), valid_until=now + timedelta(days=1))
