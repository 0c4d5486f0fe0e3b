"""A policy as data: what it may say, what contradicts itself, and how it is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trade import policy
from trade.policy import BOUNDS, BUILT_IN, PolicyInvalid

LEAST: dict[str, Any] = {"name": "village", "version": 1}


def refusal(**said: Any) -> PolicyInvalid:
    with pytest.raises(PolicyInvalid) as refused:
        policy.parse(LEAST | said)
    assert str(refused.value) == refused.value.sentence
    return refused.value


def test_a_name_and_a_version_are_enough_and_mean_plain_rules() -> None:
    found = policy.parse(LEAST)
    assert (found.id, found.is_two_sided, found.rounds) == ("village@1", False, 1)


@pytest.mark.parametrize("policy_id", BUILT_IN)
def test_a_built_in_policy_reads_back_as_itself(policy_id: str) -> None:
    entry = BUILT_IN[policy_id]
    assert policy.parse(policy.document(entry)) == entry
    assert len(policy.digest(entry)) == 16


def test_the_wave_2_policy_is_the_devkits_to_the_letter() -> None:
    entry = BUILT_IN["deg-wave2@1"]
    assert (entry.wheeling_buyer_micro_per_kwh, entry.wheeling_seller_micro_per_kwh) == (250_000, 300_000)
    assert (entry.penalty, entry.penalty_micro_per_kwh, entry.rounding) == ("SELLER", 500_000, "ROUND2_CONTRACT")


@pytest.mark.parametrize("name", BOUNDS)
def test_every_number_has_a_least_and_a_most_and_the_sentence_says_them(name: str) -> None:
    least, most = BOUNDS[name]
    for value in (least - 1, most + 1, str(least), 1.5, True, None):
        refused = refusal(**{name: value})
        assert refused.field == name
        assert f"from {least} to {most}" in refused.sentence


@pytest.mark.parametrize("name", ["settlement", "allocation", "penalty", "rounding"])
def test_a_rule_nobody_knows_is_refused_with_the_rules_there_are(name: str) -> None:
    refused = refusal(**{name: "FIFO"})
    assert refused.field == name
    assert "it can be " in refused.sentence


@pytest.mark.parametrize("name", ["", "Village", "9lives", "a" * 41, "a b", "ä", 7, None])
def test_a_name_that_no_contract_could_carry_is_refused(name: object) -> None:
    assert refusal(name=name).field == "name"


@pytest.mark.parametrize("missing", ["name", "version"])
def test_a_policy_without_name_or_version_is_refused(missing: str) -> None:
    with pytest.raises(PolicyInvalid, match="is missing"):
        policy.parse({name: value for name, value in LEAST.items() if name != missing})


@pytest.mark.parametrize("document", [None, [], "plain@1", 7])
def test_what_is_no_object_is_no_policy(document: object) -> None:
    with pytest.raises(PolicyInvalid, match="JSON object"):
        policy.parse(document)


def test_an_unknown_field_is_refused_because_a_typing_error_must_not_change_a_settlement() -> None:
    assert refusal(penalty_micro_per_kw=1).field == "penalty_micro_per_kw"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"allocation": "ITERATED", "rounds": 3}, "allocation"),
        ({"settlement": "MIN_OF_TWO", "allocation": "ITERATED"}, "rounds"),
        ({"settlement": "MIN_OF_TWO", "rounds": 3}, "rounds"),
        ({"settlement": "DEVIATION", "import_micro_per_kwh": 1, "penalty_micro_per_kwh": 1}, "penalty_micro_per_kwh"),
        ({"settlement": "DEVIATION"}, "import_micro_per_kwh"),
        ({"tolerance_ppm": 100_000}, "tolerance_ppm"),
    ],
)
def test_rules_that_contradict_each_other_are_refused(said: dict[str, Any], field: str) -> None:
    assert refusal(**said).field == field


def test_a_digest_belongs_to_one_policy_alone_and_does_not_hang_on_the_order_of_its_fields() -> None:
    entry = BUILT_IN["deg-wave2@1"]
    backwards = policy.parse(dict(reversed(policy.document(entry).items())))
    assert policy.digest(backwards) == policy.digest(entry) == "c77995a6d0466f97"
    assert (
        policy.digest(policy.parse(policy.document(entry) | {"penalty_micro_per_kwh": 500_001})) != "c77995a6d0466f97"
    )


@given(
    st.dictionaries(st.sampled_from([*BOUNDS, "name", "settlement", "rounding"]), st.integers() | st.text() | st.none())
)
def test_whatever_a_document_says_it_is_a_policy_or_refused_with_a_field(said: dict[str, Any]) -> None:
    try:
        found = policy.parse(LEAST | said)
    except PolicyInvalid as refused:
        assert refused.field in {"name", "settlement", "rounding", *BOUNDS}
    else:
        assert policy.parse(policy.document(found)) == found
