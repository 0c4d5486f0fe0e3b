"""A forecast never knows more than the evening before."""

from datetime import date

from cli.street import forecast
from energy_catalog import fontana


def test_a_forecast_never_reads_an_hour_that_was_not_over() -> None:
    read: list[int] = []

    def measured(hour: int) -> int:
        read.append(hour)
        return hour

    street = fontana.load_street()
    for day in (date(2016, 8, 2), date(2016, 12, 24), fontana.LAST_DAY):
        hours = street.hours_of(day)
        read.clear()
        forecast.persistence(measured, hours, known_until=hours.start - 6)
        assert max(read) < hours.start - 6


def test_a_forecast_is_the_newest_value_of_the_same_hour_of_day() -> None:
    hours = range(241, 265)
    values = forecast.persistence(lambda hour: hour, hours, known_until=hours.start - 6)
    assert values[:18] == tuple(range(217, 235))  # the day before, as far as it was over
    assert values[18:] == tuple(range(211, 217))  # the day before that


def test_hours_never_measured_before_have_no_forecast() -> None:
    first = fontana.load_street().hours_of(fontana.FIRST_DAY)
    assert forecast.persistence(lambda hour: 7, first, known_until=first.start - 6) == (0,) * 24
    second = range(first.start + 24, first.stop + 24)
    values = forecast.persistence(lambda hour: 7, second, known_until=second.start - 6)
    assert values == (7,) * 18 + (0,) * 5 + (7,)
