"""docs/settlement.md says what the code does: its tables are made again from the inputs it prints."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from tests.support.settlement_example import DOCUMENT, Example
from trade import flows
from trade.policy import BUILT_IN, Policy
from trade.quote import LineKind

TEXT = DOCUMENT.read_text()
EXAMPLE = Example(TEXT)


@pytest.mark.parametrize("name", EXAMPLE.tables())
def test_every_table_of_the_worked_example_follows_from_its_inputs(name: str) -> None:
    assert EXAMPLE.tables()[name] in TEXT, f"the table {name!r} should read:\n{EXAMPLE.tables()[name]}"


def test_both_versions_of_every_settlement_sum_to_zero() -> None:
    for state in (EXAMPLE.first, EXAMPLE.corrected):
        for result in state.results.values():
            assert sum(flows.nets(result.flows).values()) == 0


def test_a_correction_of_sols_meter_leaves_tias_contracts_as_they_were() -> None:
    for key in ("anna-tia", "ben-tia"):
        assert EXAMPLE.corrected.results[key].flows == EXAMPLE.first.results[key].flows


def test_sums_in_the_sentences_are_those_of_the_tables() -> None:
    said = {match for match in re.findall(r"\b0\.\d{5}\b", re.sub(r"^\|.*$", "", TEXT, flags=re.MULTILINE))}
    shown = set(re.findall(r"\b0\.\d{5}\b", "\n".join(EXAMPLE.tables().values())))
    assert said - shown == {"0.02660"}  # the difference of two flows of ENERGY, 0.44000 less 0.41340


def test_the_document_names_every_policy_charge_and_rule() -> None:
    for policy_id in BUILT_IN:
        assert f"| {policy_id} |" in TEXT
    for kind in set(LineKind) - {LineKind.CANCELLATION_FEE, LineKind.RESOLUTION}:
        assert f"| {kind} |" in TEXT
    for suffix in {field.name.rsplit("_", 1)[-1] for field in fields(Policy) if field.name.endswith(("_ppm", "_s"))}:
        assert f"_{suffix}`" in TEXT
