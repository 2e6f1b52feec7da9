"""Rounds the tensors of a model without data: at one dial's steps, or at steps of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from taut.coding import Effort
from taut.encoding.choose_coder import coded_smallest
from taut.errors import ArgumentError
from taut.io import TensorInfo
from taut.scheme import Scheme
from taut.transform import (
    Indices,
    Rounded,
    finest_step,
    quantize,
    quantize_matrix,
    sample_rows,
)
from taut.transform.runtime import masked, scheme_mask

_SAMPLE = 1 << 21  # values that the first guess of a step looks at
_TURNS = 40
_MEMORY = 64 << 20  # bytes of indices that are kept


@dataclass
class Quantizer:
    """Carries out `rd` at `dial` times the tensor's weight, and `rd:BITS` at a step of its own.

    `weights` are those of the tensors under the dial; `steps` remembers the steps that were found
    for the others, `large` what is known of matrices that are not held; `size` is that of the file
    in bytes, where a search has found it. With `plain` nothing goes through the trellis. What the
    last exact size was made of is kept, up to 64 MiB, as the file is then made of it.
    """

    dial: float
    effort: Effort
    weights: Mapping[str, float] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    threads: int = 1
    plain: bool = False
    size: int | None = None
    large: dict[str, object] = field(default_factory=dict, repr=False, compare=False)
    _last: dict[tuple[str, tuple[int, ...]], tuple[float, Rounded]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, object]:
        """Without what another process finds by itself."""
        return {**vars(self), "large": {}, "_last": {}}

    def below(self, prefix: str) -> Quantizer:
        """The same for the tensors whose names begin with `prefix`, by what follows in them."""
        count = len(prefix)
        found = (self.weights.items(), self.steps.items())
        weights, steps = ({n[count:]: x for n, x in of if n.startswith(prefix)} for of in found)
        return replace(self, weights=weights, steps=steps, large={}, _last={})

    @property
    def trellis(self) -> bool:
        """Whether matrices go through the trellis; "fast" keeps what decodes fastest."""
        return self.effort == "max" and not self.plain

    def rounds_by_trellis(self, scheme: Scheme) -> bool:
        """Whether matrices of a scheme do."""
        return self.trellis and not sparse(scheme)

    def __call__(
        self, info: TensorInfo, values: np.ndarray, scheme: Scheme
    ) -> Indices | Rounded | None:
        """Quantise one tensor, what its mask leaves of it; None if its scheme is not `rd`.

        An error names the tensor.
        """
        if scheme.kind != "rd":
            return None
        values, trellis = rd_values(info.name, values, scheme), self.rounds_by_trellis(scheme)
        if scheme.bits is None:
            step = self.step_of(info.name)
        else:
            if info.name not in self.steps:
                self.steps[info.name] = step_for_bits(
                    info.name, values, scheme.bits, self.effort, trellis
                )
            step = self.steps[info.name]
        if not trellis:
            return round_tensor(info.name, values, step, False, self.threads)
        return self._kept(info, values, step)

    def step_of(self, name: str) -> float:
        """The step of a tensor under the dial."""
        return self.dial * self.weights.get(name, 1.0)

    def _kept(self, info: TensorInfo, values: np.ndarray, step: float) -> Indices | Rounded:
        """Rounded anew, or as it was for the file's last exact size."""
        place = (info.name, values.shape)
        known = self._last.get(place)
        if known is not None and known[0] == step:
            return known[1]
        self._last.pop(place, None)
        found = round_tensor(info.name, values, step, self.trellis, self.threads)
        if isinstance(found, Rounded):
            taken = sum(kept.indices.nbytes for _, kept in self._last.values())
            if taken + found.indices.nbytes <= _MEMORY:
                self._last[place] = (step, found)
        return found


def sparse(scheme: Scheme) -> bool:
    """Whether a scheme has a mask: the trellis would bring back what it took."""
    return (scheme.sparsity, scheme.n_of_m) != (None, None)


def rd_values(name: str, values: np.ndarray, scheme: Scheme) -> np.ndarray:
    """What is to be rounded: the values, or what the scheme's mask leaves of them."""
    if not sparse(scheme):
        return values
    return masked(values, scheme_mask(values, scheme, f'tensor "{name}"'))


def round_tensor(
    name: str, values: np.ndarray, step: float, trellis: bool, threads: int = 1
) -> Indices | Rounded:
    """Round to levels of a step, by the trellis where that is asked for and serves.

    Raises ArgumentError, which names the tensor.
    """
    try:
        if trellis:
            return quantize_matrix(values, step, threads=threads)
        return quantize(values, step)
    except ArgumentError as error:
        raise ArgumentError(f'tensor "{name}": {error}') from None


def step_for_bits(
    name: str, values: np.ndarray, bits: float, effort: Effort, trellis: bool
) -> float:
    """The step at which this tensor alone takes `bits` per value; as `StepSearch` finds it."""

    def measured(step: float) -> tuple[int, bool]:
        found = round_tensor(name, values, step, trellis)
        indices = found.indices if isinstance(found, Rounded) else found.values
        nbytes = coded_smallest(found, np.dtype(np.float32), effort=effort).nbytes
        return nbytes, bool(indices.any())

    largest = float(np.max(np.abs(values), initial=0.0))
    sample = partial(sample_rows, values)
    return StepSearch(name, sample, values.size, largest, measured).step_for(bits)


@dataclass(frozen=True)
class StepSearch:
    """Looks for the step of one tensor of `count` values, of which `sample` gives about so many.

    `measured` gives the bytes at a step, and whether anything is left.
    """

    name: str
    sample: Callable[[int], np.ndarray]
    count: int
    largest: float
    measured: Callable[[float], tuple[int, bool]]

    def _bits_at(self, step: float) -> tuple[float, bool]:
        nbytes, any_left = self.measured(step)
        return 8 * nbytes / self.count, any_left

    def step_for(self, bits: float) -> float:
        """The step at which the tensor takes `bits` per value, within a percent from below.

        Where no step does (values are few, or their tables are most of it), the step that takes the
        most below. Raises ArgumentError, which names the tensor, if that leaves nothing but zeros.
        """
        sample = self.sample(_SAMPLE)
        step = first_step(float(np.mean(np.square(sample, dtype=np.float64))), bits)
        if not self.largest:
            return step
        finest = finest_step(self.largest)
        below = (0.0, 0.0)  # the bits and the step
        least, finer, coarser = math.inf, 0.0, math.inf  # steps that take too much, and too little
        # An octave of the step is a bit of every value that is not zero.
        live = max(0.01, np.count_nonzero(sample) / max(1, sample.size))
        for _ in range(_TURNS):
            step = max(step, finest)
            coded, any_left = self._bits_at(step)
            if (0.99 * bits if step > finest else 0.0) <= coded <= bits:
                return step
            least = min(least, coded)
            if coded <= bits and any_left:  # what takes more of the bits, and not more than these
                below = max(below, (coded, step))
            finer, coarser = (step, coarser) if coded > bits else (finer, step)
            step = _between(step * _factor(coded - 0.996 * bits, bits, live), finer, coarser)
        if below[1]:
            return below[1]
        raise ArgumentError(
            f'tensor "{self.name}": rd:{bits:g} leaves nothing but zeros of it, at {least:.3g} '
            "bits per value; give it more bits, or leave it lossless"
        )


def _factor(ahead: float, bits: float, live: float) -> float:
    """By what a step changes that takes so many bits too much, with so many values `live`."""
    return float(2.0 ** max(-2.0, min(2.0, ahead * (1.0 if bits > live else 2.0) / live)))


def _between(step: float, finer: float, coarser: float) -> float:
    """The step, or the middle of the two that are known where it does not lie between them."""
    if 0 < finer < coarser < math.inf and not finer < step < coarser:
        return math.sqrt(finer * coarser)
    return step


def first_step(power: float, bits: float) -> float:
    """The step at which Gaussian values of this mean square take about `bits` (high rate).

    h(w) - log2(step) = bits with h = log2(2 pi e power) / 2 (Gish and Pierce 1968).
    """
    entropy = 0.5 * math.log2(2 * math.pi * math.e * power) if power > 0 else 0.0
    return math.exp2(max(-90.0, min(90.0, entropy - bits)))
