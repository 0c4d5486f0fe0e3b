"""What the statement desks of both nodes share: which period is asked for, and a page of settled orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import Field

from api.desk import Answer, Call
from api.paging import Page, cursor
from api.problems import ApiError
from trade import periods
from trade.periods import Period, PeriodInvalid


class SettledQuery(Page):
    """Which settled orders: with whom, and of which civil day or month their delivery's end."""

    counterparty_id: str = Field(min_length=1, max_length=255)
    period: str | None = Field(default=None, max_length=20)
    zone: str | None = Field(default=None, max_length=64)


def period_asked(call: Call[Any], name: str, zone: str | None) -> Period:
    """The civil day or month of that name, in the node's own zone when none is named; 422 for any other text."""
    try:
        return periods.period(name, zone or call.node.settings.billing_zone)
    except PeriodInvalid as refusal:
        raise ApiError(422, str(refusal), field=refusal.field) from refusal


def settled_page(found: Sequence[Mapping[str, Any]], limit: int) -> Answer:
    """Settled orders as a page, by wire id."""
    following = cursor(found[-1]["wire_order_id"]) if len(found) == limit else None
    return Answer(orjson.dumps({"items": found, "next": following}))
