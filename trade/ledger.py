"""The money of an order as transfers between accounts, over its whole life, on the buyer's and the seller's node.

A transfer moves a positive whole amount out of its `debit` account into its `credit` account, so an account's balance
is what was credited less what was debited, and all balances of a ledger sum to zero. Transfers are only ever
added; undoing one is a new one. Their ids are made from the order and the step, so a retry is the same transfer.

    buyer's node                                     seller's node
    deposit        external -> wallet
    reserve        wallet   -> escrow                (nothing is owed before delivery)
    release        escrow   -> wallet
    settle         escrow   -> payable(seller)       receivable(buyer) -> provider's earnings
                   escrow   -> wallet  (the rest)    receivable(buyer) -> utility (wheeling)
    cancel         escrow   -> payable(seller) (fee) receivable(buyer) -> provider's earnings (fee)
                   escrow   -> wallet  (the rest)

A buyer's payable(seller) is thus always what the seller's receivable(buyer) is overdrawn by: the two books agree.
Escrow may hold more than the quote for a moment (a change that is under way), so whoever empties it passes what it
really holds as `reserved_milli`; without it the order's quote is taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from trade.order import Order, Side
from trade.quote import LineKind, QuoteLine, SettlementResult


@dataclass(frozen=True, slots=True)
class Transfer:
    """An amount leaving `debit` and arriving at `credit`. `order_id` is empty for money that belongs to no order."""

    transfer_id: str
    debit: str
    credit: str
    amount_milli: int
    currency: str
    order_id: str
    memo: str
    at: datetime

    def __post_init__(self) -> None:
        if self.amount_milli <= 0 or self.debit == self.credit:
            raise ValueError(f"transfer {self.transfer_id} moves nothing")


class UnableToSettle(Exception):
    """More is due than is reserved for the order; a person has to look at it."""


# Accounts. The kind is what stands before the colon.


def wallet(account_id: str) -> str:
    """A consumer's money at the buyer's node."""
    return f"wallet:{account_id}"


def escrow(order_id: str) -> str:
    """Money reserved for one order at the buyer's node."""
    return f"escrow:{order_id}"


def payable(bpp_id: str) -> str:
    """What the buyer's node owes a seller's node."""
    return f"payable:{bpp_id}"


def receivable(bap_id: str) -> str:
    """What a buyer's node owes the seller's node: its balance is negative by that much."""
    return f"receivable:{bap_id}"


def provider_earnings(provider_id: str) -> str:
    """What a provider has earned at the seller's node."""
    return f"provider:{provider_id}"


def utility() -> str:
    """Wheeling charges collected for the grid."""
    return "utility"


def external() -> str:
    """The world outside the ledger: its balance is minus all money that was paid in."""
    return "external"


#: Kinds of account whose balance may be negative: the two sides of the ledger where money enters it. All others,
#: wallets, escrow and payables first of all, can never be overdrawn, and the database refuses it.
MAY_OVERDRAW = frozenset({"external", "receivable"})


def may_overdraw(account: str) -> bool:
    """True when the account's balance may be negative."""
    return account.partition(":")[0] in MAY_OVERDRAW


# The life of an order's money.


def deposit(*, account_id: str, amount_minor: int, currency: str, reference: str, at: datetime) -> Transfer:
    """Money paid into a wallet from outside; the payer's reference makes a repeat the same transfer."""
    return Transfer(
        transfer_id=f"deposit/{account_id}/{reference}",
        debit=external(),
        credit=wallet(account_id),
        amount_milli=amount_minor,
        currency=currency,
        order_id="",
        memo=f"deposit {reference}",
        at=at,
    )


def reserve(order: Order, *, at: datetime) -> list[Transfer]:
    """Buyer, on confirm: the quote's total from the wallet into escrow."""
    _only(order, Side.BUYER)
    return _moves(order, at, ("reserve", wallet(order.account_id), escrow(order.order_id), _quoted(order)))


def adjust(order: Order, *, reserved_milli: int, needed_milli: int, step: str, at: datetime) -> list[Transfer]:
    """Buyer, on a change of the contract: bring escrow from what it holds to what is needed now.

    Reserve the more before an update is sent; give back the less once the seller has agreed (or the more, when it
    refused). `step` names the change and must be its own for each, e.g. `update-<quote_id>`.
    """
    _only(order, Side.BUYER)
    into, out_of = wallet(order.account_id), escrow(order.order_id)
    if needed_milli >= reserved_milli:
        return _moves(order, at, (step, into, out_of, needed_milli - reserved_milli))
    return _moves(order, at, (step, out_of, into, reserved_milli - needed_milli))


def release(order: Order, *, at: datetime, reserved_milli: int | None = None) -> list[Transfer]:
    """Buyer, when the order came to nothing: all of escrow back to the wallet."""
    _only(order, Side.BUYER)
    held = _quoted(order) if reserved_milli is None else reserved_milli
    return _moves(order, at, ("release", escrow(order.order_id), wallet(order.account_id), held))


def buyer_settle(
    order: Order, result: SettlementResult, *, at: datetime, reserved_milli: int | None = None
) -> list[Transfer]:
    """Buyer, on completion: the settlement from escrow to the seller's node, the rest back to the wallet.

    Raises UnableToSettle when more is due than is reserved.
    """
    return _pay(order, "settle", result.total_milli, at, reserved_milli)


def buyer_cancel(
    order: Order, fee: QuoteLine | None, *, at: datetime, reserved_milli: int | None = None
) -> list[Transfer]:
    """Buyer, on cancellation: the fee, if any, from escrow to the seller's node, the rest back to the wallet.

    Raises UnableToSettle when the fee is more than is reserved.
    """
    return _pay(order, "cancel", fee.amount_milli if fee else 0, at, reserved_milli)


def seller_settle(order: Order, result: SettlementResult, *, at: datetime) -> list[Transfer]:
    """Seller, on completion: the buyer's node owes the energy to the provider and the wheeling to the utility."""
    _only(order, Side.SELLER)
    owed_by = receivable(order.counterparty_id)
    wheeling = sum(line.amount_milli for line in result.lines if line.kind is LineKind.WHEELING)
    return _moves(
        order,
        at,
        ("settle-energy", owed_by, provider_earnings(order.provider_id), result.total_milli - wheeling),
        ("settle-wheeling", owed_by, utility(), wheeling),
    )


def seller_cancel(order: Order, fee: QuoteLine | None, *, at: datetime) -> list[Transfer]:
    """Seller, on cancellation: the fee, if any, is owed to the provider."""
    _only(order, Side.SELLER)
    amount = fee.amount_milli if fee else 0
    owed_by = receivable(order.counterparty_id)
    return _moves(order, at, ("cancel-fee", owed_by, provider_earnings(order.provider_id), amount))


def reverse(transfer: Transfer, *, at: datetime, memo: str) -> Transfer:
    """The transfer that undoes another; the first one stays in the books."""
    return Transfer(
        transfer_id=f"{transfer.transfer_id}/reverse",
        debit=transfer.credit,
        credit=transfer.debit,
        amount_milli=transfer.amount_milli,
        currency=transfer.currency,
        order_id=transfer.order_id,
        memo=memo,
        at=at,
    )


def balances(transfers: Iterable[Transfer]) -> dict[tuple[str, str], int]:
    """The balance of every (account, currency) that the transfers touch; they sum to zero in each currency."""
    totals: dict[tuple[str, str], int] = {}
    for transfer in transfers:
        for account, amount in ((transfer.debit, -transfer.amount_milli), (transfer.credit, transfer.amount_milli)):
            key = (account, transfer.currency)
            totals[key] = totals.get(key, 0) + amount
    return totals


def _only(order: Order, side: Side) -> None:
    if order.side is not side:
        raise ValueError(f"order {order.order_id} is the {order.side}'s copy; this is the {side}'s bookkeeping")


def _quoted(order: Order) -> int:
    if order.quote is None:
        raise ValueError(f"order {order.order_id} has no quote, so nothing can be reserved for it")
    return order.quote.total_milli


def _pay(order: Order, step: str, due_milli: int, at: datetime, reserved_milli: int | None) -> list[Transfer]:
    _only(order, Side.BUYER)
    held = _quoted(order) if reserved_milli is None else reserved_milli
    if due_milli > held:
        raise UnableToSettle(f"{due_milli} is due for order {order.order_id}, {held} is reserved")
    source = escrow(order.order_id)
    return _moves(
        order,
        at,
        (step, source, payable(order.counterparty_id), due_milli),
        (f"{step}-rest", source, wallet(order.account_id), held - due_milli),
    )


def _moves(order: Order, at: datetime, *moves: tuple[str, str, str, int]) -> list[Transfer]:
    """One transfer for each (step, debit, credit, amount); an amount of zero is no transfer."""
    return [
        Transfer(
            transfer_id=f"{order.order_id}/{step}",
            debit=debit,
            credit=credit,
            amount_milli=amount,
            currency=order.currency,
            order_id=order.order_id,
            memo=step,
            at=at,
        )
        for step, debit, credit, amount in moves
        if amount
    ]
