"""A statement on paper, as a person keeps it: who, when, what it comes to, every order, its slots, every movement.

Times are of the statement's own zone. Amounts carry all their places, three more than the currency has; the invoice
total alone is rounded. A month prints its orders; its slots are printed in the statements of its days and of each
order, and are whole in the JSON and CSV forms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from books.paper import Column, Paper
from trade.money import currency_exponent, decimal_text, price_from_micro

#: Slots that are printed at most.
SLOTS_PRINTED_MAX = 2_000
_MINUTE, _CLOCK = "%Y-%m-%d %H:%M", "%H:%M"

_TOTALS = (
    ("Brought forward", "brought_forward_milli"),
    ("Orders settled", "settled_milli"),
    ("Corrections of orders settled before", "corrected_milli"),
    ("Cancellation fees", "cancellation_fees_milli"),
    ("Paid in, paid out and other movements", "other_milli"),
    ("Carried forward", "carried_forward_milli"),
)
_ORDERS = (
    Column("Delivery", 25), Column("Order", 55), Column("With", 32), Column("What", 21),
    Column("kWh", 16, is_number=True), Column("Amount", 25, is_number=True),
)  # fmt: skip
_LINES = (
    Column("Order", 55), Column("Settled", 25), Column("Version", 12, is_number=True), Column("Line", 26),
    Column("kWh", 16, is_number=True), Column("Per kWh", 16, is_number=True), Column("Charge", 24, is_number=True),
)  # fmt: skip
_SLOTS = (
    Column("Slot", 32), Column("Order", 55), Column("Contracted", 16, is_number=True),
    Column("Buyer's", 12, is_number=True), Column("Seller's", 13, is_number=True), Column("Final", 12, is_number=True),
    Column("Per kWh", 14, is_number=True), Column("Energy", 20, is_number=True),
)  # fmt: skip
_MOVEMENTS = (
    Column("Booked", 25), Column("What", 40), Column("Order", 55), Column("Amount", 27, is_number=True),
    Column("Balance", 27, is_number=True),
)  # fmt: skip


def pdf_bytes(document: Mapping[str, Any]) -> bytes:
    """The bytes of the print: the same for the same statement."""
    period, number = document["period"], document.get("invoice_number")
    title = f"Invoice {number}" if number else "Statement"
    paper = Paper(foot=f"{title} of {document['holder']['id']} by {document['node']}")
    zone = ZoneInfo(period["zone"] if period else "UTC")
    paper.title(f"{title} {period['name']}" if period else f"{title} of an order")
    paper.facts(_facts(document, zone))
    for total in document["totals"]:
        _print_total(paper, total, document["holder"]["kind"])
    is_month = bool(period) and len(period["name"]) == len("2017-05")
    parts = [part for name in ("totals", "orders", "movements") for part in document[name]]
    currencies = list(dict.fromkeys(part["currency"] for part in parts))
    for currency in currencies:
        of_it = f" in {currency}" if len(currencies) > 1 else ""
        if orders := [order for order in document["orders"] if order["currency"] == currency]:
            _print_orders(paper, orders, zone, of_it=of_it, is_month=is_month)
        if movements := [movement for movement in document["movements"] if movement["currency"] == currency]:
            paper.heading(f"Movements{of_it}")
            paper.table(_MOVEMENTS, _movement_rows(movements, zone))
    return paper.print(title=f"{title} {document['holder']['id']}")


def _facts(document: Mapping[str, Any], zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    holder, period = document["holder"], document["period"]
    yield ("Consumer" if holder["kind"] == "account" else "Provider"), holder["name"] or holder["id"]
    yield ("Account" if holder["kind"] == "account" else "Provider id"), holder["id"]
    yield "Issued by", document["node"]
    if period:
        yield "Period", f"{_local(period['start'], zone)} to {_local(period['end'], zone)}"
    yield "Times are of", zone.key
    if "issued_at" in document:
        yield "Issued on", _local(document["issued_at"], zone)


def _print_total(paper: Paper, total: Mapping[str, Any], kind: str) -> None:
    currency = total["currency"]
    paper.heading(f"In {currency}")
    columns = (Column("", 124), Column("Amount", 50, is_number=True))
    rows = [(name, _amount(total[key], currency)) for name, key in _TOTALS if total[key] or "forward" in name]
    paper.table(columns, rows, last_is_sum=True)
    due = "Charged" if kind == "account" else "Earned"
    places = currency_exponent(currency)
    paper.table(
        (Column(due, 124), Column(f"{total['energy_wh'] / 1000:.3f} kWh", 50, is_number=True)),
        [
            ("Exact, in thousandths of a minor unit", _amount(total["due_milli"], currency)),
            (
                "Left over by rounding the total once; it stays in the balance",
                _amount(total["rounding_milli"], currency),
            ),
            ("Total", f"{decimal_text(total['invoice_total_minor'], places=places)} {currency}"),
        ],
        last_is_sum=True,
    )


def _print_orders(
    paper: Paper, orders: Sequence[Mapping[str, Any]], zone: ZoneInfo, *, of_it: str, is_month: bool
) -> None:
    """The orders of one currency, which `of_it` names where the statement has several."""
    paper.heading(f"Orders{of_it}")
    paper.table(_ORDERS, _order_rows(orders, zone))
    paper.heading("Lines of the settlements")
    paper.note(
        "Charges are what the buyer pays. A later version replaces the one before; the difference is the booking."
    )
    paper.table(_LINES, _line_rows(orders, zone))
    slots = sum(len(order["slots"]) for order in orders)
    if is_month or slots > SLOTS_PRINTED_MAX:
        paper.note("The slots of each order are printed in the statement of its day; the JSON and CSV forms have all.")
        return
    paper.heading("Slots, in Wh")
    paper.table(_SLOTS, _slot_rows(orders, zone))


def _order_rows(orders: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> Iterator[tuple[str, ...]]:
    for order in orders:
        known = (_local(order["delivery_start"], zone), order["wire_order_id"] or order["order_id"])
        with_whom = order["provider_name"] or order["counterparty"]
        for version in order["versions"]:
            what = "Settlement" if version["version"] == 1 else _note_kind(version["difference_milli"])
            yield (*known, with_whom, what, _kwh(version["energy_wh"]),
                   _amount(version["difference_milli"], order["currency"]))  # fmt: skip
        if order["cancellation"]:
            yield (*known, with_whom, "Cancellation", "",
                   _amount(order["cancellation"]["holder_milli"], order["currency"]))  # fmt: skip


def _note_kind(difference_milli: int) -> str:
    return "Credit note" if difference_milli >= 0 else "Debit note"


def _line_rows(orders: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> Iterator[tuple[str, ...]]:
    for order in orders:
        known = order["wire_order_id"] or order["order_id"]
        for version in order["versions"]:
            for line in version["lines"]:
                yield (known, _local(version["settled_at"], zone), str(version["version"]), _words(line["kind"]),
                       _kwh(line["energy_wh"]), _price(line["price_micro_per_kwh"]),
                       _amount(line["amount_milli"], order["currency"]))  # fmt: skip
        for line in order["cancellation"]["lines"] if order["cancellation"] else ():
            yield (known, "", "", "Cancellation fee", "", "", _amount(line["amount_milli"], order["currency"]))


def _slot_rows(orders: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> Iterator[tuple[str, ...]]:
    for order in orders:
        for slot in order["slots"]:
            end = datetime.fromisoformat(slot["end"]).astimezone(zone)
            yield (
                f"{_local(slot['start'], zone)}-{end:{_CLOCK}}",
                order["wire_order_id"] or order["order_id"],
                *(_wh(slot[name]) for name in ("contracted_wh", "buyer_alloc_wh", "seller_alloc_wh", "final_wh")),
                _price(slot["price_micro_per_kwh"]),
                "" if slot["energy_milli"] is None else _amount(slot["energy_milli"], order["currency"]),
            )


def _movement_rows(movements: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> Iterator[tuple[str, ...]]:
    for movement in movements:
        yield (
            _local(movement["at"], zone),
            _what(movement["memo"]),
            movement["order_id"],
            _amount(movement["amount_milli"], movement["currency"]),
            _amount(movement["balance_milli"], movement["currency"]),
        )


def _words(kind: str) -> str:
    return kind.capitalize().replace("_", " ")


def _what(memo: str) -> str:
    """What a movement was for, in a person's words."""
    if memo.startswith("settle/"):
        return "Settlement" if memo == "settle/1" else "Correction"
    return "Cancellation fee" if memo == "cancel" else memo.capitalize()


def _local(instant: str, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(instant).astimezone(zone).strftime(_MINUTE)


def _amount(amount_milli: int, currency: str) -> str:
    return decimal_text(amount_milli, places=currency_exponent(currency) + 3)


def _kwh(energy_wh: int | None) -> str:
    return "" if energy_wh is None else decimal_text(energy_wh, places=3)


def _wh(energy_wh: int | None) -> str:
    return "-" if energy_wh is None else str(energy_wh)


def _price(price_micro_per_kwh: int | None) -> str:
    return "" if price_micro_per_kwh is None else price_from_micro(price_micro_per_kwh)
