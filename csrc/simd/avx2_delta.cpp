// AVX2: the classes of the values of a delta's base, and what symbols make of them. libtaut, which is to be small, goes
// without.
#include "simd/avx2.hpp"

#if !TAUT_DECODE_ONLY
namespace taut {
namespace avx2_deltas {
namespace {

TAUT_INLINE __m256i number(uint64_t v) { return _mm256_set1_epi32(int(uint32_t(v))); }
TAUT_INLINE __m256i widened(uint64_t eight) { return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(int64_t(eight))); }
TAUT_INLINE __m128i load_half(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
TAUT_INLINE void store_half(uint8_t* p, __m128i v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v); }

// 8 words, each in a lane of 32 bits: in its upper half where a word has 16.
template <int Width>
TAUT_INLINE __m256i load_words(const uint8_t* p) {
    return Width == 4 ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)) : _mm256_slli_epi32(_mm256_cvtepu16_epi32(load_half(p)), 16);
}
template <int Width>
TAUT_INLINE void save_words(uint8_t* p, __m256i v) {
    if (Width == 4) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
    const __m256i low = _mm256_srli_epi32(v, 16), pairs = _mm256_packus_epi32(low, low);
    store_half(p, _mm256_castsi256_si128(_mm256_permute4x64_epi64(pairs, 0x08)));
}

// The classes of the first values of a row, 8 at a time.
template <int Width>
size_t classified(const DeltaClasses& rule, const uint8_t* base, const uint8_t* columns, size_t n, uint8_t* out) {
    const __m256i mask = number(rule.mask), offset = number(uint32_t(rule.offset)), top = number(rule.none - 1u);
    const __m256i most = number(uint32_t(kLargestKey)), zero = _mm256_setzero_si256();
    const __m128i shift = _mm_cvtsi32_si128(rule.shift + (Width == 4 ? 0 : 16));
    const __m256i used = Width == 4 ? mask : _mm256_slli_epi32(mask, 16);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i key = _mm256_min_epu32(_mm256_srl_epi32(_mm256_and_si256(load_words<Width>(base + i * Width), used), shift), most);
        __m256i c = _mm256_sub_epi32(offset, key), column = zero;
        if (columns) {
            column = widened(load_word(columns + i));
            c = _mm256_add_epi32(c, column);
        }
        c = _mm256_min_epi32(_mm256_max_epi32(c, zero), top);
        if (columns) c = _mm256_blendv_epi8(c, number(rule.none), _mm256_cmpeq_epi32(column, zero));
        const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(c), _mm256_extracti128_si256(c, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out + i), _mm_packus_epi16(words, words));
    }
    return i;
}

// Where the raw bits of 8 values begin, counted from those of the first, a byte each; `end` is where they end.
struct Eight {
    uint64_t begin, end;
    TAUT_INLINE explicit Eight(uint64_t bits) {
        const uint64_t ends = bits * 0x0101010101010101u;  // 8 values have at most 8 * 29 bits
        begin = ends - bits;
        end = ends >> 56;
    }
};

// The fields of 8 values of at most 25 bits, and what follows them.
TAUT_INLINE __m256i eight_fields(const uint8_t* raw, uint64_t at, const Eight& eight) {
    const auto bit = uint32_t(at & 7), fifth = bit + uint32_t(eight.begin >> 32 & 255);
    const uint8_t* const p = raw + (at >> 3);
    const __m256i data = _mm256_inserti128_si256(_mm256_castsi128_si256(load_half(p)), load_half(p + (fifth >> 3)), 1);
    const __m128i low = _mm_set1_epi32(int(bit)), high = _mm_set1_epi32(int(bit - (fifth & ~7u)));
    const __m256i place = _mm256_add_epi32(widened(eight.begin), _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
    constexpr auto step = 0x0404040400000000, next = 0x0808080808080808;
    const __m256i from = _mm256_shuffle_epi8(_mm256_srli_epi32(place, 3), _mm256_set_epi64x(step + next, step, step + next, step));
    const __m256i windows = _mm256_shuffle_epi8(data, _mm256_add_epi8(from, number(0x03020100)));
    return _mm256_srlv_epi32(windows, _mm256_and_si256(place, number(7)));
}
// Of any number of bits.
TAUT_INLINE __m256i long_fields(const uint8_t* raw, uint64_t at, const Eight& eight) {
    alignas(32) uint32_t fields[8];
    for (int k = 0; k < 8; k++) {
        const uint64_t place = at + (eight.begin >> (8 * k) & 255);
        fields[k] = uint32_t(load_word(raw + (place >> 3)) >> (place & 7));
    }
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(fields));
}

// What a rule says, in lanes: in their upper halves of words of 16 bits.
struct Turns {
    __m256i signs, flip, turn;
    template <int Width>
    static TAUT_INLINE Turns of(const DeltaRule& rule) {
        constexpr int by = Width == 4 ? 0 : 16;
        return {number(rule.signs << by), number(rule.flip << by), number(rule.negative ? ~uint64_t(0) : 0)};
    }
};

// Words turned round, moved by `m`, and turned back; bit 0 of symbols is the direction.
TAUT_INLINE __m256i move_words(const Turns& t, __m256i u, __m256i m, __m256i s) {
    const __m256i way = _mm256_xor_si256(_mm256_slli_epi32(s, 31), _mm256_and_si256(u, t.turn));
    const __m256i down = _mm256_srai_epi32(way, 31), first = _mm256_srai_epi32(u, 31);
    const __m256i o = _mm256_xor_si256(u, _mm256_or_si256(_mm256_and_si256(first, t.signs), t.flip));
    const __m256i there = _mm256_add_epi32(o, _mm256_sub_epi32(_mm256_xor_si256(m, down), down));
    const __m256i last = _mm256_srai_epi32(there, 31);
    return _mm256_xor_si256(there, _mm256_or_si256(_mm256_andnot_si256(last, t.signs), t.flip));
}

// Of 32 symbols (docs/coding.md, "Differences"), a byte each: how many raw bits, and the magnitude without them.
template <int Width>
struct Tokens {
    alignas(32) uint64_t bits[4], top[4];
    bool large, wide;
    TAUT_INLINE explicit Tokens(__m256i token) {
        const auto every = [](int v) { return _mm256_set1_epi8(char(v)); };
        if (Width == 4)
            token = _mm256_andnot_si256(_mm256_cmpgt_epi8(_mm256_setzero_si256(), token), token);  // none from 128 on
        else
            token = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_min_epu8(token, every(63)), token), token);
        const __m256i big = _mm256_cmpgt_epi8(token, every(15));
        const __m256i length = _mm256_and_si256(_mm256_srli_epi16(_mm256_sub_epi8(token, every(16)), 2), every(63));
        const __m256i number = _mm256_and_si256(_mm256_add_epi8(length, every(2)), big);
        const __m256i first = _mm256_or_si256(_mm256_and_si256(token, every(3)), every(4));
        store_to(bits, number);
        store_to(top, _mm256_blendv_epi8(token, first, big));
        large = _mm256_movemask_epi8(big);
        wide = Width == 4 && _mm256_movemask_epi8(_mm256_cmpgt_epi8(number, every(25)));
    }

private:
    static TAUT_INLINE void store_to(uint64_t* p, __m256i v) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), v); }
};

template <int Width>
size_t moved(const DeltaRule& rule, const DeltaBits& raw, const uint8_t* base, const uint8_t* symbols, size_t n,
             uint64_t& at, uint8_t* out) {
    constexpr uint64_t kReach = 160;  // bytes from the first bit of 32 values to the end of what is loaded for them
    const Turns turns = Turns::of<Width>(rule);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i s = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(symbols + i));
        const __m256i half = _mm256_and_si256(_mm256_srli_epi16(s, 1), _mm256_set1_epi8(127));
        const Tokens<Width> tokens(rule.exclusive ? s : half);
        if (tokens.large && (at >> 3) + kReach > raw.size) break;
        for (size_t k = 0; k < 4; k++) {
            const size_t first = i + 8 * k;
            __m256i m = widened(tokens.top[k]);
            if (tokens.large) {
                const Eight eight(tokens.bits[k]);
                const __m256i bits = widened(tokens.bits[k]), others = _mm256_sllv_epi32(number(~uint64_t(0)), bits);
                const __m256i fields = tokens.wide ? long_fields(raw.data, at, eight) : eight_fields(raw.data, at, eight);
                m = _mm256_or_si256(_mm256_sllv_epi32(m, bits), _mm256_andnot_si256(others, fields));
                at += eight.end;
            }
            if (Width == 2) m = _mm256_slli_epi32(m, 16);
            const __m256i u = load_words<Width>(base + first * Width);
            const __m256i moved = rule.exclusive ? _mm256_xor_si256(u, m) : move_words(turns, u, m, widened(load_word(symbols + first)));
            save_words<Width>(out + first * Width, moved);
        }
    }
    return i;
}

}  // namespace
}  // namespace avx2_deltas

size_t avx2_delta_classes(const DeltaClasses& rule, const uint8_t* base, const uint8_t* columns, size_t n, uint8_t* out) {
    if (rule.width == 4) return avx2_deltas::classified<4>(rule, base, columns, n, out);
    return rule.width == 2 ? avx2_deltas::classified<2>(rule, base, columns, n, out) : 0;
}

size_t avx2_delta_move(const DeltaRule& rule, const DeltaBits& raw, const uint8_t* base, const uint8_t* symbols, size_t n,
                       uint64_t& at, uint8_t* out) {
    if (rule.width == 4) return avx2_deltas::moved<4>(rule, raw, base, symbols, n, at, out);
    return rule.width == 2 ? avx2_deltas::moved<2>(rule, raw, base, symbols, n, at, out) : 0;
}

}  // namespace taut
#endif
