"""What a meter said of one slot: the words that store, desks, files and rules share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

#: Energy out of the home into the grid, and into the home out of the grid.
EXPORT, IMPORT = "EXPORT", "IMPORT"
FLOWS = (EXPORT, IMPORT)

#: How a value came about: read off the meter, put in for one that is missing, or put right by a person.
MEASURED, ESTIMATED, EDITED = "MEASURED", "ESTIMATED", "EDITED"

#: How the reason of a reading begins whose register began anew at zero (roll-over).
ROLLED_OVER = "the register rolled over"

#: A slot is between a minute and a day long, seconds.
SLOT_S_MIN, SLOT_S_MAX = 60, 86_400
#: Most energy one slot can hold, Wh (a gigawatt-hour); keeps sums inside 64 bits.
SLOT_WH_MAX = 1_000_000_000
#: Nothing was metered by the half hour before this, so an earlier instant is a mistake in the file.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reading:
    """Energy through a meter in [starts_at, starts_at + slot_s), Wh; `reason` says why an estimate or edit was made."""

    starts_at: datetime
    slot_s: int
    energy_wh: int
    quality: str = MEASURED
    reason: str = ""

    @property
    def ends_at(self) -> datetime:
        """The end of the slot (exclusive)."""
        return self.starts_at + timedelta(seconds=self.slot_s)


def why_refused(reading: Reading, *, now_trading: datetime | None = None) -> str:
    """Why this reading cannot be kept, a sentence for whoever sent it; empty when it can.

    Without `now_trading` a slot may be still to come: a reader of files does not know the node's trading clock.
    """
    if not 0 <= reading.energy_wh <= SLOT_WH_MAX:
        return (
            f"energy_wh is {reading.energy_wh} and must be a whole number of Wh from 0 to {SLOT_WH_MAX}; energy the"
            " other way is a reading of the other flow"
        )
    if not SLOT_S_MIN <= reading.slot_s <= SLOT_S_MAX:
        return f"slot_s is {reading.slot_s} and must be from {SLOT_S_MIN} to {SLOT_S_MAX} seconds; send shorter slots"
    if reading.starts_at.microsecond:
        return "the slot must start on a whole second; send an instant without a fraction"
    if reading.starts_at < EARLIEST:
        return f"the slot starts at {shown(reading.starts_at)}, before {EARLIEST.year}; correct the instant"
    if now_trading is not None and reading.ends_at > now_trading:
        return f"the slot ends at {shown(reading.ends_at)}, which is still to come; send it when it is over"
    return ""


def shown(instant: datetime) -> str:
    """An instant as sentences say it: UTC, `Z`."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
