"""Size against score: the points of a trade-off, which of them are worth having, and the knee.

A point is worth having (it is in the Pareto set) if no other is at most as large and at least as
good, and better in one of the two. The knee is the "Kneedle" of Satopää, Albrecht, Irwin and
Raghavan (2011, "Finding a 'kneedle' in a haystack"): with x = log size and y = score over the
Pareto set, each scaled to [0, 1], it is the point farthest above the chord from the smallest to
the largest, that is, with the largest y - x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from taut.errors import ArgumentError
from taut.pictured import Pictured
from taut.planning.max_drop import parse_drop
from taut.scoring.results import JsonValue, Metric, plain

_FLAT: Final = 1e-9  # a distance to the chord that is none


@dataclass(frozen=True, repr=False)
class Point(Pictured):
    """One file of the model: `size` in bytes on disk, and its metrics, of which the first decides.

    `kind` says how it came to be: the "dial" (`asked` bits a weight), a runtime's "grid", or the
    "original". `bits` are per weight of the whole file, `ratio` is original/compressed. `drop` is
    how much worse than the original it is, in the metric's own unit; negative if it is better.
    """

    name: str
    kind: Literal["original", "dial", "grid"]
    size: int
    bits: float
    ratio: float
    metrics: tuple[Metric, ...]
    drop: float = 0.0
    asked: float | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> Metric:
        """The metric that decides."""
        return self.metrics[0]

    @property
    def goodness(self) -> float:
        """The score, turned so that more is better."""
        value = self.score.value
        return value if self.score.better == "higher" else -value


@dataclass(frozen=True)
class Missed:
    """A point that was asked for and is none, and why."""

    name: str
    reason: str


@dataclass(frozen=True, repr=False)
class Frontier(Pictured):
    """The trade-off of one model, points by size; `pareto` and `knee` are names of points.

    `measure` says in words what the score is. `knee` is None where the curve has none.
    """

    model: str
    measure: str
    original: Point
    points: tuple[Point, ...]
    pareto: tuple[str, ...]
    knee: str | None
    missed: tuple[Missed, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Point:
        """The point of this name."""
        for point in (*self.points, self.original):
            if point.name == name:
                return point
        known = ", ".join(point.name for point in self.points)
        raise ArgumentError(f'frontier: has no point "{name}"; it has {known}')

    def smallest(self, max_drop: float | str) -> Point | None:
        """The smallest point that loses at most `max_drop`: "0.5%" of the score, or its own units.

        None where no point does; of equal sizes the better one.

        Raises:
            ArgumentError: `max_drop` is neither, or is negative.
        """
        most = parse_drop(max_drop).most(self.original.score.value)
        fit = [point for point in self.points if point.drop <= most]
        return min(fit, key=lambda point: (point.size, point.drop), default=None)

    def to_json(self) -> dict[str, JsonValue]:
        """The trade-off as JSON values; the keys are part of the interface."""
        tree = plain(self)
        assert isinstance(tree, dict)
        return tree


def frontier_of(
    model: str,
    measure: str,
    original: Point,
    points: Sequence[Point],
    missed: Sequence[Missed] = (),
    notes: Sequence[str] = (),
) -> Frontier:
    """The trade-off that these points are: sorted by size, with the Pareto set and the knee."""
    ordered = tuple(sorted(points, key=lambda point: (point.size, -point.goodness, point.name)))
    worth = pareto_set(ordered)
    knee = knee_of(worth)
    return Frontier(
        model=model,
        measure=measure,
        original=original,
        points=ordered,
        pareto=tuple(point.name for point in worth),
        knee=None if knee is None else knee.name,
        missed=tuple(missed),
        notes=tuple(notes),
    )


def pareto_set(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points that no other beats, smallest first; of equal ones the first given.

    >>> def point(name, size, score):
    ...     return Point(name, "dial", size, 0, 0, (Metric("accuracy", score),))
    >>> worth = pareto_set([point("a", 10, 0.5), point("b", 20, 0.4), point("c", 30, 0.9)])
    >>> [one.name for one in worth]
    ['a', 'c']
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.size, -point.goodness)):
        if not kept or point.goodness > kept[-1].goodness:
            kept.append(point)
    return tuple(kept)


def knee_of(worth: Sequence[Point]) -> Point | None:
    """The knee of a Pareto set that goes by size; where one point is all there is, that point.

    None for two points, and where no point lies above the chord between the ends: then each byte
    more buys as much as the one before, or more.
    """
    if len(worth) < 3:
        return worth[0] if len(worth) == 1 else None
    low, high = math.log(worth[0].size), math.log(worth[-1].size)
    worst, best = worth[0].goodness, worth[-1].goodness

    def above(point: Point) -> float:
        x = (math.log(point.size) - low) / (high - low)
        return (point.goodness - worst) / (best - worst) - x

    knee = max(worth, key=above)
    return knee if above(knee) > _FLAT else None


def check_drop(max_drop: float | str | None) -> None:
    """Whether it is what `Frontier.smallest` takes; raises ArgumentError if not."""
    if max_drop is not None:
        parse_drop(max_drop)
