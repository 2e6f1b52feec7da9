// AVX-512 decoder of matrices: 64 rows at a time, one column after the other, each row with a trellis state of its own.
// Both tables of a context stand behind each other, so that the quantiser is one more bit of the index.
#include "simd/avx512.hpp"

namespace taut {
namespace {

// What 64 lanes of a column have in common.
struct ColumnStep {
    const uint8_t* tables;
    MatrixLookup::Constants constants;
    __mmask64 active;
    size_t lane;
};

// Twice the next state, by twice the state and the parity.
TAUT_INLINE __m512i next_states() {
    return _mm512_set_epi64(0x0c080206'0e0a0004, 0x080c0602'0a0e0400, 0x0c080206'0e0a0004, 0x080c0602'0a0e0400,
                            0x0c080206'0e0a0004, 0x080c0602'0a0e0400, 0x0c080206'0e0a0004, 0x080c0602'0a0e0400);
}

// 64 trellis states, each twice its number.
struct Quantisers {
    __m512i state;
    __mmask64 odd;  // lanes of quantiser 1
};

// A lookup in the tables of both quantisers, 2^Bits entries each.
template <int Bits, bool Trellis>
TAUT_INLINE __m512i look_up(const uint8_t* table, __m512i at, __mmask64 odd) {
    if constexpr (Bits < 6) {
        return _mm512_permutexvar_epi8(at, load(table));
    } else if constexpr (Bits == 6) {
        return Trellis ? _mm512_permutex2var_epi8(load(table), at, load(table + 64))
                       : _mm512_permutexvar_epi8(at, load(table));
    } else if constexpr (Bits == 7) {
        const __m512i even = _mm512_permutex2var_epi8(load(table), at, load(table + 64));
        if (!Trellis) return even;
        return _mm512_mask_blend_epi8(odd, even, _mm512_permutex2var_epi8(load(table + 128), at, load(table + 192)));
    } else {
        const __mmask64 upper = _mm512_movepi8_mask(at);
        const auto whole = [&](const uint8_t* t) {
            return _mm512_mask_blend_epi8(upper, _mm512_permutex2var_epi8(load(t), at, load(t + 64)),
                                          _mm512_permutex2var_epi8(load(t + 128), at, load(t + 192)));
        };
        if (!Trellis) return whole(table);
        return _mm512_mask_blend_epi8(odd, whole(table), whole(table + 256));
    }
}

// Where the quantiser is a bit of an index, it is set.
template <int Bits, bool Trellis>
TAUT_INLINE __m512i with_quantiser(__m512i i, __mmask64 odd) {
    if (!Trellis || Bits > 6) return i;
    return _mm512_mask_add_epi8(i, odd, i, bytes(1 << Bits));
}

// Symbols that are rare are settled one by one; then levels, and the next states of the trellis.
template <bool Trellis>
TAUT_INLINE void finish(__m512i local, const ColumnStep& s, Quantisers& x, MatrixColumns& m, int8_t* levels) {
    const __m512i from_base = _mm512_sub_epi8(local, bytes(s.constants.base));
    const __mmask64 rare = _mm512_cmpge_epu8_mask(from_base, bytes(s.constants.limit)) & s.active;
    __m512i symbols = _mm512_add_epi8(local, bytes(s.constants.first - 1));
    if (rare) {
        alignas(64) uint8_t of[64], quantisers[64];
        store(of, symbols);
        store(quantisers, _mm512_srli_epi16(x.state, 1));
        m.meet_rare(*m.rare, rare, s.lane, m.from, uint8_t(s.constants.first - 1), quantisers, of);
        symbols = load(of);
    }
    const __m512i q = _mm512_xor_si512(symbols, bytes(0x80));
    if (!Trellis) return store(levels + s.lane, q);
    const __mmask64 negative = _mm512_movepi8_mask(q), odd = _mm512_test_epi8_mask(q, q) & x.odd;
    const __m512i one = bytes(1), twice = _mm512_add_epi8(q, q);
    const __m512i up = _mm512_mask_add_epi8(twice, odd & negative, twice, one);
    store(levels + s.lane, _mm512_mask_sub_epi8(up, odd & ~negative, up, one));
    x.state = _mm512_shuffle_epi8(next_states(), _mm512_or_si512(x.state, _mm512_and_si512(q, one)));
}

template <int Bits, bool Trellis>
struct FastColumn {
    FastLanes x;
    TAUT_INLINE void step(const ColumnStep& s, Quantisers& trellis, MatrixColumns& m, int8_t* levels) {
        constexpr size_t part = 2 << Bits;
        if (Trellis) trellis.odd = _mm512_test_epi8_mask(trellis.state, bytes(2));
        const __m512i bucket = _mm512_and_si512(_mm512_srli_epi16(x.low, 8 - Bits), bytes((1 << Bits) - 1));
        const __m512i offset = _mm512_and_si512(x.low, bytes((1 << (8 - Bits)) - 1));
        const __m512i at = with_quantiser<Bits, Trellis>(bucket, trellis.odd);
        const auto find = [&](size_t k, __m512i i) {
            return look_up<Bits, Trellis>(s.tables + k * part, i, trellis.odd);
        };
        const __mmask64 alias = _mm512_cmpge_epu8_mask(offset, find(0, at));
        const __m512i local = _mm512_mask_mov_epi8(bucket, alias, find(1, at));
        const __m512i rank = _mm512_mask_add_epi8(offset, alias, offset, find(2, at));
        x.advance(find(3, with_quantiser<Bits, Trellis>(local, trellis.odd)), rank, s.active, m.p);
        finish<Trellis>(local, s, trellis, m, levels);
    }
};

template <int Bits, bool Trellis>
struct DenseColumn {
    Dense512 x;
    TAUT_INLINE void step(const ColumnStep& s, Quantisers& trellis, MatrixColumns& m, int8_t* levels) {
        constexpr size_t part = 2 << Bits;
        const __m512i zero = _mm512_setzero_si512();
        if (Trellis) trellis.odd = _mm512_test_epi8_mask(trellis.state, bytes(2));
        const __m512i mixed = select(bytes(0xff << (Bits - 4)), _mm512_slli_epi16(x.plane1, Bits - 4),
                                     _mm512_srli_epi16(x.plane0, 12 - Bits));
        const __m512i bucket = _mm512_and_si512(mixed, bytes((1 << Bits) - 1));
        const __m512i offset = _mm512_and_si512(x.plane0, bytes((1 << (12 - Bits)) - 1));
        const __m512i at = with_quantiser<Bits, Trellis>(bucket, trellis.odd);
        const auto find = [&](size_t k, __m512i i) {
            return look_up<Bits, Trellis>(s.tables + k * part, i, trellis.odd);
        };
        const __mmask64 alias = _mm512_cmpge_epu8_mask(offset, find(0, at));
        const __m512i local = _mm512_mask_mov_epi8(bucket, alias, find(1, at));
        const __m512i adjust0 = _mm512_maskz_mov_epi8(alias, find(2, at));
        const __m512i adjust1 = _mm512_maskz_mov_epi8(alias, find(3, at));
        const __m512i of = with_quantiser<Bits, Trellis>(local, trellis.odd);
        const __m512i f0 = find(4, of), f1 = find(5, of);
        x.advance(_mm512_slli_epi16(_mm512_unpacklo_epi8(f0, f1), 4),
                  _mm512_slli_epi16(_mm512_unpackhi_epi8(f0, f1), 4),
                  _mm512_add_epi16(_mm512_unpacklo_epi8(offset, zero), _mm512_unpacklo_epi8(adjust0, adjust1)),
                  _mm512_add_epi16(_mm512_unpackhi_epi8(offset, zero), _mm512_unpackhi_epi8(adjust0, adjust1)),
                  s.active, m.p);
        finish<Trellis>(local, s, trellis, m, levels);
    }
};

// Count times 64 lanes; those of idle lanes change on the way and do not return.
template <class Column, size_t Count, class State>
void columns_of(const MatrixLookup& t, State* state, MatrixColumns& out) {
    constexpr size_t lanes = 64 * Count;
    alignas(64) State back[lanes];
    alignas(64) uint8_t trellis[lanes];
    MatrixColumns m = out;
    Column column[Count];
    Quantisers quantisers[Count];
    for (size_t i = 0; i < lanes; i++) trellis[i] = uint8_t(2 * m.trellis[i]);
    for (size_t g = 0; g < Count; g++) {
        column[g].x.load_from(state + 64 * g);
        quantisers[g] = {load(trellis + 64 * g), 0};
    }
    const size_t most = m.rows * (sizeof(State) / 2);
    const auto active = [&](size_t g) {
        return m.rows >= 64 * (g + 1) ? ~uint64_t(0) : m.rows > 64 * g ? first(m.rows - 64 * g) : 0;
    };
    for (; m.from < m.columns && size_t(m.end - m.p) >= most; m.from++) {
        const size_t context = m.context[m.from];
        int8_t* levels = m.levels + m.from * lanes;
        for (size_t g = 0; g < Count; g++) {
            const ColumnStep s{t.bytes.data() + context * t.stride, t.constants[context], active(g), 64 * g};
            column[g].step(s, quantisers[g], m, levels);
        }
    }
    for (size_t g = 0; g < Count; g++) {
        column[g].x.save_to(back + 64 * g);
        store(trellis + 64 * g, quantisers[g].state);
    }
    std::memcpy(state, back, m.rows * sizeof *state);
    for (size_t i = 0; i < m.rows; i++) out.trellis[i] = trellis[i] / 2;
    out.from = m.from;
    out.p = m.p;
}

template <bool Trellis>
void fast_columns512(const MatrixLookup& t, uint16_t* state, MatrixColumns& m) {
    switch (t.bucket_bits) {
        case 4: return columns_of<FastColumn<4, Trellis>, 2>(t, state, m);
        case 5: return columns_of<FastColumn<5, Trellis>, 2>(t, state, m);
        default: return columns_of<FastColumn<6, Trellis>, 2>(t, state, m);
    }
}

template <bool Trellis>
void dense_columns512(const MatrixLookup& t, uint32_t* state, MatrixColumns& m) {
    switch (t.bucket_bits) {
        case 5: return columns_of<DenseColumn<5, Trellis>, 1>(t, state, m);
        case 6: return columns_of<DenseColumn<6, Trellis>, 1>(t, state, m);
        case 7: return columns_of<DenseColumn<7, Trellis>, 1>(t, state, m);
        default: return columns_of<DenseColumn<8, Trellis>, 1>(t, state, m);
    }
}

// Sixteen numbers of a row: (level - sign * offset) * row * column.
struct Amounts {
    __m512 offset, row;
    TAUT_INLINE explicit Amounts(const MatrixRule& rule) : row(_mm512_set1_ps(rule.row_scale)) {
        // By the lowest four bits of a level between -7 and 7, with its sign.
        alignas(64) float by_level[16] = {};
        for (int k = 1; k < 8; k++) {
            by_level[k] = rule.offset[size_t(k)];
            by_level[16 - k] = -rule.offset[size_t(k)];
        }
        offset = _mm512_loadu_ps(by_level);
    }
    TAUT_INLINE __m512 operator()(const int8_t* levels, const float* column_scale) const {
        const __m512i level = _mm512_sub_epi32(
            _mm512_cvtepu8_epi32(_mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(levels)),
                                               _mm_set1_epi8(char(0x80)))), _mm512_set1_epi32(128));
        const __m512i near = _mm512_min_epi32(_mm512_max_epi32(level, _mm512_set1_epi32(-7)), _mm512_set1_epi32(7));
        const __m512 amount = _mm512_sub_ps(_mm512_cvtepi32_ps(level), _mm512_permutexvar_ps(near, offset));
        return _mm512_mul_ps(_mm512_mul_ps(amount, row), _mm512_loadu_ps(column_scale));
    }
};

template <Output output>
size_t row_of512(const MatrixRule& rule, const int8_t* levels, size_t n, uint8_t* out) {
    constexpr size_t size = output == Output::f32 ? 4 : output == Output::f64 ? 8 : 2;
    const Amounts amounts(rule);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) put16<output>(amounts(levels + i, rule.column_scale + i), out + size * i);
    return i;
}

}  // namespace

void avx512_matrix_fast(const MatrixLookup& t, uint16_t* state, MatrixColumns& m) {
    t.trellis ? fast_columns512<true>(t, state, m) : fast_columns512<false>(t, state, m);
}

void avx512_matrix_dense(const MatrixLookup& t, uint32_t* state, MatrixColumns& m) {
    t.trellis ? dense_columns512<true>(t, state, m) : dense_columns512<false>(t, state, m);
}

size_t avx512_matrix_row(const MatrixRule& rule, Output output, const int8_t* levels, size_t n, uint8_t* out) {
    switch (output) {
        case Output::f32: return row_of512<Output::f32>(rule, levels, n, out);
        case Output::f16: return row_of512<Output::f16>(rule, levels, n, out);
        case Output::bf16: return row_of512<Output::bf16>(rule, levels, n, out);
        default: return row_of512<Output::f64>(rule, levels, n, out);
    }
}

}  // namespace taut
