"""The classic tables of pruning and trained quantisation, beaten or not by files on disk.

    python -m bench.classics.measure [--subject lenet300 lenet5 resnet20] [--row NAME ...]
                                     [--seeds 0 1 2] [--update] [--budget quick] [--held]

Every row is a call of `taut.compress`; its file is weighed on disk, read back by `taut.load`,
and what comes back is judged on all test images, which nothing else uses. `rows.py` has
the rows and their hyperparameters. `--update` keeps the other rows of bench/results/classics.json;
`--show` measures nothing. `--budget quick` takes a quarter of the epochs and of the images, and
`--held` judges on training images held out, to choose settings by: both write other files.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

import taut
from bench.classics.data import Task
from bench.classics.rows import ROWS, Row
from bench.classics.run import QUICK, Compress, measured
from bench.classics.table import Measured, tables
from bench.classics.tasks import NAMES, task
from bench.measuring import report


def main(argv: Sequence[str] | None = None) -> None:
    """Measure rows, print the tables, write `bench/results/NAME.json` after every run."""
    arguments = command_line().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    name = arguments.name or _name(arguments)
    rows = kept(name) if arguments.update or arguments.show else []
    missing: list[str] = []
    wanted = [] if arguments.show else chosen(arguments.row, arguments.subject)
    for subject in dict.fromkeys(row.task for row in wanted):
        try:
            given = _given(task(subject), arguments)
        except RuntimeError as error:
            missing.append(str(error))
            report.say(str(error))
            continue
        for row in (row for row in wanted if row.task == subject):
            for seed in _seeds(row, arguments):
                rows = put(rows, _run(row, given, seed, arguments))
                report.save(name, rows, missing=missing)
    print(tables(rows))
    print("\n" + report.footer() + "".join(f"\nMissing: {m}" for m in missing))


def chosen(names: Sequence[str], subjects: Sequence[str]) -> list[Row]:
    """Return the rows that are asked for by name, or all of some subjects."""
    return [row for row in ROWS if (row.name in names if names else row.task in subjects)]


def kept(name: str) -> list[dict[str, object]]:
    """Return the rows of an earlier run."""
    path = report.RESULTS / f"{name}.json"
    if not path.is_file():
        return []
    rows: list[dict[str, object]] = json.loads(path.read_text())["rows"]
    return rows


def put(rows: Sequence[dict[str, object]], row: dict[str, object]) -> list[dict[str, object]]:
    """Put a run in the place of the one of the same row and seed, or at the end."""
    key = (row["row"], row["seed"])
    places = [i for i, old in enumerate(rows) if (old["row"], old["seed"]) == key]
    if not places:
        return [*rows, row]
    return [*rows[: places[0]], row, *rows[places[0] + 1 :]]


def _run(row: Row, given: Task, seed: int, arguments: argparse.Namespace) -> dict[str, object]:
    report.say(f"{row.name}, seed {seed}")
    run = measured(
        row,
        given,
        seed,
        _talking(taut.compress),
        threads=arguments.threads,
        quick=arguments.budget == "quick",
        files=arguments.files,
    )
    report.say(f"{row.name}, seed {seed}: {_said(run)}")
    return run


def _talking(work: Compress) -> Compress:
    """Say every half minute how far a compression is."""
    last = time.perf_counter()

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.perf_counter() - last > 30:
            last = time.perf_counter()
            report.say(f"  {stage} {done}/{total}")

    def talking(*given: object, **more: object) -> object:
        return work(*given, progress=progress, **more)

    return talking


def _said(run: Measured) -> str:
    if "error" in run:
        return str(run["error"])
    keys = ("bytes", "ratio", "error_after", "lost", "seconds")
    return ", ".join(f"{key} {float(str(run[key])):,.2f}" for key in keys)


def _given(whole: Task, arguments: argparse.Namespace) -> Task:
    given = whole.held() if arguments.held else whole
    return given.thinned(QUICK) if arguments.budget == "quick" else given


def _seeds(row: Row, arguments: argparse.Namespace) -> Sequence[int]:
    if arguments.seeds:
        return list(arguments.seeds)
    return row.seeds[:1] if arguments.budget == "quick" else row.seeds


def _name(arguments: argparse.Namespace) -> str:
    """Name the results' file: what is not a full run on test images never takes its place."""
    quick = "_quick" if arguments.budget == "quick" else ""
    return "classics" + quick + ("_held" if arguments.held else "")


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="The classic tables, from files on disk.")
    parser.add_argument("--subject", nargs="+", choices=NAMES, default=list(NAMES))
    names = [row.name for row in ROWS]
    parser.add_argument("--row", nargs="+", choices=names, default=[], help="only these rows")
    parser.add_argument("--seeds", nargs="+", type=int, help="in the place of each row's own")
    parser.add_argument("--update", action="store_true", help="keep the other rows of the file")
    parser.add_argument("--show", action="store_true", help="print what the file holds")
    parser.add_argument("--budget", choices=["full", "quick"], default="full")
    parser.add_argument("--held", action="store_true", help="judge on held-out training images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--files", type=Path, help="an existing folder that keeps the files")
    parser.add_argument("--name", help="of the file in bench/results")
    return parser


if __name__ == "__main__":
    main()
