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


def model_text(source: Source, stored: Source | None = None) -> str:
    """The model in a line: parameters, tensors, size, and the type most of its bytes have.

    `stored` is how its low-bit weights lie on the disk, where `source` has them as floats.
    """
    from taut.io.source import parameters_of

    return (
        f"{count(parameters_of(source))} parameters, {plural(len(source.infos), 'tensor')}, "
        f"{size(source.nbytes)} {_stored_as(source if stored is None else stored)}"
    )


def _stored_as(source: Source) -> str:
    """The type that most bytes of a model have: float32, or Q4_1 of GGUF."""
    from taut.io.gguf import GgufSource

    held = Counter[str]()
    if isinstance(source, GgufSource):
        for tensor in source.tensors:
            held[tensor.type.dtype or tensor.type.name] += tensor.nbytes
    else:
        for info in source.infos:
            held[info.dtype] += info.nbytes if info.name not in source.aliases else 0
    found = held.most_common(1)[0][0] if held else "empty"
    return _DTYPES.get(found, found)


# CPU seconds of the stages of a calibrated run: MiniLM, 48 sentences, --bits 3, one core of an AMD
# EPYC, 2026-11-28. How they compare is all that matters: their own pieces correct them.
_CALIBRATED: Final = {
    **{"curvature": 8.2, "lambda": 1.3, "quantize": 11.9, "sequence": 4.8, "finish": 41.2},
    **{"encode": 1.1, "verify": 0.05},
}


_DIAL: Final = "rate-distortion"
_EXACT_AT_LEAST = 0.4  # of the original's bytes: below, hardly a model fits bit for bit


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

    def has_room(self, source: Source) -> bool:
        """Whether a model has room in the size as it is, as far as samples of it tell."""
        from taut.encoding.estimate import estimate_tensors
        from taut.encoding.sampled import SampledSource
        from taut.io.source import parameters_of
        from taut.planning import parse_target
        from taut.scheme import Scheme

        if not self.dialled or (self.max_drop, self.calib, self.plan) != (None, None, None):
            return False
        original, parameters = source.nbytes, parameters_of(source)
        target = parse_target(
            bits=self.bits, size=self.size, original=original, parameters=parameters
        ).nbytes
        if target < _EXACT_AT_LEAST * original or target >= original:
            return target >= original
        exact = {info.name: Scheme() for info in source.infos}
        return estimate_tensors(SampledSource.of(source), exact, "fast")[1] <= target

    @property
    def loses(self) -> bool:
        """Whether anything is asked for beside a plan that looks at values."""
        asked = (self.bits, self.size, self.max_drop, self.calib, self.train)
        return any(one is not None for one in asked)

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


def needs_text(wanted: AskedFor, source: Source) -> str:
    """What memory, and what disk beside the result, a run takes whose data is not open yet.

    Of the disk what the data adds is not known: it is told once more before the work starts.
    """
    from taut.encoding.estimate import estimate_disk, estimate_memory

    if wanted.calib is None or wanted.train is not None:
        runs = wanted.train is not None
        return f"peak memory about {size(estimate_memory(source, calibrated=runs))}"
    memory = estimate_memory(source, calibrated=True, journal=True)
    disk = sum(estimate_disk(source, 0, journal=True))
    return f"peak memory about {size(memory)}, disk from {size(disk)} until it is done"


def plan_text(wanted: AskedFor, *, roomy: bool = False, base: str | None = None) -> str:
    """What was asked for, in a line; `roomy` says that a model has room in the size as it is.

    `base` is what the file is to stand on, of which it holds what differs: that may have room in
    the size bit for bit, which the work itself tells.

    >>> plan_text(AskedFor(size="20x", train="build.py:batches", epochs=20))
    'size 20x, trained with build.py:batches, 20 epochs, effort max'
    >>> plan_text(AskedFor(size="10GB"), roomy=True)
    'lossless, which size 10GB has room for, effort max'
    >>> plan_text(AskedFor(bits=0.5), base="net.safetensors")
    'what differs from net.safetensors: rate-distortion (lossless where that has room), \
0.5 bits per weight, effort max'
    """
    if base is not None:
        told = plan_text(wanted, roomy=roomy)
        if wanted.dialled and wanted.calib is None and wanted.max_drop is None:
            told = told.replace(_DIAL, f"{_DIAL} (lossless where that has room)", 1)
        return f"what differs from {base}: {told}"
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
    if roomy:
        return f"lossless, which {', '.join(parts)} has room for, effort {effort}"
    told = ", ".join([*parts, *([f"effort {effort}"] if effort else [])])
    return f"{_DIAL}, {told}" if wanted.dialled else told


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
