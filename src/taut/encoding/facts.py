"""Reads a model tensor by tensor: what there is to know of each, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Final

import numpy as np

from taut.analysis.curvature import Curvature
from taut.analysis.grids import round_to
from taut.analysis.sensitivity import loss_of, summarise
from taut.analysis.statistics import Distribution, bounds_of, describe_pieces
from taut.analysis.tensor_facts import Prediction, Report, TensorFacts
from taut.encoding.estimate import estimate_memory, estimate_tensors
from taut.encoding.exact_only import ValueRange, why_exact
from taut.encoding.seen_tensor import SeenTensor
from taut.encoding.tensor import RelativeError, relative_error
from taut.io import SAFETENSORS_DTYPES, Source, TensorInfo
from taut.io.equal_tensors import EqualTensors
from taut.io.source import fixed_of, parameters_of
from taut.planning import quantisable
from taut.planning.rules import FLOATS
from taut.progress import Progress
from taut.scheme import Scheme
from taut.transform.damping import noise_of

_ROWS: Final = 1 << 20  # values that are rounded where no curvature wants the whole matrix


def read_report(
    source: Source,
    kinds: Mapping[str, str],
    curvatures: Mapping[str, Curvature],
    schemes: Sequence[Scheme],
    progress: Progress | None,
) -> Report:
    """What is to be known of a model without running it.

    `kinds` are the layers' classes and `curvatures` those of matrices, by the tensor's name;
    `schemes` are tried on every matrix. Holds one tensor at a time; of a large one a piece, unless
    its curvature is known.
    """
    exact = {info.name: Scheme() for info in source.infos}
    coded, size = estimate_tensors(source, exact, "fast")
    stored = [info for info in source.infos if info.name not in source.aliases]
    total = sum(info.nbytes for info in stored)
    lossless = {tensor.name: tensor.bytes for tensor in coded}
    reader = _FactsReader(
        source,
        kinds,
        curvatures,
        schemes,
        lossless,
        total,
        noise_of(list(curvatures.values())),
        EqualTensors(source),
    )
    tensors = []
    for number, info in enumerate(source.infos, 1):
        tensors.append(reader.facts(info))
        if progress is not None:
            progress("read", number, len(source.infos))
    return Report(
        model=source.identity,
        parameters=parameters_of(source),
        bytes=source.nbytes,
        lossless=size,
        memory=estimate_memory(source),
        tensors=tuple(tensors),
    )


@dataclass
class _FactsReader:
    """Reads tensors one at a time, and remembers which values it has seen."""

    source: Source
    kinds: Mapping[str, str]
    curvatures: Mapping[str, Curvature]
    schemes: Sequence[Scheme]
    lossless: Mapping[str, int]
    total: int
    damping: float
    known: EqualTensors

    def facts(self, info: TensorInfo) -> TensorFacts:
        """All about one tensor; of a tied one only its name and shape."""
        tied = self.source.aliases.get(info.name, "")
        facts = TensorFacts(
            name=info.name,
            dtype=info.dtype,
            shape=info.shape,
            parameters=prod(info.shape),
            bytes=info.nbytes,
            share=0.0 if tied else info.nbytes / max(1, self.total),
            module=self.kinds.get(info.name, ""),
            tied=tied,
            equal="",
            lossless=self.lossless[info.name],
            distribution=None,
            bounds=(),
            sensitivity=None,
            predictions={},
        )
        if tied:
            return facts
        curvature = self.curvatures.get(info.name)
        seen = SeenTensor.of(self.source, info, held=curvature is not None)
        equal = self.known.first_of_pieces(info, seen.digest) if info.nbytes else None
        facts = replace(facts, equal=equal or "")
        if info.dtype not in SAFETENSORS_DTYPES:  # packed bits, which numpy cannot address
            return facts
        distribution = describe_pieces(seen.pieces)
        return replace(
            facts,
            distribution=distribution,
            bounds=bounds_of(seen.picks) if info.dtype in FLOATS else (),
            sensitivity=None if curvature is None else summarise(curvature, self.damping),
            predictions=self._predictions(seen, distribution, curvature),
        )

    def _predictions(
        self, seen: SeenTensor, distribution: Distribution | None, curvature: Curvature | None
    ) -> dict[str, Prediction]:
        """What each scheme that is for such a tensor would cost it."""
        info = seen.info
        fixed = info.name in fixed_of(self.source)
        if fixed or not _is_roundable(seen, distribution, curvature is None):
            return {}
        if not quantisable(info.dtype, info.shape):
            return _as_halves(seen, self.schemes)
        flat = _as_rows(seen.rows(_ROWS) if curvature is None else seen.whole())
        if not np.isfinite(flat).all():
            return {}
        loss = None if curvature is None else loss_of(curvature)
        return {str(scheme): _predicted(flat, scheme, loss) for scheme in self.schemes}


def _as_rows(values: np.ndarray) -> np.ndarray:
    """Values in float32, of shape (rows, columns)."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).reshape(len(values), -1)


def _as_halves(seen: SeenTensor, schemes: Sequence[Scheme]) -> dict[str, Prediction]:
    """What `fp16` would cost a tensor that is no matrix; other schemes are not for it."""
    halves = [scheme for scheme in schemes if scheme.kind == "fp16"]
    error, bits = RelativeError(), 0.0
    for piece in seen.pieces() if halves else ():
        row = _as_rows(piece[None])
        if not np.isfinite(row).all():
            return {}
        nearest = round_to(row, halves[0])
        error.add(row, nearest.values)
        bits = nearest.bits
    found = error.close()
    return {str(scheme): Prediction(bits, found) for scheme in halves}


def _is_roundable(seen: SeenTensor, distribution: Distribution | None, by_scale: bool) -> bool:
    """Whether a tensor has floats alone that lossy schemes take: they refuse others."""
    info = seen.info
    if info.dtype not in FLOATS or distribution is None:
        return False
    if distribution.nans or distribution.infinities:
        return False
    if not quantisable(info.dtype, info.shape):
        return True
    values = ValueRange.of_pieces(seen.pieces())
    return why_exact(info, values, Scheme("rd"), by_scale=by_scale) is None


def _predicted(
    values: np.ndarray, scheme: Scheme, loss: Callable[[np.ndarray], float] | None
) -> Prediction:
    """What a scheme would cost values of shape (rows, columns), in float32."""
    nearest = round_to(values, scheme)
    cost = None if loss is None else loss(values - nearest.values)
    return Prediction(nearest.bits, relative_error(values, nearest.values), cost)
