"""One table of what large models take.

    OMP_NUM_THREADS=1 python -m bench.scale.table curvature --model FOLDER --text FILE

Each row is a function of its own name, registered in ROWS. `calibrated` is a whole run from the
model to the file; `curvature` its first stage, a block at a time; `random` that stage for some
blocks of a random Llama of 1.1 billion weights, of which a block costs as much whatever the number
of blocks.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.measuring import report
from bench.scale.collecting import made_folder
from bench.scale.observed import Observed, observe

COLUMNS = {
    "work": "work",
    "windows": "windows of 512",
    "anonymous": "anonymous, MB",
    "told": "foretold",
    "mapped": "mapped",
    "disk": "disk, foretold",
    "cpu": "CPU, s",
    "each": "a window",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the rows that are asked for, print the table, write `bench/results/scale.json`."""
    arguments = command_line().parse_args(argv)
    rows = [row for name in arguments.rows for row in ROWS[name](arguments)]
    path = report.save(arguments.name, rows)
    print(report.table(COLUMNS, rows), "\n\n" + report.footer())
    report.say(f"wrote {path.relative_to(report.RESULTS.parent.parent)}")


def curvature(arguments: argparse.Namespace) -> list[report.Row]:
    """The model that is named, on so many windows."""
    windows = arguments.windows
    seen = observe("bench.scale.collecting", arguments.model, arguments.text, str(windows))
    return [_row(f"curvature, {seen.said['weights'] / 1e6:.0f} M weights", windows, seen)]


def calibrated(arguments: argparse.Namespace) -> list[report.Row]:
    """The model that is named, compressed to --bits; the file is left in --result."""
    windows, bits = arguments.windows, str(arguments.bits)
    with tempfile.TemporaryDirectory() as made:
        random = arguments.model.startswith("random:")
        model = made_folder(arguments.model, Path(made)) if random else arguments.model
        asked = (str(model), arguments.text, str(windows), bits, arguments.result)
        seen = observe("bench.scale.compressing", *asked)
    return [_row(f"calibrated, {seen.said['bits']:.3f} bits", windows, seen)]


def random(arguments: argparse.Namespace) -> list[report.Row]:
    """Two and three blocks of a random Llama: the difference is what a block costs."""
    rows = []
    for blocks in (2, 3):
        shapes = f"random:2048,5632,{blocks},32000"
        windows = max(2, arguments.windows // 4)
        seen = observe("bench.scale.collecting", shapes, arguments.text, str(windows))
        rows.append(_row(f"curvature, {blocks} blocks of a 1.1 B Llama", windows, seen))
    return rows


def _row(work: str, windows: int, seen: Observed) -> report.Row:
    return {
        "work": work,
        "windows": windows,
        "anonymous": round(seen.anonymous / 1e6),
        "told": round(seen.said["told"] / 1e6),
        "mapped": round(seen.mapped / 1e6),
        "disk": round(seen.said["disk"] / 1e6),
        "cpu": round(seen.cpu, 1),
        "each": round(seen.cpu / windows, 2),
    }


ROWS: dict[str, Callable[[argparse.Namespace], list[report.Row]]] = {
    "calibrated": calibrated,
    "curvature": curvature,
    "random": random,
}


def command_line() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="+", choices=[*ROWS], help="what to measure")
    parser.add_argument(
        "--model", default="", help="a folder that transformers opens, or random:SHAPES"
    )
    parser.add_argument("--text", required=True, help="a text to take windows of")
    parser.add_argument("--name", default="scale", help="of the JSON in bench/results")
    parser.add_argument("--bits", type=float, default=3.0, help="bits a weight of `calibrated`")
    parser.add_argument("--result", default="calibrated", help="the folder that it writes")
    parser.add_argument("--windows", type=int, default=64, help="windows of 512 tokens")
    return parser


if __name__ == "__main__":
    main()
