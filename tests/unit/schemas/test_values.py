"""Wire values: what is refused and why, and that whole numbers survive the way there and back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import values
from schemas.values import WireRefusal


def refusal(read: Callable[..., Any], *arguments: Any, **options: Any) -> WireRefusal:
    with pytest.raises(WireRefusal) as caught:
        read(*arguments, path="message.x", **options)
    assert caught.value.path.startswith("message.x")
    return caught.value


NO_DECIMALS = [
    "",
    "abc1",
    "1e3",
    "1.",
    "1,5",
    " 1",
    "1\n",
    "--1",
    "0x1",
    "NaN",
    "Infinity",
    "1" * 19,
    "٣",
    None,
    7,
    1.5,
]


@pytest.mark.parametrize("text", NO_DECIMALS)
def test_what_is_no_decimal_string_is_refused(text: Any) -> None:
    caught = refusal(values.decimal_from_wire, text)
    assert caught.code == "30000"
    assert caught.sentence == 'message.x must be a decimal number in a string, such as "12.5".'


@pytest.mark.parametrize("text", ["5", "+5", "5.0", "0005", ".5", "-.5", "1" * 18 + "." + "1" * 18])
def test_every_decimal_of_the_specification_is_read(text: str) -> None:
    assert str(values.decimal_from_wire(text, path="x") + 0)


@pytest.mark.parametrize("unit", [None, "", "kW", "mWh", "GWh", "J", 7, "kWh/h"])
def test_energy_in_another_unit_is_refused_by_name(unit: Any) -> None:
    caught = refusal(values.energy_from_wire, {"value": "1", "unit": unit})
    assert caught.path == "message.x.unit"
    assert "kWh, Wh or MWh" in caught.sentence


@pytest.mark.parametrize("measure", [None, {}, [], "1 kWh"])
def test_energy_without_a_measure_is_refused(measure: Any) -> None:
    assert refusal(values.energy_from_wire, measure).path == "message.x.unit"


@pytest.mark.parametrize(
    ("value", "unit", "why"),
    [
        ("1.2345", "kWh", "not a whole number of Wh"),
        ("0.5", "Wh", "not a whole number of Wh"),
        ("-1", "kWh", "outside 0 to 1000000000000 Wh"),
        ("1000001", "MWh", "outside 0 to 1000000000000 Wh"),
        ("1" * 18, "MWh", "outside 0 to 1000000000000 Wh"),
    ],
)
def test_energy_that_is_no_whole_bounded_wh_is_refused(value: str, unit: str, why: str) -> None:
    caught = refusal(values.energy_from_wire, {"value": value, "unit": unit})
    assert why in caught.sentence
    assert value in caught.sentence


@pytest.mark.parametrize(
    ("value", "unit", "energy_wh"),
    [
        ("1.5", "kWh", 1500),
        ("1000", "kWH", 1_000_000),
        (".001", "kwh", 1),
        ("0", "kWh", 0),
        ("1.500000000000000000", "kWh", 1500),
        ("7", "Wh", 7),
        ("7.0", "Wh", 7),
        ("0.000001", "MWh", 1),
        ("1000000", "MWh", 10**12),
    ],
)
def test_energy_is_read_in_kwh_wh_and_mwh(value: str, unit: str, energy_wh: int) -> None:
    assert values.energy_from_wire({"value": value, "unit": unit}, path="x") == energy_wh


@given(st.integers(0, values.ENERGY_WH_MAX))
def test_energy_survives_the_wire(energy_wh: int) -> None:
    assert values.energy_from_wire(values.energy_to_wire(energy_wh)["measure"], path="x") == energy_wh


@given(st.integers(0, values.PRICE_MICRO_MAX))
def test_a_price_survives_the_wire(price_micro: int) -> None:
    assert values.price_from_wire(values.price_to_wire(price_micro), path="x") == price_micro


@given(st.integers(-values.AMOUNT_MILLI_MAX, values.AMOUNT_MILLI_MAX), st.integers(0, 3))
def test_an_amount_survives_the_wire(amount_milli: int, exponent: int) -> None:
    text = values.amount_to_wire(amount_milli, exponent=exponent)
    assert values.amount_from_wire(text, exponent=exponent, path="x") == amount_milli


@pytest.mark.parametrize(
    ("amount_milli", "exponent", "text"),
    [
        (30_000, 2, "0.30"),
        (-5_000, 2, "-0.05"),
        (700_000_000, 2, "7000.00"),
        (7_000, 0, "7"),
        (7_250, 0, "7.25"),
        (1_000, 3, "0.001"),
        (0, 2, "0.00"),
        (0, 0, "0"),
        (108_432, 2, "1.08432"),
        (-1, 3, "-0.000001"),
    ],
)
def test_amounts_are_written_with_all_decimals_of_their_currency_and_the_finer_ones_that_count(
    amount_milli: int, exponent: int, text: str
) -> None:
    assert values.amount_to_wire(amount_milli, exponent=exponent) == text


def test_less_than_a_thousandth_of_a_cent_is_refused_and_not_rounded() -> None:
    sentence = refusal(values.amount_from_wire, "0.315001", exponent=2).sentence
    assert "not a whole number of thousandths of a minor unit" in sentence
    assert "minor unit" in refusal(values.amount_from_wire, "0.0005", exponent=0).sentence
    assert values.amount_from_wire("0.31500", exponent=2, path="x") == 31_500
    assert values.amount_from_wire("7000.000000", exponent=2, path="x") == 700_000_000


@pytest.mark.parametrize("price", ["-0.01", "0.0000001", "1000001"])
def test_an_impossible_price_is_refused(price: str) -> None:
    assert price in refusal(values.price_from_wire, price).sentence


@pytest.mark.parametrize("currency", ["", "usd", "US", "EURO", "INR/hour", "€UR", None, 7, "ÄÖÜ"])
def test_what_is_no_currency_is_refused(currency: Any) -> None:
    assert "three capital letters" in refusal(values.currency_from_wire, currency).sentence


@pytest.mark.parametrize(("text", "currency"), [("INR", "INR"), ("INR/kWh", "INR"), ("INR/kWH", "INR")])
def test_a_currency_per_kwh_is_a_currency(text: str, currency: str) -> None:
    assert values.currency_from_wire(text, path="x") == currency


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        1768471200,
        "2026-01-15",
        "2026-01-15T10:00:00",
        "15-01-2026 10:00",
        "2026-13-01T00:00:00Z",
        "1999-12-31T23:59:59Z",
        "2101-01-01T00:00:00Z",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
    ],
)
def test_an_instant_without_zone_or_outside_reason_is_refused(text: Any) -> None:
    assert refusal(values.instant_from_wire, text).code == "30000"


def test_an_instant_is_read_in_any_zone_and_written_in_utc() -> None:
    instant = values.instant_from_wire("2024-10-04T10:00:00+05:30", path="x")
    assert instant == datetime(2024, 10, 4, 4, 30, tzinfo=UTC)
    assert instant.utcoffset() == timedelta(0)
    there = datetime(2024, 10, 4, 10, 0, 0, 123_000, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert values.instant_to_wire(there) == "2024-10-04T04:30:00.123Z"
    assert values.instant_to_wire(instant) == "2024-10-04T04:30:00Z"


@given(st.integers(0, values.DURATION_S_MAX))
def test_a_duration_survives_the_wire(seconds: int) -> None:
    assert values.duration_from_wire(values.duration_to_wire(seconds), path="x") == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "P1Y", "P1M", "30", "PT-5S", "P9999999D", "P20000D", None])
def test_what_is_no_duration_of_fixed_length_is_refused(text: Any) -> None:
    assert refusal(values.duration_from_wire, text).code == "30000"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT15M", 900), ("P1D", 86_400), ("P1W", 604_800), ("P1DT1H1M1S", 90_061), ("PT0S", 0), ("PT1.5S", 1)],
)
def test_durations_of_weeks_to_seconds_are_read(text: str, seconds: int) -> None:
    assert values.duration_from_wire(text, path="x") == seconds


START, END = datetime(2024, 10, 4, 10, tzinfo=UTC), datetime(2024, 10, 4, 18, tzinfo=UTC)
START_TEXT, END_TEXT = "2024-10-04T10:00:00Z", "2024-10-04T18:00:00Z"


@pytest.mark.parametrize(
    ("stops", "window"),
    [
        (None, (None, None)),
        ([], (None, None)),
        ([{}], (None, None)),
        ([{"time": {"range": {"start": START_TEXT, "end": END_TEXT}}}], (START, END)),
        ([{"time": {"range": {"start": START_TEXT}}}], (START, None)),
        ([{"type": "end", "time": {"timestamp": END_TEXT}}], (None, END)),
        ([{"type": "START", "time": {"timestamp": START_TEXT}}], (START, None)),
        (values.window_to_stops(START, END), (START, END)),
        ([{"time": {"timestamp": START_TEXT}}], (None, None)),
    ],
)
def test_a_window_is_read_from_either_form_of_stops(stops: Any, window: Any) -> None:
    assert values.window_from_stops(stops, path="x") == window


def test_a_window_that_ends_before_it_starts_is_refused() -> None:
    stops = values.window_to_stops(END, START)
    assert "ends before it starts" in refusal(values.window_from_stops, stops).sentence


@pytest.mark.parametrize(("entries", "count"), [(None, 0), ([], 0), ([{}, {}], 2)])
def test_a_list_that_must_have_one_entry_is_refused_with_another_number(entries: Any, count: int) -> None:
    assert f"has {count} entries" in refusal(values.only_one, entries, what="offer").sentence


def test_a_refusal_becomes_the_error_of_a_callback() -> None:
    assert WireRefusal("30004", "message.x", "No such item.").error() == {
        "code": "30004",
        "message": "No such item.",
        "paths": "message.x",
    }
    assert "paths" not in WireRefusal("40000", "", "No.").error()
