// AVX-512: symbols of a delta put in the order of its values, and what they make of the base's.
#include "simd/avx512.hpp"

namespace taut {
namespace {

TAUT_INLINE __mmask64 rest_of(size_t i, size_t n) { return n - i < 64 ? first(n - i) : ~uint64_t(0); }

// 16 values, each in a lane of 32 bits, or of 16.
template <int Width>
struct Lanes;
template <>
struct Lanes<4> {
    using V = __m512i;
    static TAUT_INLINE V load_from(const uint8_t* p) { return _mm512_loadu_si512(p); }
    static TAUT_INLINE void save_to(uint8_t* p, V v) { _mm512_storeu_si512(p, v); }
    static TAUT_INLINE V of(__m512i words) { return words; }
    static TAUT_INLINE V symbols(__m128i s) { return _mm512_cvtepu8_epi32(s); }
    static TAUT_INLINE V all(uint32_t v) { return _mm512_set1_epi32(int(v)); }
    static TAUT_INLINE V add(V a, V b) { return _mm512_add_epi32(a, b); }
    static TAUT_INLINE V sub(V a, V b) { return _mm512_sub_epi32(a, b); }
    static TAUT_INLINE V both(V a, V b) { return _mm512_and_si512(a, b); }
    static TAUT_INLINE V either(V a, V b) { return _mm512_or_si512(a, b); }
    static TAUT_INLINE V flip(V a, V b) { return _mm512_xor_si512(a, b); }
    static TAUT_INLINE V top(V a) { return _mm512_srli_epi32(a, 31); }
};
template <>
struct Lanes<2> {
    using V = __m256i;
    static TAUT_INLINE V load_from(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
    static TAUT_INLINE void save_to(uint8_t* p, V v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
    static TAUT_INLINE V of(__m512i words) { return _mm512_cvtepi32_epi16(words); }
    static TAUT_INLINE V symbols(__m128i s) { return _mm256_cvtepu8_epi16(s); }
    static TAUT_INLINE V all(uint32_t v) { return _mm256_set1_epi16(short(v)); }
    static TAUT_INLINE V add(V a, V b) { return _mm256_add_epi16(a, b); }
    static TAUT_INLINE V sub(V a, V b) { return _mm256_sub_epi16(a, b); }
    static TAUT_INLINE V both(V a, V b) { return _mm256_and_si256(a, b); }
    static TAUT_INLINE V either(V a, V b) { return _mm256_or_si256(a, b); }
    static TAUT_INLINE V flip(V a, V b) { return _mm256_xor_si256(a, b); }
    static TAUT_INLINE V top(V a) { return _mm256_srli_epi16(a, 15); }
};

// The fields of 8 values that begin at these bits, counted from bit `at`: of each 32 bits, what follows the field too.
TAUT_INLINE __m256i eight_fields(const uint8_t* raw, uint64_t at, __m256i begin) {
    const __m512i place = _mm512_add_epi64(_mm512_cvtepu32_epi64(begin), _mm512_set1_epi64(int64_t(at & 7)));
    // The number of a lane's first byte in all its bytes, and then one more from byte to byte.
    constexpr auto upper = int64_t(8 * kEach);
    const __m512i lowest = _mm512_set_epi64(upper, 0, upper, 0, upper, 0, upper, 0);
    const __m512i from = _mm512_shuffle_epi8(_mm512_srli_epi64(place, 3), lowest);
    const __m512i pick = _mm512_add_epi8(from, _mm512_set1_epi64(int64_t(kCount)));
    const __m512i windows = _mm512_permutexvar_epi8(pick, load(raw + (at >> 3)));
    return _mm512_cvtepi64_epi32(_mm512_srlv_epi64(windows, _mm512_and_si512(place, _mm512_set1_epi64(7))));
}

// Magnitudes of 16 symbols (docs/coding.md, "Differences"), whose raw bits are taken from bit `at` on.
template <int Width>
TAUT_INLINE __m512i magnitudes(__m512i token, const uint8_t* raw, uint64_t& at) {
    constexpr int kTokens = 16 + (8 * Width - 4) * 4;
    const auto number = [](int v) { return _mm512_set1_epi32(v); };
    const __mmask16 valid = _mm512_cmplt_epu32_mask(token, number(kTokens));
    const __mmask16 large = _mm512_mask_cmpge_epu32_mask(valid, token, number(16));
    const __m512i small = _mm512_maskz_mov_epi32(valid, token);
    if (!large) return small;
    const __m512i bits =
        _mm512_maskz_add_epi32(large, _mm512_srli_epi32(_mm512_sub_epi32(token, number(16)), 2), number(2));
    const __m512i upper = _mm512_mask_sllv_epi32(
        small, large, _mm512_or_si512(_mm512_and_si512(token, number(3)), number(4)), bits);
    const __m512i zero = _mm512_setzero_si512();
    __m512i end = _mm512_add_epi32(bits, _mm512_alignr_epi32(bits, zero, 15));
    end = _mm512_add_epi32(end, _mm512_alignr_epi32(end, zero, 14));
    end = _mm512_add_epi32(end, _mm512_alignr_epi32(end, zero, 12));
    end = _mm512_add_epi32(end, _mm512_alignr_epi32(end, zero, 8));
    const auto half = uint32_t(_mm_extract_epi32(_mm512_extracti32x4_epi32(end, 1), 3));
    const auto whole = uint32_t(_mm_extract_epi32(_mm512_extracti32x4_epi32(end, 3), 3));
    const __m512i begin = _mm512_sub_epi32(end, bits);
    const __m256i low = eight_fields(raw, at, _mm512_castsi512_si256(begin));
    const __m256i second = _mm256_sub_epi32(_mm512_extracti64x4_epi64(begin, 1), _mm256_set1_epi32(int(half)));
    const __m256i high = eight_fields(raw, at + half, second);
    at += whole;
    const __m512i fields = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    const __m512i others = _mm512_sllv_epi32(number(-1), bits);
    return _mm512_add_epi32(upper, _mm512_andnot_si512(others, fields));
}

template <int Width>
size_t moved(const DeltaRule& rule, const DeltaBits& raw, const uint8_t* base, const uint8_t* symbols, size_t n,
             uint64_t& at, uint8_t* out) {
    using L = Lanes<Width>;
    using V = typename L::V;
    constexpr uint64_t kReach = 96;  // bytes from the first bit of 16 values to the end of what is loaded for them
    const V one = L::all(1), none = L::all(0), signs = L::all(uint32_t(rule.signs)), flip = L::all(uint32_t(rule.flip));
    const V negative = L::all(uint32_t(rule.negative));
    size_t i = 0;
    for (; i + 16 <= n && (at >> 3) + kReach <= raw.size; i += 16) {
        const __m128i s = _mm_loadu_si128(reinterpret_cast<const __m128i*>(symbols + i));
        const V u = L::load_from(base + i * Width);
        if (_mm_testz_si128(s, s)) {
            L::save_to(out + i * Width, u);
            continue;
        }
        const __m512i wide = _mm512_cvtepu8_epi32(s);
        if (rule.exclusive) {
            L::save_to(out + i * Width, L::flip(u, L::of(magnitudes<Width>(wide, raw.data, at))));
            continue;
        }
        const V m = L::of(magnitudes<Width>(_mm512_srli_epi32(wide, 1), raw.data, at)), first = L::top(u);
        const V down = L::sub(none, L::flip(L::both(L::symbols(s), one), L::both(first, negative)));
        const V o = L::flip(u, L::either(L::both(L::sub(none, first), signs), flip));
        const V there = L::add(o, L::sub(L::flip(m, down), down));
        const V below = L::sub(L::top(there), one);
        L::save_to(out + i * Width, L::flip(there, L::either(L::both(below, signs), flip)));
    }
    return i;
}

}  // namespace

void avx512_delta_count(const uint8_t* of, size_t n, uint8_t none, uint64_t* counts) {
    __m512i low = bytes(255), high = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 64) {
        const __m512i c = _mm512_maskz_loadu_epi8(rest_of(i, n), of + i);
        const __mmask64 some = _mm512_mask_cmpneq_epi8_mask(rest_of(i, n), c, bytes(none));
        low = _mm512_mask_min_epu8(low, some, low, c);
        high = _mm512_mask_max_epu8(high, some, high, c);
    }
    alignas(64) uint8_t lowest[64], highest[64];
    store(lowest, low);
    store(highest, high);
    unsigned from = 255, to = 0;
    for (int k = 0; k < 64; k++) {
        from = lowest[k] < from ? lowest[k] : from;
        to = highest[k] > to ? highest[k] : to;
    }
    constexpr size_t kTile = 1 << 14;  // which stays near for one class after the other
    for (size_t begin = 0; begin < n; begin += kTile) {
        const size_t end = n - begin < kTile ? n : begin + kTile;
        for (unsigned which = from; which <= to; which++) {
            const __m512i wanted = bytes(int(which));
            uint64_t found = 0;
            for (size_t i = begin; i < end; i += 64) {
                const __mmask64 there = rest_of(i, end);
                found += ones(_mm512_mask_cmpeq_epi8_mask(there, _mm512_maskz_loadu_epi8(there, of + i), wanted));
            }
            if (which != none) counts[which] += found;
        }
    }
}

void avx512_delta_order(const uint8_t* of, size_t n, const uint8_t* classes, size_t kinds, const uint8_t* symbols,
                        uint64_t* at, uint8_t* out) {
    const uint8_t* next[256];
    for (size_t k = 0; k < kinds; k++) next[k] = symbols + at[classes[k]];
    for (size_t i = 0; i < n; i += 64) {
        const __mmask64 there = rest_of(i, n);
        const __m512i c = _mm512_maskz_loadu_epi8(there, of + i);
        __m512i found = _mm512_setzero_si512();
        for (size_t k = 0; k < kinds; k++) {
            const __mmask64 mask = _mm512_mask_cmpeq_epi8_mask(there, c, bytes(classes[k]));
            found = _mm512_or_si512(found, _mm512_maskz_expand_epi8(mask, load_early(next[k])));
            next[k] += ones(mask);
        }
        _mm512_mask_storeu_epi8(out + i, there, found);
    }
}

size_t avx512_delta_move(const DeltaRule& rule, const DeltaBits& raw, const uint8_t* base, const uint8_t* symbols, size_t n,
                         uint64_t& at, uint8_t* out) {
    if (rule.width == 4) return moved<4>(rule, raw, base, symbols, n, at, out);
    return rule.width == 2 ? moved<2>(rule, raw, base, symbols, n, at, out) : 0;
}

}  // namespace taut
