"""A chart and the table of its numbers, as a page shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """Rows under a head; columns from `left` on hold numbers and are aligned right.

    What follows a line break in a cell is small print. `caption` says what the table is of,
    `sorts` whether a page may sort it, and `sorted_by` by which column it is, the largest first.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    caption: str = ""
    sorts: bool = True
    sorted_by: int | None = None


@dataclass(frozen=True)
class Chart:
    """One chart: `key` names its file, `section` where it stands, `about` what it shows.

    `draw` makes the figure when it is needed; `html` a drawing that a page shows in its place.
    `opened` says that a page shows the table too, before it is asked for.
    """

    key: str
    section: str
    title: str
    about: str
    draw: Callable[[], Figure]
    table: Table
    legend: tuple[tuple[str, str], ...] = ()  # role of the colour, what it stands for
    html: Callable[[], str] | None = None
    opened: bool = False
