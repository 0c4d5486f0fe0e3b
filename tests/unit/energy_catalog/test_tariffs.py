"""How a provider says its price, and which ways of saying it are refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from energy_catalog.tariffs import Flat, TimeOfUse, minute_of_day, zone_named
from trade.money import Series
from trade.pricing import TariffInvalid

DAY = Series(datetime(2016, 8, 2, 8, tzinfo=UTC), 3600, (0,) * 24)


@pytest.mark.parametrize("text", ["", "7:00", "24:01", "25:00", "12:60", "12", "12:00:00", "１２:00", "-1:00"])
def test_a_time_that_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(TariffInvalid):
        minute_of_day(text)


@pytest.mark.parametrize(("text", "minute"), [("00:00", 0), ("16:30", 990), ("24:00", 1440)])
def test_a_time_of_day_is_minutes_since_midnight(text: str, minute: int) -> None:
    assert minute_of_day(text) == minute


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "a\0b", "Europe"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(TariffInvalid):
        zone_named(name)


def test_a_flat_tariff_has_one_price() -> None:
    assert Flat(210_000).series(DAY) == Series.flat(DAY, 210_000)


def test_a_time_of_use_tariff_follows_the_local_day() -> None:
    tariff = TimeOfUse(zone_named("Etc/GMT+8"), ((0, 960, 210_000), (960, 1260, 540_000), (1260, 1440, 210_000)))
    assert tariff.series(DAY).values == (210_000,) * 16 + (540_000,) * 5 + (210_000,) * 3
