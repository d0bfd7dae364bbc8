"""Charts as SVG: lines over axes, and shares as bars. Styled by classes (report.css), without scripts.

This module places things; the templates in `privgen/report/templates` draw them and escape every text.
Series differ by dashes and marks as well as by colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from privgen.report.rendering import render

Point = tuple[float, float]

WIDTH, HEIGHT = 480, 340
_LEFT, _RIGHT, _BOTTOM = 62, 14, 52
_LEGEND_ROW, _LEGEND_COLUMN = 22, 218
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A line.

    Args:
        label: in the legend. style: class that report.css knows: "rdp", "prv", "target" or "claimed".
        points: (x, y), x ascending. steps: draw a staircase, each value holding since the previous x.
        marked: draw a dot at each point.
    """

    label: str
    style: str
    points: tuple[Point, ...]
    steps: bool = False
    marked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """An axis: its title, its ticks as (value, label), and the place of a value as a share of its length, in [0, 1]."""

    title: str
    ticks: tuple[tuple[float, str], ...]
    place: Callable[[float], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A bar of one or two stacked shares, each in [0, 1]; the second is hatched."""

    label: str
    first: float
    second: float = 0.0


def linear_axis(title: str, values: Sequence[float]) -> Axis:
    """From 0 to the first round number that is not below the largest value."""
    top = max((value for value in values if math.isfinite(value)), default=0.0) or 1.0
    step = _round_step(top / 6)
    count = math.ceil(top / step - 1e-9)
    ticks = tuple((k * step, f"{k * step:g}") for k in range(count + 1))
    return Axis(title=title, ticks=ticks, place=lambda value: value / (count * step))


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """From one power of ten to another, with at most about six labels."""
    low = math.floor(math.log10(min(values)) + 1e-9)
    high = max(low + 1, math.ceil(math.log10(max(values)) - 1e-9))
    every = math.ceil((high - low) / 6)
    powers = range(high, low - 1, -every)
    ticks = tuple((10.0**power, f"10{str(power).translate(_SUPERSCRIPT)}") for power in powers)
    return Axis(title=title, ticks=ticks, place=lambda value: (math.log10(value) - low) / (high - low))


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least this."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def line_chart(*, key: str, title: str, summary: str, x: Axis, y: Axis, series: Sequence[Series]) -> Markup:
    """Lines over two axes.

    Args:
        key: a word that is unique in the document. title, summary: for a screen reader.
    """
    frame = _Frame(x=x, y=y, top=18 + _LEGEND_ROW * math.ceil(len(series) / 2))
    base = HEIGHT - _BOTTOM
    return render(
        "line_chart.svg",
        key=key,
        title=title,
        summary=summary,
        width=WIDTH,
        height=HEIGHT,
        left=_LEFT,
        right=WIDTH - _RIGHT,
        base=base,
        middle=(frame.top + base) / 2,
        x_title=x.title,
        y_title=y.title,
        rows=[(frame.at((x.ticks[0][0], value))[1], label) for value, label in y.ticks],
        columns=[(frame.at((value, y.ticks[0][0]))[0], label) for value, label in x.ticks],
        lines=[_placed(line, frame) for line in series if line.points],
        legend=[_legend_entry(index, line) for index, line in enumerate(series)],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    x: Axis
    y: Axis
    top: float

    def at(self, point: Point) -> Point:
        across, up = self.x.place(point[0]), self.y.place(point[1])
        width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _BOTTOM - self.top
        return _LEFT + across * width, HEIGHT - _BOTTOM - up * height


@dataclass(frozen=True, kw_only=True, slots=True)
class _PlacedLine:
    style: str
    path: str
    marks: tuple[Point, ...]


def _placed(series: Series, frame: _Frame) -> _PlacedLine:
    placed = tuple(frame.at(point) for point in series.points)
    path = f"M{placed[0][0]:.1f} {placed[0][1]:.1f}"
    for (before, _), (x, y) in pairwise(placed):
        path += f"L{before:.1f} {y:.1f}L{x:.1f} {y:.1f}" if series.steps else f"L{x:.1f} {y:.1f}"
    return _PlacedLine(style=series.style, path=path, marks=placed if series.marked else ())


@dataclass(frozen=True, kw_only=True, slots=True)
class _LegendEntry:
    x: int
    y: int
    style: str
    marked: bool
    label: str


def _legend_entry(index: int, series: Series) -> _LegendEntry:
    x, y = 8 + index % 2 * _LEGEND_COLUMN, 14 + index // 2 * _LEGEND_ROW
    return _LegendEntry(x=x, y=y, style=series.style, marked=series.marked, label=series.label)


def bar_chart(*, key: str, title: str, summary: str, bars: Sequence[Bar], legend: tuple[str, str] | None) -> Markup:
    """Shares as horizontal bars, each under its label; the whole width is 1.

    Args:
        legend: the meanings of the plain and the hatched share, or None if all bars are plain.
    """
    top, row, left, full = (30 if legend else 4), 52, 8, WIDTH - 16
    kinds = zip(legend or (), ("first", "second"), strict=False)
    return render(
        "bar_chart.svg",
        key=key,
        title=title,
        summary=summary,
        width=WIDTH,
        height=top + row * len(bars),
        left=left,
        full=full,
        legend=[{"x": left + k * _LEGEND_COLUMN, "label": text, "fill": fill} for k, (text, fill) in enumerate(kinds)],
        bars=[
            {"y": top + k * row, "label": bar.label, "first": full * bar.first, "second": full * bar.second}
            for k, bar in enumerate(bars)
        ],
    )
