"""An evaluation as tables, and in words that a person understands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from taut.reporting.numbers import cosine, count, digits, joules, seconds, size
from taut.reporting.plain_text import any_page, cell, table
from taut.reporting.scale import OWN, Scale, scale_of

if TYPE_CHECKING:
    from taut.scoring.results import (
        Evaluation,
        Fidelity,
        Memory,
        Metric,
        OutputFidelity,
        Paired,
        Scores,
        Speed,
        Subject,
    )

_CHANCE: Final = 0.05
_WORST: Final = 5
_Value = TypeVar("_Value")


def evaluation_text(found: Evaluation) -> str:
    """Everything that was found, a table and some lines."""
    sides = [one for one in (found.original, found.model) if one is not None]
    rows = list(_rows(sides))
    head = ("", "before", "after") if found.original else ("", "model")
    lines = [table(head, rows)]
    scales = _scales(found)
    for pair in found.paired:
        base, scale = scales.get(pair.metric, (1.0, OWN))
        lines += [words] if (words := paired_text(pair, base, scale)) else []
    if found.fidelity is not None:
        lines += _fidelity_lines(found.fidelity)
    if found.model.energy is not None:  # the original's was had in the same way
        lines.append(f"energy: {found.model.energy.note}")
    return "\n".join([*lines, *found.notes])


def _scales(found: Evaluation) -> dict[str, tuple[float, Scale]]:
    """Metrics of the model by name: a value, and how it is written."""
    metrics = found.model.scores.metrics if found.model.scores is not None else ()
    return {one.name: (one.value, scale_of(one, one.low, one.high)) for one in metrics}


def _fidelity_lines(near: Fidelity) -> Iterator[str]:
    """How near the outputs stayed, and which layers moved them."""
    yield f"{f'output {near.name}' if near.name else 'outputs'}: {_near_words(near)}"
    yield from (f"output {one.name}: {_near_words(one)}" for one in near.others)
    worst = sorted(near.layers, key=lambda one: -_error(one.own_rel_mse))[:_WORST]
    if worst:
        told = ", ".join(f"{one.name} {one.own_rel_mse:.1e}" for one in worst)
        yield f"layers that add most error by themselves: {told}"


def _near_words(one: Fidelity | OutputFidelity) -> str:
    kl = "" if one.kl is None else f", KL {one.kl:.3g} nats"
    return f"cosine {cosine(one.cosine)}, relative error {one.rel_mse:.2e}{kl}"


def paired_text(pair: Paired, base: float = 1.0, scale: Scale = OWN) -> str:
    """What changed from sample to sample, in words; "" where nothing is known of it.

    Changes of a metric whose values are about `base` are written by its `scale`.

    >>> from taut.scoring.results import Paired
    >>> from taut.reporting.scale import PERCENT
    >>> paired_text(Paired("f1_macro", -0.0131, None, None, 0.9, p_value=0.03), 0.8, PERCENT)
    'f1_macro: -1.31 points: p = 0.03, hardly chance'
    >>> paired_text(Paired("accuracy", -0.0013, -0.003, 0.0001, 0.99, 18, 31, 0.0854))
    'accuracy: worse on 31 samples, better on 18: p = 0.085, could be chance'
    """
    if pair.p_value is None:
        return ""
    if pair.lost is not None:
        if not pair.lost and not pair.gained:
            return f"{pair.metric}: no sample went wrong, or right, that was not before"
        noun = "sample" if pair.lost == 1 else "samples"
        told = f"worse on {pair.lost} {noun}, better on {pair.gained}"
    else:
        told = any_page(scale.change(pair.difference, base))
        if pair.low is not None and pair.high is not None:
            told += f" (95 %: {any_page(scale.spread(pair.low, pair.high, base))})"
    chance = "could be chance" if pair.p_value >= _CHANCE else "hardly chance"
    return f"{pair.metric}: {told}: p = {pair.p_value:.2g}, {chance}"


def _rows(sides: list[Subject]) -> Iterator[tuple[str, ...]]:
    yield ("size", *(cell(one.size, size) for one in sides))
    yield ("parameters", *(cell(one.parameters or None, count) for one in sides))
    yield from _metric_rows([one.scores for one in sides])
    yield from _known("load", [one.load_seconds for one in sides], seconds)
    yield from _known("decode", [one.decode_seconds for one in sides], seconds)
    yield from _speed_rows([one.speed for one in sides])
    yield from _memory_rows([one.memory for one in sides])
    yield from _known("energy a call", list(map(_joules, sides)), joules)


def _speed_rows(speeds: Sequence[Speed | None]) -> Iterator[tuple[str, ...]]:
    yield from _known("latency p50", speeds, lambda speed: seconds(speed.p50))
    yield from _known("latency p95", speeds, lambda speed: seconds(speed.p95))
    yield from _known("samples/s", speeds, lambda speed: digits(speed.throughput))
    yield from _known("runtime", speeds, _runtime)


def _memory_rows(memories: Sequence[Memory | None]) -> Iterator[tuple[str, ...]]:
    yield from _known("resident", memories, lambda memory: size(memory.resident))
    yield from _known("peak added", memories, lambda memory: cell(memory.peak, size))


def _known(
    label: str, values: Sequence[_Value | None], text: Callable[[_Value], str]
) -> Iterator[tuple[str, ...]]:
    """A row, if the value of any model is known."""
    if any(value is not None for value in values):
        yield (label, *(cell(value, text) for value in values))


def _metric_rows(scores: Sequence[Scores | None]) -> Iterator[tuple[str, ...]]:
    """A row for each metric of the model, if all models were scored."""
    tables = [{metric.name: metric for metric in one.metrics} for one in scores if one is not None]
    if len(tables) == len(scores):
        for name in tables[-1]:
            yield (name, *(cell(held.get(name), _metric) for held in tables))


def _metric(metric: Metric) -> str:
    scale = scale_of(metric, metric.low, metric.high)
    if metric.low is None or metric.high is None:
        return any_page(scale.value(metric.value))
    return any_page(f"{scale.value(metric.value)} ({scale.between(metric.low, metric.high)})")


def _joules(one: Subject) -> float | None:
    return one.energy.joules if one.energy else None


def _runtime(speed: Speed) -> str:
    return f"{speed.runtime}, batch {speed.batch}, threads {speed.threads}"


def _error(value: float) -> float:
    return value if value == value else -1.0
