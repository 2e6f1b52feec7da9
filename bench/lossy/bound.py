"""How far rounding and coding are from the rate-distortion bound, on weights that are known.

    python -m bench.lossy.bound [--rows 1024]

Independent weights of a Gaussian or Laplacian with an identity metric: what feedback leaves of any
other. Bits are those of coded matrices, tables and scales included; the bound is half log2(1 / D)
for the Gaussian, and Shannon's lower bound for the Laplacian. Rounding puts levels at multiples of
the step; "centroids" is what moving them to the means of their members would leave.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bench.data.tensors import Array
from bench.measuring import report
from taut.coding import encode_matrix
from taut.transform import Rounded, factor_forms, round_matrix
from taut.transform.quantize import fitted_levels, search_rows

_BITS = (1.0, 1.5, 2.0, 3.0, 4.0)
_LAMBDAS = (0.0, 0.1, 0.25)
_FITTED = (0.25, 0.4)  # with prices that are fitted to the weights, as data-free rounding has them
_WAYS = (
    *(("scalar", lam) for lam in _LAMBDAS),
    *(("trellis", lam) for lam in _LAMBDAS),
    *(("trellis, fitted prices", lam) for lam in _FITTED),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of gaps and write `bench/results/bound.json`."""
    arguments = command_line().parse_args(argv)
    rows = list(_rows(arguments.rows))
    report.save("bound", rows)
    columns = {"weights": "weights", "rounding": "rounding", "lambda": "lambda"}
    table = []
    for key in dict.fromkeys((r["weights"], r["rounding"], r["lambda"]) for r in rows):
        mine = [r for r in rows if (r["weights"], r["rounding"], r["lambda"]) == key]
        table.append(mine[0] | {f"{r['asked']:g}": r["gap"] for r in mine})
    print("Bits a weight above the bound, at about so many bits a weight\n")
    print(report.table(columns | {f"{b:g}": f"{b:g}" for b in _BITS}, table))
    print(report.footer())


def _rows(count: int) -> Iterator[dict[str, object]]:
    rng = np.random.default_rng(0)
    shape = (count, 1024)
    weights = {"Gaussian": rng.standard_normal(shape), "Laplacian": rng.laplace(0, 0.5**0.5, shape)}
    for name, values in weights.items():
        # Half log2 of the entropy power of unit variance.
        bound = 0.0 if name == "Gaussian" else 0.5 * math.log2(math.e / math.pi)
        for rounding, lam in _WAYS:
            for asked in _BITS:
                bits, errors = _point(values.astype(np.float32), asked, rounding, lam)
                for end, error in zip(("", ", centroids"), errors, strict=True):
                    yield {
                        "weights": name,
                        "rounding": rounding + end,
                        "lambda": lam,
                        "asked": asked,
                        "bits": bits,
                        "error": error,
                        "gap": bits + 0.5 * math.log2(error) - bound,
                    }


def _point(
    values: Array, asked: float, rounding: str, lam: float
) -> tuple[float, tuple[float, float]]:
    """Bits a weight and mean squared errors, as rounded and at centroids, at about `asked` bits."""
    dial, bits, errors = 4.0 * 2.0**-asked, 0.0, (0.0, 0.0)
    for _ in range(8):
        rounded = _rounded(values, dial, rounding, lam)
        coded = encode_matrix(
            rounded.indices, step=rounded.step, trellis=rounded.trellis, dtype=np.dtype(np.float32)
        )
        bits = 8 * coded.nbytes / values.size
        errors = _errors(values, rounded)
        if abs(bits - asked) < 0.01:
            break
        dial *= 2.0 ** (1.2 * (bits - asked))
    return bits, errors


def _rounded(values: Array, dial: float, rounding: str, lam: float) -> Rounded:
    if "fitted" in rounding:
        levels = fitted_levels(values, dial, lam)
        indices = search_rows(values, replace(levels, offsets=(0.0, 0.0, 0.0)), threads=1)
        return Rounded(indices, levels.distance, None, None, True)
    metric = factor_forms(np.ones(len(values)), np.ones(values.shape[1]), damping=(0.0, 0.0))
    return round_matrix(values, metric, dial, lam=lam, trellis=rounding == "trellis")


def _errors(values: Array, rounded: Rounded) -> tuple[float, float]:
    magnitudes = np.minimum(np.abs(rounded.indices), 3)
    missed = (values - rounded.decoded) * np.sign(rounded.indices)
    classes = np.maximum(np.bincount(magnitudes.reshape(-1), minlength=4), 1)
    mean = np.bincount(magnitudes.reshape(-1), missed.reshape(-1), minlength=4) / classes
    at_centroids = values - rounded.decoded - np.sign(rounded.indices) * mean[magnitudes]
    plain, moved = (
        float(np.mean(np.square(error, dtype=np.float64)))
        for error in (values - rounded.decoded, at_centroids)
    )
    return plain, moved


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="The gap to the rate-distortion bound.")
    parser.add_argument("--rows", type=int, default=1024)
    return parser


if __name__ == "__main__":
    main()
