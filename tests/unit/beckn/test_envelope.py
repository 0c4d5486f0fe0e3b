"""Contexts in three forms, times and durations, and peers' acknowledgements in all their spellings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beckn import actions, envelope, errors
from schemas import values

FIELDS: dict[str, Any] = {
    "domain": "uei:p2p_trading",
    "action": "select",
    "version": "1.1.0",
    "bap_id": "bap.example.org",
    "bap_uri": "https://bap.example.org/beckn",
    "bpp_id": "bpp.example.org",
    "bpp_uri": "https://bpp.example.org/beckn",
    "transaction_id": "t-1",
    "message_id": "m-1",
    "timestamp": "2026-01-15T10:00:00.000Z",
    "ttl": "PT30S",
}
LOCATION = {"location": {"country": {"code": "IND"}, "city": {"code": "std:080"}}}
FLAT = {"country": "IND", "city": "std:080"}
HYBRID = {"location": {"country": {"code": "IND"}}, "city": "std:080"}


@pytest.mark.parametrize("place", [LOCATION, FLAT, HYBRID])
def test_every_form_of_context_is_understood_alike(place: dict[str, Any]) -> None:
    context = envelope.context_from_wire(FIELDS | place)
    assert (context.country, context.city) == ("IND", "std:080")
    assert context.timestamp == datetime(2026, 1, 15, 10, tzinfo=UTC)
    assert context.ttl_s == 30


def test_the_old_form_names_its_version_core_version() -> None:
    fields = {key: value for key, value in FIELDS.items() if key != "version"} | FLAT
    assert envelope.context_from_wire(fields | {"core_version": "0.9.4"}).version == "0.9.4"


@pytest.mark.parametrize(
    "field", ["domain", "action", "bap_id", "bap_uri", "transaction_id", "message_id", "timestamp"]
)
@pytest.mark.parametrize("value", [None, "", 7, [], "x" * 3000, "a\x00b"])
def test_a_missing_or_wrong_field_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(errors.InvalidContext) as caught:
        envelope.context_from_wire(FIELDS | {field: value})
    assert caught.value.failing_path == f"context.{field}"


@pytest.mark.parametrize("text", ["2026-01-15T10:00:00", "15-01-2026", "now", "2026-13-01T00:00:00Z"])
def test_a_timestamp_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidContext, match="zone"):
        envelope.context_from_wire(FIELDS | {"timestamp": text})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT30S", 30), ("PT1H", 3600), ("P1D", 86400), ("PT1H30M", 5400), ("P1W", 604800), ("P1DT1S", 86401), ("PT0S", 0)],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert values.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "30", "P1Y", "P1M", "PT-5S", "pt5s", "P1DT", "PT5S\n"])
def test_what_is_no_duration_of_fixed_length_is_not_read(text: str) -> None:
    assert values.parse_duration(text) is None


def test_a_ttl_beyond_the_calendar_still_has_an_end() -> None:
    context = envelope.context_from_wire(FIELDS | LOCATION | {"ttl": "P999999999W"})
    assert context.expires_at is not None and context.expires_at.year == 2036


@given(st.integers(0, 10_000_000))
def test_a_written_duration_reads_back(seconds: int) -> None:
    assert values.parse_duration(values.duration_to_wire(seconds)) == seconds


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_written_instant_reads_back_to_the_millisecond(instant: datetime) -> None:
    read = envelope.parse_instant(envelope.format_instant(instant))
    assert read is not None
    assert 0 <= (instant - read).total_seconds() < 0.001


@pytest.mark.parametrize(
    ("status", "body", "accepted", "refused"),
    [
        (200, b'{"message":{"ack":{"status":"ACK"}}}', True, False),
        (202, b'{"context":{},"message":{"ack":{"status":"ACK"}}}', True, False),
        (202, b'{"message":{"ack":{"status":"NACK"}},"error":{"code":"30000","message":"no"}}', False, True),
        (200, b'{"message":{"ack":{"status":"NACK"},"error":{"code":"30000","message":"no"}}}', False, True),
        (400, b'{"message":{"ack":{"status":"NACK"}}}', False, True),
        (401, b"", False, True),
        (404, b"not here", False, True),
        (429, b"{}", False, False),
        (500, b'{"message":{"ack":{"status":"NACK"}}}', False, False),
        (503, b"", False, False),
        (200, b"", False, False),
        (200, b"[1]", False, False),
        (200, b'{"message":"ACK"}', False, False),
        (500, b'{"message":{"ack":{"status":"ACK"}}}', False, False),
    ],
)
def test_an_answer_is_accepted_refused_or_neither(status: int, body: bytes, accepted: bool, refused: bool) -> None:
    answer = envelope.parse_answer(status, body)
    assert (answer.accepted, answer.refused) == (accepted, refused)


@pytest.mark.parametrize(
    "body",
    [
        b'{"message":{"ack":{"status":"NACK"}},"error":{"code":40002,"message":"sold"}}',
        b'{"message":{"ack":{"status":"NACK"},"error":{"code":"40002","message":"sold"}}}',
    ],
)
def test_an_error_is_read_beside_or_inside_the_message(body: bytes) -> None:
    answer = envelope.parse_answer(200, body)
    assert (answer.code, answer.message) == ("40002", "sold")


def test_every_request_has_a_callback_and_letters_that_change_state_are_tried_for_a_day() -> None:
    for action in actions.ACTIONS.values():
        if action.callback is not None:
            assert actions.ACTIONS[action.callback].is_callback
            assert actions.ACTIONS[action.callback].receiver is action.sender
    assert actions.ACTIONS["search"].ttl_s == 30
    for name in ("init", "confirm", "on_confirm", "cancel", "update", "on_status"):
        assert (actions.ACTIONS[name].ttl_s, actions.ACTIONS[name].deliver_for_s) == (3600, 86_400)
