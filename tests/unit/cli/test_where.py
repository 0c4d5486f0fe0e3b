"""Which node a command speaks about, and where its settings come from."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from cli import where

NODE = {
    "name": "bap",
    "role": "bap",
    "subscriber_id": "bap.example",
    "url": "http://127.0.0.1:1",
    "admin_token": "secret",
    "database_url": "postgresql://kept",
    "environment": {"SIGNING_KEY": "secret"},
}


@pytest.fixture
def up(tmp_path: Path) -> Path:
    """A directory in which a network seems to be up."""
    lock = where.take_lock(tmp_path)
    assert lock is not None
    where.state_path(tmp_path).write_bytes(orjson.dumps({"nodes": [NODE]}))
    return tmp_path


def test_without_a_network_the_sentence_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(where.NotFound, match="powershare up"):
        where.nodes(tmp_path)


def test_a_state_that_a_killed_supervisor_left_is_not_believed(tmp_path: Path) -> None:
    where.state_path(tmp_path).write_bytes(orjson.dumps({"nodes": [NODE]}))
    with pytest.raises(where.NotFound):
        where.nodes(tmp_path)


def test_an_unknown_node_is_answered_with_the_known_ones(up: Path) -> None:
    with pytest.raises(where.NotFound, match=r"no node 'bpp'.*there are bap"):
        where.node("bpp", up)


def test_a_node_is_found_by_name_and_by_subscriber_id(up: Path) -> None:
    assert where.node("bap", up) == where.node("bap.example", up)


def test_a_node_does_not_show_its_secrets(up: Path) -> None:
    assert "secret" not in repr(where.node("bap", up))


def test_the_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    held = where.take_lock(tmp_path)
    assert held is not None
    assert where.take_lock(tmp_path) is None
    assert where.is_up(tmp_path)
    os.close(held)
    assert not where.is_up(tmp_path)


def test_a_setting_comes_from_the_file_that_is_named_for_it(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://from-file\n")
    assert where.setting("DATABASE_URL", {"DATABASE_URL_FILE": str(tmp_path / "url")}) == "postgresql://from-file"
    assert where.setting("DATABASE_URL", {"DATABASE_URL": "postgresql://plain"}) == "postgresql://plain"
    assert where.setting("DATABASE_URL", {}) == ""


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(where.NotFound, match="DATABASE_URL_FILE: cannot read"):
        where.setting("DATABASE_URL", {"DATABASE_URL_FILE": str(tmp_path / "absent")})


def test_without_a_database_the_sentence_names_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(where.NotFound, match=r"DATABASE_URL.*--node"):
        where.database_url("", tmp_path)


def test_the_registry_of_the_environment_comes_before_the_one_that_is_up(
    up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_URL", "http://registry.example")
    monkeypatch.setenv("ADMIN_TOKEN", "token")
    assert where.registry(up) == ("http://registry.example", "token")
