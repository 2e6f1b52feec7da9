"""Every coded array once written decodes for ever: the files of `arrays/` are never made again."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from taut import _core
from taut.coding import Job, decode, decoded_nbytes
from taut.coding._reference import decode_reference

ARRAYS = sorted((Path(__file__).parent / "arrays").glob("*.safetensors"))


def read(path: Path) -> tuple[bytes, list[bytes], bytes]:
    """Header, chunks and the bytes they mean."""
    parts = {key: part.tobytes() for key, part in load_file(path).items()}
    chunks = [parts[f"chunk{i}"] for i in range(len(parts) - 2)]
    return parts["header"], chunks, zlib.decompress(parts["expected"])


def test_there_are_golden_arrays_of_every_kind_and_coder() -> None:
    facts = [_core.inspect(np.frombuffer(read(path)[0], np.uint8)) for path in ARRAYS]
    kinds = {"stored", "split", "uniform", "constant", "matrix", "adaptive", "records"}
    assert {fact["kind"] for fact in facts} == kinds
    records = {fact["coder"] for fact in facts if fact["kind"] == "records"}
    assert records == {"dense", "small"}
    for kind in ("split", "uniform", "matrix"):
        coders = {fact["coder"] for fact in facts if fact["kind"] == kind}
        assert coders == {"fast", "dense", "small"}
    assert sum(path.stat().st_size for path in ARRAYS) < 400_000


@pytest.mark.parametrize("path", ARRAYS, ids=lambda path: path.stem)
def test_a_golden_array_decodes(path: Path) -> None:
    header, chunks, expected = read(path)
    assert decode_reference(header, chunks) == expected
    for kernels in _core.kernels():
        out = np.empty(decoded_nbytes(header), np.uint8)
        decode([Job(header, chunks, out)], kernels=kernels)
        assert out.tobytes() == expected, kernels
