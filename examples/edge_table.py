"""What the example prints in the end: a table for people, and whether the targets were met."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from taut.scoring.results import Evaluation, Memory, Metric, Speed, Subject

SMALLER = 8  # times
DROP = 0.01  # a point of accuracy


@dataclass(frozen=True)
class Lite:
    """The int8 file of LiteRT: its bytes, and the part of the test images that it gets right."""

    size: int
    accuracy: float


@dataclass(frozen=True)
class Outcome:
    """What is known in the end; speeds are by way of running, for one image and for 64."""

    taut: Evaluation  # the Taut file beside the original
    onnx: Evaluation  # int8 ONNX beside the original
    float_onnx: int  # bytes of the original as float32 ONNX
    one: dict[str, Speed]
    many: dict[str, Speed]
    lite: Lite | None = None  # where LiteRT is installed


def targets(found: Outcome) -> dict[str, bool]:
    """What was asked for, in words with the numbers, and whether it was met."""
    small, before = found.taut.model, found.taut.original
    assert before is not None and before.size and small.size
    lost, lost_onnx = (-one.paired[0].difference for one in (found.taut, found.onnx))
    asked = {
        f"Taut file {before.size / small.size:.2f}x smaller (asked: {SMALLER}x)": (
            small.size * SMALLER <= before.size
        ),
        f"Taut file loses {_points(lost)} (allowed: 1)": lost <= DROP,
        f"int8 ONNX loses {_points(lost_onnx)} (allowed: 1)": lost_onnx <= DROP,
    }
    if found.lite is not None:
        lost_lite = _find(before, "accuracy").value - found.lite.accuracy
        asked[f"int8 LiteRT loses {_points(lost_lite)} (allowed: 1)"] = lost_lite <= DROP
    return asked


def table(found: Outcome) -> str:
    """A row a number, a column a model; what the numbers mean stands below."""
    before, small, integers = found.taut.original, found.taut.model, found.onnx.model
    assert before is not None
    three = (before, small, integers)
    rows = [
        ("", "original", "Taut file", "int8 ONNX", "original as ONNX"),
        ("bytes", *(f"{one.size:,}" for one in three), f"{found.float_onnx:,}"),
        ("accuracy, %", *(_metric(one, "accuracy") for one in three), "-"),
        ("F1, macro, %", *(_metric(one, "f1_macro") for one in three), "-"),
        ("recall, macro, %", *(_metric(one, "recall_macro") for one in three), "-"),
        ("ms for 1 image", *(f"{1e3 * one.p50:.2f}" for one in found.one.values())),
        ("ms for 64 images", *(f"{1e3 * one.p50:.1f}" for one in found.many.values())),
        ("kB in memory", _memory(before.memory), _memory(small.memory), "-", "-"),
        ("joules an image", *(_joules(one) for one in three), "-"),
    ]
    return "\n".join((*_aligned(rows), "", *_ways(found)))


def _ways(found: Outcome) -> Iterable[str]:
    scores, speed = found.taut.model.scores, next(iter(found.one.values()))
    energy = found.taut.model.energy
    assert scores is not None and energy is not None
    _, _, integers, floats = found.many.values()
    lite = "for LiteRT there is no file here: pip install 'taut[litert]'."
    if found.lite is not None:
        lite = (
            f"int8 LiteRT: {found.lite.size:,} bytes, accuracy {100 * found.lite.accuracy:.2f} %."
        )
    threads = "1 thread" if speed.threads == 1 else f"{speed.threads} threads"
    return (
        "The Taut file is smaller, not faster: its tensors come back as floats.",
        f"int8 ONNX runs {floats.p50 / integers.p50:.1f} times as fast as the original as ONNX "
        f"({floats.batch} images).",
        lite,
        f"Scores: {scores.samples:,} test images; in brackets 95 % intervals (bootstrap).",
        f"Times: medians of {speed.runs} and {floats.runs} calls in turns, {threads}; original and "
        "Taut file run in PyTorch, ONNX in onnxruntime.",
        "Memory: weights, and what a pass over 1 image adds, in PyTorch; onnxruntime's is not seen "
        "from here.",
        f"Energy: {energy.note}.",
    )


def _metric(one: Subject, name: str) -> str:
    metric = _find(one, name)
    interval = "" if metric.low is None or metric.high is None else (
        f" [{100 * metric.low:.2f}, {100 * metric.high:.2f}]"
    )  # fmt: skip
    return f"{100 * metric.value:.2f}{interval}"


def _find(one: Subject, name: str) -> Metric:
    assert one.scores is not None
    return next(metric for metric in one.scores.metrics if metric.name == name)


def _memory(held: Memory | None) -> str:
    assert held is not None and held.peak is not None
    return f"{held.resident / 1e3:,.0f} + {held.peak / 1e3:,.0f}"


def _joules(one: Subject) -> str:
    assert one.energy is not None
    if one.energy.joules is None:
        return "-"
    return f"{one.energy.joules:.3g}" + (" (estimate)" if one.energy.source == "estimate" else "")


def _points(lost: float) -> str:
    return f"{100 * lost:.2f} points" if lost > 0 else "nothing"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip()
        for row in rows
    ]
