// Decoders that every instruction set shares: a group of lanes at a time, in one stream of symbols or down the columns of a
// matrix, each row in a lane with a trellis state of its own. A processor-specific file includes this behind a struct I
// that says how its instructions are called:
//
//   kLanes, Bytes, Mask    lanes of a group; a byte a lane; a yes or no a lane
//   Active, active(n)      the first n lanes, which alone take units and meet rare symbols
//   load, store, bytes(v), add, sub, exclusive, and_, at_least, less (of bytes below 128), set_in(v, bits),
//   pick(mask, yes, no), add_unless(mask, v, by), keep(mask, v), field<from, bits>(v)
//   rare(mask, active), any, lanes_of; as_bytes(mask), odd bytes for yes
//   closer(q, odd)         levels of symbols: 2 q, where `odd` one closer to zero
//   next(i)                kNextState[i] of every lane
//   Index<Bits, Trellis>(i, odd): find(tables) looks up in 2^Bits bytes, behind which stand those of quantiser 1
//   FastStates             load_from, save_to, slot(), advance(f, rank, active, p)
//   DenseStates            load_from, save_to, slot<Bits>(bucket, offset), advance(f, adjust, offset, active, p), two bytes each
//
// All of it is in an unnamed namespace, as what a processor-specific file takes must be; in `wide`, so that one file that
// has the decoders for several processors can tell their copies apart (tools/amalgamate.py).
#pragma once
#include <algorithm>
#include <type_traits>

#include "simd/simd.hpp"

namespace taut {
namespace {
namespace wide {

// Twice the next state of a trellis, by twice the state and the symbol's parity.
alignas(16) constexpr uint8_t kNextState[16] = {0, 4, 14, 10, 2, 6, 12, 8, 4, 0, 10, 14, 6, 2, 8, 12};

// One symbol of each lane, local to its table; the states move on. `tables` are those of MatrixLookup: own, alias,
// adjust and frequency, the last two of the dense coder in two bytes each.
template <class I, int Bits, bool Trellis>
TAUT_INLINE typename I::Bytes decode(typename I::FastStates& x, const uint8_t* tables, typename I::Mask odd,
                                     const typename I::Active& active, const uint8_t*& p) {
    constexpr size_t part = 2 << Bits;
    const auto slot = x.slot();
    const auto bucket = I::template field<8 - Bits, Bits>(slot), offset = I::template field<0, 8 - Bits>(slot);
    const typename I::template Index<Bits, Trellis> at(bucket, odd);
    const auto own = I::less(offset, at.find(tables));
    const auto local = I::pick(own, bucket, at.find(tables + part));
    const auto rank = I::add_unless(own, offset, at.find(tables + 2 * part));
    const typename I::template Index<Bits, Trellis> of(local, odd);
    x.advance(of.find(tables + 3 * part), rank, active, p);
    return local;
}

template <class I, int Bits, bool Trellis>
TAUT_INLINE typename I::Bytes decode(typename I::DenseStates& x, const uint8_t* tables, typename I::Mask odd,
                                     const typename I::Active& active, const uint8_t*& p) {
    constexpr size_t part = 2 << Bits;
    typename I::Bytes bucket, offset;
    x.template slot<Bits>(bucket, offset);
    const typename I::template Index<Bits, Trellis> at(bucket, odd);
    const auto alias = I::at_least(offset, at.find(tables));
    const auto local = I::pick(alias, at.find(tables + part), bucket);
    const typename I::Bytes adjust[2] = {I::keep(alias, at.find(tables + 2 * part)),
                                         I::keep(alias, at.find(tables + 3 * part))};
    const typename I::template Index<Bits, Trellis> of(local, odd);
    const typename I::Bytes f[2] = {of.find(tables + 4 * part), of.find(tables + 5 * part)};
    x.advance(f, adjust, offset, active, p);
    return local;
}

template <class I, class Coder>
using States = std::conditional_t<Coder::prob_bits == Fast::prob_bits, typename I::FastStates, typename I::DenseStates>;

// --- one stream ----------------------------------------------------------------------------------------------------

// A table as bytes that lookups take, for one quantiser.
template <int Bits, bool dense>
struct StepTables {
    alignas(64) uint8_t bytes[(dense ? 6 : 4) * (2 << Bits) + 64];
    explicit StepTables(const Table& t) {
        uint8_t* to = bytes;
        put(to, t.own.data(), 0);
        std::memcpy(to, t.alias.data(), size_t(1) << Bits);
        to += 2 << Bits;
        put(to, t.adjust.data(), 0);
        if (dense) put(to, t.adjust.data(), 8);
        put(to, t.frequency.data(), 0);
        if (dense) put(to, t.frequency.data(), 8);
    }

private:
    static void put(uint8_t*& to, const uint16_t* from, int shift) {
        for (size_t i = 0; i < size_t(1) << Bits; i++) to[i] = uint8_t(from[i] >> shift);
        to += 2 << Bits;
    }
};

template <class I, class Coder, int Bits>
void steps_of(const Table& table, typename Coder::State* state, size_t& bank, size_t steps, const uint8_t*& units,
              uint8_t* out) {
    constexpr size_t lanes = size_t(Coder::lanes), groups = lanes / I::kLanes, each = 64 / I::kLanes;
    const StepTables<Bits, Coder::prob_bits == Dense::prob_bits> t(table);
    const auto shift = I::bytes(table.first - 1);
    const auto all = I::active(I::kLanes);
    const uint8_t* p = units;
    States<I, Coder> x[groups];
    for (size_t g = 0; g < groups; g++) x[g].load_from(state + g * I::kLanes);
    size_t first = bank / I::kLanes;  // group of the next step
    for (; steps > 0; steps--) {
        for (size_t g = 0; g < each; g++, out += I::kLanes) {
            const auto local = decode<I, Bits, false>(x[first + g], t.bytes, typename I::Mask{}, all, p);
            I::store(out, I::add(local, shift));
        }
        first = (first + each) % groups;
    }
    for (size_t g = 0; g < groups; g++) x[g].save_to(state + g * I::kLanes);
    bank = first * I::kLanes;
    units = p;
}

template <class I>
void fast_steps(const Table& t, uint16_t* state, size_t& bank, size_t steps, const uint8_t*& p, uint8_t* out) {
    switch (t.bucket_bits) {
        case 4: return steps_of<I, Fast, 4>(t, state, bank, steps, p, out);
        case 5: return steps_of<I, Fast, 5>(t, state, bank, steps, p, out);
        default: return steps_of<I, Fast, 6>(t, state, bank, steps, p, out);
    }
}

template <class I>
void dense_steps(const Table& t, uint32_t* state, size_t& bank, size_t steps, const uint8_t*& p, uint8_t* out) {
    switch (t.bucket_bits) {  // one bank of 64 lanes: it never turns
        case 5: return steps_of<I, Dense, 5>(t, state, bank, steps, p, out);
        case 6: return steps_of<I, Dense, 6>(t, state, bank, steps, p, out);
        case 7: return steps_of<I, Dense, 7>(t, state, bank, steps, p, out);
        default: return steps_of<I, Dense, 8>(t, state, bank, steps, p, out);
    }
}

// --- matrices ------------------------------------------------------------------------------------------------------

// What a group of lanes of a column has in common.
template <class I>
struct ColumnStep {
    const uint8_t* tables;
    MatrixLookup::Constants constants;
    typename I::Active active;
    size_t lane;
};

// Symbols that are rare are settled one by one; all come back as indices.
template <class I>
TAUT_INLINE typename I::Bytes settle(typename I::Bytes local, const ColumnStep<I>& s, typename I::Mask odd,
                                     MatrixColumns& m) {
    const auto from_base = I::sub(local, I::bytes(s.constants.base));
    const auto rare = I::rare(I::at_least(from_base, I::bytes(s.constants.limit)), s.active);
    auto symbols = I::add(local, I::bytes(s.constants.first - 1));
    if (I::any(rare)) {
        alignas(64) uint8_t of[I::kLanes], quantisers[I::kLanes];
        I::store(of, symbols);
        I::store(quantisers, I::as_bytes(odd));
        m.meet_rare(*m.rare, I::lanes_of(rare), s.lane, m.from, uint8_t(s.constants.first - 1), quantisers, of);
        symbols = I::load(of);
    }
    return I::exclusive(symbols, I::bytes(0x80));
}

// A column of a group; trellis states are kept as twice their number.
template <class I, int Bits, bool Trellis, class X>
TAUT_INLINE void column(const ColumnStep<I>& s, X& x, typename I::Bytes& trellis, MatrixColumns& m, int8_t* levels) {
    typename I::Mask odd{};
    if (Trellis) odd = I::set_in(trellis, I::bytes(2));
    const auto local = decode<I, Bits, Trellis>(x, s.tables, odd, s.active, m.p);
    const auto q = settle<I>(local, s, odd, m);
    if (!Trellis) return I::store(levels + s.lane, q);
    I::store(levels + s.lane, I::closer(q, odd));
    trellis = I::next(I::add(trellis, I::and_(q, I::bytes(1))));
}

// States of idle lanes change on the way and do not return.
template <class I, class Coder, int Bits, bool Trellis>
void columns_of(const MatrixLookup& t, typename Coder::State* state, MatrixColumns& out) {
    using State = typename Coder::State;
    constexpr size_t lanes = size_t(Coder::lanes), most_groups = lanes / I::kLanes;
    alignas(64) State back[lanes];
    alignas(64) uint8_t trellis[lanes];
    MatrixColumns m = out;
    States<I, Coder> x[most_groups];
    typename I::Bytes quantisers[most_groups];
    for (size_t i = 0; i < lanes; i++) trellis[i] = uint8_t(2 * m.trellis[i]);
    const size_t rows = std::min(m.rows, lanes), groups = (rows + I::kLanes - 1) / I::kLanes;
    for (size_t g = 0; g < groups; g++) {
        x[g].load_from(state + g * I::kLanes);
        quantisers[g] = I::load(trellis + g * I::kLanes);
    }
    const typename I::Active all = I::active(I::kLanes), some = I::active(rows - (groups - 1) * I::kLanes);
    const size_t most = rows * (sizeof(State) / 2);
    for (; m.from < m.columns && size_t(m.end - m.p) >= most; m.from++) {
        const size_t context = m.context[m.from];
        int8_t* levels = m.levels + m.from * lanes;
        for (size_t g = 0; g < groups; g++) {
            const ColumnStep<I> s{t.bytes.data() + context * t.stride, t.constants[context], g + 1 < groups ? all : some,
                                  g * I::kLanes};
            column<I, Bits, Trellis>(s, x[g], quantisers[g], m, levels);
        }
    }
    for (size_t g = 0; g < groups; g++) {
        x[g].save_to(back + g * I::kLanes);
        I::store(trellis + g * I::kLanes, quantisers[g]);
    }
    std::memcpy(state, back, rows * sizeof *state);
    for (size_t i = 0; i < rows; i++) out.trellis[i] = trellis[i] / 2;
    out.from = m.from;
    out.p = m.p;
}

template <class I, bool Trellis>
void fast_columns(const MatrixLookup& t, uint16_t* state, MatrixColumns& m) {
    switch (t.bucket_bits) {
        case 4: return columns_of<I, Fast, 4, Trellis>(t, state, m);
        case 5: return columns_of<I, Fast, 5, Trellis>(t, state, m);
        default: return columns_of<I, Fast, 6, Trellis>(t, state, m);
    }
}

template <class I, bool Trellis>
void dense_columns(const MatrixLookup& t, uint32_t* state, MatrixColumns& m) {
    switch (t.bucket_bits) {
        case 5: return columns_of<I, Dense, 5, Trellis>(t, state, m);
        case 6: return columns_of<I, Dense, 6, Trellis>(t, state, m);
        case 7: return columns_of<I, Dense, 7, Trellis>(t, state, m);
        default: return columns_of<I, Dense, 8, Trellis>(t, state, m);
    }
}

template <class I>
void matrix_fast_of(const MatrixLookup& t, uint16_t* state, MatrixColumns& m) {
    t.trellis ? fast_columns<I, true>(t, state, m) : fast_columns<I, false>(t, state, m);
}

template <class I>
void matrix_dense_of(const MatrixLookup& t, uint32_t* state, MatrixColumns& m) {
    t.trellis ? dense_columns<I, true>(t, state, m) : dense_columns<I, false>(t, state, m);
}

// --- turning -------------------------------------------------------------------------------------------------------

// 16 x 16 bytes, four times neighbours are interleaved; I::Quarter is a register of 16 of them.
template <class I>
TAUT_INLINE void transpose16(const int8_t* in, size_t stride, int8_t* out, size_t out_stride) {
    typename I::Quarter v[16], w[16];
    for (size_t i = 0; i < 16; i++) v[i] = I::load16(in + i * stride);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 8; i++) I::interleave(v[i], v[i + 8], w[2 * i], w[2 * i + 1]);
        for (size_t i = 0; i < 8; i++) I::interleave(w[i], w[i + 8], v[2 * i], v[2 * i + 1]);
    }
    for (size_t i = 0; i < 16; i++) I::store16(out + i * out_stride, v[i]);
}

template <class I>
void transpose_of(const int8_t* levels, size_t lanes, size_t rows, int8_t* out) {
    for (size_t r = 0; r < rows; r += 16)
        for (size_t c = 0; c < kMatrixBlock; c += 16)
            transpose16<I>(levels + c * lanes + r, lanes, out + r * kMatrixBlock + c, kMatrixBlock);
}

}  // namespace wide
}  // namespace
}  // namespace taut
