// What the AVX2 files share. Nothing here may be emitted as a shared function: it would serve other processors too.
#pragma once
#include <immintrin.h>

#include "simd/simd.hpp"

namespace taut {

// expand[m]: where each of eight lanes finds its unit among those that the lanes in mask m take in order.
struct Expansion {
    alignas(16) uint8_t bytes[256][16]{};  // one-byte units to 16-bit lanes
    alignas(16) uint8_t words[256][16]{};  // two-byte units to 16-bit lanes
    constexpr Expansion() {
        for (int m = 0; m < 256; m++)
            for (int k = 0, n = 0; k < 8; k++) {
                const bool take = m >> k & 1;
                bytes[m][2 * k] = take ? uint8_t(n) : 0x80;
                bytes[m][2 * k + 1] = 0x80;
                words[m][2 * k] = take ? uint8_t(2 * n) : 0x80;
                words[m][2 * k + 1] = take ? uint8_t(2 * n + 1) : 0x80;
                n += take;
            }
    }
};
extern const Expansion expansion;  // constant: nothing of these files may run before the processor is asked

namespace {

TAUT_INLINE __m256i pair(__m128i low, __m128i high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}
TAUT_INLINE __m128i count(int n) { return _mm_cvtsi32_si128(n); }  // of bits to shift by
TAUT_INLINE uint64_t load_word(const uint8_t* p) {  // load64 is a shared function
    uint64_t v;
    std::memcpy(&v, p, 8);
    return v;
}

// An index in 2^Bits bytes, prepared for several lookups. A lookup is 2^(Bits - 4) shuffles by the low nibble and a tree
// of blends steered by the upper bits, which stand here where blends look.
template <int Bits>
struct Index {
    __m256i low, steer[4];
    TAUT_INLINE explicit Index(__m256i i) {
        low = Bits == 8 ? _mm256_and_si256(i, _mm256_set1_epi8(15)) : i;
        steer[0] = _mm256_slli_epi16(i, 3);
        steer[1] = _mm256_slli_epi16(i, 2);
        steer[2] = _mm256_slli_epi16(i, 1);
        steer[3] = i;
    }
};

// A lookup in a table in memory, entries `table` and on.
template <int Level, int Bits>
TAUT_INLINE __m256i find_from(const uint8_t* table, const Index<Bits>& i) {
    if constexpr (Level == 0) {
        const __m128i part = _mm_load_si128(reinterpret_cast<const __m128i*>(table));
        return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(part), i.low);
    } else {
        return _mm256_blendv_epi8(find_from<Level - 1, Bits>(table, i),
                                  find_from<Level - 1, Bits>(table + (16 << (Level - 1)), i), i.steer[Level - 1]);
    }
}

TAUT_INLINE __m128i pattern(const uint8_t (*table)[16], uint32_t mask) {
    return _mm_load_si128(reinterpret_cast<const __m128i*>(table[mask & 255]));
}

// States are kept in the order in which the pack and unpack instructions deal them, so that packed bytes come out in
// lane order: with 16-bit states, a holds lanes 0-7 and 16-23, b lanes 8-15 and 24-31.
struct Lanes32 {
    __m256i a, b;
    TAUT_INLINE void load(const uint16_t* lane) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane));
        const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane + 16));
        a = _mm256_permute2x128_si256(v, w, 0x20);
        b = _mm256_permute2x128_si256(v, w, 0x31);
    }
    TAUT_INLINE void save(uint16_t* lane) const {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(lane), _mm256_permute2x128_si256(a, b, 0x20));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(lane + 16), _mm256_permute2x128_si256(a, b, 0x31));
    }
    // x = f * (x >> 8) + rank; then the lanes of `active` that have run short take the next units in order.
    TAUT_INLINE void advance(__m256i f, __m256i rank, uint32_t active, const uint8_t*& p) {
        const __m256i zero = _mm256_setzero_si256();
        const __m256i y = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_srli_epi16(a, 8), _mm256_unpacklo_epi8(f, zero)),
                                           _mm256_unpacklo_epi8(rank, zero));
        const __m256i z = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_srli_epi16(b, 8), _mm256_unpackhi_epi8(f, zero)),
                                           _mm256_unpackhi_epi8(rank, zero));
        const __m256i need_y = _mm256_cmpeq_epi16(_mm256_srli_epi16(y, 8), zero);
        const __m256i need_z = _mm256_cmpeq_epi16(_mm256_srli_epi16(z, 8), zero);
        const uint32_t need = uint32_t(_mm256_movemask_epi8(_mm256_packs_epi16(need_y, need_z))) & active;
        const uint8_t* p1 = p + _mm_popcnt_u32(need & 0xff);
        const uint8_t* p2 = p + _mm_popcnt_u32(need & 0xffff);
        const uint8_t* p3 = p + _mm_popcnt_u32(need & 0xffffff);
        const auto take = [](const uint8_t* q, uint32_t mask) {
            return _mm_shuffle_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(q)),
                                    pattern(expansion.bytes, mask));
        };
        const __m256i units_y = pair(take(p, need), take(p2, need >> 16));
        const __m256i units_z = pair(take(p1, need >> 8), take(p3, need >> 24));
        p += _mm_popcnt_u32(need);
        a = _mm256_blendv_epi8(y, _mm256_or_si256(_mm256_slli_epi16(y, 8), units_y), need_y);
        b = _mm256_blendv_epi8(z, _mm256_or_si256(_mm256_slli_epi16(z, 8), units_z), need_z);
    }
};

// 32 lanes: x[k] holds lanes 4k to 4k+3 and 16+4k to 16+4k+3.
struct DenseLanes {
    __m256i x[4];
    TAUT_INLINE void load(const uint32_t* lane) {
        for (int k = 0; k < 4; k++)
            x[k] = pair(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lane + 4 * k)),
                        _mm_loadu_si128(reinterpret_cast<const __m128i*>(lane + 16 + 4 * k)));
    }
    TAUT_INLINE void save(uint32_t* lane) const {
        for (int k = 0; k < 4; k++) {
            _mm_storeu_si128(reinterpret_cast<__m128i*>(lane + 4 * k), _mm256_castsi256_si128(x[k]));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(lane + 16 + 4 * k), _mm256_extracti128_si256(x[k], 1));
        }
    }
    // x = f * (x >> 12) + rank, frequencies and ranks as words; then `active` lanes take units as above.
    TAUT_INLINE void advance(__m256i f0, __m256i f1, __m256i r0, __m256i r1, uint32_t active, const uint8_t*& p) {
        const __m256i zero = _mm256_setzero_si256();
        const auto step = [](__m256i v, __m256i f, __m256i rank) {
            return _mm256_add_epi32(_mm256_mullo_epi32(_mm256_srli_epi32(v, 12), f), rank);
        };
        const __m256i y[4] = {step(x[0], _mm256_unpacklo_epi16(f0, zero), _mm256_unpacklo_epi16(r0, zero)),
                              step(x[1], _mm256_unpackhi_epi16(f0, zero), _mm256_unpackhi_epi16(r0, zero)),
                              step(x[2], _mm256_unpacklo_epi16(f1, zero), _mm256_unpacklo_epi16(r1, zero)),
                              step(x[3], _mm256_unpackhi_epi16(f1, zero), _mm256_unpackhi_epi16(r1, zero))};
        __m256i short_of[4];
        for (int k = 0; k < 4; k++) short_of[k] = _mm256_cmpeq_epi32(_mm256_srli_epi32(y[k], 16), zero);
        const uint32_t need = active & uint32_t(_mm256_movemask_epi8(_mm256_packs_epi16(
            _mm256_packs_epi32(short_of[0], short_of[1]), _mm256_packs_epi32(short_of[2], short_of[3]))));
        const uint8_t* p1 = p + 2 * _mm_popcnt_u32(need & 0xff);
        const uint8_t* p2 = p + 2 * _mm_popcnt_u32(need & 0xffff);
        const uint8_t* p3 = p + 2 * _mm_popcnt_u32(need & 0xffffff);
        const auto take = [](const uint8_t* q, uint32_t mask) {
            return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q)),
                                    pattern(expansion.words, mask));
        };
        const __m256i u0 = pair(take(p, need), take(p2, need >> 16));
        const __m256i u1 = pair(take(p1, need >> 8), take(p3, need >> 24));
        p += 2 * _mm_popcnt_u32(need);
        const __m256i units[4] = {_mm256_unpacklo_epi16(u0, zero), _mm256_unpackhi_epi16(u0, zero),
                                  _mm256_unpacklo_epi16(u1, zero), _mm256_unpackhi_epi16(u1, zero)};
        for (int k = 0; k < 4; k++)
            x[k] = _mm256_blendv_epi8(y[k], _mm256_or_si256(_mm256_slli_epi32(y[k], 16), units[k]), short_of[k]);
    }
};

}  // namespace

size_t avx2_count(const uint8_t* symbols, size_t n, uint8_t wanted);
const uint8_t* avx2_patch(uint8_t* symbols, size_t n, uint8_t mark, const uint8_t* tail);
void avx2_matrix_fast(const MatrixLookup& t, uint16_t* state, MatrixColumns& m);
void avx2_matrix_dense(const MatrixLookup& t, uint32_t* state, MatrixColumns& m);
void avx2_transpose(const int8_t* levels, size_t lanes, size_t rows, int8_t* out);
size_t avx2_matrix_row(const MatrixRule& rule, Output output, const int8_t* levels, size_t n, uint8_t* out);
size_t avx2_merge(const SplitRule& rule, int width, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out);
size_t avx2_uniform(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n, uint8_t* out);
void avx2_round_block(const float* v, size_t n, float inverse, const Thresholds& t, uint32_t* counts, Inside& inside,
                      int32_t* indices);

}  // namespace taut
