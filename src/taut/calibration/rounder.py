"""All matrices of a model at one dial: rounded by their curvature, several at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from taut.analysis import Curvature
from taut.analysis.united import united
from taut.calibration.findings import Findings, dial_text
from taut.calibration.gridded import gridded
from taut.calibration.options import Options, make_forms, typical_step
from taut.calibration.twins import twins_of
from taut.coding import Effort, estimate_matrix
from taut.encoding.data_free_rounder import sparse
from taut.encoding.tensor import check_finite
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo
from taut.scheme import Scheme
from taut.transform import FactoredForms, Grid, Rounded, prune_and_round, round_matrix
from taut.transform.damping import noise_of
from taut.transform.forms import Factor
from taut.transform.rounding import LAMBDA

_SAMPLE = 1 << 20  # values that a guess of the size looks at
_LEAST = 1 << 12  # of each matrix
_KEPT = 1 << 29  # bytes of factors that are kept from one dial to the next
_TURNS = 40

Way = Callable[[float], dict[str, Rounded]]


@dataclass(frozen=True)
class MatrixWork:
    """A tensor under the dial: as stored it has shape (rows, columns) and `count` values.

    `gain` multiplies its steps; `scale` is the root of its mean square.
    """

    info: TensorInfo
    scheme: Scheme
    curvature: Curvature | None
    gain: float
    scale: float

    @property
    def name(self) -> str:
        """The tensor's name in the file."""
        return self.info.name

    @property
    def count(self) -> int:
        """How many values it has."""
        return math.prod(self.info.shape)


class Rounder:
    """Rounds the matrices of a model; holds the results of the last dial.

    As a callable it is what `fill` quantises with.
    """

    def __init__(
        self,
        source: Source,
        schemes: Mapping[str, Scheme],
        curvature: Mapping[str, Curvature],
        *,
        gains: Mapping[str, float] | None = None,
        effort: Effort = "max",
        threads: int = 1,
        options: Options | None = None,
        record: Findings | None = None,
    ) -> None:
        self._source, self._threads, self._effort = source, threads, effort
        self._options, self._record = options or Options(), record or Findings()
        self._way: Way | None = None
        self._metrics: dict[str, FactoredForms] = {}
        self._kept = 0
        self.size: int | None = None  # of the file, where a search has found it
        self.dial = math.nan
        self.grids = gridded(source, schemes, curvature, self._options)
        self.found: dict[str, Rounded] = {}
        rounded = [
            info
            for info in source.infos
            if info.name not in source.aliases and schemes[info.name].kind == "rd"
        ]
        # The file holds equal tensors once: they must come out alike.
        self.twins = twins_of(source, rounded, schemes)
        self.matrices = {
            info.name: self._matrix(info, schemes[info.name], curvature, gains or {})
            for info in rounded
            if info.name not in self.twins
        }
        known = [m.curvature for m in self.matrices.values() if m.curvature is not None]
        given = self._options.damping
        self.damping = noise_of(known) if given is None else given
        self._typical = self._typical_step()
        self._samples: list[tuple[MatrixWork, np.ndarray, FactoredForms]] | None = None

    def __call__(
        self, info: TensorInfo, values: np.ndarray, scheme: Scheme
    ) -> Rounded | Grid | None:
        """The matrix as rounded at the last dial; of a sample from its middle, those rows.

        Of a scheme that names a grid its grid, of others None.
        """
        if scheme.kind != "rd":
            grid = self.grids.get(info.name)
            return grid if grid is not None and grid.indices.shape == info.shape else None
        name = self.twins.get(info.name, info.name)
        found, whole = self.found[name], self.matrices[name].info.shape[0]
        if info.shape[0] == whole:
            return found
        begin = (whole - info.shape[0]) // 2
        part = slice(begin, begin + info.shape[0])
        exponents = None if found.row_exponents is None else found.row_exponents[part]
        return replace(
            found,
            indices=found.indices[part],
            decoded=found.decoded[part],
            row_exponents=exponents,
        )

    def decoded(self, found: Mapping[str, Rounded]) -> dict[str, np.ndarray]:
        """What rounded matrices decode to, shape (rows, columns), with those that equal them."""
        values = {name: rounded.decoded for name, rounded in found.items()}
        return values | {twin: values[one] for twin, one in self.twins.items() if one in values}

    def turn(self, dial: float, progress: Callable[[str, int, int], None] | None = None) -> None:
        """Round every matrix at `dial`; those with bits of their own keep them."""
        if dial == self.dial:
            return
        again = f"{self._turn(dial)},again"
        self._record.begin({self._turn(dial), self._turn(None), again})
        self.round_own(progress)
        dialled = [n for n, m in self.matrices.items() if m.scheme.bits is None]
        if (anew := self._way) is not None:
            self.found |= self._record.matrices(again, lambda: anew(dial))
        else:
            self.found |= self.rounded(dialled, dial, progress=progress)
        self.dial = dial

    def follow(self, way: Way | None) -> None:
        """From now on round the matrices under the dial in this way; None: each by itself."""
        if way is not self._way:
            self._way, self.dial = way, math.nan

    @property
    def follows(self) -> bool:
        """Whether matrices are rounded in some other way than each by itself."""
        return self._way is not None

    def round_own(self, progress: Callable[[str, int, int], None] | None = None) -> None:
        """Round the matrices that have bits of their own, unless they are."""
        own = [n for n, m in self.matrices.items() if m.scheme.bits is not None]
        missing = [name for name in own if name not in self.found]
        self.found |= self.rounded(missing, math.nan, progress=progress)

    def rounded(
        self,
        names: Sequence[str],
        dial: float,
        curvature: Mapping[str, Curvature] | None = None,
        *,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> dict[str, Rounded]:
        """Round these at a dial, the largest first; some by another curvature than their own."""
        names = sorted(names, key=lambda name: -self.matrices[name].count)
        done, total = 0, sum(self.matrices[name].count for name in names)
        found: dict[str, Rounded] = {}

        def one(name: str) -> Rounded:
            if curvature is None or name not in curvature:
                return self._round(name, dial)
            metric = make_forms(curvature[name], self._options, self.damping)
            assert metric is not None
            return self.rounded_at(name, self._source.load(name), metric, dial)

        with ThreadPoolExecutor(max(1, self._threads)) as pool:
            for name, rounded in zip(names, pool.map(one, names), strict=True):
                found[name] = rounded
                done += self.matrices[name].count
                if progress:
                    progress("quantize", done, total)
        return found

    def _turn(self, dial: float | None) -> str:
        """What a rounded matrix hangs on, beside what it is; None: it has bits of its own."""
        return f"{'own' if dial is None else dial_text(dial)},{self.lam:g}"

    def estimate(self, dial: float) -> float:
        """Bytes of all matrices under the dial, guessed from some rows without feedback."""
        if self._samples is None:
            self._samples = self._sampled()
        total = 0.0
        for matrix, rows, metric in self._samples:
            rounded = self._at(matrix, rows, metric, dial, feedback=False, threads=self._threads)
            total += estimated(rounded, self._effort) * matrix.count / rows.size
        return total

    @property
    def lam(self) -> float:
        """Squared levels per bit; setting it forgets what was rounded."""
        return LAMBDA if self._options.lam is None else self._options.lam

    @lam.setter
    def lam(self, lam: float) -> None:
        if lam != self.lam:
            self._options = replace(self._options, lam=lam)
            self.dial = math.nan
            self.found = {}

    @property
    def nbytes(self) -> float:
        """Bytes of all matrices as rounded, from their tables."""
        return sum(estimated(rounded, self._effort) for rounded in self.found.values())

    @property
    def weights(self) -> int:
        """How many values are under the dial."""
        return sum(m.count for m in self.matrices.values() if m.scheme.bits is None)

    def dial_for(self, nbytes: float, first: float) -> float:
        """The dial at which all matrices take about so many bytes, by `estimate`."""
        x = math.log2(first)
        for _ in range(12):
            ahead = (self.estimate(2.0**x) - nbytes) * 8 / max(1, self.weights)
            if abs(ahead) < 1e-3:
                break
            x += min(2.0, max(-2.0, ahead))
        return float(2.0**x)

    def first_dial(self, bits: float) -> float:
        """A dial at which matrices take about `bits` per value."""
        return float(2.0**-bits * math.sqrt(2 * math.pi * math.e) / self._typical)

    def _lam_of(self, matrix: MatrixWork, metric: FactoredForms, dial: float) -> float:
        """Lambda, down to nothing from 4 to 8 steps to the scale: there its prices mislead."""
        steps = matrix.scale / (dial * matrix.gain * typical_step(metric))
        return self.lam * min(1.0, max(0.0, 2.0 - steps / 4))

    def rounded_at(
        self, name: str, values: np.ndarray, metric: FactoredForms, dial: float
    ) -> Rounded:
        """One matrix, of whatever values, at a dial."""
        matrix, options = self.matrices[name], self._options
        rows = values.reshape(values.shape[0], -1)
        threads = self._threads if metric.rows.upper is None else 1
        try:
            return self._at(matrix, rows, metric, dial, feedback=options.feedback, threads=threads)
        except ArgumentError as error:
            raise ArgumentError(f'tensor "{name}": {error}') from None

    def _at(
        self,
        matrix: MatrixWork,
        rows: np.ndarray,
        metric: FactoredForms,
        dial: float,
        *,
        feedback: bool,
        threads: int,
    ) -> Rounded:
        """Some rows of a matrix at a dial, those that its mask takes as zeros."""
        scheme, options, step = matrix.scheme, self._options, dial * matrix.gain
        if sparse(scheme):
            return prune_and_round(
                rows, metric, step, sparsity=scheme.sparsity, n_m=scheme.n_of_m, feedback=feedback
            )
        lam = self._lam_of(matrix, metric, dial)
        return round_matrix(
            rows,
            metric,
            step,
            lam=lam,
            trellis=options.trellis,
            feedback=feedback,
            threads=threads,
        )

    def metric(self, name: str) -> FactoredForms:
        """The forms of a matrix; kept while there is room."""
        if name in self._metrics:
            return self._metrics[name]
        matrix = self.matrices[name]
        metric = make_forms(matrix.curvature, self._options, self.damping)
        if metric is None:  # nothing is known of it: steps as large, by its scale, as the others'
            rows, columns = matrix.info.shape[0], matrix.count // matrix.info.shape[0]
            step = self._typical * (matrix.scale or 1.0)
            metric = FactoredForms(
                Factor(np.full(rows, step**-2), None, 0.0),
                (Factor(np.ones(columns), None, 0.0),),
            )
        sides = (metric.rows, *metric.columns)
        size = sum(0 if side.upper is None else side.upper.nbytes for side in sides)
        if self._kept + size <= _KEPT:
            self._metrics[name], self._kept = metric, self._kept + size
        return metric

    def _round(self, name: str, dial: float) -> Rounded:
        matrix = self.matrices[name]

        def rounded() -> Rounded:
            values, metric = self._source.load(name), self.metric(name)
            if matrix.scheme.bits is not None:
                return self._at_bits(matrix, values, metric)
            return self.rounded_at(name, values, metric, dial)

        turn = self._turn(None if matrix.scheme.bits is not None else dial)
        return self._record.matrix(name, turn, rounded)

    def _at_bits(self, matrix: MatrixWork, values: np.ndarray, metric: FactoredForms) -> Rounded:
        """The dial at which this matrix alone takes its scheme's bits per value."""
        wanted = matrix.scheme.bits or 0.0
        dial, least = self.first_dial(wanted), math.inf
        for _ in range(_TURNS):
            rounded = self.rounded_at(matrix.name, values, metric, dial)
            bits = 8 * estimated(rounded, self._effort) / matrix.count
            if 0.99 * wanted <= bits <= wanted:
                return rounded
            least = min(least, bits)
            dial *= 2.0 ** max(-2.0, min(2.0, (bits - 0.996 * wanted) * (1 if bits > 1 else 2)))
        raise ArgumentError(
            f'tensor "{matrix.name}": rd:{wanted:g} cannot be met; '
            f"the least found is {least:.3g} bits per value"
        )

    def _matrix(
        self,
        info: TensorInfo,
        scheme: Scheme,
        curvature: Mapping[str, Curvature],
        gains: Mapping[str, float],
    ) -> MatrixWork:
        values = self._source.load(info.name)
        check_finite(info, values, scheme)
        power = float(np.mean(np.square(values, dtype=np.float64))) if values.size else 0.0
        names = [info.name, *(twin for twin, one in self.twins.items() if one == info.name)]
        found = united([curvature[name] for name in names if name in curvature])
        gain = min(gains.get(name, 1.0) for name in names)
        return MatrixWork(info, scheme, found, gain, math.sqrt(power))

    def _typical_step(self) -> float:
        """The middle one of all matrices' steps, relative to their scale, at a dial of 1."""
        ratios, counts = [], []
        for matrix in self.matrices.values():
            if matrix.curvature is None or not matrix.scale:
                continue
            step = typical_step(self.metric(matrix.name))
            ratios.append(step * matrix.gain / matrix.scale)
            counts.append(matrix.count)
        if not ratios:
            return 1.0
        order = np.argsort(ratios)
        half = np.searchsorted(np.cumsum(np.array(counts)[order]), sum(counts) / 2)
        return float(ratios[order[half]])

    def _sampled(self) -> list[tuple[MatrixWork, np.ndarray, FactoredForms]]:
        total = sum(m.count for m in self.matrices.values())
        samples = []
        for matrix in self.matrices.values():
            if matrix.scheme.bits is not None:
                continue
            rows = self._source.load(matrix.name).reshape(matrix.info.shape[0], -1)
            most = max(_LEAST, matrix.count * _SAMPLE // max(1, total))
            count = max(1, min(len(rows), most // max(1, rows.shape[1])))
            picks = np.arange(count) * len(rows) // count
            sampled = self.metric(matrix.name).sample(picks)
            samples.append((matrix, np.array(rows[picks], dtype=np.float32), sampled))
        return samples


def estimated(rounded: Rounded, effort: Effort) -> float:
    """Bytes that a rounded matrix takes, from its tables."""
    return estimate_matrix(
        rounded.indices,
        trellis=rounded.trellis,
        row_exponents=rounded.row_exponents,
        column_exponents=rounded.column_exponents,
        effort=effort,
    )
