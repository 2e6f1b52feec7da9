"""What a command says while it works, all of it on stderr: labelled lines, and bars on a tty."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taut.reporting.numbers import count

if TYPE_CHECKING:
    from rich.progress import Progress

# (stage, done, total), as the library's verbs report it; what follows a stage's first word is told
# of it wherever the stage is: "train loss 0.31".
Step = Callable[[str, int, int], None]

_MANY = 100_000
_LABEL = 10  # columns of the label
_SILENCE = 60.0  # seconds after which a stage says how far it is, where there are no bars
_LONG = 5.0  # seconds that a stage takes if it is told of again, there
_WINDOW = 3600.0  # seconds of steps that a bar's speed is taken from: one may last minutes


@dataclass(frozen=True)
class Talk:
    """The voice of one command: silent when `quiet`, and never on stdout."""

    quiet: bool = False

    def line(self, label: str, text: str) -> None:
        """Print `label` and `text` in their columns."""
        from taut.io.staged import told_paths

        if not self.quiet:
            print(f"  {label:<{_LABEL}} {told_paths(text)}", file=sys.stderr, flush=True)

    @contextmanager
    def progress(self, hide: tuple[str, ...] = ()) -> Iterator[Step | None]:
        """A callable that shows progress by stage: bars on a tty, else a line a finished stage.

        Both say how long a stage has to go; without bars a long one does so once a minute.
        Stages named in `hide` leave no trace once they are done: the command itself sums them up.
        """
        if self.quiet:
            yield None
        elif sys.stderr.isatty():
            with _bars(hide) as step:
                yield step
        else:
            yield _plain(self, hide)


def _plain(talk: Talk, hide: tuple[str, ...]) -> Step:
    began: dict[str, tuple[float, int]] = {}  # when, and with how much done: resumed work has some
    spoke: dict[str, float] = {}
    last: dict[str, int] = {}
    told: set[str] = set()
    ended = set(hide)

    def step(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        stage, told_of = _parts(stage)
        if done < last.get(stage, 0) and stage not in hide:  # it begins anew
            began.pop(stage)
            spoke.pop(stage, None)
            ended.discard(stage)
        last[stage] = done
        start, before = began.setdefault(stage, (now, done))
        if stage in ended:
            return
        if done >= total:
            ended.add(stage)
            if stage not in told or now - start >= _LONG:
                told.add(stage)
                talk.line(stage, f"{_progress(done, total)}  {_clock(now - start)}{told_of}")
        elif done > before and now - spoke.setdefault(stage, start) >= _SILENCE:
            spoke[stage] = now
            left = _clock((now - start) / (done - before) * (total - done))
            spent = _clock(now - start)
            talk.line(stage, f"{_progress(done, total)}  {spent}, about {left} left{told_of}")

    return step


@contextmanager
def _bars(hide: tuple[str, ...]) -> Iterator[Step]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    progress = Progress(
        TextColumn(f"  {{task.description:<{_LABEL}}}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[told]}"),
        console=Console(stderr=True),
        get_time=time.monotonic,
        speed_estimate_period=_WINDOW,
    )
    with progress:
        yield _bar_step(progress, hide)


def _bar_step(progress: Progress, hide: tuple[str, ...]) -> Step:
    tasks = {}

    def step(stage: str, done: int, total: int) -> None:
        stage, told = _parts(stage)
        if stage not in tasks:
            tasks[stage] = progress.add_task(stage, total=total, told="")
        seen = done < total or stage not in hide
        progress.update(tasks[stage], completed=done, total=total, visible=seen, told=told.strip())

    return step


def _parts(stage: str) -> tuple[str, str]:
    """A stage's name, and what is told of it, set off."""
    name, _, told = stage.partition(" ")
    return name, f"    {told}" if told else ""


def _progress(done: int, total: int) -> str:
    """How far it is; weights, of which there are millions, are rounded."""
    return f"{done}/{total}" if total < _MANY else f"{count(done)}/{count(total)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
