"""Answers that carry no order: tracking, support, ratings, lists of choices, refusals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.values import WireRefusal
from trade.order import Order

#: The member of the message that an error callback carries, empty, beside the error: the least that core and onix
#: peers accept. Their schemas demand it; ours and the network's Layer 2 would do without.
_EMPTY_MEMBERS: dict[str, tuple[str, type[dict[str, Any]] | type[list[Any]]] | None] = {
    "on_search": ("catalog", dict),
    "on_track": ("tracking", dict),
    "on_rating": None,
    "on_support": None,
    "cancellation_reasons": ("cancellation_reasons", list),
    "rating_categories": ("rating_categories", list),
}


def refusal_to_wire(action: str, refusal: WireRefusal) -> tuple[dict[str, Any], dict[str, str]]:
    """Message and error of the callback `action` that refuses a request."""
    member = _EMPTY_MEMBERS.get(action, ("order", dict))
    return {member[0]: member[1]()} if member else {}, refusal.error()


def tracking_to_wire(order: Order, *, url: str = "", is_active: bool = True) -> dict[str, Any]:
    """The message of an on_track: where the delivery can be watched."""
    tracking: dict[str, Any] = {"id": order.wire_order_id or order.order_id}
    if url:
        tracking["url"] = url
    tracking["status"] = "active" if is_active and url else "inactive"
    return {"tracking": tracking}


def support_to_wire(ref_id: str, *, phone: str = "", email: str = "", url: str = "") -> dict[str, Any]:
    """The message of an on_support: at least one of phone (E.164), e-mail and URL is needed."""
    support = {"ref_id": ref_id, "phone": phone, "email": email, "url": url}
    return {"support": {name: value for name, value in support.items() if value}}


def feedback_to_wire(form_url: str = "") -> dict[str, Any]:
    """The message of an on_rating: an optional form for those who have more to say."""
    if not form_url:
        return {}
    return {"feedback_form": {"form": {"url": form_url, "mime_type": "text/html"}, "required": False}}


def reasons_to_wire(reasons: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The message of a cancellation_reasons, from pairs of id and sentence."""
    return {"cancellation_reasons": [{"id": id_, "descriptor": {"code": id_, "name": name}} for id_, name in reasons]}


def categories_to_wire(categories: Iterable[str]) -> dict[str, Any]:
    """The message of a rating_categories."""
    return {"rating_categories": list(categories)}
