"""Results in three lines, as a prompt shows them: what came of it, what is in it, what to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Final

from taut.analysis.differences import Differences
from taut.analysis.tensor_facts import Report
from taut.compression.foreseen import Result
from taut.container.info import Info
from taut.container.verify import VerifyReport
from taut.exporting.result import Export
from taut.io.staged import told_paths
from taut.loading.restore import Restored
from taut.reporting import numbers as say
from taut.reporting.plain_text import plural
from taut.reporting.scale import scale_of
from taut.scoring.results import Evaluation, Metric
from taut.sweep.pareto import Frontier, Point

_NAMED: Final = 3  # tensors, points or kinds that are named
_WIDE: Final = 160  # characters of a line


def words_of(found: object) -> str:
    """A result in three lines at most.

    >>> words_of(Restored(Path("net.safetensors"), 1_000_000, (Path("net.safetensors"),)))
    'net.safetensors: 1.00 MB, 1 file'
    """
    lines = [say.printable(line) for line in _lines(found) if line]
    short = [line if len(line) <= _WIDE else f"{line[: _WIDE - 1]}…" for line in lines]
    return "\n".join(short[:3])


@singledispatch
def _lines(found: object) -> Iterator[str]:
    yield object.__repr__(found)


@_lines.register
def _of_info(found: Info) -> Iterator[str]:
    yield f"{_path(found.path)}: {_size(found)}"
    yield _content(found)
    if found.base:
        yield f"a delta of {found.base}"
        return
    largest = sorted(found.tensors, key=lambda tensor: -tensor.bytes)[:_NAMED]
    named = (f"{tensor.name} {say.size(tensor.bytes)}" for tensor in largest)
    yield f"largest: {', '.join(named)}"


@_lines.register
def _of_result(found: Result) -> Iterator[str]:
    written = found.path != Path()
    yield f"{_path(found.path) if written else 'not written'}: {_size(found)}"
    yield _content(found)
    score = ""
    if found.score is not None:
        of = "" if found.original_score is None else f" of {say.score(found.original_score)}"
        score = f"score {say.score(found.score)}{of}"
    took = f"{say.seconds(found.seconds)}, peak memory {say.size(found.peak_memory)}"
    yield "; ".join(filter(None, (score, took, _notes(found.notes))))


@_lines.register
def _of_check(found: VerifyReport) -> Iterator[str]:
    yield f"{_path(found.path)}: whole"
    yield f"{plural(found.tensors, 'tensor')}, {plural(found.chunks, 'chunk')}"
    yield f"{say.size(found.size)} checked, decoded to {say.size(found.decoded)}"


@_lines.register
def _of_restored(found: Restored) -> Iterator[str]:
    yield f"{_path(found.path)}: {say.size(found.bytes)}, {plural(len(found.files), 'file')}"
    yield _notes(found.notes)


@_lines.register
def _of_export(found: Export) -> Iterator[str]:
    files = plural(len(found.files), "file")
    yield f"{_path(found.path)}: {found.format}, {say.size(found.size)}, {files}"
    yield f"{plural(found.exact, 'tensor')} with the very values, {found.rounded} rounded"
    check = found.check
    told = "" if check is None else f"{check.runtime}: cosine {check.cosine:.6f}"
    yield "; ".join(filter(None, (told, _notes(found.notes))))


@_lines.register
def _of_differences(found: Differences) -> Iterator[str]:
    yield f"{found.first} and {found.second}: {'alike' if found.alike else 'not alike'}"
    yield _counted(Counter(tensor.state for tensor in found.tensors))
    changed = sorted(found.tensors, key=lambda tensor: -tensor.relative)[:_NAMED]
    far = [f"{tensor.name} {say.digits(tensor.relative)}" for tensor in changed if tensor.relative]
    yield f"farthest: {', '.join(far)}" if far else ""
    yield _notes(found.notes)


@_lines.register
def _of_report(found: Report) -> Iterator[str]:
    yield (
        f"{told_paths(found.model)}: {plural(len(found.tensors), 'tensor')}, "
        f"{say.count(found.parameters)} parameters, {say.size(found.bytes)}, bit-exact about "
        f"{say.size(found.lossless)}"
    )
    losses = {
        facts.name: guess.loss
        for facts in found.stored
        if (guess := facts.predictions.get("rd:3")) is not None and guess.loss is not None
    }
    worst = sorted(losses, key=lambda name: -losses[name])[:_NAMED]
    yield (
        f"minds rounding most: {', '.join(worst)}"
        if worst
        else _counted(Counter(facts.dtype for facts in found.stored))
    )
    yield _notes(found.notes)


@_lines.register
def _of_evaluation(found: Evaluation) -> Iterator[str]:
    yield _scores(found)
    model, old = found.model, found.original
    parts = []
    if model.size is not None:
        of = "" if old is None or not old.size else f" of {say.size(old.size)}"
        parts.append(f"{say.size(model.size)}{of}")
    if found.fidelity is not None:
        parts.append(f"outputs' cosine {say.cosine(found.fidelity.cosine)}")
    if model.speed is not None:
        of = "" if old is None or old.speed is None else f" of {say.seconds(old.speed.p50)}"
        parts.append(f"a call in {say.seconds(model.speed.p50)}{of}")
    yield ", ".join(parts)
    yield _notes(found.notes)


def _scores(found: Evaluation) -> str:
    """The first metrics, each beside the original's."""
    scores, before = found.model.scores, found.original and found.original.scores
    old = {metric.name: metric.value for metric in before.metrics} if before else {}
    told = []
    for metric in scores.metrics[:_NAMED] if scores else ():
        was = old.get(metric.name)
        scale = scale_of(metric, was)
        of = "" if was is None else f" (before {scale.value(was)})"
        told.append(f"{metric.name} {scale.value(metric.value)}{of}")
    return f"{found.model.name}: {', '.join(told) or 'no score'}"


@_lines.register
def _of_point(found: Point) -> Iterator[str]:
    yield (
        f"{found.name}: {say.size(found.size)}, {say.digits(found.ratio)}x smaller, "
        f"{found.score.name} {_value(found.score)}, lost {_lost(found)}"
    )
    yield _notes(found.notes)


def _value(score: Metric) -> str:
    return scale_of(score).value(score.value)


def _lost(point: Point) -> str:
    scale = scale_of(point.score)
    return f"{say.digits(scale.factor * point.drop)}{scale.points}"


@_lines.register
def _of_frontier(found: Frontier) -> Iterator[str]:
    sizes = [point.size for point in found.points]
    between = f" from {say.size(min(sizes))} to {say.size(max(sizes))}" if sizes else ""
    yield f"{found.model}: {plural(len(found.points), 'point')}{between}, by {found.measure}"
    yield f"worth having: {', '.join(found.pareto)}"
    knee = ""
    if found.knee is not None:
        point = found[found.knee]
        knee = (
            f"knee: {point.name}, {say.size(point.size)}, {say.digits(point.ratio)}x smaller, "
            f"{point.score.name} {_value(point.score)}"
        )
    missed = f"{len(found.missed)} missed" if found.missed else ""
    yield "; ".join(filter(None, (knee, missed, _notes(found.notes))))


def _size(found: Info) -> str:
    return (
        f"{say.size(found.size)} of {say.size(found.original_size)}, {say.digits(found.ratio)}x "
        f"smaller, {say.digits(found.bits)} bits a parameter"
    )


def _content(found: Info) -> str:
    schemes = Counter(tensor.scheme for tensor in found.tensors)
    return (
        f"{plural(len(found.tensors), 'tensor')}, {say.count(found.parameters)} parameters: "
        f"{_counted(schemes)}"
    )


def _counted(found: Counter[str]) -> str:
    """Kinds and how many there are of each, the most first."""
    told = [f"{number} {kind}" for kind, number in found.most_common(2 * _NAMED)]
    more = len(found) - len(told)
    return ", ".join([*told, f"{more} more kinds"] if more else told)


def _notes(notes: Sequence[str]) -> str:
    """How many notes there are, and the first."""
    if not notes:
        return ""
    return f"note: {notes[0]}" if len(notes) == 1 else f"{len(notes)} notes: {notes[0]}"


def _path(path: Path) -> str:
    return told_paths(str(path))
