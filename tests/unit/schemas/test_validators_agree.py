"""The compiled validator against the reference implementation: the same verdict on letters and on random mutants."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators

from schemas import documents, validate
from schemas.documents import Profile
from tests.support.wire_cases import ODD_VALUES, mutants


def _ecma_pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    """`pattern` as JSON Schema means it: in ECMA regular expressions `$` is the very end, before no newline."""
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


Reference = validators.extend(Draft202012Validator, {"pattern": _ecma_pattern})


@cache
def reference(profile: Profile, action: str) -> Any:
    return Reference(documents.document(profile, action), format_checker=FormatChecker())


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
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
