"""The numbers on top of a page: what it was, what it is, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from taut.reporting import numbers as say
from taut.reporting.scale import Scale, scale_of
from taut.reporting.story import Story
from taut.reporting.tables import difference, metrics_of
from taut.scoring.results import (
    Energy,
    Evaluation,
    Memory,
    Metric,
    Paired,
    Scores,
    Speed,
    Subject,
)

Tone = Literal["good", "bad", "plain"]

_ALIKE: Final = 1.05  # times and energies nearer than this are the noise of a machine
_NOTHING: Final = Subject("", size=None, parameters=None)  # of which nothing was measured


@dataclass(frozen=True)
class Tile:
    """One number before and after; `before` is "" where nothing is known of it.

    `change` says the difference in words and `tone` whether it is welcome; `note` is small print.
    """

    label: str
    before: str
    after: str
    change: str = ""
    tone: Tone = "plain"
    note: str = ""


def tiles_of(story: Story) -> tuple[Tile, ...]:
    """The headline numbers that a story has."""
    return tuple(_tiles(story))


def sentence_of(story: Story) -> str:
    """The whole story in one sentence; "" where not even the size is known.

    >>> sentence_of(Story(size=100_000, original_size=1_000_000, parameters=250_000))
    '250 k parameters: 1.00 MB became 100 kB, at 3.20 bits per weight.'
    """
    if story.size is None:
        return ""
    of = f"{say.count(story.parameters)} parameters: " if story.parameters else ""
    bits = f" at {say.digits(story.bits)} bits per weight" if story.bits else ""
    if story.original_size is None or story.ratio is None:
        return f"{of}{say.size(story.size)}{',' if bits else ''}{bits}."
    joint = "," if bits else ""
    return f"{of}{say.size(story.original_size)} became {say.size(story.size)}{joint}{bits}."


def _tiles(story: Story) -> Iterator[Tile]:
    if story.size is not None:
        known = story.original_size is not None
        yield Tile(
            "Size on disk",
            say.size(story.original_size) if story.original_size is not None else "",
            say.size(story.size),
            f"{say.times(story.original_size, story.size)} smaller" if story.original_size else "",
            "good" if known else "plain",
        )
    if story.bits is not None and story.parameters:
        before = story.original_size and 8 * story.original_size / story.parameters
        yield Tile(
            "Bits per weight",
            say.digits(before) if before else "",
            say.digits(story.bits),
            note="everything in the file counted",
        )
    if story.evaluation is not None:
        yield from _measured(story.evaluation)


def _measured(evaluation: Evaluation) -> Iterator[Tile]:
    model, old = evaluation.model, evaluation.original or _NOTHING
    if model.scores is not None and model.scores.metrics:
        yield _score(evaluation, model.scores.metrics[0])
    if model.speed is not None:
        yield _latency(model.speed, old.speed)
    if model.memory is not None:
        yield from _memory(model.memory, old.memory)
    if model.energy is not None:
        yield _energy(model.energy, old.energy)
    if model.load_seconds is not None:
        words = ("faster", "slower")
        yield _less("Time to load", old.load_seconds, model.load_seconds, say.seconds, words)
    if model.decode_seconds is not None:
        yield Tile("Time to decode", "", say.seconds(model.decode_seconds))


def _latency(speed: Speed, old: Speed | None) -> Tile:
    return _less(
        "Latency", old.p50 if old else None, speed.p50, say.seconds, ("faster", "slower"),
        f"median of {speed.runs} runs (95 %: {say.seconds(speed.p95)}), batch {speed.batch}, "
        f"{_threads(speed.threads)}, {speed.runtime}",
    )  # fmt: skip


def _score(evaluation: Evaluation, metric: Metric) -> Tile:
    before = metrics_of(evaluation.original).get(metric.name)
    pair = next((found for found in evaluation.paired if found.metric == metric.name), None)
    change, _, spread = difference(metric, before, pair).partition("\n")
    scale = scale_of(metric, before.value if before else None)
    return Tile(
        label=say.capital(metric.name),
        before=scale.value(before.value) if before else "",
        after=scale.value(metric.value),
        change=change if before or pair else "",
        tone=_tone(metric, before, pair),
        note="; ".join(_doubts(metric, scale, spread, evaluation.model.scores)),
    )


def _doubts(metric: Metric, scale: Scale, spread: str, scores: Scores | None) -> Iterator[str]:
    """How sure a score and its change are, and how to read them."""
    if metric.low is not None and metric.high is not None:
        yield f"95 %: {scale.between(metric.low, metric.high)}"
    if spread:
        yield f"of the change: {spread}"
    if scores is not None and scores.samples:
        yield f"{say.exact(scores.samples)} samples"
    if metric.better == "lower":
        yield "lower is better"


def _less(
    label: str,
    before: float | None,
    after: float,
    text: Callable[[float], str],
    words: tuple[str, str],
    note: str = "",
) -> Tile:
    """A number of which less is better."""
    if not before or not after:
        return Tile(label, "" if before is None else text(before), text(after), note=note)
    ratio = max(before, after) / min(before, after)
    if ratio < _ALIKE:
        change = "unchanged" if before == after else "about the same"
        return Tile(label, text(before), text(after), change, "plain", note)
    change = f"{say.digits(ratio)}× {words[after > before]}"
    return Tile(label, text(before), text(after), change, "bad" if after > before else "good", note)


def _tone(metric: Metric, before: Metric | None, pair: Paired | None) -> Tone:
    """Whether a change is welcome; plain where chance alone may have made it."""
    if pair is not None and pair.low is not None and pair.high is not None:
        if pair.low <= 0 <= pair.high:
            return "plain"
        gained = pair.difference > 0
    elif before is not None and before.value != metric.value:
        gained = metric.value > before.value
    else:
        return "plain"
    return "good" if gained == (metric.better == "higher") else "bad"


def _memory(found: Memory, old: Memory | None) -> Iterator[Tile]:
    words = ("less", "more")
    yield _less(
        "Memory, loaded", old.resident if old else None, found.resident, say.size, words,
        f"tensors on {found.device}",
    )  # fmt: skip
    if found.peak is not None:
        yield _less("Memory, at work", old.peak if old else None, found.peak, say.size, words,
                    "the most that a forward pass adds")  # fmt: skip


def _energy(energy: Energy, old: Energy | None) -> Tile:
    if energy.joules is None:
        return Tile("Energy", "", "not measurable here", note=energy.note)
    how = {"estimate": "an estimate", "nvml": "measured by NVML", "rapl": "measured by RAPL"}
    source = how.get(energy.source or "", "")
    note = ", ".join(text for text in (source, energy.note) if text)
    before = old.joules if old else None
    return _less("Energy of a call", before, energy.joules, say.joules, ("less", "more"), note)


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"
