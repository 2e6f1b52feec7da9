// What the AVX2 files share. Nothing here may be emitted as a shared function: it would serve other processors too.
#pragma once
#include <immintrin.h>

#include "simd.hpp"

namespace laconic {
namespace {

LACONIC_INLINE __m256i pair(__m128i low, __m128i high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}
LACONIC_INLINE __m128i count(int n) { return _mm_cvtsi32_si128(n); }  // of bits to shift by
LACONIC_INLINE uint64_t load_word(const uint8_t* p) {  // load64 is a shared function
    uint64_t v;
    std::memcpy(&v, p, 8);
    return v;
}

// An index in 2^Bits bytes, prepared for several lookups. A lookup is 2^(Bits - 4) shuffles by the low nibble and a tree
// of blends steered by the upper bits, which stand here where blends look.
template <int Bits>
struct Index {
    __m256i low, steer[4];
    LACONIC_INLINE explicit Index(__m256i i) {
        low = Bits == 8 ? _mm256_and_si256(i, _mm256_set1_epi8(15)) : i;
        steer[0] = _mm256_slli_epi16(i, 3);
        steer[1] = _mm256_slli_epi16(i, 2);
        steer[2] = _mm256_slli_epi16(i, 1);
        steer[3] = i;
    }
};

}  // namespace

size_t avx2_count(const uint8_t* symbols, size_t n, uint8_t wanted);
const uint8_t* avx2_patch(uint8_t* symbols, size_t n, uint8_t mark, const uint8_t* tail);
size_t avx2_merge(const SplitRule& rule, int width, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out);
size_t avx2_uniform(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n, uint8_t* out);
void avx2_round_block(const float* v, size_t n, float inverse, const Thresholds& t, uint32_t* counts, Inside& inside,
                      int32_t* indices);

}  // namespace laconic
