"""What a node counts: one Prometheus registry per node; children are cached, finding one costs more than counting."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The counters of one node."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._received = Counter(
            "beckn_letters_received_total",
            "Letters received, by action and what became of them (accepted, duplicate, or the refusal's name)",
            ["action", "outcome"],
            registry=self.registry,
        )
        self._receive_seconds = Histogram(
            "beckn_receive_seconds", "From a letter's arrival to its answer", ["action"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._processed = Counter(
            "beckn_letters_processed_total", "Letters processed, by outcome (done, retry, parked)",
            ["action", "outcome"], registry=self.registry,
        )  # fmt: skip
        self._process_seconds = Histogram(
            "beckn_process_seconds", "Time one unit of work on a letter took", ["action"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._sent = Counter(
            "beckn_letters_sent_total", "Attempts to deliver, by outcome (ack, nack, retry, given_up)",
            ["action", "outcome"], registry=self.registry,
        )  # fmt: skip
        self._send_seconds = Histogram(
            "beckn_send_seconds", "From posting a letter to the peer's answer", ["action"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.inbox_in_memory = Gauge(
            "beckn_inbox_in_memory", "Letters accepted and waiting to be processed here", registry=self.registry
        )
        self.outbox_in_memory = Gauge(
            "beckn_outbox_in_memory", "Letters waiting to be sent from here", registry=self.registry
        )
        self.job_failures = Counter(
            "powershare_job_failures_total", "Runs of a scheduled job that failed", ["job"], registry=self.registry
        )
        # The values of every label come from our own tables, so these caches stay small.
        self.received = cache(self._received.labels)
        self.receive_seconds = cache(self._receive_seconds.labels)
        self.processed = cache(self._processed.labels)
        self.process_seconds = cache(self._process_seconds.labels)
        self.sent = cache(self._sent.labels)
        self.send_seconds = cache(self._send_seconds.labels)

    def watch(self, name: str, sentence: str, value: Callable[[], float]) -> None:
        """Show a number that is asked for whenever the metrics are read."""
        Gauge(name, sentence, registry=self.registry).set_function(value)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
