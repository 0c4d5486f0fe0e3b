"""A payment provider's events are believed only when they are signed, fresh and say what they must."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from books.payments import EventRefused, PaymentEvent, Stripe

#: Made with `printf '1492774577.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test`.
STAMP, SECRET, BODY = 1_492_774_577, "whsec_test", b'{"id":"evt_1"}'
SIGNATURE = "7656fc2882a7ca0a651666b36bf2f2f22ee204f54f608f227498a2419f2890b2"
SIGNED_AT = datetime.fromtimestamp(STAMP, UTC)
STRIPE = Stripe("sk_test", SECRET, success_url="https://app.example/paid", cancel_url="https://app.example/back")


def checked(header: str, *, body: bytes = BODY, now: datetime = SIGNED_AT) -> None:
    STRIPE._check_signature(body, header, now)


def refused(header: str, **options: Any) -> str:
    with pytest.raises(EventRefused) as refusal:
        checked(header, **options)
    return str(refusal.value)


@pytest.mark.parametrize(
    "header",
    ["", "t=1492774577", f"v1={SIGNATURE}", f"t=x,v1={SIGNATURE}", f"t=1,t=2,v1={SIGNATURE}", "t=1492774577,v0=00"],
)
def test_a_header_without_one_time_and_a_signature_is_refused(header: str) -> None:
    assert "one t and at least one v1" in refused(header)


def test_another_body_secret_time_or_scheme_does_not_fit() -> None:
    good = f"t={STAMP},v1={SIGNATURE}"
    assert "No v1" in refused(good, body=BODY + b" ")
    assert "No v1" in refused(f"t={STAMP + 1},v1={SIGNATURE}")
    assert "No v1" in refused(f"t={STAMP},v1={SIGNATURE[:-1]}3")
    assert "No v1" in refused(f"t={STAMP},v1=nonsense-\u00e9")
    other = Stripe("sk_test", "whsec_other", success_url="x", cancel_url="y")
    with pytest.raises(EventRefused):
        other._check_signature(BODY, good, SIGNED_AT)


def test_an_event_signed_long_ago_or_in_the_future_is_refused() -> None:
    good = f"t={STAMP},v1={SIGNATURE}"
    for off in (301, -301):
        assert "more than 300 s from now" in refused(good, now=SIGNED_AT + timedelta(seconds=off))
    for off in (300, -300):
        checked(good, now=SIGNED_AT + timedelta(seconds=off))


def test_the_known_signature_fits_also_beside_another_while_a_secret_is_rolled() -> None:
    checked(f"t={STAMP},v1={SIGNATURE}")
    checked(f"t={STAMP},v1={'0' * 64}, v1={SIGNATURE},v0={'1' * 64}")


def signed(document: Any) -> tuple[bytes, dict[str, str]]:
    body = orjson.dumps(document)
    mac = hmac.new(SECRET.encode(), f"{STAMP}.".encode() + body, hashlib.sha256).hexdigest()
    return body, {"Stripe-Signature": f"t={STAMP},v1={mac}"}


def event(kind: str, **session: Any) -> dict[str, Any]:
    paid = {"id": "cs_1", "client_reference_id": "anna", "amount_total": 1250, "currency": "usd", **session}
    return {"id": "evt_1", "type": kind, "data": {"object": paid}}


@pytest.mark.parametrize(
    ("document", "state"),
    [
        (event("checkout.session.completed", payment_status="paid"), "PAID"),
        (event("checkout.session.completed", payment_status="unpaid"), ""),
        (event("checkout.session.async_payment_succeeded"), "PAID"),
        (event("checkout.session.async_payment_failed"), "FAILED"),
        (event("checkout.session.expired"), "EXPIRED"),
        (event("customer.created"), ""),
    ],
)
def test_an_event_says_what_became_of_a_payment(document: dict[str, Any], state: str) -> None:
    found = STRIPE.read_event(*signed(document), now=SIGNED_AT)
    assert (found.event_id, found.state) == ("evt_1", state)
    if state == "PAID":
        assert found == PaymentEvent("evt_1", document["type"], "PAID", "cs_1", "anna", 1250, "USD")


@pytest.mark.parametrize("document", [[], {}, {"id": "e", "type": "t"}, {"id": "e", "type": "t", "data": {}}, "text"])
def test_signed_bytes_that_are_no_event_are_refused(document: Any) -> None:
    with pytest.raises(EventRefused, match="is no event"):
        STRIPE.read_event(*signed(document), now=SIGNED_AT)


@given(st.text(max_size=80), st.binary(max_size=80))
def test_no_header_makes_a_strangers_bytes_an_event(header: str, body: bytes) -> None:
    with pytest.raises(EventRefused):
        STRIPE.read_event(body, {"Stripe-Signature": header}, now=SIGNED_AT)
