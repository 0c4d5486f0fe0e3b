"""A meter has one name, however it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade.meter_ids import MeterIdRefused, bare_meter_id

MRID = "0FB4A1C2D3E4F5061728394A5B6C7D8E"


@pytest.mark.parametrize(
    "written",
    [
        MRID,
        MRID.lower(),
        f"der://meter/{MRID}",
        f"DER://meter/{MRID.lower()}",
        "urn:uuid:0fb4a1c2-d3e4-f506-1728-394a5b6c7d8e",
        "0fb4a1c2-d3e4-f506-1728-394a5b6c7d8e",
        f" {MRID} ",
    ],
)
def test_every_spelling_of_an_mrid_is_one_meter(written: str) -> None:
    assert bare_meter_id(written) == MRID


def test_a_utilitys_own_number_is_kept_as_it_is_written() -> None:
    assert bare_meter_id("der://meter/98765456") == "98765456"
    assert bare_meter_id("meter-7") == "meter-7"


@pytest.mark.parametrize("written", ["", "der://meter/", "a b", "der://house/7", "x" * 129, "../7", "zähler"])
def test_what_names_no_meter_is_refused_with_what_to_send(written: str) -> None:
    with pytest.raises(MeterIdRefused, match="names no meter; send an mRID"):
        bare_meter_id(written)


@given(st.text(max_size=200))
def test_a_bare_id_is_bare_for_ever(text: str) -> None:
    try:
        bare = bare_meter_id(text)
    except MeterIdRefused:
        return
    assert bare_meter_id(bare) == bare
