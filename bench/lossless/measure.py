"""Lossless coding of MiniLM's matrices: ratio and speed, Taut beside its peers.

    python -m bench.lossless.measure [--quick] [--dtypes bf16 int8] [--codecs ZipNN taut]

Two measures of Taut: the coding layer in memory, as the peers are measured (the sum of all
coded arrays; decode into a given buffer), and the whole file, whose every byte counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np

from bench.data import minilm
from bench.data.tensors import Array, Bytes
from bench.lossless import files
from bench.lossless.codec import Codec
from bench.lossless.ours import Taut
from bench.lossless.peers import peers
from bench.measuring import report
from bench.measuring.pages import Pages, allocator, arena_size, fresh_bytes, views
from bench.measuring.timing import QUICK, THOROUGH, Effort, Timing, measure

C = TypeVar("C")

COLUMNS = {
    "dtype": "dtype",
    "codec": "codec",
    "threads": "threads",
    "ratio": "ratio",
    "encode_cold": "encode MB/s, cold",
    "encode_warm": "warm",
    "decode_cold": "decode MB/s, cold",
    "decode_huge": "cold, huge pages",
    "decode_warm": "warm",
}
FILE_COLUMNS = {
    "dtype": "dtype",
    "codec": "codec",
    "bytes": "file, bytes",
    "ratio": "ratio",
    "seconds": "compress and verify, s",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write `bench/results/NAME.json`."""
    arguments = command_line().parse_args(argv)
    effort = QUICK if arguments.quick else THOROUGH
    found, missing = peers(slow=not arguments.quick or "pcodec-12" in (arguments.codecs or ()))
    every: list[Codec[Any]] = [*found, Taut("fast"), Taut("max")]
    codecs = [codec for codec in every if _asked(codec.name, arguments)]
    rows: list[report.Row] = []
    file_rows: list[report.Row] = []
    for dtype in arguments.dtypes:
        named = minilm.matrices(dtype)
        arrays = list(named.values())
        for codec in codecs:
            for threads in (1, 2) if codec.threads else (1,):
                report.say(f"{dtype} {codec.name} {threads} thread(s)")
                rows.append(bench(codec, arrays, dtype, threads, effort))
        if _asked("taut", arguments):
            file_rows += [files.lossless(named, dtype, e) for e in ("fast", "max")]
    path = report.save(arguments.name, [*rows, *file_rows], missing=missing)
    print(report.table(COLUMNS, rows))
    print("\nMB/s of original bytes; one thread: CPU time, two: wall time; medians.\n")
    print(report.table(FILE_COLUMNS, file_rows))
    print("\n" + report.footer() + "".join(f"\nMissing: {m}" for m in missing))
    report.say(f"wrote {path.relative_to(report.RESULTS.parent.parent)}")


def bench(
    codec: Codec[C], arrays: list[Array], dtype: str, threads: int, effort: Effort
) -> report.Row:
    """Return one row: sizes, ratio, and speeds in MB/s (1e6 original bytes) by page state."""
    allocator("warm")
    coded = codec.encode([a.copy() for a in arrays], dtype, threads)
    _check(codec, coded, arrays, dtype, threads)
    original = sum(a.nbytes for a in arrays)
    size = sum(codec.nbytes(c) for c in coded)
    timings: dict[str, Timing] = {}
    for state in ("cold", "huge", "warm"):
        if state != "huge":
            timings[f"encode_{state}"] = _encode(codec, arrays, dtype, threads, effort, state)
        if codec.fills or state != "huge":
            timings[f"decode_{state}"] = _decode(
                codec, coded, arrays, dtype, threads, effort, state
            )
    speeds = {
        key: original / 1e6 / (t.cpu if threads == 1 else t.wall) for key, t in timings.items()
    }
    seconds = {f"{k}_s": {"cpu": t.cpu, "wall": t.wall, "n": t.repeats} for k, t in timings.items()}
    about: dict[str, object] = {"dtype": dtype, "codec": codec.name, "threads": threads}
    sizes = {"original": original, "bytes": size, "ratio": size / original}
    return about | sizes | speeds | seconds


def _encode(
    codec: Codec[C], arrays: list[Array], dtype: str, threads: int, effort: Effort, state: Pages
) -> Timing:
    def prepare() -> list[Array]:
        given = [a.copy() for a in arrays] if codec.clobbers else arrays
        allocator(state)
        return given

    return measure(prepare, lambda given: codec.encode(given, dtype, threads), effort)


def _decode(
    codec: Codec[C],
    coded: list[C],
    arrays: list[Array],
    dtype: str,
    threads: int,
    effort: Effort,
    state: Pages,
) -> Timing:
    reused = views(fresh_bytes(arena_size(arrays), huge=False), arrays)

    def prepare() -> list[Array]:
        allocator("warm" if state == "warm" else "cold")
        if state == "warm" or not codec.fills:
            return reused
        fresh: Bytes = fresh_bytes(arena_size(arrays), huge=state == "huge")
        return views(fresh, arrays)

    return measure(prepare, lambda out: codec.decode(coded, out, dtype, threads), effort)


def _check(codec: Codec[C], coded: list[C], arrays: list[Array], dtype: str, threads: int) -> None:
    out = views(fresh_bytes(arena_size(arrays), huge=False), arrays)
    for got, meant in zip(codec.decode(coded, out, dtype, threads), arrays, strict=True):
        if _bytes(got) != meant.tobytes():
            raise SystemExit(f"{codec.name}: {dtype} did not come back bit-exact")


def _bytes(got: object) -> bytes:
    return got.tobytes() if isinstance(got, np.ndarray) else bytes(cast(bytes, got))


def _asked(name: str, arguments: argparse.Namespace) -> bool:
    return not arguments.codecs or any(name.startswith(c) for c in arguments.codecs)


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="Lossless ratio and speed beside peers.")
    parser.add_argument(
        "--quick", action="store_true", help="3 repeats; pcodec-12 only if it is named"
    )
    parser.add_argument("--dtypes", nargs="+", choices=minilm.DTYPES, default=list(minilm.DTYPES))
    parser.add_argument("--codecs", nargs="+", metavar="NAME", help="only names that start so")
    parser.add_argument("--name", default="lossless", help="of the file in bench/results")
    return parser


if __name__ == "__main__":
    main()
