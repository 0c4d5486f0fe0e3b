"""The published schemas as oracles: what core 1.1.1, onix peers and the energy Layer 2 say to a letter.

Their files are not part of this repository. They are found through BECKN_SPEC_DIR, by default in `shared/spec` beside
the checkout; a test that needs them skips by name when they are absent.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

SPEC = Path(os.environ.get("BECKN_SPEC_DIR", Path(__file__).parents[3] / "shared" / "spec"))

CORE, META = "core-1.1.1/transaction.yaml", "core-1.1.1/meta.yaml"
LAYER2 = "uei-l2/uei_p2p_trading.yaml"
ONIX = "onix-schemas-1.1.0"


def spec_path(name: str) -> Path:
    """A file or folder of the specifications; skips the test when it is absent."""
    path = SPEC / name
    if not path.exists():
        pytest.skip(f"the published specification is not at {path}; set BECKN_SPEC_DIR")
    return path


def repaired_examples() -> list[tuple[str, dict[str, Any]]]:
    """The 16 example letters that satisfy the Layer-2 file: (name, letter)."""
    folder = spec_path("uei-l2/repaired-examples")
    return [(path.stem, json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


@cache
def _open_api(name: str) -> tuple[dict[str, Any], Registry[Any]]:
    document = yaml.safe_load(spec_path(name).read_text())
    resource: Resource[Any] = Resource(contents=document, specification=DRAFT202012)
    return document, Registry().with_resource(f"https://oracle.example/{name}", resource)


@cache
def _onix_registry() -> Registry[Any]:
    folder = spec_path(ONIX)
    return Registry().with_resources(
        (f"https://oracle.example/{path.name}", Resource(json.loads(path.read_text()), DRAFT202012))
        for path in folder.glob("*.json")
    )


@cache
def _validator(oracle: str, action: str) -> Draft202012Validator | None:
    """A validator for an action; None when the oracle does not know the action."""
    if oracle == ONIX:
        if not (spec_path(ONIX) / f"{action}.json").exists():
            return None
        schema, registry = {"$ref": f"https://oracle.example/{action}.json"}, _onix_registry()
    else:
        document, registry = _open_api(oracle)
        if f"/{action}" not in document["paths"]:
            return None
        pointer = f"/paths/~1{action}/post/requestBody/content/application~1json/schema"
        schema = {"$ref": f"https://oracle.example/{oracle}#{pointer}"}
    return Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())


def knows(oracle: str, action: str) -> bool:
    """True when the oracle has a schema for the action."""
    return _validator(oracle, action) is not None


def complaints(oracle: str, letter: dict[str, Any]) -> set[str]:
    """What an oracle has against a letter, as `path: keyword` with list positions left out."""
    validator = _validator(oracle, letter["context"]["action"])
    if validator is None:
        return set()
    return {
        f"{'.'.join(str(step) for step in error.absolute_path if not isinstance(step, int))}: {error.validator}"
        for error in validator.iter_errors(letter)
    }


def core_complaints(letter: dict[str, Any]) -> set[str]:
    """What core says, from whichever of its two files knows the action."""
    return complaints(CORE if knows(CORE, letter["context"]["action"]) else META, letter)
