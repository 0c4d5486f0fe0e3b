"""Uploads of readings: every line is judged by itself and every refusal says what to correct."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpp import metering
from bpp.metering import Line
from store.readings import Reading

TEN = datetime(2026, 1, 15, 10, tzinfo=UTC)
NOW = TEN + timedelta(hours=10)


def sort(*lines: Line, flow: str = "EXPORT", slot_s: int = 3600) -> metering.Sorted:
    return metering.sort_lines(lines, flow=flow, slot_s=slot_s, now_trading=NOW)


@pytest.mark.parametrize(
    ("starts_at", "energy_wh", "flow", "says"),
    [
        ("yesterday", "1", "", "is no instant"),
        ("2026-01-15T10:00:00", "1", "", "with a zone"),
        ("2026-01-15T10:00:00.5Z", "1", "", "whole seconds"),
        ("", "1", "", "is no instant"),
        ("2026-01-15T10:00:00Z", "", "", "whole number of Wh"),
        ("2026-01-15T10:00:00Z", "1.5", "", "whole number of Wh"),
        ("2026-01-15T10:00:00Z", "-1", "", "whole number of Wh"),
        ("2026-01-15T10:00:00Z", "1000000001", "", "from 0 to 1000000000"),
        ("2026-01-15T10:00:00Z", "٣", "", "whole number of Wh"),
        ("2026-01-15T10:00:00Z", "1", "SIDEWAYS", "EXPORT or IMPORT"),
        ("2026-01-15T19:00:01Z", "1", "", "still to come"),
        ("2024-01-15T10:00:00Z", "1", "", "400 days"),
        ("0001-01-01T00:00:00+14:00", "1", "", "is no instant"),
    ],
)
def test_a_line_is_refused_with_its_reason(starts_at: str, energy_wh: str, flow: str, says: str) -> None:
    good = Line(2, "2026-01-15T11:00:00Z", "5")
    found = sort(Line(1, starts_at, energy_wh, flow), good)
    [refused] = found.refused
    assert refused.line == 1
    assert says in refused.reason
    assert len(found.readings["EXPORT"]) == 1


def test_a_slot_said_twice_is_refused_the_second_time() -> None:
    found = sort(Line(1, "2026-01-15T10:00:00Z", "1"), Line(2, "2026-01-15T12:00:00+02:00", "2"))
    assert found.readings["EXPORT"] == [Reading(TEN, 3600, 1)]
    assert "line 1 says the same slot" in found.refused[0].reason


def test_slots_of_one_upload_that_overlap_are_refused() -> None:
    found = sort(Line(1, "2026-01-15T10:30:00Z", "1"), Line(2, "2026-01-15T10:00:00Z", "2"))
    assert found.readings["EXPORT"] == [Reading(TEN, 3600, 2)]
    assert (found.refused[0].line, "that of line 2" in found.refused[0].reason) == (1, True)


def test_slots_that_overlap_what_is_known_are_named_by_their_line() -> None:
    found = sort(Line(7, "2026-01-15T10:00:00Z", "1"))
    assert [refused.line for refused in metering.overlaps(found, "EXPORT", [TEN])] == [7]


def test_a_slot_can_be_reported_from_the_second_it_is_over() -> None:
    assert not sort(Line(1, "2026-01-15T19:00:00Z", "1")).refused


def test_lines_say_their_own_flow() -> None:
    found = sort(Line(1, "2026-01-15T10:00:00Z", "1", "import"), Line(2, "2026-01-15T10:00:00Z", "2"))
    assert found.readings == {"IMPORT": [Reading(TEN, 3600, 1)], "EXPORT": [Reading(TEN, 3600, 2)]}


def test_a_csv_is_read_with_or_without_heading_blank_lines_and_spaces() -> None:
    text = "starts_at,energy_wh\r\n2026-01-15T10:00:00Z, 5 \r\n\r\n2026-01-15T11:00:00Z,6,IMPORT\n"
    assert metering.read_csv(text) == [
        Line(2, "2026-01-15T10:00:00Z", "5"),
        Line(4, "2026-01-15T11:00:00Z", "6", "IMPORT"),
    ]
    assert metering.read_csv("a,b,c,d") == [Line(1, "a", "b", "c,d")]


def test_a_csv_of_too_many_lines_or_of_broken_quotes_is_refused() -> None:
    with pytest.raises(metering.CsvUnreadable):
        metering.read_csv("x,1\n" * (metering.LINES_MAX + 1))
    with pytest.raises(metering.CsvUnreadable):
        metering.read_csv('"x,1\n')


@given(st.text(max_size=200))
def test_whatever_text_comes_is_read_or_refused(text: str) -> None:
    try:
        lines = metering.read_csv(text)
    except metering.CsvUnreadable:
        return
    sort(*lines)
