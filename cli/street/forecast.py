"""What a home expects of tomorrow: persistence, the newest value measured at the same hour of the day.

Offers are made the evening before, so the morning and the day come from today and the late hours from yesterday.
Nothing after the evening is looked at: the recording's own prediction columns are the truth moved forward.
"""

from __future__ import annotations

from collections.abc import Callable

_DAY_HOURS = 24


def source_hour(hour: int, *, known_until: int) -> int | None:
    """The newest recorded hour at the same time of day that was over by `known_until`; None when there is none."""
    past = hour - _DAY_HOURS
    while past >= known_until:
        past -= _DAY_HOURS
    return past if past >= 0 else None


def persistence(measured: Callable[[int], int], hours: range, *, known_until: int, missing: int = 0) -> tuple[int, ...]:
    """The forecast for `hours`: measured values of the same hours of day before `known_until`.

    Hours for which nothing was measured yet (only in the recording's first days) get `missing`.
    """
    sources = (source_hour(hour, known_until=known_until) for hour in hours)
    return tuple(missing if past is None else measured(past) for past in sources)
