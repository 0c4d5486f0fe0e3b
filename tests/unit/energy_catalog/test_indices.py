"""Published series as they come: day-ahead XML and CSV. Refusals first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from energy_catalog.indices import CARBON_COLUMNS, PRICE_COLUMNS, IndexUnreadable, check_points, read_csv, read_entsoe
from trade.price_rules import Point

START = datetime(2026, 2, 1, 23, tzinfo=UTC)
#: The response's own bytes are another project's; what stands here has its shape.
_SERIES = """<TimeSeries><currency_Unit.name>{currency}</currency_Unit.name>
<price_Measure_Unit.name>{unit}</price_Measure_Unit.name>
<classificationSequence_AttributeInstanceComponent.position>{sequence}</classificationSequence_AttributeInstanceComponent.position>
<curveType>{curve}</curveType><Period><timeInterval><start>2026-02-01T23:00Z</start><end>{end}</end></timeInterval>
<resolution>{resolution}</resolution>{points}</Period></TimeSeries>"""


def series(*amounts: str | None, **changes: str) -> str:
    """A TimeSeries of these amounts; None leaves the point out."""
    points = "".join(
        f"<Point><position>{n}</position><price.amount>{amount}</price.amount></Point>"
        for n, amount in enumerate(amounts, start=1)
        if amount is not None
    )
    said = {"currency": "EUR", "unit": "MWH", "sequence": "1", "curve": "A03", "end": "2026-02-02T00:00Z"}
    return _SERIES.format(**{**said, "resolution": "PT15M", "points": points, **changes})


def document(*parts: str, head: str = "", root: str = "Publication_MarketDocument", kind: str = "A44") -> str:
    space = "urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"
    return f'{head}<{root} xmlns="{space}"><type>{kind}</type>{"".join(parts)}</{root}>'


FOUR = ("102.1", "98.7", "93.5", "89")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<a", "no XML"),
        (document(series(*FOUR), head="<!DOCTYPE a [<!ENTITY b 'c'>]>"), "document type of its own"),
        (document(series(*FOUR), root="GL_MarketDocument"), "Publication_MarketDocument"),
        (document(series(*FOUR), kind="A65"), "A44"),
        (document(), "no TimeSeries"),
        (document(series(*FOUR), series(*FOUR, currency="GBP")), "2 currencies"),
        (document(series(*FOUR, unit="GWH")), "per GWH"),
        (document(series(*FOUR, resolution="PT7M")), "PT7M"),
        (document(series(*FOUR, end="2026-02-02T00:05Z")), "whole slots of 900 s"),
        (document(series(*FOUR, end="never")), "'never' is no instant"),
        (document(series(*FOUR, "1")), "position '5'; there are 4"),
        (document(series("102.1", "x", "3", "4")), "position 2 of 2026-02-01T23:00:00+00:00: 'x'"),
        (document(series(None, "98.7", "93.5", "89")), "has no position 1"),
        (document(series("1", None, "2", "3", curve="A01")), "has no position 2"),
    ],
)
def test_what_is_no_day_ahead_document_is_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(IndexUnreadable) as refusal:
        read_entsoe(text)
    assert says in str(refusal.value)


def test_an_auction_that_is_not_there_is_refused() -> None:
    with pytest.raises(IndexUnreadable, match="classificationSequence 3; there are 1, 2"):
        read_entsoe(document(series(*FOUR), series(*FOUR, sequence="2")), sequence=3)


def test_prices_per_megawatt_hour_become_micro_units_per_kilowatt_hour() -> None:
    read = read_entsoe(document(series("102.1", "-4.37", "0", "89.9995")))
    assert read.currency == "EUR"
    assert [point.value for point in read.points] == [102_100, -4_370, 0, 90_000]
    assert read.points[1] == Point(START + timedelta(minutes=15), 900, -4_370)


def test_a_point_that_is_left_out_repeats_the_one_before_it() -> None:
    read = read_entsoe(document(series("10", None, None, "40")))
    assert [point.value for point in read.points] == [10_000, 10_000, 10_000, 40_000]
    read = read_entsoe(document(series("10", None, None, None)))
    assert [point.value for point in read.points] == [10_000] * 4


def test_the_auction_is_chosen_and_is_the_first_unless_said() -> None:
    both = document(series("2", "2", "2", "2", sequence="2"), series("1", "1", "1", "1"))
    assert {point.value for point in read_entsoe(both).points} == {1_000}
    assert {point.value for point in read_entsoe(both, sequence=2).points} == {2_000}


# --- CSV ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column of instants"),
        ("a,b\n1,2", "no column of instants"),
        ("starts_at,b\n2026-01-01,2", "no column of values"),
        ("starts_at,price_per_mwh\n2026-01-01T00:00Z", "line 2 has 1 cells"),
        ("starts_at,price_per_mwh\nyesterday,1", "line 2: 'yesterday'"),
        ("starts_at,price_per_mwh\n2026-01-01T00:00Z,cheap", "line 2: 'cheap'"),
        ("starts_at,price_per_mwh\n2026-01-01T00:00Z,1", "send slot_s"),
        ("starts_at,price_per_mwh\n2026-01-01T00:00:00.5Z,1", "whole second"),
        ("starts_at,price_per_mwh\n", "1 to 35136 values"),
    ],
)
def test_a_csv_that_cannot_be_read_names_the_line(text: str, says: str) -> None:
    with pytest.raises(IndexUnreadable) as refusal:
        read_csv(text, PRICE_COLUMNS)
    assert says in str(refusal.value)


def test_a_gap_and_null_stay_gaps_and_the_last_of_two_lines_wins() -> None:
    text = (
        "\ufeffstarts_at,price_per_kwh\n2026-01-01T00:00Z,0.10\n2026-01-01T01:00:00+01:00,0.20\n"
        "2026-01-01T01:00Z,Null\n2026-01-01T02:00Z,-0.3\n2026-01-01T03:00Z,0.4\n"
    )
    midnight = datetime(2026, 1, 1, tzinfo=UTC)
    assert read_csv(text, PRICE_COLUMNS).points == (
        Point(midnight, 3600, 200_000),
        Point(midnight + timedelta(hours=2), 3600, -300_000),
        Point(midnight + timedelta(hours=3), 3600, 400_000),
    )


def test_months_of_carbon_intensity_hold_until_the_next() -> None:
    text = (
        "Datetime (UTC),Zone Id,Carbon Intensity gCO₂eq/kWh (direct),Carbon Intensity gCO₂eq/kWh (LCA)\n"
        "2023-01-01 00:00:00,DE,410.43,475.20\n2023-02-01 00:00:00,DE,447.34,517.50\n2023-03-01 00:00:00,DE,363.9,1\n"
    )
    points = read_csv(text, CARBON_COLUMNS).points
    assert [(point.value, point.slot_s // 86_400) for point in points] == [(410_430, 31), (447_340, 28), (363_900, 31)]


def test_points_that_share_time_or_are_out_of_bounds_are_refused() -> None:
    for points in (
        [],
        [Point(START, 3600, 1), Point(START + timedelta(minutes=30), 3600, 1)],
        [Point(START, 30, 1)],
        [Point(START, 3600, 10**13)],
    ):
        with pytest.raises(IndexUnreadable):
            check_points(points)
