"""How long a call takes, and how long a file takes to be a model again.

Surprise: what is compared runs in turns, a call of each and then in the reverse order, so that a
machine that grows slower in between slows all alike. Garbage is collected before and not within.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from taut.container import find_file, open_taut
from taut.errors import ArgumentError
from taut.scoring.results import Speed

LEAST_RUNS: Final = 5
"""Fewer than these say nothing of a median."""


@dataclass(frozen=True)
class Repeats:
    """How often each is run: `warmup` times untimed, then `runs` times or for `seconds` in all.

    Raises:
        ArgumentError: a number makes no sense.
    """

    warmup: int = 3
    runs: int = 30
    seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise ArgumentError(f"speed: warmup {self.warmup} must be 0 or more")
        if self.runs < LEAST_RUNS:
            raise ArgumentError(f"speed: runs {self.runs} must be {LEAST_RUNS} or more")
        if not self.seconds > 0:
            raise ArgumentError(f"speed: seconds {self.seconds} must be more than 0")


_USUAL: Final = Repeats()


def compare_speed(
    runs: Mapping[str, Callable[[], object]],
    *,
    samples: int,
    runtime: str,
    threads: int | None = None,
    repeats: Repeats = _USUAL,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Speed]:
    """Time each of `runs` (which takes `samples` samples a call) in turns; latencies in seconds.

    It stops after so many runs of each or, once there were five, after so many seconds in all,
    warm-up not counted. `threads` are torch's while it lasts (None: as they are); of another
    runtime they are only written down. A run on a GPU of torch's is waited for.

    Raises:
        ArgumentError: nothing to run, or a number that makes no sense.

    >>> found = compare_speed({"sum": lambda: sum(range(9))}, samples=2, runtime="python")
    >>> found["sum"].runs, found["sum"].warmup, found["sum"].batch
    (30, 3, 2)
    """
    _check(runs, samples, threads)
    with _threads(threads), _no_garbage():
        for _ in range(repeats.warmup):
            for run in runs.values():
                run()
        settle()
        spent = _in_turns(runs, repeats, clock)
        used = threads or _torch_threads()
    return {
        name: _speed(took, samples, used, repeats.warmup, runtime) for name, took in spent.items()
    }


def _in_turns(
    runs: Mapping[str, Callable[[], object]], repeats: Repeats, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each call by name: one of each, and then one of each in the reverse order."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    start, order = clock(), list(runs)
    for number in range(repeats.runs):
        if number >= LEAST_RUNS and clock() - start >= repeats.seconds:
            break
        for name in order if number % 2 == 0 else reversed(order):
            began = clock()
            runs[name]()
            settle()
            spent[name].append(clock() - began)
    return spent


def time_load(
    path: str | Path | None,
    make: Callable[[], object] | None = None,
    *,
    repeats: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float | None, float | None]:
    """Seconds to load a model with `make`, and to decode all tensors of the Taut file at `path`.

    Each is the median of `repeats`, with the file in the system's cache as a rule; None where
    `make` or `path` is.

    Raises:
        FormatError, VerifyError: `path` is no Taut file, or is damaged.
        ArgumentError: nothing is there.
    """
    loaded = None if make is None else _median(make, repeats, clock)
    if path is None:
        return loaded, None
    file = find_file(path)
    return loaded, _median(lambda: open_taut(file).load_all(), repeats, clock)


def settle() -> None:
    """Wait until the GPU has done what torch gave it; nothing where torch uses none."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _median(call: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    took = []
    for _ in range(max(1, repeats)):
        began = clock()
        call()
        settle()
        took.append(clock() - began)
    return float(np.median(took))


def _speed(took: list[float], samples: int, threads: int, warmup: int, runtime: str) -> Speed:
    total = sum(took)
    return Speed(
        p50=float(np.percentile(took, 50)),
        p95=float(np.percentile(took, 95)),
        throughput=samples * len(took) / total if total else float("inf"),
        batch=samples,
        threads=threads,
        warmup=warmup,
        runs=len(took),
        runtime=runtime,
    )


def _check(runs: Mapping[str, object], samples: int, threads: int | None) -> None:
    if not runs:
        raise ArgumentError("speed: nothing to run")
    if samples < 1:
        raise ArgumentError(f"speed: samples {samples} must be 1 or more: the batch of a call")
    if threads is not None and threads < 1:
        raise ArgumentError(f"speed: threads {threads} must be 1 or more")


def _torch_threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else 1


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """Torch's threads within, and as they were afterwards."""
    torch = sys.modules.get("torch")
    if torch is None or threads is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _no_garbage() -> Iterator[None]:
    """As `timeit` has it: what was collected in one call is seldom that call's garbage."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
