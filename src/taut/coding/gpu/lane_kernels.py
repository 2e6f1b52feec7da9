"""What Triton's kernels share: coded arrays as docs/coding.md describes them, units to symbols.

A chunk's entropy code is one program of one warp: its lanes' states stay in registers, and a scan
over the warp hands the units out in lane order. Slots (`byte | frequency << 8 | rank << 20`, as the
core packs them) are gathered by loads: a table has 1 kB (16 with 12-bit probabilities) and stays in
the first-level cache, which GPUs cut from the same memory as what Triton calls shared. What follows
the code is as parallel as the values are, and done by kernels of its own.

Nothing that a file says leads outside: every load and store that depends on coded data is masked or
within a table. A chunk that no encoder would have written is marked in `bad` (int32, one a chunk),
for the CPU to say what is wrong with it.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Numbers (int64) of a chunk, in the order in which kernels read them:
#   0 units, a byte's place   1 their bytes   2 states, a byte's place   3 where its symbols go
#   4 first segment or group  5 how many      6 tail, a byte's place     7 its symbols
#   8 first slot              9 columns       10 contexts, a byte's place   11 first mark
#  12 exceptions, a byte's place   13 how many   14 those of the chunks before
CHUNK = 15
CHUNK_LENGTH = tl.constexpr(CHUNK)


@triton.jit
def first_states(blob, at, lane, UNIT: tl.constexpr):
    """First states, which lie at any byte: two units each."""
    x = tl.zeros_like(lane).to(tl.uint32)
    for k in tl.static_range(2 * UNIT):
        x |= tl.load(blob + at + lane * (2 * UNIT) + k).to(tl.uint32) << (8 * k)
    return x


@triton.jit
def units_at(blob, at, where, mask, UNIT: tl.constexpr):
    """Units by number, which lie at any byte."""
    unit = tl.load(blob + at + where * UNIT, mask=mask, other=0).to(tl.uint32)
    if UNIT == 2:
        unit |= tl.load(blob + at + where * 2 + 1, mask=mask, other=0).to(tl.uint32) << 8
    return unit


@triton.jit
def next_symbols(
    blob, units, count, slots, x, used, taken, BITS: tl.constexpr, UNIT: tl.constexpr
):  # fmt: skip
    """A symbol for each lane, the states after it, and how many units are taken by then.

    `slots` are where the lanes' slots of a state's lowest bits begin. States of lanes that are not
    `used` stay.
    """
    low: tl.constexpr = 1 << (8 * UNIT)
    at = slots + (x & ((1 << BITS) - 1)).to(tl.int32)
    slot = tl.load(at).to(tl.uint32, bitcast=True)
    z = ((slot >> 8) & 0xFFF) * (x >> BITS) + (slot >> 20)
    need = used & (z < low)
    one = need.to(tl.int32)
    place = taken + tl.cumsum(one, 0) - one
    unit = units_at(blob, units, place, need & (place < count), UNIT)
    z = tl.where(need, (z << (8 * UNIT)) | unit, z)
    return (slot & 255).to(tl.int32), tl.where(used, z, x), taken + tl.sum(one, 0)


@triton.jit
def put_numbers(to, v, used, OUTPUT: tl.constexpr):
    """Numbers rounded to the output type, to nearest, ties to even; none is a NaN."""
    if OUTPUT == 0:
        tl.store(to, v, mask=used)
    elif OUTPUT == 1:
        tl.store(to, v.to(tl.float16), mask=used)
    elif OUTPUT == 2:
        bits = v.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        tl.store(to, bits.to(tl.uint16).to(tl.int16, bitcast=True), mask=used)
    else:
        tl.store(to, v.to(tl.float64), mask=used)
