"""What tests of a utility share: its meters, and what a seller's node asks it to carry."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from bpp.utility import Request
from tests.support.seller_rig import Seller
from tests.support.trade_cases import SLOT_START
from trade.money import Series

#: Two hours of a kilowatt-hour each.
REQUEST = Request("meter-7", "flat-1", Series(SLOT_START, 3600, (1000, 1000)), "USD")

#: 4 kW x 50 %: two kilowatt-hours in an hour.
METER = {"sanctioned_load_w": 4000, "wheeling_buyer_per_kwh": "0.03", "wheeling_seller_per_kwh": "0.01"}


async def open_grid(utility: Seller, **meters: dict[str, Any]) -> None:
    """Put meters on the grid, by default meter-7 and flat-1."""
    for meter_id, changes in (meters or {"meter-7": {}, "flat-1": {}}).items():
        await utility.asked("PUT", f"/api/utility/meters/{meter_id}", METER | changes)


def a_request(*values: int, **changes: Any) -> Request:
    """A request of its own order, over these energies."""
    energy = Series(SLOT_START, 3600, values) if values else REQUEST.energy_wh
    return replace(REQUEST, energy_wh=energy, order_id=str(uuid.uuid4()), **changes)
