"""Plots as inline SVG in the page's own colours: no script, no network, sharp at any size.

Series are told apart by colour, dash and place, never by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.page import text

LARGEST = 1e30
"""Numbers from here on, either way, are not drawn."""
_WIDTH, _HEIGHT = 350, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 10, 10, 42
_ROW_WIDTH = 500
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 4", "12 5")


def can_be_drawn(value: Any) -> bool:
    """Whether a value is a number, and none that is too large for an axis."""
    return isinstance(value, int | float) and -LARGEST < value < LARGEST  # NaN is neither


def legend(names: Sequence[str]) -> str:
    """What colour and dash stand for, one entry for each series in its order."""
    items = "".join(
        '<li><svg viewBox="0 0 26 10" aria-hidden="true">'
        f'<line x1="1" x2="25" y1="5" y2="5" {_stroke(i)}/></svg>{text(name)}</li>'
        for i, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def intervals(title: str, rows: Mapping[str, tuple[float, float, float]], *, top: float = 1.0) -> str:
    """Means with their intervals, a line for each row.

    Args:
        title: says what is shown (plain text).
        rows: for each name, (mean, lower end, upper end).
        top: right end of the axis.
    """
    letters = min(max([13, *(len(name) for name in rows)]), 27)
    step, left = 30, 10 + 6.6 * letters
    height = step * len(rows) + 34
    scale = (_ROW_WIDTH - left - 60) / top
    parts = []
    for tick in _ticks(0, top, 5):
        x = left + tick * scale
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 28}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle">{_number(tick)}</text>')
    for i, (name, (mean, low, high)) in enumerate(rows.items()):
        y = step * i + 20
        a, b, m = (left + min(max(v, 0), top) * scale for v in (low, high, mean))
        parts.append(
            f'<text class="ink" x="{left - 10}" y="{y + 4}" text-anchor="end">{text(_short(name, letters))}</text>'
        )
        parts.append(
            f'<line x1="{a:.1f}" x2="{b:.1f}" y1="{y}" y2="{y}" stroke="var(--c{i % 6})" stroke-width="7" '
            'stroke-opacity=".35" stroke-linecap="round"/>'
        )
        parts.append(f'<circle cx="{m:.1f}" cy="{y}" r="5.5" fill="var(--c{i % 6})"/>')
        end = f'x="{_ROW_WIDTH - 4}" y="{y + 4}" text-anchor="end"'
        parts.append(f'<text class="ink" {end}>{mean:.3f}</text>')
    return _figure(title, "dot: mean, bar: 95 % interval", parts, height, _ROW_WIDTH)


def histogram(title: str, series: Mapping[str, Sequence[float]], label: str, *, top: float = 1.0) -> str:
    """How often values fall into ten equal bins of [0, top], as shares of each series, bars side by side.

    Args:
        title: says what is shown (plain text).
        series: for each name its values.
        label: of the horizontal axis (plain text).
        top: right end of the axis; what lies beyond counts into the last bin.
    """
    shares = {}
    for name, values in series.items():
        clipped = np.clip(np.asarray(values, np.float64), 0, top * (1 - 1e-9))
        counts, _ = np.histogram(clipped, bins=10, range=(0, top))
        shares[name] = counts / max(len(clipped), 1)
    most = max((float(s.max()) for s in shares.values()), default=0.0) or 1.0
    high = min(1.0, math.ceil(most * 10) / 10)
    parts = _axes(0, top, 0, high, label, "share of episodes", percent=True)
    width = (_WIDTH - _LEFT - _RIGHT) / 10
    bar = (width - 6) / max(len(shares), 1)
    for i, (name, values) in enumerate(shares.items()):
        for k, share in enumerate(values):
            if share > 0:
                x, y = _LEFT + k * width + 3 + i * bar, _y(share, 0, high)
                said = f"{name}: {share:.0%} in {_number(k * top / 10)} to {_number((k + 1) * top / 10)}"
                tall = _HEIGHT - _BOTTOM - y
                parts.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(bar - 1, 1):.1f}" height="{tall:.1f}" rx="1.5" '
                    f'fill="var(--c{i % 6})"><title>{text(said)}</title></rect>'
                )
    return _figure(title, "", parts, _HEIGHT)


def distribution(title: str, series: Mapping[str, Sequence[float]], label: str) -> str:
    """Cumulative distributions: which share of each series lies at or below a value.

    Args:
        title: says what is shown (plain text).
        series: for each name its values.
        label: of the horizontal axis (plain text).
    """
    top = _round_up(max((max(v) for v in series.values() if len(v)), default=1.0))
    parts = _axes(0, top, 0, 1, label, "share of episodes", percent=True)
    for i, values in enumerate(series.values()):
        ordered = np.sort(np.clip(np.asarray(values, np.float64), 0, top))
        if len(ordered) == 0:
            continue
        points = [(_x(0, 0, top), _y(0, 0, 1))]
        for k, value in enumerate(ordered):
            x = _x(value, 0, top)
            points += [(x, _y(k / len(ordered), 0, 1)), (x, _y((k + 1) / len(ordered), 0, 1))]
        points.append((_x(top, 0, top), _y(1, 0, 1)))
        trace = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{trace}" fill="none" {_stroke(i)}/>')
    return _figure(title, "", parts, _HEIGHT)


def lines(
    title: str, series: Mapping[str, Sequence[tuple[float, float]]], label: str, *, note: str = ""
) -> str:
    """Curves over one axis, each with as much of the vertical axis as all of them need.

    Args:
        title: says what is shown (plain text).
        series: for each name its points (x, y), two or more, x ascending.
        label: of the horizontal axis (plain text).
        note: behind the title (plain text).
    """
    points = [point for curve in series.values() for point in curve]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    left, right = (left, right) if right > left else (left - 0.5, left + 0.5)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = low - room, high + room
    parts = _axes(left, right, low, high, label, "")
    for i, (name, curve) in enumerate(series.items()):
        at = [(_x(x, left, right), _y(y, low, high)) for x, y in curve]
        said = f"<title>{text(name)}: {_number(curve[-1][1])} at the end</title>"
        trace = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        parts.append(f'<polyline points="{trace}" fill="none" {_stroke(i)}>{said}</polyline>')
    return _figure(title, note, parts, _HEIGHT)


def scatter(
    title: str, series: Mapping[str, Sequence[tuple[float, float, bool]]], x_label: str, y_label: str
) -> str:
    """Points (x, y, success): a disc for success, a cross for failure; y lies in [0, 1].

    Args:
        title: says what is shown (plain text).
        series: for each name its points.
        x_label: of the horizontal axis (plain text).
        y_label: of the vertical axis (plain text).
    """
    top = _round_up(max((p[0] for points in series.values() for p in points), default=1.0))
    parts = _axes(0, top, 0, 1, x_label, y_label)
    for i, points in enumerate(series.values()):
        for x, y, success in points:
            u, v = _x(min(x, top), 0, top), _y(min(max(y, 0), 1), 0, 1)
            colour = f"var(--c{i % 6})"
            if success:
                mark = f'<circle cx="{u:.1f}" cy="{v:.1f}" r="4" fill="{colour}" fill-opacity=".75"/>'
            else:
                cross = f"M{u - 3.5:.1f} {v - 3.5:.1f}l7 7m0-7l-7 7"
                mark = f'<path d="{cross}" stroke="{colour}" stroke-width="1.8"/>'
            parts.append(mark)
    return _figure(title, "disc: success, cross: failure", parts, _HEIGHT)


def _figure(title: str, note: str, parts: Sequence[str], height: float, width: float = _WIDTH) -> str:
    caption = f"<figcaption><b>{text(title)}</b>{f'  ({text(note)})' if note else ''}</figcaption>"
    box = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{text(title)}"'
    return f"<figure><svg {box}>{''.join(parts)}</svg>{caption}</figure>"


def _axes(
    x0: float, x1: float, y0: float, y1: float, x_label: str, y_label: str, *, percent: bool = False
) -> list[str]:
    """Grid, ticks and labels."""
    parts = []
    heights = _ticks(y0, y1, 4)
    for tick, number in zip(heights, _labels(heights), strict=True):
        y = _y(tick, y0, y1)
        shown = f"{tick:.0%}" if percent else number
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>')
    for tick in _ticks(x0, x1, 5):
        x = _x(tick, x0, x1)
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 17}" text-anchor="middle">{_number(tick)}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{text(x_label)}</text>')
    centre = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text transform="translate(11 {centre}) rotate(-90)" text-anchor="middle">{text(y_label)}</text>'
    )
    return parts


def _x(value: float, low: float, high: float) -> float:
    return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, low: float, high: float) -> float:
    return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round values over [low, high], about ``count`` steps."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-6)
    return [k * step for k in range(first, math.floor(high / step + 1e-6) + 1)]


def _round_up(value: float) -> float:
    """The next value with a round first digit."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if m * power >= value * 0.999)


def _stroke(i: int) -> str:
    dash = _DASHES[i % len(_DASHES)]
    return f'stroke="var(--c{i % 6})" stroke-width="2.4"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _labels(ticks: Sequence[float]) -> list[str]:
    """Numbers beside an axis, with as many digits as tell them apart."""
    for digits in range(3, 7):
        shown = [f"{tick:.{digits}g}" if abs(tick) < 1000 else f"{tick:,.0f}" for tick in ticks]
        if len(set(shown)) == len(shown):
            return shown
    return [_number(tick) for tick in ticks]


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
