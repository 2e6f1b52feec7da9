"""Small charts as SVG: lines, bars, pictures of digits. Light and dark as the reader's system."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

WIDTH: Final = 640
STYLE: Final = """<style>
text { font: 13px system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif }
text { fill: #24292f } .line { fill: none; stroke-width: 2.5 }
.card { fill: #ffffff } .ink { fill: #24292f } .grid { stroke: #d0d7de }
.s0 { stroke: #2563d8 } .s1 { stroke: #c2571a } .s2 { stroke: #1a7f5a } .s3 { stroke: #8250df }
.f0 { fill: #2563d8 } .f1 { fill: #c2571a } .f2 { fill: #1a7f5a } .f3 { fill: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .card { fill: #0d1117 } .ink { fill: #e6edf3 } .grid { stroke: #30363d }
.s0 { stroke: #6b9dff } .s1 { stroke: #f0925a } .s2 { stroke: #56d3a0 } .s3 { stroke: #c297ff }
.f0 { fill: #6b9dff } .f1 { fill: #f0925a } .f2 { fill: #56d3a0 } .f3 { fill: #c297ff }
}
</style>"""

Points = Sequence[tuple[float, float]]


def page(height: float, title: str, parts: Sequence[str]) -> str:
    """An SVG of the fixed width; the title is what a screen reader says."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(title)}">\n{STYLE}\n'
        f'<rect class="card" width="{WIDTH}" height="{height:g}" rx="8"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """A line of text; `kind` is a class, which gives its colour."""
    colour = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{colour}>{escape(words)}</text>'


def number(value: float) -> str:
    """As people write it: no zeros behind the point, thousands apart."""
    if 0 < abs(value) < 0.05:
        return "< 0.1"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def chart(title: str, series: Mapping[str, Points], across: str, up: str) -> str:
    """Lines through points (x, y), named at their ends; a series of one point is a dot."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    frame = Frame(min(xs), max(xs), min([0, *ys]), max(ys) * 1.04)
    parts = [text(16, 22, up), text(frame.right, frame.bottom + 38, across, "end"), *frame.grid()]
    ends = _apart([frame.at(*points[-1])[1] for points in series.values()], 17)
    for n, ((name, points), y) in enumerate(zip(series.items(), ends, strict=True)):
        dots = [frame.at(*point) for point in points]
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in dots)
        parts.append(f'<path class="line s{n % 4}" d="M{line}"/>')
        parts += [f'<circle class="f{n % 4}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in dots]
        parts.append(text(dots[-1][0] + 10, y + 4, name, kind=f"f{n % 4}"))
    return page(frame.bottom + 52, title, parts)


@dataclass(frozen=True)
class Frame:
    """The field of a chart: what the axes hold, and where it lies on the page."""

    begin: float
    end: float
    low: float
    high: float
    left: float = 56.0
    right: float = WIDTH - 150.0
    top: float = 36.0
    bottom: float = 300.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies."""
        along = (x - self.begin) / ((self.end - self.begin) or 1)
        above = (y - self.low) / (self.high - self.low)
        return (
            self.left + along * (self.right - self.left),
            self.bottom - above * (self.bottom - self.top),
        )

    def grid(self) -> list[str]:
        """Lines across with their numbers, and the numbers below."""
        parts = []
        for tick in _ticks(self.low, self.high):
            y = self.at(self.begin, tick)[1]
            parts.append(f'<path class="grid" d="M{self.left:g} {y:.1f}H{self.right:g}"/>')
            parts.append(text(self.left - 8, y + 4, number(tick), "end"))
        for tick in _ticks(self.begin, self.end):
            x = self.at(tick, self.low)[0]
            parts.append(text(x, self.bottom + 18, number(tick), "middle"))
        return parts


def bars(title: str, groups: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """Horizontal bars: a group a row, in it a bar for each name."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    tall, parts, y = 17.0, [text(16, 22, unit)], 36.0
    most = max(value for group in groups.values() for value in group.values())
    for group, values in groups.items():
        parts.append(text(150, y + 13 + (len(values) - 1) * tall / 2, group, "end"))
        for name, value in values.items():
            wide, kind = 380 * value / most, f"f{names.index(name)}"
            parts.append(
                f'<rect class="{kind}" x="160" y="{y:.1f}" width="{wide:.1f}" '
                f'height="{tall - 3:g}" rx="2"/>'
            )
            parts.append(text(166 + wide, y + 12, number(value)))
            y += tall
        y += 8
    if len(names) > 1:
        x = 160.0
        for n, name in enumerate(names):
            parts.append(text(x, y + 14, name, kind=f"f{n}"))
            x += 190
        y += 20
    return page(y + 8, title, parts)


def strips(title: str, values: np.ndarray, levels: Mapping[str, np.ndarray]) -> str:
    """Values as ticks on a line, and below it for each name the levels that are left of them."""
    most = float(np.abs(values).max()) * 1.1
    rows, parts = {"": values, **levels}, []
    for n, (name, marks) in enumerate(rows.items()):
        y = 30.0 + 48 * n
        parts.append(f'<path class="grid" d="M150 {y:g}H620"/>')
        parts.append(text(140, y + 4, name or title, "end"))
        places = [385 + 235 * float(mark) / most for mark in marks]
        if name:
            parts += [
                f'<circle class="f{(n - 1) % 4}" cx="{x:.1f}" cy="{y:g}" r="6"/>' for x in places
            ]
        else:
            path = "".join(f"M{x:.1f} {y - 9:g}v18" for x in places)
            parts.append(f'<path class="line s3" style="stroke-width:1;opacity:.5" d="{path}"/>')
    return page(30 + 48 * len(rows), title, parts)


def digits(pictures: np.ndarray, y: float, below: Sequence[str]) -> list[str]:
    """Ten pictures of 16 x 16 from 0 to 1 in a row, in four shades, and a text below each."""
    parts, size, gap = [], 3.2, 60.0
    for place, (picture, words) in enumerate(zip(pictures, below, strict=True)):
        x = 24 + gap * place
        shades = np.clip(np.rint(picture.reshape(16, 16) * 3), 0, 3).astype(int)
        for shade in (1, 2, 3):
            path = "".join(
                f"M{x + size * c:.1f} {y + size * r:.1f}h{size * n:.1f}v{size:g}h-{size * n:.1f}z"
                for r, c, n in _runs(shades == shade)
            )
            if path:
                parts.append(f'<path class="ink" opacity="{shade / 3:.2f}" d="{path}"/>')
        parts.append(text(x + 8 * size, y + 17 * size + 14, words, "middle"))
    return parts


def _runs(mask: np.ndarray) -> list[tuple[int, int, int]]:
    """Row, column and length of what is true without a gap."""
    found = []
    for row, line in enumerate(mask):
        edges = np.flatnonzero(np.diff(np.r_[0, line.astype(int), 0]))
        found += [(row, int(a), int(b - a)) for a, b in edges.reshape(-1, 2)]
    return found


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = min((1, 2, 5, 10), key=lambda one: abs(one * power - rough)) * power
    return [
        round(float(n * step), 6) for n in range(int(np.ceil(low / step)), int(high // step) + 1)
    ]


def _apart(places: Sequence[float], least: float) -> list[float]:
    """The places in their order, moved down until they do not overlap."""
    moved, order = list(places), sorted(range(len(places)), key=lambda n: places[n])
    for before, after in itertools.pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    return moved
