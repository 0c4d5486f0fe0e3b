"""The compiled validator against the reference implementation: the same verdict on letters and on random mutants."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators

from schemas import documents, validate
from schemas.documents import Profile
from tests.support.wire_cases import letter_sets

#: Values a careless or hostile sender could put anywhere.
ODD_VALUES = [
    None, True, 0, -1, 10**30, 1.5, [], [{}], {}, {"code": "x"}, "", " ", "x" * 300, "x" * 5000, "abc1", "1e3", "12.5",
    "+1.5", ".5", "1" * 19, "-3", "PT30S", "P1Y", "30", "2026-01-15T10:00:00Z", "2026-01-15T10:00:00+05:30",
    "2026-01-15T10:00:00", "2026-02-30T10:00:00Z", "a\x00b", "a\nb", "ünïcode", "INR", "inr", "INR/kWh",
    "https://example.org/x", "no url", "POST_FULFILLMENT", "POST-FULFILLMENT", "1, 2", "99,999", "Order",
    "6743e9e2-4fb5-487c-92b7-13ba8018f176",
]  # fmt: skip


def _ecma_pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    """`pattern` as JSON Schema means it: in ECMA regular expressions `$` is the very end, before no newline."""
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


Reference = validators.extend(Draft202012Validator, {"pattern": _ecma_pattern})


@cache
def reference(profile: Profile, action: str) -> Any:
    return Reference(documents.document(profile, action), format_checker=FormatChecker())


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a letter."""
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from places(node[key])


@st.composite
def mutants(draw: st.DrawFn) -> dict[str, Any]:
    """A letter of ours with up to three things changed, left out, added or repeated."""
    letter = copy.deepcopy(draw(st.sampled_from(draw(letter_sets()))))
    for _ in range(draw(st.integers(0, 3))):
        container, key = draw(st.sampled_from(list(places(letter))))
        change = draw(st.sampled_from(["replace", "remove", "add", "repeat"]))
        if change == "remove":
            del container[key]
        elif change == "add" and isinstance(container, dict):
            container[draw(st.sampled_from(["id", "code", "undescribed", "error", "tags", "value"]))] = draw(
                st.sampled_from(ODD_VALUES)
            )
        elif change == "repeat" and isinstance(container[key], list):
            container[key] = container[key] * draw(st.sampled_from([2, 40, 1001]))
        else:
            container[key] = draw(st.sampled_from(ODD_VALUES))
        if not letter:
            break
    return letter


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(letter=mutants())
def test_the_compiled_validator_and_the_reference_agree_on_mutants(letter: dict[str, Any]) -> None:
    context = letter.get("context")
    named = context.get("action") if isinstance(context, dict) else None
    action = named if named in documents.schema_names() else "on_init"
    for profile in documents.PROFILES:
        expected = reference(profile, action).is_valid(letter)
        try:
            validate.check(action, letter, profile=profile)
        except validate.Invalid as invalid:
            assert not expected, (profile, invalid.path, invalid.sentence)
            assert invalid.sentence.endswith(".")
        else:
            assert expected, (profile, [error.message for error in reference(profile, action).iter_errors(letter)])


@pytest.mark.parametrize("profile", documents.PROFILES)
@pytest.mark.parametrize(
    "definition", ["Decimal", "Instant", "Duration", "Currency", "Uri", "Gps", "Id", "Text", "Email", "Phone"]
)
def test_they_agree_on_every_odd_value_of_every_basic_type(profile: Profile, definition: str) -> None:
    schema = documents.document(profile, "on_init")["$defs"].get(definition)
    if schema is None:
        schema = documents.document(profile, "on_search")["$defs"][definition]
    compiled = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    oracle = Reference(schema, format_checker=FormatChecker())
    for value in ODD_VALUES:
        assert compiled.is_valid(value) == oracle.is_valid(value), value
