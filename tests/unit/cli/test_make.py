"""The Makefile: what a person types becomes the command that is run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def _would_run(*arguments: str) -> str:
    done = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return " ".join(done.stdout.replace("\\\n", " ").split())


@pytest.mark.parametrize("target", ["demo", "up", "down", "test", "check", "bench", "fix", "migrate"])
def test_every_word_of_the_readme_is_a_target_that_needs_no_file_of_its_name(target: str) -> None:
    assert _would_run(target)
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY"))
    assert target in phony.split()


def test_the_demo_is_told_what_was_asked_for_and_nothing_else() -> None:
    assert _would_run("demo").endswith(".venv/bin/powershare demo")
    asked = _would_run("demo", "DAYS=30", "DATE=2017-05-01", "HOMES=8", "SEED=7", "RECORD=letters/")
    assert asked.endswith("demo --days 30 --date 2017-05-01 --homes 8 --seed 7 --record letters/")


def test_a_python_that_is_too_old_or_lacks_venv_is_answered_with_the_line_that_installs_it(tmp_path: Path) -> None:
    lacking = tmp_path / "python3.11"
    lacking.write_text('#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; *) echo python3.11;; esac\n')
    lacking.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "requirements-dev.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for python, line in ((str(lacking), "sudo apt install python3.11-venv"), ("", "sudo apt install python3.11 ")):
        done = subprocess.run(
            ["make", "install", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert line in done.stderr


def test_a_network_stands_on_the_ports_that_were_asked_for() -> None:
    assert _would_run("up").endswith(".venv/bin/powershare up")
    assert _would_run("up", "PORT=9001").endswith("powershare up --first-port 9001")
