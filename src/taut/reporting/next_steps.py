"""What would win most next, as far as a story tells: bytes, certainty, or what the outputs lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.reporting import numbers as say
from taut.reporting.layer_rows import LayerRow, blocks_of
from taut.reporting.scale import scale_of
from taut.reporting.verdict import verdict_of

if TYPE_CHECKING:
    from taut.reporting.story import Story

_MOST: Final = 3  # steps that are told
_FEW: Final = 0.05  # of the file: what would save less is not worth telling
_KEPT: Final = 8.0  # bits a weight from which on a block counts as one that was left as it was
_BITS: Final = 4.0  # what a model that is bit-exact yet is offered


@dataclass(frozen=True)
class NextStep:
    """Something to do: in a few words, what it would bring, and a command where one does it."""

    title: str
    why: str
    command: str = ""


def next_steps(story: Story) -> tuple[NextStep, ...]:
    """What would win most, the most first; at most three."""
    story = story.completed()
    lost = verdict_of(story).tone == "bad"
    found = [*(_mends(story) if lost else ()), *_savings(story), *_certainty(story)]
    if not lost:
        found += _mends(story)
    return tuple(found[:_MOST])


def _savings(story: Story) -> Iterator[NextStep]:
    """Where bytes can still be had."""
    if story.lossless:
        yield from _lossy(story)
        return
    yield from _smaller_point(story)
    lines = blocks_of(story.tensors)
    if not lines or not story.size:
        return
    yield from _kept(lines, story)
    heaviest = max(lines, key=lambda line: line.after)
    saved = heaviest.values / 8
    if heaviest.error > 0 and heaviest.bits > 1.5 and saved > _FEW * story.size:
        yield NextStep(
            f"The bytes are in {heaviest.name}",
            f"It takes {say.percent(heaviest.after / story.size)} of the file, at "
            f"{say.digits(heaviest.bits)} bits a weight. One bit less there saves "
            f"{say.size(saved)}, {say.percent(saved / story.size)} of the file, and makes its "
            "error about four times as large: a rule of a plan does it.",
        )


def _lossy(story: Story) -> Iterator[NextStep]:
    if story.parameters and story.size and story.parameters * _BITS / 8 < 0.9 * story.size:
        size = story.parameters * _BITS / 8
        yield NextStep(
            "Round the weights",
            f"At {_BITS:g} bits a weight the file would take {say.size(size)}, "
            f"{say.times(story.size, size)} smaller than now. A score tells what that costs.",
            f"taut compress MODEL --bits {_BITS:g}",
        )


def _kept(lines: Sequence[LayerRow], story: Story) -> Iterator[NextStep]:
    """What has many more bits than the rest, and would save bytes with as many as that."""
    assert story.size
    mean = story.bits or 0.0
    kept = [line for line in lines if line.bits > max(_KEPT, 1.5 * mean)]
    saved = sum(line.after - line.values * max(mean, _BITS) / 8 for line in kept)
    if not kept or saved <= _FEW * story.size:
        return
    first = max(kept, key=lambda line: line.after)
    others = f" and {len(kept) - 1} more" if len(kept) > 1 else ""
    bits = say.digits(max(mean, _BITS))
    yield NextStep(
        f"Round {first.name}{others} too",
        f"It has {say.digits(first.bits)} bits a weight ({first.schemes}), the whole file "
        f"{say.digits(mean)}. With {bits} bits each, the file would be {say.size(saved)} smaller, "
        f"{say.percent(saved / story.size)}.",
    )


def _smaller_point(story: Story) -> Iterator[NextStep]:
    """The next smaller point of the trade-off, if its own interval holds the original's score."""
    found = story.frontier
    if found is None or not story.size:
        return
    original = found.original.score
    for point in map(found.__getitem__, found.pareto):
        score = point.score
        near = score.low is not None and score.high is not None
        if point.size < 0.98 * story.size and near and score.low <= original.value <= score.high:  # type: ignore[operator]
            scale = scale_of(score, original.value)
            yield NextStep(
                f"Take {point.name}",
                f"It is {say.times(story.size, point.size)} smaller still, {say.size(point.size)}, "
                f"with {scale.value(score.value)} (95 %: {scale.between(score.low, score.high)}): "  # type: ignore[arg-type]
                "these samples do not tell it from the original.",
            )
            return


def _certainty(story: Story) -> Iterator[NextStep]:
    """What a score, or more samples of one, would tell."""
    found = story.evaluation
    if story.lossless or story.size is None:
        return
    if (found is None or found.model.scores is None) and story.frontier is None:
        yield NextStep(
            "Judge it",
            "Without a score nobody knows what the model lost. A function that gives labels and "
            "logits tells it with an interval.",
            "taut eval FILE --original MODEL --score FILE.py:NAME --json > eval.json",
        )
    elif found is not None and verdict_of(story).tone == "good" and story.frontier is None:
        yield NextStep(
            "Look for a smaller file",
            "No loss shows, so that a smaller file may do as well. A sweep judges many sizes, and "
            "names the smallest that loses no more than you allow.",
            "taut frontier MODEL --score FILE.py:NAME --max-drop 0.5%",
        )


def _mends(story: Story) -> Iterator[NextStep]:
    """What would bring back what the outputs lost."""
    near = story.evaluation.fidelity if story.evaluation else None
    worst = near.worst if near is not None else None
    tensor = next((t for t in story.tensors if worst and t.layer == worst.name), None)
    if worst is None or tensor is None or not story.size or worst.own_rel_mse <= 0:
        return
    cost = tensor.values / 8
    yield NextStep(
        f"Spend more bits on {worst.name}",
        f"Of all layers it adds most error to the outputs, {say.digits(worst.own_rel_mse)}. One "
        f"bit more a weight there costs {say.size(cost)} ({say.percent(cost / story.size)} of the "
        "file) and leaves about a quarter of that error. Rounding with data (--calib) lowers all "
        "layers' errors for no bytes.",
    )
