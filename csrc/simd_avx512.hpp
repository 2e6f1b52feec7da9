// What the AVX-512 files share: short names, all inlined, so that nothing compiled here can serve other processors.
#pragma once
#if !defined(LACONIC_EMULATE_AVX512)  // tests/native/emulated_kernels.hpp has an emulation in its place
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
// GCC's own intrinsics begin with undefined registers, of which versions before 13 warn wherever they are inlined.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "simd.hpp"

namespace laconic {
namespace {

LACONIC_INLINE __m512i load(const void* p) { return _mm512_loadu_si512(p); }
// A load that stays one: as an operand of an expansion it would wait for the mask.
LACONIC_INLINE __m512i load_early(const void* p) {
    __m512i v = load(p);
#if defined(__GNUC__) && defined(__x86_64__) && defined(__AVX512F__)
    __asm__("" : "+v"(v));
#endif
    return v;
}
LACONIC_INLINE void store(void* p, __m512i v) { _mm512_storeu_si512(p, v); }
LACONIC_INLINE __m512i bytes(int v) { return _mm512_set1_epi8(char(v)); }
LACONIC_INLINE __m512i words(int v) { return _mm512_set1_epi16(short(v)); }
// mask ? yes : no. The instruction writes over its first operand: `no` is what callers no longer need.
LACONIC_INLINE __m512i select(__m512i mask, __m512i yes, __m512i no) {
    return _mm512_ternarylogic_epi64(no, yes, mask, 0xd8);
}
LACONIC_INLINE size_t ones(uint64_t mask) { return size_t(_mm_popcnt_u64(mask)); }

// The lowest `n` < 64 bits.
LACONIC_INLINE __mmask64 first(size_t n) { return (uint64_t(1) << n) - 1; }

constexpr uint64_t kEach = 0x0101010101010101u, kCount = 0x0706050403020100u;  // in every byte: 1; its place

LACONIC_INLINE __m512i byte_numbers() {
    const auto from = [](int i) { return int64_t(kCount + uint64_t(8 * i) * kEach); };
    return _mm512_set_epi64(from(7), from(6), from(5), from(4), from(3), from(2), from(1), from(0));
}

}  // namespace

size_t avx512_merge(const SplitRule& rule, int width, const uint8_t* symbols, const uint8_t* raw, size_t n,
                    uint8_t* out);
size_t avx512_uniform(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n, uint8_t* out);

}  // namespace laconic
