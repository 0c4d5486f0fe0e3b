"""Two clocks, kept apart everywhere.

The wall clock dates letters: signatures, ttl, time-outs, back-off. The trading clock dates energy: slots, gate
closure, cancellation terms, settlement. They show the same time except in a demo, which may drive the second.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Something that knows the time."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        ...


class WallClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return datetime.now(UTC)


class DrivenClock:
    """A clock that stands still until it is moved; it never goes back."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """The instant the clock was last moved to."""
        return self._now

    def move_to(self, instant: datetime) -> None:
        """Move forward to `instant`; raises ValueError when that lies in the past."""
        if instant < self._now:
            raise ValueError(f"the trading clock shows {self._now.isoformat()} and never goes back")
        self._now = instant
