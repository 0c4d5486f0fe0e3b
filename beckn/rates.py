"""Token buckets: how fast each of many senders may go."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Senders remembered at most; when there are more, those whose bucket is full again are forgotten.
SENDERS_MAX = 10_000


class RateLimit:
    """A bucket of `burst` tokens for each sender, refilled at `rate_per_s`. A rate of 0 limits nothing."""

    def __init__(self, *, rate_per_s: float, burst: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._monotonic = rate_per_s, max(burst, 1.0), monotonic
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, sender: str) -> bool:
        """Take one token of this sender's; False when there is none left."""
        if self._rate <= 0:
            return True
        now = self._monotonic()
        bucket = self._buckets.get(sender)
        if bucket is None:
            if len(self._buckets) >= SENDERS_MAX:
                self._forget(now)
            tokens = self._burst
        else:
            tokens = min(self._burst, bucket[0] + (now - bucket[1]) * self._rate)
        if tokens < 1:
            self._buckets[sender] = (tokens, now)
            return False
        self._buckets[sender] = (tokens - 1, now)
        return True

    def _forget(self, now: float) -> None:
        self._buckets = {
            sender: (tokens, at)
            for sender, (tokens, at) in self._buckets.items()
            if tokens + (now - at) * self._rate < self._burst
        }
