"""docs/divergences.md and schemas/README.md against the code: whatever we chose is written down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import registry.claims  # noqa: F401 - it has refusals of its own
from beckn import errors
from schemas import tags

ROOT = Path(__file__).parents[2]
DIVERGENCES = (ROOT / "docs" / "divergences.md").read_text()
README = (ROOT / "schemas" / "README.md").read_text()


def refusals(kind: type[errors.Refusal] = errors.Refusal) -> Iterator[type[errors.Refusal]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from refusals(subclass)


def test_every_code_that_is_sent_at_the_door_is_listed_with_its_status() -> None:
    listed = {
        (code, status)
        for code, statuses in re.findall(r"^\| (\d{5}) \| ([\d /]+) \|", DIVERGENCES, re.MULTILINE)
        for status in re.findall(r"\d{3}", statuses)
    }
    assert listed == {(refusal.code, str(refusal.http_status)) for refusal in refusals()}


def test_every_tag_group_is_described_in_both_places() -> None:
    groups = {value for name, value in vars(tags).items() if name.isupper() and value == name}
    assert {"ENERGY_SERIES", "SETTLEMENT", "SEARCH_FILTERS"} <= groups
    for text in (DIVERGENCES, README):
        cells = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|", text, re.MULTILINE)
        assert groups == {name for cell in cells for name in re.findall(r"[A-Z_]+", cell)}
