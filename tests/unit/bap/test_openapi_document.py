"""The buyer's OpenAPI document: made from the routes, complete, and consistent in itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api import openapi, swagger
from bap import api, app
from bap.config import BuyerSettings

#: What anybody may call, without a token.
PUBLIC = {"/api/clock", "/api/payments/stripe/webhook", "/api/policies", "/api/policies/{policy_id}"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document(api.build())


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for entry in value.values():
            yield from references(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from references(entry)


def test_every_route_the_application_serves_is_in_the_document(document: dict[str, Any]) -> None:
    settings = BuyerSettings(
        port=0,
        public_url="http://bap.example",
        subscriber_id="bap.example",
        key_id="k1",
        signing_key="A" * 43 + "=",
        encryption_key="A" * 43 + "=",
        registry_url="http://registry.example",
        database_url="postgresql://nobody@/nothing",
    )
    served = {
        (route.resource.canonical, route.method.lower())
        for route in app.build(settings).router.routes()
        if route.resource is not None
    }
    served = {(path, method) for path, method in served if path.startswith("/api/") and method not in ("head", "*")}
    assert served == {(path, method) for path, method, _ in operations(document)}


def test_every_operation_has_its_own_id_a_summary_and_says_who_may_call_it(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for path, method, operation in operations(document):
        assert operation["summary"], (path, method)
        assert operation.get("x-roles") or path in PUBLIC, (path, method)


def test_every_parameter_of_a_path_is_declared(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))


def test_every_reference_leads_somewhere_and_every_schema_is_one(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for reference in references(document):
        prefix, _, name = reference.rpartition("/")
        assert prefix == "#/components/schemas"
        assert name in schemas
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def test_every_waiting_call_says_how_to_wait(document: dict[str, Any]) -> None:
    waiting = {
        path
        for path, _, operation in operations(document)
        if "Prefer" in {parameter["name"] for parameter in operation.get("parameters", [])}
    }
    assert "/api/searches" in waiting and "/api/orders/{order_id}/confirm" in waiting


def test_the_page_gets_a_document_without_what_3_0_does_not_know(document: dict[str, Any]) -> None:
    projected = swagger.as_3_0(document)
    assert projected["openapi"] == "3.0.3"
    text = str(projected)
    for unknown in ("'type': 'null'", "'const'", "'examples'", "'identifier'"):
        assert unknown not in text
    assert document["openapi"] == "3.1.0"
