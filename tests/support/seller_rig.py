"""A seller's node under test: real database and sockets, its JSON API, and a buyer that writes and reads letters.

The buyer uses the buyer's own translator and the same signatures, so what is tested is what travels. Callbacks are
caught by the transport, which acknowledges them.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import aiohttp
import httpx
import orjson
from aiohttp.test_utils import TestServer, unused_port

import bap.translate as wire
from beckn import envelope, signing
from beckn.actions import ACTIONS, Role
from beckn.clock import DrivenClock
from beckn.envelope import Party
from beckn.node import NODE, Node, Stores
from bpp import app as seller_app
from bpp import jobs
from bpp.config import SellerSettings
from bpp.shelf import Faces
from bpp.shop import Shop
from energy_catalog.offers import Offer
from store.access import ClockRows
from store.db import Database
from store.messages import InboxRows, OutboxRows
from tests.support.hand_held_claims import HandHeldClaims
from tests.support.post_office import BAP, BPP, NETWORK, OTHER_BAP, AdjustableClock, HandFilledDirectory, record
from tests.support.trade_cases import EVENING_BEFORE, an_offer
from trade.money import Series
from trade.order import (
    Customer,
    Order,
    OrderState,
    Side,
)

ADMIN_TOKEN = "operator-token-of-tests"
BAP_URL = "http://127.0.0.1:9/beckn"
ANNA = Customer("Anna", "anna@homes.example", "+15550100")


@dataclass
class Caught:
    """The transport: callbacks by message_id, acknowledged."""

    letters: list[dict[str, Any]] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        document = orjson.loads(body)
        assert url == f"{BAP_URL}/{document['context']['action']}"
        async with self.arrived:
            self.letters.append(document)
            self.arrived.notify_all()
        return 200, envelope.ACK

    async def letter(self, action: str, **context: str) -> dict[str, Any]:
        """The first letter of this action whose context says so, waited for."""

        def found() -> dict[str, Any] | None:
            wanted = {"action": action, **context}
            return next((x for x in self.letters if wanted.items() <= x["context"].items()), None)

        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: found() is not None)
        letter = found()
        assert letter is not None
        self.letters.remove(letter)
        return letter


@dataclass
class Seller:
    """A running seller's node."""

    node: Node
    shop: Shop
    url: str
    caught: Caught
    clock: AdjustableClock
    api: httpx.AsyncClient
    post_office: aiohttp.ClientSession

    # --- The JSON API ---------------------------------------------------------------------------------------------

    async def call(self, method: str, path: str, body: Any = None, *, token: str = ADMIN_TOKEN, **options: Any) -> Any:
        """One call; status and document."""
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        response = await self.api.request(method, path, json=body, headers=headers, **options)
        return response.status_code, response.json() if response.content else None

    async def asked(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """One call that succeeds; its document."""
        status, document = await self.call(method, path, body, **options)
        assert status < 300, document
        return document

    async def prosumer(self, provider_id: str = "home-7") -> str:
        """A token that speaks for one provider."""
        body = {"role": "prosumer", "name": provider_id, "scope": provider_id}
        return str((await self.asked("POST", "/api/tokens", body))["token"])

    async def open_shop(self, *offers: Offer) -> None:
        """Register the provider and publish offers, both over the API."""
        provider = {"provider_id": "home-7", "name": "Home 7", "gps": "34.10624, -117.43511", "meter_id": "meter-7"}
        await self.asked("POST", "/api/providers", provider)
        for offer in offers or (an_offer(),):
            await self.asked("POST", "/api/offers", offer_json(offer))

    async def move_clock(self, instant: datetime) -> None:
        """Move the trading clock and let what became due happen."""
        await self.asked("PUT", "/api/clock", {"trading_time": instant.isoformat()})

    async def measure(self, *readings_wh: int, start: datetime, slot_s: int = 3600) -> Any:
        """Report the meter's export, slot by slot."""
        slots = Series(start, slot_s, readings_wh)
        lines = [{"starts_at": slot.start.isoformat(), "energy_wh": wh} for slot, wh in slots.items()]
        body = {"flow": "EXPORT", "slot_s": slot_s, "readings": lines}
        return await self.asked("POST", "/api/meters/meter-7/readings", body)

    # --- Letters --------------------------------------------------------------------------------------------------

    async def send(
        self,
        action: str,
        message: dict[str, Any],
        *,
        transaction_id: str = "",
        message_id: str = "",
        who: signing.Identity = BAP,
    ) -> dict[str, Any]:
        """Post a letter and wait for its callback."""
        message_id = message_id or str(uuid.uuid4())
        context = envelope.request_context(
            action=action,
            network=NETWORK,
            bap=Party(who.subscriber_id, BAP_URL),
            bpp=self.node.me,
            transaction_id=transaction_id or str(uuid.uuid4()),
            message_id=message_id,
            now=self.clock.now(),
        )
        body = orjson.dumps({"context": context, "message": message})
        headers = {
            "Content-Type": "application/json",
            "Authorization": signing.sign(body, identity=who, now=self.clock.now()),
        }
        async with self.post_office.post(f"{self.url}/beckn/{action}", data=body, headers=headers) as response:
            assert response.status == 200, await response.text()
        callback = ACTIONS[action].callback
        assert callback is not None
        return await self.caught.letter(callback, message_id=message_id)

    async def select(self, order: Order, **options: Any) -> dict[str, Any]:
        """select -> on_select."""
        return await self.send("select", wire.select_to_wire(order), transaction_id=order.transaction_id, **options)

    async def init(self, order: Order, **options: Any) -> dict[str, Any]:
        """init -> on_init."""
        return await self.send("init", wire.init_to_wire(order), transaction_id=order.transaction_id, **options)

    async def confirm(self, order: Order, **options: Any) -> dict[str, Any]:
        """confirm -> on_confirm."""
        return await self.send("confirm", wire.confirm_to_wire(order), transaction_id=order.transaction_id, **options)

    async def about(self, action: str, order: Order, *arguments: Any, **options: Any) -> dict[str, Any]:
        """A letter about a contract, and its callback."""
        message = getattr(wire, f"{action}_to_wire")(order, *arguments)
        return await self.send(action, message, transaction_id=order.transaction_id, **options)

    async def held(self, order: Order, **options: Any) -> Order:
        """The buyer's order after on_init."""
        letter = await self.init(order, **options)
        assert "error" not in letter, letter["error"]
        view = wire.quote_from_wire(letter["message"], order, self.clock.now())
        return replace(order, quote=view.quote, contracted_wh=view.contracted_wh or order.contracted_wh)

    async def contract(self, order: Order | None = None, **options: Any) -> Order:
        """A confirmed contract, as the buyer keeps it."""
        order = await self.held(order or wanted(), **options)
        letter = await self.confirm(order, **options)
        assert "error" not in letter, letter["error"]
        return replace(order, state=OrderState.ACTIVE, wire_order_id=letter["message"]["order"]["id"])

    async def of_wire(self, wire_order_id: str) -> dict[str, Any]:
        """The seller's own order behind an id of the wire."""
        items = (await self.asked("GET", "/api/orders"))["items"]
        return next(item for item in items if item["wire_order_id"] == wire_order_id)


def wanted(*values: int, start: datetime | None = None, **changes: Any) -> Order:
    """An order a buyer is about to ask for: 1 and 2 kWh of the usual offer, in a session of its own."""
    offer = an_offer()
    energy = Series(start or offer.offered_wh.start, 3600, values or (1000, 2000))
    order = Order(
        order_id=str(uuid.uuid4()),
        side=Side.BUYER,
        state=OrderState.SELECTING,
        transaction_id=str(uuid.uuid4()),
        counterparty_id=BPP.subscriber_id,
        provider_id="home-7",
        offer_id="offer-1",
        contracted_wh=energy,
        price_micro_per_kwh=Series.flat(energy, 0),
        currency="USD",
        created_at=EVENING_BEFORE,
        updated_at=EVENING_BEFORE,
        customer=ANNA,
    )
    return replace(order, **changes)


def offer_json(offer: Offer, **changes: Any) -> dict[str, Any]:
    """An offer as a prosumer publishes it."""
    energy, price = offer.offered_wh, offer.price_micro_per_kwh
    slots = {"start": energy.start.isoformat(), "slot_s": energy.slot_s}
    return {
        "offer_id": offer.offer_id,
        "provider_id": offer.provider_id,
        "source": offer.source.value,
        "currency": offer.currency,
        "energy": {**slots, "energy_wh": list(energy.values)},
        "price": {"series": {**slots, "price_micro_per_kwh": list(price.values)}},
        "wheeling_per_kwh": "0.02",
        "order_wh_min": offer.order_wh_min,
        "order_wh_max": offer.order_wh_max,
        "gate_closure_s": offer.gate_closure_s,
        "quote_ttl_s": offer.quote_ttl_s,
        "cancellation_terms": [
            {"notice_s_min": term.notice_s_min, "fee_percent": term.fee_percent} for term in offer.cancellation_terms
        ],
        **changes,
    }


@asynccontextmanager
async def running_seller(database_url: str, **settings: Any) -> AsyncIterator[Seller]:
    """Run a seller's node whose registry is filled by hand; its trading clock shows the evening before."""
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    given = {
        "port": port,
        "public_url": url,
        "subscriber_id": BPP.subscriber_id,
        "key_id": BPP.key_id,
        "signing_key": "A" * 43 + "=",
        "database_url": database_url,
        "admin_token": ADMIN_TOKEN,
        "trading_clock": "driven",
        "trading_start": EVENING_BEFORE,
        "support_email": "help@bpp.example",
        # Jobs run when a test says so, or when it moves the clock.
        "expire_every_s": 60,
        "deliver_every_s": 600,
    }
    configured = SellerSettings(**(given | settings))
    database = Database(database_url, pool_max=8)
    stores = Stores(database, InboxRows(database), OutboxRows(database), None, ClockRows(database))
    clock, caught = AdjustableClock(), Caught()
    app = seller_app.build(configured, stores=stores, wall=clock, transport=caught)
    node = app[NODE]
    node.identity = BPP
    directory = HandFilledDirectory(
        [record(who, Role.BAP, BAP_URL) for who in (BAP, OTHER_BAP)] + [record(BPP, Role.BPP, node.me.url)]
    )
    node.directory = directory  # type: ignore[assignment]
    node.claims = HandHeldClaims()
    server = TestServer(app, port=port)
    await server.start_server(auto_decompress=False)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=10) as api, aiohttp.ClientSession() as post_office:
            assert isinstance(node.trading, DrivenClock)
            yield Seller(node, Shop(node, configured, Faces()), url, caught, clock, api, post_office)
    finally:
        await server.close()


async def run_jobs(seller: Seller) -> None:
    """Everything that is due on either clock."""
    await jobs.expire_quotes(seller.shop)
    await jobs.start_deliveries(seller.shop)
    await jobs.settle_due(seller.shop)
