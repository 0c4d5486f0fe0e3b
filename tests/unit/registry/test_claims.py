"""Who may hold a meter: each rule of registry/claims.py."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from beckn import errors
from registry import claims
from registry.claims import Asked, MeterHeld
from registry.membership import Status
from store.claims import MeterClaim
from tests.support.membership_cases import NOW, subscription

HASH = "ab" * 32
ASKED = {"act": "claim", "meter_hash": HASH, "flow": "EXPORT"}
HELD = MeterClaim(HASH, "EXPORT", "bpp.example.org", NOW)


def asked(**changes: Any) -> Asked:
    return claims.asked_from(ASKED | changes, act="claim")


def test_a_claim_is_read_with_and_without_the_proof_of_ownership() -> None:
    assert asked() == Asked(HASH, "EXPORT")
    proof = {"utility_id": "utility.example", "nonce_digest": "cd" * 32}
    assert asked(proof=proof) == Asked(HASH, "EXPORT", "cd" * 32, "utility.example")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"act": "release"}, "act"),
        ({"act": None}, "act"),
        ({"flow": "BOTH"}, "flow"),
        ({"meter_hash": "AB" * 32}, "meter_hash"),
        ({"meter_hash": "ab" * 31}, "meter_hash"),
        ({"meter_hash": 7}, "meter_hash"),
        ({"proof": "code"}, "proof"),
        ({"proof": {"nonce_digest": HASH}}, "proof.utility_id"),
        ({"proof": {"utility_id": "u", "nonce_digest": "x"}}, "proof.nonce_digest"),
    ],
)
def test_a_claim_that_cannot_be_read_is_refused_by_field(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(errors.Refusal) as refused:
        asked(**changes)
    assert refused.value.failing_path == path


def test_a_seller_claims_export_and_a_buyer_import() -> None:
    seller, buyer = [subscription(type="BPP")], [subscription(type="BAP")]
    claims.check_role(asked(), seller, now=NOW)
    claims.check_role(asked(flow="IMPORT"), buyer, now=NOW)
    for flow, standing in (("EXPORT", buyer), ("IMPORT", seller), ("EXPORT", [])):
        with pytest.raises(errors.WrongRole):
            claims.check_role(asked(flow=flow), standing, now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": Status.SUSPENDED},
        {"status": Status.UNSUBSCRIBED},
        {"status": Status.UNDER_SUBSCRIPTION},
        {"valid_until": NOW},
        {"valid_from": NOW + timedelta(seconds=1)},
        {"key_id": "k9"},
    ],
)
def test_only_a_key_that_is_valid_now_signs_a_claim(changes: dict[str, Any]) -> None:
    good = subscription()
    assert claims.signing_key("k1", good.subscriber_id, [good], now=NOW) == good.signing_public_key
    with pytest.raises(errors.UnknownSigner):
        claims.signing_key("k1", good.subscriber_id, [subscription(**changes)], now=NOW)


def test_what_another_holds_is_refused_without_saying_who_holds_it() -> None:
    claims.check_holder(HELD, "bpp.example.org")
    with pytest.raises(MeterHeld) as refused:
        claims.check_holder(HELD, "other.example.org")
    assert refused.value.http_status == 409
    assert "example.org" not in refused.value.sentence


def test_only_the_holder_lets_go_and_a_free_meter_is_let_go_of_already() -> None:
    assert claims.to_release([HELD], asked(), "bpp.example.org") == HELD
    assert claims.to_release([], asked(), "bpp.example.org") is None
    assert claims.to_release([HELD], asked(flow="IMPORT"), "other.example.org") is None
    with pytest.raises(MeterHeld):
        claims.to_release([HELD], asked(), "other.example.org")
