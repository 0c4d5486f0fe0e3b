"""The command line itself: what it refuses before it does anything, and that it starts in a blink."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli import main

ROOT = Path(__file__).resolve().parents[3]


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(main.app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("node", "bpq"), "there is no node 'bpq'"),
        (("outbox", "list", "--state", "LOST"), "there is no state 'LOST'"),
        (("outbox", "resend"), "name letters by seq, or give --all"),
        (("outbox", "resend", "3", "--all"), "name letters by seq, or give --all"),
    ],
)
def test_a_command_that_makes_no_sense_ends_with_2_and_a_sentence(arguments: tuple[str, ...], word: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert word in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("outbox", "list"),
        ("migrate",),
        ("ledger", "check"),
        ("subscriber", "list"),
        ("claim", "list"),
        ("keys", "show"),
        ("doctor", "--node", "bap"),
    ],
)
def test_a_command_without_a_node_says_what_is_missing(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("DATABASE_URL", "REGISTRY_URL", "SIGNING_KEY"):
        monkeypatch.delenv(variable, raising=False)
    result = _run(*arguments, "--directory", str(tmp_path))
    assert result.exit_code == 1
    assert re.search("set DATABASE_URL|no network is up|set SIGNING_KEY", result.stderr)


def test_a_database_that_does_not_answer_is_a_sentence_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@/nothing?host=/nowhere")
    for arguments in (("migrate",), ("outbox", "list"), ("ledger", "check")):
        result = _run(*arguments)
        assert result.exit_code == 1
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert result.stderr.strip()


def test_new_keys_are_printed_as_settings() -> None:
    lines = _run("keys", "new", "--key-id", "bap-7").stdout.splitlines()
    assert [line.partition("=")[0] for line in lines if not line.startswith("#")] == [
        "KEY_ID",
        "SIGNING_KEY",
        "ENCRYPTION_KEY",
    ]
    assert "KEY_ID=bap-7" in lines


def test_help_loads_neither_the_nodes_nor_the_database() -> None:
    code = (
        "import sys, cli.main; print([m for m in ('aiohttp', 'asyncpg', 'sqlalchemy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_that_the_readme_names_exists_and_is_described() -> None:
    root: Any = typer.main.get_command(main.app)
    named = set(re.findall(r"powershare ((?:[a-z]+)(?: [a-z]+)?)", (ROOT / "README.md").read_text()))
    assert named
    for words in named:
        first, _, second = words.partition(" ")
        command = root.commands.get(first)
        assert command is not None, f"README names `powershare {words}`"
        assert command.help
        if hasattr(command, "commands") and second:
            assert second in command.commands, f"README names `powershare {words}`"
