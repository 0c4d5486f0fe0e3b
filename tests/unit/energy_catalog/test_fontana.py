"""The recorded street is what its README says, and the reader keeps clear of the traps it names."""

import gzip
import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import resources

import pytest

from cli.street import rebuild
from energy_catalog import fontana

YEAR = range(fontana.HOURS)


def kwh(wh: int) -> int:
    return round(Decimal(wh) / 1000)


def test_a_day_outside_the_recording_is_refused() -> None:
    street = fontana.load_street()
    for day in (date(2016, 7, 31), date(2017, 8, 1)):
        with pytest.raises(fontana.OutsideTheRecording, match=r"choose 2016-08-01 to 2017-07-31"):
            street.hours_of(day)


def test_a_file_that_lacks_hours_is_refused() -> None:
    with pytest.raises(ValueError, match="8760 hours"):
        fontana.street_from_csv("hour,price_micro_per_kwh,carbon_mg_per_kwh,load_1_4000,pv_1_4000\n0,1,1,1,1\n")


def test_the_committed_file_has_the_committed_checksum() -> None:
    folder = resources.files("energy_catalog").joinpath("data/fontana")
    text = gzip.decompress(folder.joinpath("street.csv.gz").read_bytes())
    assert folder.joinpath("CHECKSUM").read_text().split()[0] == hashlib.sha256(text).hexdigest()


def test_the_year_adds_up_to_the_published_figures() -> None:
    homes = fontana.load_street().homes
    assert len(homes) == 17
    assert kwh(sum(sum(home.load_wh) for home in homes)) == 169_644
    assert kwh(sum(sum(home.pv_wh) for home in homes)) == 103_425
    assert kwh(sum(home.deficit_wh(t) for home in homes for t in YEAR)) == 112_121
    assert kwh(sum(home.surplus_wh(t) for home in homes for t in YEAR)) == 45_902
    assert kwh(fontana.shareable_wh(homes, YEAR)) == 17_696


def test_nothing_in_the_recording_is_negative_and_every_hour_has_a_price() -> None:
    street = fontana.load_street()
    assert all(min(home.load_wh) >= 0 and min(home.pv_wh) >= 0 for home in street.homes)
    assert set(street.price_micro_per_kwh) == {210_000, 220_000, 400_000, 500_000, 540_000}
    assert min(street.carbon_mg_per_kwh) > 0


def test_the_first_recorded_hour_is_the_last_of_31_july() -> None:
    assert fontana.starts_at(0) == datetime(2016, 7, 31, 23, tzinfo=fontana.ZONE)
    assert fontana.load_street().hours_of(date(2016, 8, 1)) == range(1, 25)
    assert fontana.starts_at(1) == datetime(2016, 8, 1, 8, tzinfo=UTC)


def test_the_last_day_has_twenty_three_hours() -> None:
    assert len(fontana.load_street().hours_of(date(2017, 7, 31))) == 23


def test_the_clock_has_no_daylight_saving() -> None:
    street = fontana.load_street()
    for day in (date(2016, 11, 6), date(2017, 3, 12), date(2017, 6, 21)):
        hours = street.hours_of(day)
        assert len(hours) == 24
        assert fontana.starts_at(hours.start).hour == 8


def test_the_sun_stands_highest_around_noon() -> None:
    home = fontana.load_street().homes[0]
    by_hour = [sum(home.pv_wh[t] for t in range(1 + clock_hour, fontana.HOURS, 24)) for clock_hour in range(24)]
    assert by_hour.index(max(by_hour)) == 11
    assert sum(by_hour[:4]) == 0
    assert sum(by_hour[20:]) == 0


def test_the_peak_price_stands_in_the_afternoon_of_the_street() -> None:
    street = fontana.load_street()
    prices = [street.price_micro_per_kwh[t] for t in street.hours_of(date(2016, 8, 2))]
    assert [hour for hour, price in enumerate(prices) if price == 540_000] == [15, 16, 17, 18, 19]


def test_home_15_keeps_its_dead_panels() -> None:
    home = fontana.load_street().homes[14]
    assert (home.number, home.pv_rated_w, kwh(sum(home.pv_wh))) == (15, 5000, 144)


def test_positions_are_made_from_the_seed_alone() -> None:
    assert fontana.positions(seed=1) == fontana.positions(seed=1)
    assert fontana.positions(seed=1) != fontana.positions(seed=2)
    assert len(set(fontana.positions(seed=1).values())) == 17


def test_rounding_carries_its_remainder() -> None:
    assert rebuild.whole_numbers(["0.0006", "0.0006", "0.0006", "0"], times=1000) == [1, 0, 1, 0]


def test_another_wheel_is_refused(tmp_path) -> None:
    wheel = tmp_path / "CityLearn-1.8.0-py3-none-any.whl"
    wheel.write_bytes(b"not the wheel")
    with pytest.raises(rebuild.UnableToRebuild, match="sha256"):
        rebuild.derive(wheel)
