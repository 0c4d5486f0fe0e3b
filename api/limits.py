"""Rate limits, kept in memory: what they protect may be forgotten at a restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class RateLimit:
    """A token bucket per key: `rate_per_s` on average, `burst` at once.

    Bounded: past `keys_max` keys the whole table is dropped, which can only let more through for a moment.
    """

    rate_per_s: float
    burst: float
    keys_max: int = 10_000
    clock: Callable[[], float] = time.monotonic
    _levels: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, key: str) -> bool:
        """Take one permit for `key`; False when there is none left now."""
        now = self.clock()
        level = self._level(key, now)
        if level < 1:
            self._levels[key] = (level, now)
            return False
        if len(self._levels) >= self.keys_max and key not in self._levels:
            self._levels.clear()
        self._levels[key] = (level - 1, now)
        return True

    def is_empty(self, key: str) -> bool:
        """True when a `take` would be refused now; takes nothing."""
        return self._level(key, self.clock()) < 1

    def _level(self, key: str, now: float) -> float:
        level, at = self._levels.get(key, (self.burst, now))
        return min(self.burst, level + (now - at) * self.rate_per_s)


@dataclass(slots=True)
class Concurrency:
    """At most `each_max` things under way per key (open event streams of one token)."""

    each_max: int
    _open: dict[str, int] = field(default_factory=dict)

    def enter(self, key: str) -> bool:
        """Count one more; False when the key has its share already."""
        count = self._open.get(key, 0)
        if count >= self.each_max:
            return False
        self._open[key] = count + 1
        return True

    def leave(self, key: str) -> None:
        """Count one less."""
        count = self._open.get(key, 0) - 1
        if count > 0:
            self._open[key] = count
        else:
            self._open.pop(key, None)
