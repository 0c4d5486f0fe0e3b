"""What a grid connection lets a meter export, and how much of it is taken.

The limit guards the sum of held and sold energy over all offers of the meter, in every slot: triggers on `offers` claim
the meter's row and add up (decision 0009). What is set here is checked against what was taken before.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from store.db import UnitOfWork


class LimitBelowTaken(Exception):
    """More is held or sold already than the new limit allows; `starts_at` is the first slot where it is."""

    def __init__(self, starts_at: datetime, over_wh: int) -> None:
        super().__init__(f"{over_wh} Wh too much is held or sold in the slot from {starts_at.isoformat()}")
        self.starts_at, self.over_wh = starts_at, over_wh


async def set_limit(
    uow: UnitOfWork, meter_id: str, *, export_w: int, now_trading: datetime, now_wall: datetime
) -> None:
    """Keep the limit of a meter, W; raises LimitBelowTaken when slots still to come (trading clock) hold more.

    Its offers are locked after the limit is written: a sale that did not see the limit is over by then, and counted.
    """
    await uow.connection.execute(
        "INSERT INTO meter_limits (meter_id, export_w, changed_at) VALUES ($1, $2, $3)"
        " ON CONFLICT (meter_id) DO UPDATE SET export_w = excluded.export_w, changed_at = excluded.changed_at",
        meter_id,
        export_w,
        now_wall,
    )
    rows = await uow.connection.fetch(
        "SELECT offer_id FROM offers WHERE meter_id = $1 AND ends_at > $2 ORDER BY offer_id FOR UPDATE",
        meter_id,
        now_trading,
    )
    rows = await uow.connection.fetch(
        "SELECT starts_at, slot_s, meter_free_wh(meter_id, starts_at, slot_s, cardinality(offered_wh), false) AS free"
        " FROM offers WHERE offer_id = ANY($1)",
        [row["offer_id"] for row in rows],
    )
    over = [
        (row["starts_at"] + timedelta(seconds=row["slot_s"] * place), -free)
        for row in rows
        for place, free in enumerate(row["free"])
        if free < 0
    ]
    if over:
        raise LimitBelowTaken(*min(over))


async def drop_limit(uow: UnitOfWork, meter_id: str) -> None:
    """Leave a meter without a limit."""
    await uow.connection.execute("DELETE FROM meter_limits WHERE meter_id = $1", meter_id)


async def get(uow: UnitOfWork, meter_id: str) -> int | None:
    """The limit of a meter, W; None when there is none."""
    found: int | None = await uow.connection.fetchval("SELECT export_w FROM meter_limits WHERE meter_id = $1", meter_id)
    return found
