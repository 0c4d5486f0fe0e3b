"""`powershare statement` and `powershare reconcile`: what they refuse; a signature is checked without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from books import signed
from cli import main
from tests.support.post_office import BAP, BPP

NOWHERE = "http://127.0.0.1:9"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main.app, list(arguments))


def get(*arguments: str, directory: Path) -> Any:
    return run("statement", "get", "--node", NOWHERE, "-o", str(directory / "may.pdf"), *arguments)


@pytest.mark.parametrize(
    ("arguments", "word", "status"),
    [
        ((), "name one of --account, --provider and --order", 1),
        (("--account", "a", "--order", "o"), "name one of --account, --provider and --order", 1),
        (("--account", "a"), "needs --period", 1),
        (("--order", "o", "--format", "docx"), "say json, csv or pdf", 2),
        (("--order", "o"), "does not answer", 1),
    ],
)
def test_a_statement_that_cannot_be_fetched_is_a_sentence_and_no_file(
    arguments: tuple[str, ...], word: str, status: int, tmp_path: Path
) -> None:
    result = get(*arguments, directory=tmp_path)
    assert (result.exit_code, word in result.stderr) == (status, True), result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "status"), [("may.csv", 1), ("may.JSON", 1), ("may.txt", 2), ("may", 2)])
def test_the_ending_of_the_file_says_its_form(name: str, status: int, tmp_path: Path) -> None:
    result = run("statement", "get", "--node", NOWHERE, "-o", str(tmp_path / name), "--order", "o")
    assert (result.exit_code, "say --format" in result.stderr) == (status, status == 2), result.stderr


def test_reconcile_with_a_node_that_does_not_answer_is_a_sentence() -> None:
    result = run("reconcile", "--bap", NOWHERE, "--bpp", NOWHERE)
    assert (result.exit_code, "does not answer" in result.stderr) == (1, True), result.stderr


def kept(directory: Path, body: bytes = b"what was charged") -> Path:
    """A statement and its signature beside it."""
    file = directory / "may.pdf"
    file.write_bytes(body)
    (directory / "may.pdf.sig").write_text(f"{signed.sign(body, identity=BAP)}\n")
    return file


def test_a_file_is_verified_with_a_key_given(tmp_path: Path) -> None:
    result = run("statement", "verify", str(kept(tmp_path)), "--public-key", BAP.public_key_b64)
    assert (result.exit_code, BAP.subscriber_id in result.stdout) == (0, True), result.stderr


@pytest.mark.parametrize("key", [BPP.public_key_b64, "not a key"])
def test_another_key_or_none_is_refused(key: str, tmp_path: Path) -> None:
    result = run("statement", "verify", str(kept(tmp_path)), "--public-key", key)
    assert (result.exit_code, bool(result.stderr)) == (1, True)


def test_a_changed_file_a_missing_or_an_unreadable_signature_is_refused(tmp_path: Path) -> None:
    file = kept(tmp_path)
    file.write_bytes(b"what was charged!")
    known = ("--public-key", BAP.public_key_b64)
    assert "it was changed" in run("statement", "verify", str(file), *known).stderr
    file.with_name("may.pdf.sig").write_text("nothing")
    assert "This is no signature" in run("statement", "verify", str(file), *known).stderr
    file.with_name("may.pdf.sig").unlink()
    assert "cannot read the signature" in run("statement", "verify", str(file), *known).stderr


def test_without_a_key_or_a_registry_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGISTRY_URL", raising=False)
    result = run("statement", "verify", str(kept(tmp_path)), "--directory", str(tmp_path / "none"))
    assert (result.exit_code, "no network is up" in result.stderr) == (1, True)
