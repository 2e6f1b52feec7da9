// AVX2 decoder of matrices: 32 rows at a time, one column after the other, each row with a trellis state of its own.
//
// Both tables of a context stand behind each other, so that the quantiser is one more bit of the index: a blend. A
// trellis state is kept as twice its number; the symbol's lowest bit makes it an index of the next states.
#include "simd/avx2.hpp"

namespace taut {
namespace {

// What a group of 32 lanes of a column has in common.
struct Step {
    const uint8_t* tables;
    MatrixLookup::Constants constants;
    uint32_t active;
    size_t lane;
};

TAUT_INLINE __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
TAUT_INLINE void store256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

TAUT_INLINE __m256i both(const uint8_t (&table)[16]) {
    return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
}
alignas(16) constexpr uint8_t kNext[16] = {0, 4, 14, 10, 2, 6, 12, 8, 4, 0, 10, 14, 6, 2, 8, 12};
alignas(16) constexpr uint8_t kOdd[16] = {0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 255, 255};

// The quantisers of 32 lanes, and how they steer a lookup in two tables of 2^Bits entries.
template <int Bits, bool Trellis>
struct Pair {
    __m256i state, odd;
    TAUT_INLINE explicit Pair(const uint8_t* trellis) {
        state = load256(trellis);
        odd = _mm256_shuffle_epi8(both(kOdd), state);
    }
    TAUT_INLINE __m256i find(const uint8_t* table, Index<8>& i) const {
        if (!Trellis) return find_from<Bits - 4, 8>(table, i);
        return _mm256_blendv_epi8(find_from<Bits - 4, 8>(table, i),
                                  find_from<Bits - 4, 8>(table + (1 << Bits), i), odd);
    }
    // Levels of these symbols; the states move on.
    TAUT_INLINE __m256i levels(__m256i q, uint8_t* trellis) {
        if (!Trellis) return q;
        const __m256i parity = _mm256_and_si256(q, _mm256_set1_epi8(1));
        store256(trellis, _mm256_shuffle_epi8(both(kNext), _mm256_or_si256(state, parity)));
        return _mm256_add_epi8(_mm256_add_epi8(q, q), _mm256_sign_epi8(odd, q));
    }
};

// An index below 16 needs no mask; Index<8> has one that Bits = 4 .. 7 can do without.
template <int Bits>
TAUT_INLINE Index<8> index_of(__m256i i) {
    Index<8> index(i);
    if (Bits < 8) index.low = i;
    return index;
}

// Symbols that are rare are settled one by one; all come back as indices.
TAUT_INLINE __m256i settle(__m256i local, const Step& s, __m256i odd, MatrixColumns& m) {
    const __m256i first = _mm256_set1_epi8(char(s.constants.first - 1));
    const __m256i from_base = _mm256_sub_epi8(local, _mm256_set1_epi8(char(s.constants.base)));
    const __m256i limit = _mm256_set1_epi8(char(s.constants.limit));
    const __m256i rare = _mm256_cmpeq_epi8(_mm256_max_epu8(from_base, limit), from_base);
    const uint32_t mask = uint32_t(_mm256_movemask_epi8(rare)) & s.active;
    __m256i symbols = _mm256_add_epi8(local, first);
    if (mask) {
        alignas(32) uint8_t of[32], quantisers[32];
        store256(of, symbols);
        store256(quantisers, odd);
        m.meet_rare(*m.rare, mask, s.lane, m.from, uint8_t(s.constants.first - 1), quantisers, of);
        symbols = load256(of);
    }
    return _mm256_xor_si256(symbols, _mm256_set1_epi8(char(0x80)));
}

template <int Bits, bool Trellis>
TAUT_INLINE void fast32(const Step& s, uint16_t* state, MatrixColumns& m, int8_t* levels) {
    constexpr size_t part = 2 << Bits;
    Lanes32 x;
    x.a = load256(state);
    x.b = load256(state + 16);
    Pair<Bits, Trellis> quantiser(m.trellis + s.lane);
    const __m256i byte = _mm256_set1_epi16(255);
    const __m256i slot = _mm256_packus_epi16(_mm256_and_si256(x.a, byte), _mm256_and_si256(x.b, byte));
    const __m256i bucket = _mm256_and_si256(_mm256_srli_epi16(slot, 8 - Bits), _mm256_set1_epi8((1 << Bits) - 1));
    const __m256i offset = _mm256_and_si256(slot, _mm256_set1_epi8((1 << (8 - Bits)) - 1));
    Index<8> at = index_of<Bits>(bucket);
    const __m256i is_own = _mm256_cmpgt_epi8(quantiser.find(s.tables, at), offset);
    const __m256i local = _mm256_blendv_epi8(quantiser.find(s.tables + part, at), bucket, is_own);
    const __m256i adjust = quantiser.find(s.tables + 2 * part, at);
    Index<8> of = index_of<Bits>(local);
    const __m256i f = quantiser.find(s.tables + 3 * part, of);
    x.advance(f, _mm256_add_epi8(offset, _mm256_andnot_si256(is_own, adjust)), s.active, m.p);
    store256(state, x.a);
    store256(state + 16, x.b);
    const __m256i q = settle(local, s, quantiser.odd, m);
    store256(levels + s.lane, quantiser.levels(q, m.trellis + s.lane));
}

template <int Bits, bool Trellis>
TAUT_INLINE void dense32(const Step& s, uint32_t* state, MatrixColumns& m, int8_t* levels) {
    constexpr size_t part = 2 << Bits;
    const __m256i slots = _mm256_set1_epi32(4095), zero = _mm256_setzero_si256();
    DenseLanes x;
    for (size_t k = 0; k < 4; k++) x.x[k] = load256(state + 8 * k);
    Pair<Bits, Trellis> quantiser(m.trellis + s.lane);
    const __m256i y0 = _mm256_packus_epi32(_mm256_and_si256(x.x[0], slots), _mm256_and_si256(x.x[1], slots));
    const __m256i y1 = _mm256_packus_epi32(_mm256_and_si256(x.x[2], slots), _mm256_and_si256(x.x[3], slots));
    const __m256i inside = _mm256_set1_epi16((1 << (12 - Bits)) - 1);
    const __m256i o0 = _mm256_and_si256(y0, inside), o1 = _mm256_and_si256(y1, inside);
    const __m256i offset = _mm256_packus_epi16(o0, o1);
    const __m256i bucket = _mm256_packus_epi16(_mm256_srli_epi16(y0, 12 - Bits), _mm256_srli_epi16(y1, 12 - Bits));
    Index<8> at = index_of<Bits>(bucket);
    const __m256i own = quantiser.find(s.tables, at);
    const __m256i is_alias = _mm256_cmpeq_epi8(_mm256_subs_epu8(own, offset), zero);
    const __m256i local = _mm256_blendv_epi8(bucket, quantiser.find(s.tables + part, at), is_alias);
    const __m256i low = _mm256_and_si256(quantiser.find(s.tables + 2 * part, at), is_alias);
    const __m256i high = _mm256_and_si256(quantiser.find(s.tables + 3 * part, at), is_alias);
    Index<8> of = index_of<Bits>(local);
    const __m256i f_low = quantiser.find(s.tables + 4 * part, of), f_high = quantiser.find(s.tables + 5 * part, of);
    x.advance(_mm256_unpacklo_epi8(f_low, f_high), _mm256_unpackhi_epi8(f_low, f_high),
              _mm256_add_epi16(o0, _mm256_unpacklo_epi8(low, high)),
              _mm256_add_epi16(o1, _mm256_unpackhi_epi8(low, high)), s.active, m.p);
    for (size_t k = 0; k < 4; k++) store256(state + 8 * k, x.x[k]);
    const __m256i q = settle(local, s, quantiser.odd, m);
    store256(levels + s.lane, quantiser.levels(q, m.trellis + s.lane));
}

// States of lanes, turned into the order of the registers and back. Those of idle lanes change on the way and do not
// return.
TAUT_INLINE void turn_in(const uint16_t* lane, uint16_t* order) {
    Lanes32 x;
    x.load(lane);
    store256(order, x.a);
    store256(order + 16, x.b);
}
TAUT_INLINE void turn_out(const uint16_t* order, uint16_t* lane) {
    Lanes32 x;
    x.a = load256(order);
    x.b = load256(order + 16);
    x.save(lane);
}
TAUT_INLINE void turn_in(const uint32_t* lane, uint32_t* order) {
    DenseLanes x;
    x.load(lane);
    for (size_t k = 0; k < 4; k++) store256(order + 8 * k, x.x[k]);
}
TAUT_INLINE void turn_out(const uint32_t* order, uint32_t* lane) {
    DenseLanes x;
    for (size_t k = 0; k < 4; k++) x.x[k] = load256(order + 8 * k);
    x.save(lane);
}

template <int Bits, bool Trellis, class State, size_t lanes>
void columns_of(const MatrixLookup& t, State* state, MatrixColumns& out) {
    alignas(32) State turned[lanes], back[lanes];
    alignas(32) uint8_t trellis[lanes];
    MatrixColumns m = out;
    const size_t groups = (m.rows + 31) / 32, most = m.rows * (sizeof(State) / 2);
    for (size_t g = 0; g < groups; g++) turn_in(state + 32 * g, turned + 32 * g);
    for (size_t i = 0; i < lanes; i++) trellis[i] = uint8_t(2 * m.trellis[i]);
    m.trellis = trellis;
    for (; m.from < m.columns && size_t(m.end - m.p) >= most; m.from++) {
        const size_t context = m.context[m.from];
        Step s{t.bytes.data() + context * t.stride, t.constants[context], ~0u, 0};
        int8_t* levels = m.levels + m.from * lanes;
        for (size_t g = 0; g < groups; g++, s.lane += 32) {
            if (g + 1 == groups && m.rows % 32) s.active = (1u << m.rows % 32) - 1;
            if constexpr (sizeof(State) == 2) fast32<Bits, Trellis>(s, turned + s.lane, m, levels);
            else dense32<Bits, Trellis>(s, turned + s.lane, m, levels);
        }
    }
    for (size_t g = 0; g < groups; g++) turn_out(turned + 32 * g, back + 32 * g);
    std::memcpy(state, back, m.rows * sizeof *state);
    for (size_t i = 0; i < m.rows; i++) out.trellis[i] = trellis[i] / 2;
    out.from = m.from;
    out.p = m.p;
}

// Eight numbers of a row: (level - sign * offset) * row * column.
TAUT_INLINE __m256 amounts(const MatrixRule& rule, __m256 offset, __m256 row, const int8_t* levels, size_t i) {
    const __m256i level = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(levels + i)));
    const __m256i near = _mm256_min_epi32(_mm256_abs_epi32(level), _mm256_set1_epi32(7));
    const __m256 sign = _mm256_and_ps(_mm256_castsi256_ps(level), _mm256_set1_ps(-0.0f));
    const __m256 by = _mm256_xor_ps(_mm256_permutevar8x32_ps(offset, near), sign);
    const __m256 amount = _mm256_mul_ps(_mm256_sub_ps(_mm256_cvtepi32_ps(level), by), row);
    return _mm256_mul_ps(amount, _mm256_loadu_ps(rule.column_scale + i));
}

TAUT_INLINE __m256i to_bf16(__m256 v) {  // in the lower half of each lane; v is not a NaN
    const __m256i u = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
}

TAUT_INLINE __m256i to_f16(__m256 v) {  // as above
    const __m256i sign = _mm256_and_si256(_mm256_srli_epi32(_mm256_castps_si256(v), 16), _mm256_set1_epi32(0x8000));
    const __m256i u = _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(INT32_MAX));
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 13), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0xfff)));
    const __m256i normal = _mm256_srli_epi32(_mm256_sub_epi32(rounded, _mm256_set1_epi32(0x38000000)), 13);
    // Multiples of 2^-24: added to a half, whose last place that is, the sum is rounded as it should be.
    const __m256 half = _mm256_set1_ps(0.5f);
    const __m256i tiny = _mm256_sub_epi32(_mm256_castps_si256(_mm256_add_ps(_mm256_castsi256_ps(u), half)),
                                          _mm256_castps_si256(half));
    const __m256i is_tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x38800000), u);
    const __m256i some = _mm256_blendv_epi8(normal, tiny, is_tiny);
    return _mm256_or_si256(sign, _mm256_min_epi32(some, _mm256_set1_epi32(0x7c00)));
}

template <Output output>
size_t row_of(const MatrixRule& rule, const int8_t* levels, size_t n, uint8_t* out) {
    const __m256 offset = _mm256_loadu_ps(rule.offset.data()), row = _mm256_set1_ps(rule.row_scale);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256 v = amounts(rule, offset, row, levels, i), w = amounts(rule, offset, row, levels, i + 8);
        if constexpr (output == Output::f32) {
            _mm256_storeu_ps(reinterpret_cast<float*>(out + 4 * i), v);
            _mm256_storeu_ps(reinterpret_cast<float*>(out + 4 * i + 32), w);
        } else {
            const __m256i a = output == Output::f16 ? to_f16(v) : to_bf16(v);
            const __m256i b = output == Output::f16 ? to_f16(w) : to_bf16(w);
            store256(out + 2 * i, _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8));
        }
    }
    return i;
}

template <bool Trellis>
void fast_columns(const MatrixLookup& t, uint16_t* state, MatrixColumns& m) {
    switch (t.bucket_bits) {
        case 4: return columns_of<4, Trellis, uint16_t, 128>(t, state, m);
        case 5: return columns_of<5, Trellis, uint16_t, 128>(t, state, m);
        default: return columns_of<6, Trellis, uint16_t, 128>(t, state, m);
    }
}

template <bool Trellis>
void dense_columns(const MatrixLookup& t, uint32_t* state, MatrixColumns& m) {
    switch (t.bucket_bits) {
        case 5: return columns_of<5, Trellis, uint32_t, 64>(t, state, m);
        case 6: return columns_of<6, Trellis, uint32_t, 64>(t, state, m);
        case 7: return columns_of<7, Trellis, uint32_t, 64>(t, state, m);
        default: return columns_of<8, Trellis, uint32_t, 64>(t, state, m);
    }
}

// 16 x 16 bytes, four times neighbours are interleaved.
TAUT_INLINE void transpose16(const int8_t* in, size_t stride, int8_t* out, size_t out_stride) {
    __m128i v[16], w[16];
    for (size_t i = 0; i < 16; i++) v[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i * stride));
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 8; i++) {
            w[2 * i] = _mm_unpacklo_epi8(v[i], v[i + 8]);
            w[2 * i + 1] = _mm_unpackhi_epi8(v[i], v[i + 8]);
        }
        for (size_t i = 0; i < 8; i++) {
            v[2 * i] = _mm_unpacklo_epi8(w[i], w[i + 8]);
            v[2 * i + 1] = _mm_unpackhi_epi8(w[i], w[i + 8]);
        }
    }
    for (size_t i = 0; i < 16; i++) _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i * out_stride), v[i]);
}

}  // namespace

void avx2_matrix_fast(const MatrixLookup& t, uint16_t* state, MatrixColumns& m) {
    t.trellis ? fast_columns<true>(t, state, m) : fast_columns<false>(t, state, m);
}

void avx2_matrix_dense(const MatrixLookup& t, uint32_t* state, MatrixColumns& m) {
    t.trellis ? dense_columns<true>(t, state, m) : dense_columns<false>(t, state, m);
}

void avx2_transpose(const int8_t* levels, size_t lanes, size_t rows, int8_t* out) {
    for (size_t r = 0; r < rows; r += 16)
        for (size_t c = 0; c < kMatrixBlock; c += 16)
            transpose16(levels + c * lanes + r, lanes, out + r * kMatrixBlock + c, kMatrixBlock);
}

size_t avx2_matrix_row(const MatrixRule& rule, Output output, const int8_t* levels, size_t n, uint8_t* out) {
    switch (output) {
        case Output::f32: return row_of<Output::f32>(rule, levels, n, out);
        case Output::f16: return row_of<Output::f16>(rule, levels, n, out);
        case Output::bf16: return row_of<Output::bf16>(rule, levels, n, out);
        default: return 0;
    }
}

}  // namespace taut
