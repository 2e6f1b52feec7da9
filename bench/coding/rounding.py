"""Rounding with feedback on both sides beside a plain product of matrices of the same size.

    OMP_NUM_THREADS=1 python -m bench.coding.rounding [--quick]

A Gaussian d x d matrix, full factors on both sides, the trellis: what a weight takes. Both updates
together are d multiplications and additions a weight, as many as `a @ b` has. `ratio` is the CPU
time of rounding over that of the product, which a machine shared with others leaves about as it
is; wall times are right on an idle one. `factor` is a form made ready for rounding.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np

from bench.measuring import report
from taut.transform import FactoredForms, round_matrix
from taut.transform.forms import Factor, factor

COLUMNS = {
    "d": "d",
    "threads": "threads",
    "cpu": "CPU, ns a weight",
    "each": "of each thread",
    "wall": "wall",
    "product": "a @ b, CPU",
    "ratio": "ratio",
    "factor": "factor, CPU",
}
SIZES, THREADS = (512, 1024, 2048, 4096), (1, 2)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table, write `bench/results/NAME.json`."""
    arguments = command_line().parse_args(argv)
    sizes = SIZES[:2] if arguments.quick else SIZES
    rows = [row for d in sizes for row in of_size(d, arguments.kernels)]
    path = report.save(arguments.name, rows)
    print(report.table(COLUMNS, rows), "\n\n" + report.footer())
    report.say(f"wrote {path.relative_to(report.RESULTS.parent.parent)}")


def command_line() -> argparse.ArgumentParser:
    """Options of this table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the two smallest sizes")
    parser.add_argument("--kernels", default="", help="portable, avx2 or avx512")
    parser.add_argument("--name", default="rounding", help="of the JSON in bench/results")
    return parser


def of_size(d: int, kernels: str) -> list[report.Row]:
    """A row for each number of threads."""
    values, metric, form = problem(d)
    made = _time(lambda: factor(form, 0.1))[0]
    rows: list[report.Row] = []
    for threads in THREADS:
        product = _time(lambda: values @ values)[0]
        cpu, wall = _time(
            lambda n=threads: round_matrix(values, metric, 0.3, threads=n, kernels=kernels)
        )
        ns = 1e9 / d**2
        rows.append(
            {
                "d": d,
                "threads": threads,
                "cpu": round(cpu * ns, 1),
                "each": round(cpu * ns / threads, 1),
                "wall": round(wall * ns, 1),
                "product": round(product * ns, 1),
                "ratio": round(cpu / product, 2),
                "factor": round(made * ns, 1),
            }
        )
    return rows


def problem(d: int) -> tuple[np.ndarray, FactoredForms, np.ndarray]:
    """A matrix, factors for both of its sides, and a form."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((d, d), dtype=np.float32)
    sides = []
    for _ in range(2):
        upper = np.triu(rng.standard_normal((d, d), dtype=np.float32), 1)
        upper *= np.float32(0.3 / np.sqrt(d))
        np.fill_diagonal(upper, 1)
        sides.append(Factor(rng.uniform(0.5, 2, d), upper, 0.0))
    metric = FactoredForms(sides[0], (sides[1],), rng.permutation(d))
    x = rng.standard_normal((d // 4, d), dtype=np.float32)
    return values, metric, x.T @ x / (d // 4)


def _time(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds, the least of three."""
    found = []
    for _ in range(3):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(cpu for cpu, _ in found), min(wall for _, wall in found)


if __name__ == "__main__":
    main()
