"""A table of words rounded in a basis: what that saves, what was foreseen, what decoding costs.

    OMP_NUM_THREADS=1 python -m bench.coding.basis [--quick] [--model FILE --table NAME]

By default MiniLM's 30,522 x 384. Every error costs as much as any other. `bits` are those of a
value, the basis' own among them, of which `basis` tells how many one of its numbers takes; `lost`
is the share of the table's power. `Gaussian` are the bits that no coder of Gaussian values goes
below at that loss (reverse water-filling), of columns with the table's powers, or of coefficients
with those along its directions. Decoding is timed by the processor, the least of three, with each
decoder that this machine runs; GB/s of the table's dtype.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open

from bench.data import minilm
from bench.measuring import report
from taut import _core
from taut.coding import CodedArray, Job, decode
from taut.encoding.choose_coder import coded_smallest
from taut.transform import Rounded, factor_forms, round_matrix
from taut.transform.basis import find_directions, round_in_basis

STEPS = (4.0, 2.0, 1.0, 0.5)  # of the table's scale, two levels each
LAMBDA = 0.25
COLUMNS = {
    "way": "rounded",
    "bits": "bits",
    "basis": "basis",
    "lost": "lost",
    "gaussian": "Gaussian",
    "nonzero": "not zero",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table, write `bench/results/NAME.json`."""
    arguments = command_line().parse_args(argv)
    table = _table(arguments.model, arguments.table)
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
    parser.add_argument("--model", type=Path, help="a safetensors file")
    parser.add_argument("--table", default="embeddings.word_embeddings.weight", help="in it")
    parser.add_argument("--name", default="basis", help="of the JSON in bench/results")
    return parser


def _table(model: Path | None, name: str) -> np.ndarray:
    if model is None:
        return minilm.load_weights()[name].astype(np.float32)
    with safe_open(model, "np") as file:
        found: np.ndarray = file.get_tensor(name).astype(np.float32)
    return found


def at_step(table: np.ndarray, step: float) -> list[report.Row]:
    """A row for columns as they are, and one for the basis."""
    plain = factor_forms(np.ones(len(table)), np.eye(table.shape[1]), damping=(0.0, 0.0))
    dial = step / 2 * float(np.sqrt(np.mean(np.square(table))))
    directions = find_directions(table, plain)
    if directions is None:
        raise SystemExit("a basis of this table would not pay")
    second = np.asarray(table.T @ table, np.float64) / len(table)
    return [
        _row("as it is", table, round_matrix(table, plain, dial, lam=LAMBDA), np.diag(second)),
        _row(
            "in a basis",
            table,
            round_in_basis(table, plain, directions, dial, lam=LAMBDA),
            np.linalg.eigvalsh(second),
        ),
    ]


def _row(way: str, table: np.ndarray, found: Rounded, powers: np.ndarray) -> report.Row:
    coded = coded_smallest(found, table.dtype)
    out = np.empty_like(table)
    speeds = {kernel: _gigabytes(coded, out, kernel) for kernel in _core.kernels()}
    lost = float(np.mean(np.square(table - out)))
    return {
        "way": way,
        "bits": 8 * coded.nbytes / table.size,
        "basis": _bits(found.basis) if found.basis is not None else None,
        "lost": lost / float(np.mean(np.square(table))),
        "gaussian": _least_bits(powers, lost),
        "nonzero": float(np.count_nonzero(found.indices) / table.size),
        **speeds,
    }


def _bits(basis: Rounded) -> float:
    return 8 * coded_smallest(basis, np.dtype(np.float32)).nbytes / basis.indices.size


def _least_bits(powers: np.ndarray, lost: float) -> float:
    """Bits a value of Gaussians with these powers, of which so much is lost in the mean."""
    least, most = 0.0, float(powers.max())
    for _ in range(100):
        level = (least + most) / 2
        if np.minimum(powers, level).mean() > lost:
            most = level
        else:
            least = level
    return float(np.mean(0.5 * np.log2(np.maximum(powers, level) / level)))


def _gigabytes(coded: CodedArray, out: np.ndarray, kernels: str) -> float:
    seconds = []
    for _ in range(3):
        start = time.process_time()
        decode([Job(coded.header, coded.chunks, out)], kernels=kernels)
        seconds.append(time.process_time() - start)
    return out.nbytes / 1e9 / min(seconds)


if __name__ == "__main__":
    main()
