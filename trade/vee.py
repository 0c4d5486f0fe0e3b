"""Validation, estimation and editing (VEE) of meter data, as meter data managers do it before anybody is paid.

Validation looks and says; it never changes a value. Each `Finding` names its kind, the slot it begins with and a
sentence for a person. Estimation fills slots for which nothing came: short gaps on a straight line between their
neighbours, long ones with the same time of like days. Editing puts one value right. What is filled in is ESTIMATED,
what is put right is EDITED, both with a reason; what was said before stays as the earlier version (store.readings).

Slots are instants in UTC, so a day of 23 or 25 hours is no gap and no duplicate. Only "the same time of day" needs a
zone: the local hour at which a slot begins. The thresholds were chosen on three real homes (61,000 readings of 30 and
60 minutes), in which they find nothing but true gaps.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from statistics import median
from zoneinfo import ZoneInfo

from trade.money import Slot
from trade.reading import EDITED, ESTIMATED, ROLLED_OVER, Reading, shown

HOUR_S, DAY_S = 3600, 86_400
#: A value is a spike when it is above so many times the median of the same time of day ...
SPIKE_MEDIANS = 8
#: ... and above so many times the value that 95 of 100 slots stay below (a home that heats by night is no spike).
SPIKE_P95S = 3
#: Fewer values than this say nothing about what is usual.
USUAL_READINGS_MIN = 96
#: A meter may show a little more than its rated limit, per cent.
RATED_PERCENT = 110
#: More readings above the rated limit than these are no spikes: the file's values are power, or of another meter.
ABOVE_RATED_PERCENT = 1
#: A home's median power lies between these, watts; outside, the file's unit was probably misread.
HOME_W_MIN, HOME_W_MAX = 5, 200_000
#: Values so many times larger or smaller than the rest are probably kWh read as Wh, or Wh as kWh.
UNIT_FACTOR_MIN, UNIT_FACTOR_MAX = 300, 3000
#: Like days looked at on either side of a long gap, and how many of them must have the slot.
LIKE_DAYS_EACH_SIDE, LIKE_DAYS_MIN = 6, 2
#: How far like days may lie from the gap, days.
LIKE_DAYS_REACH = 35
_SATURDAY = 5


class Kind(StrEnum):
    """What can be wrong with a meter's data."""

    GAP = "GAP"
    DUPLICATE = "DUPLICATE"
    OVERLAP = "OVERLAP"
    NEGATIVE = "NEGATIVE"
    SPIKE = "SPIKE"
    ROLLOVER = "ROLLOVER"
    UNIT = "UNIT"
    ZERO_RUN = "ZERO_RUN"


class Method(StrEnum):
    """How a missing slot is estimated."""

    AUTO = "auto"
    LINEAR = "linear"
    PROFILE = "profile"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person should look at, from the beginning of its first slot to the end of its last."""

    kind: Kind
    starts_at: datetime
    ends_at: datetime
    sentence: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What is usual for a meter. `rated_w` 0: not known. A night without export is usual, a day without import not."""

    rated_w: int = 0
    zero_run_s: int = DAY_S
    short_gap_s: int = 2 * HOUR_S


@dataclass(frozen=True, slots=True)
class Estimated:
    """What estimation made of the gaps: readings to keep, and the gaps it could not fill, with why."""

    readings: tuple[Reading, ...]
    left: tuple[Finding, ...]


# --- Validation ----------------------------------------------------------------------------------------------------


def validate(
    readings: Iterable[Reading],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    zone: str = "UTC",
    limits: Limits | None = None,
) -> list[Finding]:
    """Everything that looks wrong, in order of time. `start` and `end` make missing slots at the edges gaps, too."""
    limits = limits or Limits()
    ordered = sorted(readings, key=lambda reading: reading.starts_at)
    single, found = _singled(ordered)
    found += [_gap(gap, slot_length_s(single)) for gap in gaps(single, start=start, end=end)]
    for reading in single:
        if reading.energy_wh < 0:
            sentence = f"{reading.energy_wh} Wh is below zero; energy the other way belongs to the other flow"
            found.append(Finding(Kind.NEGATIVE, reading.starts_at, reading.ends_at, sentence))
        if reading.reason.startswith(ROLLED_OVER):
            found.append(Finding(Kind.ROLLOVER, reading.starts_at, reading.ends_at, reading.reason))
    found += _spikes(single, ZoneInfo(zone), limits)
    found += _units(single, limits)
    found += _zero_runs(single, limits)
    return sorted(found, key=lambda finding: (finding.starts_at, finding.kind))


def slot_length_s(readings: Iterable[Reading]) -> int:
    """The length most of these slots have, seconds; an hour when there are none."""
    counted = Counter(reading.slot_s for reading in readings)
    return counted.most_common(1)[0][0] if counted else HOUR_S


def gaps(readings: Sequence[Reading], *, start: datetime | None = None, end: datetime | None = None) -> list[Slot]:
    """Stretches without a reading between the first and the last (or `start` and `end`); readings in order of time."""
    found = []
    covered = start or (readings[0].starts_at if readings else None)
    for reading in readings:
        if covered is not None and reading.starts_at > covered:
            found.append(Slot(covered, reading.starts_at))
        covered = max(covered or reading.ends_at, reading.ends_at)
    if end is not None and covered is not None and end > covered:
        found.append(Slot(covered, end))
    return found


def local_day_slots(day: date, *, zone: str, slot_s: int) -> list[Slot]:
    """The slots of one local day: 23, 24 or 25 of an hour, 46, 48 or 50 of half an hour."""
    place, step = ZoneInfo(zone), timedelta(seconds=slot_s)
    midnight = datetime(day.year, day.month, day.day, tzinfo=place).astimezone(UTC)
    following = day + timedelta(days=1)
    end = datetime(following.year, following.month, following.day, tzinfo=place).astimezone(UTC)
    return [Slot(midnight + n * step, midnight + (n + 1) * step) for n in range((end - midnight) // step)]


def _gap(gap: Slot, slot_s: int) -> Finding:
    missing = -(-int((gap.end - gap.start).total_seconds()) // slot_s)
    sentence = f"{missing} slot(s) of {slot_s} s have no reading from {shown(gap.start)} to {shown(gap.end)}"
    return Finding(Kind.GAP, gap.start, gap.end, sentence)


def _singled(ordered: Sequence[Reading]) -> tuple[list[Reading], list[Finding]]:
    """The last word on every slot, and what was said twice or across another slot."""
    single: list[Reading] = []
    found = []
    for reading in ordered:
        last = single[-1] if single else None
        if last is not None and (last.starts_at, last.slot_s) == (reading.starts_at, reading.slot_s):
            sentence = f"the slot is said twice, {last.energy_wh} and then {reading.energy_wh} Wh; the later one counts"
            found.append(Finding(Kind.DUPLICATE, reading.starts_at, reading.ends_at, sentence))
            single[-1] = reading
        elif last is not None and reading.starts_at < last.ends_at:
            sentence = f"the slot begins before the one of {shown(last.starts_at)} has ended; slots follow each other"
            found.append(Finding(Kind.OVERLAP, reading.starts_at, reading.ends_at, sentence))
        else:
            single.append(reading)
    return single, found


def _spikes(readings: Sequence[Reading], zone: ZoneInfo, limits: Limits) -> Iterator[Finding]:
    """Values above the rated limit, or far above the same time of other days."""
    for reading in readings:
        if _is_above_rated(reading, limits):
            sentence = (
                f"{reading.energy_wh} Wh in {reading.slot_s} s is above the {_rated_wh(reading, limits)} Wh that the"
                f" meter's rated limit of {limits.rated_w} W allows"
            )
            yield Finding(Kind.SPIKE, reading.starts_at, reading.ends_at, sentence)
    if len(readings) < USUAL_READINGS_MIN:
        return
    by_time: dict[tuple[int, int], list[int]] = defaultdict(list)
    for reading in readings:
        by_time[_time_of_day(reading, zone)].append(reading.energy_wh)
    usual = {time: median(values) for time, values in by_time.items()}
    ranked = sorted(reading.energy_wh for reading in readings)
    floor = SPIKE_P95S * ranked[len(ranked) * 95 // 100]
    for reading in readings:
        at_this_time = usual[_time_of_day(reading, zone)]
        if floor > 0 and reading.energy_wh > max(SPIKE_MEDIANS * at_this_time, floor):
            sentence = f"{reading.energy_wh} Wh is far above the {at_this_time:g} Wh usual at this time of day"
            yield Finding(Kind.SPIKE, reading.starts_at, reading.ends_at, sentence)


def _rated_wh(reading: Reading, limits: Limits) -> int:
    return limits.rated_w * reading.slot_s * RATED_PERCENT // (100 * HOUR_S)


def _is_above_rated(reading: Reading, limits: Limits) -> bool:
    return bool(limits.rated_w) and reading.energy_wh > _rated_wh(reading, limits)


def _time_of_day(reading: Reading, zone: ZoneInfo) -> tuple[int, int]:
    local = reading.starts_at.astimezone(zone)
    return local.hour, local.minute


def _units(readings: Sequence[Reading], limits: Limits) -> Iterator[Finding]:
    """Data that is too large or too small for a home: as a whole by magnitude, or some days against the others.

    Power read as energy (kW as kWh) is off by the slot's length only, a factor of 2 to 4, which no magnitude can tell:
    it shows where more than a slip of the readings is above the meter's rated limit.
    """
    used = [reading for reading in readings if reading.energy_wh > 0]
    if len(used) < USUAL_READINGS_MIN:
        return
    middle_w = median(reading.energy_wh * HOUR_S / reading.slot_s for reading in used)
    above = sum(_is_above_rated(reading, limits) for reading in used)
    sentence = ""
    if not HOME_W_MIN <= middle_w <= HOME_W_MAX:
        sentence = (
            f"the median power is {middle_w:.4g} W, which is {'little' if middle_w < HOME_W_MIN else 'much'} for one"
            " meter; look whether the file says W, kW, Wh or kWh"
        )
    elif above * 100 > ABOVE_RATED_PERCENT * len(used):
        sentence = (
            f"{above} of {len(used)} readings are above the meter's rated limit of {limits.rated_w} W; was power (kW)"
            " read as energy (kWh)?"
        )
    if sentence:
        yield Finding(Kind.UNIT, readings[0].starts_at, readings[-1].ends_at, sentence)
    by_day: dict[date, list[Reading]] = defaultdict(list)
    for reading in used:
        by_day[reading.starts_at.date()].append(reading)
    for day in by_day.values():
        of_day_w = median(reading.energy_wh * HOUR_S / reading.slot_s for reading in day)
        factor = max(of_day_w / middle_w, middle_w / of_day_w)
        if UNIT_FACTOR_MIN <= factor <= UNIT_FACTOR_MAX and len(day) >= 3:
            sentence = f"this day's median power is {of_day_w:.4g} W and that of all {middle_w:.4g} W; is it the unit?"
            yield Finding(Kind.UNIT, day[0].starts_at, day[-1].ends_at, sentence)


def _zero_runs(readings: Sequence[Reading], limits: Limits) -> Iterator[Finding]:
    """Adjoining zeros for longer than is usual: a dead meter, or a cut connection."""
    first: Reading | None = None
    last: Reading | None = None
    for reading in [*readings, None]:
        goes_on = reading is not None and reading.energy_wh == 0 and (last is None or reading.starts_at == last.ends_at)
        if first is not None and last is not None and not goes_on:
            length_s = int((last.ends_at - first.starts_at).total_seconds())
            if length_s >= limits.zero_run_s:
                sentence = f"nothing but zeros for {length_s // HOUR_S} h; is the meter alive?"
                yield Finding(Kind.ZERO_RUN, first.starts_at, last.ends_at, sentence)
            first = last = None
        if reading is not None and reading.energy_wh == 0:
            first, last = first or reading, reading


# --- Estimation and editing ----------------------------------------------------------------------------------------


def estimate(
    readings: Iterable[Reading],
    missing: Iterable[Slot],
    *,
    method: Method = Method.AUTO,
    zone: str = "UTC",
    limits: Limits | None = None,
) -> Estimated:
    """Fill gaps. `readings` are what is known around them; AUTO takes the line for short gaps, else the profile.

    A line needs a reading on either side. A profile takes the mean of the same local time on the nearest like days
    (working days for working days, weekends for weekends), and other days when there are too few of these. Only
    MEASURED and EDITED values are looked at, so that no estimate rests on another.
    """
    limits = limits or Limits()
    known = sorted((r for r in readings if r.quality != ESTIMATED), key=lambda reading: reading.starts_at)
    slot_s = slot_length_s(known)
    profile = _Profile(known, ZoneInfo(zone), slot_s)
    made: list[Reading] = []
    left: list[Finding] = []
    for gap in missing:
        length_s = int((gap.end - gap.start).total_seconds())
        if length_s % slot_s:
            left.append(_unfilled(gap, f"it is no whole number of slots of {slot_s} s"))
            continue
        is_line = method is Method.LINEAR or (method is Method.AUTO and length_s <= limits.short_gap_s)
        filled = _line(known, gap, slot_s) if is_line else None
        if filled is None and method is not Method.LINEAR:
            filled = profile.fill(gap)
        if filled is None:
            why = "no reading adjoins it on both sides" if method is Method.LINEAR else "there are no like days"
            left.append(_unfilled(gap, why))
        else:
            made += filled
    return Estimated(tuple(made), tuple(left))


def edit(earlier: Reading, *, energy_wh: int, reason: str) -> Reading:
    """A value put right by a person; the earlier one stays as the earlier version."""
    return replace(earlier, energy_wh=energy_wh, quality=EDITED, reason=reason)


def _unfilled(gap: Slot, why: str) -> Finding:
    return Finding(Kind.GAP, gap.start, gap.end, f"the gap from {shown(gap.start)} cannot be estimated: {why}")


def _line(known: Sequence[Reading], gap: Slot, slot_s: int) -> list[Reading] | None:
    """Values on the straight line from the reading before the gap to the one after it; None without both."""
    before = next((r for r in reversed(known) if r.ends_at <= gap.start), None)
    after = next((r for r in known if r.starts_at >= gap.end), None)
    if before is None or after is None or before.ends_at != gap.start or after.starts_at != gap.end:
        return None
    if before.slot_s != slot_s or after.slot_s != slot_s:
        return None
    count = int((gap.end - gap.start).total_seconds()) // slot_s
    reason = f"on the line from {before.energy_wh} to {after.energy_wh} Wh"
    rise = after.energy_wh - before.energy_wh
    return [
        Reading(
            gap.start + timedelta(seconds=n * slot_s),
            slot_s,
            before.energy_wh + (2 * rise * (n + 1) + count + 1) // (2 * (count + 1)),
            ESTIMATED,
            reason,
        )
        for n in range(count)
    ]


class _Profile:
    """What a meter said at each local time of each day, and the mean of like days."""

    def __init__(self, known: Sequence[Reading], zone: ZoneInfo, slot_s: int) -> None:
        self._zone, self._slot_s = zone, slot_s
        self._values: dict[tuple[date, tuple[int, int]], int] = {}
        for reading in known:
            if reading.slot_s == slot_s:
                local = reading.starts_at.astimezone(zone)
                # The hour that comes twice counts once: its second pass is no other time of day.
                self._values.setdefault((local.date(), (local.hour, local.minute)), reading.energy_wh)

    def fill(self, gap: Slot) -> list[Reading] | None:
        """The gap's slots as on like days; None when one of them has too few."""
        made = []
        step = timedelta(seconds=self._slot_s)
        for n in range((gap.end - gap.start) // step):
            starts_at = gap.start + n * step
            like = self._like(starts_at)
            if len(like) < LIKE_DAYS_MIN:
                return None
            energy_wh = (2 * sum(like) + len(like)) // (2 * len(like))
            made.append(Reading(starts_at, self._slot_s, energy_wh, ESTIMATED, f"the mean of {len(like)} like days"))
        return made

    def _like(self, starts_at: datetime) -> list[int]:
        """Values of this local time on the nearest like days, or on the nearest days of any sort."""
        local = starts_at.astimezone(self._zone)
        time, is_weekend = (local.hour, local.minute), local.weekday() >= _SATURDAY
        like: list[int] = []
        others: list[int] = []
        for direction in (-1, 1):
            same: list[int] = []
            for distance in range(1, LIKE_DAYS_REACH + 1):
                day = local.date() + timedelta(days=direction * distance)
                value = self._values.get((day, time))
                if value is not None:
                    (same if (day.weekday() >= _SATURDAY) == is_weekend else others).append(value)
                if len(same) == LIKE_DAYS_EACH_SIDE:
                    break
            like += same
        return like if len(like) >= LIKE_DAYS_MIN else like + others
