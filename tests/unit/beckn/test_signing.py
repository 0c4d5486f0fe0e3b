"""What a signature header must look like, when it holds, and that any altered byte breaks it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beckn import errors, signing

NOW = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)
ME = signing.Identity("bap.example.org", "k1", bytes(range(32)))
BODY = b'{"context":{},"message":{}}'


def check(body: bytes, header: str, now: datetime = NOW) -> signing.ParsedSignature:
    parsed = signing.parse_header(header)
    signing.check_dates(parsed, now=now)
    signing.verify(signing.digest(body), parsed, public_key=ME.public_key)
    return parsed


def header(**changes: str) -> str:
    parameters = {
        "keyId": "bap.example.org|k1|ed25519",
        "algorithm": "ed25519",
        "created": str(int(NOW.timestamp())),
        "expires": str(int(NOW.timestamp()) + 300),
        "headers": signing.COVERED,
        "signature": base64.b64encode(bytes(64)).decode(),
    } | changes
    return "Signature " + ",".join(f'{name}="{value}"' for name, value in parameters.items())


def test_own_signature_holds_and_lives_300_seconds_from_a_second_ago() -> None:
    parsed = check(BODY, signing.sign(BODY, identity=ME, now=NOW))
    assert parsed.created == int(NOW.timestamp()) - 1
    assert parsed.expires - parsed.created == 300


def test_parameters_may_come_in_any_order_and_with_spaces() -> None:
    scheme, _, rest = signing.sign(BODY, identity=ME, now=NOW).partition(" ")
    shuffled = scheme + " " + " , ".join(reversed(rest.split(",")))
    check(BODY, shuffled)


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        ("Bearer abc", errors.MalformedSignature),
        ("", errors.MalformedSignature),
        ("Signature", errors.MalformedSignature),
        ("Signature keyId=unquoted", errors.MalformedSignature),
        (header(keyId="bap.example.org|ed25519"), errors.MalformedSignature),
        (header(keyId="|k1|ed25519"), errors.MalformedSignature),
        (header(keyId="a|k|rsa"), errors.WrongAlgorithm),
        (header(algorithm="rsa-sha256"), errors.WrongAlgorithm),
        (header(headers="(created) (expires)"), errors.WrongCoveredHeaders),
        (header(headers="(created) (expires) digest request-signature"), errors.WrongCoveredHeaders),
        (header(headers=""), errors.WrongCoveredHeaders),
        (header(created="soon"), errors.MalformedSignature),
        (header(created="-1"), errors.MalformedSignature),
        (header(created="٣"), errors.MalformedSignature),
        (header(expires="1" * 12), errors.MalformedSignature),
        (header(signature="***"), errors.MalformedSignature),
        (header(signature=base64.b64encode(bytes(63)).decode()), errors.MalformedSignature),
        (header() + ',created="1"', errors.MalformedSignature),
        ("Signature " + "a" * 2000, errors.MalformedSignature),
    ],
)
def test_header_is_refused(value: str, refusal: type[errors.Refusal]) -> None:
    with pytest.raises(refusal) as caught:
        signing.parse_header(value)
    assert caught.value.http_status == 401
    assert caught.value.sentence


def test_signature_created_six_seconds_ahead_is_refused_and_five_is_not() -> None:
    parsed = signing.parse_header(signing.sign(BODY, identity=ME, now=NOW + timedelta(seconds=6)))
    signing.check_dates(parsed, now=NOW)
    parsed = signing.parse_header(signing.sign(BODY, identity=ME, now=NOW + timedelta(seconds=7)))
    with pytest.raises(errors.SignatureFromTheFuture, match="clock"):
        signing.check_dates(parsed, now=NOW)


def test_signature_is_refused_from_the_second_it_expires() -> None:
    parsed = signing.parse_header(signing.sign(BODY, identity=ME, now=NOW))
    last = datetime.fromtimestamp(parsed.expires, UTC)
    signing.check_dates(parsed, now=last - timedelta(milliseconds=1))
    with pytest.raises(errors.SignatureExpired):
        signing.check_dates(parsed, now=last)


@pytest.mark.parametrize(("lifetime_s", "holds"), [(3660, True), (3661, False), (0, False), (-5, False)])
def test_lifetime_is_at_most_an_hour_and_a_minute(lifetime_s: int, holds: bool) -> None:
    created = int(NOW.timestamp())
    value = header(created=str(created - 10 * (lifetime_s <= 0)), expires=str(created + lifetime_s))
    parsed = signing.parse_header(value)
    if holds:
        signing.check_dates(parsed, now=NOW)
    else:
        with pytest.raises((errors.SignatureLivesTooLong, errors.SignatureExpired)):
            signing.check_dates(parsed, now=NOW)


@given(body=st.binary(max_size=400), index=st.integers(0, 399), flip=st.integers(1, 255))
def test_any_altered_byte_of_the_body_breaks_the_signature(body: bytes, index: int, flip: int) -> None:
    value = signing.sign(body, identity=ME, now=NOW)
    check(body, value)
    altered = bytearray(body or b"\x00")
    altered[index % len(altered)] ^= flip
    if not body:
        altered = bytearray(b"x")
    with pytest.raises(errors.SignatureInvalid):
        check(bytes(altered), value)


@given(index=st.integers(0, 10_000), flip=st.integers(1, 127))
def test_any_altered_character_of_the_header_is_refused_or_changes_nothing_signed(index: int, flip: int) -> None:
    value = signing.sign(BODY, identity=ME, now=NOW)
    place = index % len(value)
    altered = value[:place] + chr(ord(value[place]) ^ flip) + value[place + 1 :]
    try:
        parsed = check(BODY, altered)
    except errors.Refusal:
        return
    # What still verifies may differ only in letter case of the scheme, white space, or who claims to have signed:
    # the directory then finds another key or none.
    original = signing.parse_header(value)
    assert (parsed.created, parsed.expires, parsed.signature) == (
        original.created,
        original.expires,
        original.signature,
    )


@given(st.text(max_size=300))
def test_any_text_is_parsed_or_refused_with_401(text: str) -> None:
    for value in (text, "Signature " + text):
        try:
            signing.parse_header(value)
        except errors.Refusal as refusal:
            assert refusal.http_status == 401


def test_private_keys_are_read_as_seed_as_64_bytes_and_as_pkcs8_and_a_mismatched_pair_is_refused() -> None:
    seed = bytes(range(32))
    pair = seed + ME.public_key
    pkcs8 = bytes.fromhex("302e020100300506032b657004220420") + seed
    for raw in (seed, pair, pkcs8):
        assert signing.import_private_key(base64.b64encode(raw).decode()) == seed
    for raw in (seed + bytes(32), seed[:31], b""):
        with pytest.raises(ValueError, match="key"):
            signing.import_private_key(base64.b64encode(raw).decode())
    with pytest.raises(ValueError, match="base64"):
        signing.import_private_key("not base64!")


def test_public_keys_are_read_raw_and_as_spki() -> None:
    raw = ME.public_key
    spki = bytes.fromhex("302a300506032b6570032100") + raw
    for form in (raw, spki):
        assert signing.import_public_key(base64.b64encode(form).decode()) == raw
    with pytest.raises(ValueError, match="32 bytes"):
        signing.import_public_key(base64.b64encode(raw[:30]).decode())


def test_an_identity_never_shows_its_seed() -> None:
    assert repr(ME) == "Identity(bap.example.org|k1)"


def test_a_refused_gateway_header_asks_for_proxy_authentication() -> None:
    with pytest.raises(errors.MalformedSignature) as caught:
        signing.parse_header("nonsense", by_gateway=True)
    assert caught.value.headers("bpp.example.org") == {
        "Proxy-Authenticate": 'Signature realm="bpp.example.org",headers="(created) (expires) digest"'
    }
    assert caught.value.failing_path == "header.X-Gateway-Authorization"
