"""Line charts over training steps, as HTML without scripts; labels are text, so that they stay readable on phones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

Points = Sequence[tuple[int, float]]
"""(step, value), in the order of steps."""
MAX_POINTS = 400
MAX_DOTS = 50
"""Lines with more points have no dots."""
MAX_MARKS = 20
"""Marks of one line for values above the chart."""
UNITS = 1000
"""Height and width of the drawing in its own coordinates."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    name: str
    """For the legend and for descriptions of values."""
    css_class: str
    points: Points
    has_dots: bool = False
    """Whether the points are drawn as dots, too, if there are few of them."""


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line of a chart."""

    value: float
    css_class: str
    label: str = ""
    """Printed at the right of the chart."""


def draw_chart(
    title: str, lines: Sequence[Line], *, steps: int, top: float, levels: Sequence[Level] = (), number: str = "{:g}"
) -> str:
    """Return a chart as HTML. Values above its top are marked by triangles and listed below it.

    Args:
        title: what is shown, for screen readers.
        lines: drawn in this order.
        steps: right end of the step axis, which begins at 0.
        top: upper end of the value axis, which begins at 0.
        levels: horizontal lines.
        number: format of the values.
    """
    x_ticks, y_ticks = tick_values(max(1, steps), smallest=1), tick_values(top)
    paths = [f'<path class="grid" d="M0 {_y(tick, top)}h{UNITS}"/>' for tick in y_ticks]
    paths += [f'<path class="grid" d="M{_x(tick, steps)} 0v{UNITS}"/>' for tick in x_ticks]
    paths += [f'<path class="{level.css_class}" d="M0 {_y(level.value, top)}h{UNITS}"/>' for level in levels]
    paths += [_draw_line(line, steps, top) for line in lines]
    labels = [f'<span class="y" style="top:{_y(tick, top) / 10}%">{number.format(tick)}</span>' for tick in y_ticks]
    labels += [
        f'<span class="x" style="left:{_x(tick, steps) / 10}%">{"step " if not tick else ""}{tick:,.0f}</span>'
        for tick in x_ticks
    ]
    labels += [
        f'<span class="right" style="top:{_y(level.value, top) / 10}%">{escape(level.label)}</span>'
        for level in levels
        if level.label
    ]
    labels += [mark for line in lines for mark in _mark_high_values(line, steps, top)]
    return (
        f'<div class="chart" role="img" aria-label="{escape(title)}">'
        f'<svg viewBox="0 0 {UNITS} {UNITS}" preserveAspectRatio="none" aria-hidden="true">{"".join(paths)}</svg>'
        f"{''.join(labels)}</div>{_list_high_values(lines, top)}"
    )


def tick_values(end: float, smallest: float = 0.0) -> list[float]:
    """Return at most seven round values from 0 to `end`, which is above 0, at least `smallest` apart.

    >>> tick_values(0.9), tick_values(800), tick_values(2, smallest=1)
    ([0.0, 0.2, 0.4, 0.6, 0.8], [0.0, 200.0, 400.0, 600.0, 800.0], [0, 1, 2])
    """
    power = 10.0 ** math.floor(math.log10(end))
    intervals = (max(smallest, power * factor) for factor in (0.1, 0.2, 0.5, 1, 2))
    interval = next(interval for interval in intervals if end / interval <= 6 + 1e-9)
    return [round(interval * number, 12) for number in range(math.floor(end / interval + 1e-9) + 1)]


def chart_top(values: Sequence[float], lowest: float, highest: float) -> float:
    """Return an upper end of the value axis that leaves out rare spikes, between `lowest` and `highest`."""
    finite = [value for value in values if math.isfinite(value)]
    return min(highest, max(lowest, 1.1 * float(np.quantile(finite, 0.95)) if finite else lowest))


def _draw_line(line: Line, steps: int, top: float) -> str:
    points = [(step, value) for step, value in _thin(line.points) if math.isfinite(value)]
    if not points:
        return ""
    places = [f"{_x(step, steps)} {_y(value, top)}" for step, value in points]
    path = f'<path class="{line.css_class}" d="M{"L".join(places)}"/>'
    if line.has_dots and len(line.points) <= MAX_DOTS:
        path += f'<path class="{line.css_class} dots" d="{"".join(f"M{place}h0" for place in places)}"/>'
    return path


def _thin(points: Points) -> Points:
    """Return at most about `MAX_POINTS` points: of each group of neighbors, the lowest and the highest value."""
    size = -(-2 * len(points) // MAX_POINTS)
    if size <= 2:
        return points
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    ends = [(min(group, key=lambda point: point[1]), max(group, key=lambda point: point[1])) for group in groups]
    return [point for pair in ends for point in sorted(set(pair))]


def _mark_high_values(line: Line, steps: int, top: float) -> list[str]:
    """Return a triangle at the top edge for each value above it; for neighbors, one at the highest."""
    highest: dict[int, tuple[float, int]] = {}
    for step, value in line.points:
        if value > top:
            place = MAX_MARKS * step // max(1, steps)
            highest[place] = max(highest.get(place, (value, step)), (value, step))
    return [
        f'<span class="over {line.css_class}" style="left:{_x(step, steps) / 10}%" '
        f'title="{escape(line.name)}: {_format(value)} at step {step:,}">▲</span>'
        for value, step in highest.values()
    ]


def _list_high_values(lines: Sequence[Line], top: float) -> str:
    parts = []
    for line in lines:
        above = [(value, step) for step, value in line.points if value > top]
        if above:
            value, step = max(above)
            count = f"{len(above):,} of {len(line.points):,} values, the highest"
            parts.append(f"{line.name}: {count} {_format(value)} at step {step:,}")
    return f'<p class="quiet">▲ above the chart: {escape("; ".join(parts))}.</p>' if parts else ""


def _format(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "infinite"


def _x(step: float, steps: int) -> float:
    return round(UNITS * step / max(1, steps), 1)


def _y(value: float, top: float) -> float:
    return round(UNITS * (1 - min(value / top, 10)), 1)  # far above the chart, the exact place doesn't matter
