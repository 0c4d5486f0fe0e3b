"""The settings of a rotation: the key before goes with its id, and a new key has a new one."""

from __future__ import annotations

import base64

import pytest

from beckn import config
from beckn.config import BadConfiguration, NodeSettings

NEW, OLD = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def settings(**given: str) -> NodeSettings:
    return config.read(
        NodeSettings,
        port=1,
        public_url="http://127.0.0.1:1",
        subscriber_id="node.example.org",
        key_id="n2",
        signing_key=NEW,
        database_url="postgresql://nowhere/nothing",
        **given,
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"previous_key_id": "n1"}, "together"),
        ({"previous_signing_key": OLD}, "together"),
        ({"previous_key_id": "n2", "previous_signing_key": OLD}, "new id"),
        ({"previous_key_id": "n1", "previous_signing_key": "no key"}, "PREVIOUS_SIGNING_KEY"),
    ],
)
def test_half_a_previous_key_is_refused_by_the_name_of_the_setting(given: dict[str, str], words: str) -> None:
    with pytest.raises(BadConfiguration, match=words):
        settings(**given)


def test_without_a_previous_key_there_is_no_previous_identity() -> None:
    assert settings().previous_identity is None


def test_the_previous_identity_is_the_same_subscriber_with_the_key_before() -> None:
    previous = settings(previous_key_id="n1", previous_signing_key=OLD).previous_identity
    assert previous is not None
    assert (previous.subscriber_id, previous.key_id, previous.seed) == ("node.example.org", "n1", bytes([2]) * 32)
