"""What a seller is asked in tests: demands, moments, ids, and orders as the seller keeps them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bpp import seller
from bpp.seller import Decision, Demand, Moment, NewIds, Session
from energy_catalog.offers import Offer, Provider
from tests.support.trade_cases import EVENING_BEFORE, an_offer, hours
from trade.order import Customer, Order

SESSION = Session(buyer_id="bap.example", transaction_id="transaction-1")
ANNA = Customer("Anna", "anna@homes.example", "+15550100")
HOME = Provider("home-7", "Home 7", "South roof", "", "34.106, -117.435", "meter-7")


def moment(*, wall: datetime = EVENING_BEFORE, trading: datetime = EVENING_BEFORE) -> Moment:
    """Both clocks; they show the same evening unless told otherwise."""
    return Moment(wall=wall, trading=trading)


def ids(number: int = 1) -> NewIds:
    """Ids that a test can foresee."""
    return NewIds(f"order-{number}", f"quote-{number}", f"payment-{number}", f"order-{number}.token")


def demand(*values: int, **changes: Any) -> Demand:
    """What is asked of the usual offer: 1 and 2 kWh in its first slots, unless changed."""
    wanted = {"requested_wh": hours(*(values or (1000, 2000))), "customer": ANNA}
    return Demand("home-7", "offer-1", **(wanted | changes))


def quoted(asked: Demand | None = None, *, offer: Offer | None = None, **given: Any) -> Order:
    """A draft with a quote."""
    defaults = {"provider": HOME, "session": SESSION, "at": moment(), "ids": ids()}
    return seller.quote(asked or demand(), offer=offer or an_offer(), **(defaults | given))


def held(asked: Demand | None = None, *, offer: Offer | None = None, **given: Any) -> Decision:
    """An order whose energy is held, and the offer that holds it."""
    defaults = {"provider": HOME, "earlier": None, "session": SESSION, "at": moment(), "ids": ids()}
    return seller.hold(asked or demand(), offer=offer or an_offer(), **(defaults | given))


def confirmed(asked: Demand | None = None, *, offer: Offer | None = None, **given: Any) -> Decision:
    """A contract, and the offer it was sold from."""
    asked = asked or demand()
    hold = held(asked, offer=offer, **given)
    at = given.get("at", moment())
    wire_order_id = f"wire-{hold.order.order_id.rpartition('-')[2]}"
    return seller.confirm(hold.order, offer=hold.offer, demand=asked, wire_order_id=wire_order_id, at=at)
