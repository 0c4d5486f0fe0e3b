"""Series and prices as the buyer's and the seller's JSON APIs write them.

Only shops that trade import this module: the registry and the gateway may not reach `trade`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, PlainSerializer

from api.paging import Instant, Strict
from trade.money import Series, utc
from trade.reading import SLOT_S_MAX, SLOT_S_MIN, SLOT_WH_MAX

#: The most slots one series may have: a week of five-minute slots.
SLOTS_MAX = 2016

SlotSeconds = Annotated[int, Field(ge=SLOT_S_MIN, le=SLOT_S_MAX, description="Length of a slot, seconds")]
EnergyWh = Annotated[int, Field(ge=0, le=SLOT_WH_MAX)]
PriceMicro = Annotated[int, Field(ge=0, le=1_000_000_000_000)]


def rfc3339(instant: datetime) -> str:
    """An instant as every JSON API writes it: UTC, `Z`, no fraction unless there is one."""
    return utc(instant).isoformat().replace("+00:00", "Z")


#: An instant in answers.
InstantOut = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]


def _whole_second(value: datetime) -> datetime:
    if value.microsecond:
        raise ValueError("a slot starts on a whole second")
    return value


_WholeSecond = Annotated[Instant, AfterValidator(_whole_second)]


class EnergySeriesIn(Strict):
    """Energy over equal, adjoining slots."""

    start: _WholeSecond
    slot_s: SlotSeconds
    energy_wh: tuple[EnergyWh, ...] = Field(min_length=1, max_length=SLOTS_MAX)

    def series(self) -> Series:
        """The same as the rules know it."""
        return Series(utc(self.start), self.slot_s, self.energy_wh)


class PriceSeriesIn(Strict):
    """A price per kWh over equal, adjoining slots, micro-units of the currency."""

    start: _WholeSecond
    slot_s: SlotSeconds
    price_micro_per_kwh: tuple[PriceMicro, ...] = Field(min_length=1, max_length=SLOTS_MAX)

    def series(self) -> Series:
        """The same as the rules know it."""
        return Series(utc(self.start), self.slot_s, self.price_micro_per_kwh)


class EnergySeriesOut(BaseModel):
    """Energy over equal, adjoining slots, Wh."""

    start: InstantOut
    slot_s: int
    energy_wh: tuple[int, ...]

    @classmethod
    def of(cls, series: Series) -> EnergySeriesOut:
        """From the rules' series."""
        return cls.model_construct(start=series.start, slot_s=series.slot_s, energy_wh=series.values)


class CarbonOut(BaseModel):
    """g CO2 per kWh of every slot."""

    start: InstantOut
    slot_s: int
    g_per_kwh: tuple[int, ...]

    @classmethod
    def of(cls, series: Series) -> CarbonOut:
        """From the rules' series."""
        return cls(start=series.start, slot_s=series.slot_s, g_per_kwh=series.values)


class PriceSeriesOut(BaseModel):
    """A price per kWh over equal, adjoining slots, micro-units of the currency."""

    start: InstantOut
    slot_s: int
    price_micro_per_kwh: tuple[int, ...]

    @classmethod
    def of(cls, series: Series) -> PriceSeriesOut:
        """From the rules' series."""
        return cls.model_construct(start=series.start, slot_s=series.slot_s, price_micro_per_kwh=series.values)


def energy_json(series: Series) -> dict[str, Any]:
    """An energy series as the JSON APIs read and write it."""
    return {"start": rfc3339(series.start), "slot_s": series.slot_s, "energy_wh": list(series.values)}
