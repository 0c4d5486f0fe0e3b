"""Histories of two nodes for tests of statements: orders settled, corrected and cancelled, with both ledgers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from books.statements import Movement
from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_order, hours
from trade import ledger, policy, pricing, settlement
from trade.ledger import Transfer
from trade.order import Order, OrderState, Side
from trade.policy import Policy

PENALISED = Policy(
    "penalised",
    1,
    settlement=policy.SettlementRule.MIN_OF_TWO,
    penalty_micro_per_kwh=50_000,
    tax_ppm=90_000,
    wheeling_seller_micro_per_kwh=10_000,
    platform_buyer_micro_per_kwh=5_000,
    platform_seller_micro_per_kwh=3_000,
    loss_ppm=20_000,
)
POLICIES = (*policy.BUILT_IN.values(), PENALISED)


@dataclass
class TwoBooks:
    """What two nodes hold of the same orders: anna buys at one, home-7 sells at the other."""

    bought: dict[str, Order] = field(default_factory=dict)
    sold: dict[str, Order] = field(default_factory=dict)
    buyers: list[Transfer] = field(default_factory=list)
    sellers: list[Transfer] = field(default_factory=list)

    def deposit(self, amount_minor: int, at: datetime) -> None:
        """Pay into anna's wallet."""
        reference = f"deposit-{len(self.buyers)}"
        self.buyers.append(
            ledger.deposit(account_id="anna", amount_minor=amount_minor, currency="USD", reference=reference, at=at)
        )

    def contract(self, name: str, *wh: int, at: datetime, under: Policy = policy.PLAIN, **changes: Any) -> None:
        """A contract, its money reserved."""
        given: dict[str, Any] = {"order_id": name, "wire_order_id": name, "energy_wh": hours(*wh), "policy": under}
        given |= {"buyer_meter_id": "meter-anna", "meter_id": "meter-7"} | changes
        buyer, seller = an_order(**given), an_order(side=Side.SELLER, **given)
        lines = settlement.quote_lines(buyer, buyer.contracted_wh)
        assert buyer.quote is not None
        buyer = replace(buyer, quote=replace(buyer.quote, lines=lines), state=OrderState.ACTIVE)
        self.bought[name] = buyer
        self.sold[name] = replace(seller, quote=buyer.quote, state=OrderState.ACTIVE)
        self.buyers += ledger.reserve(buyer, at=at, needed_milli=settlement.exposure_milli(buyer))

    def settle(self, name: str, seller_wh: Iterable[int], buyer_wh: Iterable[int], *, at: datetime) -> None:
        """Settle, or settle again."""
        buyer, seller = self.bought[name], self.sold[name]
        allocations = {"seller_alloc_wh": hours(*seller_wh), "buyer_alloc_wh": hours(*buyer_wh)}
        earlier = buyer.settlement
        version = earlier.version + 1 if earlier else 1
        result = settlement.settle(buyer, **allocations, now=at, version=version)
        superseded = (*buyer.superseded, *([earlier] if earlier else []))
        changes: dict[str, Any] = {"settlement": result, "superseded": superseded, "state": OrderState.COMPLETED}
        held = None if earlier else settlement.exposure_milli(buyer)
        self.buyers += ledger.buyer_settle(buyer, result, earlier=earlier, reserved_milli=held, at=at)
        self.sellers += ledger.seller_settle(seller, result, earlier=earlier, at=at)
        self.bought[name] = replace(buyer, **allocations, **changes)
        self.sold[name] = replace(seller, **allocations, **changes)

    def cancel(self, name: str, *, at: datetime) -> None:
        """Cancel at the published terms."""
        buyer, seller = self.bought[name], self.sold[name]
        fee = pricing.cancellation_fee(seller, now_trading=SLOT_START - timedelta(minutes=90))
        held = settlement.exposure_milli(buyer)
        self.buyers += ledger.buyer_cancel(buyer, fee, at=at, reserved_milli=held)
        self.sellers += ledger.seller_cancel(seller, fee, at=at)
        assert buyer.quote is not None
        quote = replace(buyer.quote, lines=(fee,) if fee else ())
        changes: dict[str, Any] = {"state": OrderState.CANCELLED, "quote": quote, "cancelled_by": "CONSUMER"}
        self.bought[name], self.sold[name] = replace(buyer, **changes), replace(seller, **changes)

    # --- What a node's database would answer --------------------------------------------------------------------------

    def movements_of_anna(self) -> list[Movement]:
        """Wallet, escrow and debt taken together."""
        own = {ledger.wallet("anna"), ledger.debt("anna"), *(ledger.escrow(name) for name in self.bought)}
        return movements_of(self.buyers, own)

    def movements_of_home(self) -> list[Movement]:
        """The provider's earnings."""
        return movements_of(self.sellers, {ledger.provider_earnings("home-7")})

    def between(self, name: str) -> tuple[int, int]:
        """What the buyer's node owes for an order, and what the seller's is owed."""
        owes = sum(t.moved_milli(ledger.payable("bpp.example")) for t in self.buyers if t.order_id == name)
        owed = -sum(t.moved_milli(ledger.receivable("bap.example")) for t in self.sellers if t.order_id == name)
        return owes, owed


def movements_of(transfers: Iterable[Transfer], own: set[str]) -> list[Movement]:
    """What each transfer changed for a set of accounts taken together; nothing when it only moved among them."""
    shown = []
    for transfer in transfers:
        net = sum(leg.amount_milli for leg in transfer.legs if leg.account in own)
        if net:
            shown.append(Movement(transfer.transfer_id, transfer.order_id, transfer.memo, transfer.at, "USD", net))
    return shown


@st.composite
def histories(draw: st.DrawFn) -> TwoBooks:
    """A few days of deposits, contracts, settlements, corrections and cancellations."""
    books = TwoBooks()
    books.deposit(10_000, EVENING_BEFORE)
    wh = st.lists(st.integers(0, 4000), min_size=3, max_size=3)
    for number in range(draw(st.integers(1, 5))):
        name, at = f"order-{number}", EVENING_BEFORE + timedelta(hours=draw(st.integers(0, 90)))
        books.contract(
            name,
            *draw(wh.filter(any)),
            at=at,
            under=draw(st.sampled_from(POLICIES)),
            price=draw(st.integers(0, 900_000)),
        )
        if draw(st.booleans()):
            books.deposit(draw(st.integers(1, 500)), at)
        if draw(st.integers(0, 4)) == 0:
            books.cancel(name, at=at)
            continue
        for _ in range(draw(st.integers(0, 3))):
            at += timedelta(hours=draw(st.integers(0, 40)))
            books.settle(name, draw(wh), draw(wh), at=at)
    books.buyers.sort(key=lambda transfer: transfer.at)
    books.sellers.sort(key=lambda transfer: transfer.at)
    return books
