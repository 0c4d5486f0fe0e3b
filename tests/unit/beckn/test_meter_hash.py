"""What the registry knows a meter by."""

from __future__ import annotations

import hashlib

import pytest

from beckn.claims import bare, meter_hash

SALT = bytes(range(32))


@pytest.mark.parametrize(
    "written", ["98765ABC", "98765abc", "der://meter/98765abc", "DER://meter/98765ABC", "der://98765abc/"]
)
def test_two_spellings_of_one_meter_are_one_meter(written: str) -> None:
    assert bare(written) == "98765abc"
    assert meter_hash(SALT, written) == hashlib.sha256(SALT + b"98765abc").hexdigest()


def test_another_salt_gives_another_hash() -> None:
    assert meter_hash(SALT, "m") != meter_hash(bytes(32), "m")
