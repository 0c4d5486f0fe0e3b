"""What consumer apps send and get about standing orders. Energy in Wh, money in thousandths of a minor unit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, Field, model_validator

from api.paging import Id, Page, Strict
from api.series import EnergySeriesOut, InstantOut, SlotSeconds
from bap import standing, standing_run
from bap.standing import Ranking, Terms
from energy_catalog.offers import Source
from trade.money import DecimalRefused, micro_from_price, price_from_micro

#: Most energy of one run, Wh, and most money of one day: a gigawatt-hour, and what a 64-bit ledger sums safely.
RUN_WH_MAX, SPEND_MILLI_MAX = 10**9, 10**15


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError("no such time zone; send an IANA name such as Europe/Berlin") from None
    return name


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _price(text: str) -> str:
    try:
        micro = micro_from_price(text)
    except DecimalRefused as refusal:
        raise ValueError(str(refusal)) from refusal
    if micro <= 0:
        raise ValueError("a highest price is above 0")
    return text


ZoneName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_zone)]
LocalTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="HH:MM in the order's zone")]
EndTime = Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$", description="HH:MM, or 24:00")]
Price = Annotated[str, Field(max_length=20, description="Decimal, such as 0.25"), AfterValidator(_price)]


class WhenIn(Strict):
    """When a run begins: at a local time, or so long before its window opens (longer than the sellers' gates)."""

    at: LocalTime | None = None
    before_delivery_s: int | None = Field(default=None, ge=0, le=7 * 86_400)

    @model_validator(mode="after")
    def _one_of_both(self) -> WhenIn:
        if (self.at is None) == (self.before_delivery_s is None):
            raise ValueError("send either 'at', a local time, or 'before_delivery_s', and not both")
        return self


class WindowIn(Strict):
    """When energy is to be delivered: clock times of the day so many days after the run's date."""

    days_ahead: int = Field(default=1, ge=0, le=7)
    start: LocalTime = "00:00"
    end: EndTime = "24:00"

    @model_validator(mode="after")
    def _forward(self) -> WindowIn:
        if _minute(self.end) <= _minute(self.start):
            raise ValueError("'end' must lie after 'start'; a window ends at 24:00 at the latest")
        return self


class EnergyIn(Strict):
    """How much: in all, or in every slot of the window."""

    total_wh: int | None = Field(default=None, ge=1, le=RUN_WH_MAX)
    slot_s: SlotSeconds | None = None
    slot_wh: int | None = Field(default=None, ge=1, le=RUN_WH_MAX)

    @model_validator(mode="after")
    def _one_of_both(self) -> EnergyIn:
        if (self.total_wh is None) == (self.slot_wh is None) or (self.slot_s is None) != (self.slot_wh is None):
            raise ValueError("send either 'total_wh', or 'slot_s' with 'slot_wh'")
        return self


class StandingTerms(Strict):
    """What to buy, when, and up to what."""

    zone: ZoneName
    when: WhenIn
    window: WindowIn = WindowIn()
    energy: EnergyIn
    price_per_kwh_max: Price = Field(description="All-in: energy, wheeling and every other charge, major units")
    ranking: Ranking = Ranking.CHEAPEST
    source: Source | None = None
    score_min: int | None = Field(default=None, ge=0, le=1000, description="Delivered per mille of what was promised")
    spend_milli_max: int | None = Field(
        default=None, ge=1, le=SPEND_MILLI_MAX, description="Most to spend a day, thousandths of a minor unit"
    )

    @model_validator(mode="after")
    def _begins_before_its_window(self) -> StandingTerms:
        if self.when.at and self.window.days_ahead == 0 and _minute(self.when.at) >= _minute(self.window.end):
            raise ValueError("the run would begin after its window; begin earlier or buy for a later day")
        return self

    def terms(self) -> Terms:
        """The same as the rules know them."""
        return Terms(
            zone=self.zone,
            at_minute=None if self.when.at is None else _minute(self.when.at),
            before_delivery_s=self.when.before_delivery_s,
            days_ahead=self.window.days_ahead,
            start_minute=_minute(self.window.start),
            end_minute=_minute(self.window.end),
            energy_wh=self.energy.total_wh,
            slot_s=self.energy.slot_s,
            slot_wh=self.energy.slot_wh,
            price_micro_per_kwh_max=micro_from_price(self.price_per_kwh_max),
            ranking=self.ranking,
            source=self.source,
            score_min=self.score_min,
            spend_milli_max=self.spend_milli_max,
        )

    @classmethod
    def given(cls, terms: Terms) -> dict[str, Any]:
        """The rules' terms in these words."""
        return {
            "zone": terms.zone,
            "when": WhenIn(
                at=None if terms.at_minute is None else _clock(terms.at_minute),
                before_delivery_s=terms.before_delivery_s,
            ),
            "window": WindowIn(
                days_ahead=terms.days_ahead, start=_clock(terms.start_minute), end=_clock(terms.end_minute)
            ),
            "energy": EnergyIn(total_wh=terms.energy_wh, slot_s=terms.slot_s, slot_wh=terms.slot_wh),
            "price_per_kwh_max": price_from_micro(terms.price_micro_per_kwh_max),
            "ranking": terms.ranking,
            "source": terms.source,
            "score_min": terms.score_min,
            "spend_milli_max": terms.spend_milli_max,
        }


class StandingIn(StandingTerms):
    """A standing order of one account."""

    account_id: Id
    active: bool = True


class StandingChange(Strict):
    """What is to be different from now on; what is left out stays. Runs that have begun keep their terms."""

    active: bool | None = None
    terms: StandingTerms | None = None


class StandingOut(StandingTerms):
    """A standing order as its app sees it; `next_run_at` (trading clock) is null while it does not run."""

    standing_order_id: str
    account_id: str
    active: bool
    next_run_date: date | None
    next_run_at: InstantOut | None
    created_at: InstantOut

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> StandingOut:
        """From its row."""
        shown = {name: row[name] for name in ("standing_order_id", "account_id", "active", "next_run_date",
                                              "next_run_at", "created_at")}  # fmt: skip
        return cls(**StandingTerms.given(standing.from_document(row["terms"])), **shown)


class StandingQuery(Page):
    """Query of the list of standing orders."""

    account_id: Id | None = None


class RunOrderOut(BaseModel):
    """One order of a run and what became of it."""

    order_id: str
    seller_id: str
    provider_id: str
    offer_id: str
    wanted: EnergySeriesOut
    outcome: standing_run.Outcome
    sentence: str
    bought_wh: int
    total_milli: int


class RunOut(BaseModel):
    """One day's run: what was wanted, what was bought, and why no more."""

    run_date: date
    state: standing_run.RunState
    window_start: InstantOut
    window_end: InstantOut
    transaction_id: str
    wanted_wh: int
    bought_wh: int
    total_milli: int
    rounds: int
    orders: list[RunOrderOut]
    sentences: list[str]
    started_at: InstantOut
    updated_at: InstantOut

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> RunOut:
        """From its row."""
        run = standing_run.from_row(row)
        return cls(
            run_date=run.run_date,
            state=run.state,
            window_start=run.window.start,
            window_end=run.window.end,
            transaction_id=run.transaction_id,
            wanted_wh=standing.wanted_wh(run.terms, run.window),
            bought_wh=sum(wanted.bought_wh for wanted in run.orders),
            total_milli=sum(wanted.total_milli for wanted in run.orders),
            rounds=run.round,
            orders=[
                RunOrderOut(
                    order_id=wanted.order_id,
                    seller_id=wanted.seller_id,
                    provider_id=wanted.provider_id,
                    offer_id=wanted.offer_id,
                    wanted=EnergySeriesOut.of(wanted.energy_wh),
                    outcome=wanted.outcome,
                    sentence=wanted.sentence,
                    bought_wh=wanted.bought_wh,
                    total_milli=wanted.total_milli,
                )
                for wanted in run.orders
            ],
            sentences=run.sentences,
            started_at=row["created_at"],
            updated_at=row["updated_at"],
        )
