"""Which days a demo trades."""

from datetime import date

import pytest

from cli.street.demo import Options
from cli.street.stage import evening_before
from energy_catalog.fontana import OutsideTheRecording


@pytest.mark.parametrize(
    ("first", "days"), [(date(2016, 7, 31), 1), (date(2017, 8, 1), 1), (date(2017, 7, 31), 2), (date(2016, 8, 2), 365)]
)
def test_days_that_were_not_recorded_are_refused(first: date, days: int) -> None:
    with pytest.raises(OutsideTheRecording, match="2016-08-01 to 2017-07-31"):
        Options(days=days, date=first).dates()


def test_a_demo_begins_on_the_second_recorded_day_because_the_first_only_warms_up() -> None:
    assert Options().dates() == [date(2016, 8, 2)]


def test_a_whole_year_takes_the_first_day_too() -> None:
    dates = Options(days=365).dates()
    assert (dates[0], dates[-1]) == (date(2016, 8, 1), date(2017, 7, 31))


def test_offers_are_made_at_six_in_the_evening_of_the_street() -> None:
    assert evening_before(date(2016, 8, 2)).isoformat() == "2016-08-02T02:00:00+00:00"
