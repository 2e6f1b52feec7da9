"""Real .onnx files in every form of `taut export`: size, error and latency, docs/export_onnx.md.

    python -m bench.onnx_zoo.exports [--only NAME ...] [--seconds 2] [--update]

The files come in packages that pip brings (`bench/onnx_zoo/files.py`). *Smaller* is the float
file's bytes over the export's; *error* is the largest of an output's value over the output's range,
and *relative* that of the worst output over its size, root mean squares; *faster* is the float
file's median CPU time over the export's in onnxruntime, one thread, all forms in turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from bench.measuring import report
from bench.onnx_zoo.files import ZooFile, names, zoo
from taut.errors import TautError
from taut.evaluation.speed import Repeats, compare_speed
from taut.exporting.onnx.onnx_form import OnnxForm
from taut.exporting.onnx.write import export_graph
from taut.networks.onnx_session import open_session

BATCHES: Final = 8
_NAME: Final = "onnx_zoo_exports"
WAYS: Final[Mapping[str, OnnxForm]] = {
    "float16": OnnxForm(weights="float16"),
    "int8, weights alone": OnnxForm(activations="none"),
    "int8 dynamic": OnnxForm(activations="dynamic"),
    "int8 static": OnnxForm(),
    "int4 g32": OnnxForm(weights="int4"),
}


def rows(file: ZooFile, folder: Path, seconds: float) -> list[report.Row]:
    """A row a way: what was written, or why nothing was."""
    rng = np.random.default_rng(0)
    batches: list[object] = [file.inputs(rng) for _ in range(BATCHES)]
    found: list[report.Row] = []
    runs = {"float32": _run(file.path, batches[0])}
    for way, form in WAYS.items():
        path = folder / f"{len(found)}.onnx"
        row: report.Row = {"name": file.name, "package": file.package, "way": way}
        try:
            done = export_graph(file.path, batches, path, form)
        except TautError as error:
            found.append(row | {"refused": str(error)})
            continue
        assert done.check is not None
        runs[way] = _run(path, batches[0])
        found.append(
            row
            | {"bytes": done.size, "smaller": file.path.stat().st_size / done.size}
            | {"error": done.check.of_range, "relative": done.check.relative}
            | {"notes": list(done.notes)}
        )
    timed = compare_speed(
        runs,
        samples=1,
        runtime="onnxruntime",
        repeats=Repeats(runs=100, seconds=seconds),
        clock=time.process_time,  # one thread: what others do on the machine does not count
    )
    for row in found:
        if row["way"] in timed:
            row["faster"] = timed["float32"].p50 / timed[str(row["way"])].p50
            row["p50_ms"] = 1e3 * timed[str(row["way"])].p50
    return found


def _run(path: Path, batch: object) -> Callable[[], object]:
    session = open_session(path, threads=1)
    return lambda: session.run(None, batch)


def shown(given: Sequence[report.Row]) -> str:
    """A line a file, with how much smaller, the error, and how much faster, for each way.

    Below it what was done to bring errors within the bound, and what was refused.
    """
    lines: dict[object, dict[str, object]] = {}
    below = []
    for row in given:
        line = lines.setdefault(row["name"], {"file": row["name"]})
        line[str(row["way"])] = _cell(row)
        below += [f"- {row['name']}, {row['way']}: {words}" for words in _helped(row)]
    titles = ("file", *WAYS)
    return "\n".join([report.table({one: one for one in titles}, list(lines.values())), "", *below])


def _cell(row: report.Row) -> str:
    if "bytes" not in row:
        return "refused"
    return f"{row['smaller']:.2f}x, {row['error']:.3f}, {row['faster']:.2f}x"


def _helped(row: report.Row) -> list[str]:
    """What was done to bring an error within the bound, or why nothing was written."""
    if "refused" in row:
        return [str(row["refused"])]
    notes = row["notes"]
    assert isinstance(notes, list)
    return [note for note in notes if note.startswith("largest error")]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table and write `bench/results/onnx_zoo_exports.json`."""
    asked = command_line().parse_args(argv)
    file = report.RESULTS / f"{_NAME}.json"
    kept: list[report.Row] = json.loads(file.read_text())["rows"] if file.exists() else []
    if asked.show:
        print(shown(kept))
        return
    found: list[report.Row] = []
    if not asked.update:
        kept = []
    for one in zoo(tuple(asked.only)):
        report.say(one.name)
        with tempfile.TemporaryDirectory() as folder:
            found += rows(one, Path(folder), asked.seconds)
        kept = [row for row in kept if row["name"] != one.name]
        if asked.update or not asked.only:  # after each file: the last ones take long
            report.save(_NAME, [*kept, *found], batches=BATCHES, seconds=asked.seconds)
    print(f"{shown(found)}\n\n{BATCHES} batches of random inputs.\n{report.footer()}")


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names(), default=[])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each comparison")
    parser.add_argument("--update", action="store_true", help="keep other files' rows")
    parser.add_argument("--show", action="store_true")
    return parser


if __name__ == "__main__":
    main()
