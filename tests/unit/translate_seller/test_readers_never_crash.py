"""Whatever the accept profile lets in, a reader understands it or refuses it by name; nothing else ever happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings

import bap.translate as buyer
import bpp.translate as seller
from bpp.translate import WireRefusal
from schemas import validate
from tests.support.trade_cases import EVENING_BEFORE, an_order
from tests.support.wire_cases import mutants


def quote_of(message: dict[str, Any]) -> buyer.QuoteView:
    order = (message["order"]["items"] or [{"id": ""}])[0]
    return buyer.quote_from_wire(message, an_order(offer_id=order["id"] or "x"), EVENING_BEFORE)


READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "search": seller.intent_from_wire,
    "select": seller.selection_from_wire,
    "init": seller.selection_from_wire,
    "confirm": seller.selection_from_wire,
    "status": seller.status_from_wire,
    "track": seller.track_from_wire,
    "cancel": seller.cancel_from_wire,
    "update": seller.update_from_wire,
    "rating": seller.rating_from_wire,
    "support": seller.support_from_wire,
    "on_search": lambda message: buyer.catalog_from_wire(message, "bpp.example"),
    "on_select": quote_of,
    "on_init": quote_of,
    "on_confirm": buyer.order_from_wire,
    "on_status": buyer.order_from_wire,
    "on_update": buyer.order_from_wire,
    "on_cancel": buyer.order_from_wire,
    "on_track": buyer.tracking_from_wire,
    "on_rating": buyer.rating_form_from_wire,
    "on_support": buyer.support_from_wire,
    "cancellation_reasons": buyer.reasons_from_wire,
    "rating_categories": buyer.categories_from_wire,
}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(letter=mutants())
def test_a_reader_understands_or_refuses_what_was_accepted(letter: dict[str, Any]) -> None:
    context = letter.get("context")
    action = context.get("action") if isinstance(context, dict) else None
    if not isinstance(action, str) or action not in READERS:
        return
    try:
        validate.check(action, letter, profile="accept")
    except validate.Invalid:
        return
    if "error" in letter:
        code, sentence = buyer.error_from_wire(letter["error"])
        assert code
        assert sentence
        return
    try:
        READERS[action](letter["message"])
    except WireRefusal as refusal:
        assert refusal.code.isdigit()
        assert refusal.path.startswith("message")
        assert refusal.sentence.startswith(refusal.path)
