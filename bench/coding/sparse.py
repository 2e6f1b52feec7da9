"""Sparse and very coarse matrices: bytes beside the entropy of what drew them, and speed.

    python -m bench.coding.sparse [--quick]

+1 and -1 fall with the probability p[i, j] = min(a row[i] column[j], 0.9), with log-normal factors
and `a` such that a tenth is not zero; the entropy is that of the signs and of p, which is told for
nothing. Coarse matrices are rounded Laplacian and normal noise, beside the entropy of their own
histogram. Decoding speed is CPU time of one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.measuring import report
from bench.measuring.timing import QUICK, THOROUGH, Effort, measure
from taut.coding import CodedArray, Job, decode, encode_adaptive, encode_indices, encode_matrix

F32 = np.dtype(np.float32)
STEP = 0.1
Indices = NDArray[np.int32]
COLUMNS = {
    "case": "indices",
    "entropy": "entropy, bytes",
    "adaptive": "adaptive",
    "excess": "above the entropy, %",
    "matrix": "matrix",
    "uniform": "uniform",
    "speed": "decode, M values/s",
}


class Case(NamedTuple):
    """Indices, and the entropy in bytes of what drew them."""

    name: str
    indices: Indices
    entropy: float


def bernoulli(p: NDArray[np.float64]) -> float:
    """Entropy of independent bits with probabilities `p`, in bytes."""
    inside = p[(p > 0) & (p < 1)]
    each = inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside)
    return float(-each.sum()) / 8


def histogram(q: Indices) -> float:
    """Bytes that the indices take at their own frequencies."""
    n = np.unique(q, return_counts=True)[1]
    return float(-(n * np.log2(n / n.sum())).sum()) / 8


def signed(rng: np.random.Generator, name: str, p: NDArray[np.float64], free: float = 0) -> Case:
    """Signs where `p` says; `free` is what else had to be told, in bytes."""
    q = ((rng.random(p.shape) < p) * rng.choice([-1, 1], p.shape)).astype(np.int32)
    return Case(name, q, bernoulli(p) + np.count_nonzero(q) / 8 + free)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for rows, columns in ((512, 2048), (2048, 2048)):
        for spread in (0.0, 0.5, 1.0):
            lines = rng.normal(0, spread, (rows, 1)), rng.normal(0, spread, (1, columns))
            p, a = np.exp(lines[0] + lines[1]), 0.1
            for _ in range(30):
                a *= 0.1 / np.minimum(a * p, 0.9).mean()
            yield signed(rng, f"{rows} x {columns}, factors e^(N {spread})", np.minimum(a * p, 0.9))
    yield signed(rng, "500 x 800, 0.5 % not zero", np.full((500, 800), 0.005))
    live = (rng.random((500, 1)) < 0.3) & (rng.random((1, 800)) < 0.5)
    lines_told = bernoulli(np.full(500, 0.3)) + bernoulli(np.full(800, 0.5))
    few = "500 x 800, 0.5 % not zero, in 30 % of rows and 50 % of columns"
    yield signed(rng, few, np.where(live, 0.005 / 0.15, 0.0), lines_told)
    for name, noise in (
        ("64 x 576, Laplacian", rng.laplace(0, 0.55, (64, 576))),
        ("1024 x 1024, normal", rng.normal(0, 0.9, (1024, 1024))),
    ):
        q = np.rint(noise).astype(np.int32)
        yield Case(f"{name}, {8 * histogram(q) / q.size:.2f} bits", q, histogram(q))


def row(case: Case, effort: Effort) -> dict[str, object]:
    q = case.indices
    adaptive = encode_adaptive(q, step=STEP, dtype=F32)
    out = np.empty(q.shape, np.float32)
    timing = measure(lambda: adaptive, lambda coded: _decode(coded, out), effort)
    if not np.array_equal(out, q.astype(np.float32) * np.float32(STEP)):
        raise SystemExit(f"{case.name} does not decode to what it was")
    return {
        "case": case.name,
        "entropy": round(case.entropy),
        "adaptive": adaptive.nbytes,
        "excess": 100 * (adaptive.nbytes / case.entropy - 1),
        "matrix": encode_matrix(q, step=STEP, trellis=False, dtype=F32).nbytes,
        "uniform": encode_indices(q, step=STEP, offsets=(0, 0, 0), dtype=F32).nbytes,
        "speed": q.size / timing.cpu / 1e6,
    }


def _decode(coded: CodedArray, out: NDArray[np.float32]) -> None:
    decode([Job(coded.header, coded.chunks, out)])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every case, print the table, write the results."""
    given = command_line().parse_args(argv)
    rng = np.random.default_rng(given.seed)
    rows = [row(case, QUICK if given.quick else THOROUGH) for case in cases(rng)]
    print(report.table(COLUMNS, rows))
    print(report.footer())
    report.save("sparse", rows)


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="repeat less")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
