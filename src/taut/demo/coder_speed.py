"""Ratio and speed of the lossless coders on a model's tensors, in memory: no file, no disk."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod

import numpy as np

from taut.coding import Effort, Job, decode, encode_lossless
from taut.errors import ArgumentError, VerifyError
from taut.io import Source

_SOLID = 1 << 14  # bytes: smaller tensors of a dtype are coded together, as in a file
_ZSTD_LEVEL = 3

Progress = Callable[[str, int, int], None]
Timing = tuple[int, float, float]  # coded bytes, seconds to encode, seconds to decode
Coder = Callable[[np.ndarray, np.ndarray], Timing]  # codes the first, decodes into the second


@dataclass(frozen=True)
class SpeedRow:
    """One coder on the whole model: coded bytes, ratio, and bytes of the original per second."""

    coder: str
    size: int
    ratio: float
    encode: float
    decode: float


@dataclass(frozen=True)
class SpeedReport:
    """A row a coder; `original_size` counts the tensors' bytes, tied ones once."""

    original_size: int
    parameters: int
    tensors: int
    threads: int
    rows: tuple[SpeedRow, ...]

    def to_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}


def measure_speed(
    source: Source,
    *,
    efforts: Sequence[Effort] = ("fast", "max"),
    threads: int = 1,
    progress: Progress | None = None,
) -> SpeedReport:
    """Code and decode every tensor of `source` with each effort, and with zstd if installed.

    One tensor is in memory at a time. Decoding writes into a buffer whose pages are mapped
    already: fresh ones cost every coder the same and hide what is measured.
    Raises ArgumentError when the model has no data, VerifyError when a coder is not bit-exact.
    """
    stored = [info for info in source.infos if info.name not in source.aliases]
    total = sum(info.nbytes for info in stored)
    if not total:
        raise ArgumentError(f"{source.identity}: no tensor has any data")
    filled = sum(info.nbytes > 0 for info in stored)

    def told(done: int) -> None:
        if progress:
            progress("bench", done, filled)

    timings = _timings(source, _coders(efforts, threads), told)
    return SpeedReport(
        original_size=total,
        parameters=sum(prod(info.shape) for info in stored),
        tensors=len(source.infos),
        threads=threads,
        rows=tuple(
            SpeedRow(name, size, total / size, total / encode, total / decode)
            for name, (size, encode, decode) in timings.items()
        ),
    )


def _timings(
    source: Source, coders: Mapping[str, Coder], told: Callable[[int], None]
) -> dict[str, Timing]:
    """What each coder took for all tensors; `told` is given how many are done."""
    timings = dict.fromkeys(coders, (0, 0.0, 0.0))
    scratch = np.empty(0, np.uint8)
    done = 0
    for tensors, array in _arrays(source):
        raw = array.reshape(-1).view(np.uint8)
        if raw.nbytes > scratch.nbytes:
            scratch = np.ones(raw.nbytes, np.uint8)
        for name, coder in coders.items():
            out = scratch[: raw.nbytes]
            timings[name] = _add(timings[name], coder(array, out))
            if not np.array_equal(out, raw):
                raise VerifyError(f"{source.identity}: {name} is not bit-exact")
        done += tensors
        told(done)
    return timings


def _add(a: Timing, b: Timing) -> Timing:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _arrays(source: Source) -> Iterator[tuple[int, np.ndarray]]:
    """The tensors with data, in memory, small ones of a dtype joined; and how many were."""
    small: dict[str, list[np.ndarray]] = {}
    for info in source.infos:
        if info.name in source.aliases or not info.nbytes:
            continue
        if info.nbytes < _SOLID:
            small.setdefault(info.dtype, []).append(source.load(info.name).reshape(-1))
        else:
            yield 1, source.load(info.name).copy()  # reading the disk must not count
    for group in small.values():
        yield len(group), np.concatenate(group)


def _coders(efforts: Sequence[Effort], threads: int) -> dict[str, Coder]:
    coders = {str(effort): _taut(effort, threads) for effort in efforts}
    if importlib.util.find_spec("zstandard") is not None:
        coders[f"zstd -{_ZSTD_LEVEL}"] = _zstd(threads)
    return coders


def _taut(effort: Effort, threads: int) -> Coder:
    def run(array: np.ndarray, out: np.ndarray) -> Timing:
        begin = time.perf_counter()
        coded = encode_lossless(array, effort=effort, threads=threads)
        encoded = time.perf_counter()
        target = out.view(array.dtype).reshape(array.shape)
        decode([Job(coded.header, coded.chunks, target)], threads=threads)
        return coded.nbytes, encoded - begin, time.perf_counter() - encoded

    return run


def _zstd(threads: int) -> Coder:
    import zstandard  # type: ignore[import-not-found, unused-ignore]

    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, threads=threads)
    decompressor = zstandard.ZstdDecompressor()

    def run(array: np.ndarray, out: np.ndarray) -> Timing:
        begin = time.perf_counter()
        coded = compressor.compress(array.reshape(-1).view(np.uint8))
        encoded = time.perf_counter()
        with decompressor.stream_reader(coded) as reader:
            reader.readinto(out)
        return len(coded), encoded - begin, time.perf_counter() - encoded

    return run
