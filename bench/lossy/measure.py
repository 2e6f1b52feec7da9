"""Data-free lossy coding of MiniLM: bits, error, embeddings and speed, Taut beside its peers.

    python -m bench.lossy.measure [--quick] [--bits 2 3 4]

Bits count the whole file over all parameters; the error is relative and squared, over the
40 matrices. NNCodec runs where $NNCODEC_PYTHON names a Python that has it (bench/README.md).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data import minilm
from bench.data.tensors import Array
from bench.lossy import nnc
from bench.lossy.embeddings import Fidelity
from bench.lossy.files import LossyFile, lossy
from bench.measuring import report
from bench.measuring.timing import QUICK, THOROUGH

COLUMNS = {
    "codec": "codec",
    "bits": "bits",
    "ratio": "x smaller",
    "rel_mse": "relative squared error",
    "cosine": "embedding cosine",
    "encode_s": "encode, s",
    "decode_warm": "decode GB/s, warm, 1 thread",
    "load_warm": "whole load",
    "load_warm_2": "whole load, 2 threads",
}
# (qp, dependent quantisation), from about 2 to 4 bits
NNCODEC = ((-29, True), (-26, True), (-23, True), (-20, True))


class Original:
    """The encoder, its sizes, and the judge of what came back."""

    def __init__(self, texts: int) -> None:
        self.weights = minilm.load_weights()
        self.parameters = sum(v.size for v in self.weights.values())
        self.nbytes = sum(v.nbytes for v in self.weights.values())
        self.fidelity = Fidelity(texts)

    def row(self, codec: str, nbytes: float, decoded: Mapping[str, Array]) -> dict[str, object]:
        """Return what every codec is judged by."""
        return {
            "codec": codec,
            "bytes": round(nbytes),
            "bits": 8 * nbytes / self.parameters,
            "ratio": self.nbytes / nbytes,
            "rel_mse": minilm.relative_error(self.weights, decoded),
            "cosine": self.fidelity.cosine(decoded),
        }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table, write `bench/results/NAME.json`."""
    arguments = command_line().parse_args(argv)
    effort = QUICK if arguments.quick else THOROUGH
    original = Original(64 if arguments.quick else 200)
    rows: list[report.Row] = [round_to_nearest(original)]
    missing: list[str] = []
    for quality in ("fast", "max"):
        for bits in arguments.bits:
            report.say(f"taut {quality} --bits {bits:g}")
            with tempfile.TemporaryDirectory() as folder:
                made = lossy(Path(folder), bits, quality, effort)
            rows.append(ours(original, made) if isinstance(made, LossyFile) else made)
    python = nnc.nncodec_python()
    if python is None:
        missing.append("nncodec: not installed (set NNCODEC_PYTHON, see bench/README.md)")
    else:
        for qp, trellis in NNCODEC[1:2] if arguments.quick else NNCODEC:
            report.say(f"NNCodec qp {qp}")
            rows.append(standard(original, python, qp, trellis=trellis))
    path = report.save(arguments.name, rows, missing=missing, texts=original.fidelity.about)
    print(report.table(COLUMNS, rows))
    print(f"\nCPU seconds; GB/s of float32 out; cosine over {original.fidelity.about}.\n")
    print(report.footer() + "".join(f"\nMissing: {m}" for m in missing))
    report.say(f"wrote {path.relative_to(report.RESULTS.parent.parent)}")


def round_to_nearest(original: Original) -> report.Row:
    """Return the row of int4, groups of 128, 4-bit zero points; all else stays as it was."""
    decoded = {
        n: minilm.round_to_int4(v) if minilm.is_matrix(v) else v for n, v in _items(original)
    }
    nbytes = sum(
        v.size * (4 + 20 / minilm.GROUP) / 8 if minilm.is_matrix(v) else v.nbytes
        for _, v in _items(original)
    )
    return original.row("round to nearest, int4 g128", nbytes, decoded)


def ours(original: Original, made: LossyFile) -> report.Row:
    """Return the row of one Taut file."""
    return original.row(made.name, made.nbytes, made.decoded) | made.speeds


def standard(original: Original, python: str, qp: int, *, trellis: bool) -> report.Row:
    """Return the row of one NNCodec run; integers and headers of a file are not counted."""
    run = nnc.run(python, original.weights, qp, trellis=trellis)
    decoded = {**original.weights, **run.decoded}
    row = original.row(f"NNCodec qp {qp}{', trellis' if trellis else ''}", run.nbytes, decoded)
    gigabytes = sum(v.nbytes for v in run.decoded.values()) / 1e9
    return row | {"encode_s": run.encode_s, "decode_warm": gigabytes / run.decode_s}


def _items(original: Original) -> list[tuple[str, Array]]:
    return list(original.weights.items())


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="Lossy coding beside peers.")
    parser.add_argument("--quick", action="store_true", help="64 sentences, one NNCodec run")
    parser.add_argument("--bits", nargs="+", type=float, default=[2.0, 3.0, 4.0])
    parser.add_argument("--name", default="lossy", help="of the file in bench/results")
    return parser


if __name__ == "__main__":
    main()
