"""One-place damage to headers and chunks: refused, or decoded as every other decoder does.

There are no checksums on this floor, so a wrong value is allowed; a crash, a hang, a write outside
the buffer or two decoders that disagree are not.
"""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut.coding import (
    BitPiece as Piece,
)
from taut.coding import (
    CodedArray,
    Job,
    decode,
    decoded_nbytes,
    encode_adaptive,
    encode_indices,
    encode_lossless,
    encode_matrix,
    encode_records,
)
from taut.coding import (
    ContextTerm as Term,
)
from taut.coding import (
    RecordField as Field,
)
from taut.coding import (
    RecordLayout as Layout,
)
from taut.errors import ArgumentError, FormatError


def specimens() -> dict[str, CodedArray]:
    """Arrays that between them use every coder and every part of header and chunk."""
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((40, 100)) * np.exp(rng.uniform(-8, 2, (40, 1)))
    wide = rng.standard_normal((200, 260)) * np.exp(rng.uniform(-8, 0, (200, 1)))
    half = weights.astype(np.float32)
    half[::2] = half[::2].astype(np.float16)
    q = np.rint(weights * 9).astype(np.int32)
    uniform: dict[str, Any] = {"step": 0.11, "offsets": (0.1, 0.05, 0.02)}
    f32, bf16 = np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)
    exponents: dict[str, Any] = {
        "row_exponents": rng.integers(120, 130, 40).astype(np.uint8),
        "column_exponents": rng.integers(126, 131, 100).astype(np.uint8),
    }
    many = np.rint(np.tile(wide, (2, 1)) * 3 + rng.standard_normal((400, 260))).astype(np.int32)
    many[7, 7:9] = 2**20, -70
    first = rng.integers(0, 4, (600, 1)).astype(np.uint8)
    nibbles = np.minimum(rng.integers(0, 16, (600, 8)), 5 * first + 1).astype(np.uint8)
    by_first = Layout(
        9,
        (
            Field((Piece(0, 8),)),
            Field((Piece(8, 4, (8,)),), (8,), terms=(Term(0, 2),), shift=1, buckets=8),
            Field((Piece(12, 4, (16,)), Piece(20, 4, (16,))), (4,), elements=2),
        ),
    )
    return {
        "constant": encode_lossless(np.ones(50, np.int64)),
        "stored": encode_lossless(np.frombuffer(rng.bytes(300), np.uint16)),
        "small": encode_lossless(weights.astype(bf16)),
        "dropping": encode_lossless(half),
        "sparse": encode_lossless((weights * (rng.random(weights.shape) < 0.2)).astype(f32)),
        "integers": encode_lossless(np.rint(weights * 1000).astype(np.int32)),
        "dense": encode_lossless(np.tile(weights, (3, 1)).astype(f32), effort="max"),
        "fast": encode_lossless(wide.astype(bf16), effort="fast"),
        "indices": encode_indices(q, dtype=f32, **uniform),
        "fast indices": encode_indices(
            np.rint(wide * 30).astype(np.int32), dtype=bf16, effort="fast", **uniform
        ),
        "matrix": encode_matrix(q, step=0.1, trellis=True, dtype=f32, **exponents),
        "plain matrix": encode_matrix(
            q[:9], step=0.1, offsets=(0.1, 0.05, 0.0), trellis=False, dtype=bf16
        ),
        "dense matrix": encode_matrix(many, step=0.1, trellis=True, dtype=bf16),
        "fast matrix": encode_matrix(
            np.tile(many, (2, 1)), step=0.1, trellis=True, dtype=f32, effort="fast"
        ),
        "adaptive": encode_adaptive(q[:12] * (rng.random(100) < 0.4), step=0.1, dtype=f32),
        "adaptive levels": encode_adaptive(
            np.clip(q[:7], -9, 9),
            levels=np.sort(rng.standard_normal(19)).astype(np.float32),
            low=-9,
            scales=np.exp(rng.standard_normal((7, 4))).astype(np.float32),
            group=30,
            period=5,
            dtype=bf16,
        ),
        "records": encode_records(np.concatenate([first, nibbles], 1), by_first, 90),
        "dense records": encode_records(
            np.tile(np.concatenate([first, nibbles], 1), (4, 1)), by_first, 90
        ),
    }


SPECIMENS = specimens()


def test_specimens_use_what_there_is(decode_everywhere: Any) -> None:
    assert {coded.header[4] for coded in SPECIMENS.values()} == set(range(7))
    for coded in SPECIMENS.values():
        assert decode_everywhere(coded.header, coded.chunks) is not None


@pytest.mark.parametrize("name", SPECIMENS)
def test_every_truncated_header_is_refused(name: str, decode_everywhere: Any) -> None:
    coded = SPECIMENS[name]
    for end in range(len(coded.header)):
        with pytest.raises(FormatError):
            decoded_nbytes(coded.header[:end])
    for more in (b"\0", b"\1", b"\0" * 9):
        with pytest.raises(FormatError):
            decoded_nbytes(coded.header + more)
    assert decode_everywhere(coded.header[:-1], coded.chunks) is None


def is_adaptive(name: str) -> bool:
    return SPECIMENS[name].header[4] == 5


@pytest.mark.parametrize("name", [n for n in SPECIMENS if is_adaptive(n)])
def test_a_truncated_adaptive_chunk_is_decoded_alike_and_a_longer_one_refused(
    name: str, decode_everywhere: Any
) -> None:
    """Bytes behind the last count as zeros: that some are missing is mostly, not always, seen."""
    coded = SPECIMENS[name]
    [chunk] = coded.chunks
    ends = (0, 1, 2, len(chunk) // 3, len(chunk) // 2, *range(len(chunk) - 9, len(chunk)))
    found = [decode_everywhere(coded.header, [chunk[:end]]) for end in ends]
    assert sum(array is None for array in found) > len(found) / 2
    for more in (b"\0", b"\1", chunk):
        assert decode_everywhere(coded.header, [chunk + more]) is None
    for chunks in ([], [chunk, chunk]):
        assert decode_everywhere(coded.header, chunks) is None


@pytest.mark.parametrize(
    "name", [n for n in SPECIMENS if SPECIMENS[n].chunks and not is_adaptive(n)]
)
def test_every_truncated_or_longer_chunk_is_refused(name: str, decode_everywhere: Any) -> None:
    coded = SPECIMENS[name]
    *others, last = coded.chunks
    out = np.empty(decoded_nbytes(coded.header), np.uint8)
    ends = range(len(last)) if len(last) < 2000 else np.linspace(0, len(last) - 1, 400, dtype=int)
    for chunk in [*(last[:end] for end in ends), last + b"\0", last + last]:
        with pytest.raises(FormatError):
            decode([Job(coded.header, [*others, chunk], out)])
    for chunks in ([], [*coded.chunks, last]):
        assert decode_everywhere(coded.header, chunks) is None


def flipped(data: bytes, bit: int) -> bytes:
    """`data` with one bit turned; positions are taken modulo its length."""
    at = bit % (8 * len(data))
    return data[: at // 8] + bytes([data[at // 8] ^ 1 << at % 8]) + data[at // 8 + 1 :]


@settings(max_examples=examples(300))
@given(name=st.sampled_from(sorted(SPECIMENS)), bit=st.integers(0, 1 << 40), edge=st.booleans())
def test_a_flipped_bit_of_a_chunk_is_refused_or_decoded_alike(
    name: str, bit: int, edge: bool, decode_everywhere: Any
) -> None:
    coded = SPECIMENS[name]
    if not coded.chunks:
        return
    *others, last = coded.chunks
    if edge:  # sizes and states are a small part of a chunk: go there more often
        bit = bit % 64 if bit % 3 else -1 - bit % 2048
    decode_everywhere(coded.header, [*others, flipped(last, bit)])


@settings(max_examples=examples(400))
@given(name=st.sampled_from(sorted(SPECIMENS)), bit=st.integers(0, 1 << 40))
def test_a_flipped_bit_of_a_header_is_refused_or_decoded_alike(
    name: str, bit: int, decode_everywhere: Any
) -> None:
    coded = SPECIMENS[name]
    decode_everywhere(flipped(coded.header, bit), coded.chunks)


@settings(max_examples=examples(200))
@given(header=st.binary(max_size=80), chunk=st.binary(max_size=400))
def test_garbage_is_refused_or_decoded_alike(
    header: bytes, chunk: bytes, decode_everywhere: Any
) -> None:
    decode_everywhere(b"LCA1" + header, [chunk])


def test_the_buffer_must_fit(rng: np.random.Generator) -> None:
    coded = SPECIMENS["small"]
    for wrong in (7999, 8001, 0):
        with pytest.raises(FormatError, match="8000"):
            decode([Job(coded.header, coded.chunks, np.empty(wrong, np.uint8))])
    frozen = np.empty(8000, np.uint8)
    frozen.flags.writeable = False
    for out in (frozen, np.empty(16000, np.uint8)[::2]):
        with pytest.raises(ArgumentError, match="writable"):
            decode([Job(coded.header, coded.chunks, out)])


def test_a_failure_among_many_jobs_and_threads_is_told_by_place() -> None:
    coded = SPECIMENS["small"]
    outs = [np.empty(8000, np.uint8) for _ in range(8)]
    jobs = [Job(coded.header, coded.chunks, out) for out in outs]
    jobs[5] = Job(coded.header, [coded.chunks[0][:-1]], outs[5])
    with pytest.raises(FormatError, match="job 5 chunk 0"):
        decode(jobs, threads=2)
