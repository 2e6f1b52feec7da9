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
from taut.analysis.statistics import Distribution, describe, entropy_bounds
from taut.analysis.tensor_facts import Prediction, Report, TensorFacts
from taut.encoding.estimate import estimate_memory, estimate_tensors
from taut.encoding.exact_only import why_exact
from taut.encoding.tensor import relative_error
from taut.io import SAFETENSORS_DTYPES, Source, TensorInfo
from taut.io.equal_tensors import EqualTensors
from taut.io.source import fixed_of, parameters_of
from taut.planning import quantisable
from taut.planning.rules import FLOATS
from taut.progress import Progress
from taut.scheme import Scheme
from taut.transform import sample_rows
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
    `schemes` are tried on every matrix. Holds one tensor at a time.
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
        values = self.source.load(info.name)
        facts = replace(facts, equal=self.known.first(info, values) or "")
        if info.dtype not in SAFETENSORS_DTYPES:  # packed bits, which numpy cannot address
            return facts
        curvature = self.curvatures.get(info.name)
        distribution = describe(values)
        return replace(
            facts,
            distribution=distribution,
            bounds=entropy_bounds(values) if info.dtype in FLOATS else (),
            sensitivity=None if curvature is None else summarise(curvature, self.damping),
            predictions=self._predictions(info, values, distribution, curvature),
        )

    def _predictions(
        self,
        info: TensorInfo,
        values: np.ndarray,
        distribution: Distribution | None,
        curvature: Curvature | None,
    ) -> dict[str, Prediction]:
        """What each scheme that is for such a tensor would cost it."""
        fixed = info.name in fixed_of(self.source)
        if fixed or not _is_roundable(info, values, distribution, curvature is None):
            return {}
        matrix = quantisable(info.dtype, info.shape)
        flat = _as_rows(sample_rows(values, _ROWS) if curvature is None else values, matrix)
        if not np.isfinite(flat).all():
            return {}
        schemes = [scheme for scheme in self.schemes if matrix or scheme.kind == "fp16"]
        loss = None if curvature is None else loss_of(curvature)
        return {str(scheme): _predicted(flat, scheme, loss) for scheme in schemes}


def _as_rows(values: np.ndarray, matrix: bool) -> np.ndarray:
    """Values in float32: a matrix's of shape (rows, columns), others as one row."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).reshape(len(values) if matrix else 1, -1)


def _is_roundable(
    info: TensorInfo, values: np.ndarray, distribution: Distribution | None, by_scale: bool
) -> bool:
    """Whether a tensor has floats alone that lossy schemes take: they refuse others."""
    if info.dtype not in FLOATS or distribution is None:
        return False
    if distribution.nans or distribution.infinities:
        return False
    if not quantisable(info.dtype, info.shape):
        return True
    return why_exact(info, values, Scheme("rd"), by_scale=by_scale) is None


def _predicted(
    values: np.ndarray, scheme: Scheme, loss: Callable[[np.ndarray], float] | None
) -> Prediction:
    """What a scheme would cost values of shape (rows, columns), in float32."""
    nearest = round_to(values, scheme)
    cost = None if loss is None else loss(values - nearest.values)
    return Prediction(nearest.bits, relative_error(values, nearest.values), cost)
