"""What a written model answers in its runtime, held against what it came from, output by output.

The cosine sees the direction of an answer and not its size, so that each output's relative error is
looked at too: the root mean square of the error over that of the answer, which is 1 where nothing
but zeros come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from taut.errors import ArgumentError, VerifyError
from taut.exporting.result import Check

FLOOR: Final = 0.5  # a cosine below which an answer is none
FAR: Final = 0.9  # a relative error of an output beyond which it is of another size
_NOTHING: Final = 1e-6  # a root mean square below which an output has no size

Answers = Callable[[object], list[np.ndarray]]
"""A batch in, an array an output out: floats as float32 and wider, all else as it is."""


@dataclass(frozen=True)
class WrittenModel:
    """A written model under the `name` it is to get, and what runs it: `onnxruntime 1.32.0`."""

    name: str
    runtime: str
    answers: Answers

    @property
    def program(self) -> str:
        """The runtime without its version."""
        return re.split(r" [\d(]", self.runtime)[0]


def is_another(found: Check) -> bool:
    """Whether an answer is another in direction or in size."""
    return found.cosine < FLOOR or (found.relative is not None and found.relative > FAR)


def held_against(written: WrittenModel, answers: Answers, batches: Iterable[object]) -> Check:
    """How far a written model's answers are from `answers`, refusing only what cannot be compared.

    Raises:
        VerifyError: an answer has another shape or type, or is not finite where it should be.
        ArgumentError: there is no batch, an output is never finite, or the runtime does not take
            the model.
    """
    outputs: dict[int, _Output] = {}
    cosines: list[np.ndarray] = []
    samples = 0
    for batch in batches:
        wanted, found = answers(batch), written.answers(batch)
        if len(found) != len(wanted):
            raise VerifyError(f"{written.name}: has {len(found)} outputs, not {len(wanted)}")
        samples += len(wanted[0]) if wanted and wanted[0].ndim else 1
        for index, (x, y) in enumerate(zip(wanted, found, strict=True)):
            _alike(written, index, x, y)
            x, y = (_without_padding(batch, values) for values in (x, y))
            cosines += _taken(written, index, outputs.setdefault(index, _Output()), x, y)
    if not samples:
        raise ArgumentError("the check takes at least one batch; none was given")
    for index, one in outputs.items():
        _refuse_odd(written, index, one)
    return _summed(written.runtime, samples, list(outputs.values()), cosines)


def _refuse_odd(written: WrittenModel, index: int, one: _Output) -> None:
    """Raise where an output of whole numbers is another, or where floats tell nothing."""
    if 2 * one.others > one.whole:
        raise VerifyError(
            f"{written.name}: output {index} has {one.others} of {one.whole} values that are "
            "others, and they are no floats; give more bits, or calibrate on real data"
        )
    if one.values and not one.finite:
        raise ArgumentError(
            f"calibration: output {index} of the model has NaN and infinities alone on these "
            "batches, so that nothing can be held against it; look at the data"
        )


@dataclass
class _Output:
    """The errors of one output: of floats sums and limits, of all else how many differ.

    `lost` are batches whose own relative error is beyond what is let pass.
    """

    missed: float = 0.0
    power: float = 0.0
    values: int = 0
    most: float = 0.0
    low: float = field(default=float("inf"))
    high: float = field(default=float("-inf"))
    finite: int = 0
    others: int = 0
    whole: int = 0
    lost: int = 0

    def add(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Take a batch's values, a sample a row; the cosines of the rows."""
        missed, power = float(np.square(x - y).sum()), float(np.square(x).sum())
        self.lost += missed > FAR**2 * power and power > x.size * _NOTHING**2
        self.missed += missed
        self.power += power
        self.values += x.size
        self.most = max(self.most, float(np.abs(x - y).max(initial=0)))
        if x.size:
            self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        return _cosine(x, y)

    def count(self, x: np.ndarray, y: np.ndarray) -> None:
        """Take a batch's values that are no floats."""
        self.others += int((x != y).sum())
        self.whole += x.size

    @property
    def relative(self) -> float:
        """The error over the answer, root mean squares; 0 where the answer has no size."""
        if self.power <= self.values * _NOTHING**2:
            return 0.0
        return float(np.sqrt(self.missed / self.power))

    @property
    def of_range(self) -> float:
        """The largest error over the range of the values, or over their size if all are one."""
        span = max(self.high - self.low, 0.0) or max(abs(self.high), _NOTHING)
        return self.most / span if self.values else 0.0


def _taken(
    written: WrittenModel, index: int, output: _Output, x: np.ndarray, y: np.ndarray
) -> list[np.ndarray]:
    """Count a batch's values of an output; the cosines of its samples, if it has floats."""
    if x.dtype.kind == "f":
        output.finite += int(np.isfinite(x).sum())
        return [output.add(*_rows(written, index, x, y))]
    output.count(x, y)
    return []


def _summed(runtime: str, samples: int, outputs: list[_Output], cosines: list[np.ndarray]) -> Check:
    missed, power = sum(o.missed for o in outputs), sum(o.power for o in outputs)
    return Check(
        runtime=runtime,
        samples=samples,
        max_error=max((o.most for o in outputs), default=0.0),
        rel_mse=missed / power if power else missed,
        cosine=float(np.mean(np.concatenate(cosines))) if cosines else 1.0,
        relative=max((o.relative for o in outputs), default=0.0),
        of_range=max((o.of_range for o in outputs), default=0.0),
        lost=max((o.lost for o in outputs), default=0),
    )


def _alike(written: WrittenModel, index: int, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Raise `VerifyError` where two answers cannot be compared."""
    if ours.shape != theirs.shape:
        raise VerifyError(
            f"{written.name}: output {index} is {list(theirs.shape)}, not {list(ours.shape)}"
        )
    if (ours.dtype.kind == "f") != (theirs.dtype.kind == "f"):
        raise VerifyError(f"{written.name}: output {index} is {theirs.dtype}, not {ours.dtype}")


def _without_padding(batch: object, values: np.ndarray) -> np.ndarray:
    """An output, with zeros where it stands for tokens that the batch's `attention_mask` hides."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    shape = tuple(getattr(mask, "shape", ()))
    if len(shape) != 2 or values.shape[:2] != shape:
        return values
    hidden = np.asarray(mask) == 0
    found = values.copy()
    found[hidden] = 0
    return found


def _rows(
    written: WrittenModel, index: int, ours: np.ndarray, theirs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64, a sample a row; infinities that both have count as equal."""
    x, y = ours.astype(np.float64), theirs.astype(np.float64)
    odd = ~np.isfinite(x)
    if not np.isfinite(y[~odd]).all():
        raise VerifyError(
            f"{written.name}: output {index} is not finite in {written.program}; float16 and "
            "integers reach less far than float32: give another kind of weights"
        )
    x[odd] = y[odd] = 0
    rows = len(x) if x.ndim > 1 else 1
    return x.reshape(rows, x.size // max(rows, 1)), y.reshape(rows, x.size // max(rows, 1))


def _cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    same = np.where((x == y).all(axis=1), 1.0, 0.0)
    found: np.ndarray = np.where(size > 0, (x * y).sum(axis=1) / np.maximum(size, 1e-300), same)
    return found
