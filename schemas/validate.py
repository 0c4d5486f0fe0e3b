"""Is this letter well formed? Compiled validators for both profiles, and a sentence a person can act on.

`check` is on the path of every letter, so each schema is compiled once by `jsonschema-rs`, when it is first used.
Schema validity is not safety: meaning (units, amounts, known ids) is checked afterwards, by whoever reads the message.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema_rs

from schemas import documents
from schemas.documents import Profile


class Invalid(Exception):
    """A letter does not satisfy its schema: where, and what to change."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(sentence)
        #: Where, such as `message.order.items[0].quantity`; empty for the letter as a whole.
        self.path = path
        #: Names the field, the limit and the remedy.
        self.sentence = sentence


def check(action: str, document: dict[str, Any], *, profile: Profile) -> None:
    """Refuse a letter (`{"context", "message", "error"}`) that the profile's schema refuses; raises Invalid.

    An action without a schema is refused, too: nothing is sent or accepted unchecked.
    """
    if action not in documents.schema_names():
        raise Invalid("context.action", f'context.action "{action}" is not an action of this network.')
    validator = _validator(profile, action)
    if not validator.is_valid(document):
        raise _explain(next(iter(validator.iter_errors(document))), documents.document(profile, action))


@cache
def _validator(profile: Profile, action: str) -> jsonschema_rs.Draft202012Validator:
    # The linear-time regex engine: a stranger's string can never make a pattern run away.
    return jsonschema_rs.Draft202012Validator(
        documents.document(profile, action), validate_formats=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def _explain(error: jsonschema_rs.ValidationError, schema: dict[str, Any]) -> Invalid:
    """Path and sentence of one violation."""
    path = _dotted(error.instance_path)
    kind, details = error.kind.name, error.kind.as_dict()
    field = path or "the letter"
    if kind == "required":
        missing = f"{path}.{details['property']}" if path else details["property"]
        return Invalid(missing, f"{missing} is missing; add it.")
    if kind == "additionalProperties":
        extra = f"{path}.{details['unexpected'][0]}" if path else details["unexpected"][0]
        return Invalid(extra, f"{extra} is not a field of this network's messages; leave it out or use a tag group.")
    if kind == "anyOf":
        return Invalid(path, f"{field} lacks a field: it must have {_alternatives(details)}.")
    rule = _RULES.get(kind)
    if rule is not None:
        return Invalid(path, f"{field} {rule.format(**_listed(details))}.")
    meant = _description(schema, error.schema_path)
    return Invalid(path, f"{field} must be {meant}." if meant else f"{field} is not allowed here: {error.message}.")


#: What a violated keyword says, where the keyword says enough.
_RULES = {
    "type": "must be of type {types}",
    "enum": "must be one of {options}",
    "const": 'must be "{expected_value}"',
    "maxLength": "is too long: at most {limit} characters are allowed",
    "minLength": "is too short: at least {limit} character is needed",
    "maxItems": "has too many entries: at most {limit} are allowed",
    "minItems": "has too few entries: at least {limit} is needed",
    "not": "has a field that does not belong here at this stage (such as an order id before the order is confirmed)",
}


def _listed(details: dict[str, Any]) -> dict[str, Any]:
    """The details of an error with lists written as words."""
    return {
        key: ", ".join(str(element) for element in value) if isinstance(value, list) else value
        for key, value in details.items()
    }


def _alternatives(details: dict[str, Any]) -> str:
    names = [
        branch[0].kind.as_dict()["property"]
        for branch in details["context"]
        if branch and branch[0].kind.name == "required"
    ]
    return " or ".join(names)


def _description(schema: dict[str, Any], schema_path: list[str | int]) -> str:
    """The description of the schema a violated keyword stands in; empty when it has none."""
    node: Any = schema
    for step in schema_path[:-1]:
        node = node[step]
    return str(node.get("description", "")) if isinstance(node, dict) else ""


def _dotted(path: list[str | int]) -> str:
    """`message.order.items[0].id` from the steps of a path."""
    dotted = ""
    for step in path:
        dotted += f"[{step}]" if isinstance(step, int) else f".{step}" if dotted else step
    return dotted
