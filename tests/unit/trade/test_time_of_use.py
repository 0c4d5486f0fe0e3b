"""Prices by the time of day: bands across midnight, days of 23 and 25 hours, and bands nobody could apply."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade.money import Series
from trade.pricing import TariffInvalid, tou_series

FONTANA = ZoneInfo("Etc/GMT+8")
BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
CHEAP, DEAR = 210_000, 540_000
#: Dear from 16:00 to 21:00, cheap from 21:00 across midnight to 16:00.
PEAK = [(16 * 60, 21 * 60, DEAR), (21 * 60, 16 * 60, CHEAP)]


def day_of(start: datetime, hours: int = 24, slot_s: int = 3600) -> Series:
    return Series(start.astimezone(UTC), slot_s, (0,) * (hours * 3600 // slot_s))


def test_overlapping_bands_are_refused_and_the_minute_named() -> None:
    with pytest.raises(TariffInvalid, match="two bands cover 16:00"):
        tou_series(day_of(datetime(2016, 8, 2, tzinfo=FONTANA)), [(0, 1000, 1), (960, 1440, 2)], FONTANA)


def test_a_band_across_midnight_that_meets_a_morning_band_is_refused() -> None:
    with pytest.raises(TariffInvalid, match="two bands cover 05:00"):
        tou_series(day_of(datetime(2016, 8, 2, tzinfo=FONTANA)), [(1320, 360, 1), (300, 1320, 2)], FONTANA)


def test_a_slot_without_a_band_is_refused_and_its_time_named() -> None:
    with pytest.raises(TariffInvalid, match="no band covers 00:00"):
        tou_series(day_of(datetime(2016, 8, 2, tzinfo=FONTANA)), [(480, 1200, CHEAP)], FONTANA)


@pytest.mark.parametrize("band", [(-1, 60, 1), (1440, 60, 1), (0, 1441, 1)])
def test_a_band_outside_the_day_is_refused(band: tuple[int, int, int]) -> None:
    with pytest.raises(TariffInvalid, match="within 00:00 and 24:00"):
        tou_series(day_of(datetime(2016, 8, 2, tzinfo=FONTANA)), [band], FONTANA)


def test_a_day_without_slots_at_night_needs_no_night_band() -> None:
    morning = day_of(datetime(2016, 8, 2, 9, tzinfo=FONTANA), hours=3)
    assert tou_series(morning, [(480, 1200, CHEAP)], FONTANA).values == (CHEAP,) * 3


def test_a_band_across_midnight_prices_both_ends_of_the_day() -> None:
    prices = tou_series(day_of(datetime(2016, 8, 2, tzinfo=FONTANA)), PEAK, FONTANA).values
    assert prices == (CHEAP,) * 16 + (DEAR,) * 5 + (CHEAP,) * 3


def test_a_band_that_ends_where_it_begins_lasts_all_day() -> None:
    prices = tou_series(day_of(datetime(2016, 8, 2, tzinfo=FONTANA)), [(420, 420, DEAR)], FONTANA).values
    assert set(prices) == {DEAR}


def test_a_slot_has_the_price_of_the_band_in_which_it_begins() -> None:
    on_utc_hours = Series(datetime(2026, 1, 1, 10, tzinfo=UTC), 3600, (0, 0))  # 15:30 and 16:30 in Kolkata
    assert tou_series(on_utc_hours, PEAK, KOLKATA).values == (CHEAP, DEAR)


@pytest.mark.parametrize(
    ("date", "hours", "cheap_first"),
    [(datetime(2026, 3, 29, tzinfo=BERLIN), 23, 15), (datetime(2026, 10, 25, tzinfo=BERLIN), 25, 17)],
)
def test_bands_follow_the_clock_on_the_wall_when_the_day_has_23_or_25_hours(
    date: datetime, hours: int, cheap_first: int
) -> None:
    prices = tou_series(day_of(date, hours), PEAK, BERLIN).values
    assert prices == (CHEAP,) * cheap_first + (DEAR,) * 5 + (CHEAP,) * 3


@given(
    start=st.datetimes(min_value=datetime(2016, 1, 1), max_value=datetime(2030, 1, 1)),  # noqa: DTZ001
    edges=st.lists(st.integers(0, 1439), min_size=2, max_size=6, unique=True).map(sorted),
    zone=st.sampled_from([FONTANA, BERLIN, KOLKATA]),
    slot_s=st.sampled_from([300, 900, 1800, 3600]),
)
def test_bands_that_tile_the_day_price_every_slot_by_its_local_minute(
    start: datetime, edges: list[int], zone: ZoneInfo, slot_s: int
) -> None:
    bands = [(a, b, a) for a, b in zip(edges, edges[1:] + edges[:1], strict=True)]
    like = day_of(start.replace(tzinfo=UTC, microsecond=0), slot_s=slot_s)
    for slot, price in tou_series(like, bands, zone).items():
        local = slot.start.astimezone(zone)
        minute = local.hour * 60 + local.minute
        began = [edge for edge in edges if edge <= minute]
        assert price == (began[-1] if began else edges[-1])
