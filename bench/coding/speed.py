"""The core alone, the machine's limits, and threads: what bounds a decoder here.

python -m bench.coding.speed [--quick] [--kernels]
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xxhash

from bench.data import minilm
from bench.data.tensors import Bytes
from bench.lossless.peers import ZipNN, peers
from bench.measuring import report
from bench.measuring.pages import arena_size, fresh_bytes, views
from bench.measuring.timing import QUICK, THOROUGH, Effort, measure
from taut import coding
from taut.transform import Rounded, quantize, quantize_matrix

LIMITS = {"what": "what", "gb_s": "GB/s"}
CORE = {
    "kernel": "kernel",
    "coder": "coder",
    "entropy": "entropy, bits",
    "bits": "coded, bits",
    "gsym_s": "G symbols/s",
}
THREADS = {
    "dtype": "dtype",
    "effort": "effort",
    "kernel": "kernel",
    "one": "GB/s, 1 thread",
    "two": "2 threads",
    "gain": "gain",
}
BESIDE = {
    "dtype": "dtype",
    "effort": "effort",
    "decoder": "decoder",
    "gb_s": "GB/s of CPU time",
    "to_portable": "to portable",
    "to_zipnn": "to ZipNN",
}
_core: Any = importlib.import_module("taut._core")
EFFORTS: tuple[coding.Effort, ...] = ("fast", "max")
_ONCE = Effort(repeats=1, seconds=0.0)
_BIG, _SMALL = 96 << 20, 256 << 10  # bytes: beyond the caches, and inside the second level


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write `bench/results/NAME.json`."""
    arguments = command_line().parse_args(argv)
    effort = QUICK if arguments.quick else THOROUGH
    if arguments.kernels:
        kernels(effort, arguments.quick)
        return
    report.say("limits of the machine")
    bounds = limits(effort)
    report.say("the core alone")
    alone = core(repeats=10 if arguments.quick else 40)
    report.say("threads")
    shared = [row for dtype in ("bf16", "fp32", "3 bits") for row in threads(dtype, effort)]
    report.say("kernels beside each other and ZipNN")
    near = [row for dtype in ("bf16", "fp32") for row in beside(dtype, effort)]
    path = report.save(arguments.name, [*bounds, *alone, *shared, *near])
    print(report.table(LIMITS, bounds), "\n\nFrom cache, one thread, normal symbols:\n")
    print(report.table(CORE, alone), "\n\nMiniLM's matrices into warm memory, wall time:\n")
    print(report.table(THREADS, shared), "\n\nLossless, in turns, CPU time of one thread:\n")
    print(report.table(BESIDE, near), "\n\n" + report.footer())
    report.say(f"wrote {path.relative_to(report.RESULTS.parent.parent)}")


def kernels(effort: Effort, quick: bool) -> None:
    """Measure the kernels alone, print the tables, write `bench/results/kernels.json`."""
    alone = core(repeats=10 if quick else 40)
    near = [row for dtype in ("bf16", "fp32") for row in beside(dtype, effort)]
    report.save("kernels", [*alone, *near])
    print(report.table(CORE, alone), "\n\nLossless, in turns, CPU time of one thread:\n")
    print(report.table(BESIDE, near), "\n\n" + report.footer())


def limits(effort: Effort) -> list[report.Row]:
    """Return GB/s (of CPU time, one thread) of filling, copying and hashing memory."""
    big, other = fresh_bytes(_BIG, huge=False), fresh_bytes(_BIG, huge=False)
    small, twin = np.zeros(_SMALL, np.uint8), np.ones(_SMALL, np.uint8)
    big.fill(1)
    other.fill(1)
    loops = _BIG // _SMALL

    def copy_small() -> None:
        for _ in range(loops):
            np.copyto(small, twin)

    work: dict[str, Callable[[], object]] = {
        "fill, warm": lambda: big.fill(2),
        "copy, warm": lambda: np.copyto(big, other),
        "copy, from cache": copy_small,
        "xxh3": lambda: xxhash.xxh3_64_intdigest(big.data),
    }
    rows: list[report.Row] = []
    for what, run in work.items():
        rows.append(
            {"what": what, "gb_s": _BIG / 1e9 / measure(lambda: None, _ignore(run), effort).cpu}
        )
    for what, huge in (("fill, fresh 4 KiB pages", False), ("fill, fresh huge pages", True)):
        timing = measure(partial(fresh_bytes, _BIG, huge=huge), _fill, effort)
        rows.append({"what": what, "gb_s": _BIG / 1e9 / timing.cpu})
    return rows


def _ignore(work: Callable[[], object]) -> Callable[[object], object]:
    return lambda _: work()


def _fill(memory: Bytes) -> None:
    memory.fill(1)


def core(repeats: int) -> list[report.Row]:
    """Return symbols a second of each decoder that this processor can run.

    The plain loops alone, nothing around them; of the trellis a chunk of a matrix, which puts the
    levels of its symbols in order too.
    """
    rows: list[report.Row] = []
    for kernel in _core.kernels():
        for trellis in (False, True):
            for dense in (False, True):
                for deviation in (1.0, 4.0):
                    rate = _core.core_rate(kernel, dense, deviation, repeats, trellis)
                    coder = ("dense" if dense else "fast") + (", trellis" if trellis else "")
                    rows.append(_core_row(kernel, coder, *rate))
    return rows


def _core_row(kernel: str, coder: str, seconds: float, entropy: float, bits: float) -> report.Row:
    return {
        "kernel": kernel,
        "coder": coder,
        "entropy": entropy,
        "bits": bits,
        "gsym_s": 1e-9 / seconds,
    }


def _coded(array: Any, quality: coding.Effort, step: float) -> coding.CodedArray:
    if not step:
        return coding.encode_lossless(array, effort=quality, threads=2)
    found = quantize_matrix(array, step) if quality == "max" else quantize(array, step)
    if isinstance(found, Rounded):
        return coding.encode_matrix(
            found.indices,
            step=found.step,
            offsets=found.offsets,
            trellis=found.trellis,
            dtype=array.dtype,
            effort=quality,
        )
    return coding.encode_indices(
        found.values, step=found.step, offsets=found.offsets, dtype=array.dtype, effort=quality
    )


def threads(dtype: str, effort: Effort) -> list[report.Row]:
    """Return GB/s of wall time of the whole decoder with one and two threads, per kernel.

    "3 bits" is float32 quantised at one step of 0.36 of all values' scale: `fast` as indices of a
    uniform quantiser, `max` by the trellis.
    """
    lossy = dtype == "3 bits"
    arrays = list(minilm.matrices("fp32" if lossy else dtype).values())
    step = 0.36 * float(np.sqrt(np.mean([np.mean(a**2) for a in arrays]))) if lossy else 0.0
    out = views(fresh_bytes(arena_size(arrays), huge=False), arrays)
    gigabytes = sum(a.nbytes for a in arrays) / 1e9
    rows: list[report.Row] = []
    for quality in EFFORTS:
        coded = [_coded(a, quality, step) for a in arrays]
        jobs = [
            (c.header, c.chunks, o.reshape(-1).view(np.uint8), None)
            for c, o in zip(coded, out, strict=True)
        ]
        for kernel in _core.kernels():
            decode = [partial(_core.decode, jobs, number, kernel) for number in (1, 2)]
            one, two = (
                gigabytes / measure(lambda: None, _ignore(work), effort).wall for work in decode
            )
            row = {"dtype": dtype, "effort": quality, "kernel": kernel}
            rows.append({**row, "one": one, "two": two, "gain": two / one})
    return rows


def beside(dtype: str, effort: Effort) -> list[report.Row]:
    """Return the CPU time of decoding MiniLM's matrices by each kernel and by ZipNN, in turns.

    Ratios are within one pass over all of them, so that a busy machine is busy for each alike.
    """
    arrays = list(minilm.matrices(dtype).values())
    out = views(fresh_bytes(arena_size(arrays), huge=False), arrays)
    gigabytes = sum(a.nbytes for a in arrays) / 1e9
    work: dict[tuple[str, str], Callable[[], object]] = {}
    for quality in EFFORTS:
        coded = [_coded(a, quality, 0.0) for a in arrays]
        jobs = [
            (c.header, c.chunks, o.reshape(-1).view(np.uint8), None)
            for c, o in zip(coded, out, strict=True)
        ]
        for kernel in _core.kernels():
            work[quality, kernel] = partial(_core.decode, jobs, 1, kernel)
    for peer in peers(slow=False)[0]:
        if isinstance(peer, ZipNN):
            given = peer.encode([a.copy() for a in arrays], dtype, 1)
            work["", peer.name] = partial(peer.decode, given, out, dtype, 1)
    passes = [
        {key: measure(lambda: None, _ignore(one), _ONCE, warm_up=False).cpu}
        for _ in range(effort.repeats)
        for key, one in work.items()
    ]
    taken = {key: float(np.median([p[key] for p in passes if key in p])) for key in work}
    zipnn = taken.get(("", "ZipNN"))
    return [
        {
            "dtype": dtype,
            "effort": quality,
            "decoder": decoder,
            "gb_s": gigabytes / seconds,
            "to_portable": taken[quality or EFFORTS[0], "portable"] / seconds,
            "to_zipnn": zipnn / seconds if zipnn else None,
        }
        for (quality, decoder), seconds in taken.items()
    ]


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="The core alone and the machine's limits.")
    parser.add_argument("--quick", action="store_true", help="3 repeats")
    parser.add_argument("--kernels", action="store_true", help="kernels beside ZipNN, no more")
    parser.add_argument("--name", default="speed", help="of the file in bench/results")
    return parser


if __name__ == "__main__":
    main()
