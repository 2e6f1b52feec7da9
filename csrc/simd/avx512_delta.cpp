// AVX-512: symbols of a delta put in the order of its values, and what they make of the base's.
#include "simd/avx512.hpp"

namespace taut {
namespace {

TAUT_INLINE __mmask64 rest_of(size_t i, size_t n) { return n - i < 64 ? first(n - i) : ~uint64_t(0); }

// What fields and places take: 16 lanes of 32 bits.
template <int Width>
struct Lanes {
    static constexpr int kLanes = 16, kTokens = 128;
    // Group j of 64 bytes.
    static TAUT_INLINE __m512i widen(const uint8_t* p, int j) {
        return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * j)));
    }
    // Of 8 numbers those of this group, each for the 8 values that it belongs to.
    template <int j>
    static TAUT_INLINE __m512i each(__m512i v) {
        constexpr int a = 4 * j, b = a + 2;
        return _mm512_permutexvar_epi32(_mm512_set_epi32(b, b, b, b, b, b, b, b, a, a, a, a, a, a, a, a), v);
    }
    // Of 8 numbers the first of each group.
    static TAUT_INLINE __m512i firsts(__m512i v) { return _mm512_permutexvar_epi64(_mm512_set_epi64(6, 6, 4, 4, 2, 2, 0, 0), v); }
    static TAUT_INLINE __m512i all(uint64_t v) { return _mm512_set1_epi32(int(uint32_t(v))); }
    static TAUT_INLINE __m512i add(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
    static TAUT_INLINE __m512i sub(__m512i a, __m512i b) { return _mm512_sub_epi32(a, b); }
    static TAUT_INLINE __m512i up(__m512i v, __m512i by) { return _mm512_sllv_epi32(v, by); }
    static TAUT_INLINE __m512i lowest_up(__m512i v) { return _mm512_slli_epi32(v, 31); }
    static TAUT_INLINE __m512i tops(__m512i v) { return _mm512_srai_epi32(v, 31); }
    // What begins at these bits of `raw`: at least 25 bits, and what follows them.
    static TAUT_INLINE __m512i windows(const uint8_t* raw, __m512i place) {
        constexpr auto step = 0x0404040400000000, four = 0x0808080808080808;
        const __m512i lowest = _mm512_set_epi64(step + four, step, step + four, step, step + four, step, step + four, step);
        const __m512i from = _mm512_shuffle_epi8(_mm512_srli_epi32(place, 3), lowest);
        const __m512i pick = _mm512_add_epi8(from, _mm512_set1_epi32(0x03020100));
        return _mm512_srlv_epi32(_mm512_permutexvar_epi8(pick, load(raw)), _mm512_and_si512(place, all(7)));
    }
};
// 32 lanes of 16 bits.
template <>
struct Lanes<2> {
    static constexpr int kLanes = 32, kTokens = 64;
    static TAUT_INLINE __m512i widen(const uint8_t* p, int j) {
        return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32 * j)));
    }
    template <int j>
    static TAUT_INLINE __m512i each(__m512i v) {
        constexpr int a = 0x00010001 * (16 * j), b = a + 0x00040004, c = b + 0x00040004, d = c + 0x00040004;
        return _mm512_permutexvar_epi16(_mm512_set_epi32(d, d, d, d, c, c, c, c, b, b, b, b, a, a, a, a), v);
    }
    static TAUT_INLINE __m512i firsts(__m512i v) { return _mm512_permutexvar_epi64(_mm512_set_epi64(4, 4, 4, 4, 0, 0, 0, 0), v); }
    static TAUT_INLINE __m512i all(uint64_t v) { return words(int(v)); }
    static TAUT_INLINE __m512i add(__m512i a, __m512i b) { return _mm512_add_epi16(a, b); }
    static TAUT_INLINE __m512i sub(__m512i a, __m512i b) { return _mm512_sub_epi16(a, b); }
    static TAUT_INLINE __m512i up(__m512i v, __m512i by) { return _mm512_sllv_epi16(v, by); }
    static TAUT_INLINE __m512i lowest_up(__m512i v) { return _mm512_slli_epi16(v, 15); }
    static TAUT_INLINE __m512i tops(__m512i v) { return _mm512_srai_epi16(v, 15); }
    static TAUT_INLINE __m512i windows(const uint8_t* raw, __m512i place) {
        constexpr auto low = 0x0606040402020000, high = 0x0e0e0c0c0a0a0808;
        const __m512i lowest = _mm512_set_epi64(high, low, high, low, high, low, high, low);
        const __m512i from = _mm512_shuffle_epi8(_mm512_srli_epi16(place, 3), lowest);
        const __m512i pick = _mm512_add_epi8(from, words(0x0100)), data = load(raw);
        const __m512i next = _mm512_permutexvar_epi8(_mm512_add_epi8(pick, bytes(2)), data);
        return _mm512_shrdv_epi16(_mm512_permutexvar_epi8(pick, data), next, _mm512_and_si512(place, words(7)));
    }
};

#if !TAUT_DECODE_ONLY  // libtaut, which is to be small, goes without
// The classes of the first values of a row whose words have 16 bits, 32 at a time: none where the offset leaves no room for sums in 16 bits.
size_t classified_words(const DeltaClasses& rule, const uint8_t* base, const uint8_t* columns, size_t n, uint8_t* out) {
    constexpr int32_t kMost = 30000;
    if (rule.offset > kMost || rule.offset < -kMost) return 0;
    const __m512i mask = words(int(rule.mask)), offset = words(rule.offset), top = words(rule.none - 1), zero = _mm512_setzero_si512();
    const __m128i shift = _mm_cvtsi32_si128(rule.shift);
    const __m256i none = _mm256_set1_epi8(char(rule.none));
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m512i key = _mm512_srl_epi16(_mm512_and_si512(load(base + 2 * i), mask), shift);
        __m512i c = _mm512_subs_epi16(offset, _mm512_min_epu16(key, words(0x7fff)));
        __m256i column = none;
        if (columns) {
            column = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(columns + i));
            c = _mm512_adds_epi16(c, _mm512_cvtepu8_epi16(column));
        }
        __m256i of = _mm512_cvtepi16_epi8(_mm512_min_epi16(_mm512_max_epi16(c, zero), top));
        if (columns) of = _mm256_mask_mov_epi8(of, _mm256_testn_epi8_mask(column, column), none);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), of);
    }
    return i;
}

// Of words of 32 bits, 16 at a time.
size_t classified(const DeltaClasses& rule, const uint8_t* base, const uint8_t* columns, size_t n, uint8_t* out) {
    const __m512i mask = _mm512_set1_epi32(int(rule.mask)), offset = _mm512_set1_epi32(rule.offset);
    const __m512i top = _mm512_set1_epi32(rule.none - 1), most = _mm512_set1_epi32(kLargestKey);
    const __m128i shift = _mm_cvtsi32_si128(rule.shift);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m512i key = _mm512_min_epu32(_mm512_srl_epi32(_mm512_and_si512(load(base + 4 * i), mask), shift), most);
        __m512i c = _mm512_sub_epi32(offset, key);
        __m128i column;
        if (columns) {
            column = _mm_loadu_si128(reinterpret_cast<const __m128i*>(columns + i));
            c = _mm512_add_epi32(c, _mm512_cvtepu8_epi32(column));
        }
        c = _mm512_min_epi32(_mm512_max_epi32(c, _mm512_setzero_si512()), top);
        __m128i of = _mm512_cvtepi32_epi8(c);
        if (columns) of = _mm_mask_mov_epi8(of, _mm_testn_epi8_mask(column, column), _mm_set1_epi8(char(rule.none)));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), of);
    }
    return i;
}
#endif

// The fields of 8 values that begin at these bits, counted from bit `at`: of each 32 bits, what follows the field too.
TAUT_INLINE __m256i eight_fields(const uint8_t* raw, uint64_t at, __m128i begin) {
    const __m512i place = _mm512_add_epi64(_mm512_cvtepu8_epi64(begin), _mm512_set1_epi64(int64_t(at & 7)));
    // The number of a lane's first byte in all its bytes, and then one more from byte to byte.
    constexpr auto upper = int64_t(8 * kEach);
    const __m512i lowest = _mm512_set_epi64(upper, 0, upper, 0, upper, 0, upper, 0);
    const __m512i from = _mm512_shuffle_epi8(_mm512_srli_epi64(place, 3), lowest);
    const __m512i pick = _mm512_add_epi8(from, _mm512_set1_epi64(int64_t(kCount)));
    const __m512i windows = _mm512_permutexvar_epi8(pick, load(raw + (at >> 3)));
    return _mm512_cvtepi64_epi32(_mm512_srlv_epi64(windows, _mm512_and_si512(place, _mm512_set1_epi64(7))));
}

// Of 64 symbols (docs/coding.md, "Differences"), a byte each: how many raw bits, and the magnitude without them.
struct Tokens {
    __m512i bits, top;
    __mmask64 large;
    TAUT_INLINE Tokens(__m512i token, int kinds) {
        token = _mm512_maskz_mov_epi8(kinds < 256 ? _mm512_cmplt_epu8_mask(token, bytes(kinds)) : ~uint64_t(0), token);
        large = _mm512_cmpge_epu8_mask(token, bytes(16));
        const __m512i length = _mm512_and_si512(_mm512_srli_epi16(_mm512_sub_epi8(token, bytes(16)), 2), bytes(63));
        bits = _mm512_maskz_add_epi8(large, length, bytes(2));
        const __m512i first = _mm512_or_si512(_mm512_and_si512(token, bytes(3)), bytes(4));
        top = _mm512_mask_mov_epi8(token, large, first);
    }
};

// Where the raw bits of 64 values are: of each from those of the first of its 8 on, and of each 8 from bit `at` of a byte on.
struct Places {
    __m512i within, eights;
    uint64_t total;
    TAUT_INLINE Places(__m512i bits, uint64_t at) {
        __m512i end = _mm512_add_epi8(bits, _mm512_slli_epi64(bits, 8));  // 8 values have at most 8 * 29 bits
        end = _mm512_add_epi8(end, _mm512_slli_epi64(end, 16));
        end = _mm512_add_epi8(end, _mm512_slli_epi64(end, 32));
        within = _mm512_sub_epi8(end, bits);
        const __m512i zero = _mm512_setzero_si512(), sums = _mm512_srli_epi64(end, 56);
        __m512i ends = _mm512_add_epi64(sums, _mm512_alignr_epi64(sums, zero, 7));
        ends = _mm512_add_epi64(ends, _mm512_alignr_epi64(ends, zero, 6));
        ends = _mm512_add_epi64(ends, _mm512_alignr_epi64(ends, zero, 4));
        total = uint64_t(_mm_extract_epi64(_mm512_extracti64x2_epi64(ends, 3), 1));
        eights = _mm512_add_epi64(_mm512_sub_epi64(ends, sums), _mm512_set1_epi64(int64_t(at & 7)));
    }
};

// Words of the base turned round, moved by `m`, and turned back; bit 0 of symbols is the direction.
template <class L>
TAUT_INLINE __m512i move_words(const DeltaRule& rule, __m512i u, __m512i m, __m512i s) {
    const __m512i signs = L::all(rule.signs), flip = L::all(rule.flip), turn = L::all(rule.negative ? ~uint64_t(0) : 0);
    const __m512i down = L::tops(_mm512_ternarylogic_epi64(L::lowest_up(s), u, turn, 0x78));  // a ^ (b & c)
    const __m512i o = _mm512_xor_si512(u, _mm512_ternarylogic_epi64(L::tops(u), signs, flip, 0xea));  // a & b | c
    const __m512i there = L::add(o, L::sub(_mm512_xor_si512(m, down), down));
    return _mm512_xor_si512(there, _mm512_ternarylogic_epi64(L::tops(there), signs, flip, 0xae));  // ~a & b | c
}

// What 64 symbols say, in memory: a load that widens takes half as long as parting a register.
struct Spelt {
    alignas(64) uint8_t bits[64], top[64], within[64];
    alignas(64) uint64_t starts[8];
};

template <int Width, int j>
TAUT_INLINE void put_group(const DeltaRule& rule, const uint8_t* base, const uint8_t* symbols, __m512i m, uint8_t* out) {
    using L = Lanes<Width>;
    const __m512i u = load(base + 64 * j);
    store(out + 64 * j, rule.exclusive ? _mm512_xor_si512(u, m) : move_words<L>(rule, u, m, L::widen(symbols, j)));
}

// The values of group j, whose raw bits are `raw` from bit `at` of its first byte on.
template <int Width, int j>
TAUT_INLINE void move_group(const DeltaRule& rule, const Spelt& spelt, __m512i from, bool wide, const uint8_t* raw,
                            const uint8_t* base, const uint8_t* symbols, uint8_t* out) {
    using L = Lanes<Width>;
    const __m512i bits = L::widen(spelt.bits, j), top = L::widen(spelt.top, j);
    __m512i fields;
    if (Width == 4 && wide) {
        const __m128i within = _mm_load_si128(reinterpret_cast<const __m128i*>(spelt.within + 16 * (j & 3)));
        const __m256i low = eight_fields(raw, spelt.starts[2 * j], within);
        const __m256i high = eight_fields(raw, spelt.starts[2 * j + 1], _mm_srli_si128(within, 8));
        fields = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    } else {
        const __m512i place = L::add(L::widen(spelt.within, j), L::template each<j>(from));
        fields = L::windows(raw + (spelt.starts[L::kLanes / 8 * j] >> 3), place);
    }
    const __m512i others = L::up(L::all(~uint64_t(0)), bits);
    const __m512i m = _mm512_ternarylogic_epi64(L::up(top, bits), fields, others, 0xf4);  // a | b & ~c
    put_group<Width, j>(rule, base, symbols, m, out);
}

template <int Width>
size_t moved(const DeltaRule& rule, const DeltaBits& raw, const uint8_t* base, const uint8_t* symbols, size_t n,
             uint64_t& at, uint8_t* out) {
    using L = Lanes<Width>;
    constexpr uint64_t kReach = 320;  // bytes from the first bit of 64 values to the end of what is loaded for them
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        const __m512i s = load(symbols + i);
        const uint8_t *const u = base + i * Width, *const of = symbols + i;
        uint8_t* const to = out + i * Width;
        const __m512i half = _mm512_and_si512(_mm512_srli_epi16(s, 1), bytes(127));
        const Tokens tokens(rule.exclusive ? s : half, L::kTokens);
        Spelt spelt;
        store(spelt.top, tokens.top);
        if (!tokens.large) {
            put_group<Width, 0>(rule, u, of, L::widen(spelt.top, 0), to);
            put_group<Width, 1>(rule, u, of, L::widen(spelt.top, 1), to);
            if constexpr (Width == 4) {
                put_group<Width, 2>(rule, u, of, L::widen(spelt.top, 2), to);
                put_group<Width, 3>(rule, u, of, L::widen(spelt.top, 3), to);
            }
            continue;
        }
        if ((at >> 3) + kReach > raw.size) break;
        const Places places(tokens.bits, at);
        store(spelt.bits, tokens.bits);
        store(spelt.within, places.within);
        store(spelt.starts, places.eights);
        // From the first byte of its group on.
        const __m512i skipped = _mm512_andnot_si512(_mm512_set1_epi64(7), L::firsts(places.eights));
        const __m512i from = _mm512_sub_epi64(places.eights, skipped);
        const bool wide = Width == 4 && _mm512_cmpgt_epu8_mask(tokens.bits, bytes(25));
        const uint8_t* const data = raw.data + (at >> 3);
        move_group<Width, 0>(rule, spelt, from, wide, data, u, of, to);
        move_group<Width, 1>(rule, spelt, from, wide, data, u, of, to);
        if constexpr (Width == 4) {
            move_group<Width, 2>(rule, spelt, from, wide, data, u, of, to);
            move_group<Width, 3>(rule, spelt, from, wide, data, u, of, to);
        }
        at += places.total;
    }
    return i;
}

// How many bytes have each of their bits set: sums of sixteen are kept as planes of carries (Harley and Seal), and only what
// stands for sixteen is counted.
struct BitCounts {
    __m512i one, two, four, eight;
    uint64_t of[8] = {};

    TAUT_INLINE BitCounts() : one(_mm512_setzero_si512()), two(one), four(one), eight(one) {}
    // The next 16 registers, which `get` gives by number.
    template <class Get>
    TAUT_INLINE void add(Get get) {
        __m512i twos[2], fours[2], eights[2];
        for (size_t h = 0; h < 2; h++) {
            for (size_t q = 0; q < 2; q++) {
                const size_t i = 8 * h + 4 * q;
                twos[0] = carry(one, get(i), get(i + 1));
                twos[1] = carry(one, get(i + 2), get(i + 3));
                fours[q] = carry(two, twos[0], twos[1]);
            }
            eights[h] = carry(four, fours[0], fours[1]);
        }
        count(carry(eight, eights[0], eights[1]), 16);
    }
    TAUT_INLINE void finish() {
        count(one, 1);
        count(two, 2);
        count(four, 4);
        count(eight, 8);
    }
    TAUT_INLINE void count(__m512i v, uint64_t each) {
        for (int k = 0; k < 8; k++) of[k] += each * ones(_mm512_test_epi8_mask(v, bytes(1 << k)));
    }

private:
    // The sum's lowest bits stay; those above are given.
    static TAUT_INLINE __m512i carry(__m512i& sum, __m512i a, __m512i b) {
        const __m512i above = _mm512_ternarylogic_epi64(sum, a, b, 0xe8);  // two of three
        sum = _mm512_ternarylogic_epi64(sum, a, b, 0x96);                  // an odd number
        return above;
    }
};

}  // namespace

#if !TAUT_DECODE_ONLY
size_t avx512_delta_classes(const DeltaClasses& rule, const uint8_t* base, const uint8_t* columns, size_t n, uint8_t* out) {
    if (rule.width == 4) return classified(rule, base, columns, n, out);
    return rule.width == 2 ? classified_words(rule, base, columns, n, out) : 0;
}
#endif

void avx512_delta_count(const uint8_t* of, size_t n, uint8_t none, uint64_t* counts) {
    const size_t whole = n & ~size_t(63);
    for (size_t i = whole; i < n; i++)
        if (of[i] != none) counts[of[i]]++;
    __m512i low = bytes(255), high = _mm512_setzero_si512();
    for (size_t i = 0; i < whole; i += 64) {
        const __m512i c = load(of + i);
        const __mmask64 some = _mm512_cmpneq_epi8_mask(c, bytes(none));
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
    // Eight classes at a time, each a bit of a byte; others have none, since a shuffle gives zero from 128 on.
    const __m512i bit_of = _mm512_set4_epi32(0, 0, int(0x80402010), 0x08040201);
    for (unsigned which = from; which <= to; which += 8) {
        const auto bits = [&](size_t i) {
            const __m512i c = _mm512_sub_epi8(load(of + i), bytes(int(which)));
            return _mm512_shuffle_epi8(bit_of, _mm512_adds_epu8(c, bytes(0x70)));
        };
        BitCounts found;
        size_t i = 0;
        for (; i + 16 * 64 <= whole; i += 16 * 64) found.add([&](size_t k) { return bits(i + 64 * k); });
        for (; i < whole; i += 64) found.count(bits(i), 1);
        found.finish();
        for (unsigned k = 0; k < 8 && which + k <= to; k++)
            if (which + k != none) counts[which + k] += found.of[k];
    }
}

void avx512_delta_order(const uint8_t* of, size_t n, const DeltaOrder& order, uint64_t* at, uint8_t* out) {
    const uint8_t* next[256];
    for (size_t k = 0; k < order.often; k++) next[k] = order.symbols + at[order.classes[k]];
    const auto put_rare = [&](__m512i c, uint64_t left, uint8_t* to) {
        if (!left) return;
        alignas(64) uint8_t rare[64];
        store(rare, c);
        for (; left; left &= left - 1) {
            const size_t j = ones((left & (0 - left)) - 1);
            to[j] = order.symbols[at[rare[j]]++];
        }
    };
    size_t i = 0;
    for (; i + 128 <= n; i += 128) {
        const __m512i c = load(of + i), d = load(of + i + 64);
        uint64_t left = _mm512_cmpneq_epi8_mask(c, bytes(order.none)), more = _mm512_cmpneq_epi8_mask(d, bytes(order.none));
        __m512i found = _mm512_setzero_si512(), behind = found;
        for (size_t k = 0; k < order.often; k++) {
            const __m512i wanted = bytes(order.classes[k]);
            const __mmask64 here = _mm512_cmpeq_epi8_mask(c, wanted), there = _mm512_cmpeq_epi8_mask(d, wanted);
            const uint8_t *const p = next[k], *const q = p + ones(here);
            found = _mm512_or_si512(found, _mm512_maskz_expand_epi8(here, load_early(p)));
            behind = _mm512_or_si512(behind, _mm512_maskz_expand_epi8(there, load_early(q)));
            next[k] = q + ones(there);
            left &= ~uint64_t(here);
            more &= ~uint64_t(there);
        }
        store(out + i, found);
        store(out + i + 64, behind);
        put_rare(c, left, out + i);
        put_rare(d, more, out + i + 64);
    }
    for (; i < n; i += 64) {
        const __mmask64 there = rest_of(i, n);
        const __m512i c = _mm512_maskz_loadu_epi8(there, of + i);
        uint64_t left = _mm512_mask_cmpneq_epi8_mask(there, c, bytes(order.none));
        __m512i found = _mm512_setzero_si512();
        for (size_t k = 0; k < order.often; k++) {
            const __mmask64 mask = _mm512_mask_cmpeq_epi8_mask(there, c, bytes(order.classes[k]));
            found = _mm512_or_si512(found, _mm512_maskz_expand_epi8(mask, load_early(next[k])));
            next[k] += ones(mask);
            left &= ~uint64_t(mask);
        }
        _mm512_mask_storeu_epi8(out + i, there, found);
        put_rare(c, left, out + i);
    }
}

#if !TAUT_DECODE_ONLY
size_t avx512_delta_move(const DeltaRule& rule, const DeltaBits& raw, const uint8_t* base, const uint8_t* symbols, size_t n,
                         uint64_t& at, uint8_t* out) {
    if (rule.width == 4) return moved<4>(rule, raw, base, symbols, n, at, out);
    return rule.width == 2 ? moved<2>(rule, raw, base, symbols, n, at, out) : 0;
}
#endif

}  // namespace taut
