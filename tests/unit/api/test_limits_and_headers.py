"""Rate limits, cursors, Prefer, request ids, series."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from api.limits import Concurrency, RateLimit
from api.paging import NO_WAIT, Wait, cursor, read_cursor, read_prefer, read_request_id
from api.problems import ApiError
from api.series import EnergySeriesIn
from api.webhooks import sign


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    now = 100.0
    limit = RateLimit(rate_per_s=2, burst=3, clock=lambda: now)
    assert [limit.take("a") for _ in range(4)] == [True, True, True, False]
    assert limit.is_empty("a") and not limit.is_empty("b")
    now = 100.5
    assert [limit.take("a") for _ in range(2)] == [True, False]


def test_a_bucket_table_stays_bounded() -> None:
    limit = RateLimit(rate_per_s=1, burst=1, keys_max=10)
    for key in range(100):
        assert limit.take(str(key))
    assert len(limit._levels) <= 10


def test_concurrency_counts_each_key_by_itself() -> None:
    streams = Concurrency(2)
    assert [streams.enter("a"), streams.enter("a"), streams.enter("a"), streams.enter("b")] == [True, True, False, True]
    streams.leave("a")
    assert streams.enter("a")


@pytest.mark.parametrize("value", ["nonsense", "e30", "", "W10", "WyJhIl0="[:-1] + "xx", "é"])
def test_a_cursor_that_is_none_of_ours_is_refused(value: str) -> None:
    with pytest.raises(ApiError):
        read_cursor(value, count=1)


def test_a_cursor_comes_back_as_it_went() -> None:
    assert read_cursor(cursor("a/b", 5), count=2) == ["a/b", 5]
    assert read_cursor(None, count=1) is None


@pytest.mark.parametrize(
    ("values", "wait"),
    [
        ([], NO_WAIT),
        (["respond-async"], NO_WAIT),
        (["wait=0"], NO_WAIT),
        (["wait=-1"], NO_WAIT),
        (["wait=abc, offers=2"], NO_WAIT),
        (["offers=2"], NO_WAIT),
        (["wait=5"], Wait(5.0)),
        (['wait="5"; offers=0'], Wait(5.0, 1)),
        (["respond-async", "Wait=2.5, Offers=3"], Wait(2.5, 3)),
        (["wait=999999"], Wait(30.0)),
    ],
)
def test_prefer_is_read_as_far_as_it_is_understood(values: list[str], wait: Wait) -> None:
    assert read_prefer(values) == wait


def test_a_request_id_unfit_for_a_log_line_is_replaced() -> None:
    assert read_request_id("abc-1") == "abc-1"
    for bad in (None, "", "two words", "line\nbreak", "x" * 129):
        assert read_request_id(bad) != bad


@pytest.mark.parametrize(
    "body",
    [
        {"start": "2016-08-02T15:00:00", "slot_s": 3600, "energy_wh": [1]},
        {"start": "2016-08-02T15:00:00.5Z", "slot_s": 3600, "energy_wh": [1]},
        {"start": "2016-08-02T15:00:00Z", "slot_s": 59, "energy_wh": [1]},
        {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": []},
        {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": [-1]},
        {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": [1.5]},
        {"start": "2016-08-02T15:00:00Z", "slot_s": 3600, "energy_wh": [1] * 2017},
    ],
)
def test_a_series_that_is_none_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EnergySeriesIn.model_validate(body)


def test_a_series_is_in_utc_whatever_zone_it_was_written_in() -> None:
    given = EnergySeriesIn.model_validate({"start": "2016-08-02T07:00:00-08:00", "slot_s": 3600, "energy_wh": [1]})
    assert given.series().start.isoformat() == "2016-08-02T15:00:00+00:00"


def test_a_signature_is_the_hmac_of_time_and_body() -> None:
    from datetime import UTC, datetime

    value = sign(b'{"a":1}', secret="key", at=datetime(2026, 1, 15, 10, tzinfo=UTC))
    # printf '1768471200.{"a":1}' | openssl dgst -sha256 -hmac key
    assert value == f"t=1768471200,v1={_KNOWN}"


_KNOWN = "8bfdb2e87377a45ff9de6dcbbfb2013ab61c1af1e8f31fb5c41b44761113defc"
