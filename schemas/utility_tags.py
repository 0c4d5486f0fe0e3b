"""Tag groups <-> plain tuples: what a seller's node asks its utility to carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from schemas.tags import GRID_TRADE, ID_CHARS_MAX, group_from_wire, group_to_wire, text_in
from schemas.values import currency_from_wire, refuse


class GridTradeTag(NamedTuple):
    """Which meters trade, and in which currency; `buyer_meter_id` is empty where the buyer has named none."""

    seller_meter_id: str
    buyer_meter_id: str
    currency: str


def grid_trade_to_wire(trade: GridTradeTag) -> dict[str, Any]:
    """GRID_TRADE with what is said."""
    said = {"seller_meter": trade.seller_meter_id, "currency": trade.currency}
    if trade.buyer_meter_id:
        said["buyer_meter"] = trade.buyer_meter_id
    return group_to_wire(GRID_TRADE, said)


def grid_trade_from_wire(groups: Iterable[Mapping[str, Any]] | None, *, path: str) -> GridTradeTag:
    """The meters and the currency; raises WireRefusal when the group or the seller's meter is missing."""
    where = f"{path}.{GRID_TRADE}"
    said = group_from_wire(groups, GRID_TRADE)
    if said is None or not said.get("seller_meter"):
        raise refuse(f"{where}.seller_meter", "is missing; say whose energy is to be carried.")
    return GridTradeTag(
        text_in(said, "seller_meter", where, longest=ID_CHARS_MAX),
        text_in(said, "buyer_meter", where, longest=ID_CHARS_MAX),
        currency_from_wire(said.get("currency"), path=f"{where}.currency"),
    )
