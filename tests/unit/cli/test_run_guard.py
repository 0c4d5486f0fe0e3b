"""A run of the tests that executes nothing fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
QUICK = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _run(tmp_path: Path, test: str, *arguments: str) -> int:
    (tmp_path / "test_sample.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "-p", "tests.conftest", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "-q", str(tmp_path), *arguments], cwd=ROOT, capture_output=True, check=False, env=QUICK
    ).returncode


SKIPPED = "import pytest\n@pytest.mark.skip(reason='absent')\ndef test_nothing(): pass\n"
PASSING = "def test_something(): pass\n"


@pytest.mark.parametrize(
    ("test", "arguments"),
    [
        pytest.param(SKIPPED, (), id="everything skipped"),
        pytest.param(PASSING, ("-k", "no_such_test"), id="everything deselected"),
        pytest.param("", (), id="nothing there"),
    ],
)
def test_a_run_that_executes_nothing_fails(tmp_path: Path, test: str, arguments: tuple[str, ...]) -> None:
    assert _run(tmp_path, test, *arguments) == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_run_that_executes_one_test_passes(tmp_path: Path) -> None:
    assert _run(tmp_path, SKIPPED + PASSING) == pytest.ExitCode.OK


def test_a_failure_stays_a_failure(tmp_path: Path) -> None:
    assert _run(tmp_path, "def test_wrong(): assert False\n") == pytest.ExitCode.TESTS_FAILED


def test_ci_runs_the_two_commands_and_stops_at_the_first_that_fails() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert "set -euo pipefail" in lines
    assert [line for line in lines if line.startswith("make")] == ["make test", "make check"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
