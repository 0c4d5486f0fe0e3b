"""Every dialect in, one record out: the registry's bodies."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beckn import errors
from beckn.records import record_from_wire
from registry import translate
from registry.membership import Status
from tests.support.membership_cases import NOW, key, subscription

SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")
SPKI_X25519 = bytes.fromhex("302a300506032b656e032100")


def body(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "subscriber_id": "bpp.example.org",
        "url": "https://bpp.example.org/beckn/",
        "type": "BPP",
        "domain": "uei:p2p_trading",
        "key_id": "k1",
        "signing_public_key": key(1),
        "encr_public_key": key(9),
    } | changes
    return {name: value for name, value in document.items() if value is not ...}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"subscriber_id": ...}, "subscriber_id"),
        ({"subscriber_id": 7}, "subscriber_id"),
        ({"subscriber_id": "a|b"}, "subscriber_id"),
        ({"subscriber_id": "x" * 256}, "subscriber_id"),
        ({"subscriber_id": "nul\x00"}, "subscriber_id"),
        ({"key_id": ...}, "key_id"),
        ({"key_id": 'k"1'}, "key_id"),
        ({"type": "BREG"}, "type"),
        ({"type": ...}, "type"),
        ({"url": ...}, "subscriber_url"),
        ({"url": "ftp://bpp.example.org"}, "url"),
        ({"url": "https://user:secret@bpp.example.org"}, "url"),
        ({"url": "https://bpp.example.org/?to=x"}, "url"),
        ({"url": "https://bpp.example.org:99999/"}, "url"),
        ({"url": "https://"}, "url"),
        ({"signing_public_key": "short"}, "signing_public_key"),
        ({"signing_public_key": base64.b64encode(SPKI_X25519 + bytes(32)).decode()}, "signing_public_key"),
        ({"encr_public_key": base64.b64encode(bytes(31)).decode()}, "encr_public_key"),
        ({"encr_public_key": base64.b64encode(SPKI_ED25519 + bytes(32)).decode()}, "encr_public_key"),
        ({"valid_until": "tomorrow"}, "valid_until"),
        ({"valid_from": "2026-01-15T10:00:00"}, "valid_from"),
        ({"valid_until": "0001-01-01T00:00:00+14:00"}, "valid_until"),
        ({"city": ["std:080"]}, "city"),
        ({"location": {"city": {"code": 80}}}, "location.city"),
    ],
)
def test_an_application_that_cannot_be_read_is_refused_by_the_field_at_fault(change: dict[str, Any], path: str) -> None:
    with pytest.raises(errors.Refusal) as caught:
        translate.application_from_wire(body(**change), domain="uei:p2p_trading")
    assert caught.value.failing_path == path
    assert caught.value.http_status == 400


def test_an_application_is_read_in_every_dialect() -> None:
    onix = translate.application_from_wire(body(), domain="d")
    other = body(key_id=..., ukId="k1", url=..., subscriber_url="https://bpp.example.org/beckn", type="bpp")
    other["location"] = {"country": {"code": "IND"}, "city": {"name": "Bengaluru", "code": "std:080"}}
    read = translate.application_from_wire(other, domain="d")
    assert (read.key, read.url, read.signing_public_key) == (onix.key, onix.url, onix.signing_public_key)
    assert (read.country, read.city) == ("IND", "std:080")
    assert (onix.country, onix.city, onix.valid_until) == ("", "", None)


def test_keys_in_der_are_kept_raw() -> None:
    read = translate.application_from_wire(
        body(
            signing_public_key=base64.b64encode(SPKI_ED25519 + bytes([1]) * 32).decode(),
            encr_public_key=base64.b64encode(SPKI_X25519 + bytes([9]) * 32).decode(),
        ),
        domain="d",
    )
    assert (read.signing_public_key, read.encr_public_key) == (key(1), key(9))


@pytest.mark.parametrize("name", ["key_id", "ukId", "unique_key_id", "pub_key_id"])
def test_a_lookup_may_call_the_key_by_any_of_its_names(name: str) -> None:
    assert translate.filters_from_wire({name: "k1"}).key_id == "k1"


def test_a_lookup_ignores_what_it_does_not_know_and_takes_stars_for_any() -> None:
    filters = translate.filters_from_wire({"type": "BPP", "city": "*", "domain": "", "nonsense": [1], "status": None})
    assert filters == translate.Filters(type="BPP")


@pytest.mark.parametrize(
    "document",
    [
        {"location": {"city": {"code": "std:080"}, "country": {"code": "IND"}}},
        {"city": "std:080", "country": "IND"},
        {"city": {"code": "std:080"}, "location": {"country": "IND"}},
    ],
)
def test_a_lookup_may_write_the_place_in_any_form(document: dict[str, Any]) -> None:
    filters = translate.filters_from_wire(document)
    assert (filters.country, filters.city) == ("IND", "std:080")


@pytest.mark.parametrize("document", [{"subscriber_id": 5}, {"domain": {"a": 1}}, {"city": 7}, {"type": ["BPP"]}])
def test_a_lookup_with_a_filter_that_is_no_text_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(errors.Refusal):
        translate.filters_from_wire(document)


def test_the_validity_in_a_lookup_reply_rolls_an_hour_ahead_and_never_past_the_key() -> None:
    def told(ends_in: timedelta) -> str:
        row = subscription(valid_until=NOW + ends_in)
        return str(translate.record_to_wire(row, now=NOW, is_rolling=True)["valid_until"])

    assert told(timedelta(days=300)) == "2026-01-15T11:00:00.000Z"
    assert told(timedelta(minutes=5)) == "2026-01-15T10:05:00.000Z"


def test_the_feed_tells_the_keys_true_end() -> None:
    record = translate.record_to_wire(subscription(), now=NOW, is_rolling=False)
    assert record["valid_until"] == "2026-12-16T10:00:00.000Z"


def test_a_suspended_record_reads_unsubscribed() -> None:
    record = translate.record_to_wire(subscription(status=Status.SUSPENDED), now=NOW, is_rolling=True)
    assert record["status"] == "UNSUBSCRIBED"


def test_our_own_nodes_read_the_record_back_as_it_was() -> None:
    row = subscription(location={"city": {"name": "Bengaluru"}})
    record = record_from_wire(translate.record_to_wire(row, now=NOW, is_rolling=False))
    assert (record.subscriber_id, record.type, record.domain, record.key_id) == row.key
    assert (record.url, record.city, record.country) == (row.url, row.city, row.country)
    assert base64.b64encode(record.signing_public_key).decode() == row.signing_public_key
    assert (record.valid_from, record.valid_until) == (row.valid_from, row.valid_until)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_FIELDS = st.sampled_from([*body(), "location", "city", "country", "ukId", "valid_from", "valid_until", "status"])


@given(st.dictionaries(_FIELDS, _JSON))
def test_whatever_a_stranger_writes_is_read_or_refused_and_never_breaks(document: dict[str, Any]) -> None:
    for read in (
        lambda: translate.application_from_wire({**body(), **document}, domain="d"),
        lambda: translate.filters_from_wire(document),
    ):
        try:
            read()
        except errors.Refusal as refusal:
            assert refusal.nack_body()
