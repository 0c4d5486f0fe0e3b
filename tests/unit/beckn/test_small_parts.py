"""Ids, rates, the recorder, logs and the clock: each small, each with one promise."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import uuid
from pathlib import Path

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from beckn import ids, logs
from beckn.metrics import Metrics
from beckn.rates import RateLimit
from beckn.record import Recorder


def test_ids_are_uuids_of_version_7_that_sort_as_they_were_made() -> None:
    made = [ids.letter_id() for _ in range(20_000)]
    assert made == sorted(set(made))
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in made} == {(7, uuid.RFC_4122)}


def test_ids_keep_their_order_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ids.letter_id()
    monkeypatch.setattr("beckn.ids.time.time_ns", lambda: 1_000_000)
    assert ids.letter_id() > before


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 20), st.integers(1, 20))
def test_a_sender_never_gets_more_than_the_burst_and_what_was_refilled(
    pauses: list[float], rate: int, burst: int
) -> None:
    now = 0.0
    limit = RateLimit(rate_per_s=rate, burst=burst, monotonic=lambda: now)
    taken = 0
    for pause in pauses:
        now += pause
        taken += limit.take("a")
    assert taken <= burst + rate * now + 1e-6


def test_a_rate_of_zero_limits_nothing_and_senders_do_not_share_a_bucket() -> None:
    assert all(RateLimit(rate_per_s=0, burst=0).take("a") for _ in range(1000))
    limit = RateLimit(rate_per_s=1, burst=1, monotonic=lambda: 0.0)
    assert [limit.take("a"), limit.take("a"), limit.take("b")] == [True, False, True]


def test_forgetting_full_buckets_lets_nobody_go_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beckn.rates.SENDERS_MAX", 10)
    limit = RateLimit(rate_per_s=1, burst=1, monotonic=lambda: 0.0)
    assert limit.take("busy")
    for number in range(50):
        limit.take(str(number))
    assert not limit.take("busy")


def test_recorded_messages_are_exact_and_sort_in_order_of_receipt(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "deep" / "dir", receiver="bpp/../one.example:80")
    bodies = [b'{"n": %d}' % number for number in range(12)]
    for body in bodies:
        recorder.record("on_search", body, {"Authorization": "Signature x"})
    found = sorted((tmp_path / "deep" / "dir").glob("*.body"))
    assert [path.read_bytes() for path in found] == bodies
    assert found[0].name == "000000001-bpp_.._one.example_80-on_search.body"
    assert orjson.loads(found[0].with_suffix(".headers").read_bytes()) == {"Authorization": "Signature x"}


def test_processes_that_share_a_directory_never_use_a_sequence_twice(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from beckn.record import Recorder\n"
        "recorder = Recorder(Path(sys.argv[1]), receiver=sys.argv[2])\n"
        "for _ in range(200): recorder.record('search', b'x', {})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in ("a", "b", "c")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    sequences = [path.name.split("-")[0] for path in tmp_path.glob("*.body")]
    assert sorted(sequences) == [f"{number:09d}" for number in range(1, 601)]


def test_secrets_are_hidden_by_the_names_of_their_fields() -> None:
    event = {
        "authorization": "Signature x", "admin_token": "t", "signing_key": "k", "database_url": "postgresql://u:p@h/d",
        "headers": {"Authorization": "Signature x", "host": "h"}, "transaction_id": "t-1", "url": "http://peer",
    }  # fmt: skip
    shown = logs.hide_secrets(None, "", dict(event))
    assert shown["transaction_id"] == "t-1" and shown["url"] == "http://peer"
    assert shown["headers"] == {"Authorization": "[hidden]", "host": "h"}
    assert {shown[name] for name in ("authorization", "admin_token", "signing_key", "database_url")} == {"[hidden]"}


def test_logs_are_one_json_object_a_line_with_what_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, write_through=True))
    try:
        logs.configure("info", node="bpp.example")
        log = structlog.get_logger("a test")
        log.debug("unseen")
        with structlog.contextvars.bound_contextvars(transaction_id="t", message_id="m"):
            log.info("letter_refused", authorization="Signature x")
        logging.getLogger("aiohttp").warning("from the standard library")
        try:
            raise ValueError("why")
        except ValueError:
            log.exception("failed")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
        logging.basicConfig(force=True)
    refused, foreign, failed = [json.loads(line) for line in written.getvalue().splitlines()]
    assert refused["event"] == "letter_refused" and refused["authorization"] == "[hidden]"
    assert (refused["node"], refused["transaction_id"], refused["message_id"]) == ("bpp.example", "t", "m")
    assert (foreign["event"], foreign["level"]) == ("from the standard library", "warning")
    assert "ValueError: why" in failed["exception"]


def test_metrics_are_those_of_one_node_alone() -> None:
    one, two = Metrics(), Metrics()
    one.received("search", "accepted").inc(3)
    assert b'beckn_letters_received_total{action="search",outcome="accepted"} 3.0' in one.exposition()
    assert b'action="search"' not in two.exposition()
