"""Time a piece of work: medians over repeats of process CPU seconds and wall seconds."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """Medians over `repeats` passes: CPU seconds of the whole process, and wall seconds."""

    cpu: float
    wall: float
    repeats: int


@dataclass(frozen=True)
class Effort:
    """How long to measure: at most `repeats` passes, none started after `seconds`."""

    repeats: int
    seconds: float


THOROUGH = Effort(repeats=7, seconds=8.0)
QUICK = Effort(repeats=3, seconds=1.5)


def measure(
    prepare: Callable[[], T], work: Callable[[T], object], effort: Effort, *, warm_up: bool = True
) -> Timing:
    """Time `work(prepare())`; only `work` is timed, and its result is dropped after the clock.

    A first pass that is not counted loads code and tables; it is left out for work so slow that
    one pass fills the time.
    """
    cpu: list[float] = []
    wall: list[float] = []
    start = time.perf_counter()
    while len(cpu) < effort.repeats and (not cpu or time.perf_counter() - start < effort.seconds):
        given = prepare()
        gc.collect()
        gc.disable()
        c, w = time.process_time(), time.perf_counter()
        result = work(given)
        cpu.append(time.process_time() - c)
        wall.append(time.perf_counter() - w)
        gc.enable()
        del result, given
        if warm_up and wall[-1] < effort.seconds / 2:
            cpu.clear()
            wall.clear()
            start = time.perf_counter()
        warm_up = False
    return Timing(statistics.median(cpu), statistics.median(wall), len(cpu))
