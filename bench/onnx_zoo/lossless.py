"""A file of the zoo as a Taut file: bit-exact, and at a number of bits without data."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import taut
from bench.onnx_zoo.files import ZooFile
from taut.errors import TargetError
from taut.networks.onnx_session import open_session

Outputs = list[list[np.ndarray]]  # by batch, then by output

BATCHES = 8


def coded(file: ZooFile, bits: float = 4) -> dict[str, object]:
    """Compress and restore a file both ways, and run what comes back.

    The ratios are those of the sizes on disk. `error` is that of the worst output: the root mean
    square over `BATCHES` of drawn inputs, over the range of the original's. `tensors` counts those
    that the exact file holds apart from the graph, `matrices` those that were rounded.
    """
    original = outputs(file.path, file)
    with tempfile.TemporaryDirectory() as name:
        packed, back = Path(name, "m.taut.safetensors"), Path(name, "m.onnx")
        exact = taut.compress(file.path, packed)
        taut.decompress(packed, back)
        same = back.read_bytes() == file.path.read_bytes()
        row: dict[str, object] = {
            "name": file.name,
            "package": file.package,
            "bytes": file.path.stat().st_size,
            "tensors": len(exact.tensors) - 1,
            "exact": same,
            "ratio": exact.original_size / exact.size,
        }
        rounded = _rounded(file.path, packed, bits)
        taut.decompress(packed, back, force=True)
        return row | {
            "matrices": sum(one.scheme.startswith("rd") for one in rounded.tensors),
            "ratio_rounded": rounded.original_size / rounded.size,
            "bits": rounded.bits,
            "error": worst(original, outputs(back, file)),
        }


def _rounded(path: Path, packed: Path, bits: float) -> taut.Result:
    """Compress at so many bits, or at two more until the other tensors find room."""
    while True:
        try:
            return taut.compress(path, packed, bits=bits, force=True)
        except TargetError:
            if bits > 16:
                raise
            bits += 2


def outputs(path: Path, file: ZooFile) -> Outputs:
    """What a model gives for the zoo file's inputs, drawn anew but always the same."""
    session, rng = open_session(path, threads=1), np.random.default_rng(0)
    return [session.run(None, file.inputs(rng)) for _ in range(BATCHES)]


def worst(original: Outputs, other: Outputs) -> float:
    """The largest error of an output, relative to the range of its values."""
    return max(
        _error(np.stack(first), np.stack(second))
        for first, second in zip(zip(*original, strict=True), zip(*other, strict=True), strict=True)
    )


def _error(original: np.ndarray, other: np.ndarray) -> float:
    span = float(original.max() - original.min())
    squares = np.square(original.astype(np.float64) - other)
    return float(np.sqrt(squares.mean())) / span if span else float(squares.any())


COLUMNS: Mapping[str, str] = {
    "name": "file",
    "bytes": "bytes",
    "tensors": "tensors",
    "exact": "same bytes back",
    "ratio": "bit-exact",
    "bits": "bits",
    "ratio_rounded": "rounded",
    "error": "error",
}


def rows(files: Sequence[ZooFile], bits: float = 4) -> list[dict[str, object]]:
    """The rows of several files."""
    return [coded(file, bits) for file in files]
