"""An evaluation as tables, and in words that a person understands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from taut.reporting.numbers import count, digits, size
from taut.reporting.plain_text import table

if TYPE_CHECKING:
    from taut.scoring.results import Evaluation, Metric, Paired, Subject

_CHANCE: Final = 0.05
_WORST: Final = 5


def evaluation_text(found: Evaluation) -> str:
    """Everything that was found, a table and some lines."""
    sides = [one for one in (found.against, found.model) if one is not None]
    rows = list(_rows(sides))
    head = ("", "before", "after") if found.against else ("", "model")
    lines = [table(head, rows)]
    lines += [words for pair in found.paired if (words := paired_text(pair))]
    if found.fidelity is not None:
        near = found.fidelity
        kl = "" if near.kl is None else f", KL {near.kl:.3g} nats"
        lines.append(f"outputs: cosine {near.cosine:.5f}, relative error {near.rel_mse:.2e}{kl}")
        worst = sorted(near.layers, key=lambda one: -_error(one.own_rel_mse))[:_WORST]
        if worst:
            told = ", ".join(f"{one.name} {one.own_rel_mse:.1e}" for one in worst)
            lines.append(f"layers that add most error by themselves: {told}")
    if found.model.energy is not None:  # the original's was had in the same way
        lines.append(f"energy: {found.model.energy.note}")
    return "\n".join([*lines, *found.notes])


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
    yield ("size", *(size(one.size) if one.size is not None else "-" for one in sides))
    yield ("parameters", *(count(one.parameters) if one.parameters else "-" for one in sides))
    if all(one.scores is not None for one in sides):
        tables = [{m.name: m for m in one.scores.metrics} for one in sides if one.scores]
        for name in tables[-1]:
            yield (name, *(_metric(held.get(name)) for held in tables))
    for label, value in (("load", "load_seconds"), ("decode", "decode_seconds")):
        if any(getattr(one, value) is not None for one in sides):
            yield (label, *(_seconds(getattr(one, value)) for one in sides))
    if any(one.speed for one in sides):
        yield ("latency p50", *(_seconds(one.speed.p50 if one.speed else None) for one in sides))
        yield ("latency p95", *(_seconds(one.speed.p95 if one.speed else None) for one in sides))
        yield ("samples/s", *(digits(s.speed.throughput) if s.speed else "-" for s in sides))
        yield ("runtime", *(_runtime(one) for one in sides))
    if any(one.memory for one in sides):
        yield ("resident", *(size(one.memory.resident) if one.memory else "-" for one in sides))
        peaks = [one.memory.peak if one.memory else None for one in sides]
        yield ("peak added", *("-" if peak is None else size(peak) for peak in peaks))
    if any(one.energy and one.energy.joules is not None for one in sides):
        joules = [one.energy.joules if one.energy else None for one in sides]
        yield ("joules a call", *("-" if one is None else f"{one:.3g}" for one in joules))


def _metric(metric: Metric | None) -> str:
    if metric is None:
        return "-"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.4f}"
    return f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.3g} ms"


def _runtime(one: Subject) -> str:
    if one.speed is None:
        return "-"
    return f"{one.speed.runtime}, batch {one.speed.batch}, threads {one.speed.threads}"


def _error(value: float) -> float:
    return value if value == value else -1.0
