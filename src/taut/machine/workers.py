"""Who works on pieces: threads of this process, or a Ray cluster; what comes out is the same.

A piece is a call of a function of a module with arguments that can be pickled. Nobody but whoever
asked commits what comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol, TypeVar, TypeVarTuple

A = TypeVarTuple("A")
I = TypeVar("I")  # noqa: E741
R = TypeVar("R")


class Workers(Protocol):
    """`width` pieces at a time; `elsewhere` says whether other processes do them."""

    @property
    def width(self) -> int:
        """How many pieces are done at a time."""

    @property
    def elsewhere(self) -> bool:
        """Whether pieces are done in other processes, perhaps on other machines."""

    def run(self, function: Callable[[*A], R], *arguments: *A) -> R:
        """What a piece gives, when it is done; any number of threads may ask at a time."""


@dataclass(frozen=True)
class LocalWorkers:
    """The threads of this process: each piece is done by the thread that asks for it."""

    width: int = 1
    elsewhere: bool = False

    def run(self, function: Callable[[*A], R], *arguments: *A) -> R:
        """Call the function."""
        return function(*arguments)


def each(workers: Workers, function: Callable[[I], R], items: Sequence[I]) -> Iterator[tuple[I, R]]:
    """Each item with what the function gives for it, in the order in which they are done.

    What one of them raises is raised when its turn comes; the others are not begun then.
    """
    pool = ThreadPoolExecutor(max(1, workers.width))
    finished: SimpleQueue[Future[R]] = SimpleQueue()
    try:
        asked = {pool.submit(workers.run, function, item): item for item in items}
        for piece in asked:
            piece.add_done_callback(finished.put)
        for _ in items:
            done = finished.get()
            yield asked[done], done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def open_workers(ray: str | None, threads: int) -> AbstractContextManager[Workers]:
    """The threads of this process, or, if `ray` names one, a cluster.

    Raises:
        ArgumentError: Ray is not installed, or no such cluster answers.
    """
    if ray is None:
        return nullcontext(LocalWorkers(threads))
    from taut.machine.ray_workers import RayWorkers

    return RayWorkers(ray)
