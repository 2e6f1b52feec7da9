"""MiniLM's table of words rounded in a basis: what that saves, and what it costs to decode.

    OMP_NUM_THREADS=1 python -m bench.coding.basis [--quick]

All 30,522 x 384 values, every error as costly as any other: `bits` a value, the basis' own among
them, and the share of the table's power that is lost. Decoding is timed by the processor, the
least of three, with each decoder that this machine runs; `GB/s` of float32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from bench.data import minilm
from bench.measuring import report
from taut import _core
from taut.coding import CodedArray, Job, decode
from taut.encoding.choose_coder import coded_smallest
from taut.transform import Rounded, factor_forms, round_matrix
from taut.transform.basis import find_directions, round_in_basis

STEPS = (4.0, 2.0, 1.0, 0.5)  # of the table's scale, two levels each
LAMBDA = 0.25
COLUMNS = {"way": "rounded", "bits": "bits", "lost": "power lost", "nonzero": "not zero"}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table, write `bench/results/NAME.json`."""
    arguments = command_line().parse_args(argv)
    table = minilm.load_weights()["embeddings.word_embeddings.weight"].astype(np.float32)
    rows: list[report.Row] = []
    for step in STEPS[1:2] if arguments.quick else STEPS:
        rows += at_step(table, step)
        path = report.save(arguments.name, rows)
    kernels = {kernel: f"{kernel}, GB/s" for kernel in _core.kernels()}
    print(report.table(COLUMNS | kernels, rows), "\n\n" + report.footer())
    report.say(f"wrote {path.relative_to(report.RESULTS.parent.parent)}")


def command_line() -> argparse.ArgumentParser:
    """Options of this table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only one step")
    parser.add_argument("--name", default="basis", help="of the JSON in bench/results")
    return parser


def at_step(table: np.ndarray, step: float) -> list[report.Row]:
    """A row for columns as they are, and one for the basis."""
    plain = factor_forms(np.ones(len(table)), np.eye(table.shape[1]), damping=(0.0, 0.0))
    dial = step / 2 * float(np.sqrt(np.mean(np.square(table))))
    directions = find_directions(table, plain)
    if directions is None:
        raise SystemExit("the table goes no ways")
    ways = {
        "as it is": round_matrix(table, plain, dial, lam=LAMBDA),
        "in a basis": round_in_basis(table, plain, directions, dial, lam=LAMBDA),
    }
    return [_row(way, table, found) for way, found in ways.items()]


def _row(way: str, table: np.ndarray, found: Rounded) -> report.Row:
    coded = coded_smallest(found, table.dtype)
    out = np.empty_like(table)
    speeds = {kernel: _gigabytes(coded, out, kernel) for kernel in _core.kernels()}
    return {
        "way": way,
        "bits": 8 * coded.nbytes / table.size,
        "lost": float(np.mean(np.square(table - out)) / np.mean(np.square(table))),
        "nonzero": float(np.count_nonzero(found.indices) / table.size),
        **speeds,
    }


def _gigabytes(coded: CodedArray, out: np.ndarray, kernels: str) -> float:
    seconds = []
    for _ in range(3):
        start = time.process_time()
        decode([Job(coded.header, coded.chunks, out)], kernels=kernels)
        seconds.append(time.process_time() - start)
    return out.nbytes / 1e9 / min(seconds)


if __name__ == "__main__":
    main()
