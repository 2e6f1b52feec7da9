// What the AVX2 files share. Nothing here may be emitted as a shared function: it would serve other processors too.
#pragma once
#include <immintrin.h>

#include "simd.hpp"

namespace laconic {
namespace {

LACONIC_INLINE __m256i pair(__m128i low, __m128i high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

}  // namespace

size_t avx2_count(const uint8_t* symbols, size_t n, uint8_t wanted);
const uint8_t* avx2_patch(uint8_t* symbols, size_t n, uint8_t mark, const uint8_t* tail);
size_t avx2_merge(const SplitRule& rule, int width, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out);
size_t avx2_uniform(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n, uint8_t* out);
void avx2_round_block(const float* v, size_t n, float inverse, const Thresholds& t, uint32_t* counts, Inside& inside,
                      int32_t* indices);

}  // namespace laconic
