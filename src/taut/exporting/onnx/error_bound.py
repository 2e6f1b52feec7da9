"""Help where integers cost too much: other ranges, and then the worst layers left in floats.

Each layer's own error is what the outputs lose where it alone has the form; the layers that lose
most are left out, twice as many each time until the bound holds, and then as few as will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from taut.errors import VerifyError
from taut.exporting.onnx.graph_weights import listed
from taut.exporting.onnx.onnx_form import OnnxForm, Placed
from taut.exporting.result import Check

_OTHERS: Final = ("percentile", "minmax")  # ranges tried where those of least squares miss too much
_TRIALS: Final = 32  # of layers by themselves; a trial takes several where there are more


@dataclass(frozen=True)
class Attempt:
    """A graph written in some form, weights named in `without` left as they were."""

    form: OnnxForm
    without: frozenset[str]
    placed: Placed
    check: Check

    @property
    def error(self) -> float:
        """The largest error of an output's value, as a part of the output's range."""
        return self.check.of_range or 0.0


Write = Callable[[OnnxForm, frozenset[str], bool], Attempt]
"""Writes the graph in a form without some weights; True: on all batches that a check takes."""


def within(first: Attempt, write: Write, bound: float) -> tuple[Attempt, list[str]]:
    """An attempt whose error is within a bound, and notes that say how it was had.

    Where the bound is the usual one and cannot be had, that is a note.

    Raises:
        VerifyError: the bound was asked for, and even one layer is beyond it.
    """
    if first.error <= bound:
        return first, []
    weights = list(first.placed.held)
    told = [f"{first.form.ranges} ranges {first.error:.2g}" if first.form.calibrated
            else f"{first.error:.2g}"]  # fmt: skip
    best = first
    for ranges in _OTHERS if first.form.calibrated and first.form.ranges == "mse" else ():
        found = write(replace(first.form, ranges=ranges), frozenset(), True)
        told.append(f"{ranges} {found.error:.2g}")
        best = min(best, found, key=lambda one: one.error)
        if best.error <= bound:
            break
    if best.error > bound:
        best = _fewer(best, weights, write, bound)
    left = [name for name in weights if name in best.without]
    if not best.placed.held:
        if first.form.max_error is not None:
            raise VerifyError(
                f"max_error (--max-error): the largest error is {', '.join(told)} of the outputs' "
                f"range, and no layer of the graph stays within {bound:g}; give a larger bound, or "
                "another form of weights"
            )
        again = write(first.form, frozenset(), True)
        return again, [
            f"the largest error is {first.error:.2g} of the outputs' range, above {bound:g}, and "
            "leaving the worst layers float does not help: judge it by a score"
        ]
    last = write(best.form, best.without, True)
    stay = f"; {len(left)} of {len(weights)} weights stay float: {listed(left)}" if left else ""
    return last, [
        f"largest error, of the outputs' range: {', '.join(told)}; made {last.error:.2g} to be "
        f"within {bound:g}, with {last.form.ranges} ranges{stay}"
        if first.form.calibrated
        else f"largest error, of the outputs' range: {told[0]}; made {last.error:.2g} to be within "
        f"{bound:g}{stay}"
    ]


def _fewer(start: Attempt, weights: list[str], write: Write, bound: float) -> Attempt:
    """An attempt that leaves as few of the worst weights out as the bound takes; all if it must."""
    ranked = _ranked(start, weights, write)
    tried: dict[int, Attempt] = {0: start}

    def left_out(count: int) -> Attempt:
        if count not in tried:
            without = frozenset(name for group in ranked[:count] for name in group)
            tried[count] = write(start.form, without, True)
        return tried[count]

    low, high = 0, 1
    while high < len(ranked) and left_out(high).error > bound:
        low, high = high, 2 * high
    high = min(high, len(ranked))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if left_out(middle).error <= bound else (middle, high)
    return left_out(high)


def _ranked(start: Attempt, weights: list[str], write: Write) -> list[list[str]]:
    """Groups of neighbouring weights, those first that cost the outputs most by themselves."""
    size = -(-len(weights) // _TRIALS)
    groups = [weights[at : at + size] for at in range(0, len(weights), size)]
    errors = []
    for group in groups:
        found = write(start.form, frozenset(weights) - frozenset(group), False)
        errors.append(found.check.rel_mse)
    order = sorted(range(len(groups)), key=lambda at: -errors[at])
    return [groups[at] for at in order]
