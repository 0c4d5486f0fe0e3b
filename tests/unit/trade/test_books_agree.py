"""Whatever happens to an order, the buyer's and the seller's books tell the same story.

A random walk through the life of orders on two nodes: each step is decided by the rules alone, each side books what
its own copy says, and after every step no account is overdrawn and the sums agree. The seller's books must come
out the same although it never sees the buyer's wallet or escrow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.trade_cases import EVENING_BEFORE, SLOT_START, an_order, hours, requote
from trade import bank_transfers, ledger, order, pricing, settlement
from trade.ledger import Transfer
from trade.order import (
    Order,
    OrderEvent,
    OrderState,
    Side,
)

E, S = OrderEvent, OrderState
SLOTS = 3
ENDED = SLOT_START + timedelta(hours=SLOTS)
contract_wh = st.lists(st.integers(0, 5000), min_size=SLOTS, max_size=SLOTS).filter(any)
meter_wh = st.lists(st.integers(0, 6000), min_size=SLOTS, max_size=SLOTS)


@dataclass
class Books:
    """One node's ledger: refuses a second transfer of one id and any overdraft, as the database does."""

    transfers: dict[str, Transfer] = field(default_factory=dict)

    def post(self, transfers: list[Transfer]) -> None:
        for transfer in transfers:
            assert transfer.transfer_id not in self.transfers
            self.transfers[transfer.transfer_id] = transfer
            for (account, _), balance in ledger.balances(self.transfers.values()).items():
                assert balance >= 0 or ledger.may_overdraw(account), f"{account} is overdrawn"

    def balance(self, account: str) -> int:
        return ledger.balances(self.transfers.values()).get((account, "USD"), 0)

    def total(self, kind: str) -> int:
        balances = ledger.balances(self.transfers.values())
        return sum(amount for (account, _), amount in balances.items() if account.startswith(kind))


class TwoNodes(RuleBasedStateMachine):
    """A buyer's node and a seller's node, one contract after another."""

    def __init__(self) -> None:
        super().__init__()
        self.buyer, self.seller = Books(), Books()
        self.count, self.changes = 0, 0
        self.now: datetime = EVENING_BEFORE
        self.b: Order | None = None
        self.s: Order | None = None
        self.buyer.post(
            [ledger.deposit(account_id="anna", amount_minor=3_000, currency="USD", reference="1", at=self.now)]
        )

    def state(self) -> OrderState | None:
        return self.b.state if self.b else None

    def escrow(self) -> int:
        assert self.b
        return self.buyer.balance(ledger.escrow(self.b.order_id))

    def step(self, event: OrderEvent) -> None:
        assert self.b
        self.b = order.advance(self.b, event, now=self.now)

    def both(self, event: OrderEvent, **changes: Any) -> None:
        assert self.s
        self.step(event)
        self.s = order.advance(self.s, event, now=self.now)
        self.b, self.s = replace(self.b, **changes), replace(self.s, **changes)  # type: ignore[type-var]

    @precondition(lambda self: self.state() in {None, *order.TERMINAL_STATES, *order.RESTING_STATES})
    @rule(wh=contract_wh, price=st.integers(0, 900_000), wheeling=st.sampled_from([0, 20_000, 33_333]))
    def confirm(self, wh: list[int], price: int, wheeling: int) -> None:
        self.count, self.now = self.count + 1, EVENING_BEFORE
        name: dict[str, Any] = {"order_id": f"order-{self.count}", "wheeling_micro_per_kwh": wheeling}
        self.b = an_order(energy_wh=hours(*wh), price=price, **name)
        self.s = an_order(side=Side.SELLER, energy_wh=hours(*wh), price=price, **name)
        needed = self.b.quote.total_milli if self.b.quote else 0
        if needed > self.buyer.balance(ledger.wallet("anna")):
            self.b = self.s = None  # a wallet that cannot pay reserves nothing and sends nothing
            return
        self.step(E.CONFIRM_SENT)
        self.buyer.post(ledger.reserve(self.b, at=self.now))

    @precondition(lambda self: self.state() in {S.CONFIRMING, S.UNANSWERED})
    @rule(answer=st.sampled_from([E.NO_ANSWER, E.CONFIRMED, E.SELLER_REFUSED]))
    def answer_confirm(self, answer: OrderEvent) -> None:
        assert self.b
        if answer is E.CONFIRMED:
            self.both(answer)
            return
        self.step(answer)
        if answer is E.SELLER_REFUSED:
            self.buyer.post(ledger.release(self.b, at=self.now, reserved_milli=self.escrow()))

    @precondition(lambda self: self.state() is S.ACTIVE)
    @rule(wh=contract_wh, agreed=st.booleans())
    def update(self, wh: list[int], agreed: bool) -> None:
        assert self.b and self.b.quote
        self.changes += 1
        old, new = self.b.quote, requote(self.b, hours(*wh), quote_id=f"quote-{self.changes}")
        if new.total_milli - self.escrow() > self.buyer.balance(ledger.wallet("anna")):
            return
        self.adjust(max(self.escrow(), new.total_milli), f"update-{new.quote_id}")
        if agreed:
            self.both(E.UPDATED, contracted_wh=hours(*wh), quote=new)
        self.adjust((new if agreed else old).total_milli, f"updated-{new.quote_id}")

    @precondition(lambda self: self.state() in {S.ACTIVE, S.DELIVERING, S.CANCELLING})
    @rule(data=st.data())
    def curtail(self, data: st.DataObject) -> None:
        assert self.b
        self.changes += 1
        less = hours(*(data.draw(st.integers(0, wh)) for wh in self.b.contracted_wh.values))
        new = requote(self.b, less, quote_id=f"quote-{self.changes}")
        self.both(E.CURTAILED, contracted_wh=less, quote=new)
        self.adjust(new.total_milli, f"curtail-{new.quote_id}")

    def adjust(self, needed: int, step: str) -> None:
        assert self.b
        self.buyer.post(
            ledger.adjust(self.b, reserved_milli=self.escrow(), needed_milli=needed, step=step, at=self.now)
        )

    @precondition(lambda self: self.state() is S.ACTIVE)
    @rule(notice_s=st.integers(-10, 6 * 3600))
    def ask_to_cancel(self, notice_s: int) -> None:
        assert self.b
        self.now = max(self.now, self.b.delivery_start - timedelta(seconds=notice_s))
        self.step(E.CANCEL_SENT)

    @precondition(lambda self: self.state() is S.CANCELLING)
    @rule()
    def answer_cancel(self) -> None:
        assert self.b and self.s
        try:
            fee = pricing.cancellation_fee(self.s, now_trading=self.now)
        except pricing.UnableToCancel:
            self.step(E.CANCEL_REFUSED)
            return
        self.both(E.CANCELLED)
        self.buyer.post(ledger.buyer_cancel(self.b, fee, at=self.now, reserved_milli=self.escrow()))
        self.seller.post(ledger.seller_cancel(self.s, fee, at=self.now))

    @precondition(lambda self: self.state() is S.ACTIVE)
    @rule(noticed=st.booleans())
    def start_delivery(self, noticed: bool) -> None:
        assert self.s
        if self.s.state is S.ACTIVE:
            self.s = order.advance(self.s, E.DELIVERY_STARTED, now=self.now)
        if noticed:
            self.step(E.DELIVERY_STARTED)

    @precondition(lambda self: self.state() in {S.ACTIVE, S.DELIVERING, S.CANCELLING})
    @rule(metered=meter_wh)
    def settle(self, metered: list[int]) -> None:
        assert self.b and self.s
        self.now = max(self.now, ENDED)
        reading = hours(*metered)
        sellers = settlement.settle(self.s, seller_alloc_wh=reading, now=self.now)
        buyers = settlement.settle(self.b, seller_alloc_wh=reading, now=self.now)
        assert sellers == buyers
        self.both(E.SETTLED, settlement=sellers)
        self.seller.post(ledger.seller_settle(self.s, sellers, at=self.now))
        self.buyer.post(ledger.buyer_settle(self.b, buyers, at=self.now, reserved_milli=self.escrow()))

    @precondition(lambda self: self.state() is S.COMPLETED)
    @rule(metered=meter_wh)
    def correct(self, metered: list[int]) -> None:
        """A late or corrected reading: both sides book the difference under the next version."""
        assert self.b and self.s and self.b.settlement
        earlier = self.b.settlement
        reading = hours(*metered)
        result = settlement.settle(self.s, seller_alloc_wh=reading, now=self.now, version=earlier.version + 1)
        self.both(E.RESETTLED, settlement=result, superseded=(*self.b.superseded, earlier))
        self.seller.post(ledger.seller_settle(self.s, result, earlier=earlier, at=self.now))
        purse = self.buyer.balance(ledger.wallet("anna"))
        self.buyer.post(ledger.buyer_settle(self.b, result, earlier=earlier, at=self.now, wallet_milli=purse))

    @rule(amount_minor=st.integers(1, 300))
    def deposit(self, amount_minor: int) -> None:
        self.changes += 1
        reference = f"more-{self.changes}"
        paid_in = ledger.deposit(
            account_id="anna", amount_minor=amount_minor, currency="USD", reference=reference, at=self.now
        )
        owed = self.buyer.balance(ledger.debt("anna"))
        self.buyer.post([paid_in, *bank_transfers.repay(paid_in, account_id="anna", debt_milli=owed, currency="USD")])

    @invariant()
    def both_books_agree(self) -> None:
        assert self.buyer.total("payable:") == -self.seller.total("receivable:")
        assert self.buyer.balance(ledger.payable("bpp.example")) == (
            self.seller.balance(ledger.provider_earnings("home-7")) + self.seller.balance(ledger.utility())
        )

    @invariant()
    def no_money_is_made_or_lost(self) -> None:
        for books in (self.buyer, self.seller):
            assert sum(ledger.balances(books.transfers.values()).values()) == 0

    @invariant()
    def escrow_holds_exactly_the_quote_of_a_live_contract_and_nothing_else(self) -> None:
        if self.b is None:
            return
        assert self.b.quote
        live = self.b.state not in order.TERMINAL_STATES | order.RESTING_STATES
        assert self.buyer.total("escrow:") == (self.b.quote.total_milli if live else 0)


TestTwoNodes = TwoNodes.TestCase
TestTwoNodes.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
