"""Callbacks that carry no order: tracking, support, ratings, lists of choices, refusals."""

from __future__ import annotations

from typing import Any

from bap.translate.views import FormView, ReasonView, SupportView, TrackingView


def error_from_wire(error: dict[str, Any] | None) -> tuple[str, str]:
    """Code and sentence of an error callback, with something to show when the seller gave none."""
    error = error or {}
    code = str(error.get("code") or "40000")
    return code, error.get("message") or f"The seller refused with error {code} and did not say why."


def tracking_from_wire(message: dict[str, Any]) -> TrackingView:
    """Where a delivery can be watched."""
    tracking = message.get("tracking") or {}
    return TrackingView(tracking.get("url", ""), tracking.get("status", "inactive").lower())


def support_from_wire(message: dict[str, Any]) -> SupportView:
    """How to reach whoever helps."""
    support = message.get("support") or {}
    phone = support.get("phone") or support.get("callback_phone") or ""
    return SupportView(phone, support.get("email", ""), support.get("url", ""))


def reasons_from_wire(message: dict[str, Any]) -> list[ReasonView]:
    """The reasons for cancelling a seller knows."""
    return [
        ReasonView(option["id"], _name(option.get("descriptor") or {}) or option["id"])
        for option in message.get("cancellation_reasons") or ()
    ]


def _name(descriptor: dict[str, Any]) -> str:
    name: str = descriptor.get("name") or descriptor.get("short_desc") or ""
    return name


def categories_from_wire(message: dict[str, Any]) -> list[str]:
    """What a seller lets itself be rated for."""
    return list(message.get("rating_categories") or ())


def rating_form_from_wire(message: dict[str, Any]) -> FormView | None:
    """The feedback form of an on_rating, when there is one."""
    feedback = message.get("feedback_form") or {}
    url = (feedback.get("form") or {}).get("url", "")
    return FormView(url, bool(feedback.get("required"))) if url else None
