"""The registry's challenge (protocol notes 3.3): X25519, the raw secret as AES-256 key, ECB, PKCS#7, base64.

No vector was ever published. One made beside this project is used when it is there; those in this file are our own.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from beckn import challenge
from registry.config import RegistrySettings
from tests.support.spec_oracles import spec_path

REGISTRY_PRIVATE = base64.b64encode(bytes(range(32))).decode()
SUBSCRIBER_PRIVATE = base64.b64encode(bytes(range(32, 64))).decode()
#: What the two keys above make of the text below; computed once with OpenSSL's X25519 and AES-256-ECB.
PLAINTEXT = "0123456789abcdef0123456789abcdef"


def _spki(raw: str) -> str:
    return base64.b64encode(bytes.fromhex("302a300506032b656e032100") + base64.b64decode(raw)).decode()


def _pkcs8(raw: str) -> str:
    return base64.b64encode(bytes.fromhex("302e020100300506032b656e04220420") + base64.b64decode(raw)).decode()


@pytest.fixture
def vector() -> dict[str, Any]:
    return dict(orjson.loads(spec_path("vectors/challenge_vector.json").read_bytes()))


@pytest.mark.parametrize("form", ["raw", "der"])
def test_the_vectors_challenge_is_made_and_answered_with_keys_in_either_form(vector: dict[str, Any], form: str) -> None:
    private, public = ("private_raw", "public_raw") if form == "raw" else ("private_pkcs8", "public_spki")
    made = challenge.make_challenge(
        vector["plaintext"],
        private_key=vector[f"registry_{private}"],
        public_key=vector[f"subscriber_{public}"],
    )
    assert made == vector["challenge_base64"]
    answered = challenge.answer_challenge(
        made, private_key=vector[f"subscriber_{private}"], public_key=vector[f"registry_{public}"]
    )
    assert answered == vector["plaintext"]


def test_own_known_answer() -> None:
    made = challenge.make_challenge(
        PLAINTEXT, private_key=REGISTRY_PRIVATE, public_key=challenge.public_key_b64(SUBSCRIBER_PRIVATE)
    )
    assert made == "MuA38i+c+Ap5cJH5kyw72TLgN/IvnPgKeXCR+ZMsO9lPwVp6uVrYU1JfMc+sAjmE"
    answered = challenge.answer_challenge(
        made, private_key=SUBSCRIBER_PRIVATE, public_key=challenge.public_key_b64(REGISTRY_PRIVATE)
    )
    assert answered == PLAINTEXT


def test_every_pairing_of_raw_and_der_keys_gives_the_same_challenge() -> None:
    public = challenge.public_key_b64(SUBSCRIBER_PRIVATE)
    made = {
        challenge.make_challenge(PLAINTEXT, private_key=private_key, public_key=public_key)
        for private_key in (REGISTRY_PRIVATE, _pkcs8(REGISTRY_PRIVATE))
        for public_key in (public, _spki(public))
    }
    assert len(made) == 1


@pytest.mark.parametrize("tampered", ["", "AAAA", "not base64!", "A" * 88])
def test_a_challenge_that_is_not_for_us_is_unreadable_and_says_so(tampered: str) -> None:
    with pytest.raises(challenge.ChallengeUnreadable):
        challenge.answer_challenge(
            tampered, private_key=SUBSCRIBER_PRIVATE, public_key=challenge.public_key_b64(REGISTRY_PRIVATE)
        )


@pytest.mark.parametrize("bad", [bytes(32), bytes([1]) + bytes(31)])
def test_a_public_key_of_low_order_is_refused(bad: bytes) -> None:
    with pytest.raises(challenge.ChallengeUnreadable):
        challenge.make_challenge(PLAINTEXT, private_key=REGISTRY_PRIVATE, public_key=base64.b64encode(bad).decode())


def test_a_registry_without_an_encryption_key_derives_a_stable_one_from_its_signing_key() -> None:
    def made(seed: bytes) -> str:
        settings = RegistrySettings(
            port=1,
            public_url="http://127.0.0.1:1",
            subscriber_id="registry.example.org",
            key_id="r1",
            signing_key=base64.b64encode(seed).decode(),
            database_url="postgresql://nowhere/nothing",
        )
        return settings.challenge_key

    assert made(bytes(32)) == made(bytes(32)) != made(bytes([1]) * 32)
    key = X25519PrivateKey.from_private_bytes(base64.b64decode(made(bytes(32))))
    assert isinstance(key.public_key(), X25519PublicKey)
