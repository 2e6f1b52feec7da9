// What the AVX-512 files share: short names, all inlined, so that nothing compiled here can serve other processors.
#pragma once
#if !defined(TAUT_EMULATE_AVX512)  // tests/native/emulated_kernels.hpp has an emulation in its place
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
// GCC's own intrinsics begin with undefined registers, of which versions before 13 warn wherever they are inlined.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "simd/numbers.hpp"
#include "simd/steps.hpp"

namespace taut {
namespace {

TAUT_INLINE __m512i load(const void* p) { return _mm512_loadu_si512(p); }
// A load that stays one: as an operand of an expansion it would wait for the mask.
TAUT_INLINE __m512i load_early(const void* p) {
    __m512i v = load(p);
#if defined(__GNUC__) && defined(__x86_64__) && defined(__AVX512F__)
    __asm__("" : "+v"(v));
#endif
    return v;
}
TAUT_INLINE void store(void* p, __m512i v) { _mm512_storeu_si512(p, v); }
TAUT_INLINE __m512i bytes(int v) { return _mm512_set1_epi8(char(v)); }
TAUT_INLINE __m512i words(int v) { return _mm512_set1_epi16(short(v)); }
// mask ? yes : no. The instruction writes over its first operand: `no` is what callers no longer need.
TAUT_INLINE __m512i select(__m512i mask, __m512i yes, __m512i no) {
    return _mm512_ternarylogic_epi64(no, yes, mask, 0xd8);
}
TAUT_INLINE size_t ones(uint64_t mask) { return size_t(_mm_popcnt_u64(mask)); }

// The lowest `n` < 64 bits.
TAUT_INLINE __mmask64 first(size_t n) { return (uint64_t(1) << n) - 1; }

constexpr uint64_t kEach = 0x0101010101010101u, kCount = 0x0706050403020100u;  // in every byte: 1; its place

TAUT_INLINE __m512i byte_numbers() {
    const auto from = [](int i) { return int64_t(kCount + uint64_t(8 * i) * kEach); };
    return _mm512_set_epi64(from(7), from(6), from(5), from(4), from(3), from(2), from(1), from(0));
}

// The lower bytes of 64 words.
TAUT_INLINE __m512i narrow(__m512i v, __m512i w) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(v)), _mm512_cvtepi16_epi8(w), 1);
}
TAUT_INLINE __m512i narrow(const uint16_t* p) { return narrow(load(p), load(p + 32)); }

// States as memory has them, 16 bytes to a piece: piece N * b + k is block b of v[k]. That is how the pack and unpack
// instructions count, so they turn planes into states and back.
template <int N>
TAUT_INLINE void load_pieces(const void* from, __m512i (&v)[N]) {
    alignas(64) uint8_t pieces[N][4][16];
    for (int b = 0; b < 4; b++)
        for (int k = 0; k < N; k++) std::memcpy(pieces[k][b], static_cast<const uint8_t*>(from) + 16 * (N * b + k), 16);
    for (int k = 0; k < N; k++) v[k] = load(pieces[k]);
}
template <int N>
TAUT_INLINE void save_pieces(const __m512i (&v)[N], void* to) {
    alignas(64) uint8_t pieces[N][4][16];
    for (int k = 0; k < N; k++) store(pieces[k], v[k]);
    for (int b = 0; b < 4; b++)
        for (int k = 0; k < N; k++) std::memcpy(static_cast<uint8_t*>(to) + 16 * (N * b + k), pieces[k][b], 16);
}

TAUT_INLINE __m512i low_bytes(__m512i v, __m512i w) {
    return _mm512_packus_epi16(_mm512_and_si512(v, words(255)), _mm512_and_si512(w, words(255)));
}
TAUT_INLINE __m512i high_bytes(__m512i v, __m512i w) {
    return _mm512_packus_epi16(_mm512_srli_epi16(v, 8), _mm512_srli_epi16(w, 8));
}

// States are kept as planes: one register holds the same byte of all 64 states, in lane order. So a state's slot needs
// no packing, and handing out units is one masked expansion: every lane that has run short takes the next byte, the
// others keep theirs.
struct Fast512 {
    __m512i low, high;
    TAUT_INLINE __m512i slot() const { return low; }
    TAUT_INLINE void load_from(const uint16_t* lane) {
        __m512i v[2];
        load_pieces(lane, v);
        low = low_bytes(v[0], v[1]);
        high = high_bytes(v[0], v[1]);
    }
    TAUT_INLINE void save_to(uint16_t* lane) const {
        save_pieces({_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)}, lane);
    }
    // x = f * (x >> 8) + rank; then the lanes of `active` that have run short take the next units in order.
    TAUT_INLINE void advance(__m512i f, __m512i rank, __mmask64 active, const uint8_t*& p) {
        const __m512i even = words(0x00ff), odd = words(0xff00);
        // Bytes times bytes: even lanes as low halves, odd ones as high halves of words, whose product stands above
        // 2^16.
        const __m512i a = _mm512_add_epi16(
            _mm512_mullo_epi16(_mm512_and_si512(high, even), _mm512_and_si512(f, even)), _mm512_and_si512(rank, even));
        const __m512i b = _mm512_add_epi16(
            _mm512_mulhi_epu16(_mm512_and_si512(high, odd), _mm512_and_si512(f, odd)), _mm512_srli_epi16(rank, 8));
        const __m512i next = select(even, a, _mm512_slli_epi16(b, 8));
        const __m512i upper = select(even, _mm512_srli_epi16(a, 8), b);
        const __mmask64 need = _mm512_testn_epi8_mask(upper, upper) & active;
        high = _mm512_mask_mov_epi8(upper, need, next);
        low = _mm512_mask_expand_epi8(next, need, load_early(p));
        p += ones(need);
    }
};

// Half of x = f * (x >> 12) + rank in words, with x = upper << 16 | n << 12 | slot and f already multiplied by 16:
// f * upper + (f * n >> 16) + rank, of which the last two fit a word together, since rank < f.
struct Halves {
    __m512i low, high;
    TAUT_INLINE Halves(__m512i f, __m512i upper, __m512i n, __m512i rank) {
        const __m512i rest = _mm512_add_epi16(_mm512_mulhi_epu16(f, n), rank);
        low = _mm512_add_epi16(_mm512_mullo_epi16(f, upper), rest);
        high = _mm512_mulhi_epu16(f, upper);
        high = _mm512_mask_sub_epi16(high, _mm512_cmplt_epu16_mask(low, rest), high, words(-1));  // the carry
    }
    TAUT_INLINE __m512i next_upper() const {
        return _mm512_mask_mov_epi16(high, _mm512_testn_epi16_mask(high, high), low);
    }
};

// The lower two bytes as planes, the upper two as words in the order of the unpack instructions.
struct Dense512 {
    __m512i plane0, plane1, upper[2];
    TAUT_INLINE void load_from(const uint32_t* lane) {
        __m512i v[4], low[2];
        load_pieces(lane, v);
        for (int k = 0; k < 2; k++) {
            const __m512i a = v[2 * k], b = v[2 * k + 1], mask = _mm512_set1_epi32(0xffff);
            low[k] = _mm512_packus_epi32(_mm512_and_si512(a, mask), _mm512_and_si512(b, mask));
            upper[k] = _mm512_packus_epi32(_mm512_srli_epi32(a, 16), _mm512_srli_epi32(b, 16));
        }
        plane0 = low_bytes(low[0], low[1]);
        plane1 = high_bytes(low[0], low[1]);
    }
    TAUT_INLINE void save_to(uint32_t* lane) const {
        const __m512i a = _mm512_unpacklo_epi8(plane0, plane1), b = _mm512_unpackhi_epi8(plane0, plane1);
        save_pieces({_mm512_unpacklo_epi16(a, upper[0]), _mm512_unpackhi_epi16(a, upper[0]),
                     _mm512_unpacklo_epi16(b, upper[1]), _mm512_unpackhi_epi16(b, upper[1])}, lane);
    }
    template <int Bits>
    TAUT_INLINE void slot(__m512i& bucket, __m512i& offset) const {
        const __m512i mixed = select(bytes(0xff << (Bits - 4)), _mm512_slli_epi16(plane1, Bits - 4),
                                     _mm512_srli_epi16(plane0, 12 - Bits));
        bucket = _mm512_and_si512(mixed, bytes((1 << Bits) - 1));
        offset = _mm512_and_si512(plane0, bytes((1 << (12 - Bits)) - 1));
    }
    // x = f * (x >> 12) + offset + adjust, two bytes each of f and adjust; then `active` lanes take units as above.
    TAUT_INLINE void advance(const __m512i (&f)[2], const __m512i (&adjust)[2], __m512i offset, __mmask64 active,
                             const uint8_t*& p) {
        const __m512i zero = _mm512_setzero_si512();
        advance(_mm512_slli_epi16(_mm512_unpacklo_epi8(f[0], f[1]), 4),
                _mm512_slli_epi16(_mm512_unpackhi_epi8(f[0], f[1]), 4),
                _mm512_add_epi16(_mm512_unpacklo_epi8(offset, zero), _mm512_unpacklo_epi8(adjust[0], adjust[1])),
                _mm512_add_epi16(_mm512_unpackhi_epi8(offset, zero), _mm512_unpackhi_epi8(adjust[0], adjust[1])),
                active, p);
    }
    // The same with words, frequencies times 16.
    TAUT_INLINE void advance(__m512i f0, __m512i f1, __m512i rank0, __m512i rank1, __mmask64 active,
                                const uint8_t*& p) {
        const __m512i zero = _mm512_setzero_si512(), n = _mm512_and_si512(plane1, bytes(0xf0));
        const Halves a(f0, upper[0], _mm512_unpacklo_epi8(zero, n), rank0);
        const Halves b(f1, upper[1], _mm512_unpackhi_epi8(zero, n), rank1);
        // Signed saturation turns no word but zero into zero.
        const __m512i any = _mm512_packs_epi16(a.high, b.high);
        const __mmask64 need = _mm512_testn_epi8_mask(any, any) & active;
        const __m512i even = _mm512_slli_epi16(byte_numbers(), 1), odd = _mm512_or_si512(even, bytes(1));
        const __m512i u = load(p), v = load(p + 64);
        plane0 = _mm512_mask_expand_epi8(low_bytes(a.low, b.low), need, _mm512_permutex2var_epi8(u, even, v));
        plane1 = _mm512_mask_expand_epi8(high_bytes(a.low, b.low), need, _mm512_permutex2var_epi8(u, odd, v));
        upper[0] = a.next_upper();
        upper[1] = b.next_upper();
        p += 2 * ones(need);
    }
};

// What simd/steps.hpp and simd/numbers.hpp ask for.
struct Avx512 {
    static constexpr size_t kLanes = 64;
    using Bytes = __m512i;
    using Mask = __mmask64;
    using Active = __mmask64;
    using FastStates = Fast512;
    using DenseStates = Dense512;
    static TAUT_INLINE Active active(size_t n) { return n < 64 ? first(n) : ~uint64_t(0); }
    static TAUT_INLINE Bytes load(const void* p) { return _mm512_loadu_si512(p); }
    static TAUT_INLINE void store(void* p, Bytes v) { _mm512_storeu_si512(p, v); }
    static TAUT_INLINE Bytes bytes(int v) { return _mm512_set1_epi8(char(v)); }
    static TAUT_INLINE Bytes add(Bytes a, Bytes b) { return _mm512_add_epi8(a, b); }
    static TAUT_INLINE Bytes sub(Bytes a, Bytes b) { return _mm512_sub_epi8(a, b); }
    static TAUT_INLINE Bytes exclusive(Bytes a, Bytes b) { return _mm512_xor_si512(a, b); }
    static TAUT_INLINE Bytes and_(Bytes a, Bytes b) { return _mm512_and_si512(a, b); }
    static TAUT_INLINE Mask at_least(Bytes a, Bytes b) { return _mm512_cmpge_epu8_mask(a, b); }
    static TAUT_INLINE Mask less(Bytes a, Bytes b) { return ~_mm512_cmpge_epu8_mask(a, b); }
    static TAUT_INLINE Mask set_in(Bytes v, Bytes bits) { return _mm512_test_epi8_mask(v, bits); }
    static TAUT_INLINE Bytes pick(Mask m, Bytes yes, Bytes no) { return _mm512_mask_mov_epi8(no, m, yes); }
    static TAUT_INLINE Bytes add_unless(Mask m, Bytes v, Bytes by) { return _mm512_mask_add_epi8(v, ~m, v, by); }
    static TAUT_INLINE Bytes keep(Mask m, Bytes v) { return _mm512_maskz_mov_epi8(m, v); }
    template <int from, int bits>
    static TAUT_INLINE Bytes field(Bytes v) {
        return _mm512_and_si512(from ? _mm512_srli_epi16(v, from) : v, bytes((1 << bits) - 1));
    }
    static TAUT_INLINE Mask rare(Mask m, Active active) { return m & active; }
    static TAUT_INLINE bool any(Mask m) { return m; }
    static TAUT_INLINE uint64_t lanes_of(Mask m) { return m; }
    static TAUT_INLINE Bytes as_bytes(Mask m) { return _mm512_maskz_mov_epi8(m, bytes(1)); }
    static TAUT_INLINE Bytes closer(Bytes q, Mask odd) {
        const Mask negative = _mm512_movepi8_mask(q), moved = _mm512_test_epi8_mask(q, q) & odd;
        const Bytes one = bytes(1), twice = _mm512_add_epi8(q, q);
        const Bytes up = _mm512_mask_add_epi8(twice, moved & negative, twice, one);
        return _mm512_mask_sub_epi8(up, moved & ~negative, up, one);
    }
    static TAUT_INLINE Bytes next(Bytes i) {
        uint64_t half[2];
        std::memcpy(half, wide::kNextState, sizeof half);
        const int64_t low = int64_t(half[0]), high = int64_t(half[1]);
        return _mm512_shuffle_epi8(_mm512_set_epi64(high, low, high, low, high, low, high, low), i);
    }

    // Up to 128 bytes are one permutation, in which the quantiser is a bit of the index.
    template <int Bits, bool Trellis>
    struct Index {
        __m512i i;
        __mmask64 odd;
        TAUT_INLINE Index(__m512i i_, __mmask64 odd_) : i(i_), odd(odd_) {
            if (Trellis && Bits <= 6) i = _mm512_mask_add_epi8(i, odd, i, bytes(1 << Bits));
        }
        TAUT_INLINE __m512i find(const uint8_t* t) const {
            constexpr int bits = Bits + (Trellis && Bits <= 6);
            if constexpr (bits <= 6) return _mm512_permutexvar_epi8(i, load(t));
            else if constexpr (bits == 7 && Bits == 6) return pair_at(t);
            else if constexpr (bits == 7)
                return Trellis ? _mm512_mask_blend_epi8(odd, pair_at(t), pair_at(t + 128)) : pair_at(t);
            else return Trellis ? _mm512_mask_blend_epi8(odd, whole_at(t), whole_at(t + 256)) : whole_at(t);
        }

    private:
        TAUT_INLINE __m512i pair_at(const uint8_t* t) const { return _mm512_permutex2var_epi8(load(t), i, load(t + 64)); }
        TAUT_INLINE __m512i whole_at(const uint8_t* t) const {
            return _mm512_mask_blend_epi8(_mm512_movepi8_mask(i), pair_at(t), pair_at(t + 128));
        }
    };
    using Ints = __m512i;
    using Floats = __m512;
    static TAUT_INLINE Ints indices(const uint8_t* symbols) {
        return wide(_mm_loadu_si128(reinterpret_cast<const __m128i*>(symbols)));
    }
    static TAUT_INLINE Ints levels(const int8_t* levels) {
        return wide(_mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(levels)), _mm_set1_epi8(char(0x80))));
    }
    static TAUT_INLINE Ints clamp(Ints i, int most) {
        return _mm512_min_epi32(_mm512_max_epi32(i, _mm512_set1_epi32(-most)), _mm512_set1_epi32(most));
    }
    static TAUT_INLINE Floats look_up(Floats table, Ints i) { return _mm512_permutexvar_ps(i, table); }
    static TAUT_INLINE Floats load_floats(const float* p) { return _mm512_loadu_ps(p); }
    static TAUT_INLINE Floats floats(float v) { return _mm512_set1_ps(v); }
    static TAUT_INLINE Floats from_ints(Ints i) { return _mm512_cvtepi32_ps(i); }
    static TAUT_INLINE Floats plus(Floats a, Floats b) { return _mm512_add_ps(a, b); }
    static TAUT_INLINE Floats minus(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
    static TAUT_INLINE Floats times(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    template <Output output>
    static TAUT_INLINE void put(__m512 v, uint8_t* out) {
        if constexpr (output == Output::f32) {
            store(out, _mm512_castps_si512(v));
        } else if constexpr (output == Output::f64) {
            const __m256 upper = _mm256_castsi256_ps(_mm512_extracti64x4_epi64(_mm512_castps_si512(v), 1));
            store(out, _mm512_castpd_si512(_mm512_cvtps_pd(_mm512_castps512_ps256(v))));
            store(out + 64, _mm512_castpd_si512(_mm512_cvtps_pd(upper)));
        } else {
            const __m256i u = output == Output::f16 ? to_f16x16(v) : to_bf16x16(v);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), u);
        }
    }

private:
    static TAUT_INLINE Ints wide(__m128i symbols) {
        return _mm512_sub_epi32(_mm512_cvtepu8_epi32(symbols), _mm512_set1_epi32(128));
    }
    static TAUT_INLINE __m256i to_bf16x16(__m512 v) {
        const __m512i u = _mm512_castps_si512(v), upper = _mm512_srli_epi32(u, 16);
        const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
        const __m512i even = _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
        const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
        return _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(even, nan, upper, _mm512_set1_epi32(0x40)));
    }

    static TAUT_INLINE __m256i to_f16x16(__m512 v) {
        // The conversion would keep a NaN's payload: it goes first.
        const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
        const __m512i u = _mm512_castps_si512(v);
        const __m512 plain = _mm512_castsi512_ps(_mm512_mask_and_epi32(u, nan, u, _mm512_set1_epi32(int(0xffc00000u))));
        return _mm512_cvtps_ph(plain, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
};

}  // namespace

void avx512_matrix_fast(const MatrixLookup& t, uint16_t* state, MatrixColumns& m);
void avx512_matrix_dense(const MatrixLookup& t, uint32_t* state, MatrixColumns& m);
size_t avx512_matrix_row(const MatrixRule& rule, Output output, const int8_t* levels, size_t n, uint8_t* out);
size_t avx512_combine(const float* coefficients, const uint32_t* which, size_t used, const float* basis, size_t columns,
                      float* out);
size_t avx512_merge(const SplitRule& rule, int width, const uint8_t* symbols, const uint8_t* raw, size_t n,
                    uint8_t* out);
size_t avx512_delta_classes(const DeltaClasses& rule, const uint8_t* base, const uint8_t* columns, size_t n, uint8_t* out);
void avx512_delta_count(const uint8_t* of, size_t n, uint8_t none, uint64_t* counts);
void avx512_delta_order(const uint8_t* of, size_t n, const DeltaOrder& order, uint64_t* at, uint8_t* out);
size_t avx512_delta_move(const DeltaRule& rule, const DeltaBits& raw, const uint8_t* base, const uint8_t* symbols, size_t n,
                         uint64_t& at, uint8_t* out);
size_t avx512_uniform(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n, uint8_t* out);

}  // namespace taut
