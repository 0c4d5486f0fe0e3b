"""What looks wrong in a meter's data is said; what is filled in or put right is marked; summer time is no fault."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade import vee
from trade.money import Slot
from trade.reading import EDITED, ESTIMATED, Reading, why_refused
from trade.register import Register, StandRefused
from trade.vee import Kind, Limits, Method

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)


def a_home(*, days: int = 28, slot_s: int = 3600, start: datetime = START) -> list[Reading]:
    """Two hundred Wh an hour, twice that in the evening, half of both at weekends."""
    readings = []
    for n in range(days * 86_400 // slot_s):
        starts_at = start + timedelta(seconds=n * slot_s)
        wh = (400 if starts_at.hour >= 18 else 200) // (2 if starts_at.weekday() >= 5 else 1)
        readings.append(Reading(starts_at, slot_s, wh * slot_s // 3600))
    return readings


def kinds(readings: list[Reading], **options: object) -> list[Kind]:
    return [finding.kind for finding in vee.validate(readings, **options)]  # type: ignore[arg-type]


def test_a_home_as_it_should_be_has_no_findings() -> None:
    assert vee.validate(a_home(), limits=Limits(rated_w=5000)) == []
    assert vee.validate([]) == []


def test_missing_slots_are_one_gap_with_their_number() -> None:
    readings = a_home()
    [finding] = vee.validate(readings[:5] + readings[8:])
    assert (finding.kind, finding.starts_at, finding.ends_at) == (Kind.GAP, START + 5 * HOUR, START + 8 * HOUR)
    assert "3 slot(s) of 3600 s" in finding.sentence


def test_slots_missing_at_the_edges_are_gaps_when_the_range_is_known() -> None:
    readings = a_home(days=1)[2:-1]
    found = vee.validate(readings, start=START, end=START + 24 * HOUR)
    assert [(f.starts_at, f.ends_at) for f in found] == [
        (START, START + 2 * HOUR),
        (START + 23 * HOUR, START + 24 * HOUR),
    ]
    assert kinds([], start=START, end=START + HOUR) == [Kind.GAP]


def test_a_slot_said_twice_and_a_slot_across_another_are_named() -> None:
    readings = a_home(days=2)
    twice = [*readings, replace(readings[3], energy_wh=7)]
    [finding] = vee.validate(twice)
    assert finding.kind is Kind.DUPLICATE
    assert "200 and then 7 Wh" in finding.sentence
    across = [*readings, Reading(START + 3 * HOUR / 2, 3600, 1)]
    assert kinds(across) == [Kind.OVERLAP]


def test_energy_below_zero_is_named() -> None:
    readings = a_home(days=1)
    readings[4] = replace(readings[4], energy_wh=-5)
    assert kinds(readings) == [Kind.NEGATIVE]


def test_a_spike_is_held_against_the_same_time_of_other_days() -> None:
    readings = a_home()
    readings[100] = replace(readings[100], energy_wh=9000)
    [finding] = vee.validate(readings)
    assert (finding.kind, finding.starts_at) == (Kind.SPIKE, readings[100].starts_at)
    assert "200 Wh usual at this time of day" in finding.sentence


def test_a_spike_does_not_hide_behind_other_spikes() -> None:
    readings = a_home()
    for n in range(100, 130):  # four in a hundred
        readings[n] = replace(readings[n], energy_wh=9000 + n)
    assert kinds(readings) == [Kind.SPIKE] * 30


def test_nothing_may_be_above_the_meters_rated_limit() -> None:
    readings = a_home(days=1)
    readings[3] = replace(readings[3], energy_wh=5501)
    readings[4] = replace(readings[4], energy_wh=5500)
    [finding] = vee.validate(readings, limits=Limits(rated_w=5000))
    assert (finding.kind, finding.starts_at) == (Kind.SPIKE, readings[3].starts_at)
    assert "5000 W" in finding.sentence


@pytest.mark.parametrize("factor", [1000, 0.001])
def test_a_unit_that_was_misread_shows_by_magnitude(factor: float) -> None:
    readings = [replace(r, energy_wh=int(r.energy_wh * 10 * factor)) for r in a_home()]
    findings = vee.validate(readings)
    assert Kind.UNIT in {finding.kind for finding in findings}
    assert "kW, Wh or kWh" in next(f.sentence for f in findings if f.kind is Kind.UNIT)


def test_power_that_was_read_as_energy_shows_at_the_rated_limit() -> None:
    readings = [replace(r, energy_wh=r.energy_wh * 4) for r in a_home(slot_s=900)]  # kW taken for kWh of a quarter hour
    [finding] = [f for f in vee.validate(readings, limits=Limits(rated_w=1000)) if f.kind is Kind.UNIT]
    assert "was power (kW) read as energy (kWh)?" in finding.sentence


def test_some_days_in_another_unit_are_named_by_day() -> None:
    readings = a_home()
    odd = [replace(r, energy_wh=r.energy_wh * 1000) if 72 <= n < 96 else r for n, r in enumerate(readings)]
    [finding] = [finding for finding in vee.validate(odd) if finding.kind is Kind.UNIT]
    assert finding.starts_at == START + 72 * HOUR


def test_a_long_run_of_zeros_is_named_and_a_night_without_sun_is_not() -> None:
    readings = [replace(r, energy_wh=0) if 30 <= n < 54 else r for n, r in enumerate(a_home())]
    [finding] = vee.validate(readings)
    assert (finding.kind, finding.starts_at, finding.ends_at) == (
        Kind.ZERO_RUN,
        START + 30 * HOUR,
        START + 54 * HOUR,
    )
    assert vee.validate(readings, limits=Limits(zero_run_s=3 * 86_400)) == []


def test_a_roll_over_is_named() -> None:
    readings = a_home(days=1)
    readings[3] = replace(readings[3], reason="the register rolled over from 99 to 1 Wh")
    assert kinds(readings) == [Kind.ROLLOVER]


# --- Days of 23 and 25 hours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2026, 3, 29), "Europe/Paris", 23),
        (date(2026, 10, 25), "Europe/Paris", 25),
        (date(2026, 7, 1), "Europe/Paris", 24),
        (date(2026, 3, 8), "America/Los_Angeles", 23),
        (date(2026, 10, 25), "Asia/Kolkata", 24),
    ],
)
def test_a_local_day_has_the_slots_it_has(day: date, zone: str, hours: int) -> None:
    assert len(vee.local_day_slots(day, zone=zone, slot_s=3600)) == hours
    halves = vee.local_day_slots(day, zone=zone, slot_s=1800)
    assert len(halves) == 2 * hours
    readings = [Reading(slot.start, 1800, 100) for slot in halves]
    assert vee.validate(readings, zone=zone, start=halves[0].start, end=halves[-1].end) == []


def test_the_same_time_of_day_is_local_across_the_change_of_the_clock() -> None:
    """Evenings stay evenings: an estimate after the change takes 18:00 local, whatever UTC calls it."""
    start = datetime(2026, 10, 11, 22, tzinfo=UTC)  # midnight in Paris
    readings = []
    for n in range(24 * 28):
        starts_at = start + n * HOUR
        local = starts_at.astimezone(vee.ZoneInfo("Europe/Paris"))
        readings.append(Reading(starts_at, 3600, 900 if local.hour == 18 else 100))
    evening = datetime(2026, 10, 28, 17, tzinfo=UTC)  # 18:00 in winter time
    gap = Slot(evening - 5 * HOUR, evening + 3 * HOUR)
    known = [reading for reading in readings if not gap.start <= reading.starts_at < gap.end]
    made = vee.estimate(known, [gap], zone="Europe/Paris")
    assert [reading.energy_wh for reading in made.readings] == [100, 100, 100, 100, 100, 900, 100, 100]


# --- Estimates and edits -------------------------------------------------------------------------------------------


def without(readings: list[Reading], first: int, end: int) -> tuple[list[Reading], Slot]:
    return readings[:first] + readings[end:], Slot(readings[first].starts_at, readings[end - 1].ends_at)


def test_a_short_gap_is_filled_on_the_line_between_its_neighbours() -> None:
    readings = [Reading(START + n * HOUR / 4, 900, wh) for n, wh in enumerate((100, 0, 0, 0, 200))]
    known, gap = without(readings, 1, 4)
    made = vee.estimate(known, [gap])
    assert [reading.energy_wh for reading in made.readings] == [125, 150, 175]
    assert {reading.quality for reading in made.readings} == {ESTIMATED}
    assert made.readings[0].reason == "on the line from 100 to 200 Wh"


def test_a_long_gap_is_filled_with_the_same_hours_of_like_days() -> None:
    readings = a_home()
    known, gap = without(readings, 24 * 7 + 15, 24 * 7 + 21)  # a Monday, 15:00 to 21:00
    made = vee.estimate(known, [gap])
    assert [reading.energy_wh for reading in made.readings] == [200, 200, 200, 400, 400, 400]
    saturday, gap = without(readings, 24 * 12, 24 * 13)
    assert sum(reading.energy_wh for reading in vee.estimate(saturday, [gap]).readings) == 18 * 100 + 6 * 200


def test_an_estimate_never_rests_on_another() -> None:
    readings = [replace(r, energy_wh=9999, quality=ESTIMATED) if r.starts_at.day % 2 else r for r in a_home()]
    known, gap = without(readings, 24 * 9, 24 * 10)
    assert max(reading.energy_wh for reading in vee.estimate(known, [gap]).readings) == 400


def test_what_cannot_be_estimated_is_left_with_the_reason() -> None:
    readings = a_home(days=1)
    known, gap = without(readings, 5, 15)
    made = vee.estimate(known, [gap])
    assert made.readings == ()
    assert "no like days" in made.left[0].sentence
    edge = Slot(readings[-1].ends_at, readings[-1].ends_at + HOUR)
    assert "adjoins" in vee.estimate(readings, [edge], method=Method.LINEAR).left[0].sentence
    crooked = Slot(START + HOUR / 2, START + HOUR)
    assert "no whole number" in vee.estimate(readings, [crooked]).left[0].sentence


def test_an_edit_keeps_the_slot_and_says_why() -> None:
    before = Reading(START, 3600, 900)
    assert vee.edit(before, energy_wh=950, reason="seal broken") == Reading(START, 3600, 950, EDITED, "seal broken")


@given(
    st.lists(st.integers(0, 5000), min_size=2, max_size=60),
    st.sets(st.integers(0, 59)),
    st.sampled_from(list(Method)),
)
def test_whatever_is_missing_estimates_and_rest_cover_every_gap_once(
    values: list[int], lost: set[int], method: Method
) -> None:
    readings = [Reading(START + n * HOUR, 3600, wh) for n, wh in enumerate(values)]
    known = [reading for n, reading in enumerate(readings) if n not in lost] or readings
    missing = vee.gaps(known, start=START, end=readings[-1].ends_at)
    made = vee.estimate(known, missing, method=method)
    filled = sum(reading.slot_s for reading in made.readings)
    left = sum(int((finding.ends_at - finding.starts_at).total_seconds()) for finding in made.left)
    assert filled + left == sum(int((gap.end - gap.start).total_seconds()) for gap in missing)
    assert not {reading.starts_at for reading in made.readings} & {reading.starts_at for reading in known}
    assert all(reading.energy_wh >= 0 for reading in made.readings)
    vee.validate([*known, *made.readings])


# --- Registers -----------------------------------------------------------------------------------------------------


def test_two_stands_make_a_reading_and_a_full_register_begins_anew() -> None:
    register = Register()
    with pytest.raises(StandRefused, match="first stand"):
        register.read(START, 99_000)
    assert register.read(START + HOUR, 99_600) == Reading(START, 3600, 600)
    rolled = register.read(START + 2 * HOUR, 200)
    assert (rolled.starts_at, rolled.energy_wh) == (START + HOUR, 600)
    assert rolled.reason == "the register rolled over from 99600 to 200 Wh"


def test_a_register_that_goes_back_too_far_was_exchanged() -> None:
    register = Register(modulus_wh=1_000_000, rated_w=10_000)
    with pytest.raises(StandRefused, match="first stand"):
        register.read(START, 500_000)
    with pytest.raises(StandRefused, match="exchanged"):
        register.read(START + HOUR, 3)
    assert register.read(START + 2 * HOUR, 53).energy_wh == 50


def test_stands_out_of_order_or_too_far_apart_make_no_reading() -> None:
    register = Register()
    with pytest.raises(StandRefused):
        register.read(START, 5)
    with pytest.raises(StandRefused, match="order of time"):
        register.read(START, 6)
    with pytest.raises(StandRefused, match="60 to 86400 s"):
        register.read(START + 48 * HOUR, 6)
    with pytest.raises(StandRefused, match="outside 0"):
        register.read(START + 49 * HOUR, -1)


@given(st.lists(st.integers(0, 9_999), min_size=2, max_size=40))
def test_what_a_register_says_is_what_passed_however_often_it_rolls_over(passed: list[int]) -> None:
    register, stand = Register(modulus_wh=100_000, rated_w=50_000), 95_000
    with pytest.raises(StandRefused):
        register.read(START, stand)
    for n, wh in enumerate(passed, start=1):
        stand = (stand + wh) % 100_000
        assert register.read(START + n * HOUR, stand).energy_wh == wh


# --- What may be kept ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reading", "says"),
    [
        (Reading(START, 3600, -1), "0 to 1000000000"),
        (Reading(START, 3600, 1_000_000_001), "0 to 1000000000"),
        (Reading(START, 59, 1), "60 to 86400"),
        (Reading(START, 86_401, 1), "shorter slots"),
        (Reading(START.replace(microsecond=1), 3600, 1), "whole second"),
        (Reading(datetime(1999, 12, 31, tzinfo=UTC), 3600, 1), "before 2000"),
        (Reading(START + HOUR, 3601, 1), "still to come"),
    ],
)
def test_a_reading_that_cannot_be_kept_is_refused_with_the_limit(reading: Reading, says: str) -> None:
    assert says in why_refused(reading, now_trading=START + 2 * HOUR)


def test_a_slot_can_be_reported_from_the_second_it_is_over() -> None:
    assert why_refused(Reading(START + HOUR, 3600, 1), now_trading=START + 2 * HOUR) == ""
    assert why_refused(Reading(START + 9 * HOUR, 3600, 1)) == ""
