"""Bars in a notebook: plain HTML, which every front end shows without a widget."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Final, Protocol, cast

from taut.display.words import bytes_text, clock, pieces
from taut.machine.closing import Closing

if TYPE_CHECKING:
    from taut.display.course import Course, Stage

_PAUSE: Final = 0.25  # seconds between two pictures


class _Handle(Protocol):
    """What IPython gives for something on show that may change."""

    def update(self, shown: object) -> None:
        """Show this in its place."""


class NotebookBars(Closing):
    """A line a stage, and one for the whole, in the output of the cell; gone at the end."""

    def __init__(self, course: Course) -> None:
        self._course, self._began = course, time.monotonic()
        self._latest = -_PAUSE
        self._told: dict[str, str] = {}
        self._handle: _Handle | None = None

    def __enter__(self) -> NotebookBars:
        """Show the first line at once."""
        self._draw(time.monotonic())
        return self

    def close(self) -> None:
        """Take all lines away: the call's result is what stays."""
        self._put("")

    def show(self, name: str, told: str) -> None:
        """Show a stage as the course has it, a few times a second at most."""
        self._told[name] = told
        now = time.monotonic()
        if now - self._latest >= _PAUSE:
            self._draw(now)

    def _draw(self, now: float) -> None:
        self._latest = now
        rows = [self._row(name, stage) for name, stage in self._course.stages.items()]
        left = self._course.left(now)
        whole = [clock(now - self._began), "" if left is None else f"about {clock(left)} left"]
        text = "; ".join(filter(None, (*whole, bytes_text(self._course))))
        rows.append(f"<tr><td>work</td><td></td><td></td><td>{escape(text)}</td></tr>")
        self._put(f"<table>{''.join(rows)}</table>")

    def _row(self, name: str, stage: Stage) -> str:
        bar = f'<progress value="{stage.done}" max="{max(1, stage.total)}"></progress>'
        told = escape(self._told.get(name, ""))
        cells = (escape(name), bar, pieces(stage.done, stage.total), told)
        return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"

    def _put(self, html: str) -> None:
        from IPython.display import HTML, display  # a notebook's kernel has it

        if self._handle is not None:
            self._handle.update(HTML(html))
        elif html:
            self._handle = cast("_Handle | None", display(HTML(html), display_id=True))
