"""From energy, prices and terms to the lines of a quote: what it costs, what cancelling costs.

A quote is a sum of lines: the buyer's share of what full delivery would settle, charge by charge (`settlement`,
`flows`). Buyer and seller price with the same code, so a quote can be proven by recalculation: equal series, rates and
policy give equal lines on both nodes. A node that counts in whole minor units is understood, too
(`agree`): its figures are ours, rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from trade import settlement
from trade.money import (
    Series,
    divide_half_away,
    is_same_or_rounded,
    milli_from_minor,
    minor_from_milli,
)
from trade.order import Order
from trade.quote import (
    TITLES,
    CancellationTerm,
    LineKind,
    Quote,
    QuoteLine,
)

#: Minutes of a civil day.
DAY_MINUTES = 24 * 60

#: (first minute of the local day, end minute exclusive, price in micro-units per kWh); start > end runs past midnight.
Band = tuple[int, int, int]


class TariffInvalid(ValueError):
    """The bands overlap, lie outside a day, or leave a slot without a price."""


class TermsInvalid(ValueError):
    """Cancellation terms that contradict themselves."""


class NotEnoughEnergy(ValueError):
    """More was asked for than is free."""

    def __init__(self, *, asked_wh: int, free_wh: int) -> None:
        super().__init__(f"{asked_wh} Wh were asked for, {free_wh} Wh are free")
        self.asked_wh, self.free_wh = asked_wh, free_wh


class UnableToCancel(Exception):
    """The contract can no longer be cancelled by the buyer."""


def by_kind(lines: Iterable[QuoteLine]) -> dict[LineKind, int]:
    """What the lines come to for each kind, in thousandths of a minor unit; kinds that come to nothing left out."""
    sums: dict[LineKind, int] = {}
    for line in lines:
        sums[line.kind] = sums.get(line.kind, 0) + line.amount_milli
    return {kind: amount for kind, amount in sums.items() if amount}


def agree(said: Iterable[QuoteLine], ours: Iterable[QuoteLine]) -> bool:
    """True when another node's lines are ours kind by kind, exactly or rounded to whole minor units."""
    theirs, own = by_kind(said), by_kind(ours)
    return all(is_same_or_rounded(theirs.get(kind, 0), own.get(kind, 0)) for kind in theirs.keys() | own.keys())


def is_total_of(said_milli: int, lines: Sequence[QuoteLine]) -> bool:
    """True when another node's total is that of our lines: exactly, rounded, or summed from rounded lines."""
    rounded_lines = sum(milli_from_minor(minor_from_milli(line.amount_milli)) for line in lines)
    return said_milli == rounded_lines or is_same_or_rounded(said_milli, sum(line.amount_milli for line in lines))


def quote_of(order: Order, *, energy_wh: Series, now: datetime, ttl_s: int, quote_id: str) -> Quote:
    """A quote for this energy at the order's prices and under its policy.

    It stands for `ttl_s` from `now` (wall clock). Its lines are what the buyer pays when all is delivered
    (`settlement.quote_lines`).
    """
    lines = settlement.quote_lines(order, energy_wh)
    return Quote(quote_id, order.currency, lines, now + timedelta(seconds=ttl_s), ttl_s)


def tou_series(like: Series, bands: Sequence[Band], zone: ZoneInfo) -> Series:
    """Time-of-use prices over the slots of `like`: a slot has the price of the band in which it begins.

    Bands are minutes of the civil day in `zone`, so on a day of 23 or 25 hours the bands move with the clock on the
    wall. Raises TariffInvalid for overlapping or impossible bands and for a slot that begins in no band.
    """
    price_at = _price_by_minute(bands)
    prices = []
    for slot in like.slots():
        local = slot.start.astimezone(zone)
        price = price_at[local.hour * 60 + local.minute]
        if price is None:
            raise TariffInvalid(f"no band covers {local:%H:%M}, when a slot begins")
        prices.append(price)
    return like.with_values(tuple(prices))


def _price_by_minute(bands: Sequence[Band]) -> list[int | None]:
    price_at: list[int | None] = [None] * DAY_MINUTES
    for start, end, price in bands:
        if not (0 <= start < DAY_MINUTES and 0 <= end <= DAY_MINUTES):
            raise TariffInvalid("a band lies within 00:00 and 24:00")
        length = (end - start) % DAY_MINUTES or DAY_MINUTES
        for minute in range(start, start + length):
            if price_at[minute % DAY_MINUTES] is not None:
                raise TariffInvalid(f"two bands cover {minute // 60 % 24:02}:{minute % 60:02}")
            price_at[minute % DAY_MINUTES] = price
    return price_at


def check_terms(terms: Sequence[CancellationTerm]) -> None:
    """Refuse cancellation terms nobody could explain; raises TermsInvalid.

    Each notice occurs once, a fee is 0 to 100 percent, and shorter notice never costs less.
    """
    by_notice = sorted(terms, key=lambda term: term.notice_s_min)
    for term in by_notice:
        if term.notice_s_min < 0 or not 0 <= term.fee_percent <= 100:
            raise TermsInvalid("a notice is 0 s or more and a fee is 0 to 100 percent")
    for shorter, longer in pairwise(by_notice):
        if shorter.notice_s_min == longer.notice_s_min:
            raise TermsInvalid(f"two terms for a notice of {longer.notice_s_min} s")
        if shorter.fee_percent < longer.fee_percent:
            raise TermsInvalid("shorter notice may not cost less")


def cancellation_fee(order: Order, *, now_trading: datetime) -> QuoteLine | None:
    """What the buyer owes for cancelling now; None when it is free.

    fee = round(energy lines of the quote x fee_percent / 100) of the term with the longest notice that is still met;
    a notice met to the second counts. Without terms cancelling is free until delivery begins. Raises
    UnableToCancel when less notice is left than any term allows, or delivery has begun.
    """
    notice_s = (order.delivery_start - now_trading).total_seconds()
    if notice_s < 0:
        raise UnableToCancel("delivery has begun")
    if not order.cancellation_terms:
        return None
    met = [term for term in order.cancellation_terms if notice_s >= term.notice_s_min]
    if not met:
        least_s = min(term.notice_s_min for term in order.cancellation_terms)
        raise UnableToCancel(f"cancelling needs {least_s} s of notice, {int(notice_s)} s are left")
    percent = max(met, key=lambda term: term.notice_s_min).fee_percent
    lines = order.quote.lines if order.quote else settlement.quote_lines(order, order.contracted_wh)
    energy_milli = sum(line.amount_milli for line in lines if line.kind is LineKind.ENERGY)
    fee_milli = divide_half_away(energy_milli * percent, 100)
    if not fee_milli:
        return None
    kind = LineKind.CANCELLATION_FEE
    return QuoteLine(kind=kind, title=TITLES[kind], amount_milli=fee_milli)


def spread_request(available_wh: Series, energy_wh: int) -> Series:
    """A single quantity spread over the free slots, earliest first; raises NotEnoughEnergy.

    For a stranger that asks for so many kWh without saying when; the answer shows it which slots it would get.
    """
    left, values = energy_wh, []
    for free in available_wh.values:
        taken = min(left, max(0, free))
        values.append(taken)
        left -= taken
    if left:
        raise NotEnoughEnergy(asked_wh=energy_wh, free_wh=energy_wh - left)
    return available_wh.with_values(tuple(values))
