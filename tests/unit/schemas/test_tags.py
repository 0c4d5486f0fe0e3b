"""Tag groups: what cannot be read is refused by name, what is foreign is ignored, series survive."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import tags
from schemas.values import WireRefusal
from tests.support.wire_cases import energy_series, names
from trade.money import Series

GOOD = {"start": "2016-08-02T15:00:00Z", "slot": "PT1H", "unit": "Wh", "values": "0 120 340"}


def read(**changes: Any) -> tags.SeriesTag | None:
    group = tags.group_to_wire(
        tags.ENERGY_SERIES, {name: v for name, v in {**GOOD, **changes}.items() if v is not None}
    )
    return tags.series_from_wire([group], tags.ENERGY_SERIES, path="message.tags")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start", None),
        ("start", "2016-08-02"),
        ("slot", None),
        ("slot", "1h"),
        ("slot", "PT0S"),
        ("slot", "P32D"),
        ("unit", None),
        ("unit", "kWh"),
        ("values", None),
        ("values", ""),
        ("values", "1  2"),
        ("values", " 1"),
        ("values", "1,2"),
        ("values", "-1"),
        ("values", "1.5"),
        ("values", "²"),
        ("values", "٣"),
        ("values", "9" * 19),
        ("values", str(10**12 + 1)),
        ("values", " ".join(["1"] * (tags.SLOTS_MAX + 1))),
    ],
)
def test_a_series_that_cannot_be_read_is_refused_where_it_is_wrong(name: str, value: str | None) -> None:
    with pytest.raises(WireRefusal) as caught:
        read(**{name: value})
    assert caught.value.path == f"message.tags.ENERGY_SERIES.{name}"
    assert caught.value.sentence.startswith(caught.value.path)


def test_a_series_is_read() -> None:
    series = read()
    assert series is not None
    assert (series.start.isoformat(), series.slot_s, series.values) == (
        "2016-08-02T15:00:00+00:00",
        3600,
        (0, 120, 340),
    )


@pytest.mark.parametrize(
    "groups",
    [
        None,
        [],
        [{}],
        [{"descriptor": {}}],
        [{"descriptor": {"name": "ENERGY_SERIES"}}],
        [{"descriptor": {"code": "energy_series"}, "list": []}],
        [{"code": "ENERGY_SERIES", "list": [{"code": "values", "value": "1"}]}],
    ],
)
def test_foreign_groups_are_ignored(groups: Any) -> None:
    assert tags.series_from_wire(groups, tags.ENERGY_SERIES, path="x") is None
    assert tags.group_from_wire(groups, tags.ENERGY_SERIES) is None


def test_foreign_values_in_a_group_are_ignored() -> None:
    group = tags.group_to_wire(tags.ORDER_STATE, {"state": "ACTIVE"})
    group["list"] += [{}, {"value": "no name"}, {"descriptor": {"code": "no value"}}]
    assert tags.group_from_wire([group], tags.ORDER_STATE) == {"state": "ACTIVE"}


@pytest.mark.parametrize("code", [tags.ENERGY_SERIES, tags.METER_READINGS, tags.PRICE_SERIES])
@given(series=energy_series(slots_max=96))
def test_a_series_survives_the_wire(code: str, series: Series) -> None:
    group = tags.series_to_wire(code, series.start, series.slot_s, series.values)
    back = tags.series_from_wire([group], code, path="x")
    assert back is not None
    assert Series(*back) == series


@given(st.dictionaries(names, names, max_size=8))
def test_named_values_survive_the_wire(named: dict[str, str]) -> None:
    assert tags.group_from_wire([tags.group_to_wire("ANY", named)], "ANY") == named
