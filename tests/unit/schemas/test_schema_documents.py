"""The published schemas: one for every action, in both profiles, complete in themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from beckn import actions
from schemas import documents
from schemas.documents import PROFILES, Profile

EVERY = [(profile, name) for profile in PROFILES for name in documents.schema_names()]


def objects_in(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for element in node:
            yield from objects_in(element)
    elif isinstance(node, dict):
        yield node
        for element in node.values():
            yield from objects_in(element)


def test_an_unknown_name_or_profile_has_no_document() -> None:
    for profile, name in [("accept", "on_subscribe"), ("strict", "select"), ("accept", "../validate")]:
        with pytest.raises(KeyError):
            documents.document(profile, name)  # type: ignore[arg-type]


def test_every_action_has_a_schema_and_nothing_else_has() -> None:
    assert set(documents.schema_names()) == set(actions.ACTIONS)


@pytest.mark.parametrize(("profile", "name"), EVERY)
def test_a_document_is_valid_and_complete_in_itself(profile: Profile, name: str) -> None:
    document = documents.document(profile, name)
    Draft202012Validator.check_schema(document)
    assert document["$id"] == f"urn:powershare:beckn-1.1.0:{profile}:{name}"
    assert "x-emit" not in json.dumps(document)
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(document))
    for node in objects_in(document):
        if "$ref" in node:
            assert node["$ref"].startswith("#/$defs/")
            resolver.lookup(node["$ref"])


@pytest.mark.parametrize(("profile", "name"), EVERY)
def test_every_definition_of_a_document_is_used(profile: Profile, name: str) -> None:
    document = documents.document(profile, name)
    used = {node["$ref"].removeprefix("#/$defs/") for node in objects_in(document) if "$ref" in node}
    assert set(document["$defs"]) == used


@pytest.mark.parametrize("name", documents.schema_names())
def test_every_object_is_closed_for_what_we_send_and_open_for_what_arrives(name: str) -> None:
    sent = [n for n in objects_in(documents.document("emit", name)) if n.get("type") == "object" and "properties" in n]
    assert sent
    assert all(node["additionalProperties"] is False for node in sent)
    arriving = objects_in(documents.document("accept", name))
    assert not any("additionalProperties" in node for node in arriving)


@pytest.mark.parametrize("name", documents.schema_names())
def test_every_string_and_list_that_arrives_is_bounded(name: str) -> None:
    for node in objects_in(documents.document("accept", name)):
        kinds = node.get("type", ())
        if "string" in ([kinds] if isinstance(kinds, str) else kinds) and "enum" not in node:
            assert "maxLength" in node, node
        if kinds == "array":
            assert "maxItems" in node, node


def test_every_file_of_the_source_says_what_it_is_for() -> None:
    for name in documents.schema_names():
        assert documents.document("accept", name)["description"].endswith(".")
