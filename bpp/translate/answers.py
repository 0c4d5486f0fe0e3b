"""Answers that carry no order: tracking, support, ratings, lists of choices, refusals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.values import WireRefusal
from trade.order import Order

#: What an error callback carries beside the error: the emptiest message that core and onix peers accept. Their
#: schemas demand the member, ours and the network's Layer 2 would do without.
_EMPTY: dict[str, dict[str, Any]] = {
    "on_search": {"catalog": {}},
    "on_track": {"tracking": {}},
    "on_rating": {},
    "on_support": {},
    "cancellation_reasons": {"cancellation_reasons": []},
    "rating_categories": {"rating_categories": []},
}


def refusal_to_wire(action: str, refusal: WireRefusal) -> tuple[dict[str, Any], dict[str, str]]:
    """Message and error of the callback `action` that refuses a request."""
    return dict(_EMPTY.get(action, {"order": {}})), refusal.error()


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
