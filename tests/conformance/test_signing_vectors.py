"""BECKN-006 and its implementations: published vectors hold, with our own keys as known answers beside them."""

from __future__ import annotations

import base64
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from beckn import challenge, signing

SPEC = Path(os.environ.get("BECKN_SPEC_DIR", Path(__file__).parents[3] / "shared" / "spec"))

#: A pair made for these tests: seed = bytes 0..31.
OWN_SEED = bytes(range(32))
OWN_BODY = b'{"context":{"action":"status"},"message":{"order_id":"order-1"}}'
OWN_HEADER = (
    'Signature keyId="bap.example.org|k1|ed25519",algorithm="ed25519",created="1768471199",expires="1768471499",'
    'headers="(created) (expires) digest",'
    'signature="LYi190V8or0SfQCj68rNP6VwD6Yt55kRMLzz1+m4usuG634GypLrDXexqjySZVSivYT3wsWetb8d0/W69QwbAw=="'
)


def vectors() -> list[dict[str, Any]]:
    path = SPEC / "vectors" / "signing_vectors.json"
    if not path.exists():
        pytest.skip(f"the published vectors are not at {path}; set BECKN_SPEC_DIR")
    # The four-line forms belong to protocol 2.0.0 and are no part of 1.1.0.
    return [vector for vector in json.loads(path.read_text()) if "request_signature" not in vector]


def test_every_published_signature_verifies_and_a_changed_body_does_not() -> None:
    for vector in vectors():
        body = vector["body"].encode()
        parsed = signing.ParsedSignature(
            subscriber_id="any",
            key_id="any",
            created=vector["created"],
            expires=vector["expires"],
            signature=base64.b64decode(vector["signature"]),
            raw="",
        )
        key = signing.import_public_key(vector["public_key"])
        assert base64.b64encode(signing.digest(body)).decode() == vector["digest"], vector["name"]
        signing.verify(signing.digest(body), parsed, public_key=key)
        with pytest.raises(signing.errors.SignatureInvalid):
            signing.verify(signing.digest(body + b" "), parsed, public_key=key)


def test_every_published_private_key_makes_the_published_signature() -> None:
    made = 0
    for vector in vectors():
        if "private_seed32" not in vector:
            continue
        identity = signing.Identity("any", "any", signing.import_private_key(vector["private_seed32"]))
        text = signing.signing_string(
            signing.digest(vector["body"].encode()), created=vector["created"], expires=vector["expires"]
        )
        assert text.decode() == vector["signing_string"]
        assert base64.b64encode(identity.sign_bytes(text)).decode() == vector["signature"], vector["name"]
        assert identity.public_key_b64 == vector["public_key"]
        made += 1
    assert made >= 3


def test_the_header_of_a_published_letter_is_reproduced_to_the_letter() -> None:
    (vector,) = [v for v in vectors() if v["name"] == "derived-v1.1-status"]
    identity = signing.Identity("bap.example.com", "key-1", signing.import_private_key(vector["private_seed32"]))
    now = datetime.fromtimestamp(vector["created"] + 1, UTC)
    assert signing.sign(vector["body"].encode(), identity=identity, now=now) == vector["authorization"]


def test_our_own_known_answer_is_signed_in_the_exact_header_form() -> None:
    identity = signing.Identity("bap.example.org", "k1", OWN_SEED)
    assert identity.public_key_b64 == "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
    header = signing.sign(OWN_BODY, identity=identity, now=datetime.fromtimestamp(1768471200, UTC))
    assert header == OWN_HEADER
    signing.verify(signing.digest(OWN_BODY), signing.parse_header(header), public_key=identity.public_key)


def test_blake2b_known_answer() -> None:
    digest = base64.b64encode(signing.digest(b"The quick brown fox jumps over the lazy dog")).decode()
    assert digest == "qK3Uvd39k+SHfSdG5igXsRY2Sh+nvBSNlQkLxzM7NnP4JAHPeqLkyx7NkCluPxTLVBP47Xe+cwRbE5FM3NapGA=="


def test_published_challenge_is_made_and_answered_with_raw_and_der_keys() -> None:
    path = SPEC / "vectors" / "challenge_vector.json"
    if not path.exists():
        pytest.skip(f"the published challenge is not at {path}; set BECKN_SPEC_DIR")
    vector = json.loads(path.read_text())
    for form in ("raw", "spki"):
        made = challenge.make_challenge(
            vector["plaintext"],
            private_key=vector["registry_private_raw" if form == "raw" else "registry_private_pkcs8"],
            public_key=vector[f"subscriber_public_{form}"],
        )
        assert made == vector["challenge_base64"]
        answer = challenge.answer_challenge(
            vector["challenge_base64"],
            private_key=vector["subscriber_private_raw" if form == "raw" else "subscriber_private_pkcs8"],
            public_key=vector[f"registry_public_{form}"],
        )
        assert answer == vector["plaintext"]


def test_our_own_challenge_known_answer() -> None:
    registry = base64.b64encode(bytes(range(32))).decode()
    subscriber = base64.b64encode(bytes(range(32, 64))).decode()
    made = challenge.make_challenge(
        "0123456789abcdef0123456789abcdef", private_key=registry, public_key=challenge.public_key_b64(subscriber)
    )
    assert made == "MuA38i+c+Ap5cJH5kyw72TLgN/IvnPgKeXCR+ZMsO9lPwVp6uVrYU1JfMc+sAjmE"
    assert (
        challenge.answer_challenge(made, private_key=subscriber, public_key=challenge.public_key_b64(registry))
        == "0123456789abcdef0123456789abcdef"
    )


def test_a_challenge_for_someone_else_cannot_be_read() -> None:
    registry = base64.b64encode(bytes(range(32))).decode()
    stranger = base64.b64encode(bytes(range(1, 33))).decode()
    subscriber = base64.b64encode(bytes(range(32, 64))).decode()
    made = challenge.make_challenge("secret" * 5, private_key=registry, public_key=challenge.public_key_b64(subscriber))
    with pytest.raises(challenge.ChallengeUnreadable):
        challenge.answer_challenge(made, private_key=stranger, public_key=challenge.public_key_b64(registry))
