"""Help where integers cost too much: other ranges, and then the worst layers left in floats.

A layer's own error is what the outputs lose where it alone has the form. Those that lose most are
left out, twice as many each time until the bound holds, and then as few as will do. Of static
integers the activations of a layer are left first, while its weight stays int8, and its weight only
where weights alone are beyond the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from taut.errors import VerifyError
from taut.exporting.held_against import is_another
from taut.exporting.onnx.graph_weights import listed
from taut.exporting.onnx.onnx_form import USUAL_ERROR, OnnxForm, Placed
from taut.exporting.result import Check

_OTHERS: Final = ("percentile", "minmax")  # ranges tried where those of least squares miss too much
_RESTORED: Final = 8  # of the weights left out, the largest, which are tried once more
_TRIALS: Final = 32  # of layers by themselves; a trial takes several where there are more


@dataclass(frozen=True)
class Left:
    """Weights that stay as they are, and those that are integers whose activations stay float."""

    floats: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Attempt:
    """A graph written in some form, but for what was left out."""

    form: OnnxForm
    left: Left
    placed: Placed
    check: Check

    @property
    def error(self) -> float:
        """The largest error of an output's value, as a part of the output's range."""
        return self.check.of_range or 0.0


Write = Callable[[OnnxForm, Left, bool], Attempt]
"""Writes the graph in a form but for what is left; True: on all batches that a check takes."""


def within(first: Attempt, write: Write) -> tuple[Attempt, list[str]]:
    """An attempt that is within its form's bound, the last one written, and how it was had.

    A form without a bound has the usual one where its answers would be refused. Where a bound that
    nobody asked for cannot be had, that is a note.

    Raises:
        VerifyError: the bound was asked for, and even one layer is beyond it.
    """
    bound = first.form.bound
    if bound is None and first.form.weights in ("int8", "int4") and is_another(first.check):
        bound = USUAL_ERROR
    if bound is None or _passes(first, bound):
        return first, []
    search = _Search(write, list(first.placed.held), first.placed.held, bound)
    best = search.best(first)
    if best is not None:
        written = write(best.form, best.left, True)
        return written, [search.told(written)]
    if first.form.max_error is not None:
        raise VerifyError(
            f"max_error (--max-error): the largest error is {', '.join(search.tried)} of the "
            f"outputs' range, and no layer of the graph stays within {bound:g}; give a larger "
            "bound, or another form of weights"
        )
    return write(first.form, Left(), True), [
        f"the largest error is {first.error:.2g} of the outputs' range, above {bound:g}, and "
        "leaving the worst layers float does not help: judge it by a score"
    ]


def _passes(attempt: Attempt, bound: float) -> bool:
    return attempt.error <= bound and not is_another(attempt.check)


@dataclass
class _Search:
    """Looks for the attempt that leaves least; `tried` are errors of whole forms, in words."""

    write: Write
    weights: list[str]
    sizes: Mapping[str, int]
    bound: float
    tried: list[str] = field(default_factory=list)

    def best(self, first: Attempt) -> Attempt | None:
        """The attempt that leaves as little as the bound takes; None where it takes nothing."""
        form = self._form(first)
        if not form.calibrated:
            return self._left_out(form, Left())
        if form.ranges != first.form.ranges:
            found = self.write(form, Left(), True)
            if _passes(found, self.bound):
                return found
        loose = frozenset(self.weights)
        weighed = self.write(form, Left(loose=loose), True)
        if not _passes(weighed, self.bound):
            weighed_less = self._left_out(form, Left(loose=loose))
            if weighed_less is None:
                return None
            weighed = weighed_less
        return self._loosened(form, weighed.left.floats)

    def _form(self, first: Attempt) -> OnnxForm:
        """The form with the ranges that miss least."""
        form, error = first.form, first.error
        words = f"{form.ranges} ranges " if form.calibrated else ""
        self.tried.append(f"{words}{error:.2g}")
        for ranges in _OTHERS if form.calibrated and form.ranges == "mse" else ():
            found = self.write(replace(first.form, ranges=ranges), Left(), True)
            self.tried.append(f"{ranges} {found.error:.2g}")
            if found.error < error:
                form, error = found.form, found.error
        return form

    def _left_out(self, form: OnnxForm, left: Left) -> Attempt | None:
        """As few weights as floats as the bound takes."""
        ranked = self._ranked(form, lambda some: replace(left, floats=some))
        found = self._fewest(ranked, form, lambda some: replace(left, floats=some))
        if not found.placed.held:
            return None
        large = sorted(found.left.floats, key=lambda name: (-self.sizes[name], name))
        for name in large[:_RESTORED]:
            again = self.write(form, replace(found.left, floats=found.left.floats - {name}), True)
            found = again if _passes(again, self.bound) else found
        return found

    def _loosened(self, form: OnnxForm, floats: frozenset[str]) -> Attempt:
        """As few activations as floats as the bound takes, where those weights are floats."""
        make = lambda some: Left(floats, some)  # noqa: E731
        return self._fewest(self._ranked(form, make), form, make)

    def _ranked(self, form: OnnxForm, make: Callable[[frozenset[str]], Left]) -> list[list[str]]:
        """Groups of neighbouring weights, those first that cost most while all others are left."""
        size = -(-len(self.weights) // _TRIALS)
        groups = [self.weights[at : at + size] for at in range(0, len(self.weights), size)]
        whole = frozenset(self.weights)
        errors = [self.write(form, make(whole - set(group)), False).error for group in groups]
        order = sorted(range(len(groups)), key=lambda at: -errors[at])
        return [groups[at] for at in order]

    def _fewest(
        self, ranked: list[list[str]], form: OnnxForm, make: Callable[[frozenset[str]], Left]
    ) -> Attempt:
        """The attempt that leaves as few of the ranked as pass; with all, if it must."""
        known: dict[int, Attempt] = {}

        def leaving(count: int) -> Attempt:
            if count not in known:
                some = frozenset(name for group in ranked[:count] for name in group)
                known[count] = self.write(form, make(some), True)
            return known[count]

        low, high = 0, 1
        while high < len(ranked) and not _passes(leaving(high), self.bound):
            low, high = high, 2 * high
        high = min(high, len(ranked))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _passes(leaving(middle), self.bound) else (middle, high)
        return leaving(high)

    def told(self, found: Attempt) -> str:
        """What was done, in words."""
        ranges = f", {found.form.ranges} ranges" if found.form.calibrated else ""
        words = [
            f"largest error, of the outputs' range: {', '.join(self.tried)}; made "
            f"{found.error:.2g} to be within {self.bound:g}{ranges}"
        ]
        floats = [name for name in self.weights if name in found.left.floats]
        loose = [n for n in self.weights if n in found.left.loose and n not in found.left.floats]
        count = len(self.weights)
        if floats:
            words.append(f"{len(floats)} of {count} weights stay float: {listed(floats)}")
        if loose:
            words.append(f"{len(loose)} of {count} layers take float activations: {listed(loose)}")
        return "; ".join(words)
