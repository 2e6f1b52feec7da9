"""An analysis as tables: what each tensor is like, and what each scheme would cost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from taut.reporting.numbers import count, digits, size
from taut.reporting.plain_text import cell, plural, table

if TYPE_CHECKING:
    from taut.analysis.tensor_facts import Report, TensorFacts

LOSS: Final = "rd:3"  # the scheme whose predicted loss ranks the tensors
_ERROR: Final = 0.01  # the relative squared error at which entropies are shown


def facts_table(report: Report, top: int) -> str:
    """The heaviest tensors, a line each: by predicted loss, or by bytes where none is known."""
    shown = sorted(report.stored, key=lambda facts: _weight(report, facts), reverse=True)
    head = ["name", "shape", "dtype", "size", "max/rms", "kurtosis", "1% error", "lossless"]
    if report.calibrated is not None:
        head += ["gain", f"loss {LOSS}", "of it"]
    if report.measured is not None:
        head.append("measured")
    rows = [_row(report, facts) for facts in shown[: top or None]]
    return table(head, rows, left=3)


def scheme_table(report: Report) -> str:
    """All matrices under each scheme: bits per weight, relative error, and loss."""
    rows = []
    for scheme in report.schemes:
        tried = [
            (facts.parameters, found)
            for facts in report.stored
            if (found := facts.predictions.get(scheme)) is not None and _is_matrix(facts)
        ]
        weights = sum(number for number, _ in tried)
        if not weights:
            continue
        bits = sum(number * found.bits for number, found in tried) / weights
        row = [scheme, digits(bits), f"{_relative_error(report, scheme):.2e}"]
        if report.calibrated is not None:
            row.append(f"{report.loss(scheme):.2e}")
        rows.append(row)
    if not rows:
        return ""
    head = ["matrices as", "bits", "rel_mse", "loss"]
    return table(head[: len(rows[0])], rows)


def summary_text(report: Report) -> str:
    """The whole model, a line for each thing there is to say."""
    lines = [
        f"{plural(len(report.tensors), 'tensor')}, {count(report.parameters)} parameters, "
        f"{size(report.bytes)}; bit-exact about {size(report.lossless)} "
        f"({digits(report.bytes / max(1, report.lossless))}x), "
        f"peak memory about {size(report.memory)}"
    ]
    lines += _notes(report)
    if report.calibrated is not None:
        lines.append(
            f"calibrated on {plural(report.calibrated.samples, 'sample')}; gain: bits per weight "
            "that steps by curvature and feedback of errors can save"
        )
    if report.measured is not None:
        lines.append(_measured_text(report))
    return "\n".join([*lines, *report.notes])


def _notes(report: Report) -> list[str]:
    """What there is to say of single tensors, told once where many have the same."""
    told: dict[str, list[str]] = {}
    for facts in report.tensors:
        for note in _notes_of(facts):
            told.setdefault(re.sub(r"\d+", "N", note), []).append(f"{facts.name}: {note}")
    return [
        notes[0] + (f" (and {plural(len(notes) - 1, 'tensor')} more likewise)" * (len(notes) > 1))
        for notes in told.values()
    ]


def _notes_of(facts: TensorFacts) -> Iterator[str]:
    if facts.tied:
        yield f"tied to {facts.tied}"
    elif facts.equal:
        yield f"has the values of {facts.equal}"
    found = facts.distribution
    if found is not None and (found.nans or found.infinities):
        yield f"{found.nans} NaN and {found.infinities} infinite values, so it stays lossless"
    if facts.sensitivity is not None:
        yield from facts.sensitivity.notes


def _measured_text(report: Report) -> str:
    told = report.measured
    assert told is not None
    what = f"score lost of {told.base:.6g}" if told.by == "score" else told.by
    line = f"measured: {what}, each tensor alone rounded by {told.scheme}"
    if told.correlation is None:
        return line
    return f"{line}; rank correlation with the predicted loss {told.correlation:.2f}"


def _weight(report: Report, facts: TensorFacts) -> tuple[float, float]:
    """What the tensors are sorted by."""
    found = facts.predictions.get(LOSS)
    loss = found.loss if found is not None and report.calibrated is not None else None
    return (-1.0 if loss is None else loss, facts.bytes)


def _row(report: Report, facts: TensorFacts) -> list[str]:
    found = facts.distribution
    near = [bound.bits for bound in facts.bounds if abs(bound.rel_mse / _ERROR - 1) < 0.5]
    row = [
        facts.name,
        "x".join(map(str, facts.shape)) or "scalar",
        facts.dtype,
        size(facts.bytes),
        cell(found, lambda one: digits(one.outlier)),
        cell(found, lambda one: digits(one.kurtosis)),
        digits(near[0]) if near else "-",
        digits(8 * facts.lossless / max(1, facts.parameters)),
    ]
    if report.calibrated is not None:
        row += _loss_cells(facts, report.loss(LOSS))
    if report.measured is not None:
        row.append(cell(facts.drop, lambda drop: f"{drop:.2e}"))
    return row


def _loss_cells(facts: TensorFacts, total: float | None) -> list[str]:
    """What rounding a tensor is predicted to cost, by itself and of the whole."""
    predicted = facts.predictions.get(LOSS)
    loss = predicted.loss if predicted is not None else None
    return [
        cell(facts.sensitivity, lambda known: digits(known.gain)),
        cell(loss, lambda one: f"{one:.2e}"),
        cell(loss, lambda one: f"{100 * one / total:.1f} %") if total else "-",
    ]


def _relative_error(report: Report, scheme: str) -> float:
    """Squared error over squared values, of all matrices together."""
    error = power = 0.0
    for facts in report.stored:
        found = facts.predictions.get(scheme)
        if found is not None and facts.distribution is not None and _is_matrix(facts):
            own = facts.distribution.rms**2 * facts.parameters
            error, power = error + found.rel_mse * own, power + own
    return error / power if power else 0.0


def _is_matrix(facts: TensorFacts) -> bool:
    """Whether all schemes were tried on it, and not fp16 alone."""
    return len(facts.predictions) > 1
