"""Keys: two private ones a node, importable, never shown."""

from __future__ import annotations

from pathlib import Path

from beckn import challenge, signing
from cli import keys


def test_new_keys_are_read_by_the_node_that_gets_them() -> None:
    made = keys.generate("bap-1")
    assert len(signing.import_private_key(made.signing_key)) == 32
    assert len(signing.import_public_key(made.signing_public_key)) == 32
    challenge.import_private(made.encryption_key)
    challenge.import_public(made.encryption_public_key)


def test_no_two_keys_are_alike() -> None:
    one, other = keys.generate("k"), keys.generate("k")
    assert len({one.signing_key, one.encryption_key, other.signing_key, other.encryption_key}) == 4


def test_the_public_keys_show_nothing_of_the_private_ones() -> None:
    made = keys.generate("k")
    assert made.signing_public_key != made.signing_key
    assert made.encryption_public_key != made.encryption_key
    assert made.signing_key not in repr(made)


def test_a_ring_without_a_place_is_forgotten() -> None:
    ring = keys.KeyRing(None)
    assert ring.of("bap") == ring.of("bap")
    ring.keep()
    assert keys.KeyRing(None).of("bap") != ring.of("bap")


def test_a_kept_ring_is_the_owners_alone_and_gives_the_same_keys_again(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "secrets.json"
    ring = keys.KeyRing(path)
    token, own = ring.of("bap")
    ring.keep()
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.KeyRing(path).of("bap") == (token, own)
