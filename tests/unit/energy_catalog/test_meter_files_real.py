"""Our readers against another one, and against plain sums of real files.

The files are not ours to ship (docs/meters.md says where they come from). They are found through METER_FILES, by
default in `shared/data` beside the repository.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from greenbutton_objects import parse
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_catalog.meter_files import csv_reader, espi, mapping
from energy_catalog.meter_files.entries import Found, Refused
from trade import vee
from trade.reading import Reading

_FOLDER = Path(os.environ.get("METER_FILES", Path(__file__).parents[4] / "shared" / "data"))
real = pytest.mark.skipif(not _FOLDER.is_dir(), reason=f"the files are not at {_FOLDER}; set METER_FILES")
_FEEDS = {
    "electric_containerized.xml": (8, 4086),
    "TestGBDataHourlyNineDaysBinnedDaily.xml": (216, 199_563),
    "Desert_Single_Family_Jan_1_2011_to_Jan_1_2012_RetailCustomer_7.xml": (8760, 12_397_107),
}


def ours(path: Path) -> list[tuple[datetime, int, int, Any]]:
    with path.open("rb") as stream:
        entries = list(espi.read(stream))
    assert not [entry for entry in entries if isinstance(entry, Refused)]
    readings = [(entry.reading, entry.cost_e5) for entry in entries if isinstance(entry, Found)]
    return sorted((r.starts_at, r.slot_s, r.energy_wh, cost) for r, cost in readings)


def theirs(path: Path) -> list[tuple[datetime, int, int, Any]]:
    return sorted(
        (
            reading.timePeriod.start,
            int(reading.timePeriod.duration.total_seconds()),
            int(reading.value),
            None if reading.cost is None else round(reading.cost * 100_000),
        )
        for point in parse.parse_feed(str(path))
        for series in point.meterReadings
        for block in series.intervalBlocks
        for reading in block.intervalReadings
    )


_FEED = """<feed xmlns="http://www.w3.org/2005/Atom">
<entry><link rel="self" href="u/UsagePoint/1"/><link rel="up" href="u/UsagePoint"/>
<link rel="related" href="u/UsagePoint/1/MeterReading"/><title>t</title>
<content><UsagePoint xmlns="http://naesb.org/espi"><ServiceCategory><kind>0</kind></ServiceCategory></UsagePoint></content></entry>
<entry><link rel="self" href="u/UsagePoint/1/MeterReading/1"/><link rel="up" href="u/UsagePoint/1/MeterReading"/>
<link rel="related" href="u/UsagePoint/1/MeterReading/1/IntervalBlock"/><link rel="related" href="u/ReadingType/1"/>
<title>t</title><content><MeterReading xmlns="http://naesb.org/espi"/></content></entry>
<entry><link rel="self" href="u/ReadingType/1"/><link rel="up" href="u/ReadingType"/><title>t</title><content>
<ReadingType xmlns="http://naesb.org/espi"><accumulationBehaviour>4</accumulationBehaviour><commodity>1</commodity>
<currency>840</currency><flowDirection>1</flowDirection><intervalLength>900</intervalLength>
<powerOfTenMultiplier>{power}</powerOfTenMultiplier><uom>72</uom></ReadingType></content></entry>{blocks}</feed>"""
_BLOCK = """<entry><link rel="self" href="u/UsagePoint/1/MeterReading/1/IntervalBlock/{n}"/>
<link rel="up" href="u/UsagePoint/1/MeterReading/1/IntervalBlock"/><title>t</title><content>
<IntervalBlock xmlns="http://naesb.org/espi"><interval><duration>86400</duration><start>1293868800</start></interval>
{readings}</IntervalBlock></content></entry>"""
_READING = """<IntervalReading>{cost}<timePeriod><duration>900</duration><start>{start}</start></timePeriod>
<value>{value}</value></IntervalReading>"""


@settings(max_examples=40, deadline=None)
@given(
    blocks=st.lists(
        st.lists(st.tuples(st.integers(0, 10**6), st.none() | st.integers(0, 10**6)), min_size=1, max_size=8),
        min_size=1,
        max_size=4,
    ),
    power=st.integers(0, 3),
)
def test_another_reader_finds_the_same_in_a_feed(
    blocks: list[list[tuple[int, int | None]]], power: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    texts, start = [], 1_293_868_800
    for n, block in enumerate(blocks):
        readings = ""
        for value, cost in block:
            said = "" if cost is None else f"<cost>{cost}</cost>"
            readings += _READING.format(cost=said, start=start, value=value)
            start += 900
        texts.append(_BLOCK.format(n=n, readings=readings))
    path = tmp_path_factory.mktemp("feed") / "feed.xml"
    path.write_text(_FEED.format(power=power, blocks="".join(texts)))
    assert ours(path) == theirs(path)


@real
@pytest.mark.parametrize("name", _FEEDS)
def test_a_real_feed_gives_the_readings_that_another_reader_and_a_plain_parse_find(name: str) -> None:
    path = _FOLDER / "green_button" / name
    found = ours(path)
    assert found == theirs(path)
    plain = Counter(
        int(each.findtext("{http://naesb.org/espi}value") or 0)
        for each in ElementTree.parse(path).iter("{http://naesb.org/espi}IntervalReading")
    )
    assert Counter(wh for _, _, wh, _ in found) == plain
    assert (len(found), sum(wh for _, _, wh, _ in found)) == _FEEDS[name]
    findings = vee.validate([Reading(*each[:3]) for each in found], zone="America/Los_Angeles")
    assert [finding.kind for finding in findings] == (["GAP"] if len(found) == 8 else [])  # that one is abridged


def _half_hour_wh(text: str, watts: int) -> int:
    """Mean power over half an hour as Wh, by another way than the reader's."""
    return int((Decimal(text) * watts / 2).quantize(Decimal(1), ROUND_HALF_UP))


@real
def test_the_solar_home_is_mean_power_of_half_hours() -> None:
    path = _FOLDER / "ausgrid_home12_2011-2012.csv"
    with path.open("rb") as stream:
        entries = list(csv_reader.read(csv_reader.lines_of(stream), zone="Etc/GMT-10"))
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for flow, column in (("IMPORT", "GC"), ("EXPORT", "GG")):
        found = [entry.reading for entry in entries if isinstance(entry, Found) and entry.flow == flow]
        assert [reading.energy_wh for reading in found] == [_half_hour_wh(row[column], 1000) for row in rows]
        assert {reading.slot_s for reading in found} == {1800}
        assert found[0].starts_at == datetime(2011, 6, 30, 14, tzinfo=UTC)
        limits = vee.Limits(zero_run_s=3 * vee.DAY_S)
        assert vee.validate(found, zone="Etc/GMT-10", limits=limits) == []
    assert sum(e.reading.energy_wh for e in entries if isinstance(e, Found) and e.flow == "IMPORT") == 5_938_369


@real
def test_the_home_with_gaps_keeps_its_gaps_and_they_can_be_estimated() -> None:
    document = {
        "instant": "timestamp_utc",
        "values": [{"column": "sensor.power_load_no_var_loads", "unit": "W", "flow": "IMPORT"}],
    }
    path = _FOLDER / "emhass_home_load_pv_30min.csv"
    with path.open("rb") as stream:
        entries = list(csv_reader.read(csv_reader.lines_of(stream), mapping=mapping.from_document(document)))
    found = [entry.reading for entry in entries if isinstance(entry, Found)]
    refused = [entry for entry in entries if isinstance(entry, Refused)]
    assert (len(found), len(refused)) == (17_188, 336)
    assert all("a gap" in entry.reason for entry in refused)
    with path.open(newline="") as lines:
        said = [row["sensor.power_load_no_var_loads"] for row in csv.DictReader(lines)]
    assert [reading.energy_wh for reading in found] == [_half_hour_wh(text, 1) for text in said if text]
    missing = vee.gaps(found)
    lost = sum((gap.end - gap.start for gap in missing), timedelta(0)) // timedelta(minutes=30)
    assert lost == 336
    made = vee.estimate(found, missing, zone="Europe/Paris")
    assert len(made.readings) + sum((g.ends_at - g.starts_at) // timedelta(minutes=30) for g in made.left) == lost
    assert not [each for each in vee.validate([*found, *made.readings], zone="Europe/Paris") if each.kind != "GAP"]
