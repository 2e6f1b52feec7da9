"""What an export gave, as plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taut.pictured import Pictured


@dataclass(frozen=True)
class Check:
    """What the written model gave in the runtime that was asked, held against the original.

    `max_error` is the largest absolute difference of an output, `rel_mse` the relative squared
    error and `cosine` the mean cosine of the outputs (a sample a row); `runtime` names what ran
    it ("onnxruntime 1.32.0"), or how it was read back. Of a model that was run, `relative` is the
    relative error of the output that has most (root mean squares), and `of_range` the largest error
    over the range of its output's values. `lost` are batches of which an output is another, though
    that of all of them together is not.
    """

    runtime: str
    samples: int
    max_error: float
    rel_mse: float
    cosine: float
    relative: float | None = None
    of_range: float | None = None
    lost: int = 0


@dataclass(frozen=True, repr=False)
class Export(Pictured):
    """A model in another format: `files` written, `size` in bytes of all of them.

    `exact` are tensors that hold the very values of the Taut file, `rounded` those that the
    format's own grid had to round again. `notes` say what was left as it was, and why.
    """

    path: Path
    format: str
    files: tuple[Path, ...]
    size: int
    exact: int
    rounded: int
    check: Check | None = None
    notes: tuple[str, ...] = ()
