"""Real .onnx files of eight producers: bit-exact, and rounded without data: docs/onnx.md.

    python -m bench.onnx_zoo.table [--only NAME ...] [--bits 4]

The files come in packages that pip brings (`bench/onnx_zoo/files.py`). *Bit-exact* and *rounded*
are how many times smaller the file is; *error* is that of the rounded model's worst output on
random inputs in onnxruntime, root mean square, over the range of the original's values.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.measuring import report
from bench.onnx_zoo.files import names, zoo
from bench.onnx_zoo.lossless import BATCHES, COLUMNS, coded


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, and write `bench/results/onnx_zoo.json` if it is of all files."""
    arguments = command_line().parse_args(argv)
    rows = []
    for file in zoo(tuple(arguments.only)):
        report.say(file.name)
        rows.append(coded(file, arguments.bits))
    print(report.table(COLUMNS, rows))
    print(f"\nErrors: {BATCHES} batches of random inputs.\n{report.footer()}")
    if not arguments.only:
        report.save("onnx_zoo", rows, batches=BATCHES, bits=arguments.bits)


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names(), default=[])
    parser.add_argument("--bits", type=float, default=4.0)
    return parser


if __name__ == "__main__":
    main()
