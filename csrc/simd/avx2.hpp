// What the AVX2 files share. Nothing here may be emitted as a shared function: it would serve other processors too.
#pragma once
#include <immintrin.h>

#include "simd/fields.hpp"
#include "simd/steps.hpp"

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

TAUT_INLINE __m128i pattern(const uint8_t (*table)[16], uint32_t mask) {
    return _mm_load_si128(reinterpret_cast<const __m128i*>(table[mask & 255]));
}

// States are kept in the order in which the pack and unpack instructions deal them, so that packed bytes come out in
// lane order: with 16-bit states, a holds lanes 0-7 and 16-23, b lanes 8-15 and 24-31.
struct Avx2Fast {
    __m256i a, b;
    TAUT_INLINE void load_from(const uint16_t* lane) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane));
        const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane + 16));
        a = _mm256_permute2x128_si256(v, w, 0x20);
        b = _mm256_permute2x128_si256(v, w, 0x31);
    }
    TAUT_INLINE void save_to(uint16_t* lane) const {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(lane), _mm256_permute2x128_si256(a, b, 0x20));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(lane + 16), _mm256_permute2x128_si256(a, b, 0x31));
    }
    TAUT_INLINE __m256i slot() const {
        const __m256i byte = _mm256_set1_epi16(255);
        return _mm256_packus_epi16(_mm256_and_si256(a, byte), _mm256_and_si256(b, byte));
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
struct Avx2Dense {
    __m256i x[4];
    TAUT_INLINE void load_from(const uint32_t* lane) {
        for (int k = 0; k < 4; k++)
            x[k] = pair(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lane + 4 * k)),
                        _mm_loadu_si128(reinterpret_cast<const __m128i*>(lane + 16 + 4 * k)));
    }
    TAUT_INLINE void save_to(uint32_t* lane) const {
        for (int k = 0; k < 4; k++) {
            _mm_storeu_si128(reinterpret_cast<__m128i*>(lane + 4 * k), _mm256_castsi256_si128(x[k]));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(lane + 16 + 4 * k), _mm256_extracti128_si256(x[k], 1));
        }
    }
    template <int Bits>
    TAUT_INLINE void slot(__m256i& bucket, __m256i& offset) const {
        const __m256i slots = _mm256_set1_epi32(4095), inside = _mm256_set1_epi16((1 << (12 - Bits)) - 1);
        const __m256i y0 = _mm256_packus_epi32(_mm256_and_si256(x[0], slots), _mm256_and_si256(x[1], slots));
        const __m256i y1 = _mm256_packus_epi32(_mm256_and_si256(x[2], slots), _mm256_and_si256(x[3], slots));
        bucket = _mm256_packus_epi16(_mm256_srli_epi16(y0, 12 - Bits), _mm256_srli_epi16(y1, 12 - Bits));
        offset = _mm256_packus_epi16(_mm256_and_si256(y0, inside), _mm256_and_si256(y1, inside));
    }
    // x = f * (x >> 12) + offset + adjust, two bytes each of f and adjust; then `active` lanes take units as above.
    TAUT_INLINE void advance(const __m256i (&f)[2], const __m256i (&adjust)[2], __m256i offset, uint32_t active,
                             const uint8_t*& p) {
        const __m256i zero = _mm256_setzero_si256();
        const __m256i f0 = _mm256_unpacklo_epi8(f[0], f[1]), f1 = _mm256_unpackhi_epi8(f[0], f[1]);
        const __m256i r0 = _mm256_add_epi16(_mm256_unpacklo_epi8(offset, zero), _mm256_unpacklo_epi8(adjust[0], adjust[1]));
        const __m256i r1 = _mm256_add_epi16(_mm256_unpackhi_epi8(offset, zero), _mm256_unpackhi_epi8(adjust[0], adjust[1]));
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

// What simd/steps.hpp asks for.
struct Avx2 {
    static constexpr size_t kLanes = 32;
    using Bytes = __m256i;
    using Mask = __m256i;
    using Active = uint32_t;
    using FastStates = Avx2Fast;
    using DenseStates = Avx2Dense;
    static TAUT_INLINE Active active(size_t n) { return n < 32 ? (1u << n) - 1 : ~0u; }
    static TAUT_INLINE Bytes load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
    static TAUT_INLINE void store(void* p, Bytes v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
    static TAUT_INLINE Bytes bytes(int v) { return _mm256_set1_epi8(char(v)); }
    static TAUT_INLINE Bytes add(Bytes a, Bytes b) { return _mm256_add_epi8(a, b); }
    static TAUT_INLINE Bytes sub(Bytes a, Bytes b) { return _mm256_sub_epi8(a, b); }
    static TAUT_INLINE Bytes exclusive(Bytes a, Bytes b) { return _mm256_xor_si256(a, b); }
    static TAUT_INLINE Bytes and_(Bytes a, Bytes b) { return _mm256_and_si256(a, b); }
    static TAUT_INLINE Mask at_least(Bytes a, Bytes b) { return _mm256_cmpeq_epi8(_mm256_max_epu8(a, b), a); }
    static TAUT_INLINE Mask less(Bytes a, Bytes b) { return _mm256_cmpgt_epi8(b, a); }
    static TAUT_INLINE Mask set_in(Bytes v, Bytes bits) { return _mm256_cmpeq_epi8(_mm256_and_si256(v, bits), bits); }
    static TAUT_INLINE Bytes pick(Mask m, Bytes yes, Bytes no) { return _mm256_blendv_epi8(no, yes, m); }
    static TAUT_INLINE Bytes add_unless(Mask m, Bytes v, Bytes by) {
        return _mm256_add_epi8(v, _mm256_andnot_si256(m, by));
    }
    static TAUT_INLINE Bytes keep(Mask m, Bytes v) { return _mm256_and_si256(m, v); }
    template <int from, int bits>
    static TAUT_INLINE Bytes field(Bytes v) {
        return _mm256_and_si256(from ? _mm256_srli_epi16(v, from) : v, bytes((1 << bits) - 1));
    }
    static TAUT_INLINE uint32_t rare(Mask m, Active active) { return uint32_t(_mm256_movemask_epi8(m)) & active; }
    static TAUT_INLINE bool any(uint32_t rare) { return rare; }
    static TAUT_INLINE uint64_t lanes_of(uint32_t rare) { return rare; }
    static TAUT_INLINE Bytes as_bytes(Mask m) { return m; }
    static TAUT_INLINE Bytes closer(Bytes q, Mask odd) {
        return _mm256_add_epi8(_mm256_add_epi8(q, q), _mm256_sign_epi8(odd, q));
    }
    static TAUT_INLINE Bytes next(Bytes i) { return _mm256_shuffle_epi8(both(wide::kNextState), i); }

    // A lookup is a shuffle by the low nibble for every 16 bytes, and a tree of blends steered by the upper bits, which
    // stand here where blends look; the quantiser is one more blend.
    template <int Bits, bool Trellis>
    struct Index {
        __m256i low, steer[4], odd;
        TAUT_INLINE Index(__m256i i, __m256i odd_) : odd(odd_) {
            low = Bits == 8 ? _mm256_and_si256(i, _mm256_set1_epi8(15)) : i;
            steer[0] = _mm256_slli_epi16(i, 3);
            steer[1] = _mm256_slli_epi16(i, 2);
            steer[2] = _mm256_slli_epi16(i, 1);
            steer[3] = i;
        }
        TAUT_INLINE __m256i find(const uint8_t* tables) const {
            if (!Trellis) return within<Bits - 4>(tables);
            return _mm256_blendv_epi8(within<Bits - 4>(tables), within<Bits - 4>(tables + (1 << Bits)), odd);
        }
        template <int Level>
        TAUT_INLINE __m256i within(const uint8_t* table) const {
            if constexpr (Level == 0)
                return _mm256_shuffle_epi8(both(table), low);
            else
                return _mm256_blendv_epi8(within<Level - 1>(table), within<Level - 1>(table + (16 << (Level - 1))),
                                          steer[Level - 1]);
        }
    };

    using Quarter = __m128i;
    static TAUT_INLINE Quarter load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
    static TAUT_INLINE void store16(void* p, Quarter v) { _mm_storeu_si128(static_cast<__m128i*>(p), v); }
    static TAUT_INLINE void interleave(Quarter a, Quarter b, Quarter& low, Quarter& high) {
        low = _mm_unpacklo_epi8(a, b);
        high = _mm_unpackhi_epi8(a, b);
    }

private:
    static TAUT_INLINE __m256i both(const uint8_t* table) {
        return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
    }
};

}  // namespace

size_t avx2_count(const uint8_t* symbols, size_t n, uint8_t wanted);
const uint8_t* avx2_patch(uint8_t* symbols, size_t n, uint8_t mark, const uint8_t* tail);
void avx2_matrix_fast(const MatrixLookup& t, uint16_t* state, MatrixColumns& m);
void avx2_matrix_dense(const MatrixLookup& t, uint32_t* state, MatrixColumns& m);
void avx2_transpose(const int8_t* levels, size_t lanes, size_t rows, int8_t* out);
size_t avx2_matrix_row(const MatrixRule& rule, Output output, const int8_t* levels, size_t n, uint8_t* out);
size_t avx2_combine(const float* coefficients, const uint32_t* which, size_t used, const float* basis, size_t columns,
                    float* out);
size_t avx2_merge(const SplitRule& rule, int width, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out);
size_t avx2_uniform(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n, uint8_t* out);
size_t avx2_delta_classes(const DeltaClasses& rule, const uint8_t* base, const uint8_t* columns, size_t n, uint8_t* out);
size_t avx2_delta_move(const DeltaRule& rule, const DeltaBits& raw, const uint8_t* base, const uint8_t* symbols, size_t n,
                       uint64_t& at, uint8_t* out);
void avx2_round_block(const float* v, size_t n, float inverse, const Thresholds& t, uint32_t* counts, Inside& inside,
                      int32_t* indices);

}  // namespace taut
