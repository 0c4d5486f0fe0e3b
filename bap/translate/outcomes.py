"""What became of an order, in tag groups: what a seller says of it, and what we tell a seller.

Everything we tell goes in an `update` whose target names the tag group; beside it stands the contract as it is, so that
a seller that knows no such group sees a change of nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bap.translate.requests import update_to_wire
from bap.translate.views import AllocationView, DisputeView, OutcomeView, ResolutionView
from schemas import outcome_tags, tags, values
from trade.money import Series, currency_exponent
from trade.order import Order


def outcome_from_wire(wire: dict[str, Any], currency: str) -> OutcomeView:
    """Allocations, dispute and resolution in a seller's order; raises WireRefusal for one that cannot be read.

    `currency` is that of the order's quote; without one amounts are not read.
    """
    groups, path = wire.get("tags"), "message.order.tags"
    return OutcomeView(
        buyer_alloc=_allocation(groups, tags.BUYER_ALLOC, path),
        seller_alloc=_allocation(groups, tags.SELLER_ALLOC, path),
        final=_allocation(groups, tags.FINAL_ALLOC, path),
        dispute=_dispute(groups, currency, path),
        resolution=_resolution(groups, currency, path),
    )


def _allocation(groups: Any, code: str, path: str) -> AllocationView | None:
    found = tags.allocation_from_wire(groups, code, path=path)
    if found is None:
        return None
    return AllocationView(Series(found.start, found.slot_s, found.values), found.round, found.by == "UTILITY")


def _dispute(groups: Any, currency: str, path: str) -> DisputeView | None:
    found = outcome_tags.dispute_from_wire(groups, path=path)
    if found is None:
        return None
    total_milli = _amount(found.total, currency, f"{path}.{tags.DISPUTE}.total")
    return DisputeView(found.dispute_id, found.state == "OPEN", found.reason, total_milli, found.until)


def _resolution(groups: Any, currency: str, path: str) -> ResolutionView | None:
    found = outcome_tags.resolution_from_wire(groups, path=path)
    if found is None:
        return None
    total_milli = _amount(found.total, currency, f"{path}.{tags.RESOLUTION}.total")
    return ResolutionView(found.dispute_id, found.outcome, found.by, total_milli, found.note)


def _amount(text: str, currency: str, path: str) -> int | None:
    if not text or not currency:
        return None
    return values.amount_from_wire(text, exponent=currency_exponent(currency), path=path)


def allocation_to_wire(order: Order, alloc_wh: Series, round_: int) -> dict[str, Any]:
    """The message of an update that tells our allocation of a round."""
    return _update(order, tags.BUYER_ALLOC, [_alloc(tags.BUYER_ALLOC, alloc_wh, round_)])


def dispute_to_wire(order: Order, final_wh: Series | None, round_: int) -> dict[str, Any]:
    """The message of an update that objects: our reason and our figure, and the energy we settle, if we could.

    Raises ValueError for an order without a dispute.
    """
    dispute = order.dispute
    if dispute is None:
        raise ValueError(f"order {order.order_id} has no dispute to tell about")
    total = "" if dispute.buyer_total_milli is None else _text(dispute.buyer_total_milli, order.currency)
    said = outcome_tags.DisputeTag(
        dispute_id=dispute.dispute_id,
        state="OPEN",
        opened_by=dispute.opened_by.value,
        reason=dispute.reason,
        total=total,
        opened_at=dispute.opened_at,
        until=dispute.until,
    )
    groups = [outcome_tags.dispute_to_wire(said)]
    if final_wh is not None:
        groups.append(_alloc(tags.FINAL_ALLOC, final_wh, round_))
    return _update(order, tags.DISPUTE, groups)


def resolution_to_wire(order: Order, due_milli: int, note: str = "") -> dict[str, Any]:
    """The message of an update that tells how we decided, and what we owe now. Raises ValueError without a dispute."""
    dispute = order.dispute
    if dispute is None:
        raise ValueError(f"order {order.order_id} has no dispute that was decided")
    said = outcome_tags.ResolutionTag(
        dispute.dispute_id, dispute.resolution, "BUYER", _text(due_milli, order.currency), note
    )
    return _update(order, tags.RESOLUTION, [outcome_tags.resolution_to_wire(said)])


def _alloc(code: str, series: Series, round_: int) -> dict[str, Any]:
    return tags.allocation_to_wire(code, tags.AllocationTag(series.start, series.slot_s, series.values, round_))


def _text(amount_milli: int, currency: str) -> str:
    return values.amount_to_wire(amount_milli, exponent=currency_exponent(currency))


def _update(order: Order, code: str, groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    message = update_to_wire(order, order.contracted_wh)
    wire = {**message["order"], "tags": [*message["order"].get("tags", ()), *groups]}
    return {"update_target": f"order.tags.{code}", "order": wire}
