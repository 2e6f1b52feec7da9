"""Data-free lossy coding of a whole model: which tensors, at which step, for a target in bytes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taut.coding import Effort, encode_matrix, estimate_indices
from taut.container import Origin
from taut.encoding.data_free_rounder import Quantizer, first_step, rd_values, round_tensor, sparse
from taut.encoding.estimate import estimate_tensors
from taut.encoding.foresee_coded import estimate_smallest
from taut.encoding.model import SEARCH, FilesToBe, predict_size
from taut.encoding.rounded_pieces import large_matrix, rounds_in_pieces
from taut.encoding.sampled import SampledSource
from taut.encoding.tensor import check_finite, check_schemes
from taut.errors import TargetError
from taut.io import Source, TensorInfo
from taut.io.identity import plan_identity
from taut.io.source import fixed_of
from taut.planning import Target, free_schemes, meet_target
from taut.planning.allocate import too_small
from taut.progress import Progress
from taut.scheme import Scheme
from taut.transform import Rounded, finest_step, sample_rows
from taut.transform.runtime import GRIDS

__all__ = ["Quantizer", "SizeRequest", "find_dial", "lossy_schemes"]

# Values that an estimate of the file's size looks at: enough for a few tenths of a percent.
_SAMPLE: dict[Effort, int] = {"fast": 1 << 21, "max": 1 << 20}
_LEAST = 1 << 14  # of each tensor
_FORESEEN = 8  # times fewer where the size is only to be foreseen
_ZERO = 1e30  # a dial that rounds every weight to zero
# What estimates come to, measured: they leave out the states of lanes, and rounded counts.
_SHORT: dict[Effort, float] = {"fast": 0.9965, "max": 0.998}
_LEAST_BITS = 0.8  # a weight: at lower rates plain rounding is as good as the trellis
_TOLD = 300  # bytes that are said of a tensor, beside its name
_GRID = 4  # dials an octave that are looked at; between them sizes are interpolated


def lossy_schemes(
    source: Source, plan: Mapping[str, Scheme], fixed: Collection[str] = ()
) -> dict[str, Scheme]:
    """`plan`, and where it says nothing: matrices under the dial, other floats as fp16.

    Raises:
        ArgumentError: a scheme does not fit its tensor.
        TargetError: there is no such matrix, nor one on a grid: nothing is to be quantised.
    """
    check_schemes(source, plan)
    schemes = free_schemes(source, plan, {*fixed, *fixed_of(source)})
    if not any(scheme.kind in ("rd", *GRIDS) for scheme in schemes.values()):
        raise TargetError(
            "bits and size: the model has no float matrix of at least 1,024 values that can be "
            "rounded; leave them out for a bit-exact file"
        )
    return schemes


@dataclass(frozen=True, kw_only=True)
class SizeRequest:
    """A model, its schemes, and the size that its file is to have.

    `gains` multiply the steps of single tensors; `origin` is what the file is to remember. With
    `files` the model becomes several, whose sizes count together. `foresee` asks for a guess, from
    a source that is sampled; nothing is then coded as a whole. `progress` is told of the search.
    """

    source: Source
    schemes: Mapping[str, Scheme]
    target: Target
    effort: Effort
    origin: Origin
    threads: int = 1
    gains: Mapping[str, float] = field(default_factory=dict)
    files: FilesToBe | None = None
    known: KnownSizes | None = None
    foresee: bool = False
    progress: Progress | None = None


class KnownSizes(Protocol):
    """Sizes that a search found before, by dial: a run that broke off does not look again."""

    def size_at(self, dial: str) -> int | None:
        """The exact size at a dial; None if it was not found yet."""

    def keep_size(self, dial: str, size: int) -> None:
        """Remember it."""


def find_dial(request: SizeRequest) -> Quantizer:
    """The quantiser whose file is within a percent below the target, or loses nothing to speak of.

    Raises:
        ArgumentError: a tensor is not finite, or out of range.
        TargetError: the target cannot be met.
    """
    source, schemes, effort = request.source, request.schemes, request.effort
    dialled = [
        info
        for info in source.infos
        if info.name not in source.aliases
        and schemes[info.name].kind == "rd"
        and schemes[info.name].bits is None
    ]
    share = _FORESEEN if request.foresee else 1
    seen = Quantizer(1.0, effort)  # what it learns of tensors that are not held, the others know
    samples = _samples(request, dialled, _SAMPLE[effort] // share, seen)
    weights = {sample.name: sample.weight for sample in samples}
    low = 8 * request.target.nbytes < _LEAST_BITS * sum(sample.count for sample in samples)
    if effort == "max" and not low:
        # Prices of the trellis change by steps, and a model of one matrix may have no file between.
        with contextlib.suppress(TargetError):
            quantizer = Quantizer(1.0, effort, weights, threads=request.threads, large=seen.large)
            return _searched(request, quantizer, samples)
    quantizer = Quantizer(
        1.0, effort, weights, threads=request.threads, plain=True, large=seen.large
    )
    return _searched(request, quantizer, samples)


def check_least(request: SizeRequest) -> None:
    """Refuse a size that is less than what is left with every matrix zero; loads the model for it.

    A size that is larger than anything else could be is not looked at.

    Raises:
        TargetError: it is; the message says what is left.
    """
    source, target = request.source, request.target
    zeroed = {name for name, one in request.schemes.items() if one.kind in ("rd", *GRIDS)}
    rest = sum(info.nbytes for info in source.infos if info.name not in zeroed)
    if target.nbytes > rest + sum(map(_told_bytes, source.infos)) + len(repr(request.origin)):
        return
    schemes = {name: Scheme("rd") if name in zeroed else s for name, s in request.schemes.items()}
    quantizer = Quantizer(_ZERO, request.effort, threads=request.threads, plain=True)
    least = _exact(replace(request, schemes=schemes), quantizer, _ZERO)
    if least > target.nbytes:
        raise too_small(target, least)


def _told_bytes(info: TensorInfo) -> int:
    """What a file says of a tensor, at most: an entry of its header, a row of its index."""
    return _TOLD + 2 * len(info.name.encode())


def _searched(request: SizeRequest, quantizer: Quantizer, samples: list[_Sample]) -> Quantizer:
    """The quantiser at the dial that meets the target."""
    target, effort, trellis = request.target, quantizer.effort, quantizer.trellis
    tables = {sample.name: _tables(sample, trellis, effort) for sample in samples}

    def exact(dial: float) -> int:
        return int(estimate(dial)) if request.foresee else _exact(request, quantizer, dial)

    # What does not hang on the dial: all other tensors, header and index.
    fixed = (_foreseen if request.foresee else _exact)(request, quantizer, _ZERO)
    finest = max((finest_step(s.largest) / s.weight for s in samples), default=0.0)
    guess = _interpolated(
        lambda dial: _estimate(samples, tables, max(dial, finest), trellis, effort)
    )

    def estimate(dial: float) -> float:
        return fixed + guess(dial)

    weights = sum(sample.count for sample in samples)
    power = sum(s.rms**2 / s.weight**2 * s.count for s in samples) / max(1, weights)
    first = first_step(power, 8 * max(0.0, target.nbytes - fixed) / max(1, weights))
    found = meet_target(target, exact, estimate, weights=weights, first=first, finest=finest)
    quantizer.dial, quantizer.size = found.dial, found.size
    return quantizer


def _foreseen(request: SizeRequest, quantizer: Quantizer, dial: float) -> int:
    """The size at a dial, from samples of the tensors."""
    quantizer.dial = dial
    found = estimate_tensors(request.source, request.schemes, request.effort, quantizer)
    return found[1]


def _exact(request: SizeRequest, quantizer: Quantizer, dial: float) -> int:
    """The size at a dial, to the byte."""
    quantizer.dial = dial
    schemes = plan_identity(request.schemes)  # masks may be left alone, or not
    key = f"{dial!r} {quantizer.trellis} {schemes}"
    size = None if request.known is None else request.known.size_at(key)
    if size is None:
        size = predict_size(
            request.source,
            request.schemes,
            effort=quantizer.effort,
            threads=quantizer.threads,
            quantize=quantizer,
            origin=request.origin,
            files=request.files,
            progress=request.progress,
        )
        if request.known is not None:
            request.known.keep_size(key, size)
    return size


@dataclass(frozen=True)
class _Sample:
    """Some rows of a tensor of `count` values; `rms` is the root of their mean square.

    `largest` is the largest magnitude of all.
    `weight` is the tensor's step at a dial of 1: the root of its scale. One step for all would
    give the least squared error in all; steps in proportion to the scales the same relative
    error everywhere. Halfway costs 2 % of the former and serves real networks better than
    either (docs/method.md).
    """

    name: str
    values: np.ndarray
    count: int
    rms: float
    largest: float
    gain: float = 1.0
    sparse: bool = False  # so that the trellis leaves it alone

    @property
    def weight(self) -> float:
        return self.gain * (math.sqrt(self.rms) if self.rms > 0 else 1.0)


def _samples(
    request: SizeRequest, infos: list[TensorInfo], whole: int, seen: Quantizer
) -> list[_Sample]:
    """Samples of tensors, of about `whole` values together."""
    total = sum(math.prod(info.shape) for info in infos)
    samples: list[_Sample] = []
    for info in infos:
        if request.progress is not None:
            request.progress(SEARCH, len(samples), len(infos))
        scheme, count = request.schemes[info.name], math.prod(info.shape)
        most = max(_LEAST, count * whole // max(1, total))
        kept, largest = _rows_of(request.source, info, scheme, most, seen)
        rms = math.sqrt(float(np.mean(np.square(kept, dtype=np.float64))))
        gain = request.gains.get(info.name, 1.0)
        samples.append(_Sample(info.name, kept, count, rms, largest, gain, sparse(scheme)))
    return samples


def _rows_of(
    source: Source, info: TensorInfo, scheme: Scheme, most: int, quantizer: Quantizer
) -> tuple[NDArray[np.float32], float]:
    """Some rows of a tensor, and the largest magnitude of all; all are finite."""
    if not isinstance(source, SampledSource) and rounds_in_pieces(info, scheme, quantizer):
        matrix = large_matrix(source, info, scheme, quantizer)
        return matrix.sample(most).astype(np.float32), matrix.largest
    values = source.load(info.name)
    check_finite(info, values, scheme)
    values = rd_values(info.name, values, scheme)
    return np.array(sample_rows(values, most), dtype=np.float32), float(np.max(np.abs(values)))


def _tables(sample: _Sample, trellis: bool, effort: Effort) -> float:
    """Bytes of a sample's tables and states, which do not grow with the number of values."""
    trellis = trellis and not sample.sparse
    found = round_tensor(sample.name, sample.values, sample.rms / 2, trellis)
    if not isinstance(found, Rounded):
        return estimate_indices(np.zeros_like(found.values), effort=effort)
    indices, step = found.indices, found.step
    return len(encode_matrix(indices, step=step, trellis=True, dtype=np.dtype("f4")).header)


def _estimate(
    samples: list[_Sample],
    tables: Mapping[str, float],
    dial: float,
    trellis: bool,
    effort: Effort,
) -> float:
    """Bytes of the tensors under the dial; none of such as become zero."""
    total = 0.0
    for sample in samples:
        by_trellis = trellis and not sample.sparse
        found = round_tensor(sample.name, sample.values, dial * sample.weight, by_trellis)
        if not isinstance(found, Rounded) and not found.values.any():
            continue
        taken = estimate_smallest(found, effort=effort)
        once = min(taken, tables[sample.name])
        total += once + (taken - once) * sample.count / sample.values.size
    return total / _SHORT[effort]


def _interpolated(size: Callable[[float], float]) -> Callable[[float], float]:
    """`size`, which is slow and has small jumps, as a polyline over the dial's logarithm."""
    known: dict[int, float] = {}

    def at(number: int) -> float:
        if number not in known:
            known[number] = size(2.0 ** (number / _GRID))
        return known[number]

    def between(dial: float) -> float:
        x = _GRID * math.log2(dial)
        low = math.floor(x)
        return at(low) + (x - low) * (at(low + 1) - at(low))

    return between
