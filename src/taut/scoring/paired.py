"""Two models on the same samples: where they differ, and whether that could be chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from taut.errors import ArgumentError
from taut.scoring.checked import Floats, Integers
from taut.scoring.classes import FEWEST, averages, joined, unique_cells
from taut.scoring.extra import need_eval
from taut.scoring.intervals import counts, interval, resamples
from taut.scoring.metrics import drawn, names_of, point
from taut.scoring.outcome import Classified, Likely, Outcome, Valued
from taut.scoring.results import Paired

_Entries: TypeAlias = "Integers | Floats | tuple[str, ...]"


def compare_outcomes(
    new: Outcome, old: Outcome, *, seed: int = 0, where: str = "score"
) -> tuple[Paired, ...]:
    """What changed from the old model to the new one, metric by metric, the deciding one first.

    Intervals are of the difference, over resamples of the samples that both were judged on. Right
    and wrong classes are held against each other by McNemar's exact test (Psychometrika 12, 1947).

    Raises:
        ArgumentError: the two are not about the same samples; says how they differ.
    """
    check_same(new, old, where)
    found: tuple[Paired, ...] = ()
    if isinstance(new.samples, Classified) and isinstance(old.samples, Classified):
        found = _classes(new.samples, old.samples, seed)
    elif isinstance(new.samples, Valued | Likely) and isinstance(old.samples, Valued | Likely):
        found = _numbers(new.samples, old.samples, seed)
    taken = {one.metric for one in found}
    own = tuple(
        Paired(f"{n} (own)" if n in taken else n, value - old.numbers[n], None, None)
        for n, value in new.numbers.items()
        if n in old.numbers
    )
    return (*own, *found) if new.own_first else (*found, *own)


def check_same(new: Outcome, old: Outcome, where: str) -> None:
    """Raise `ArgumentError` unless both outcomes are of the same kind, about the same samples."""
    one, other = new.samples, old.samples
    if type(one) is not type(other) or one is None or other is None:
        if one is not other:
            raise ArgumentError(f"{where}: gave another kind of values for the original")
        return
    if len(one) != len(other):
        raise ArgumentError(
            f"{where}: gave {len(one):,} samples, and {len(other):,} of the original; it must "
            "judge both on the same"
        )
    for name in ("labels", "targets", "tokens", "bytes", "classes"):
        _check_entries(name, getattr(one, name, None), getattr(other, name, None), where)


def _check_entries(name: str, mine: _Entries | None, theirs: _Entries | None, where: str) -> None:
    """Raise `ArgumentError` unless what both outcomes say of the samples is the same."""
    if mine is None or theirs is None:
        if mine is not theirs:
            raise ArgumentError(f"{where}: gave {name} of one model only")
        return
    if np.array_equal(mine, theirs):
        return
    if name == "classes":
        raise ArgumentError(f"{where}: the classes are not the original's")
    at = int((np.asarray(mine) != np.asarray(theirs)).argmax())
    raise ArgumentError(
        f"{where}: {name} are not the original's (at sample {at}: {mine[at]}, then "
        f"{theirs[at]}); give the same samples each time, in the same order"
    )


def _classes(new: Classified, old: Classified, seed: int) -> tuple[Paired, ...]:
    right, before = new.predictions == new.labels, old.predictions == old.labels
    gained, lost = int((right & ~before).sum()), int((before & ~right).sum())
    differences, apart = _averages(new, old, seed)
    low, high = interval(apart["accuracy"]) if "accuracy" in apart else (None, None)
    accuracy = Paired(
        metric="accuracy",
        difference=(gained - lost) / len(new),
        low=low,
        high=high,
        agreement=float((new.predictions == old.predictions).mean()),
        gained=gained,
        lost=lost,
        p_value=_sign_test(gained, lost),
    )
    enough = len(new) >= FEWEST * len(new.classes)
    low, high = interval(apart["f1_macro"]) if enough and "f1_macro" in apart else (None, None)
    return accuracy, Paired("f1_macro", differences["f1_macro"], low, high)


def _averages(
    new: Classified, old: Classified, seed: int
) -> tuple[Mapping[str, float], Mapping[str, Floats]]:
    """Differences of averages by name, of all samples and of each resample."""
    number = len(new.classes)
    (labels, said, was), held = unique_cells(new.labels, new.predictions, old.predictions)

    def apart(block: Integers) -> dict[str, Floats]:
        ours, theirs = (averages(labels, one, block, number) for one in (said, was))
        return {name: ours[name] - theirs[name] for name in ours}

    blocks = [apart(block) for block in counts(held, resamples(len(held)), seed)]
    return {name: float(one[0]) for name, one in apart(held[None]).items()}, joined(blocks)


def _sign_test(gained: int, lost: int) -> float:
    """How likely so uneven a number of samples won and lost is by chance (McNemar, exact)."""
    if not gained + lost:
        return 1.0
    return float(need_eval("scipy.stats").binomtest(lost, gained + lost, 0.5).pvalue)


def _numbers(new: Valued | Likely, old: Valued | Likely, seed: int) -> tuple[Paired, ...]:
    pairs = []
    for name in names_of(new):
        ours, theirs = drawn(name, new, seed), drawn(name, old, seed)  # the same resamples
        difference = point(name, new) - point(name, old)
        if ours is None or theirs is None:
            pairs.append(Paired(name, difference, None, None))
            continue
        apart = ours - theirs
        low, high = interval(apart)
        pairs.append(Paired(name, difference, low, high, p_value=_sidedness(apart)))
    return tuple(pairs)


def _sidedness(apart: Floats) -> float:
    """Twice the share of resamples on the rarer side of 0, none counting as one half."""
    rarer = min((apart <= 0).sum(), (apart >= 0).sum())
    return float(min(1.0, 2 * max(rarer, 0.5) / len(apart)))
