"""What a standing order is, when it runs and what it chooses: pure rules; nothing here asks the time or touches a row.

A consumer leaves it once ("every evening, up to this price and quantity, greenest first") and the buyer's node trades
by it every civil day of the order's own zone. A run has a date, a moment at which it begins, and a window in which
energy is to be delivered. Offers are taken slot by slot in the order that was asked for, greenest or cheapest, until
the quantity, the spend limit or the offers are exhausted; what stood in the way is said in sentences.

Daylight saving: a local time that does not exist (02:30 when clocks go forward) is the moment at which they do; one
that exists twice is the first of the two. A window over such a night is an hour shorter or longer than its clock times
say, and empty when all of it falls into the gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from energy_catalog.offers import OfferView, Source
from trade.money import Series, Slot, amount_from_milli, currency_exponent, milli_from_nano, price_from_micro
from trade.order import Order

#: Offers that one run may buy of at most.
PICKS_MAX = 20
#: Decimal places between a thousandth of a minor unit and a billionth of a major one.
_NANO_PLACES = 9 - 3


class Ranking(StrEnum):
    """Which offers a run takes first."""

    CHEAPEST = "CHEAPEST"  # by price with wheeling, then by gCO2
    GREENEST = "GREENEST"  # by gCO2 per kWh (unknown last), then by price with wheeling


@dataclass(frozen=True, slots=True)
class Terms:
    """A standing order's rules. Minutes are of the civil day in `zone`; 1440 is its end.

    A run of date D begins at `at_minute` of D, or `before_delivery_s` before its window, whichever is given; its
    window is `start_minute` to `end_minute` of the day `days_ahead` after D. Energy is wanted in all (`energy_wh`), or
    `slot_wh` in every `slot_s` of the window. Prices are all-in: energy and wheeling.
    """

    zone: str
    days_ahead: int
    start_minute: int
    end_minute: int
    price_micro_per_kwh_max: int
    ranking: Ranking
    at_minute: int | None = None
    before_delivery_s: int | None = None
    energy_wh: int | None = None
    slot_s: int | None = None
    slot_wh: int | None = None
    source: Source | None = None
    score_min: int | None = None
    spend_milli_max: int | None = None


def to_document(terms: Terms) -> dict[str, Any]:
    """The terms as they are stored."""
    return {name: getattr(terms, name) for name in Terms.__slots__}


def from_document(document: dict[str, Any]) -> Terms:
    """The terms as they were stored."""
    source = document["source"]
    given = {"ranking": Ranking(document["ranking"]), "source": Source(source) if source else None}
    return Terms(**document | given)


# --- When ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """One run: its date, the instant it begins at, and the window it buys for (empty when it does not exist)."""

    run_date: date
    at: datetime
    window: Slot


def local_instant(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """The UTC instant of a minute of a civil day; see the module's words on daylight saving."""
    days, rest = divmod(minute, 24 * 60)
    wall = datetime.combine(day + timedelta(days=days), time(rest // 60, rest % 60), tzinfo=zone)
    instant = wall.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return instant
    # In a gap: read by the offset after it, the wall time lies before it; the clocks go forward in between.
    before, offset = wall.replace(fold=1).astimezone(UTC), wall.utcoffset()
    while instant - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(instant - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            instant = middle
    return instant


def run_on(terms: Terms, day: date) -> Due:
    """The run of a date."""
    zone = ZoneInfo(terms.zone)
    delivery_day = day + timedelta(days=terms.days_ahead)
    start = local_instant(delivery_day, terms.start_minute, zone)
    window = Slot(start, max(start, local_instant(delivery_day, terms.end_minute, zone)))
    if terms.at_minute is not None:
        return Due(day, local_instant(day, terms.at_minute, zone), window)
    return Due(day, start - timedelta(seconds=terms.before_delivery_s or 0), window)


def next_run(terms: Terms, *, after: datetime) -> Due:
    """The first run that begins later than an instant (trading clock)."""
    return next(run for run in _runs_around(terms, after) if run.at > after)


def latest_run(terms: Terms, *, now: datetime) -> Due:
    """The newest run that has begun by an instant (trading clock): those before it were missed and stay so."""
    return [run for run in _runs_around(terms, now) if run.at <= now][-1]


def _runs_around(terms: Terms, instant: datetime) -> list[Due]:
    """The runs of the days about an instant, in order of time: a run begins at most so far from its own date."""
    today = instant.astimezone(ZoneInfo(terms.zone)).date()
    spread = terms.days_ahead + (terms.before_delivery_s or 0) // 86_400 + 2
    return [run_on(terms, today + timedelta(days=days)) for days in range(-spread, spread + 1)]


# --- What is wanted -----------------------------------------------------------------------------------------------


def wanted_wh(terms: Terms, window: Slot) -> int:
    """How much a run buys at most, Wh."""
    if terms.energy_wh is not None:
        return terms.energy_wh
    slots = -((window.start - window.end) // timedelta(seconds=terms.slot_s or 1))
    return slots * (terms.slot_wh or 0)


@dataclass(slots=True)
class _Need:
    """What is still wanted: in all, or in each slot of the order's own grid."""

    terms: Terms
    window: Slot
    left_wh: int
    taken_in: dict[int, int] = field(default_factory=dict)

    def of(self, slot: Slot) -> int:
        """How much of this slot is wanted; 0 when the slot spans two of the order's own."""
        bucket = self._bucket(slot)
        if bucket is None:
            return 0
        if self.terms.slot_wh is None:
            return self.left_wh
        return min(self.left_wh, self.terms.slot_wh - self.taken_in.get(bucket, 0))

    def take(self, slot: Slot, energy_wh: int) -> None:
        """So much was taken in this slot."""
        bucket = self._bucket(slot)
        if bucket is not None:
            self.taken_in[bucket] = self.taken_in.get(bucket, 0) + energy_wh
        self.left_wh -= energy_wh

    def _bucket(self, slot: Slot) -> int | None:
        if self.terms.slot_s is None:
            return 0
        step = timedelta(seconds=self.terms.slot_s)
        first = (slot.start - self.window.start) // step
        return first if slot.end <= self.window.start + (first + 1) * step else None


# --- What is chosen -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pick:
    """So much of one offer, over the offer's own slots."""

    offer: OfferView
    energy_wh: Series
    #: What it costs at the offer's prices with wheeling.
    cost_milli: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What a run orders, and why no more."""

    picks: tuple[Pick, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One slot of one offer that may be bought."""

    key: tuple[Any, ...]
    offer: OfferView
    index: int
    slot: Slot
    free_wh: int
    price_micro: int


@dataclass(slots=True)
class _Basket:
    """What is taken while choosing."""

    spend_left_milli: int | None
    wh: dict[str, dict[int, int]] = field(default_factory=dict)
    cost: dict[str, int] = field(default_factory=dict)
    #: Offers whose least order is more than was left to buy.
    left_out: set[str] = field(default_factory=set)
    is_spent: bool = False


def choose(
    offers: Sequence[OfferView],
    terms: Terms,
    *,
    window: Slot,
    currency: str,
    bought: Sequence[Series] = (),
    spent_milli: int = 0,
    now_trading: datetime,
) -> Choice:
    """What to order of these offers, and what stood in the way of more.

    `bought` and `spent_milli` are what earlier rounds of the same run have. Offers below their least order after the
    choice are left out and the choice is made again without them. Slots that have begun are never taken.
    """
    fit = [offer for offer in offers if _is_eligible(offer, terms, currency)]
    candidates = sorted(_candidates(fit, terms, window, now_trading), key=lambda candidate: candidate.key)
    left_out: set[str] = set()
    left = None if terms.spend_milli_max is None else max(0, terms.spend_milli_max - spent_milli)
    while True:
        need = _Need(terms, window, wanted_wh(terms, window))
        for series in bought:
            for slot, energy_wh in series.items():
                if energy_wh:
                    need.take(slot, energy_wh)
        basket = _fill(candidates, need, _Basket(left, left_out=left_out), currency)
        small = _below_least(fit, basket)
        if not small:
            break
        left_out = left_out | small
    picks = tuple(_pick(offer, basket) for offer in fit if basket.wh.get(_name(offer)))
    hindrances = _why(len(offers), fit=len(fit), candidates=len(candidates), need=need, basket=basket)
    return Choice(picks, tuple(hindrances))


def _is_eligible(offer: OfferView, terms: Terms, currency: str) -> bool:
    if offer.currency != currency or (terms.source is not None and offer.source is not terms.source):
        return False
    return terms.score_min is None or (score_of(offer) or 0) >= terms.score_min


def score_of(offer: OfferView) -> int | None:
    """The provider's delivered share of what it promised, per mille; None when its node says none."""
    return offer.provider.delivered_per_mille


def carbon_of(offer: OfferView, index: int) -> int | None:
    """Grams of CO2 per kWh in a slot; None when the seller says none."""
    return None if offer.carbon_g_per_kwh is None else offer.carbon_g_per_kwh.values[index]


def _candidates(offers: Sequence[OfferView], terms: Terms, window: Slot, now_trading: datetime) -> Iterator[_Candidate]:
    for offer in offers:
        slots = list(offer.available_wh.items())
        for index in offer.available_wh.within(max(window.start, now_trading), window.end):
            slot, free_wh = slots[index]
            price_micro = offer.price_micro_per_kwh.values[index] + offer.wheeling_micro_per_kwh
            if free_wh <= 0 or price_micro > terms.price_micro_per_kwh_max:
                continue
            carbon = carbon_of(offer, index)
            green = (carbon is None, carbon or 0)
            first = (green, price_micro) if terms.ranking is Ranking.GREENEST else (price_micro, green)
            key = (*first, slot.start, offer.seller_id, offer.provider.provider_id, offer.offer_id)
            yield _Candidate(key, offer, index, slot, free_wh, price_micro)


def _fill(candidates: Sequence[_Candidate], need: _Need, basket: _Basket, currency: str) -> _Basket:
    nano_each_milli = 10 ** (_NANO_PLACES - currency_exponent(currency))
    for candidate in candidates:
        name = _name(candidate.offer)
        if name in basket.left_out or (name not in basket.wh and len(basket.wh) >= PICKS_MAX):
            continue
        taken = basket.wh.get(name, {})
        most = candidate.offer.order_wh_max
        amount = min(candidate.free_wh, need.of(candidate.slot))
        if most:
            amount = min(amount, most - sum(taken.values()))
        if basket.spend_left_milli is not None and candidate.price_micro:
            affordable = basket.spend_left_milli * nano_each_milli // candidate.price_micro
            basket.is_spent |= affordable < amount
            amount = min(amount, affordable)
        if amount <= 0:
            continue
        cost = -(-amount * candidate.price_micro // nano_each_milli)
        if basket.spend_left_milli is not None:
            basket.spend_left_milli = max(0, basket.spend_left_milli - cost)
        basket.wh[name] = {**taken, candidate.index: amount}
        basket.cost[name] = basket.cost.get(name, 0) + cost
        need.take(candidate.slot, amount)
    return basket


def _below_least(offers: Sequence[OfferView], basket: _Basket) -> set[str]:
    least = {_name(offer): max(1, offer.order_wh_min) for offer in offers}
    return {name for name, taken in basket.wh.items() if sum(taken.values()) < least[name]}


def _pick(offer: OfferView, basket: _Basket) -> Pick:
    """The offer's slots from the first to the last that is taken."""
    taken = basket.wh[_name(offer)]
    first, last = min(taken), max(taken)
    start = offer.available_wh.start + first * timedelta(seconds=offer.available_wh.slot_s)
    values = tuple(taken.get(index, 0) for index in range(first, last + 1))
    return Pick(offer, Series(start, offer.available_wh.slot_s, values), basket.cost[_name(offer)])


def _name(offer: OfferView) -> str:
    return f"{offer.seller_id}|{offer.provider.provider_id}|{offer.offer_id}"


def _why(found: int, *, fit: int, candidates: int, need: _Need, basket: _Basket) -> Iterator[str]:
    """Why no more was chosen of so many offers; nothing when all that is wanted is."""
    if need.left_wh <= 0:
        return
    if not found:
        yield "No seller offered anything."
    if fit < found:
        yield f"{found - fit} offer(s) had another currency or source, or too low a score."
    if fit and not candidates:
        cap = price_from_micro(need.terms.price_micro_per_kwh_max)
        yield f"No offer had energy in the window at {cap} per kWh or less, wheeling included."
    if basket.left_out:
        yield f"{len(basket.left_out)} offer(s) take only larger orders than were left to buy."
    if basket.is_spent:
        yield "The spend limit was reached."
    elif candidates:
        yield f"{need.left_wh} Wh more were wanted than the offers that fit had left in the window."


def fault_of_quote(order: Order, terms: Terms, *, spent_milli: int) -> str:
    """Why a seller's quote breaks the terms; empty when it keeps to them.

    A quote may hold charges that no offer shows (tax, fees), so the total is what is judged: at most the highest price
    for every kWh, give or take one thousandth of a minor unit for each slot of each line that was rounded.
    """
    if order.quote is None:
        return "The seller has quoted nothing."
    total_milli = order.quote.total_milli
    most_milli = milli_from_nano(order.contracted_wh.total * terms.price_micro_per_kwh_max, order.currency)
    if total_milli > most_milli + len(order.quote.lines) * len(order.contracted_wh.values):
        total, most = (amount_from_milli(milli, order.currency) for milli in (total_milli, most_milli))
        return f"The quote of {total} {order.currency} is above the highest price, which makes {most}."
    if terms.spend_milli_max is not None and spent_milli + total_milli > terms.spend_milli_max:
        left = amount_from_milli(max(0, terms.spend_milli_max - spent_milli), order.currency)
        return f"The day's spend limit has {left} {order.currency} left, less than the quote."
    return ""
