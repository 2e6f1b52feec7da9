// AVX2 kernels around the decoder: escapes patched, values put together, values rounded.
#include <algorithm>
#include <bit>

#include "simd/avx2.hpp"

namespace taut {

// --- escapes -------------------------------------------------------------------------------------------------------

size_t avx2_count(const uint8_t* symbols, size_t n, uint8_t wanted) {
    const __m256i v = _mm256_set1_epi8(char(wanted)), zero = _mm256_setzero_si256();
    __m256i total = zero;
    size_t i = 0;
    while (i + 32 <= n) {
        const size_t stop = std::min(n - 31, i + 32 * 255);  // a byte counts to 255
        __m256i found = zero;
        for (; i < stop; i += 32)
            found = _mm256_sub_epi8(
                found, _mm256_cmpeq_epi8(v, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(symbols + i))));
        total = _mm256_add_epi64(total, _mm256_sad_epu8(found, zero));
    }
    const __m128i sum = _mm_add_epi64(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
    size_t all = size_t(_mm_extract_epi64(sum, 0)) + size_t(_mm_extract_epi64(sum, 1));
    for (; i < n; i++) all += symbols[i] == wanted;
    return all;
}

const uint8_t* avx2_patch(uint8_t* symbols, size_t n, uint8_t mark, const uint8_t* tail) {
    const __m256i wanted = _mm256_set1_epi8(char(mark));
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(symbols + i));
        uint32_t found = uint32_t(_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, wanted)));
        for (; found; found &= found - 1) symbols[i + size_t(std::countr_zero(found))] = *tail++;
    }
    for (; i < n; i++)
        if (symbols[i] == mark) symbols[i] = *tail++;
    return tail;
}

// --- values --------------------------------------------------------------------------------------------------------

namespace {

struct Fields {
    __m256i pick, shift, mask;
    size_t stride, half;  // bytes of eight fields; where the second four begin
    TAUT_INLINE explicit Fields(int bits)
        : pick(_mm256_load_si256(reinterpret_cast<const __m256i*>(plans.of[bits].from))),
          shift(_mm256_load_si256(reinterpret_cast<const __m256i*>(plans.of[bits].by))),
          mask(_mm256_set1_epi32(int((1u << bits) - 1))), stride(size_t(bits)), half(size_t(bits) / 2) {}
    TAUT_INLINE __m256i load(const uint8_t* raw) const {
        const __m256i v = pair(_mm_loadu_si128(reinterpret_cast<const __m128i*>(raw)),
                               _mm_loadu_si128(reinterpret_cast<const __m128i*>(raw + half)));
        return _mm256_and_si256(_mm256_srlv_epi32(_mm256_shuffle_epi8(v, pick), shift), mask);
    }
};

size_t merge32(const SplitRule& rule, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out) {
    const Fields fields(rule.packed());
    const bool is_float = rule.mode == Mode::float_;
    const int plain = is_float ? rule.low - 1 : rule.low;
    const __m128i up = count(plain), drop = count(rule.drop), to_sign = count(31 - plain);
    const __m256i base = _mm256_set1_epi32(int(uint32_t(rule.base - 1))), zero = _mm256_setzero_si256();
    const __m256i low = _mm256_set1_epi32(int((uint64_t(1) << plain) - 1)), top = _mm256_set1_epi32(INT32_MIN);
    const __m256i flip = rule.mode == Mode::signed_ ? top : zero;
    size_t i = 0;
    for (; i + 8 <= n; i += 8, raw += fields.stride) {
        const __m256i s = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(symbols + i)));
        const __m256i high = _mm256_andnot_si256(_mm256_cmpeq_epi32(s, zero), _mm256_add_epi32(s, base));
        const __m256i field = _mm256_sll_epi32(fields.load(raw), drop);
        __m256i v = _mm256_or_si256(_mm256_sll_epi32(high, up), _mm256_and_si256(field, low));
        if (is_float) v = _mm256_or_si256(v, _mm256_and_si256(_mm256_sll_epi32(field, to_sign), top));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 4 * i), _mm256_xor_si256(v, flip));
    }
    return i;
}

size_t merge16(const SplitRule& rule, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out) {
    const Fields fields(rule.packed());
    const bool is_float = rule.mode == Mode::float_;
    const int plain = is_float ? rule.low - 1 : rule.low;
    const __m128i up = count(plain), drop = count(rule.drop), to_sign = count(15 - plain);
    const __m256i base = _mm256_set1_epi16(int16_t(uint16_t(rule.base - 1))), zero = _mm256_setzero_si256();
    const __m256i low = _mm256_set1_epi16(int16_t((1 << plain) - 1)), top = _mm256_set1_epi16(INT16_MIN);
    const __m256i flip = rule.mode == Mode::signed_ ? top : zero;
    size_t i = 0;
    for (; i + 16 <= n; i += 16, raw += 2 * fields.stride) {
        const __m256i s = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(symbols + i)));
        const __m256i high = _mm256_andnot_si256(_mm256_cmpeq_epi16(s, zero), _mm256_add_epi16(s, base));
        const __m256i packed = _mm256_packus_epi32(fields.load(raw), fields.load(raw + fields.stride));
        const __m256i field = _mm256_sll_epi16(_mm256_permute4x64_epi64(packed, 0xd8), drop);
        __m256i v = _mm256_or_si256(_mm256_sll_epi16(high, up), _mm256_and_si256(field, low));
        if (is_float) v = _mm256_or_si256(v, _mm256_and_si256(_mm256_sll_epi16(field, to_sign), top));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 2 * i), _mm256_xor_si256(v, flip));
    }
    return i;
}

// Fields of at most eight bits are dealt into bytes by pdep.
size_t merge8(const SplitRule& rule, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out) {
    const int packed = rule.packed();
    const uint64_t each = 0x0101010101010101u, deal = each * ((1u << packed) - 1);
    const bool is_float = rule.mode == Mode::float_;
    const int plain = is_float ? rule.low - 1 : rule.low;
    const __m128i up = count(plain), drop = count(rule.drop), to_sign = count(7 - plain);
    const auto bytes = [](int v) { return _mm256_set1_epi8(char(v)); };
    const __m256i base = bytes(int(rule.base - 1)), zero = _mm256_setzero_si256(), low = bytes((1 << plain) - 1);
    const __m256i upper = bytes(0xff << plain), top = bytes(0x80), flip = rule.mode == Mode::signed_ ? top : zero;
    size_t i = 0;
    for (; i + 32 <= n; i += 32, raw += 4 * packed) {
        const __m256i s = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(symbols + i));
        const __m256i high = _mm256_andnot_si256(_mm256_cmpeq_epi8(s, zero), _mm256_add_epi8(s, base));
        // Shifts work on 16 bits: what crosses into the neighbour is masked away.
        __m256i v = _mm256_and_si256(_mm256_sll_epi16(high, up), upper);
        if (packed) {
            const auto deal8 = [&](int k) { return int64_t(_pdep_u64(load_word(raw + k * packed), deal)); };
            const __m256i field = _mm256_sll_epi16(_mm256_set_epi64x(deal8(3), deal8(2), deal8(1), deal8(0)), drop);
            v = _mm256_or_si256(v, _mm256_and_si256(field, low));
            if (is_float) v = _mm256_or_si256(v, _mm256_and_si256(_mm256_sll_epi16(field, to_sign), top));
        }
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_xor_si256(v, flip));
    }
    return i;
}

}  // namespace

size_t avx2_merge(const SplitRule& rule, int width, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out) {
    if (rule.packed() > kMostField) return 0;
    switch (width) {
        case 1: return merge8(rule, symbols, raw, n, out);
        case 2: return merge16(rule, symbols, raw, n, out);
        case 4: return merge32(rule, symbols, raw, n, out);
        default: return 0;
    }
}

namespace {

TAUT_INLINE __m256i round_to_bf16(__m256 v) {  // bfloat16 in the lower half of each lane
    const __m256i u = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i even = _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    const __m256i nan = _mm256_or_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(even, nan, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
}

}  // namespace

size_t avx2_uniform(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n, uint8_t* out) {
    if (output != Output::f32 && output != Output::bf16) return 0;
    const __m256 step = _mm256_set1_ps(rule.step), shift = _mm256_loadu_ps(rule.shift.data());
    const __m256i middle = _mm256_set1_epi32(128), three = _mm256_set1_epi32(3), less = _mm256_set1_epi32(-3);
    const auto level = [&](const uint8_t* s) {
        const __m256i q = _mm256_sub_epi32(
            _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(s))), middle);
        const __m256i near = _mm256_add_epi32(_mm256_min_epi32(_mm256_max_epi32(q, less), three), three);
        return _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(q), step), _mm256_permutevar8x32_ps(shift, near));
    };
    size_t i = 0;
    if (output == Output::f32) {
        for (; i + 8 <= n; i += 8) _mm256_storeu_ps(reinterpret_cast<float*>(out) + i, level(symbols + i));
        return i;
    }
    for (; i + 16 <= n; i += 16) {
        const __m256i v = _mm256_packus_epi32(round_to_bf16(level(symbols + i)), round_to_bf16(level(symbols + i + 8)));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 2 * i), _mm256_permute4x64_epi64(v, 0xd8));
    }
    return i;
}

// --- quantiser -----------------------------------------------------------------------------------------------------

namespace {

// Adds, per level, how far its members lie inside; eight lanes, as the portable code has them.
struct LevelSums {
    __m256 sum[3];
    __m256i found[3];
    TAUT_INLINE void add(__m256i k, __m256 distance) {
        const __m256i one = _mm256_set1_epi32(1), two = _mm256_set1_epi32(2);
        const __m256i is[3] = {_mm256_cmpeq_epi32(k, one), _mm256_cmpeq_epi32(k, two), _mm256_cmpgt_epi32(k, two)};
        for (int l = 0; l < 3; l++) {
            sum[l] = _mm256_add_ps(sum[l], _mm256_and_ps(distance, _mm256_castsi256_ps(is[l])));
            found[l] = _mm256_sub_epi32(found[l], is[l]);
        }
    }
    void give(Inside& inside) const {
        for (int l = 0; l < 3; l++) {
            alignas(32) float s[8];
            alignas(32) int32_t n[8];
            _mm256_store_ps(s, sum[l]);
            _mm256_store_si256(reinterpret_cast<__m256i*>(n), found[l]);
            for (int j = 0; j < 8; j++) {
                inside.sum[size_t(l)] += double(s[j]);
                inside.members[size_t(l)] += double(n[j]);
            }
        }
    }
};

}  // namespace

void avx2_round_block(const float* v, size_t n, float inverse, const Thresholds& t, uint32_t* counts, Inside& inside,
                      int32_t* indices) {
    alignas(32) float padded[kRoundBlock];
    alignas(32) int32_t level[kRoundBlock];
    const size_t whole = (n + 7) & ~size_t(7);
    if (whole != n) {  // zeros count as level 0, which is put right below
        std::memcpy(padded, v, n * sizeof *v);
        for (size_t i = n; i < whole; i++) padded[i] = 0;
        v = padded;
    }
    const __m256 scale = _mm256_set1_ps(inverse), largest = _mm256_set1_ps(1.0e9f), up = _mm256_set1_ps(0.75f);
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MAX));
    const __m256i last = _mm256_set1_epi32(kLevels - 1);
    LevelSums sums{};
    for (size_t i = 0; i < whole; i += 8) {
        const __m256 w = _mm256_loadu_ps(v + i);
        const __m256 u = _mm256_min_ps(_mm256_and_ps(_mm256_mul_ps(w, scale), magnitude), largest);
        __m256i k = _mm256_cvttps_epi32(_mm256_add_ps(u, up));
        const __m256 from = _mm256_i32gather_ps(t.at.data(), _mm256_min_epi32(k, last), 4);
        const __m256 below = _mm256_cmp_ps(u, _mm256_add_ps(_mm256_cvtepi32_ps(k), from), _CMP_LT_OQ);
        k = _mm256_add_epi32(k, _mm256_castps_si256(below));
        sums.add(k, _mm256_sub_ps(_mm256_cvtepi32_ps(k), u));
        _mm256_store_si256(reinterpret_cast<__m256i*>(level + i), _mm256_min_epi32(k, last));
        if (indices && i + 8 <= n) {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(indices + i), _mm256_sign_epi32(k, _mm256_castps_si256(w)));
        } else if (indices) {
            alignas(32) int32_t rest[8];
            _mm256_store_si256(reinterpret_cast<__m256i*>(rest), _mm256_sign_epi32(k, _mm256_castps_si256(w)));
            std::memcpy(indices + i, rest, (n - i) * sizeof *rest);
        }
    }
    sums.give(inside);
    uint32_t count[4][kLevels] = {};
    for (size_t i = 0; i < whole; i += 4)
        for (size_t j = 0; j < 4; j++) count[j][level[i + j]]++;
    for (size_t l = 0; l < size_t(kLevels); l++) counts[l] += count[0][l] + count[1][l] + count[2][l] + count[3][l];
    counts[0] -= uint32_t(whole - n);
}

}  // namespace taut
