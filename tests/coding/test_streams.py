"""An array coded in pieces is coded as at once, and its chunks decode by themselves."""

import ml_dtypes
import numpy as np
import pytest

from taut.coding import (
    CodedArray,
    LosslessStream,
    chunked,
    decode_chunks,
    encode_lossless,
    encode_matrix,
    streams,
)
from taut.errors import FormatError


def matrix(rng: np.random.Generator, kind: str) -> np.ndarray:
    values = rng.standard_normal((700, 900)) * np.exp(rng.uniform(-6, 0, (700, 1)))
    match kind:
        case "sparse":
            return (values * (rng.random(values.shape) < 0.2)).astype(np.float32)
        case "halves":
            found = values.astype(np.float32)
            found[::2] = found[::2].astype(np.float16)
            return found
        case "narrow":
            return values.reshape(-1, 9).astype(ml_dtypes.bfloat16)
        case "integers":
            return np.rint(values * 3e4).astype(np.int64)
        case "bytes":
            return rng.integers(0, 40, (700, 900), dtype=np.uint8)
        case "constant":
            return np.full((700, 900), 1.5, np.float32)
        case "outlier":
            found = values.astype(ml_dtypes.bfloat16)
            found[-1, -1] = 3e38
            return found
    return values.astype(ml_dtypes.bfloat16)


KINDS = ["plain", "sparse", "halves", "narrow", "integers", "bytes", "constant", "outlier"]


@pytest.mark.parametrize("effort", ["fast", "max"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_gives_the_bytes_of_the_whole(
    rng: np.random.Generator, kind: str, effort: str
) -> None:
    values = matrix(rng, kind)
    flat, seen = values.reshape(-1), []
    stream = LosslessStream(
        lambda a, b: flat[a:b], values.shape, values.dtype, effort=effort, block=1
    )
    stream.prepare(lambda block: seen.append(block.copy()))
    chunks = tuple(stream.chunks(threads=2))
    assert CodedArray(stream.header, chunks) == encode_lossless(values, effort=effort)
    assert np.concatenate(seen).tobytes() == values.tobytes()


def coded(rng: np.random.Generator) -> list[tuple[CodedArray, int]]:
    values = matrix(rng, "plain")
    indices = rng.integers(-4, 5, (3000, 900)).astype(np.int32)
    by_trellis = encode_matrix(indices, step=0.5, trellis=True, dtype=np.dtype(np.float32))
    return [(encode_lossless(values), values.nbytes), (by_trellis, indices.nbytes)]


def test_chunks_decode_by_themselves(rng: np.random.Generator) -> None:
    from taut.coding import Job, decode

    for array, nbytes in coded(rng):
        facts = chunked(array.header)
        assert (facts.nbytes, facts.chunks) == (nbytes, len(array.chunks))
        assert facts.chunks > 1
        whole = np.empty(nbytes, np.uint8)
        decode([Job(array.header, array.chunks, whole)])
        for first in range(facts.chunks):
            begin = first * facts.chunk_nbytes
            out = np.empty(min(nbytes, begin + facts.chunk_nbytes) - begin, np.uint8)
            decode_chunks(array.header, nbytes, first, array.chunks[first : first + 1], out)
            assert out.tobytes() == whole[begin : begin + out.size].tobytes()


def test_chunks_that_are_not_there_are_an_error(rng: np.random.Generator) -> None:
    array, nbytes = coded(rng)[0]
    out = np.empty(chunked(array.header).chunk_nbytes, np.uint8)
    for first in (len(array.chunks), 1 << 60):
        with pytest.raises(FormatError, match="not these"):
            decode_chunks(array.header, nbytes, first, array.chunks[:1], out)
    with pytest.raises(FormatError, match="size"):
        decode_chunks(array.header, nbytes, 0, array.chunks[:1], out[1:])
    with pytest.raises(FormatError, match="chunk 1"):
        decode_chunks(array.header, nbytes, 1, [array.chunks[1][:-20]], out)
    with pytest.raises(FormatError, match="expected"):
        decode_chunks(array.header, nbytes - 2, 0, array.chunks[:1], out)


def test_passes_come_in_order() -> None:
    values = np.arange(100_000, dtype=np.float32)
    stream = LosslessStream(lambda a, b: values[a:b], values.shape, values.dtype)
    with pytest.raises(ValueError) as error:
        list(stream.chunks())
    assert "order" in str(error.value)
    assert not streams(np.dtype(np.complex64))
