"""The published schemas: one self-contained JSON Schema for each action, in two profiles from one source.

The source is the folder `v1_1`: a file for each action, and in `definitions` what they share. Two rules make a
profile of it:

* The keyword `x-emit` belongs to the `emit` profile alone. Its members replace those of the schema it stands in
  (null takes one away); `false` on a property takes that property away. The `accept` profile ignores it.
* In the `emit` profile every schema with `"type": "object"` and `properties` is closed (`additionalProperties`
  false). A schema without `type` refines another and closes nothing.

What results has no keyword of ours in it and refers to nothing outside itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

Profile = Literal["accept", "emit"]

#: `accept`: open, for what arrives. `emit`: closed, for what we send.
PROFILES: tuple[Profile, ...] = get_args(Profile)

_FOLDER = Path(__file__).parent / "v1_1"

#: Keywords whose value maps names to schemas.
_NAMED_SCHEMAS = frozenset({"properties", "$defs"})

#: Keywords whose value is data, not a schema.
_DATA = frozenset({"const", "enum", "required", "type", "default", "examples"})


@cache
def schema_names() -> tuple[str, ...]:
    """The names that have a schema: every action and callback of this network."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@cache
def document(profile: Profile, name: str) -> dict[str, Any]:
    """The schema of one action in one profile, complete in itself; raises KeyError for an unknown profile or name.

    The result is shared: do not change it.
    """
    if profile not in PROFILES or name not in schema_names():
        raise KeyError(f"{profile}/{name}")
    schema = _derive(_read(_FOLDER / f"{name}.json"), emit=profile == "emit")
    definitions = _definitions(profile)
    used: dict[str, Any] = {}
    pending = list(_references(schema))
    while pending:
        wanted = pending.pop()
        if wanted not in used:
            used[wanted] = definitions[wanted]
            pending.extend(_references(used[wanted]))
    identity = {"$schema": schema.pop("$schema"), "$id": f"urn:powershare:beckn-1.1.0:{profile}:{name}"}
    return {**identity, **schema, "$defs": dict(sorted(used.items()))}


@cache
def _definitions(profile: Profile) -> dict[str, Any]:
    """All shared definitions of a profile by name; a name is used once over all files."""
    merged: dict[str, Any] = {}
    for path in sorted((_FOLDER / "definitions").glob("*.json")):
        for name, schema in _read(path)["$defs"].items():
            if name in merged:
                raise ValueError(f"{path.name} defines {name} a second time")
            merged[name] = _derive(schema, emit=profile == "emit")
    return merged


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _derive(node: Any, *, emit: bool) -> Any:
    """One schema of the source in one profile, its references turned inward."""
    if isinstance(node, list):
        return [_derive(element, emit=emit) for element in node]
    if not isinstance(node, dict):
        return node
    members = {**node}
    patch = members.pop("x-emit", None)
    if emit and isinstance(patch, dict):
        members = {key: value for key, value in {**members, **patch}.items() if value is not None}
    derived: dict[str, Any] = {}
    for key, value in members.items():
        if key in _DATA:
            derived[key] = value
        elif key == "$ref":
            derived[key] = "#" + value.partition("#")[2]
        elif key in _NAMED_SCHEMAS:
            derived[key] = {
                name: _derive(schema, emit=emit)
                for name, schema in value.items()
                if not (emit and schema.get("x-emit") is False)
            }
        else:
            derived[key] = _derive(value, emit=emit)
    if emit and derived.get("type") == "object" and "properties" in derived:
        derived.setdefault("additionalProperties", False)
    return derived


def _references(node: Any) -> Iterator[str]:
    """Names of the definitions a schema refers to."""
    if isinstance(node, list):
        for element in node:
            yield from _references(element)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value.removeprefix("#/$defs/")
            elif key not in _DATA:
                yield from _references(value)
