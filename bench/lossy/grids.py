"""The grids of runtimes on MiniLM-L6: bytes on disk, beside what the grid takes packed.

    python -m bench.lossy.grids [--quick] [SCHEME ...]

Every float matrix and embedding gets the scheme, rounded without data; norms and biases become
float16. Bits are those of the 39 matrices' share of the file over their values; *packed* is the
width of an integer and 16 bits for each scale (and as many as an integer has for a zero point).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import taut
from bench.lossy.embeddings import Fidelity
from bench.measuring import report
from taut.demo.minilm import find_minilm
from taut.io import open_source
from taut.scheme import Scheme, parse_scheme

SCHEMES = (
    *("int8", "int8,tensor", "fp8", "int4:g32", "int4:g128", "int4:g128,asym", "int4"),
    *("codebook16", "int3", "int2", "ternary", "binary", "2:4+int8", "2:4+int4:g128"),
)
WIDTH = {"int8": 8, "fp8": 8, "int4": 4, "int3": 3, "int2": 2, "ternary": 2, "binary": 1}
COLUMNS = {
    "scheme": "scheme",
    "bits": "bits on disk",
    "packed": "packed",
    "bytes": "file, bytes",
    "error": "rel. squared error",
    "cosine": "cosine",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, and write `bench/results/grids.json`."""
    arguments = command_line().parse_args(argv)
    fidelity = Fidelity(40 if arguments.quick else 200)
    rows = [measured(text, fidelity) for text in arguments.schemes]
    name = "grids_quick" if arguments.quick else "grids"
    print(report.table(COLUMNS, rows))
    print(f"\nCosine: mean over {fidelity.about}.\n{report.footer()}")
    report.save(name, rows, sentences=fidelity.about)


def measured(text: str, fidelity: Fidelity) -> dict[str, object]:
    """Compress by one scheme, decode the file, and judge what comes back."""
    report.say(text)
    path = find_minilm() / "model.safetensors"
    plan = {}
    for info in open_source(path).infos:
        if info.dtype == "F32":
            plan[info.name] = text if len(info.shape) == 2 else "fp16"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "grid.taut.safetensors"
        result = taut.compress(path, file, plan=plan, effort="max")
        tensors = taut.load(file)
        weights = {name: values for name, values in tensors.items() if values.dtype.kind == "f"}
        cosine = fidelity.cosine(weights)
    matrices = [t for t in result.tensors if plan.get(t.name) == text]
    values = sum(t.shape[0] * t.shape[1] for t in matrices)
    power = sum(t.rel_mse * t.shape[0] * t.shape[1] for t in matrices)
    return {
        "scheme": text,
        "bits": round(8 * sum(t.bytes for t in matrices) / values, 3),
        "packed": packed(parse_scheme(text), values, sum(t.shape[0] for t in matrices)),
        "bytes": result.size,
        "error": float(f"{power / values:.3g}"),
        "cosine": round(cosine, 4),
    }


def packed(scheme: Scheme, values: int, rows: int) -> float | None:
    """Bits a value of the grid as runtimes hold it; masks save nothing there."""
    if scheme.kind == "codebook":
        return 4.0
    width = WIDTH[scheme.kind]
    scales = rows if scheme.group_size is None else values / scheme.group_size
    each = 16 + width * scheme.asymmetric
    return round(width + (0 if scheme.per_tensor else each * scales / values), 3)


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="Runtime grids, entropy-coded.")
    parser.add_argument("schemes", nargs="*", default=SCHEMES, metavar="SCHEME")
    parser.add_argument("--quick", action="store_true", help="fewer sentences")
    return parser


if __name__ == "__main__":
    main()
