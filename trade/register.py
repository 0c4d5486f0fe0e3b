"""Registers: meters that show how much has passed in all. Two stands, one after the other, make a reading.

A register of so many digits begins anew at zero when it is full (roll-over). A stand that is lower than the one before
is taken for a roll-over only when the energy that follows from it is possible; otherwise the meter was exchanged or
the stand misread, and the count begins again at the new stand.
"""

from __future__ import annotations

from datetime import datetime

from trade.reading import ROLLED_OVER, SLOT_S_MAX, SLOT_S_MIN, SLOT_WH_MAX, Reading, shown

#: A stand is below this, Wh; keeps sums inside 64 bits.
STAND_WH_MAX = 10**15
#: Without a rated limit a home's meter is taken to carry no more than this, watts.
USUAL_W_MAX = 100_000
_HOUR_S = 3600


class StandRefused(ValueError):
    """A stand that makes no reading; the sentence says why."""


class Register:
    """Turns the stands of one register, in order of time, into readings.

    `modulus_wh` is what the register begins anew at (0: the next power of ten above the last stand); `rated_w` bounds
    what can have passed between two stands.
    """

    def __init__(self, *, modulus_wh: int = 0, rated_w: int = 0) -> None:
        self._modulus_wh, self._rated_w = modulus_wh, rated_w or USUAL_W_MAX
        self._at: datetime | None = None
        self._stand_wh = 0

    def read(self, at: datetime, stand_wh: int) -> Reading:
        """The energy since the stand before. Raises StandRefused, also for the first stand, which opens the count."""
        if not 0 <= stand_wh < STAND_WH_MAX:
            raise StandRefused(f"the stand {stand_wh} Wh is outside 0 to {STAND_WH_MAX}")
        last_at, last_wh = self._at, self._stand_wh
        if last_at is not None and at <= last_at:
            raise StandRefused(f"the stand is of {shown(at)}, not after the one before; put stands in order of time")
        self._at, self._stand_wh = at, stand_wh
        if last_at is None:
            raise StandRefused("it is the register's first stand: it opens the count and is no energy by itself")
        slot_s = int((at - last_at).total_seconds())
        if not SLOT_S_MIN <= slot_s <= SLOT_S_MAX:
            raise StandRefused(
                f"{slot_s} s have passed since the stand before; a reading covers {SLOT_S_MIN} to {SLOT_S_MAX} s"
            )
        energy_wh = stand_wh - last_wh
        if energy_wh >= 0:
            return Reading(last_at, slot_s, min(energy_wh, SLOT_WH_MAX + 1))
        modulus_wh = self._modulus_wh or 10 ** len(str(last_wh))
        energy_wh += modulus_wh
        if not 0 <= energy_wh <= self._rated_w * slot_s // _HOUR_S:
            raise StandRefused(
                f"the register went back from {last_wh} to {stand_wh} Wh, too far for a roll-over; was the meter"
                " exchanged? The count begins again here"
            )
        return Reading(last_at, slot_s, energy_wh, reason=f"{ROLLED_OVER} from {last_wh} to {stand_wh} Wh")
