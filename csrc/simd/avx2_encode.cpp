// AVX2 encoders: values to symbols and fields, and 32 lanes of the fast coder at a time.
//
// With eight-bit probabilities everything about a state is a byte. Its upper byte alone says whether a unit must leave
// (x >= 256 f is x / 256 >= f) and the unit is its lower byte; the quotient x / f is the next upper byte, and the slot
// of the remainder the next lower one. Only the division itself widens to 16 bits.
#include "simd/avx2.hpp"

namespace taut {
namespace {

TAUT_INLINE __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
TAUT_INLINE void store(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
TAUT_INLINE void store_word(uint8_t* p, uint64_t v) { std::memcpy(p, &v, 8); }

// --- fast coder --------------------------------------------------------------------------------------------------

// An index in a table of 2^Bits bytes.
template <int Bits>
struct Place : Avx2::Index<Bits, false> {
    TAUT_INLINE explicit Place(__m256i i) : Avx2::Index<Bits, false>(i, i) {}
};

// pack[m]: the bytes of the lanes in mask m, in order, at the end of eight bytes.
struct Packing {
    alignas(16) uint8_t pack[256][8]{};
    constexpr Packing() {
        for (int m = 0; m < 256; m++)
            for (int k = 7, n = 7; k >= 0; k--) {
                pack[m][k] = 0x80;
                if (m >> k & 1) pack[m][n--] = uint8_t(k);
            }
    }
};
constexpr Packing packing;  // constant: nothing of this file may run before the processor is asked

// Puts the bytes of the lanes in the mask in front of `to`.
TAUT_INLINE void push(const uint8_t* lanes, uint32_t mask, uint8_t*& to) {
    for (int g = 3; g >= 0; g--) {
        const uint32_t part = mask >> (8 * g) & 255;
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(lanes + 8 * g));
        const __m128i order = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(packing.pack[part]));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(to - 8), _mm_shuffle_epi8(bytes, order));
        to -= _mm_popcnt_u32(part);
    }
}

template <int Bits>
TAUT_INLINE void encode32(const FastLookup& t, uint8_t* low, uint8_t* high, const uint8_t* symbols,
                             BackwardOutput& out) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i from_first = _mm256_sub_epi8(load(symbols), _mm256_set1_epi8(char(t.first - 1)));
    const __m256i last = _mm256_min_epu8(from_first, _mm256_set1_epi8((1 << Bits) - 1));
    const Place<Bits> symbol(_mm256_and_si256(from_first, _mm256_cmpeq_epi8(from_first, last)));
    const __m256i start = symbol.find(t.start), f = symbol.find(t.frequency);
    if (t.escapes) {
        const uint32_t escaped = uint32_t(_mm256_movemask_epi8(_mm256_cmpeq_epi8(start, zero)));
        if (escaped) push(symbols, escaped, out.tail);
    }
    const __m256i x_low = load(low), x_high = load(high);
    const __m256i full = _mm256_cmpeq_epi8(_mm256_max_epu8(x_high, f), x_high);
    const uint32_t units = uint32_t(_mm256_movemask_epi8(full));
    push(low, units, out.units);
    const __m256i y_low = _mm256_blendv_epi8(x_low, x_high, full), y_high = _mm256_andnot_si256(full, x_high);
    const __m256i m_low = symbol.find(t.reciprocal_low), m_high = symbol.find(t.reciprocal_high);
    // The reciprocal is rounded down: the quotient may be one short, and then the remainder is f or more.
    const auto divide = [&](__m256i x, __m256i by, __m256i m, __m256i& rest) {
        const __m256i q = _mm256_mulhi_epu16(x, m), r = _mm256_sub_epi16(x, _mm256_mullo_epi16(q, by));
        const __m256i less = _mm256_sub_epi16(r, by);  // wraps to a large number if r was right
        rest = _mm256_min_epu16(r, less);
        return _mm256_sub_epi16(q, _mm256_cmpeq_epi16(rest, less));
    };
    __m256i rest_a, rest_b;
    const __m256i quotient_a = divide(_mm256_unpacklo_epi8(y_low, y_high), _mm256_unpacklo_epi8(f, zero),
                                      _mm256_unpacklo_epi8(m_low, m_high), rest_a);
    const __m256i quotient_b = divide(_mm256_unpackhi_epi8(y_low, y_high), _mm256_unpackhi_epi8(f, zero),
                                      _mm256_unpackhi_epi8(m_low, m_high), rest_b);
    const Place<8> rank(_mm256_add_epi8(start, _mm256_packus_epi16(rest_a, rest_b)));
    store(high, _mm256_packus_epi16(quotient_a, quotient_b));
    store(low, rank.find(t.slot_of));
}

template <int Bits>
void fast_steps_of(const FastLookup& t, FastStates& states, size_t first, size_t steps, const uint8_t* symbols,
                   BackwardOutput& result) {
    BackwardOutput out = result;
    for (size_t i = steps; i-- > 0;) {
        uint8_t* low = states.low + (first + i) % 2 * 64;
        uint8_t* high = states.high + (first + i) % 2 * 64;
        encode32<Bits>(t, low + 32, high + 32, symbols + 64 * i + 32, out);
        encode32<Bits>(t, low, high, symbols + 64 * i, out);
    }
    result = out;
}

void fast_steps(const FastLookup& t, FastStates& states, size_t first, size_t steps, const uint8_t* symbols,
                BackwardOutput& out) {
    switch (t.bucket_bits) {
        case 4: return fast_steps_of<4>(t, states, first, steps, symbols, out);
        case 5: return fast_steps_of<5>(t, states, first, steps, symbols, out);
        default: return fast_steps_of<6>(t, states, first, steps, symbols, out);
    }
}

// --- symbols -----------------------------------------------------------------------------------------------------

// Lanes of 8, 16 or 32 bits; results stay in lanes and are at most 255.
template <int Bytes>
struct Lanes {
    static TAUT_INLINE __m256i all(uint64_t v) {
        return Bytes == 1   ? _mm256_set1_epi8(char(v))
               : Bytes == 2 ? _mm256_set1_epi16(short(v))
                            : _mm256_set1_epi32(int(v));
    }
    static TAUT_INLINE __m256i equal(__m256i a, __m256i b) {
        return Bytes == 1   ? _mm256_cmpeq_epi8(a, b)
               : Bytes == 2 ? _mm256_cmpeq_epi16(a, b)
                            : _mm256_cmpeq_epi32(a, b);
    }
    static TAUT_INLINE __m256i less(__m256i a, __m256i b) {
        return Bytes == 1 ? _mm256_sub_epi8(a, b) : Bytes == 2 ? _mm256_sub_epi16(a, b) : _mm256_sub_epi32(a, b);
    }
    static TAUT_INLINE __m256i least(__m256i a, __m256i b) {
        return Bytes == 1 ? _mm256_min_epu8(a, b) : Bytes == 2 ? _mm256_min_epu16(a, b) : _mm256_min_epu32(a, b);
    }
    static TAUT_INLINE __m256i down(__m256i a, __m128i by) {
        return Bytes == 4 ? _mm256_srl_epi32(a, by) : _mm256_srl_epi16(a, by);
    }
};

template <int Bytes>
struct Classify {
    using L = Lanes<Bytes>;
    static constexpr uint64_t top = uint64_t(1) << (8 * Bytes - 1);
    __m256i flip, keep, before_first, inside;
    __m128i by;
    TAUT_INLINE explicit Classify(const SplitRule& rule) {
        const int shift = rule.mode == Mode::float_ ? rule.low - 1 : rule.low;
        flip = L::all(rule.mode == Mode::signed_ ? top : 0);
        // What shifts of 16 bits bring in from the neighbour, and the sign, go away before the shift.
        const uint64_t all = rule.mode == Mode::float_ ? top - 1 : 2 * top - 1;
        keep = L::all(all & ~((uint64_t(1) << shift) - 1));
        before_first = L::all(rule.base - 1);
        inside = L::all(255);
        by = count(shift);
    }
    TAUT_INLINE __m256i operator()(const uint8_t* values) const {
        const __m256i zero = _mm256_setzero_si256();
        const __m256i high = L::down(_mm256_and_si256(_mm256_xor_si256(load(values), flip), keep), by);
        const __m256i s = L::least(L::less(high, before_first), inside);
        const __m256i below = L::equal(L::least(high, before_first), high);
        const __m256i exception = _mm256_and_si256(below, inside);
        return _mm256_andnot_si256(L::equal(high, zero), _mm256_or_si256(s, exception));
    }
};

template <int Bytes>
size_t symbols_of(const SplitRule& rule, const uint8_t* values, size_t n, uint8_t* out) {
    const Classify<Bytes> classify(rule);
    size_t i = 0;
    for (; i + 32 <= n; i += 32, values += 32 * Bytes) {
        __m256i s;
        if constexpr (Bytes == 1) {
            s = classify(values);
        } else if constexpr (Bytes == 2) {
            s = _mm256_permute4x64_epi64(_mm256_packus_epi16(classify(values), classify(values + 32)), 0xd8);
        } else {
            const __m256i a = _mm256_packus_epi32(classify(values), classify(values + 32));
            const __m256i b = _mm256_packus_epi32(classify(values + 64), classify(values + 96));
            // Each pack interleaves the 128-bit halves: quarters 0 4 1 5 2 6 3 7 of the eight values each.
            s = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        }
        store(out + i, s);
    }
    return i;
}

size_t symbols(const SplitRule& rule, int width, const uint8_t* values, size_t n, uint8_t* out) {
    switch (width) {
        case 1: return symbols_of<1>(rule, values, n, out);
        case 2: return symbols_of<2>(rule, values, n, out);
        case 4: return symbols_of<4>(rule, values, n, out);
        default: return 0;
    }
}

uint64_t distance(const uint8_t* symbols, size_t n, uint8_t centre) {
    const __m256i middle = _mm256_set1_epi8(char(centre));
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 32 <= n; i += 32) sum = _mm256_add_epi64(sum, _mm256_sad_epu8(load(symbols + i), middle));
    const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    uint64_t total = uint64_t(_mm_cvtsi128_si64(half)) + uint64_t(_mm_extract_epi64(half, 1));
    for (; i < n; i++) total += uint64_t(symbols[i] > centre ? symbols[i] - centre : centre - symbols[i]);
    return total;
}

// --- fields ------------------------------------------------------------------------------------------------------

// The bits of a value that make its field stand in the word as in the field: pext takes them from a whole word.
uint64_t field_bits(const SplitRule& rule, int bits) {
    const int plain = rule.mode == Mode::float_ ? rule.low - 1 : rule.low;
    uint64_t mask = (uint64_t(1) << plain) - (uint64_t(1) << rule.drop);
    if (rule.mode == Mode::float_) mask |= uint64_t(1) << (bits - 1);
    return mask;
}

size_t pack8(const SplitRule& rule, const uint8_t* values, size_t n, uint8_t* out) {
    const uint64_t mask = field_bits(rule, 8) * 0x0101010101010101u;
    const int stride = rule.low - rule.drop;
    size_t i = 0;
    for (; i + 8 <= n; i += 8, out += stride) store_word(out, _pext_u64(load_word(values + i), mask));
    return i;
}

size_t pack16(const SplitRule& rule, const uint8_t* values, size_t n, uint8_t* out) {
    const uint64_t mask = field_bits(rule, 16) * 0x0001000100010001u;
    const int stride = rule.low - rule.drop, half = 4 * stride;
    size_t i = 0;
    for (; i + 8 <= n; i += 8, out += stride, values += 16) {
        const uint64_t a = _pext_u64(load_word(values), mask), b = _pext_u64(load_word(values + 8), mask);
        store_word(out, a | b << half);
        store_word(out + 8, b >> (63 - half) >> 1);
    }
    return i;
}

size_t pack32(const SplitRule& rule, const uint8_t* values, size_t n, uint8_t* out) {
    const uint64_t mask = field_bits(rule, 32) * 0x0000000100000001u;
    const int pair = 2 * (rule.low - rule.drop);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t hold = 0;
        int fill = 0;
        for (int k = 0; k < 4; k++, values += 8) {
            const uint64_t fields = _pext_u64(load_word(values), mask);
            hold |= fields << fill;
            store_word(out, hold);
            fill += pair;
            if (fill < 64) continue;
            out += 8;
            fill -= 64;
            hold = fields >> 1 >> (pair - fill - 1);
        }
        store_word(out, hold);
        out += fill / 8;
    }
    return i;
}

size_t pack(const SplitRule& rule, int width, const uint8_t* values, size_t n, uint8_t* out) {
    if (rule.low == rule.drop) return 0;
    switch (width) {
        case 1: return pack8(rule, values, n, out);
        case 2: return pack16(rule, values, n, out);
        case 4: return pack32(rule, values, n, out);
        default: return 0;
    }
}

}  // namespace

const EncodeKernels* avx2_encode_kernels() {
    static const EncodeKernels kernels{"avx2", symbols, pack, distance, fast_steps};
    return cpu_has_avx2() ? &kernels : nullptr;
}

}  // namespace taut
