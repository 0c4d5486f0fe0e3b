"""A statement as one CSV table: every record of it in a line, told apart by the first column.

    DOCUMENT   what it is, whose, from whom      SLOT   one slot of an order
    BALANCE    brought and carried forward       LINE   one line of a settlement, with its version
    MOVEMENT   one change of the balance         ORDER  what one settlement changed for the holder
    TOTAL      what it comes to

Energy is whole Wh, money whole thousandths of a minor unit; a spreadsheet adds them exactly.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = (
    "record", "currency", "order_id", "wire_order_id", "counterparty", "start", "end", "kind", "title", "version",
    "contracted_wh", "curtailed_wh", "buyer_alloc_wh", "seller_alloc_wh", "final_wh", "energy_wh",
    "price_micro_per_kwh", "amount_milli", "balance_milli",
)  # fmt: skip
#: What a spreadsheet would take for a formula; such text of another party gets an apostrophe before it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_bytes(document: Mapping[str, Any]) -> bytes:
    """The bytes of the table: RFC 4180, UTF-8, the same for the same statement."""
    sheet = io.StringIO(newline="")
    writer = csv.DictWriter(sheet, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for row in _rows(document):
        writer.writerow({name: _safe(value) for name, value in row.items()})
    return sheet.getvalue().encode()


def _safe(value: Any) -> Any:
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _rows(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    period, number = document["period"] or {"start": "", "end": ""}, document.get("invoice_number")
    yield {
        "record": "DOCUMENT",
        "counterparty": document["node"],
        "start": period["start"],
        "end": period["end"],
        "kind": f"invoice {number}" if number else "statement",
        "title": document["holder"]["id"],
    }
    for total in document["totals"]:
        yield _balance(total, "brought forward", total["brought_forward_milli"], period["start"])
    for order in document["orders"]:
        yield from _order_rows(order)
    for movement in document["movements"]:
        yield {
            "record": "MOVEMENT",
            "currency": movement["currency"],
            "order_id": movement["order_id"],
            "start": movement["at"],
            "kind": movement["memo"],
            "title": movement["transfer_id"],
            "amount_milli": movement["amount_milli"],
            "balance_milli": movement["balance_milli"],
        }
    for total in document["totals"]:
        for name in ("settled", "corrected", "cancellation_fees", "other", "due", "rounding"):
            yield {
                "record": "TOTAL",
                "currency": total["currency"],
                "kind": name,
                "amount_milli": total[f"{name}_milli"],
            }
        yield _balance(total, "carried forward", total["carried_forward_milli"], period["end"])


def _balance(total: Mapping[str, Any], kind: str, amount_milli: int, at: str) -> dict[str, Any]:
    return {
        "record": "BALANCE",
        "currency": total["currency"],
        "start": at,
        "kind": kind,
        "balance_milli": amount_milli,
    }


def _order_rows(order: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    who = {
        "currency": order["currency"],
        "order_id": order["order_id"],
        "wire_order_id": order["wire_order_id"],
        "counterparty": order["counterparty"],
    }
    for slot in order["slots"]:
        shown = {name: value for name, value in slot.items() if name in COLUMNS}
        yield {"record": "SLOT", **who, **shown, "amount_milli": slot["energy_milli"]}
    for version in order["versions"]:
        for line in version["lines"]:
            yield {"record": "LINE", **who, "start": version["settled_at"], "version": version["version"], **line}
        yield {
            "record": "ORDER",
            **who,
            "start": version["settled_at"],
            "kind": "settlement" if version["version"] == 1 else "correction",
            "version": version["version"],
            "energy_wh": version["energy_wh"],
            "amount_milli": version["difference_milli"],
        }
    if order["cancellation"]:
        for line in order["cancellation"]["lines"]:
            yield {"record": "LINE", **who, **line}
        yield {
            "record": "ORDER",
            **who,
            "kind": "cancellation",
            "amount_milli": order["cancellation"]["holder_milli"],
        }
