"""Letters for the load: valid, distinct and signed, as a buyer's node would send them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bap import translate
from beckn import envelope, signing
from beckn.envelope import Network, Party
from beckn.signing import Identity
from bench.load import request
from energy_catalog.offers import Intent
from trade import pricing
from trade.money import Series
from trade.order import (
    Customer,
    Order,
    OrderState,
    Side,
)

NETWORK = Network("uei:p2p_trading", "IND", "India", "std:080", "Bengaluru")


def an_order(*, now: datetime) -> Order:
    """A day's order by the hour, with its quote: what a confirm is made of."""
    start = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    energy = Series(start, 3600, tuple(0 if hour < 6 else 100 * hour for hour in range(24)))
    price = Series.flat(energy, 150_000)
    order = Order(
        order_id=str(uuid.uuid4()),
        side=Side.BUYER,
        state=OrderState.INITIALISED,
        transaction_id=str(uuid.uuid4()),
        counterparty_id="",
        provider_id="home-01",
        offer_id="home-01-tomorrow",
        contracted_wh=energy,
        price_micro_per_kwh=price,
        currency="USD",
        created_at=now,
        updated_at=now,
        wheeling_micro_per_kwh=20_000,
        customer=Customer("Home 1", "home-01@street.example", "+19095550101"),
    )
    quote = pricing.quote_of(order, energy_wh=energy, now=now, ttl_s=300, quote_id=str(uuid.uuid4()))
    return replace(order, quote=quote)


class Writer:
    """Writes letters from one buyer to one seller."""

    def __init__(self, *, identity: Identity, bap: Party, bpp: Party | None) -> None:
        self._identity, self._bap, self._bpp = identity, bap, bpp
        self._order = an_order(now=datetime.now(UTC))
        self._messages = {
            "search": translate.search_to_wire(Intent(currency="USD")),
            "select": translate.select_to_wire(self._order),
            "confirm": translate.confirm_to_wire(self._order),
        }

    def body(self, action: str, *, transaction_id: str = "") -> bytes:
        """One letter's bytes, with its own message_id and transaction_id."""
        context = envelope.request_context(
            action=action,
            network=NETWORK,
            bap=self._bap,
            bpp=self._bpp,
            transaction_id=transaction_id or str(uuid.uuid4()),
            message_id=str(uuid.uuid4()),
            now=datetime.now(UTC),
        )
        return envelope.build(context, self._messages[action])

    def header(self, body: bytes) -> str:
        """The Authorization header of a body."""
        return signing.sign(body, identity=self._identity, now=datetime.now(UTC))

    def requests(self, action: str, count: int) -> list[bytes]:
        """HTTP requests that carry so many different letters."""
        bodies = (self.body(action) for _ in range(count))
        return [request(f"/beckn/{action}", body, {"Authorization": self.header(body)}) for body in bodies]
