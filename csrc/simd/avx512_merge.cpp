// AVX-512: symbols and raw bits to values, one row at a time; the last values of a row are stored under a mask.
#include "simd/avx512.hpp"

namespace taut {
namespace {

template <int Width>
constexpr uint64_t each(uint64_t value) {  // in every lane of Width bytes
    constexpr uint64_t lane = ~uint64_t(0) >> (64 - 8 * Width);
    return (value & lane) * (~uint64_t(0) / lane);
}
template <class Get>
constexpr uint64_t by_byte(Get get) {
    uint64_t v = 0;
    for (int j = 0; j < 8; j++) v |= uint64_t(get(j)) << (8 * j);
    return v;
}
template <int Width>
TAUT_INLINE __m512i in_lanes(uint64_t value) {
    return _mm512_set1_epi64(int64_t(each<Width>(value)));
}

// Symbols in lanes of Width bytes, and shifts of such lanes.
template <int Width>
TAUT_INLINE __m512i widen(const uint8_t* s) {
    if constexpr (Width == 1) return load(s);
    else if constexpr (Width == 2) return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(s)));
    else if constexpr (Width == 4) return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(s)));
    else return _mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(s)));
}
template <int Width>
TAUT_INLINE __m512i add_if(__m512i s, __m512i base) {  // where s is not zero; zero elsewhere
    if constexpr (Width == 1) return _mm512_maskz_add_epi8(_mm512_test_epi8_mask(s, s), s, base);
    else if constexpr (Width == 2) return _mm512_maskz_add_epi16(_mm512_test_epi16_mask(s, s), s, base);
    else if constexpr (Width == 4) return _mm512_maskz_add_epi32(_mm512_test_epi32_mask(s, s), s, base);
    else return _mm512_maskz_add_epi64(_mm512_test_epi64_mask(s, s), s, base);
}
template <int Width>
TAUT_INLINE __m512i shift_left(__m512i v, __m512i by) {  // bytes: within pairs
    if constexpr (Width <= 2) return _mm512_sllv_epi16(v, by);
    else if constexpr (Width == 4) return _mm512_sllv_epi32(v, by);
    else return _mm512_sllv_epi64(v, by);
}

// The 8 / Width values of a 64-bit lane have their fields in 64 bits that begin at a byte: one permutation of bytes
// brings those, and a multishift cuts any eight bits out for every byte of the result, already where they belong.
template <int Width>
struct Splice {
    static constexpr size_t values = 64 / Width;
    size_t stride;  // bytes of raw bits
    __m512i pick, field_at, sign_at, field_mask, sign_mask, high_mask, base, plain, flip;

    TAUT_INLINE explicit Splice(const SplitRule& rule) {
        const bool is_float = rule.mode == Mode::float_;
        const int packed = rule.packed(), mantissa = is_float ? rule.low - 1 : rule.low;
        stride = size_t(8 * packed / Width);
        const __m512i lane = _mm512_and_si512(byte_numbers(), bytes(0xf8)), place = _mm512_set1_epi64(int64_t(kCount));
        // Where a lane's fields begin, in bits: its number times 8 / Width * packed, and all its bytes say so.
        const __m512i begin = _mm512_mullo_epi64(_mm512_srli_epi64(_mm512_and_si512(lane, _mm512_set1_epi64(255)), 3),
                                                 _mm512_set1_epi64(8 / Width * packed));
        const __m512i spread = _mm512_set_epi64(0x0808080808080808, 0, 0x0808080808080808, 0, 0x0808080808080808, 0,
                                                0x0808080808080808, 0);
        pick = _mm512_add_epi8(_mm512_shuffle_epi8(_mm512_srli_epi64(begin, 3), spread), place);
        const __m512i bit = _mm512_shuffle_epi8(_mm512_and_si512(begin, _mm512_set1_epi64(7)), spread);
        const uint64_t within = by_byte([](int j) { return j / Width; }) * uint64_t(packed);
        constexpr uint64_t byte = by_byte([](int j) { return 8 * (j % Width); });
        const __m512i start = _mm512_add_epi8(bit, _mm512_set1_epi64(int64_t(within)));
        field_at = _mm512_add_epi8(start, _mm512_sub_epi8(_mm512_set1_epi64(int64_t(byte)), bytes(rule.drop)));
        sign_at = _mm512_add_epi8(start, bytes(packed - 8));  // an eighth bit: the top one of a lane
        const uint64_t top = uint64_t(1) << (8 * Width - 1), below = (uint64_t(1) << mantissa) - 1;
        field_mask = in_lanes<Width>(below & ~((uint64_t(1) << rule.drop) - 1));
        high_mask = in_lanes<Width>(~below);
        sign_mask = in_lanes<Width>(is_float ? top : 0);
        flip = in_lanes<Width>(rule.mode == Mode::signed_ ? top : 0);
        base = in_lanes<Width>(rule.base - 1);
        plain = Width == 1 ? words(mantissa) : in_lanes<Width>(uint64_t(mantissa));
    }

    TAUT_INLINE __m512i join(const uint8_t* symbols, const uint8_t* raw) const {
        __m512i high = shift_left<Width>(add_if<Width>(widen<Width>(symbols), base), plain);
        if constexpr (Width == 1) high = _mm512_and_si512(high, high_mask);
        const __m512i fields = _mm512_permutexvar_epi8(pick, load(raw));
        const __m512i low = _mm512_multishift_epi64_epi8(field_at, fields);
        const __m512i sign = _mm512_multishift_epi64_epi8(sign_at, fields);
        const __m512i v = _mm512_ternarylogic_epi64(low, field_mask, high, 0xea);  // low & mask | high
        return _mm512_xor_si512(_mm512_ternarylogic_epi64(v, sign, sign_mask, 0xf8), flip);  // v | sign & mask
    }
};

template <int Width>
size_t merge_of(const SplitRule& rule, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out) {
    const Splice<Width> splice(rule);
    constexpr size_t values = Splice<Width>::values;
    size_t i = 0;
    for (; i + values <= n; i += values, raw += splice.stride, out += 64) store(out, splice.join(symbols + i, raw));
    if (i < n) _mm512_mask_storeu_epi8(out, first((n - i) * Width), splice.join(symbols + i, raw));
    return n;
}

}  // namespace

size_t avx512_merge(const SplitRule& rule, int width, const uint8_t* symbols, const uint8_t* raw, size_t n,
                    uint8_t* out) {
    switch (width) {
        case 1: return merge_of<1>(rule, symbols, raw, n, out);
        case 2: return merge_of<2>(rule, symbols, raw, n, out);
        case 4: return rule.packed() > 30 ? 0 : merge_of<4>(rule, symbols, raw, n, out);  // two of 31 and a bit offset
        default: return merge_of<8>(rule, symbols, raw, n, out);
    }
}

}  // namespace taut
