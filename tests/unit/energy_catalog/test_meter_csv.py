"""CSV with meter data is read by its columns; what cannot be read is refused by its line; nothing else comes out."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_catalog.meter_files import csv_reader, mapping
from energy_catalog.meter_files.entries import Found, Refused, Unreadable
from trade.reading import Reading, why_refused

TEN = datetime(2026, 1, 15, 10, tzinfo=UTC)
HALF = timedelta(minutes=30)


def read(text: str, document: Any = None, **options: Any) -> list[Found | Refused]:
    chosen = None if document is None else mapping.from_document(document)
    return list(csv_reader.read(io.StringIO(text), mapping=chosen, **options))


def wh(entries: list[Found | Refused], flow: str = "IMPORT") -> list[int]:
    return [entry.reading.energy_wh for entry in entries if isinstance(entry, Found) and entry.flow == flow]


def starts(entries: list[Found | Refused]) -> list[str]:
    return [entry.reading.starts_at.strftime("%d %H:%M") for entry in entries if isinstance(entry, Found)]


def reasons(entries: list[Found | Refused]) -> dict[int, str]:
    return {entry.line: entry.reason for entry in entries if isinstance(entry, Refused)}


def test_our_own_form_is_read_with_or_without_a_heading() -> None:
    rows = "2026-01-15T10:00:00Z, 5 \r\n\r\n2026-01-15T11:00:00Z,6,EXPORT\n"
    expected = [Found(1, "IMPORT", Reading(TEN, 3600, 5)), Found(3, "EXPORT", Reading(TEN + 2 * HALF, 3600, 6))]
    assert read(rows) == expected
    named = read(f"starts_at,energy_wh,flow\n{rows}")
    assert [(entry.line, wh([entry], entry.flow)) for entry in named if isinstance(entry, Found)] == [
        (2, [5]),
        (4, [6]),
    ]


def test_mean_power_becomes_energy_of_its_slot() -> None:
    text = ",GC,GG\n2011-07-01 00:00:00,0.392,0.0\n2011-07-01 00:30:00,0.578,0.48200000000000004\n"
    entries = read(text, zone="Etc/GMT-10")
    assert (wh(entries), wh(entries, "EXPORT")) == ([196, 289], [0, 241])
    assert starts(entries)[0] == "30 14:00"
    assert {entry.reading.slot_s for entry in entries if isinstance(entry, Found)} == {1800}


@pytest.mark.parametrize(
    ("unit", "text", "expected"),
    [
        ("Wh", "1.5", 2),
        ("Wh", "2.49999999999", 2),
        ("kWh", "1.2345", 1235),
        ("kWh", ".5", 500),
        ("kWh", "1e-05", 0),
        ("kWh", "1E2", 100_000),
        ("MWh", "0.001", 1000),
        ("W", "3001", 1501),
        ("kW", "+3", 1500),
    ],
)
def test_a_value_is_rounded_once_to_whole_watt_hours(unit: str, text: str, expected: int) -> None:
    document = {"instant": "t", "slot_s": 1800, "values": [{"column": "v", "unit": unit}]}
    assert wh(read(f"t,v\n2026-01-15T10:00:00Z,{text}\n", document)) == [expected]


@pytest.mark.parametrize("text", ["", "NaN", "Null", "null", "-", "n/a"])
def test_an_empty_value_is_a_gap_that_is_named(text: str) -> None:
    assert "a gap" in reasons(read(f"2026-01-15T10:00:00Z,{text}\n2026-01-15T11:00:00Z,1\n"))[1]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("yesterday,1", "is no instant"),
        ("2026-01-15T10:00:00,1", "has no zone"),
        ("2026-01-15T10:00:00Z,-1", "below zero"),
        ("2026-01-15T10:00:00Z,1e99", "no number that a meter can show"),
        ("2026-01-15T10:00:00Z,1e999999999", "no number that a meter can show"),
        ("2026-01-15T10:00:00Z,inf", "no number"),
        ("2026-01-15T10:00:00Z,1_0", "no number"),
        ("2026-01-15T10:00:00Z,٣", "no number"),
        ("2026-01-15T10:00:00Z," + "9" * 50, "longer than"),
        ("2026-01-15T10:00:00Z,1,SIDEWAYS", "EXPORT or IMPORT"),
        ("2026-01-15T10:00:00Z", "a gap"),
        ('"2026-01-15T10:00:00Z,1', "quotes of this line are broken"),
        ("03/04/2026 10:00,1", "two dates"),
        ("9999-12-31T23:59:59-14:00,1", "no instant that can be reckoned with"),
    ],
)
def test_a_bad_row_is_refused_by_its_line_and_the_next_one_is_read(row: str, says: str) -> None:
    entries = read(f"starts_at,energy_wh,flow\n{row}\n2026-01-15T11:00:00Z,5\n")
    assert says in reasons(entries)[2]
    assert wh(entries) == [5]


def test_the_length_of_a_slot_is_found_although_rows_are_missing() -> None:
    instants = [TEN + n * timedelta(minutes=15) for n in range(40) if n % 7]
    entries = read("".join(f"{at.isoformat()},1\n" for at in instants))
    assert {entry.reading.slot_s for entry in entries if isinstance(entry, Found)} == {900}


def test_the_hour_a_clock_shows_twice_is_told_apart_by_order() -> None:
    labels = ("01:30", "02:00", "02:30", "02:00", "02:30", "03:00")
    rows = [f"2026-10-25 {label},1" for label in labels]
    document = {"instant": "t", "zone": "Europe/Paris", "values": [{"column": "v"}]}
    expected = ["24 23:30", "25 00:00", "25 00:30", "25 01:00", "25 01:30", "25 02:00"]
    assert starts(read("\n".join(["t,v", *rows]), document)) == expected
    assert starts(read("\n".join(["t,v", *reversed(rows)]), document)) == expected[::-1]


def test_the_hour_that_comes_twice_is_told_apart_in_each_flow() -> None:
    rows = [f"2026-10-25 {hour:02d}:00,1,{flow}" for hour in (1, 2, 2, 3) for flow in ("IMPORT", "EXPORT")]
    document = {"instant": "t", "zone": "Europe/Paris", "flow": "f", "values": [{"column": "v"}]}
    assert starts(read("\n".join(["t,v,f", *rows]), document))[::2] == ["24 23:00", "25 00:00", "25 01:00", "25 02:00"]


def test_an_hour_the_clock_skips_is_refused_and_the_day_has_46_half_hours() -> None:
    labels = [f"2026-03-29 {n // 2:02d}:{n % 2 * 30:02d}" for n in range(48)]
    document = {"instant": "t", "zone": "Europe/Paris", "values": [{"column": "v"}]}
    entries = read("\n".join(["t,v", *(f"{label},1" for label in labels)]), document)
    assert len(wh(entries)) == 46
    assert all("skipped in spring" in reason for reason in reasons(entries).values())
    assert list(reasons(entries)) == [6, 7]


@pytest.mark.parametrize("hour", ["01:00", "HE 1", "HE01", "1"])
def test_a_label_at_the_end_of_the_hour_names_the_hour_before(hour: str) -> None:
    document = {"instant": "d", "time": "h", "zone": "UTC", "label": "end", "values": [{"column": "v"}], "slot_s": 3600}
    text = f"d,h,v\n2026-01-15,{hour},1\n2026-01-15,24:00,2\n15.01.2026,24,3\n"
    assert starts(read(text, document)) == ["15 00:00", "15 23:00", "15 23:00"]


def test_the_hour_that_ends_when_the_clock_is_put_forward_exists() -> None:
    document = {"instant": "t", "zone": "Europe/Paris", "label": "end", "values": [{"column": "v"}], "slot_s": 3600}
    entries = read("t,v\n2026-03-29 02:00,1\n2026-03-29 03:00,1\n2026-03-29 02:30,1\n", document)
    assert starts(entries) == ["29 00:00", "29 00:00"]
    assert list(reasons(entries)) == [4]


def test_a_semicolon_brings_decimal_commas() -> None:
    document = {"instant": "Zeit", "zone": "Europe/Berlin", "values": [{"column": "Bezug", "unit": "kWh"}]}
    assert wh(read("Zeit;Bezug\n15.01.2026 11:00;1,25\n15.01.2026 12:00;0,5\n", document)) == [1250, 500]


def test_a_net_column_becomes_both_flows() -> None:
    document = {"instant": "t", "values": [{"column": "v", "flow": "NET"}], "slot_s": 900}
    entries = read("t,v\n2026-01-15T10:00:00Z,-7\n2026-01-15T10:15:00Z,9\n", document)
    assert (wh(entries, "IMPORT"), wh(entries, "EXPORT")) == ([0, 9], [7, 0])


def test_stands_of_a_register_become_readings_across_a_roll_over() -> None:
    document = {"instant": "t", "values": [{"column": "v", "unit": "kWh"}], "register": True}
    entries = read(
        "t,v\n" + "".join(f"2026-01-15T{10 + n}:00:00Z,{v}\n" for n, v in enumerate((998.5, 999.9, 0.4))), document
    )
    assert (wh(entries), list(reasons(entries))) == ([1400, 500], [2])
    assert starts(entries) == ["15 10:00", "15 11:00"]


def test_a_quality_column_is_kept() -> None:
    document = {"instant": "t", "quality": "q", "values": [{"column": "v"}]}
    rows = zip(range(10, 14), ("A", "estimated", "manual", "guess"), strict=True)
    entries = read("t,v,q\n" + "".join(f"2026-01-15T{hour}:00:00Z,1,{mark}\n" for hour, mark in rows), document)
    assert [e.reading.quality for e in entries if isinstance(e, Found)] == ["MEASURED", "ESTIMATED", "EDITED"]
    assert "'guess' is not known" in reasons(entries)[5]


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("timestamp,Consumption (kWh)", [("kWh", "IMPORT")]),
        ("DateTime,KWH/hh (per half hour) ", [("kWh", "")]),
        ("start;Import [W];PV export [W]", [("W", "IMPORT"), ("W", "EXPORT")]),
    ],
)
def test_a_heading_that_leaves_no_doubt_needs_no_mapping(heading: str, columns: list[tuple[str, str]]) -> None:
    guessed = mapping.guessed(heading.split(";" if ";" in heading else ","))
    assert [(value.unit, value.flow) for value in guessed.values] == columns


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "no JSON object"),
        ({"values": [{"column": "v"}]}, "lacks 'instant'"),
        ({"instant": "t"}, "must list 1 to 8"),
        ({"instant": "t", "values": []}, "must list 1 to 8"),
        ({"instant": "t", "values": [{}]}, "names no column"),
        ({"instant": "t", "values": [7]}, "column, unit and flow"),
        ({"instant": "t", "values": [{"column": "v", "unit": "J"}]}, "unit 'J' is not known"),
        ({"instant": "t", "values": [{"column": "v", "flow": "UP"}]}, "EXPORT, IMPORT or NET"),
        ({"instant": "t", "values": [{"column": "v"}], "colour": 1}, "unknown member 'colour'"),
        ({"instant": "t", "values": [{"column": "v"}], "slot_s": "1800"}, "'slot_s' must be a int"),
        ({"instant": "t", "values": [{"column": "v"}], "slot_s": True}, "'slot_s' must be a int"),
        ({"instant": "t", "values": [{"column": "v"}], "slot_s": 7}, "from 60 to 86400"),
        ({"instant": "t", "values": [{"column": "v"}], "zone": "Mars/Base"}, "IANA name"),
        ({"instant": "t", "values": [{"column": "v"}], "zone": "../../etc/passwd"}, "IANA name"),
        ({"instant": "t", "values": [{"column": "v"}], "label": "middle"}, "start or end"),
        ({"instant": "t", "values": [{"column": "v"}], "delimiter": "||"}, "one character"),
        ({"instant": "t", "values": [{"column": "v"}], "modulus_wh": -1}, "10^15"),
        ({"instant": "t" * 201, "values": [{"column": "v"}]}, "longer than 200"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused_by_its_member(document: Any, says: str) -> None:
    with pytest.raises(Unreadable, match=says.replace("^", r"\^")):
        mapping.from_document(document)


def test_a_file_that_makes_no_sense_is_refused_with_its_columns() -> None:
    with pytest.raises(Unreadable, match=r"the columns 'colour', 'size' do not say"):
        read("colour,size\nred,big\n")
    with pytest.raises(Unreadable, match=r"no column 'load'; the file has 't', 'v'"):
        read("t,v\n", {"instant": "t", "values": [{"column": "load"}]})
    assert read("") == []
    assert read("\n\n") == []


def test_a_line_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(Unreadable, match="longer than 65536 bytes"):
        list(csv_reader.lines_of(io.BytesIO(b"x" * 10_000_000)))
    assert list(csv_reader.lines_of(io.BytesIO(b"\xef\xbb\xbfa\nb\xff\n"))) == ["a\n", "b�\n"]


_CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["2026-10-25 02:30", "2026-03-29T02:30", "2026-01-15T10:00:00Z", "24:00", "1.5", "NaN", "1e400", '"']
    ),
)


@given(
    rows=st.lists(st.lists(_CELLS, max_size=5), max_size=12),
    document=st.sampled_from(
        [
            None,
            {"instant": "a", "values": [{"column": "b", "unit": "kW", "flow": "NET"}], "zone": "Europe/Paris"},
            {"instant": "a", "time": "b", "values": [{"column": "c"}], "zone": "America/New_York", "label": "end"},
            {"instant": "a", "values": [{"column": "b"}], "register": True, "flow": "c", "quality": "d"},
        ]
    ),
)
def test_whatever_text_comes_it_is_a_reading_or_a_refusal(rows: list[list[str]], document: Any) -> None:
    text = "\n".join(["a,b,c,d", *(",".join(row) for row in rows)] if document else [",".join(row) for row in rows])
    try:
        entries = read(text, document)
    except Unreadable as refusal:
        assert str(refusal)
        return
    for entry in entries:
        if isinstance(entry, Found):
            assert entry.flow in ("EXPORT", "IMPORT")
            assert entry.reading.energy_wh >= 0
            why_refused(entry.reading)
        else:
            assert entry.reason


@given(st.binary(max_size=300))
def test_whatever_bytes_come_they_are_readings_or_refusals(raw: bytes) -> None:
    try:
        list(csv_reader.read(csv_reader.lines_of(io.BytesIO(raw))))
    except Unreadable as refusal:
        assert str(refusal)
