"""All matrices of a model at one dial: rounded by their curvature, several at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

import numpy as np

from taut.analysis import Curvature
from taut.calibration.findings import Findings, dial_text
from taut.calibration.gridded import gridded
from taut.calibration.index_shelf import IndexShelf
from taut.calibration.matrix_forms import MatrixForms, Sample, samples_of
from taut.calibration.matrix_work import estimated, read_matrices, round_rows
from taut.calibration.options import Options
from taut.calibration.own_bits import rounded_to_bits
from taut.calibration.twins import twins_of
from taut.coding import Effort
from taut.encoding.data_free_rounder import sparse
from taut.io import Source, TensorInfo
from taut.machine import trim_heap
from taut.machine.workers import LocalWorkers, Workers
from taut.progress import Progress
from taut.scheme import Scheme
from taut.transform import FactoredForms, Grid, Rounded
from taut.transform.basis import Directions, find_directions
from taut.transform.rounding import LAMBDA

MOST_BITS = 40.0  # a value: at their dial every matrix has the finest steps that it can have
_ALONE = 1 << 23  # weights of a matrix that has all threads, and the memory, for itself

Way = Callable[[float], dict[str, Rounded]]


@dataclass(eq=False)
class Rounder:
    """Rounds the matrices of a model; holds the results of the last dial.

    As a callable it is what `fill` quantises with. `gains` multiply the steps of single tensors;
    what is rounded goes into `record`, or comes from there. `workers` round, several matrices at a
    time, to the same values; None are the threads of this process. Indices for which there is no
    room in memory lie in temporary files of `scratch`.
    """

    source: Source
    schemes: Mapping[str, Scheme]
    curvature: Mapping[str, Curvature]
    _: KW_ONLY
    gains: Mapping[str, float] = field(default_factory=dict)
    effort: Effort = "max"
    threads: int = 1
    options: Options = field(default_factory=Options)
    record: Findings = field(default_factory=Findings)
    workers: Workers | None = None
    scratch: Path | None = None

    def __post_init__(self) -> None:
        source, schemes = self.source, self.schemes
        self._way: Way | None = None
        self._workers = self.workers or LocalWorkers(max(1, self.threads))
        self.dial: float | None = None  # of the last turn
        self.found: dict[str, Rounded] = {}
        self._shelf = IndexShelf(self.scratch)
        self.grids = gridded(source, schemes, self.curvature, self.options)
        rounded = [
            info
            for info in source.infos
            if info.name not in source.aliases and schemes[info.name].kind == "rd"
        ]
        # The file holds equal tensors once: they must come out alike.
        self.twins = twins_of(source, rounded, schemes)
        self.matrices = read_matrices(
            source, schemes, rounded, self.twins, self.curvature, self.gains
        )
        self._forms = MatrixForms(self.matrices, self.options)
        trim_heap()  # every matrix was factored once
        self._samples: tuple[Sample, ...] | None = None
        self._directions: dict[str, Directions | None] = {}

    @property
    def damping(self) -> float:
        """What is added to the forms' diagonals, relative to their mean."""
        return self._forms.damping

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
        matrix = self.matrices[name]
        whole = matrix.info.shape[0]
        if info.shape[0] == whole:
            return self.found[name]
        begin, each = (whole - info.shape[0]) // 2, matrix.height // whole
        part = slice(begin * each, (begin + info.shape[0]) * each)
        found = self.found[name]
        exponents = None if found.row_exponents is None else found.row_exponents[part]
        return replace(found, indices=found.indices[part], row_exponents=exponents)

    def decoded(self, name: str) -> np.ndarray:
        """What a rounded matrix, or one that equals it, decodes to: shape (rows, columns)."""
        return self.found[self.twins.get(name, name)].decoded

    def turn(self, dial: float, progress: Progress | None = None) -> None:
        """Round every matrix at `dial`; those with bits of their own keep them."""
        if dial == self.dial:
            return
        again = f"{self._turn(dial)},again"
        self.record.begin({self._turn(dial), self._turn(None), again})
        self.round_own(progress)
        dialled = [n for n, m in self.matrices.items() if m.scheme.bits is None]
        if (anew := self._way) is not None:
            self.keep(self.record.matrices(again, lambda: anew(dial)))
        else:
            self.found |= self.rounded(dialled, dial, progress=progress)
        self.dial = dial

    def follow(self, way: Way | None) -> None:
        """From now on round the matrices under the dial in this way; None: each by itself."""
        if way is not self._way:
            self._way, self.dial = way, None

    @property
    def follows(self) -> bool:
        """Whether matrices are rounded in some other way than each by itself."""
        return self._way is not None

    def round_own(self, progress: Progress | None = None) -> None:
        """Round the matrices that have bits of their own, unless they are."""
        own = [n for n, m in self.matrices.items() if m.scheme.bits is not None]
        missing = [name for name in own if name not in self.found]
        self.found |= self._all(missing, self._at_own_bits, progress)

    def rounded(
        self,
        names: Sequence[str],
        dial: float,
        curvature: Mapping[str, Curvature] | None = None,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Rounded]:
        """Round these at a dial, the largest first; some by another curvature than their own.

        Where other curvature is given, none of them is a piece of the record.
        """

        def one(name: str) -> Rounded:
            if curvature is not None:
                other = self._forms.under(curvature.get(name)) or self._forms.of(name)
                return self._round(name, self.source.load(name), other, dial)
            return self.record.matrix(
                name,
                self._turn(dial),
                lambda: self._round(name, self.source.load(name), self._forms.of(name), dial),
            )

        return self._all(names, one, progress)

    def _all(
        self, names: Sequence[str], one: Callable[[str], Rounded], progress: Progress | None
    ) -> dict[str, Rounded]:
        """What `one` makes of each of these, the largest first."""
        done, total = 0, sum(self.matrices[name].count for name in names)
        others = [one for name, one in self.found.items() if name not in names]
        found: dict[str, Rounded] = {}
        for name, rounded in self._each(names, one):
            found |= self._shelf.kept({name: rounded}, [*others, *found.values()])
            done += self.matrices[name].count
            if progress:
                progress("quantize", done, total)
        return found

    def _each(
        self, names: Sequence[str], one: Callable[[str], Rounded]
    ) -> Iterator[tuple[str, Rounded]]:
        """Large matrices by themselves, each on all threads; then the others, several at a time."""
        names = sorted(names, key=lambda name: -self.matrices[name].count)
        large = [name for name in names if self._alone(name)]
        yield from ((name, one(name)) for name in large)
        rest = names[len(large) :]
        with ThreadPoolExecutor(self._workers.width) as pool:
            yield from zip(rest, pool.map(one, rest), strict=True)

    def _alone(self, name: str) -> bool:
        return self.matrices[name].count >= _ALONE and not self._workers.elsewhere

    def _turn(self, dial: float | None) -> str:
        """What a rounded matrix hangs on, beside what it is; None: it has bits of its own."""
        return f"{'own' if dial is None else dial_text(dial)},{self.lam:g}"

    def estimate(self, dial: float) -> float:
        """Bytes of all matrices under the dial, guessed from some rows without feedback."""
        return sum(self.estimates(dial).values())

    def estimates(self, dial: float) -> dict[str, float]:
        """The same for each matrix, by name."""
        if self._samples is None:
            self._samples = samples_of(self.source, self.matrices, self._forms, self._directions_of)
        found: dict[str, float] = {}
        options = replace(self.options, feedback=False)
        for one in self._samples:
            rounded = round_rows(
                one.matrix, one.rows, one.metric, dial, options, self.threads, one.directions
            )
            share = one.matrix.count / one.rows.size
            taken = estimated(replace(rounded, basis=None), self.effort) * share
            of_basis = 0.0 if rounded.basis is None else estimated(rounded.basis, self.effort)
            found[one.matrix.name] = taken + of_basis
        return found

    def adopt(self, found: dict[str, Rounded], dial: float) -> None:
        """Take matrices that were rounded elsewhere for those of a turn of the dial."""
        self.round_own()
        self.keep(found)
        self.dial = dial

    def keep(self, found: Mapping[str, Rounded]) -> dict[str, Rounded]:
        """Hold these from now on; gives them as they are held: in memory, or in a file."""
        others = [one for name, one in self.found.items() if name not in found]
        kept = self._shelf.kept(found, others)
        self.found |= kept
        return kept

    def size_of(self, found: dict[str, Rounded]) -> float:
        """Bytes of some matrices as rounded, from their tables."""
        return sum(estimated(one, self.effort) for one in found.values())

    @property
    def lam(self) -> float:
        """Squared levels per bit; setting it forgets what was rounded."""
        return LAMBDA if self.options.lam is None else self.options.lam

    @lam.setter
    def lam(self, lam: float) -> None:
        if lam != self.lam:
            self.options = replace(self.options, lam=lam)
            self.forget()

    def forget(self) -> None:
        """Forget what was rounded."""
        self.dial, self.found = None, {}

    @property
    def nbytes(self) -> float:
        """Bytes of all matrices as rounded, from their tables."""
        return self.size_of(self.found)

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
        return float(
            2.0 ** -min(bits, MOST_BITS) * math.sqrt(2 * math.pi * math.e) / self._forms.typical
        )

    def _round(self, name: str, values: np.ndarray, metric: FactoredForms, dial: float) -> Rounded:
        """One matrix, of whatever values, at a dial."""
        matrix = self.matrices[name]
        rows = values.reshape(matrix.height, -1)
        apart = metric.rows.diagonal and not metric.parts and not self._workers.elsewhere
        threads = self.threads if apart or self._alone(name) else 1
        directions = self._directions_of(name, rows, metric)
        return self._workers.run(
            round_rows, matrix, rows, metric, dial, self.options, threads, directions
        )

    def _directions_of(
        self, name: str, rows: np.ndarray, metric: FactoredForms
    ) -> Directions | None:
        """Those of a matrix, found once; None where it is rounded as it is.

        What is to decode fast has none: a sum of many rows takes its time.
        """
        matrix = self.matrices[name]
        if self.effort != "max" or not self.options.basis or sparse(matrix.scheme):
            return None
        if name not in self._directions:
            self._directions[name] = find_directions(rows, metric)
        return self._directions[name]

    def _at_own_bits(self, name: str) -> Rounded:
        """One matrix at the dial where it alone takes its scheme's bits per value."""
        return self.record.matrix(name, self._turn(None), lambda: self._at_bits(name))

    def _at_bits(self, name: str) -> Rounded:
        matrix, values, metric = self.matrices[name], self.source.load(name), self._forms.of(name)
        first = self.first_dial(matrix.scheme.bits or 0.0)
        return rounded_to_bits(
            matrix, lambda dial: self._round(name, values, metric, dial), first, self.effort
        )
