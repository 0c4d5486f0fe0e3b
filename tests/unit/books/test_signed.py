"""Detached signatures: of exactly these bytes, by exactly this key."""

from __future__ import annotations

import pytest

from books import signed
from books.signed import SignatureRefused
from tests.support.post_office import BAP, BPP

BODY = b"what was charged"


def test_a_signature_is_of_these_bytes_and_this_key_alone() -> None:
    made = signed.parse(signed.sign(BODY, identity=BAP) + "\n")
    assert (made.subscriber_id, made.key_id) == (BAP.subscriber_id, BAP.key_id)
    signed.verify(BODY, made, public_key=BAP.public_key)
    for body, key in ((BODY + b"\n", BAP.public_key), (BODY, BPP.public_key), (b"", BAP.public_key)):
        with pytest.raises(SignatureRefused, match="it was changed"):
            signed.verify(body, made, public_key=key)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "signature",
        'keyId="a|b|rsa",algorithm="ed25519",signature="' + "A" * 88 + '"',
        'keyId="a|ed25519",algorithm="ed25519",signature="' + "A" * 88 + '"',
        'keyId="a|b|ed25519",algorithm="ed25519",signature="short"',
        'keyId="a|b|ed25519",algorithm="ed25519",signature="' + "=" * 88 + '"',
        'keyId="a|b|ed25519",algorithm="ed25519",signature="' + "A" * 88 + '"',
    ],
)
def test_what_is_no_signature_is_refused_with_a_sentence(line: str) -> None:
    with pytest.raises(SignatureRefused, match="signature"):
        signed.parse(line)
