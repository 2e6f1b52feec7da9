"""What two files of one model come to: which is smaller, and whether a score tells them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut.reporting import numbers as say
from taut.reporting.scale import named, scale_of
from taut.reporting.verdict import Verdict, scored_verdict

if TYPE_CHECKING:
    from taut.reporting.comparison import ComparedFile, FileComparison
    from taut.scoring.results import Metric


def comparison_verdict(found: FileComparison) -> Verdict:
    """The second file beside the first, in a sentence; a difference is one only beyond chance."""
    a, b = found.first, found.second
    size = _size(a, b)
    if found.direct is not None and found.direct.model.scores is not None:
        judged = scored_verdict(found.direct)
        return Verdict(f"{size}, {judged.headline}", judged.tone, judged.because)
    old, new = _metric(a), _metric(b)
    if old is None or new is None or old.name != new.name:
        return Verdict(f"{size}; {_errors(a, b)}", "plain", (_ASK,))
    return _scores(size, old, new)


_ASK = (
    "Errors of weights say little about a score. To know which file is better, judge the second "
    "against the first on the same samples: taut eval SECOND --original FIRST --score FILE.py:NAME."
)


def _size(a: ComparedFile, b: ComparedFile) -> str:
    if a.size == b.size:
        return f"{b.name} is as large as {a.name}"
    ratio = max(a.size, b.size) / min(a.size, b.size)
    word = "smaller" if b.size < a.size else "larger"
    return f"{b.name} is {_times(ratio)} {word} than {a.name}"


def _times(ratio: float) -> str:
    """A ratio, as a percentage where it is small.

    >>> _times(1.333), _times(1.04)
    ('1.33×', '4.00 %')
    """
    return f"{say.digits(ratio)}×" if ratio >= 1.1 else say.percent(ratio - 1)


def _errors(a: ComparedFile, b: ComparedFile) -> str:
    if a.error == b.error:
        return "bit for bit both" if not a.error else "errors of the weights are the same"
    if not a.error or not b.error:
        return f"{(a if not a.error else b).name} is bit for bit the original, the other is not"
    word = "smaller" if b.error < a.error else "larger"
    ratio = max(a.error, b.error) / min(a.error, b.error)
    return f"its weights' errors are {_times(ratio)} {word}"


def _metric(one: ComparedFile) -> Metric | None:
    scores = one.evaluation.model.scores if one.evaluation is not None else None
    return scores.metrics[0] if scores is not None and scores.metrics else None


def _scores(size: str, a: Metric, b: Metric) -> Verdict:
    """Two scores that were had apart: each has an interval of its own, their difference none."""
    scale = scale_of(a, b.value)
    told = f"{size}, {named(a)} {scale.pair(a.value, b.value)}"
    if None in (a.low, a.high, b.low, b.high):
        doubt = "The scores have no intervals: whether the difference is chance is not known."
        return Verdict(told, "plain", (doubt, _PAIRED))
    assert a.low is not None and a.high is not None and b.low is not None and b.high is not None
    spans = f"The intervals are {scale.between(a.low, a.high)}, and {scale.between(b.low, b.high)}."
    if a.low <= b.high and b.low <= a.high:
        return Verdict(f"{told}, with 95 % intervals that overlap", "plain", (spans, _PAIRED))
    worse = (b.value < a.value) == (a.better == "higher")
    word = "a loss" if worse else "a gain"
    return Verdict(f"{told}, {word} beyond chance", "bad" if worse else "good", (spans,))


_PAIRED = (
    "Judging the second against the first on the same samples tells more: "
    "taut eval SECOND --original FIRST --score FILE.py:NAME."
)
