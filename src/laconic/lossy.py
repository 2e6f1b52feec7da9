"""Data-free lossy coding of a whole model: which tensors, at which step, for a target in bytes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from laconic.coding import Effort, encode_indices, estimate_indices
from laconic.container import Origin
from laconic.encode import check_finite
from laconic.errors import ArgumentError, TargetError
from laconic.fill import predict_size
from laconic.io import Source, TensorInfo
from laconic.plan import Target, meet_target, quantisable
from laconic.scheme import Scheme
from laconic.transform import Indices, quantize, sample_rows

# Values that an estimate of the file's size looks at: enough for a few tenths of a percent.
_SAMPLE = 1 << 21
_LEAST = 1 << 14  # of each tensor
_TURNS = 40
_ZERO = 1e30  # a dial that rounds every weight to zero


def lossy_schemes(
    source: Source, plan: Mapping[str, Scheme], fixed: Collection[str] = ()
) -> dict[str, Scheme]:
    """`plan` with every matrix that it leaves lossless under the global dial, but for `fixed`.

    Raises:
        TargetError: there is no such matrix, so that no target can be met.
    """
    schemes = dict(plan)
    for info in source.infos:
        free = schemes.get(info.name) == Scheme() and info.name not in fixed
        if free and quantisable(info.dtype, info.shape):
            schemes[info.name] = Scheme("rd")
    if not any(scheme.kind == "rd" for scheme in schemes.values()):
        raise TargetError(
            "bits and size: the model has no float matrix of at least 1,024 values to quantise; "
            "leave them out for a bit-exact file"
        )
    return schemes


@dataclass
class Quantizer:
    """Carries out `rd` at `dial` times the tensor's weight, and `rd:BITS` at a step of its own.

    `weights` are those of the tensors under the dial; `steps` remembers the steps that were found
    for the others; `size` is that of the file in bytes, where a search has found it.
    """

    dial: float
    effort: Effort
    weights: Mapping[str, float] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    size: int | None = None

    def __call__(self, info: TensorInfo, values: np.ndarray, scheme: Scheme) -> Indices:
        """Quantise one tensor; an error names it."""
        if scheme.bits is None:
            step = self.dial * self.weights.get(info.name, 1.0)
        else:
            if info.name not in self.steps:
                self.steps[info.name] = step_for_bits(values, scheme.bits, self.effort)
            step = self.steps[info.name]
        return _quantize(info.name, values, step)


def _quantize(name: str, values: np.ndarray, step: float) -> Indices:
    try:
        return quantize(values, step)
    except ArgumentError as error:
        raise ArgumentError(f'tensor "{name}": {error}') from None


def step_for_bits(values: np.ndarray, bits: float, effort: Effort) -> float:
    """The step at which this tensor alone takes `bits` per value, within a percent from below."""
    sample = sample_rows(values, _SAMPLE)
    step = first_step(float(np.mean(np.square(sample, dtype=np.float64))), bits)
    least = math.inf
    for _ in range(_TURNS):
        coded = _coded_bits(values, step, effort)
        if 0.99 * bits <= coded <= bits:
            return step
        least = min(least, coded)
        ahead = coded - 0.996 * bits
        step *= 2.0 ** max(-2.0, min(2.0, ahead * (1.0 if bits > 1 else 2.0)))
    raise ArgumentError(f"rd:{bits:g} cannot be met; the least found is {least:.3g} bits per value")


def _coded_bits(values: np.ndarray, step: float, effort: Effort) -> float:
    indices = quantize(values, step)
    coded = encode_indices(
        indices.values, step=step, offsets=indices.offsets, dtype=np.dtype("f4"), effort=effort
    )
    return 8 * coded.nbytes / values.size


def first_step(power: float, bits: float) -> float:
    """The step at which Gaussian values of this mean square take about `bits` (high rate).

    h(w) - log2(step) = bits with h = log2(2 pi e power) / 2 (Gish and Pierce 1968).
    """
    entropy = 0.5 * math.log2(2 * math.pi * math.e * power) if power > 0 else 0.0
    return math.exp2(max(-90.0, min(90.0, entropy - bits)))


def find_dial(
    source: Source,
    schemes: Mapping[str, Scheme],
    target: Target,
    *,
    effort: Effort,
    threads: int,
    origin: Origin,
    gains: Mapping[str, float] | None = None,
) -> Quantizer:
    """The quantiser whose file is within a percent below `target`.

    `gains` multiply the steps of single tensors.

    Raises:
        ArgumentError: a tensor is not finite, or out of range.
        TargetError: the target cannot be met.
    """
    dialled = [
        info
        for info in source.infos
        if info.name not in source.aliases
        and schemes[info.name].kind == "rd"
        and schemes[info.name].bits is None
    ]
    samples = _samples(source, dialled, schemes, gains or {})
    weights = sum(math.prod(info.shape) for info in dialled)
    quantizer = Quantizer(1.0, effort, {s.name: s.weight for s in samples})

    def exact(dial: float) -> int:
        quantizer.dial = dial
        return predict_size(
            source,
            schemes,
            effort=effort,
            threads=threads,
            quantize=quantizer,
            origin=origin,
        )

    # What does not hang on the dial: all other tensors, header and index.
    fixed = exact(_ZERO) - _estimate(samples, _ZERO, effort)

    def estimate(dial: float) -> float:
        return fixed + _estimate(samples, dial, effort)

    power = sum(s.rms**2 / s.weight**2 * s.count for s in samples) / max(1, weights)
    first = first_step(power, 8 * max(0.0, target.nbytes - fixed) / max(1, weights))
    found = meet_target(target, exact, estimate, weights=weights, first=first)
    quantizer.dial, quantizer.size = found.dial, found.size
    return quantizer


@dataclass(frozen=True)
class _Sample:
    """Some rows of a tensor of `count` values; `rms` is the root of their mean square.

    `weight` is the tensor's step at a dial of 1: the root of its scale. One step for all would
    give the least squared error in all; steps in proportion to the scales the same relative
    error everywhere. Halfway costs 2 % of the former and serves real networks better than
    either (docs/method.md).
    """

    name: str
    values: np.ndarray
    count: int
    rms: float
    gain: float = 1.0

    @property
    def weight(self) -> float:
        return self.gain * (math.sqrt(self.rms) if self.rms > 0 else 1.0)


def _samples(
    source: Source,
    infos: list[TensorInfo],
    schemes: Mapping[str, Scheme],
    gains: Mapping[str, float],
) -> list[_Sample]:
    total = sum(math.prod(info.shape) for info in infos)
    samples = []
    for info in infos:
        values = source.load(info.name)
        check_finite(info, values, schemes[info.name])
        most = max(_LEAST, values.size * _SAMPLE // max(1, total))
        rows = sample_rows(values, most)
        kept = np.array(rows, dtype=np.float32)
        rms = math.sqrt(float(np.mean(np.square(kept, dtype=np.float64))))
        gain = gains.get(info.name, 1.0)
        samples.append(_Sample(info.name, kept, values.size, rms, gain))
    return samples


def _estimate(samples: list[_Sample], dial: float, effort: Effort) -> float:
    total = 0.0
    for sample in samples:
        indices = _quantize(sample.name, sample.values, dial * sample.weight)
        share = sample.count / sample.values.size
        total += estimate_indices(indices.values, effort=effort) * share
    return total
