"""Where a training keeps its state: a checkpoint for each of its stages, beside the file to be."""

from __future__ import annotations

from pathlib import Path
from typing import Final

STAGES: Final = 12  # at most


def stage_file(path: Path, stage: int) -> Path:
    """The checkpoint of a stage; the first has the name itself.

    >>> stage_file(Path("net.train.npz"), 2).name
    'net.train.2.npz'
    """
    return path.with_suffix(f".{stage}{path.suffix}") if stage else path


def discard_kept(path: Path) -> None:
    """Remove the checkpoints of all stages: there is nothing to go on with."""
    for stage in range(STAGES + 1):
        stage_file(path, stage).unlink(missing_ok=True)
