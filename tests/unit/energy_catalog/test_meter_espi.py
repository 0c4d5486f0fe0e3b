"""Green Button feeds are read by their types; other units are refused by name; nothing dangerous is expanded."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_catalog.meter_files import espi
from energy_catalog.meter_files.entries import Found, Refused, Unreadable
from trade.reading import Reading

START_S = 1_293_868_800
START = datetime.fromtimestamp(START_S, UTC)
HOUR = timedelta(hours=1)
_HREF = "https://utility.example/espi/1_1/resource"


def kind(number: int = 1, **changes: Any) -> str:
    said = {
        "accumulationBehaviour": 4,
        "flowDirection": 1,
        "intervalLength": 3600,
        "powerOfTenMultiplier": 0,
        "uom": 72,
    }
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in (said | changes).items() if value is not None)
    return _entry(f"ReadingType/{number}", f'<ReadingType xmlns="http://naesb.org/espi">{fields}</ReadingType>')


def meter_reading(number: int = 1, *, type_number: int = 1) -> str:
    own = f"UsagePoint/1/MeterReading/{number}"
    links = f'<link rel="related" href="{_HREF}/{own}/IntervalBlock"/>'
    links += f'<link rel="related" href="{_HREF}/ReadingType/{type_number}"/>'
    return _entry(own, '<MeterReading xmlns="http://naesb.org/espi"/>', links)


def reading(value: Any, n: int = 0, *, extra: str = "", duration: Any = 3600) -> str:
    period = f"<timePeriod><duration>{duration}</duration><start>{START_S + 3600 * n}</start></timePeriod>"
    return f"<IntervalReading>{extra}{period}<value>{value}</value></IntervalReading>"


def block(*readings: str, number: int = 1, of: int = 1) -> str:
    head = f"<interval><duration>86400</duration><start>{START_S}</start></interval>"
    content = f'<IntervalBlock xmlns="http://naesb.org/espi">{head}{"".join(readings)}</IntervalBlock>'
    return _entry(f"UsagePoint/1/MeterReading/{of}/IntervalBlock/{number}", content)


def _entry(path: str, content: str, links: str = "") -> str:
    return f'<entry><link rel="self" href="{_HREF}/{path}"/>{links}<content>{content}</content></entry>'


def feed(*entries: str) -> io.BytesIO:
    return io.BytesIO(f'<feed xmlns="http://www.w3.org/2005/Atom">{"".join(entries)}</feed>'.encode())


def read(*entries: str, **options: Any) -> list[Found | Refused]:
    return list(espi.read(feed(*entries), **options))


def one(*entries: str) -> Found:
    [entry] = read(*entries)
    assert isinstance(entry, Found), entry
    return entry


def refusal(*entries: str) -> str:
    [entry] = read(*entries)
    assert isinstance(entry, Refused), entry
    return entry.reason


def test_delta_data_of_forward_flow_is_import() -> None:
    entries = read(kind(), meter_reading(), block(reading(450), reading(430, 1)), block(reading(7, 2), number=2))
    assert entries == [
        Found(1, "IMPORT", Reading(START, 3600, 450)),
        Found(2, "IMPORT", Reading(START + HOUR, 3600, 430)),
        Found(3, "IMPORT", Reading(START + 2 * HOUR, 3600, 7)),
    ]


@pytest.mark.parametrize(("direction", "flow"), [(1, "IMPORT"), (19, "EXPORT"), (None, "IMPORT")])
def test_the_flow_direction_says_the_flow(direction: int | None, flow: str) -> None:
    assert one(kind(flowDirection=direction), meter_reading(), block(reading(5))).flow == flow


def test_net_flow_becomes_both() -> None:
    entries = read(kind(flowDirection=4), meter_reading(), block(reading(-5), reading(6, 1)))
    assert [(e.flow, e.reading.energy_wh) for e in entries if isinstance(e, Found)] == [
        ("IMPORT", 0),
        ("EXPORT", 5),
        ("IMPORT", 6),
        ("EXPORT", 0),
    ]


@pytest.mark.parametrize(("power", "value", "wh"), [(3, 2, 2000), (-3, 1500, 2), (0, 7, 7), (-15, 7, 0)])
def test_the_power_of_ten_is_applied(power: int, value: int, wh: int) -> None:
    assert one(kind(powerOfTenMultiplier=power), block(reading(value))).reading.energy_wh == wh


def test_two_meter_readings_keep_their_types_wherever_these_stand() -> None:
    entries = read(
        block(reading(1), of=1),
        block(reading(2), of=2),
        meter_reading(1, type_number=1),
        meter_reading(2, type_number=2),
        kind(1),
        kind(2, flowDirection=19, powerOfTenMultiplier=3),
    )
    assert [(e.flow, e.reading.energy_wh) for e in entries if isinstance(e, Found)] == [("IMPORT", 1), ("EXPORT", 2000)]


def test_a_block_that_belongs_to_no_type_is_refused_reading_by_reading() -> None:
    assert "links to no ReadingType" in refusal(kind(1), kind(2), meter_reading(1, type_number=9), block(reading(1)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"uom": 38}, r"uom\) is 38 \(W, power\)"),
        ({"uom": 169}, r"169 \(therms\)"),
        ({"uom": None}, r"uom\) is none"),
        ({"uom": 999}, r"999 \(unknown here\)"),
        ({"flowDirection": 2}, "flowDirection is 2"),
        ({"accumulationBehaviour": 12}, "accumulationBehaviour is 12"),
        ({"powerOfTenMultiplier": 99}, "powerOfTenMultiplier is 99"),
    ],
)
def test_a_feed_of_another_unit_is_refused_by_its_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        read(kind(**changes), meter_reading(), block(reading(1)))


def test_gas_beside_electricity_is_refused_by_the_reading_and_electricity_is_read() -> None:
    entries = read(
        kind(1),
        kind(2, uom=169),
        meter_reading(1),
        meter_reading(2, type_number=2),
        block(reading(3)),
        block(reading(4), of=2),
    )
    assert isinstance(entries[0], Found)
    assert isinstance(entries[1], Refused)
    assert "therms" in entries[1].reason


@pytest.mark.parametrize(
    ("codes", "quality"),
    [
        ((17,), "MEASURED"),
        ((18,), "MEASURED"),
        ((19,), "MEASURED"),
        ((8,), "ESTIMATED"),
        ((17, 9), "ESTIMATED"),
        ((7, 19), "EDITED"),
    ],
)
def test_the_utilitys_word_on_quality_is_kept(codes: tuple[int, ...], quality: str) -> None:
    extra = "".join(f"<ReadingQuality><quality>{code}</quality></ReadingQuality>" for code in codes)
    assert one(kind(), block(reading(1, extra=extra))).reading.quality == quality
    assert one(kind(defaultQuality=codes[-1]), block(reading(1))).reading.quality in (quality, "MEASURED")


def test_what_was_not_measured_is_refused() -> None:
    extra = "<ReadingQuality><quality>12</quality></ReadingQuality>"
    assert "projected" in refusal(kind(), block(reading(1, extra=extra)))
    assert "99 is not known" in refusal(kind(), block(reading(1, extra=extra.replace("12", "99"))))


def test_costs_come_in_hundred_thousandths_of_the_feeds_currency() -> None:
    entries = (kind(currency=840), meter_reading(), block(reading(273, extra="<cost>819</cost>")))
    assert one(*entries).cost_e5 == 819
    assert espi.survey(feed(*entries)).currency == "USD"


def test_the_places_clock_is_told() -> None:
    clock = "<dstOffset>3600</dstOffset><tzOffset>-28800</tzOffset>"
    entry = _entry(
        "LocalTimeParameters/1", f'<LocalTimeParameters xmlns="http://naesb.org/espi">{clock}</LocalTimeParameters>'
    )
    assert espi.survey(feed(entry, kind())).local_time == espi.LocalTime(-28_800, 3600)


def test_a_register_becomes_what_passed_between_its_stands() -> None:
    entries = read(kind(accumulationBehaviour=3), meter_reading(), block(reading(95), reading(99, 1), reading(2, 2)))
    assert isinstance(entries[0], Refused)
    assert [(e.reading.energy_wh, e.reading.starts_at) for e in entries[1:] if isinstance(e, Found)] == [
        (4, START + HOUR),
        (3, START + 2 * HOUR),
    ]


def test_readings_without_a_period_follow_each_other_through_the_block() -> None:
    bare = "<IntervalReading><value>{}</value></IntervalReading>"
    entries = read(kind(intervalLength=900), meter_reading(), block(bare.format(1), bare.format(2)))
    assert [e.reading for e in entries if isinstance(e, Found)] == [
        Reading(START, 900, 1),
        Reading(START + HOUR / 4, 900, 2),
    ]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (reading("much"), "no value"),
        (reading("9" * 30), "no value"),
        (reading(-1), "below zero"),
        (reading(1, duration=2_592_000), "2592000 s"),
        (reading(1, duration=0), "interval is 0 s"),
        (reading(1).replace(str(START_S), "9" * 15), "no time in seconds"),
        (reading(1).replace(str(START_S), "soon"), "no start"),
    ],
)
def test_a_bad_reading_is_refused_and_the_next_is_read(bad: str, says: str) -> None:
    entries = read(kind(), meter_reading(), block(bad, reading(5, 1)))
    assert isinstance(entries[0], Refused)
    assert (says in entries[0].reason, entries[0].line) == (True, 1)
    assert isinstance(entries[1], Found)


# --- XML from strangers --------------------------------------------------------------------------------------------

_BOMB = b"""<?xml version="1.0"?><!DOCTYPE feed [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><feed xmlns="http://www.w3.org/2005/Atom" title="&c;">&c;</feed>"""
_FILE = b'<!DOCTYPE feed [<!ENTITY a SYSTEM "file:///etc/passwd">]><feed xmlns="http://www.w3.org/2005/Atom">&a;</feed>'
_OUTSIDE = b'<!DOCTYPE feed SYSTEM "http://127.0.0.1:9/x.dtd"><feed xmlns="http://www.w3.org/2005/Atom"/>'


@pytest.mark.parametrize("raw", [_BOMB, _FILE, _OUTSIDE])
def test_document_types_and_entities_are_refused_before_they_do_anything(raw: bytes) -> None:
    with pytest.raises(Unreadable, match="document type or entities"):
        espi.survey(io.BytesIO(raw))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "no well-formed XML"),
        (b"<feed", "no well-formed XML"),
        (b"<feed></wrong>", "no well-formed XML"),
        (b"<feed>&nbsp;</feed>", "no well-formed XML"),
        (b'<?xml version="1.0" encoding="klingon"?><feed/>', "no well-formed XML"),
        (b'<?xml version="1.0" encoding="shift_jis"?><feed/>', "no well-formed XML"),
        (b"<html/>", "no ReadingType"),
        (b"<a>" * 100_000, "nested more than"),
        (b"<feed><entry>" + b"<a/>" * 3000 + b"</entry></feed>", "more than 2000 elements"),
    ],
)
def test_what_is_no_feed_is_refused(raw: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        espi.survey(io.BytesIO(raw))


def test_a_year_of_hours_is_read_in_less_than_half_a_second_and_forgotten_as_it_goes() -> None:
    def blocks() -> Iterator[str]:
        for day in range(365):
            yield block(*(reading(450, day * 24 + hour) for hour in range(24)), number=day)

    stream = feed(kind(), meter_reading(), *blocks())
    best_s = 9.9
    for _ in range(3):
        stream.seek(0)
        began = time.process_time()
        count = sum(isinstance(entry, Found) for entry in espi.read(stream))
        best_s = min(best_s, time.process_time() - began)
    assert count == 8760
    assert best_s < 0.5


_TEXTS = st.one_of(st.integers(-(10**20), 10**20).map(str), st.text(alphabet="0123456789-.eE +", max_size=20))
_TAGS = ["timePeriod", "start", "duration", "value", "cost", "ReadingQuality", "quality", "IntervalReading", "interval"]


@st.composite
def _elements(draw: Any, depth: int = 0) -> str:
    tag = draw(st.sampled_from(_TAGS))
    children = "" if depth > 2 else "".join(draw(st.lists(_elements(depth=depth + 1), max_size=3)))
    return f"<{tag}>{children or draw(_TEXTS)}</{tag}>"


@given(
    st.lists(_elements(), max_size=6),
    st.dictionaries(
        st.sampled_from(["uom", "flowDirection", "powerOfTenMultiplier", "accumulationBehaviour", "intervalLength"]),
        _TEXTS,
    ),
)
def test_whatever_a_feed_holds_it_is_a_reading_or_a_refusal(elements: list[str], changes: dict[str, str]) -> None:
    try:
        entries = read(kind(**changes), meter_reading(), block(*elements, reading(1)))
    except Unreadable as refusal:
        assert str(refusal)
        return
    for entry in entries:
        if isinstance(entry, Found):
            assert entry.reading.energy_wh >= 0
            assert 60 <= entry.reading.slot_s <= 86_400
        else:
            assert entry.reason


@given(st.data())
def test_whatever_byte_is_altered_the_feed_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(feed(kind(), meter_reading(), block(reading(450), reading(430, 1))).getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        list(espi.read(io.BytesIO(bytes(raw))))
    except Unreadable as refusal:
        assert str(refusal)
