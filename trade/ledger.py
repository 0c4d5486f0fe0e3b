"""The money of an order as transfers between accounts, over its whole life, on the buyer's and the seller's node.

A transfer is two legs or more that sum to zero in every currency: a leg that is positive arrives at its account, a
negative one leaves it. An account's balance is the sum of its legs, and all balances of a ledger sum to zero.
Transfers are only ever added; undoing one is a new one. Their ids are made from the order and the step, so a retry is
the same transfer. Amounts are thousandths of a minor unit.

    buyer's node                                     seller's node
    deposit        external -> wallet
    payout         wallet   -> payout -> external    provider -> payout -> external
    reserve        wallet   -> escrow                (nothing is owed before delivery)
    release        escrow   -> wallet
    settle/1       escrow   -> payable(seller)       receivable(buyer) -> provider's earnings, utility, tax,
                   escrow   -> platform (its fee)                         platform
                   escrow   -> wallet (the rest)
    settle/2 ...   the difference to the settlement before: wallet (or debt) <-> payable, and so on
    cancel         escrow   -> payable(seller) (fee) receivable(buyer) -> provider's earnings (fee)
                   escrow   -> wallet  (the rest)

A buyer's payable(seller) is thus always what the seller's receivable(buyer) is overdrawn by: the two books agree.
Escrow may hold more than the quote for a moment (a change that is under way), so whoever empties it passes what it
really holds as `reserved_milli`; without it the order's quote is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from trade.money import milli_from_minor
from trade.order import Order, Side
from trade.quote import LineKind, Party, QuoteLine, SettlementResult


@dataclass(frozen=True, slots=True)
class Leg:
    """What one account gets (positive) or gives (negative), in thousandths of a minor unit."""

    account: str
    currency: str
    amount_milli: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money that changes accounts at once. `order_id` is empty for money that belongs to no order."""

    transfer_id: str
    order_id: str
    memo: str
    at: datetime
    legs: tuple[Leg, ...]

    def __post_init__(self) -> None:
        if len(self.legs) < 2 or not all(leg.amount_milli for leg in self.legs):
            raise ValueError(f"transfer {self.transfer_id} moves nothing")
        if len({(leg.account, leg.currency) for leg in self.legs}) < len(self.legs):
            raise ValueError(f"transfer {self.transfer_id} names an account twice")
        sums: dict[str, int] = {}
        for leg in self.legs:
            sums[leg.currency] = sums.get(leg.currency, 0) + leg.amount_milli
        if any(sums.values()):
            raise ValueError(f"transfer {self.transfer_id} does not sum to zero in every currency")

    def moved_milli(self, account: str) -> int:
        """What the transfer adds to the account, over all currencies it moves there."""
        return sum(leg.amount_milli for leg in self.legs if leg.account == account)


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
    """What the buyer's node owes a seller's node; negative when a correction came after it was paid."""
    return f"payable:{bpp_id}"


def receivable(bap_id: str) -> str:
    """What a buyer's node owes the seller's node: its balance is negative by that much."""
    return f"receivable:{bap_id}"


def provider_earnings(provider_id: str) -> str:
    """What a provider has earned at the seller's node; negative when penalties or corrections exceed it."""
    return f"provider:{provider_id}"


def utility(utility_id: str = "") -> str:
    """Wheeling charges and fees collected for a grid; without an id for the one grid a network may have."""
    return f"utility:{utility_id}" if utility_id else "utility"


def tax() -> str:
    """Tax collected and not yet paid on."""
    return "tax"


def platform() -> str:
    """The node's own fees."""
    return "platform"


def debt(account_id: str) -> str:
    """What a correction asked of a wallet that did not hold it: its balance is negative by that much."""
    return f"debt:{account_id}"


def payout(payout_id: str) -> str:
    """Money that left an account for a bank and is not there yet."""
    return f"payout:{payout_id}"


def external() -> str:
    """The world outside the ledger: its balance is minus all money that was paid in."""
    return "external"


#: Kinds of account whose balance may be negative without limit: where money enters the ledger (external), what
#: nodes owe each other (receivable, payable), who may owe after a penalty or a correction (provider, utility, debt),
#: and what rounding leaves over. Wallets (beyond an overdraft that an operator grants), escrow, tax and the node's
#: own fees are never overdrawn: the database refuses it.
MAY_OVERDRAW = frozenset({"external", "receivable", "payable", "provider", "utility", "debt"})


def may_overdraw(account: str) -> bool:
    """True when the account's balance may be negative without limit."""
    return account.partition(":")[0] in MAY_OVERDRAW


# The life of an order's money.


def between(
    *,
    transfer_id: str,
    source: str,
    target: str,
    amount_milli: int,
    currency: str,
    memo: str,
    at: datetime,
    order_id: str = "",
) -> Transfer:
    """A transfer of two legs: a positive amount out of `source` into `target`. Raises ValueError for any other."""
    if amount_milli <= 0:
        raise ValueError(f"transfer {transfer_id} moves nothing")
    legs = (Leg(source, currency, -amount_milli), Leg(target, currency, amount_milli))
    return Transfer(transfer_id=transfer_id, order_id=order_id, memo=memo, at=at, legs=legs)


def deposit(*, account_id: str, amount_minor: int, currency: str, reference: str, at: datetime) -> Transfer:
    """Money paid into a wallet, in whole minor units; its reference makes a repeat the same transfer."""
    return between(
        transfer_id=f"deposit/{account_id}/{reference}",
        source=external(),
        target=wallet(account_id),
        amount_milli=milli_from_minor(amount_minor),
        currency=currency,
        memo=f"deposit {reference}",
        at=at,
    )


def reserve(order: Order, *, at: datetime, needed_milli: int | None = None) -> list[Transfer]:
    """Buyer, on confirm: from the wallet into escrow the most that can come due, or else the quote's total."""
    _only(order, Side.BUYER)
    needed = _quoted(order) if needed_milli is None else needed_milli
    return _transfer(order, at, "reserve", {wallet(order.account_id): -needed, escrow(order.order_id): needed})


def adjust(order: Order, *, reserved_milli: int, needed_milli: int, step: str, at: datetime) -> list[Transfer]:
    """Buyer, on a change of the contract: bring escrow from what it holds to what is needed now.

    Reserve the more before an update is sent; give back the less once the seller has agreed (or the more, when it
    refused). `step` names the change and must be its own for each, e.g. `update-<quote_id>`.
    """
    _only(order, Side.BUYER)
    more_milli = needed_milli - reserved_milli
    return _transfer(order, at, step, {wallet(order.account_id): -more_milli, escrow(order.order_id): more_milli})


def release(order: Order, *, at: datetime, reserved_milli: int | None = None) -> list[Transfer]:
    """Buyer, when the order came to nothing: all of escrow back to the wallet."""
    _only(order, Side.BUYER)
    held = _quoted(order) if reserved_milli is None else reserved_milli
    return _transfer(order, at, "release", {escrow(order.order_id): -held, wallet(order.account_id): held})


def buyer_settle(
    order: Order,
    result: SettlementResult,
    *,
    at: datetime,
    earlier: SettlementResult | None = None,
    reserved_milli: int | None = None,
    wallet_milli: int | None = None,
) -> list[Transfer]:
    """Buyer: what a settlement asks for beyond the `earlier` one, as one transfer; none when nothing moves.

    The first settlement empties escrow (`reserved_milli`): to the seller's node and to our own fees what is due, the
    rest back to the wallet. A later one gives the difference to the wallet, or takes it from there; what the wallet
    cannot pay (`wallet_milli`: what it holds with its overdraft; None: enough) becomes the account's debt.
    Raises UnableToSettle when the first settlement asks for more than is reserved.
    """
    _only(order, Side.BUYER)
    moves = _difference(_buyers_dues(order, result), _buyers_dues(order, earlier) if earlier else {})
    due = sum(moves.values())
    purse = wallet(order.account_id)
    if earlier is None:
        held = _quoted(order) if reserved_milli is None else reserved_milli
        if due > held:
            raise UnableToSettle(f"{due} is due for order {order.order_id}, {held} is reserved")
        moves |= {escrow(order.order_id): -held, purse: held - due}
    else:
        paid = due if wallet_milli is None else min(due, max(0, wallet_milli))
        moves |= {purse: -paid, debt(order.account_id): paid - due}
    return _transfer(order, at, f"settle/{result.version}", moves)


def seller_settle(
    order: Order, result: SettlementResult, *, at: datetime, earlier: SettlementResult | None = None
) -> list[Transfer]:
    """Seller: what a settlement moves beyond the `earlier` one, as one transfer; none when nothing moves.

    The buyer's node owes it all; provider, utility, tax and platform get their parts.
    """
    _only(order, Side.SELLER)
    moves = _difference(_sellers_dues(order, result), _sellers_dues(order, earlier) if earlier else {})
    moves[receivable(order.counterparty_id)] = -sum(moves.values())
    return _transfer(order, at, f"settle/{result.version}", moves)


def buyer_cancel(
    order: Order, fee: QuoteLine | None, *, at: datetime, reserved_milli: int | None = None
) -> list[Transfer]:
    """Buyer, on cancellation: the fee, if any, from escrow to the seller's node, the rest back to the wallet.

    Raises UnableToSettle when the fee is more than is reserved.
    """
    _only(order, Side.BUYER)
    held = _quoted(order) if reserved_milli is None else reserved_milli
    due = fee.amount_milli if fee else 0
    if due > held:
        raise UnableToSettle(f"{due} is due for order {order.order_id}, {held} is reserved")
    moves = {
        escrow(order.order_id): -held,
        payable(order.counterparty_id): due,
        wallet(order.account_id): held - due,
    }
    return _transfer(order, at, "cancel", moves)


def seller_cancel(order: Order, fee: QuoteLine | None, *, at: datetime) -> list[Transfer]:
    """Seller, on cancellation: the fee, if any, is owed to the provider."""
    _only(order, Side.SELLER)
    due = fee.amount_milli if fee else 0
    owed_by = receivable(order.counterparty_id)
    return _transfer(order, at, "cancel", {owed_by: -due, provider_earnings(order.provider_id): due})


def reverse(transfer: Transfer, *, at: datetime, memo: str) -> Transfer:
    """The transfer that undoes another; the first one stays in the books."""
    return Transfer(
        transfer_id=f"{transfer.transfer_id}/reverse",
        order_id=transfer.order_id,
        memo=memo,
        at=at,
        legs=tuple(Leg(leg.account, leg.currency, -leg.amount_milli) for leg in transfer.legs),
    )


def dated(transfers: Iterable[Transfer], at: datetime) -> list[Transfer]:
    """The transfers booked at an instant. Nodes book by the trading clock, so that a day's statement holds its day."""
    return [replace(transfer, at=at) for transfer in transfers]


def balances(transfers: Iterable[Transfer]) -> dict[tuple[str, str], int]:
    """The balance of every (account, currency) that the transfers touch; they sum to zero in each currency."""
    totals: dict[tuple[str, str], int] = {}
    for transfer in transfers:
        for leg in transfer.legs:
            totals[leg.account, leg.currency] = totals.get((leg.account, leg.currency), 0) + leg.amount_milli
    return totals


def _buyers_dues(order: Order, result: SettlementResult) -> dict[str, int]:
    """What the buyer's wallet has to bring, by account of the buyer's node.

    Our own platform's share stays here; the seller's node is owed what all parties that it pays receive together.
    """
    net = _nets(result)
    kept = net.pop(Party.BUYER_PLATFORM, 0)
    net.pop(Party.BUYER, None)
    return {payable(order.counterparty_id): sum(net.values()), platform(): kept}


def _sellers_dues(order: Order, result: SettlementResult) -> dict[str, int]:
    """What the parties that the seller's node pays receive, by account."""
    accounts = {
        Party.SELLER: provider_earnings(order.provider_id),
        Party.BUYER_UTILITY: utility(order.utility_id),
        Party.SELLER_UTILITY: utility(order.utility_id),
        Party.SELLER_PLATFORM: platform(),
        Party.TAX: tax(),
    }
    dues: dict[str, int] = {}
    for party, amount in _nets(result).items():
        if party in accounts:
            dues[accounts[party]] = dues.get(accounts[party], 0) + amount
    return dues


def _nets(result: SettlementResult) -> dict[Party, int]:
    """What each party receives less what it pays. A result without flows is its lines: wheeling is the utility's."""
    net: dict[Party, int] = {}
    if not result.flows:
        wheeling = sum(line.amount_milli for line in result.lines if line.kind is LineKind.WHEELING)
        seller = result.total_milli - wheeling
        return {Party.BUYER: -result.total_milli, Party.SELLER: seller, Party.SELLER_UTILITY: wheeling}
    for flow in result.flows:
        net[flow.payer] = net.get(flow.payer, 0) - flow.amount_milli
        net[flow.payee] = net.get(flow.payee, 0) + flow.amount_milli
    return net


def dues(order: Order, result: SettlementResult) -> dict[str, int]:
    """What this side's accounts have got and given by the order's settlements, when `result` is the last of them.

    Wallet, escrow and debt are left out: how a buyer brought the money is not the settlement's affair.
    """
    if order.side is Side.BUYER:
        found = _buyers_dues(order, result)
    else:
        found = _sellers_dues(order, result)
        found[receivable(order.counterparty_id)] = -sum(found.values())
    return {account: amount for account, amount in found.items() if amount}


def _difference(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {account: now.get(account, 0) - before.get(account, 0) for account in now.keys() | before.keys()}


def _only(order: Order, side: Side) -> None:
    if order.side is not side:
        raise ValueError(f"order {order.order_id} is the {order.side}'s copy; this is the {side}'s bookkeeping")


def _quoted(order: Order) -> int:
    if order.quote is None:
        raise ValueError(f"order {order.order_id} has no quote, so nothing can be reserved for it")
    return order.quote.total_milli


def _transfer(order: Order, at: datetime, step: str, moves: Mapping[str, int]) -> list[Transfer]:
    """One transfer of what each account gets or gives, or none when nothing moves; payers first, then by name."""
    legs = sorted((amount > 0, account, amount) for account, amount in moves.items() if amount)
    if not legs:
        return []
    return [
        Transfer(
            transfer_id=f"{order.order_id}/{step}",
            order_id=order.order_id,
            memo=step,
            at=at,
            legs=tuple(Leg(account, order.currency, amount) for _, account, amount in legs),
        )
    ]
