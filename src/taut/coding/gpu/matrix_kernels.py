"""Triton's kernels for matrices (docs/coding.md): levels by trellis or without, then values."""

from __future__ import annotations

import triton
import triton.language as tl

from taut.coding.gpu.lane_kernels import CHUNK_LENGTH, first_states, next_symbols, put_numbers

RARE = 5  # numbers (int32) of a matrix's exception: group, lane, column, quantiser, index

_NEXT_EVEN = tl.constexpr(0x43526170)  # states 0 .. 7 after an even symbol, four bits each
_NEXT_ODD = tl.constexpr(0x61704352)
_RARE = tl.constexpr(RARE)


@triton.jit
def decode_matrix(
    blob, chunks, groups, contexts, slots, marks, tails, levels, rare, bad,
    LANES: tl.constexpr, BITS: tl.constexpr, UNIT: tl.constexpr, TRELLIS: tl.constexpr,
):  # fmt: skip
    """Levels (int16) of the chunks of matrices, group after group, in each column after column.

    Exceptions go to `rare`, which is zeros, and have the level 0 meanwhile.
    """
    chunk = tl.program_id(0)
    row = chunks + chunk * CHUNK_LENGTH
    units = tl.load(row)
    count = (tl.load(row + 1) // UNIT).to(tl.int32)
    out = levels + tl.load(row + 3)
    group = groups + tl.load(row + 4) * 2
    last = tl.load(row + 5).to(tl.int32)
    number = last * 0
    tail = tails + tl.load(row + 6)
    tail_count = tl.load(row + 7).to(tl.int32)
    table_0 = slots + tl.load(row + 8)
    columns = tl.load(row + 9).to(tl.int32)
    contexts_0 = contexts + tl.load(row + 10)
    marks_0 = marks + tl.load(row + 11)
    exceptions = blob + tl.load(row + 12)
    exception_count = tl.load(row + 13).to(tl.int32)
    rare_0 = rare + tl.load(row + 14) * _RARE
    group_0 = tl.load(row + 4).to(tl.int32)
    quantisers: tl.constexpr = 2 if TRELLIS else 1
    low: tl.constexpr = 1 << (8 * UNIT)
    lane = tl.arange(0, LANES)
    x = first_states(blob, tl.load(row + 2), lane, UNIT)
    wrong = x < low
    taken = count * 0
    escaped = count * 0
    met = count * 0
    while number < last:
        of_column = contexts_0 + tl.load(group).to(tl.int64) * columns
        n = tl.load(group + 1)
        used = lane < n
        state = tl.zeros_like(lane)
        column = count * 0
        while column < columns:
            first = tl.load(of_column + column).to(tl.int32) * quantisers
            mark = tl.load(marks_0 + first).to(tl.int32)
            quantiser = state & (quantisers - 1)
            table = table_0 + ((first + quantiser) << BITS)
            symbol, x, taken = next_symbols(blob, units, count, table, x, used, taken, BITS, UNIT)
            is_escape = used & (symbol == mark)
            if tail_count > 0:
                one = is_escape.to(tl.int32)
                place = escaped + tl.cumsum(one, 0) - one
                real = is_escape & (place < tail_count)
                byte = tl.load(tail + place, mask=real, other=128).to(tl.int32)
                symbol = tl.where(is_escape, byte, symbol)
                escaped += tl.sum(one, 0)
            else:
                wrong |= is_escape
            special = used & (symbol == 255)
            q = symbol - 128
            if exception_count > 0:
                one = special.to(tl.int32)
                place = met + tl.cumsum(one, 0) - one
                real = special & (place < exception_count)
                index = tl.zeros_like(lane)
                for k in tl.static_range(4):
                    byte = tl.load(exceptions + place * 4 + k, mask=real, other=0)
                    index |= byte.to(tl.int32) << (8 * k)
                found = rare_0 + place * _RARE
                tl.store(found, tl.zeros_like(lane) + (group_0 + number), mask=real)
                tl.store(found + 1, lane, mask=real)
                tl.store(found + 2, tl.zeros_like(lane) + column, mask=real)
                tl.store(found + 3, quantiser, mask=real)
                tl.store(found + 4, index, mask=real)
                q = tl.where(special, 0, q)
                met += tl.sum(one, 0)
            else:
                wrong |= special
            level = q
            if TRELLIS:
                sign = (q > 0).to(tl.int32) - (q < 0).to(tl.int32)
                level = 2 * q - quantiser * sign
                after = tl.where(symbol & 1 == 1, _NEXT_ODD, _NEXT_EVEN)
                state = (after >> (4 * state)) & 7
            tl.store(out + lane, level.to(tl.int16), mask=used)
            out += n
            column += 1
        group += 2
        number += 1
    wrong |= x != low
    done = (taken != count) | (escaped != tail_count) | (met != exception_count)
    tl.store(bad + chunk, tl.max(wrong.to(tl.int32), 0) | done.to(tl.int32))


@triton.jit
def _value(level, q, offset, row_scale, column_scale):
    """A level's number: three operations of float32, none fused."""
    return (level - tl.where(q < 0, -offset, offset)) * row_scale * column_scale


@triton.jit(do_not_specialize=["columns"])
def put_levels(
    levels, groups, order, row_scales, column_scales, offsets, out, columns,
    TRELLIS: tl.constexpr, OUTPUT: tl.constexpr, LANES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Values of a matrix, some columns of a group of rows each.

    A row of `groups` (int64): where the group's levels begin, its first row in `order`, its rows.
    """
    group = groups + tl.program_id(0) * 3
    begin, first, n = tl.load(group), tl.load(group + 1), tl.load(group + 2)
    lane = tl.arange(0, LANES)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    in_rows, in_columns = lane < n, column < columns
    used = in_columns[:, None] & in_rows[None, :]
    at = begin + column.to(tl.int64)[:, None] * n + lane[None, :]
    level = tl.load(levels + at, mask=used, other=0).to(tl.int32)
    row = tl.load(order + first + lane, mask=in_rows, other=0)
    q = level
    if TRELLIS:
        # Of both quantisers: level 2q or 2q - sign(q).
        q = tl.where(level > 0, (level + 1) >> 1, -((1 - level) >> 1))
    offset = tl.load(offsets + tl.minimum(tl.abs(q), 3))
    scale = tl.load(row_scales + row, mask=in_rows, other=0.0)[None, :]
    scale_2 = tl.load(column_scales + column, mask=in_columns, other=0.0)[:, None]
    v = _value(level.to(tl.float32), q, offset, scale, scale_2)
    put_numbers(out + row[None, :] * columns + column[:, None], v, used, OUTPUT)


@triton.jit(do_not_specialize=["columns", "count"])
def put_exceptions(
    rare, groups, order, row_scales, column_scales, offsets, out, columns, count,
    TRELLIS: tl.constexpr, OUTPUT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Values of a matrix's exceptions, over what `put_levels` has put there."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    used = i < count
    found = rare + i * _RARE
    group = tl.load(found, mask=used, other=0).to(tl.int64)
    lane = tl.load(found + 1, mask=used, other=0)
    column = tl.load(found + 2, mask=used, other=0)
    quantiser = tl.load(found + 3, mask=used, other=0)
    q = tl.load(found + 4, mask=used, other=0).to(tl.int64)
    level = q
    if TRELLIS:
        level = 2 * q - quantiser * ((q > 0).to(tl.int64) - (q < 0).to(tl.int64))
    first = tl.load(groups + group * 3 + 1, mask=used, other=0)
    row = tl.load(order + first + lane, mask=used, other=0)
    offset = tl.load(offsets + tl.minimum(tl.abs(q), 3))
    scale = tl.load(row_scales + row, mask=used, other=0.0)
    scale_2 = tl.load(column_scales + column, mask=used, other=0.0)
    v = _value(level.to(tl.float32), q, offset, scale, scale_2)
    put_numbers(out + row * columns + column, v, used, OUTPUT)
