"""What is sent, and under which signature: the parts of the outbox that touch nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from beckn import signing
from beckn.outbox import Outgoing, Signer, body_to_send

NOW = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)
BODY = orjson.dumps({"context": {"timestamp": "2026-01-15T10:00:00.000Z"}, "message": {}})
LETTER = Outgoing(
    seq=1, letter_id="l", url="http://peer", receiver_id="peer", action="confirm", message_id="m", transaction_id="t",
    body=BODY, authorization=None, created_at=NOW, give_up_at=NOW + timedelta(days=1),
)  # fmt: skip
OURS = signing.Identity("me.example", "k1", bytes(32))
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def test_a_letter_within_its_ttl_goes_as_it_was_written() -> None:
    assert body_to_send(LETTER, NOW + HOUR - SECOND) == BODY


def test_a_letter_past_its_ttl_is_dated_anew() -> None:
    sent = orjson.loads(body_to_send(LETTER, NOW + 3 * HOUR))
    assert sent == {"context": {"timestamp": "2026-01-15T13:00:00.000Z"}, "message": {}}


@pytest.mark.parametrize(
    "letter",
    [
        replace(LETTER, uncertain=True),  # the peer may know it, and would refuse other bytes under its id
        replace(LETTER, action="search", authorization="Signature x"),  # signed by another
    ],
)
def test_a_letter_whose_bytes_are_known_elsewhere_keeps_them(letter: Outgoing) -> None:
    assert body_to_send(letter, NOW + 3 * HOUR) == BODY


def test_a_callback_may_be_dated_anew_even_if_it_may_have_arrived() -> None:
    letter = replace(LETTER, action="on_confirm", uncertain=True)
    assert body_to_send(letter, NOW + 3 * HOUR) != BODY


def test_our_own_letters_carry_one_signature() -> None:
    headers = Signer(lambda: OURS).headers(LETTER, BODY, NOW)
    assert set(headers) == {"Content-Type", "Accept", "Authorization"}
    parsed = signing.parse_header(headers["Authorization"])
    signing.verify(signing.digest(BODY), parsed, public_key=OURS.public_key)


def test_the_copies_of_a_fan_out_share_a_signature_for_a_second() -> None:
    carried = replace(LETTER, action="search", authorization="Signature of another")
    signed: list[int] = []

    def identity() -> signing.Identity:
        signed.append(1)
        return OURS

    signer = Signer(identity)
    first = [signer.headers(carried, bytes(bytearray(BODY)), NOW) for _ in range(50)]
    assert len(signed) == 1
    assert {headers["Authorization"] for headers in first} == {"Signature of another"}
    assert all(headers["X-Gateway-Authorization"] == headers["Proxy-Authorization"] for headers in first)
    signer.headers(carried, BODY, NOW + SECOND)
    signer.headers(carried, BODY + b" ", NOW)
    assert len(signed) == 3
