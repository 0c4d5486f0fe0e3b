"""Curves as inline SVG: step lines over hours or days, with axes and numbers, legible on light and dark pages.

Colours are CSS classes (`c0`, `c1`, ...) which the page defines for both schemes; every line also has its own dash.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 10, 24


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: its name and a number per step."""

    name: str
    values: Sequence[float]


def chart(title: str, lines: Sequence[Line], *, labels: Sequence[str], unit: str) -> Markup:
    """An SVG of step lines over `labels`, one label per step (as many are written as fit)."""
    top = _ceiling(max((value for line in lines for value in line.values), default=0))
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_horizontal(top, unit),
        *_labels(labels),
    ]
    for index, line in enumerate(lines):
        points = " ".join(_steps(line.values, top))
        parts.append(
            f'<polyline class="line c{index} d{index}" points="{points}"><title>{escape(line.name)}</title></polyline>'
        )
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - every text in it is escaped above


def _ceiling(value: float) -> float:
    """The next of 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def _y(value: float, top: float) -> float:
    return round(_TOP + (1 - value / top) * (_HEIGHT - _TOP - _BOTTOM), 1)


def _x(step: float, steps: int) -> float:
    return round(_LEFT + step / steps * (_WIDTH - _LEFT - _RIGHT), 1)


def _steps(values: Sequence[float], top: float) -> list[str]:
    count = len(values)
    corners = []
    for index, value in enumerate(values):
        y = _y(value, top)
        corners += [f"{_x(index, count)},{y}", f"{_x(index + 1, count)},{y}"]
    return corners


def _horizontal(top: float, unit: str) -> list[str]:
    parts = []
    for quarter in range(5):
        value = top * quarter / 4
        y = _y(value, top)
        text = f"{value:g} {unit}" if quarter == 4 else f"{value:g}"
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 4}" y="{y + 4}" text-anchor="end">{escape(text)}</text>')
    return parts


def _labels(labels: Sequence[str]) -> list[str]:
    every = max(1, math.ceil(len(labels) / 12))
    return [
        f'<text x="{_x(index, len(labels))}" y="{_HEIGHT - 8}">{escape(label)}</text>'
        for index, label in enumerate(labels)
        if index % every == 0
    ]
