"""What a reader makes of a file: readings and refusals, each with the line it came from."""

from __future__ import annotations

from dataclasses import dataclass

from trade.reading import Reading


class Unreadable(ValueError):
    """The file as a whole cannot be read; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """A reading of one flow. `line` counts from 1: lines of a CSV, readings of a feed.

    `cost_e5` is what the file says the energy cost, in hundred-thousandths of the currency; None where it says nothing.
    """

    line: int
    flow: str
    reading: Reading
    cost_e5: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A value that makes no reading, and why."""

    line: int
    reason: str


Entry = Found | Refused
