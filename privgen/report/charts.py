"""Charts as SVG text: lines over axes, and shares as bars. Styled by classes (report.css), without scripts.

Series differ by dashes and marks as well as by colour. Every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

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
        points: (x, y), x ascending. steps: each value holds from the x before on. marked: a dot at each point.
    """

    label: str
    style: str
    points: tuple[Point, ...]
    steps: bool = False
    marked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """An axis: what it is of, its ticks as (value, label), and where a value lies in [0, 1]."""

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
    """From 0 to the first round number from the largest value on."""
    top = max((value for value in values if math.isfinite(value)), default=0.0) or 1.0
    step = _round_step(top / 6)
    count = math.ceil(top / step - 1e-9)
    ticks = tuple((k * step, f"{k * step:g}") for k in range(count + 1))
    return Axis(title=title, ticks=ticks, place=lambda value: value / (count * step))


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """From a power of ten to a power of ten, at most about six of them labelled."""
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


def line_chart(*, key: str, title: str, summary: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """Lines over two axes.

    Args:
        key: a word that is unique in the document. title, summary: what a screen reader says.
    """
    top = 18 + _LEGEND_ROW * math.ceil(len(series) / 2)
    frame = _Frame(x=x, y=y, top=top)
    parts = [frame.axes(), *(_line(line, frame) for line in series), _legend(series)]
    return _svg(key=key, title=title, summary=summary, height=HEIGHT, body="\n".join(parts))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    x: Axis
    y: Axis
    top: float

    def at(self, point: Point) -> tuple[float, float]:
        across, up = self.x.place(point[0]), self.y.place(point[1])
        width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _BOTTOM - self.top
        return _LEFT + across * width, HEIGHT - _BOTTOM - up * height

    def axes(self) -> str:
        base, right, middle = HEIGHT - _BOTTOM, WIDTH - _RIGHT, (self.top + HEIGHT - _BOTTOM) / 2
        parts = []
        for value, label in self.y.ticks:
            y = self.at((self.x.ticks[0][0], value))[1]
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick end" x="{_LEFT - 7}" y="{y + 5:.1f}">{escape(label)}</text>')
        for value, label in self.x.ticks:
            x = self.at((value, self.y.ticks[0][0]))[0]
            parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 5}"/>')
            parts.append(f'<text class="tick middle" x="{x:.1f}" y="{base + 20}">{escape(label)}</text>')
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{base}" y2="{base}"/>')
        centre = (_LEFT + right) / 2
        parts.append(f'<text class="title middle" x="{centre}" y="{HEIGHT - 8}">{escape(self.x.title)}</text>')
        turned = f'transform="rotate(-90 16 {middle:.1f})"'
        parts.append(f'<text class="title middle" x="16" y="{middle:.1f}" {turned}>{escape(self.y.title)}</text>')
        return "\n".join(parts)


def _line(series: Series, frame: _Frame) -> str:
    placed = [frame.at(point) for point in series.points]
    if not placed:
        return ""
    path = f"M{placed[0][0]:.1f} {placed[0][1]:.1f}"
    for (before, _), (x, y) in pairwise(placed):
        path += f"L{before:.1f} {y:.1f}L{x:.1f} {y:.1f}" if series.steps else f"L{x:.1f} {y:.1f}"
    marks = "".join(_mark(series.style, x, y) for x, y in placed) if series.marked else ""
    return f'<path class="line {series.style}" d="{path}"/>{marks}'


def _mark(style: str, x: float, y: float) -> str:
    return f'<circle class="mark {style}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'


def _legend(series: Sequence[Series]) -> str:
    parts = []
    for index, line in enumerate(series):
        x, y = 8 + index % 2 * _LEGEND_COLUMN, 14 + index // 2 * _LEGEND_ROW
        parts.append(f'<path class="line {line.style}" d="M{x} {y}L{x + 30} {y}"/>')
        if line.marked:
            parts.append(_mark(line.style, x + 15, y))
        parts.append(f'<text class="tick" x="{x + 37}" y="{y + 5}">{escape(line.label)}</text>')
    return "\n".join(parts)


def bar_chart(*, key: str, title: str, summary: str, bars: Sequence[Bar], legend: tuple[str, str] | None) -> str:
    """Shares as horizontal bars, each under its label; the whole width is 1.

    Args:
        legend: what the plain and the hatched share are, or None where all bars are plain.
    """
    top, row, width = (30 if legend else 4), 52, WIDTH - 16
    parts = [_hatching(key)]
    if legend:
        for index, (name, fill) in enumerate(zip(legend, ("first", "second"), strict=True)):
            x = 8 + index * _LEGEND_COLUMN
            parts.append(_box(key, fill, x, 6, 22, 14))
            parts.append(f'<text class="tick" x="{x + 29}" y="18">{escape(name)}</text>')
    for index, bar in enumerate(bars):
        y = top + index * row
        split = 8 + width * bar.first
        parts.append(f'<text class="tick" x="8" y="{y + 18}">{escape(bar.label)}</text>')
        parts.append(f'<rect class="track" x="8" y="{y + 25}" width="{width}" height="18"/>')
        parts.append(_box(key, "first", 8, y + 25, width * bar.first, 18))
        if bar.second:
            parts.append(_box(key, "second", split, y + 25, width * bar.second, 18))
    return _svg(key=key, title=title, summary=summary, height=top + row * len(bars), body="\n".join(parts))


def _hatching(key: str) -> str:
    return (
        f'<defs><pattern id="{key}-hatch" width="7" height="7" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect class="hatched" width="7" height="7"/>'
        '<line class="hatch" x1="0" x2="0" y1="0" y2="7"/></pattern></defs>'
    )


def _box(key: str, fill: str, x: float, y: float, width: float, height: float) -> str:
    paint = f' fill="url(#{key}-hatch)"' if fill == "second" else ""
    return f'<rect class="{fill}"{paint} x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}"/>'


def _svg(*, key: str, title: str, summary: str, height: float, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="{key}-title {key}-summary">\n'
        f'<title id="{key}-title">{escape(title)}</title>\n<desc id="{key}-summary">{escape(summary)}</desc>\n'
        f"{body}\n</svg>"
    )
