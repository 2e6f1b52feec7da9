// Eight lanes in one AVX2 register. Only files that are compiled for such processors include it.
#pragma once
#include <immintrin.h>

#include "round/tile.hpp"

namespace taut {
namespace {

struct Wide {
    static constexpr int kLanes = kStates;
    using Lanes = __m256i;
    struct Mask {
        __m256 bits;
    };
    __m256 v;

    Wide() = default;
    TAUT_INLINE explicit Wide(float x) : v(_mm256_set1_ps(x)) {}
    TAUT_INLINE Wide(__m256 x) : v(x) {}
    static TAUT_INLINE Wide load(const float* p) { return _mm256_loadu_ps(p); }
    TAUT_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
    static TAUT_INLINE Lanes lanes(const int32_t* p) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }
    static TAUT_INLINE Mask mask(const int32_t* p) { return {_mm256_castsi256_ps(lanes(p))}; }
    static TAUT_INLINE void store_lanes(Lanes l, int32_t* p) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), l);
    }
    static TAUT_INLINE Wide select(Mask m, Wide a, Wide b) { return _mm256_blendv_ps(b.v, a.v, m.bits); }
    static TAUT_INLINE Lanes select_lanes(Mask m, Lanes a, Lanes b) {
        return _mm256_blendv_epi8(b, a, _mm256_castps_si256(m.bits));
    }
    static TAUT_INLINE Lanes permute_lanes(Lanes l, Lanes from) { return _mm256_permutevar8x32_epi32(l, from); }
    static TAUT_INLINE Mask differ(Mask a, Mask b) { return {_mm256_xor_ps(a.bits, b.bits)}; }
    static TAUT_INLINE Wide most(Wide a, Wide b) { return _mm256_max_ps(a.v, b.v); }
    static TAUT_INLINE Wide least(Wide a, Wide b) { return _mm256_min_ps(a.v, b.v); }
    static TAUT_INLINE Wide abs(Wide a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.f), a.v); }
    static TAUT_INLINE Wide round(Wide a) {
        return _mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
    static TAUT_INLINE Wide copy_sign(Wide a, Wide sign) {
        const __m256 bit = _mm256_set1_ps(-0.f);
        return _mm256_or_ps(_mm256_andnot_ps(bit, a.v), _mm256_and_ps(bit, sign.v));
    }
    TAUT_INLINE Wide permute(Lanes from) const { return _mm256_permutevar8x32_ps(v, from); }
    friend TAUT_INLINE Wide operator+(Wide a, Wide b) { return _mm256_add_ps(a.v, b.v); }
    friend TAUT_INLINE Wide operator-(Wide a, Wide b) { return _mm256_sub_ps(a.v, b.v); }
    friend TAUT_INLINE Wide operator*(Wide a, Wide b) { return _mm256_mul_ps(a.v, b.v); }
    friend TAUT_INLINE Mask operator<(Wide a, Wide b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
};

}  // namespace
}  // namespace taut
