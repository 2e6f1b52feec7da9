"""From sums over a run to the curvature of each weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from taut.analysis._gram import Room
from taut.analysis._terms import Forms, Layer, added
from taut.analysis._tracked import Tracked
from taut.analysis.metric import Curvature
from taut.analysis.submatrices import Submatrix, Term, combined, outline, unreached

Keep: TypeAlias = Callable[[list[Tracked], list[Curvature]], list[Curvature]]

_NAMED: Final = 16  # matrices in a note
_IDLE: Final = "the loss does not depend on it"
_CUT_OFF: Final = "it is used, but no gradient comes back (detach, argmax): nothing is known of it"


@dataclass
class Results:
    """The curvature of weights, found one after the other; `biases` names parameters by their id.

    Sums that a weight was given are let go of once its curvature is found.
    """

    tracked: list[Tracked]
    samples: int
    passes: int
    biases: dict[int, str]
    widest: int
    room: Room
    found: dict[int, Curvature] = field(default_factory=dict)

    def settle(self, owners: Iterable[Tracked], keep: Keep | None = None) -> None:
        """Find the curvature of these weights, of which all uses have been seen.

        `keep` puts it where it stays; without, forms go where there is room for them.
        """
        new = [one for one in owners if id(one) not in self.found]
        if keep is not None:
            self.take(new, keep(new, [_curvature(one, self) for one in new]))
            return
        for one in new:
            self.take([one], [self._kept(_curvature(one, self))])
        self.room.settle()

    def take(self, owners: Sequence[Tracked], found: Sequence[Curvature]) -> None:
        """Take the curvature of these weights as found, and let go of what they were given."""
        for one, curvature in zip(owners, found, strict=True):
            self.found[id(one)] = curvature
            one.layers.clear()
            one.whole = None

    def _kept(self, curvature: Curvature) -> Curvature:
        """The same, its forms where there is room for them."""
        moved = self.room.moved
        parts = tuple(
            replace(part, rows=moved(part.rows), columns=moved(part.columns))
            for part in curvature.parts
        )
        rows, columns = moved(curvature.rows), moved(curvature.columns)
        return replace(curvature, rows=rows, columns=columns, parts=parts)

    def all(self) -> dict[str, Curvature]:
        """The curvature of each weight by its names, their stages counted from 0."""
        for one in self.tracked:
            one.idle = one.stage is None
        self.settle(self.tracked)
        used = sorted((one for one in self.tracked if not one.idle), key=lambda one: one.stage or 0)
        order = [*used, *(one for one in self.tracked if one.idle)]
        stages = {id(one): number for number, one in enumerate(order)}
        found: dict[str, Curvature] = {}
        for one in self.tracked:
            curvature = replace(self.found[id(one)], stage=stages[id(one)])
            found |= dict.fromkeys(one.names, curvature)
        return found


def _curvature(one: Tracked, of: Results) -> Curvature:
    layers, samples = one.used(), of.samples
    terms = _terms(one, layers, samples, of.passes)
    if not terms:
        return _of_nothing(one, samples)
    kinds = list(dict.fromkeys(kind for kind, _ in terms))
    parts, metric = _metric([term for _, term in terms], one)
    correction = _Correction.of(layers, of.biases) if not parts else _Correction()
    positions = sum(layer.positions for layer in layers)
    swapped = all(layer.swapped for layer in layers) if parts else correction.swapped
    return Curvature(
        rows=metric.rows,
        columns=metric.columns,
        mean_input=correction.mean,
        bias=correction.bias,
        positions=positions,
        samples=samples,
        kind="+".join(kinds),
        stage=one.stage or 0,
        notes=(*_doubts(one, kinds), *_notes(metric, parts, kinds, positions, of.widest)),
        swapped=swapped,
        parts=parts,
    )


def _metric(terms: list[Term], one: Tracked) -> tuple[tuple[Submatrix, ...], Forms]:
    """The matrices that the weight falls into, none if it is one, and the metric of all."""
    if all(term.rows is None and term.columns is None for term in terms):
        return (), reduce(added, (term.forms for term in terms))
    height = one.height
    parts = combined(terms, height, one.weight.numel() // height)
    if len(parts) == 1:
        return (), Forms(parts[0].rows, parts[0].columns)
    return parts, outline(parts, height)


def _terms(one: Tracked, layers: list[Layer], samples: int, passes: int) -> list[tuple[str, Term]]:
    """The metric of each use, by the kind of what it was found from."""
    terms = [
        (layer.kind, Term.of(layer.block, layer.finish(samples, passes), layer.positions))
        for layer in layers
    ]
    if one.whole is not None and np.any(one.whole.columns.values):
        form = one.whole.finish(samples, passes)
        if len(form.rows) == one.height:  # else it was seen before it was known what its rows are
            terms.append(("gradient", Term(form, 0)))
    return terms


def _of_nothing(one: Tracked, samples: int) -> Curvature:
    """The curvature of a weight that the loss does not depend on."""
    m, n = one.height, one.count // one.height
    return Curvature(
        rows=np.zeros(m),
        columns=np.zeros(n),
        mean_input=None,
        bias=None,
        positions=0,
        samples=samples,
        kind="none",
        stage=one.stage or 0,
        notes=(*_doubts(one, []), _IDLE if one.idle else _CUT_OFF),
    )


@dataclass(frozen=True)
class _Correction:
    """What a bias can take up: the mean input of the one use that has a mean, and the bias."""

    mean: NDArray[np.float64] | None = None
    bias: str | None = None
    swapped: bool = False

    @classmethod
    def of(cls, layers: list[Layer], biases: dict[int, str]) -> _Correction:
        """Empty where several uses have a mean, or none has."""
        means = [layer for layer in layers if layer.mean is not None]
        if len(means) != 1:
            return cls()
        (layer,) = means
        bias = biases.get(next(iter(layer.biases))) if len(layer.biases) == 1 else None
        return cls(layer.mean, bias, layer.swapped)


def _doubts(one: Tracked, kinds: list[str]) -> list[str]:
    """What makes a curvature less sure than others."""
    notes = []
    if "gradient" in kinds:
        notes.append("used in a way that is not followed: from gradients of the whole matrix")
    if one.changed:
        notes.append("its input was changed in place after its use: its columns may be off")
    return notes


def _notes(
    metric: Forms, parts: Sequence[Submatrix], kinds: list[str], positions: int, widest: int
) -> list[str]:
    notes = [] if "embedding" in kinds else _dead(metric)
    if kinds == ["embedding"] and (unread := int((metric.rows == 0).sum())):
        notes.append(f"{unread} of {len(metric.rows)} rows were never read")
    wide = metric.columns.shape[-1]
    if kinds[0] in ("linear", "conv") and metric.columns.ndim > 1 and positions < wide:
        notes.append(f"fewer positions than inputs: {positions} for {wide}")
    if not parts and "embedding" not in kinds:
        notes += _diagonal(metric, widest)
    return [*notes, *_missed(parts)]


def _dead(metric: Forms) -> list[str]:
    """How many outputs take no gradient, and how many inputs are never given."""
    notes = []
    for what, side in (
        ("outputs take no gradient", metric.rows),
        ("inputs are always zero", metric.columns),
    ):
        diagonal = side if side.ndim == 1 else np.diagonal(side, axis1=-2, axis2=-1)
        if dead := int((diagonal == 0).sum()):
            notes.append(f"{dead} of {diagonal.size} {what}")
    return notes


def _diagonal(metric: Forms, widest: int) -> list[str]:
    """Which sides have no full form."""
    sides = {"outputs": metric.rows, "inputs": metric.columns}
    return [
        f"{len(side)} {what} are too many for a full form (at most {widest})"
        for what, side in sides.items()
        if side.ndim == 1 and len(side) > widest
    ]


def _missed(parts: Sequence[Submatrix]) -> list[str]:
    """Which matrices nothing was given to."""
    missed = unreached(parts)
    if not missed:
        return []
    which = ", ".join(map(str, missed[:_NAMED]))
    more = f" and {len(missed) - _NAMED} more" if len(missed) > _NAMED else ""
    return [
        f"matrices {which}{more} (of {len(parts)}, counted from 0) got no input, as experts that "
        "nothing is routed to: they have the mean of the others' metrics; more data may reach them"
    ]
