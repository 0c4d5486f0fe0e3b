"""Curves stay inside their frame and label what they show."""

import re

import pytest

from cli.street.curves import Line, chart


@pytest.mark.parametrize("values", [[0.0] * 24, [0.001] * 24, [float(n) for n in range(24)], [98_765.4] * 3])
def test_no_point_leaves_the_frame(values: list[float]) -> None:
    drawn = chart("test", [Line("a", values)], labels=[str(n) for n in range(len(values))], unit="kWh")
    points = re.search(r'points="([^"]+)"', drawn)
    assert points is not None
    for point in points[1].split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= 720
        assert 0 <= y <= 220


def test_names_are_escaped() -> None:
    assert "<b>" not in chart("<b>", [Line("<b>", [1.0])], labels=["<b>"], unit="<b>")


def test_a_year_of_days_is_not_labelled_day_by_day() -> None:
    drawn = chart("year", [Line("a", [1.0] * 365)], labels=[f"day{n}" for n in range(365)], unit="kWh")
    assert len(re.findall("day", drawn)) <= 12
