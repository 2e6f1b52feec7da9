"""Triton's kernels for split and uniform arrays (docs/coding.md): symbols, escapes, values."""

from __future__ import annotations

import triton
import triton.language as tl

from taut.coding.gpu.lane_kernels import CHUNK_LENGTH, first_states, next_symbols, put_numbers


@triton.jit
def decode_segments(
    blob, chunks, segments, slots, symbols, escapes, bad,
    LANES: tl.constexpr, BANKS: tl.constexpr, BITS: tl.constexpr, UNIT: tl.constexpr,
):  # fmt: skip
    """Symbols of the chunks of split and uniform arrays, in coded order, and how many escapes."""
    chunk = tl.program_id(0)
    row = chunks + chunk * CHUNK_LENGTH
    units = tl.load(row)
    count = (tl.load(row + 1) // UNIT).to(tl.int32)
    at = tl.load(row + 2)
    out = symbols + tl.load(row + 3)
    segment = segments + tl.load(row + 4) * 3
    last = tl.load(row + 5).to(tl.int32)
    number = last * 0
    table_0 = slots + tl.load(row + 8)
    lane = tl.arange(0, LANES)
    low: tl.constexpr = 1 << (8 * UNIT)
    x = first_states(blob, at, lane, UNIT)
    y = x
    if BANKS == 2:
        y = first_states(blob, at + LANES * 2 * UNIT, lane, UNIT)
    wrong = (x < low) | (y < low)
    escaped = tl.zeros_like(lane)
    taken = count * 0
    while number < last:
        table = table_0 + (tl.load(segment) << BITS)
        left = tl.load(segment + 1)
        mark = tl.load(segment + 2)
        while left > 0:
            used = lane < left
            symbol, z, taken = next_symbols(blob, units, count, table, x, used, taken, BITS, UNIT)
            escaped += (used & (symbol == mark)).to(tl.int32)
            tl.store(out + lane, symbol.to(tl.uint8), mask=used)
            out += tl.minimum(left, LANES)
            left -= LANES
            if BANKS == 2:
                x, y = y, z
            else:
                x, y = z, z
        segment += 3
        number += 1
    wrong |= (x != low) | (y != low)
    tl.store(escapes + chunk, tl.sum(escaped, 0))
    tl.store(bad + chunk, tl.max(wrong.to(tl.int32), 0) | (taken != count).to(tl.int32))


@triton.jit
def patch_escapes(blob, chunks, segments, tails, symbols, BLOCK: tl.constexpr):
    """Puts the tail's bytes where an escape was decoded."""
    row = chunks + tl.program_id(0) * CHUNK_LENGTH
    out = symbols + tl.load(row + 3)
    segment = segments + tl.load(row + 4) * 3
    last = tl.load(row + 5).to(tl.int32)
    tail = tails + tl.load(row + 6)
    count = tl.load(row + 7).to(tl.int32)
    if count == 0:
        last = count
    number = last * 0
    lane = tl.arange(0, BLOCK)
    taken = count * 0
    while number < last:
        left = tl.load(segment + 1)
        mark = tl.load(segment + 2)
        while left > 0:
            used = lane < left
            symbol = tl.load(out + lane, mask=used, other=0).to(tl.int32)
            one = (used & (symbol == mark)).to(tl.int32)
            place = taken + tl.cumsum(one, 0) - one
            real = (one == 1) & (place < count)
            byte = tl.load(tail + place, mask=real, other=0)
            tl.store(out + lane, byte, mask=real)
            taken += tl.sum(one, 0)
            out += tl.minimum(left, BLOCK)
            left -= BLOCK
        segment += 3
        number += 1


@triton.jit
def count_exceptions(symbols, starts, counts, columns, count, BLOCK: tl.constexpr):
    """How many exceptions each block of a row has."""
    r = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    used = (i < columns) & (r * columns + i < count)
    symbol = tl.load(symbols + tl.load(starts + r) + i, mask=used, other=0).to(tl.int32)
    number = tl.sum((symbol == 255).to(tl.int32), 0)
    tl.store(counts + r * tl.num_programs(1) + tl.program_id(1), number)


@triton.jit
def exceptions_of(chunks, chunk, ahead, r, special):
    """Which entries of its chunk's list a block's exceptions take, and which of these are there."""
    one = special.to(tl.int32)
    row = chunks + chunk.to(tl.int64) * CHUNK_LENGTH
    before = tl.load(ahead + r * tl.num_programs(1) + tl.program_id(1)) - tl.load(row + 14)
    place = before + tl.cumsum(one, 0) - one
    return place, special & (place >= 0) & (place < tl.load(row + 13))


@triton.jit
def put_words(to, word, used, WIDTH: tl.constexpr):
    """Words of WIDTH bytes, what lies above cut off."""
    if WIDTH == 1:
        tl.store(to, word.to(tl.uint8), mask=used)
    elif WIDTH == 2:
        tl.store(to, word.to(tl.uint16).to(tl.int16, bitcast=True), mask=used)
    elif WIDTH == 4:
        tl.store(to, word.to(tl.uint32).to(tl.int32, bitcast=True), mask=used)
    else:
        tl.store(to, word.to(tl.int64, bitcast=True), mask=used)


@triton.jit(do_not_specialize=["low", "drop", "base", "columns", "count"])
def merge_rows(
    blob, chunks, symbols, starts, raws, marked, chunk_of, ahead, out, bad,
    low, drop, base, columns, count, WIDTH: tl.constexpr, MODE: tl.constexpr, BYTES: tl.constexpr,
    EXCEPTIONS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Values of a split array: a block of a row each, from its symbols and its raw bits.

    `starts` and `raws` say where a row's symbols and raw bits begin; `out` takes words of WIDTH
    bytes; BYTES are those that a field may touch; `ahead` has the array's exceptions before each
    block, if there are any.
    """
    r = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    used = (i < columns) & (r * columns + i < count)
    symbol = tl.load(symbols + tl.load(starts + r) + i, mask=used, other=0).to(tl.int32)
    chunk = tl.load(chunk_of + r)
    special = symbol == 255
    lost = special
    # In 32 bits where they do: what lies above the width of a value is lost anyhow.
    wide: tl.constexpr = WIDTH == 8 or BYTES > 4
    word_type: tl.constexpr = tl.uint64 if wide else tl.uint32
    dropped = tl.load(marked + r).to(tl.int32) * drop
    packed = low - dropped
    bit = i * packed
    byte = blob + tl.load(raws + r) + (bit >> 3)
    field = tl.zeros_like(bit).to(word_type)
    for k in tl.static_range(BYTES):
        field |= tl.load(byte + k, mask=used, other=0).to(word_type) << (8 * k)
    one = tl.full((1,), 1, word_type)
    field = (field >> (bit & 7).to(word_type)) & ((one << packed.to(word_type)) - one)
    field = field << dropped.to(word_type)
    number = symbol.to(tl.int64) if wide else symbol
    high = tl.where(symbol == 0, 0, base + number - 1).to(word_type)
    if EXCEPTIONS:
        place, real = exceptions_of(chunks, chunk, ahead, r, special)
        lost = special & (real == 0)
        entry = blob + tl.load(chunks + chunk.to(tl.int64) * CHUNK_LENGTH + 12) + place * WIDTH
        high = tl.where(special, high * 0, high)
        for k in tl.static_range(WIDTH):
            high |= tl.load(entry + k, mask=real, other=0).to(word_type) << (8 * k)
    tl.store(bad + chunk, 1, mask=tl.max(lost.to(tl.int32), 0) > 0)
    if MODE == 1:
        plain = (low - 1).to(word_type)
        word = (high << plain) | (field & ((one << plain) - one))
        word |= ((field >> plain) & one) << (8 * WIDTH - 1)
    else:
        word = (high << low.to(word_type)) | field
        if MODE == 2:
            word ^= one << (8 * WIDTH - 1)
    put_words(out + r * columns + i, word, used, WIDTH)


@triton.jit(do_not_specialize=["columns", "count"])
def look_up_rows(
    blob, chunks, symbols, starts, chunk_of, ahead, levels, shifts, out, bad, columns, count,
    OUTPUT: tl.constexpr, EXCEPTIONS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Values of a uniform array: each symbol's level, of which `levels` has 256.

    An exception is q * step + shift, both operations rounded to float32 and not fused: compile it
    so. `shifts` are those of -3 .. 3, and the step.
    """
    r = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    used = (i < columns) & (r * columns + i < count)
    symbol = tl.load(symbols + tl.load(starts + r) + i, mask=used, other=0).to(tl.int32)
    chunk = tl.load(chunk_of + r)
    special = symbol == 255
    lost = special
    tl.store(out + r * columns + i, tl.load(levels + symbol), mask=used & (symbol != 255))
    if EXCEPTIONS:
        place, real = exceptions_of(chunks, chunk, ahead, r, special)
        lost = special & (real == 0)
        entry = blob + tl.load(chunks + chunk.to(tl.int64) * CHUNK_LENGTH + 12) + place * 4
        q = tl.zeros_like(symbol)
        for k in tl.static_range(4):
            q |= tl.load(entry + k, mask=real, other=0).to(tl.int32) << (8 * k)
        shift = tl.load(shifts + tl.minimum(tl.maximum(q, -3), 3) + 3)
        v = q.to(tl.float32) * tl.load(shifts + 7) + shift
        put_numbers(out + r * columns + i, v, real, OUTPUT)
    tl.store(bad + chunk, 1, mask=tl.max(lost.to(tl.int32), 0) > 0)
