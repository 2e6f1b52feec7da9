// AVX-512 on any processor, for tests: SIMDe's emulation, and the instructions that it lacks, one lane at a time.
#pragma once
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wignored-attributes"  // vectors as template arguments lose only their alignment
#endif
#define SIMDE_ENABLE_NATIVE_ALIASES
#define SIMDE_NO_INLINE  // a sanitiser would spend minutes on it inlined
#include <simde/x86/avx512.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace taut::emulation {

template <class T, class Vector = simde__m512i>
struct Lanes {
    static constexpr int count = int(sizeof(Vector) / sizeof(T));
    T at[count] = {};
    Lanes() = default;
    explicit Lanes(Vector v) { std::memcpy(at, &v, sizeof v); }
    Vector vector() const {
        Vector v;
        std::memcpy(&v, at, sizeof v);
        return v;
    }
};

template <class To, class From, class Out, class In, class Each>
Out each(In v, Each f) {
    const Lanes<From, In> from(v);
    Lanes<To, Out> to;
    for (int i = 0; i < from.count; i++) to.at[i] = f(from.at[i]);
    return to.vector();
}

template <class T, class Each>
simde__m512i each(simde__m512i a, simde__m512i b, Each f) {
    const Lanes<T> x(a), y(b);
    Lanes<T> to;
    for (int i = 0; i < x.count; i++) to.at[i] = f(x.at[i], y.at[i], i);
    return to.vector();
}

template <class T, class Test>
uint64_t mask_of(simde__m512i a, simde__m512i b, Test test) {
    const Lanes<T> x(a), y(b);
    uint64_t mask = 0;
    for (int i = 0; i < x.count; i++) mask |= uint64_t(test(x.at[i], y.at[i])) << i;
    return mask;
}

inline simde__m512i mulhi_epu16(simde__m512i a, simde__m512i b) {
    return each<uint16_t>(a, b, [](uint32_t x, uint32_t y, int) { return uint16_t(x * y >> 16); });
}
inline simde__m512i mask_sub_epi16(simde__m512i from, uint32_t k, simde__m512i a, simde__m512i b) {
    const Lanes<uint16_t> old(from);
    return each<uint16_t>(a, b, [&](int x, int y, int i) { return k >> i & 1 ? uint16_t(x - y) : old.at[i]; });
}
inline simde__m512i mask_or_epi32(simde__m512i from, uint16_t k, simde__m512i a, simde__m512i b) {
    const Lanes<uint32_t> old(from);
    return each<uint32_t>(a, b, [&](uint32_t x, uint32_t y, int i) { return k >> i & 1 ? x | y : old.at[i]; });
}
inline uint32_t cmplt_epu16_mask(simde__m512i a, simde__m512i b) {
    return uint32_t(mask_of<uint16_t>(a, b, [](int x, int y) { return x < y; }));
}
inline uint64_t testn_epi8_mask(simde__m512i a, simde__m512i b) {
    return mask_of<uint8_t>(a, b, [](int x, int y) { return (x & y) == 0; });
}
inline uint32_t testn_epi16_mask(simde__m512i a, simde__m512i b) {
    return uint32_t(mask_of<uint16_t>(a, b, [](int x, int y) { return (x & y) == 0; }));
}
inline simde__m512i mask_expand_epi8(simde__m512i old, uint64_t k, simde__m512i v) {
    Lanes<uint8_t> to(old);
    const Lanes<uint8_t> from(v);
    for (int i = 0, next = 0; i < 64; i++)
        if (k >> i & 1) to.at[i] = from.at[next++];
    return to.vector();
}

// SIMDe has it, with shifts by 64.
inline simde__m512i multishift_epi64_epi8(simde__m512i from, simde__m512i v) {
    const Lanes<uint64_t> words(v);
    return each<uint8_t>(from, from, [&](uint8_t at, uint8_t, int i) {
        return uint8_t(std::rotr(words.at[i / 8], at & 63));
    });
}

// Only the lanes of the mask touch memory: a sanitiser sees it if one of them should not.
inline simde__m512i maskz_loadu_epi8(uint64_t k, const void* p) {
    Lanes<uint8_t> to;
    for (int i = 0; i < 64; i++)
        if (k >> i & 1) to.at[i] = static_cast<const uint8_t*>(p)[i];
    return to.vector();
}
inline void mask_storeu_epi8(void* p, uint64_t k, simde__m512i v) {
    const Lanes<uint8_t> from(v);
    for (int i = 0; i < 64; i++)
        if (k >> i & 1) static_cast<uint8_t*>(p)[i] = from.at[i];
}

template <class To, class In>
simde__m512i widen_bytes(In v) {
    const Lanes<uint8_t, In> from(v);
    Lanes<To> to;
    for (int i = 0; i < to.count; i++) to.at[i] = from.at[i];
    return to.vector();
}
inline simde__m256i cvtepi32_epi16(simde__m512i v) {
    return each<uint16_t, uint32_t, simde__m256i>(v, [](uint32_t x) { return uint16_t(x); });
}
inline simde__m512 cvtepi32_ps(simde__m512i v) {
    return each<float, int32_t, simde__m512>(v, [](int32_t x) { return float(x); });
}
inline simde__m512d cvtps_pd(simde__m256 v) {
    return each<double, float, simde__m512d>(v, [](float x) { return double(x); });
}
// As the instruction has it: a NaN becomes quiet and keeps the rest of its upper bits.
inline uint16_t half(float v) {
    const uint32_t u = std::bit_cast<uint32_t>(v), sign = u >> 16 & 0x8000;
    if (std::isnan(v)) return uint16_t(sign | 0x7e00 | (u >> 13 & 0x3ff));
    int exponent = 0;
    std::frexp(v, &exponent);  // |v| in [2^(exponent - 1), 2^exponent)
    const int scale = std::max(exponent - 11, -24);
    const double rounded = std::ldexp(std::nearbyint(std::ldexp(std::fabs(double(v)), -scale)), scale);
    if (!(rounded < 65536)) return uint16_t(sign | 0x7c00);
    if (rounded < 0x1p-14) return uint16_t(sign | uint32_t(std::ldexp(rounded, 24)));
    const int e = std::ilogb(rounded);
    return uint16_t(sign | (uint32_t(e + 15) << 10) | (uint32_t(std::ldexp(rounded, 10 - e)) & 0x3ff));
}
inline simde__m256i cvtps_ph(simde__m512 v, int) { return each<uint16_t, float, simde__m256i>(v, half); }

}  // namespace taut::emulation

// Later SIMDes may have some of these: ours win, so that one set of names serves all versions.
#undef _mm512_mulhi_epu16
#undef _mm512_mask_sub_epi16
#undef _mm512_mask_or_epi32
#undef _mm512_cmplt_epu16_mask
#undef _mm512_testn_epi8_mask
#undef _mm512_testn_epi16_mask
#undef _mm512_mask_expand_epi8
#undef _mm512_multishift_epi64_epi8
#undef _mm512_maskz_loadu_epi8
#undef _mm512_mask_storeu_epi8
#undef _mm512_cvtepu8_epi16
#undef _mm512_cvtepu8_epi32
#undef _mm512_cvtepu8_epi64
#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtps_pd
#undef _mm512_cvtps_ph
#undef _mm_popcnt_u64
#undef __mmask16
#undef __mmask64
#define _mm512_mulhi_epu16 ::taut::emulation::mulhi_epu16
#define _mm512_mask_sub_epi16 ::taut::emulation::mask_sub_epi16
#define _mm512_mask_or_epi32 ::taut::emulation::mask_or_epi32
#define _mm512_cmplt_epu16_mask ::taut::emulation::cmplt_epu16_mask
#define _mm512_testn_epi8_mask ::taut::emulation::testn_epi8_mask
#define _mm512_testn_epi16_mask ::taut::emulation::testn_epi16_mask
#define _mm512_mask_expand_epi8 ::taut::emulation::mask_expand_epi8
#define _mm512_multishift_epi64_epi8 ::taut::emulation::multishift_epi64_epi8
#define _mm512_maskz_loadu_epi8 ::taut::emulation::maskz_loadu_epi8
#define _mm512_mask_storeu_epi8 ::taut::emulation::mask_storeu_epi8
#define _mm512_cvtepu8_epi16 ::taut::emulation::widen_bytes<uint16_t>
#define _mm512_cvtepu8_epi32 ::taut::emulation::widen_bytes<uint32_t>
#define _mm512_cvtepu8_epi64 ::taut::emulation::widen_bytes<uint64_t>
#define _mm512_cvtepi32_epi16 ::taut::emulation::cvtepi32_epi16
#define _mm512_cvtepi32_ps ::taut::emulation::cvtepi32_ps
#define _mm512_cvtps_pd ::taut::emulation::cvtps_pd
#define _mm512_cvtps_ph ::taut::emulation::cvtps_ph
#define _mm_popcnt_u64 std::popcount<uint64_t>
#define __mmask16 simde__mmask16
#define __mmask64 simde__mmask64
#ifndef _CMP_UNORD_Q
#define _CMP_UNORD_Q SIMDE_CMP_UNORD_Q
#endif
#ifndef _MM_FROUND_TO_NEAREST_INT
#define _MM_FROUND_TO_NEAREST_INT SIMDE_MM_FROUND_TO_NEAREST_INT
#endif
#ifndef _MM_FROUND_NO_EXC
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
#endif
