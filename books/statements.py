"""What an account or a provider was charged and paid in a period, order by order, down to every slot and line.

A statement is built from two things and from nothing else: the movements of the holder's accounts in the ledger, and
the orders they belong to. A holder's accounts are taken together (a consumer's wallet, what is reserved for its orders,
what it owes), so reserving money is no movement. Hence, in every currency and exactly,

    brought forward + sum of movements = carried forward
    sum of an order's movements        = sum of its settlements' differences (and its cancellation fee)

which `check` proves for every statement before it leaves. Amounts are thousandths of a minor unit and are added, never
rounded; the invoice total alone is rounded, once, to minor units, and what that leaves over is named beside it.

A settlement belongs to the period in which its money moved. A corrected order shows each version that did, with the
difference it made to the one before: a correction made in May of an order settled in April is a line of May.

The document has no date of its own making: the same books give the same bytes, so that a signature can be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from trade import ledger
from trade.money import Series, milli_from_minor, milli_from_nano, minor_from_milli
from trade.order import Order, Side
from trade.periods import Period
from trade.policy import Rounding
from trade.quote import TITLES, LineKind, QuoteLine, SettlementResult

#: Which form of document this is, so that readers can tell a later one.
FORM = "powershare-statement/1"
#: Orders, and movements, that one statement holds at most; a longer one is asked for day by day.
ORDERS_MAX, MOVEMENTS_MAX = 5_000, 20_000


class StatementTooLong(Exception):
    """More orders or movements than one statement holds; the sentence says what to ask for."""


class BooksDisagree(Exception):
    """The ledger and the orders tell different stories: a defect of the node, never printed over."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose statement it is: a consumer's account at the buyer's node, a provider at the seller's."""

    kind: str  # "account" or "provider"
    holder_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Movement:
    """What one transfer changed in one currency for the holder, all its accounts taken together."""

    transfer_id: str
    order_id: str
    memo: str
    at: datetime
    currency: str
    amount_milli: int


def build(
    *,
    node_id: str,
    holder: Holder,
    period: Period | None,
    brought_milli: Mapping[str, int],
    movements: Sequence[Movement],
    orders: Iterable[Order],
) -> dict[str, Any]:
    """The statement as a document, proven by `check`; without a period it is that of the orders given, whole.

    `movements` are all of the period (or of the orders), oldest first; `orders` those they belong to, and those settled
    at nothing. Raises StatementTooLong, BooksDisagree.
    """
    if len(movements) > MOVEMENTS_MAX:
        raise StatementTooLong(
            f"There are more than {MOVEMENTS_MAX} movements in this period; ask for its days one by one."
        )
    moved = {movement.transfer_id for movement in movements}
    sums: dict[str, int] = {}
    for movement in movements:
        sums[movement.order_id] = sums.get(movement.order_id, 0) + movement.amount_milli
    shown = [
        order_document(order, period=period, moved=moved, cancelled_milli=sums.get(order.order_id, 0))
        for order in orders
    ]
    shown = sorted((entry for entry in shown if entry["versions"] or entry["cancellation"]), key=_by_time)
    if len(shown) > ORDERS_MAX:
        raise StatementTooLong(f"There are more than {ORDERS_MAX} orders in this period; ask for its days one by one.")
    document = {
        "form": FORM,
        "node": node_id,
        "holder": {"kind": holder.kind, "id": holder.holder_id, "name": holder.name},
        "period": None if period is None else _period(period),
        "orders": shown,
        "movements": _movements(movements, brought_milli),
        "totals": _totals(holder, shown, movements, brought_milli),
    }
    check(document)
    return document


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """The bytes of a statement's JSON: the same for the same statement."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def instant(value: datetime) -> str:
    """An instant as statements write it: UTC, to the second or as fine as it is."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _period(period: Period) -> dict[str, Any]:
    return {"name": period.name, "zone": period.zone, "start": instant(period.start), "end": instant(period.end)}


def _by_time(entry: Mapping[str, Any]) -> tuple[str, str]:
    return entry["delivery_start"], entry["wire_order_id"] or entry["order_id"]


# --- Orders -----------------------------------------------------------------------------------------------------------


def order_document(
    order: Order, *, period: Period | None, moved: Iterable[str], cancelled_milli: int
) -> dict[str, Any]:
    """One order: its slots, and of its settlements those whose money was `moved` (in the period, if there is one).

    `cancelled_milli` is what moved for the holder if the order was cancelled: its fee, or what a dispute changed of it.
    """
    in_period = set(moved)
    results = [*order.superseded, *([order.settlement] if order.settlement else [])]
    versions = []
    for earlier, result in zip([None, *results], results, strict=False):
        difference = holder_milli(order, result) - (holder_milli(order, earlier) if earlier else 0)
        transfer_id = f"{order.order_id}/settle/{result.version}"
        if _is_in(period, transfer_id, result.settled_at, in_period, has_money=difference != 0):
            versions.append(_version(order, result, difference))
    return {
        "order_id": order.order_id,
        "wire_order_id": order.wire_order_id,
        "transaction_id": order.transaction_id,
        "counterparty": order.counterparty_id,
        "provider_id": order.provider_id,
        "provider_name": order.provider_name,
        "state": order.state.value,
        "policy": order.policy.id,
        "currency": order.currency,
        "delivery_start": instant(order.delivery_start),
        "delivery_end": instant(order.delivery_end),
        "slots": _slots(order),
        "versions": versions,
        "cancellation": _cancellation(order, cancelled_milli),
    }


def _is_in(period: Period | None, transfer_id: str, settled_at: datetime, moved: set[str], *, has_money: bool) -> bool:
    """True when a settlement belongs to the period: its money moved in it, or it moved none and was made in it."""
    if has_money:
        return transfer_id in moved
    return period is None or period.start <= settled_at < period.end


def holder_milli(order: Order, result: SettlementResult) -> int:
    """What a settlement is to the holder of this copy: minus what a buyer pays, or what a provider gets."""
    if order.side is Side.BUYER:
        return -result.total_milli
    earned = ledger.provider_earnings(order.provider_id)
    return sum(transfer.moved_milli(earned) for transfer in ledger.seller_settle(order, result, at=result.settled_at))


def _version(order: Order, result: SettlementResult, difference_milli: int) -> dict[str, Any]:
    return {
        "version": result.version,
        "settled_at": instant(result.settled_at),
        "energy_wh": result.delivered_wh.total,
        "final_wh": list(result.delivered_wh.values),
        "lines": [_line(line) for line in result.lines],
        "flows": [
            {
                "kind": flow.kind.value,
                "payer": flow.payer.value,
                "payee": flow.payee.value,
                "amount_milli": flow.amount_milli,
            }
            for flow in result.flows
        ],
        "total_milli": result.total_milli,
        "holder_milli": holder_milli(order, result),
        "difference_milli": difference_milli,
    }


def _line(line: QuoteLine) -> dict[str, Any]:
    return {
        "kind": line.kind.value,
        "title": line.title,
        "energy_wh": line.energy_wh,
        "price_micro_per_kwh": line.price_micro_per_kwh,
        "amount_milli": line.amount_milli,
    }


def _cancellation(order: Order, moved_milli: int) -> dict[str, Any] | None:
    """What a cancelled order came to for the holder; None when that is nothing, or when it was not cancelled."""
    if not order.cancelled_by or not moved_milli:
        return None
    paid = -moved_milli if order.side is Side.BUYER else moved_milli
    lines = order.quote.lines if order.quote else ()
    if sum(line.amount_milli for line in lines) != paid:
        fee = LineKind.CANCELLATION_FEE
        lines = (QuoteLine(fee, TITLES[fee], paid),)
    return {"lines": [_line(line) for line in lines], "total_milli": paid, "holder_milli": moved_milli}


def _slots(order: Order) -> list[dict[str, Any]]:
    """Every slot that holds energy: contracted, each side's allocation, final, price, and what the energy cost."""
    final = order.settlement.delivered_wh if order.settlement else None
    exact = order.policy.rounding is Rounding.SLOT and final is not None
    shown = []
    for index, (slot, contracted) in enumerate(order.contracted_wh.items()):
        row: dict[str, Any] = {
            "start": instant(slot.start),
            "end": instant(slot.end),
            "contracted_wh": contracted,
            "curtailed_wh": _at(order.curtailed_wh, index),
            "buyer_alloc_wh": _at(order.buyer_alloc_wh, index),
            "seller_alloc_wh": _at(order.seller_alloc_wh, index),
            "final_wh": _at(final, index),
            "price_micro_per_kwh": order.price_micro_per_kwh.values[index],
        }
        if not any(row[name] for name in row if name.endswith("_wh")):
            continue
        row["energy_milli"] = (
            milli_from_nano((row["final_wh"] or 0) * row["price_micro_per_kwh"], order.currency) if exact else None
        )
        shown.append(row)
    return shown


def _at(series: Series | None, index: int) -> int | None:
    return None if series is None or index >= len(series.values) else series.values[index]


# --- Money ------------------------------------------------------------------------------------------------------------


def _movements(movements: Sequence[Movement], brought_milli: Mapping[str, int]) -> list[dict[str, Any]]:
    """Every movement with the balance it led to."""
    balance, shown = dict(brought_milli), []
    for movement in movements:
        balance[movement.currency] = balance.get(movement.currency, 0) + movement.amount_milli
        shown.append(
            {
                "at": instant(movement.at),
                "transfer_id": movement.transfer_id,
                "order_id": movement.order_id,
                "memo": movement.memo,
                "currency": movement.currency,
                "amount_milli": movement.amount_milli,
                "balance_milli": balance[movement.currency],
            }
        )
    return shown


def _totals(
    holder: Holder,
    orders: Sequence[Mapping[str, Any]],
    movements: Sequence[Movement],
    brought_milli: Mapping[str, int],
) -> list[dict[str, Any]]:
    """What it comes to in each currency."""
    currencies = set(brought_milli) | {movement.currency for movement in movements}
    currencies |= {order["currency"] for order in orders}
    return [
        {"currency": currency}
        | _total(
            [order for order in orders if order["currency"] == currency],
            brought=brought_milli.get(currency, 0),
            moved=sum(movement.amount_milli for movement in movements if movement.currency == currency),
            sign=-1 if holder.kind == "account" else 1,
        )
        for currency in sorted(currencies)
    ]


def _total(orders: Sequence[Mapping[str, Any]], *, brought: int, moved: int, sign: int) -> dict[str, Any]:
    """One currency. `due_milli` is what a consumer was charged or a provider earned; the invoice total rounds it once,
    half away from zero, and `rounding_milli` is what that left over."""
    versions = [version for order in orders for version in order["versions"]]
    first = sum(version["difference_milli"] for version in versions if version["version"] == 1)
    corrected = sum(version["difference_milli"] for version in versions if version["version"] > 1)
    fees = sum(order["cancellation"]["holder_milli"] for order in orders if order["cancellation"])
    due = sign * (first + corrected + fees)
    invoice_minor = minor_from_milli(due)
    return {
        "energy_wh": sum(order["versions"][-1]["energy_wh"] for order in orders if order["versions"]),
        "brought_forward_milli": brought,
        "settled_milli": first,
        "corrected_milli": corrected,
        "cancellation_fees_milli": fees,
        "other_milli": moved - first - corrected - fees,
        "carried_forward_milli": brought + moved,
        "due_milli": due,
        "invoice_total_minor": invoice_minor,
        "rounding_milli": due - milli_from_minor(invoice_minor),
    }


def check(document: Mapping[str, Any]) -> None:
    """Prove that a statement adds up; raises BooksDisagree with the first order or currency that does not."""
    by_order: dict[str, int] = {}
    by_currency: dict[str, int] = {}
    for movement in document["movements"]:
        amount = movement["amount_milli"]
        by_currency[movement["currency"]] = by_currency.get(movement["currency"], 0) + amount
        if movement["order_id"]:
            by_order[movement["order_id"]] = by_order.get(movement["order_id"], 0) + amount
    for order in document["orders"]:
        said = sum(version["difference_milli"] for version in order["versions"])
        said += order["cancellation"]["holder_milli"] if order["cancellation"] else 0
        if said != by_order.pop(order["order_id"], 0):
            raise BooksDisagree(f"order {order['order_id']}: its settlements make {said}, the ledger moved another sum")
    for order_id, amount in by_order.items():
        if amount:
            raise BooksDisagree(f"order {order_id}: the ledger moved {amount} that no settlement says")
    for total in document["totals"]:
        carried = total["brought_forward_milli"] + by_currency.pop(total["currency"], 0)
        if carried != total["carried_forward_milli"]:
            raise BooksDisagree(f"{total['currency']}: {total['carried_forward_milli']} is carried, not {carried}")
