"""Deltas: the native coder and the text agree, and what is alike costs nothing."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut import _core
from taut.coding import (
    CodedArray,
    DeltaStream,
    Job,
    decode,
    decode_chunks,
    decoded_nbytes,
    encode_delta,
)
from taut.coding._reference import decode_reference
from taut.errors import ArgumentError, FormatError

DTYPES = [
    np.uint8,
    np.int16,
    np.int64,
    np.float16,
    ml_dtypes.bfloat16,
    np.float32,
    np.float64,
    ml_dtypes.float8_e4m3fn,
]


def decoded(coded, base):
    """What every decoder of this processor makes of it."""
    outs = {}
    for kernels in _core.kernels():
        out = np.empty_like(base)
        decode([Job(coded.header, coded.chunks, out, base)], kernels=kernels)
        outs[out.tobytes()] = out
    assert len(outs) == 1
    return next(iter(outs.values()))


def as_words(values):
    return values.reshape(-1).view(f"u{values.dtype.itemsize}")


@given(
    st.sampled_from(DTYPES),
    st.sampled_from([(1,), (9, 70), (3, 130), (257,), (41, 67)]),
    st.sampled_from(["same", "few", "ulps", "far", "any", "rows", "flips"]),
    st.integers(0, 2**32 - 1),
)
def test_a_delta_decodes_to_the_values_natively_and_by_the_text(dtype, shape, way, seed):
    rng = np.random.default_rng(seed)
    count, width = int(np.prod(shape)), np.dtype(dtype).itemsize
    base = np.frombuffer(rng.bytes(count * width), f"u{width}").copy()
    words = base.copy()
    some = rng.random(count) < {"few": 0.02, "flips": 0.3}.get(way, 0.9)
    if way == "any":
        words = np.frombuffer(rng.bytes(count * width), f"u{width}").copy()
    elif way == "flips":
        words[some] ^= words.dtype.type(1)
    elif way == "far":  # moves of all lengths, as many of each
        words[some] += words[some] >> rng.integers(0, 8 * width, int(some.sum())).astype(
            words.dtype
        )
    elif way != "same":
        words[some] += rng.integers(0, 9, int(some.sum())).astype(words.dtype)
    if way == "rows":
        words[count // 3 :] = base[count // 3 :]
    base, values = base.view(dtype).reshape(shape), words.view(dtype).reshape(shape)
    coded = encode_delta(values, base)
    assert decoded_nbytes(coded.header) == values.nbytes
    assert decoded(coded, base).tobytes() == values.tobytes()
    assert decode_reference(coded.header, coded.chunks, base.tobytes()) == values.tobytes()


def test_one_ulp_up_or_down_costs_the_entropy_of_where_and_whither():
    rng = np.random.default_rng(0)
    base = (rng.standard_normal((512, 512)) * 0.02).astype(ml_dtypes.bfloat16)
    words = as_words(base).copy()
    some = rng.random(words.size) < 0.02
    words[some] += rng.choice(np.array([1, 65535], np.uint16), int(some.sum()))
    p = some.mean()
    entropy = -p * np.log2(p) - (1 - p) * np.log2(1 - p) + p
    coded = encode_delta(words.view(base.dtype).reshape(base.shape), base)
    assert coded.nbytes * 8 / words.size < 1.03 * entropy


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_more_effort_takes_less_and_every_decoder_reads_both(dtype):
    rng = np.random.default_rng(0)
    base = (rng.standard_normal((264, 250)) * 0.05).astype(dtype)
    moved = 1e-4 * rng.standard_normal(base.shape).astype(np.float32)
    values = (base.astype(np.float32) + moved).astype(dtype)
    fast, small = (encode_delta(values, base, effort=effort) for effort in ("fast", "max"))
    assert small.nbytes < fast.nbytes < 1.03 * small.nbytes
    assert decoded(fast, base).tobytes() == decoded(small, base).tobytes() == values.tobytes()


def test_untouched_rows_and_columns_cost_nothing():
    rng = np.random.default_rng(0)
    base = rng.standard_normal((1024, 256)).astype(np.float32)
    part = base.copy()
    part[:100, :50] += 1e-3 * rng.standard_normal((100, 50)).astype(np.float32)
    alone = encode_delta(np.ascontiguousarray(part[:100, :50]), base[:100, :50].copy())
    assert encode_delta(part, base).nbytes < 1.05 * alone.nbytes + 200
    assert encode_delta(base, base).nbytes < 64


def test_exponents_of_the_base_say_how_long_a_difference_is():
    rng = np.random.default_rng(0)
    base = (rng.standard_normal((256, 256)) * 2.0 ** rng.integers(-8, 1, (256, 256))).astype("f4")
    tuned = base + 1e-5 * rng.standard_normal(base.shape).astype(np.float32)
    ulps = np.abs(as_words(tuned).astype(np.int64) - as_words(base))
    lengths = np.bincount(np.log2(ulps + 1).astype(int)) / base.size
    unaware = -(lengths[lengths > 0] * np.log2(lengths[lengths > 0])).sum()
    raw = np.maximum(np.log2(ulps + 1) - 1, 0).mean()
    assert encode_delta(tuned, base).nbytes * 8 / base.size < raw + 1 + 0.9 * unaware


def test_chunks_are_decoded_alone():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (70, 1 << 16), dtype=np.uint8)
    values = base.copy()
    values[:, ::7] += rng.integers(0, 9, (70, 9363), dtype=np.uint8)
    coded = encode_delta(values, base)
    assert len(coded.chunks) == 5
    out = np.empty(6 << 16, np.uint8)
    given = base[64:].reshape(-1).copy()
    decode_chunks(coded.header, values.nbytes, 4, coded.chunks[4:], out, base=given)
    assert out.tobytes() == values[64:].tobytes()


@pytest.mark.parametrize(
    ("dtype", "shape", "effort", "shares"),
    [
        (np.uint8, (1200, 990), "fast", [0.9]),  # two chunks
        (np.int16, (60001,), "max", [0.9, 0.01]),
        (ml_dtypes.bfloat16, (7000, 3, 3), "max", [0.9, 0.0]),
        (np.float32, (120, 901), "fast", [0.01]),
        (np.float64, (90, 300), "fast", [0.9, 0.0]),
    ],
)
def test_a_stream_gives_the_bytes_of_the_whole(dtype, shape, effort, shares):
    rng = np.random.default_rng(1)
    base = (rng.standard_normal(shape) * 50).astype(dtype)
    for share in shares:  # of values that differ
        words = as_words(base).copy()
        some = rng.random(words.size) < share
        words[some] += rng.integers(1, 99, int(some.sum())).astype(words.dtype)
        values, flat, seen = words.view(dtype), base.reshape(-1), []
        stream = DeltaStream(
            lambda a, b, v=values: v[a:b],
            lambda a, b, v=flat: v[a:b],
            shape,
            base.dtype,
            effort=effort,
            block=1,
        )
        stream.measure(lambda one, other, s=seen: s.append((one.copy(), other.copy())))
        stream.prepare()
        found = CodedArray(stream.header, tuple(stream.chunks(threads=2)))
        assert found == encode_delta(values.reshape(shape), base, effort=effort)
        ours, theirs = (np.concatenate(some).tobytes() for some in zip(*seen, strict=True))
        assert (ours, theirs) == (values.tobytes(), base.tobytes())


def test_passes_of_a_delta_come_in_order():
    base = np.arange(1000, dtype=np.float32)
    core = _core.DeltaStream(1000, 4, 1, 23, 1000, False)
    data = base.view(np.uint8)
    for early in (core.header, core.chunk_values, lambda: core.measure(data, data)):
        with pytest.raises(ValueError):
            early()
    core.look(data)
    for odd in (data[:-4], data[:-1]):
        with pytest.raises(ValueError):
            core.measure(odd, odd)
    with pytest.raises(ValueError):
        core.measure(data, data[:-4])


def test_a_delta_without_a_base_or_of_other_values_is_refused():
    base = np.zeros(100, np.float32)
    coded = encode_delta(base + 1, base)
    with pytest.raises(FormatError, match="base is needed"):
        decode([Job(coded.header, coded.chunks, np.empty(100, np.float32))])
    with pytest.raises(ArgumentError, match=r"float32 \[100\] to float64 \[100\]"):
        encode_delta(base, base.astype(np.float64))


@given(st.integers(0, 2**32 - 1))
def test_damage_is_refused_or_harmless_and_both_decoders_agree(seed):
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((6, 80)).astype(np.float32)
    few = rng.random(base.shape) < rng.choice([0.03, 1.0])
    coded = encode_delta(np.where(few, base * np.float32(1.001), base), base)
    data = bytearray(coded.chunks[0])
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    outcomes = []
    for decoder in (lambda: decoded_of(coded, data, base), lambda: by_the_text(coded, data, base)):
        try:
            outcomes.append(decoder())
        except FormatError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]


def decoded_of(coded, data, base):
    out = np.empty_like(base)
    decode([Job(coded.header, [bytes(data)], out, base)])
    return out.tobytes()


def by_the_text(coded, data, base):
    return decode_reference(coded.header, [bytes(data)], base.tobytes())
