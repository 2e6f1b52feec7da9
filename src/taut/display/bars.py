"""Bars on a terminal: one a stage, and one for the whole work that never stands still."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.text import Text

from taut.display.course import Course
from taut.display.words import bytes_text, clock, pieces

_LABEL: Final = 10  # columns of the label
_WORK: Final = "work"  # what the line of the whole is called


class Bars:
    """The bars of one command."""

    def __init__(self, progress: Progress, course: Course, hide: tuple[str, ...]) -> None:
        self._progress, self._course, self._hide = progress, course, hide
        self._tasks: dict[str, TaskID] = {}
        self._whole = progress.add_task(_WORK, total=None, told="")

    def show(self, name: str, told: str) -> None:
        """Show a stage as the course has it, above the line of the whole."""
        stage, progress = self._course.stages[name], self._progress
        if name not in self._tasks:
            progress.remove_task(self._whole)  # the last line stays the last
            self._tasks[name] = progress.add_task(name, total=stage.total, told="")
            self._whole = progress.add_task(_WORK, total=None, told="")
        seen = not stage.finished or name not in self._hide
        progress.update(
            self._tasks[name], completed=stage.done, total=stage.total, visible=seen, told=told
        )

    def end(self) -> None:
        """Take the line of the whole away: the command itself says what came of it."""
        self._progress.remove_task(self._whole)


class _Times(ProgressColumn):
    """What a stage took or has to go; of the whole what it took, and has to go."""

    max_refresh = 0.5  # seconds

    def __init__(self, course: Course) -> None:
        super().__init__()
        self._course, self._began = course, time.monotonic()

    def render(self, task: Task) -> Text:
        """Give the times of a line."""
        course, now = self._course, time.monotonic()
        if task.description == _WORK:
            left = course.left(now)
            told = f"{clock(now - self._began)}" + (
                "" if left is None else f", about {clock(left)} left"
            )
            return Text("; ".join(filter(None, (told, bytes_text(course)))))
        stage = course.stages[task.description]
        if stage.finished:
            return Text(clock(stage.elapsed))
        return Text("-:--:--" if stage.left is None else clock(stage.left))


class _Count(ProgressColumn):
    """How many pieces of a stage are done."""

    def render(self, task: Task) -> Text:
        """Give the count of a line, nothing for the whole."""
        return Text("" if task.total is None else pieces(int(task.completed), int(task.total)))


@contextmanager
def bars(course: Course, hide: tuple[str, ...], *, transient: bool = False) -> Iterator[Bars]:
    """Bars for as long as the work takes; the first is there at once.

    They go away at the end if `transient`.
    """
    progress = Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn(f"{{task.description:<{_LABEL}}}", markup=False),
        BarColumn(bar_width=24),
        _Count(),
        _Times(course),
        TextColumn("{task.fields[told]}", markup=False),
        console=Console(stderr=True),
        refresh_per_second=4,
        get_time=time.monotonic,
        transient=transient,
    )
    with progress:
        shown = Bars(progress, course, hide)
        try:
            yield shown
        finally:
            shown.end()
