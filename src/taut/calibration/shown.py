"""The network that has the values that a file will hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from taut.calibration.start import Started
from taut.calibration.values import written_values
from taut.calibration.vectors import Vectors
from taut.machine import trim_heap

if TYPE_CHECKING:
    import torch


def show(started: Started, vectors: Vectors) -> None:
    """Give the student what the file would hold: the matrices as rounded, and these vectors."""
    student, work = started.student, started.work
    changed = {*vectors.values, *student.loaded}
    source = vectors.over(work.source)
    student.load(written_values(source, work.schemes, started.rounder, changed=changed))


@contextmanager
def shown(started: Started, vectors: Vectors) -> Iterator[torch.nn.Module]:
    """Within it a network with what the file would hold."""
    if started.compressed is None:
        show(started, vectors)
        yield started.student.module
    else:
        with started.compressed.whole(vectors):
            yield started.work.model.module


def held_loss(started: Started, vectors: Vectors) -> float:
    """The mean distance from the original's outputs on batches set aside, by such a network."""
    if started.compressed is None:
        show(started, vectors)
        trim_heap()
        return started.held.mean()
    with started.compressed.open(vectors):
        return started.held.mean()
