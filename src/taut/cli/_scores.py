"""An evaluation as tables, and in words that a person understands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from taut.reporting.numbers import count, digits, size
from taut.reporting.plain_text import cell, table

if TYPE_CHECKING:
    from taut.scoring.results import (
        Evaluation,
        Fidelity,
        Memory,
        Metric,
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
    lines += [words for pair in found.paired if (words := paired_text(pair))]
    if found.fidelity is not None:
        lines += _fidelity_lines(found.fidelity)
    if found.model.energy is not None:  # the original's was had in the same way
        lines.append(f"energy: {found.model.energy.note}")
    return "\n".join([*lines, *found.notes])


def _fidelity_lines(near: Fidelity) -> Iterator[str]:
    """How near the outputs stayed, and which layers moved them."""
    kl = "" if near.kl is None else f", KL {near.kl:.3g} nats"
    yield f"outputs: cosine {near.cosine:.5f}, relative error {near.rel_mse:.2e}{kl}"
    worst = sorted(near.layers, key=lambda one: -_error(one.own_rel_mse))[:_WORST]
    if worst:
        told = ", ".join(f"{one.name} {one.own_rel_mse:.1e}" for one in worst)
        yield f"layers that add most error by themselves: {told}"


def paired_text(pair: Paired) -> str:
    """What changed from sample to sample, in words; "" where nothing is known of it.

    >>> from taut.scoring.results import Paired
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
        told = f"{pair.difference:+.4f}"
        if pair.low is not None and pair.high is not None:
            told += f" (95 %: {pair.low:+.4f} to {pair.high:+.4f})"
    chance = "could be chance" if pair.p_value >= _CHANCE else "hardly chance"
    return f"{pair.metric}: {told}: p = {pair.p_value:.2g}, {chance}"


def _rows(sides: list[Subject]) -> Iterator[tuple[str, ...]]:
    yield ("size", *(cell(one.size, size) for one in sides))
    yield ("parameters", *(cell(one.parameters or None, count) for one in sides))
    yield from _metric_rows([one.scores for one in sides])
    yield from _known("load", [one.load_seconds for one in sides], _seconds)
    yield from _known("decode", [one.decode_seconds for one in sides], _seconds)
    yield from _speed_rows([one.speed for one in sides])
    yield from _memory_rows([one.memory for one in sides])
    yield from _known("joules a call", list(map(_joules, sides)), "{:.3g}".format)


def _speed_rows(speeds: Sequence[Speed | None]) -> Iterator[tuple[str, ...]]:
    yield from _known("latency p50", speeds, lambda speed: _seconds(speed.p50))
    yield from _known("latency p95", speeds, lambda speed: _seconds(speed.p95))
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
    if metric.low is None or metric.high is None:
        return f"{metric.value:.4f}"
    return f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"


def _joules(one: Subject) -> float | None:
    return one.energy.joules if one.energy else None


def _seconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _runtime(speed: Speed) -> str:
    return f"{speed.runtime}, batch {speed.batch}, threads {speed.threads}"


def _error(value: float) -> float:
    return value if value == value else -1.0
