"""What all charts are drawn on: a canvas as wide as a phone, and colours that have names.

A unit is a pixel of a phone 360 wide. Charts are drawn in the light colours below, each of which
stands for one role only, so that a page can put CSS variables in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from taut.extras import need_extra
from taut.reporting.numbers import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH: Final = 340
TEXT: Final = 12.0  # a pixel of a phone: nothing that is drawn is smaller
SMALL: Final = 12.0
ROLES: Final = {
    "ink": "#1c2430",
    "muted": "#5c6773",
    "grid": "#e4e8ed",
    "card": "#fffffe",
    "before": "#aeb8c4",
    "after": "#2563d8",
    "warn": "#c2571a",
    "peer": "#7a5bb5",
}
INK, MUTED, GRID, CARD = (ROLES[name] for name in ("ink", "muted", "grid", "card"))
BEFORE, AFTER, WARN, PEER = (ROLES[name] for name in ("before", "after", "warn", "peer"))

_LONGEST: Final = 160  # characters of a name that are looked at
# Widths of characters over the size of the font; those of others lie near 0.62.
_WIDTHS: Final = (
    ("ijlI|'!", 0.29),
    (" .,:;ftr()[]/-", 0.36),
    ("cksvxyz_", 0.54),
    ("ABCDEFGHKNOPQRUVXYZ", 0.7),
    ("<>=+~^#", 0.84),
    ("mwMW@%…×→", 0.98),
)


def need_report() -> None:
    """Check that the packages of the `report` extra are there.

    Raises:
        ArgumentError: one of them is missing; says what to install.
    """
    for package in ("jinja2", "matplotlib"):
        need_extra(package, "report", "a report takes")


def blank(height: float) -> Figure:
    """An empty figure `height` units high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor=CARD)


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without a frame at these units from the figure's upper left corner."""
    total = figure.get_figheight() * 72
    spot = (left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total)
    axes = figure.add_axes(spot, facecolor="none")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(colors=MUTED, labelsize=SMALL, length=0, pad=3, which="both")
    axes.set_axisbelow(True)
    return axes


@dataclass(frozen=True)
class Lettering:
    """How a text looks, and which part of it stands at its point."""

    size: float = TEXT
    colour: str = INK
    ha: Literal["left", "center", "right"] = "left"
    va: Literal["baseline", "center", "top"] = "baseline"


NAME: Final = Lettering(ha="right", va="center")
ABOVE: Final = Lettering(va="center")
VALUE: Final = Lettering(SMALL, MUTED, va="center")
TITLE: Final = Lettering(SMALL, MUTED)
MARKED: Final = Lettering(SMALL, INK)
AXIS: Final = Lettering(SMALL, MUTED, ha="center")


def write(
    axes: Axes,
    point: tuple[float, float],
    text: str,
    lettering: Lettering,
    *,
    dx: float = 0,
    dy: float = 0,
) -> None:
    """Put a text at a point of the data, moved by units; nothing in it is taken for mathematics."""
    va = "center_baseline" if lettering.va == "center" else lettering.va
    found = axes.annotate(
        printable(text), point, (dx, dy), textcoords="offset points",
        ha=lettering.ha, va=va, fontsize=lettering.size, color=lettering.colour,
        annotation_clip=False,
    )  # fmt: skip
    found.set_parse_math(False)


def shorten(name: str, width: float, size: float = TEXT) -> str:
    """The end of a name that fits, after an ellipsis; the whole name if it does.

    >>> shorten("a_single_and_very_long_name_without_dots", 140)
    '…_name_without_dots'
    """
    name = printable(name)
    if len(name) <= _LONGEST and width_of(name, size) <= width:
        return name
    room, kept = width - width_of("…", size), 0
    for char in reversed(name):
        room -= width_of(char, size)
        if room < 0:
            break
        kept += 1
    return f"…{name[len(name) - kept :]}"


def abbreviate(names: Sequence[str], width: float, size: float = TEXT) -> list[str]:
    """Names that fit, alike in all rows: words before the last get short, from the left on.

    >>> abbreviate(["encoder.layer.11.attention.output.dense", "embeddings.word"], 150)
    ['enc.lay.11.att.out.dense', 'embeddings.word']
    """
    words = [printable(name)[-_LONGEST:].split(".") for name in names]
    for letters in (3, 1):
        for place_ in range(max(map(len, words), default=0) - 1):
            long = [row for row in words if width_of(".".join(row), size) > width]
            known = {row[place_] for row in long if place_ < len(row) - 1}
            _cut_words(words, place_, known, letters)
    return [shorten(".".join(row), width, size) for row in words]


def _cut_words(words: list[list[str]], place_: int, known: set[str], letters: int) -> None:
    """Leave so many letters of certain words at a place, but for numbers and last words."""
    for row in words:
        if place_ < len(row) - 1 and row[place_] in known and not row[place_].isdigit():
            row[place_] = row[place_][:letters]


def width_of(text: str, size: float = TEXT) -> float:
    """About the units that a text takes, in DejaVu Sans; most other fonts are narrower."""
    return size * sum(_width(char) for char in text)


def _width(char: str) -> float:
    from unicodedata import east_asian_width

    if east_asian_width(char) in "WF":
        return 1.0
    return next((width for chars, width in _WIDTHS if char in chars), 0.7 if char > "z" else 0.62)
