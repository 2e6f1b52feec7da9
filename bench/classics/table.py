"""The classic tables as Markdown: the field's published points, then ours, a line a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from bench.classics.field import FIELD, Published
from bench.classics.rows import ROWS, TABLES, Row
from bench.measuring import report

Measured = Mapping[str, object]

_COLUMNS = {
    "row": "",
    "bytes": "bytes",
    "ratio": "ratio",
    "of_file": "ratio to the file",
    "before": "error before, %",
    "after": "error after, %",
    "asked": "asked",
    "met": "met",
    "epochs": "epochs",
    "seconds": "seconds",
    "from": "from",
}


def tables(measured: Sequence[Measured]) -> str:
    """Return every table of which a row was measured, each under its title."""
    known = {row.name: row for row in ROWS}
    parts = []
    for title, names in TABLES.items():
        runs = {name: [m for m in measured if m["row"] == name] for name in names}
        lines = [line_of(known[name], found) for name, found in runs.items() if found]
        if lines:
            lines = [*map(published, FIELD.get(title, ())), *lines]
            parts.append(f"### {title}\n\n{report.table(_columns(lines), lines)}")
    return "\n\n".join(parts)


def line_of(row: Row, runs: Sequence[Measured]) -> dict[str, object]:
    """Sum up a row's runs: means, with the least and the most where seeds differ."""
    good = [run for run in runs if "error" not in run]
    if not good:
        return {"row": row.name, "asked": row.asked or None, "from": runs[0]["error"]}
    seeds = f"{len(good)} seeds" if len(good) > 1 else f"seed {good[0]['seed']}"
    broken = f", {len(runs) - len(good)} failed" if len(runs) > len(good) else ""
    quick = ", quick" if any(run.get("budget") == "quick" for run in good) else ""
    return {
        "row": row.name,
        "bytes": f"{fmean(_numbers(good, 'bytes')):,.0f}",
        "ratio": f"{fmean(_numbers(good, 'ratio')):.1f}x",
        "of_file": f"{fmean(_numbers(good, 'ratio_to_file')):.1f}x",
        "before": f"{fmean(_numbers(good, 'error_before')):.2f}",
        "after": _spread(_numbers(good, "error_after")),
        "asked": row.asked or None,
        "met": f"{sum(met(row, run) for run in good)} of {len(runs)}" if row.asked else None,
        "epochs": str(good[0]["epochs"]),
        "seconds": f"{fmean(_numbers(good, 'seconds')):,.0f}",
        "faster": _faster(good),
        "from": seeds + broken + quick,
    }


def met(row: Row, run: Measured) -> bool:
    """Say whether a run reached what is asked of its row."""
    (ratio,), (lost,), (after,) = (_numbers([run], k) for k in ("ratio", "lost", "error_after"))
    small = row.ratio is None or ratio >= row.ratio
    # Errors are counts of images over their number: what a float adds to them is no loss.
    right = row.error is None or after <= row.error + 1e-9
    return small and right and (row.lost is None or lost <= row.lost + 1e-9)


def published(point: Published) -> dict[str, object]:
    """Turn a point of the field into a line of a table."""
    marked = "" if point.counts == "bytes" else f" ({point.counts})"
    return {
        "row": point.method,
        "bytes": None if point.nbytes is None else f"{point.nbytes:,}",
        "ratio": f"{point.ratio:g}x{marked}",
        "before": None if point.before is None else f"{point.before:.2f}",
        "after": f"{point.after:.2f}",
        "from": point.source,
    }


def _columns(lines: Sequence[Measured]) -> dict[str, str]:
    """Name the columns: that of latency only where it was measured."""
    if not any(line.get("faster") for line in lines):
        return dict(_COLUMNS)
    return {**_COLUMNS, "faster": "times as fast (batch)"}


def _faster(runs: Sequence[Measured]) -> str | None:
    """Say how many times faster the network became, by batch size."""
    found = [run["faster"] for run in runs if isinstance(run.get("faster"), Mapping)]
    if not found:
        return None
    first = found[0]
    assert isinstance(first, Mapping)
    return ", ".join(f"{times:.2f} ({batch})" for batch, times in first.items())


def _numbers(runs: Sequence[Measured], key: str) -> list[float]:
    return [float(str(run[key])) for run in runs]


def _spread(values: Sequence[float]) -> str:
    mean = f"{fmean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.2f} to {max(values):.2f})"
