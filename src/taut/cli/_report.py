"""Results as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from taut.reporting.numbers import count, digits, size
from taut.reporting.plain_text import plural

if TYPE_CHECKING:
    from pathlib import Path

    from taut.compression import Result
    from taut.container.info import Info
    from taut.io import Source

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"}


class Reported(Protocol):
    """Whatever gives itself as plain JSON values."""

    def to_json(self) -> Mapping[str, object]:
        """The values."""


def print_json(result: Reported) -> None:
    """Print `result` on stdout, as one JSON object."""
    print(json.dumps(result.to_json(), indent=2))


def print_json_list(values: Sequence[dict[str, object]]) -> None:
    """Print JSON objects on stdout, as one list."""
    print(json.dumps(values, indent=2))


def model_text(source: Source) -> str:
    """The model in a line: parameters, tensors, size, and the dtype most of its bytes have."""
    from taut.io.source import parameters_of

    stored = [info for info in source.infos if info.name not in source.aliases]
    parameters = parameters_of(source)
    by_dtype = Counter[str]()
    for info in stored:
        by_dtype[info.dtype] += info.nbytes
    dtype = by_dtype.most_common(1)[0][0] if by_dtype else "empty"
    return (
        f"{count(parameters)} parameters, {plural(len(source.infos), 'tensor')}, "
        f"{size(source.nbytes)} {_DTYPES.get(dtype, dtype)}"
    )


# CPU seconds of the stages of a calibrated run: MiniLM, 48 sentences, --bits 3, one core of an AMD
# EPYC, 2026-11-28. How they compare is all that matters: their own pieces correct them.
_CALIBRATED: Final = {
    **{"curvature": 8.2, "lambda": 1.3, "quantize": 11.9, "sequence": 4.8, "finish": 41.2},
    **{"encode": 1.1, "verify": 0.05},
}


@dataclass(frozen=True)
class AskedFor:
    """What a compression was asked for, as it was written on the command line."""

    bits: float | None = None
    size: str | None = None
    effort: str | None = None
    max_drop: str | None = None
    calib: str | None = None
    plan: Path | None = None
    train: str | None = None
    epochs: int | None = None
    lr: float | None = None
    teacher: str | None = None
    finish: bool = True

    @property
    def dialled(self) -> bool:
        """Whether the rate-distortion dial finds the schemes."""
        return (self.bits, self.size, self.max_drop) != (None, None, None) and self.train is None

    @property
    def in_short(self) -> str:
        """What the name of a second file can say: "8x", "3bits"; "" if nothing short was asked."""
        if self.bits is not None:
            return f"{self.bits:g}bits"
        if self.size is not None and self.size.replace(".", "").isalnum():
            return self.size
        return "lossless" if self == AskedFor(effort=self.effort) else ""

    @property
    def costs(self) -> Mapping[str, float]:
        """What the stages cost against each other, until the work itself tells better."""
        if self.calib is None or self.train is not None:
            return {}
        return {name: cost for name, cost in _CALIBRATED.items() if self.finish or name != "finish"}


def plan_text(wanted: AskedFor) -> str:
    """What was asked for, in a line.

    >>> plan_text(AskedFor(size="20x", train="build.py:batches", epochs=20))
    'size 20x, trained with build.py:batches, 20 epochs, effort max'
    """
    words = {
        "{:g} bits per weight": wanted.bits,
        "size {}": wanted.size,
        "max drop {}": wanted.max_drop,
        "calibrated on {}": wanted.calib,
        "plan {}": wanted.plan,
        "trained with {}": wanted.train,
        "{}": None if wanted.epochs is None else plural(wanted.epochs, "epoch"),
        "lr {:g}": wanted.lr,
        "taught by {}": wanted.teacher,
    }
    parts = [told.format(value) for told, value in words.items() if value is not None]
    if not parts:
        return f"lossless, effort {wanted.effort or 'fast'}"
    effort = wanted.effort or (None if wanted.plan else "max")  # a plan names its own
    told = ", ".join([*parts, *([f"effort {effort}"] if effort else [])])
    return f"rate-distortion, {told}" if wanted.dialled else told


def scores_text(before: float, after: float) -> str:
    """A score before and after, and what it lost, with as many digits as tell them apart.

    >>> scores_text(87.42, 87.204), scores_text(0.8742, 0.8742), scores_text(-3.2, -3.21)
    ('87.42 -> 87.20 (-0.22)', '0.8742 -> 0.8742 (+0.0000)', '-3.2000 -> -3.2100 (-0.0100)')
    """
    digits = 2 if abs(before) >= 10 else 4
    return f"{before:.{digits}f} -> {after:.{digits}f} ({after - before:+.{digits}f})"


def totals_text(info: Info | Result) -> str:
    """The whole file in a line."""
    return (
        f"{plural(len(info.tensors), 'tensor')}, {count(info.parameters)} parameters, "
        f"{size(info.original_size)} -> {size(info.size)} "
        f"({digits(info.ratio)}x, {digits(info.bits)} bits per weight)"
        + (f", a delta to {info.base}" if info.base else "")
    )
