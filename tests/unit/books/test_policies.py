"""The policies a node knows: those built in, those in its directory, and what stops it from starting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beckn import config
from books import policies
from books.policies import PolicyBook, PolicySettings, UnknownPolicy
from trade import policy

VILLAGE = {"name": "village", "version": 2, "settlement": "MIN_OF_TWO", "wheeling_buyer_micro_per_kwh": 20_000}
NODE = {
    "port": 0,
    "public_url": "http://localhost",
    "subscriber_id": "bap.example",
    "key_id": "k1",
    "signing_key": "A" * 43 + "=",
    "database_url": "postgresql://nobody@localhost/nothing",
}


def written(directory: Path, name: str, document: object) -> Path:
    path = directory / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_without_a_directory_a_node_knows_the_built_in_policies() -> None:
    assert [entry.id for entry in policies.read("")] == [
        "deg-wave2@1",
        "deviation@1",
        "iterated@1",
        "plain@1",
        "street@1",
    ]


def test_a_directory_adds_its_files(tmp_path: Path) -> None:
    written(tmp_path, "village.json", VILLAGE)
    written(tmp_path, "older.json", VILLAGE | {"version": 1})
    written(tmp_path, "notes.txt", "not read")
    book = policies.read(str(tmp_path))
    assert {"village@1", "village@2", "plain@1"} <= {entry.id for entry in book}
    found = book.get("village@2")
    assert found is not None
    assert (found.wheeling_buyer_micro_per_kwh, book.digest("village@2")) == (20_000, policy.digest(found))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "cannot be read"),
        (VILLAGE | {"rounds": 0}, "from 1 to 9"),
        (VILLAGE | {"name": "plain", "version": 1}, "a changed policy needs a new version"),
        (" " * 70_000, "at most 65536 bytes"),
        ("[" * 60_000, "village.json"),
    ],
)
def test_a_file_that_is_no_policy_stops_the_node_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, document: object, words: str
) -> None:
    path = written(tmp_path, "village.json", document)
    for name, value in NODE.items():
        monkeypatch.setenv(name.upper(), str(value))
    monkeypatch.setenv("POLICY_DIR", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        config.load(PolicySettings)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "POLICY_DIR" in said
    assert str(path) in said
    assert words in said


def test_one_name_and_version_in_two_files_stops_the_node(tmp_path: Path) -> None:
    written(tmp_path, "a.json", VILLAGE)
    written(tmp_path, "b.json", VILLAGE)
    with pytest.raises(ValueError, match=r"b\.json: village@2 exists already"):
        policies.read(str(tmp_path))


def test_a_directory_that_is_none_stops_the_node(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no directory"):
        policies.read(str(tmp_path / "absent"))


def test_the_settings_carry_the_book(tmp_path: Path) -> None:
    written(tmp_path, "village.json", VILLAGE)
    settings = PolicySettings(**NODE, policy_dir=str(tmp_path))  # type: ignore[arg-type]
    assert settings.policies.get("village@2") is not None
    assert settings.policies is settings.policies


def test_no_name_is_the_plain_policy() -> None:
    assert PolicyBook().named("", "") == policy.PLAIN


def test_a_known_name_with_its_digest_is_found() -> None:
    street = policy.BUILT_IN["street@1"]
    assert PolicyBook().named("street@1", policy.digest(street)) is street
    assert PolicyBook().named("street@1", "") is street


def test_an_unknown_policy_is_named_with_those_that_are_known() -> None:
    with pytest.raises(UnknownPolicy, match=r"'village@2' is not known here.*plain@1, street@1"):
        PolicyBook().named("village@2", "")


def test_other_rules_by_a_known_name_are_told_apart_by_their_digest() -> None:
    with pytest.raises(UnknownPolicy, match="other rules by 'street@1'"):
        PolicyBook().named("street@1", "0" * 16)
