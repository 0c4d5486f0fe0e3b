"""Who gets a copy of a search, and who does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from beckn.envelope import Context
from beckn.records import Record
from gateway import fanout

NOW = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)
SEARCH = Context(
    domain="uei:p2p_trading",
    action="search",
    version="1.1.0",
    bap_id="bap.example.org",
    bap_uri="https://bap.example.org/beckn",
    bpp_id="",
    bpp_uri="",
    transaction_id="5a4cd6a2-9a3c-4f3a-8f7e-2a1d2b3c4d5e",
    message_id="6b5dd6a2-9a3c-4f3a-8f7e-2a1d2b3c4d5e",
    timestamp=NOW,
    ttl_s=30,
    country="IND",
    city="std:080",
)
SELLER = Record(
    subscriber_id="bpp.example.org",
    type="BPP",
    domain="uei:p2p_trading",
    key_id="k1",
    url="https://bpp.example.org/beckn",
    country="IND",
    city="std:080",
    signing_public_key=bytes(32),
    encr_public_key="",
    status="SUBSCRIBED",
    valid_from=NOW - timedelta(days=1),
    valid_until=NOW + timedelta(days=1),
    created=NOW,
)


def chosen(*sellers: Record, copies_max: int = 10, **search: Any) -> list[str]:
    result = fanout.destinations(
        replace(SEARCH, **search), sellers, me="gateway.example.org", copies_max=copies_max, now=NOW
    )
    assert result.copies or result.note
    return [record.subscriber_id for record in result.copies]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "BAP"},
        {"type": "BG"},
        {"domain": "uei:ev_charging"},
        {"status": "UNSUBSCRIBED"},
        {"status": "UNDER_SUBSCRIPTION"},
        {"valid_until": NOW},
        {"valid_from": NOW + timedelta(seconds=1)},
        {"country": "USA"},
        {"city": "std:011"},
        {"subscriber_id": "bap.example.org"},
        {"subscriber_id": "gateway.example.org"},
    ],
)
def test_a_seller_that_does_not_fit_gets_no_copy(change: dict[str, Any]) -> None:
    assert chosen(replace(SELLER, **change)) == []


def test_a_search_that_outlived_its_ttl_goes_to_nobody() -> None:
    assert chosen(SELLER, timestamp=NOW - timedelta(seconds=30)) == []


def test_a_seller_that_fits_gets_a_copy() -> None:
    assert chosen(SELLER) == ["bpp.example.org"]


@pytest.mark.parametrize("open_place", ["", "*"])
def test_a_place_left_open_on_either_side_fits_any(open_place: str) -> None:
    assert chosen(replace(SELLER, city=open_place, country=open_place)) == ["bpp.example.org"]
    assert chosen(SELLER, city=open_place, country=open_place) == ["bpp.example.org"]


def test_a_search_that_names_a_seller_goes_to_it_alone() -> None:
    other = replace(SELLER, subscriber_id="other.example.org", url="https://other.example.org")
    assert chosen(SELLER, other, bpp_id="other.example.org") == ["other.example.org"]
    assert chosen(SELLER, other, bpp_id="nobody.example.org") == []


def test_a_url_gets_one_copy_however_many_sellers_live_there() -> None:
    assert len(chosen(SELLER, replace(SELLER, subscriber_id="twin.example.org"))) == 1


def test_of_too_many_sellers_a_different_lot_is_drawn_for_every_message() -> None:
    many = [replace(SELLER, subscriber_id=f"bpp-{n}", url=f"https://bpp-{n}.example.org") for n in range(50)]
    first = chosen(*many, copies_max=5)
    assert len(set(first)) == 5
    assert chosen(*many, copies_max=5) == first
    assert chosen(*many, copies_max=5, message_id="another") != first


def test_the_note_says_why_nobody_got_a_copy() -> None:
    notes = {
        fanout.destinations(context, sellers, me="g", copies_max=5, now=NOW).note
        for context, sellers in [
            (SEARCH, []),
            (SEARCH, [replace(SELLER, city="std:011")]),
            (replace(SEARCH, bpp_id="x"), [SELLER]),
            (replace(SEARCH, timestamp=NOW - timedelta(hours=1)), [SELLER]),
        ]
    }
    assert len(notes) == 4
