// AVX2 decoders: 32 lanes at a time, every table in registers as 16-byte shuffles.
//
// A lookup in 2^B entries is 2^(B-4) byte shuffles and a tree of blends steered by the index's upper bits. States are
// kept in the order in which the pack and unpack instructions deal them, so that packed bytes come out in lane order:
// with 16-bit states, A holds lanes 0-7 and 16-23, B lanes 8-15 and 24-31.
#include <immintrin.h>

#include <algorithm>
#include <bit>

#include "simd.hpp"

namespace laconic {
namespace {

template <int Bits>
struct Lookup {
    static constexpr int parts = 1 << (Bits - 4);
    __m256i part[parts];

    template <class Get>
    explicit Lookup(Get get) {
        alignas(16) uint8_t bytes[1 << Bits];
        for (int i = 0; i < 1 << Bits; i++) bytes[i] = uint8_t(get(i));
        for (int i = 0; i < parts; i++)
            part[i] = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes + 16 * i)));
    }
};

// An index prepared for several lookups: its low nibble for the shuffles, its upper bits moved to where blends look.
template <int Bits>
struct Index {
    __m256i low, steer[4];
    LACONIC_INLINE explicit Index(__m256i i) {
        low = Bits == 8 ? _mm256_and_si256(i, _mm256_set1_epi8(15)) : i;
        steer[0] = _mm256_slli_epi16(i, 3);
        steer[1] = _mm256_slli_epi16(i, 2);
        steer[2] = _mm256_slli_epi16(i, 1);
        steer[3] = i;
    }
};

template <int Level, int Bits>
LACONIC_INLINE __m256i find(const Lookup<Bits>& t, const Index<Bits>& i, int from) {
    if constexpr (Level == 0) {
        return _mm256_shuffle_epi8(t.part[from], i.low);
    } else {
        return _mm256_blendv_epi8(find<Level - 1, Bits>(t, i, from),
                                  find<Level - 1, Bits>(t, i, from + (1 << (Level - 1))), i.steer[Level - 1]);
    }
}

template <int Bits>
LACONIC_INLINE __m256i find(const Lookup<Bits>& t, const Index<Bits>& i) {
    return find<Bits - 4, Bits>(t, i, 0);
}

// expand[m]: where each of eight lanes finds its unit among those that the lanes in mask m take in order.
struct Expansion {
    alignas(16) uint8_t bytes[256][16]{};  // one-byte units to 16-bit lanes
    alignas(16) uint8_t words[256][16]{};  // two-byte units to 16-bit lanes
    constexpr Expansion() {
        for (int m = 0; m < 256; m++)
            for (int k = 0, n = 0; k < 8; k++) {
                const bool take = m >> k & 1;
                bytes[m][2 * k] = take ? uint8_t(n) : 0x80;
                bytes[m][2 * k + 1] = 0x80;
                words[m][2 * k] = take ? uint8_t(2 * n) : 0x80;
                words[m][2 * k + 1] = take ? uint8_t(2 * n + 1) : 0x80;
                n += take;
            }
    }
};
constexpr Expansion expansion;  // constant: nothing of this file may run before the processor is asked

LACONIC_INLINE __m128i pattern(const uint8_t (*table)[16], uint32_t mask) {
    return _mm_load_si128(reinterpret_cast<const __m128i*>(table[mask & 255]));
}

LACONIC_INLINE __m256i pair(__m128i low, __m128i high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

// --- fast: 16-bit states -------------------------------------------------------------------------------------------

template <int Bits>
struct FastTables {
    Lookup<Bits> own, alias, adjust, frequency;
    __m256i shift_out;  // from local symbol to byte
    explicit FastTables(const Table& t)
        : own([&](int i) { return t.own[size_t(i)]; }),
          alias([&](int i) { return t.alias[size_t(i)]; }),
          adjust([&](int i) { return t.adjust[size_t(i)]; }),
          frequency([&](int i) { return t.frequency[size_t(i)]; }),
          shift_out(_mm256_set1_epi8(char(t.first - 1))) {}
};

struct Lanes32 {
    __m256i a, b;
    LACONIC_INLINE void load(const uint16_t* lane) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane));
        const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane + 16));
        a = _mm256_permute2x128_si256(v, w, 0x20);
        b = _mm256_permute2x128_si256(v, w, 0x31);
    }
    LACONIC_INLINE void save(uint16_t* lane) const {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(lane), _mm256_permute2x128_si256(a, b, 0x20));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(lane + 16), _mm256_permute2x128_si256(a, b, 0x31));
    }
};

template <int Bits>
LACONIC_INLINE void decode32(const FastTables<Bits>& t, Lanes32& x, const uint8_t*& p, uint8_t* out) {
    const __m256i zero = _mm256_setzero_si256(), byte = _mm256_set1_epi16(255);
    const __m256i slot = _mm256_packus_epi16(_mm256_and_si256(x.a, byte), _mm256_and_si256(x.b, byte));
    const __m256i bucket = _mm256_and_si256(_mm256_srli_epi16(slot, 8 - Bits), _mm256_set1_epi8((1 << Bits) - 1));
    const __m256i offset = _mm256_and_si256(slot, _mm256_set1_epi8((1 << (8 - Bits)) - 1));
    const Index<Bits> at(bucket);
    const __m256i is_own = _mm256_cmpgt_epi8(find(t.own, at), offset);
    const __m256i symbol = _mm256_blendv_epi8(find(t.alias, at), bucket, is_own);
    const __m256i rank = _mm256_add_epi8(offset, _mm256_andnot_si256(is_own, find(t.adjust, at)));
    const __m256i f = find(t.frequency, Index<Bits>(symbol));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_add_epi8(symbol, t.shift_out));
    __m256i a = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_srli_epi16(x.a, 8), _mm256_unpacklo_epi8(f, zero)),
                                 _mm256_unpacklo_epi8(rank, zero));
    __m256i b = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_srli_epi16(x.b, 8), _mm256_unpackhi_epi8(f, zero)),
                                 _mm256_unpackhi_epi8(rank, zero));
    const __m256i need_a = _mm256_cmpeq_epi16(_mm256_srli_epi16(a, 8), zero);
    const __m256i need_b = _mm256_cmpeq_epi16(_mm256_srli_epi16(b, 8), zero);
    const uint32_t need = uint32_t(_mm256_movemask_epi8(_mm256_packs_epi16(need_a, need_b)));
    const uint8_t* p1 = p + _mm_popcnt_u32(need & 0xff);
    const uint8_t* p2 = p + _mm_popcnt_u32(need & 0xffff);
    const uint8_t* p3 = p + _mm_popcnt_u32(need & 0xffffff);
    const auto take = [](const uint8_t* q, uint32_t mask) {
        return _mm_shuffle_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(q)), pattern(expansion.bytes, mask));
    };
    const __m256i units_a = pair(take(p, need), take(p2, need >> 16));
    const __m256i units_b = pair(take(p1, need >> 8), take(p3, need >> 24));
    p += _mm_popcnt_u32(need);
    x.a = _mm256_blendv_epi8(a, _mm256_or_si256(_mm256_slli_epi16(a, 8), units_a), need_a);
    x.b = _mm256_blendv_epi8(b, _mm256_or_si256(_mm256_slli_epi16(b, 8), units_b), need_b);
}

template <int Bits>
void fast_steps_of(const Table& table, uint16_t* state, size_t& bank, size_t steps, const uint8_t*& units,
                   uint8_t* out) {
    const FastTables<Bits> t(table);
    const uint8_t* p = units;
    Lanes32 x[4];
    // Turn the banks so that the next step's is first.
    const size_t turn = bank;
    for (size_t i = 0; i < 4; i++) x[i].load(state + (turn + 32 * i) % 128);
    size_t left = steps;
    for (; left >= 2; left -= 2, out += 128) {
        decode32(t, x[0], p, out);
        decode32(t, x[1], p, out + 32);
        decode32(t, x[2], p, out + 64);
        decode32(t, x[3], p, out + 96);
    }
    if (left) {
        decode32(t, x[0], p, out);
        decode32(t, x[1], p, out + 32);
    }
    for (size_t i = 0; i < 4; i++) x[i].save(state + (turn + 32 * i) % 128);
    bank = (bank + 64 * steps) % 128;
    units = p;
}

void fast_steps(const Table& t, uint16_t* state, size_t& bank, size_t steps, const uint8_t*& p, uint8_t* out) {
    switch (t.bucket_bits) {
        case 4: return fast_steps_of<4>(t, state, bank, steps, p, out);
        case 5: return fast_steps_of<5>(t, state, bank, steps, p, out);
        default: return fast_steps_of<6>(t, state, bank, steps, p, out);
    }
}

// --- dense: 32-bit states ------------------------------------------------------------------------------------------

template <int Bits>
struct DenseTables {
    Lookup<Bits> own, alias, adjust_low, adjust_high, frequency_low, frequency_high;
    __m256i shift_out;
    explicit DenseTables(const Table& t)
        : own([&](int i) { return t.own[size_t(i)]; }),
          alias([&](int i) { return t.alias[size_t(i)]; }),
          adjust_low([&](int i) { return t.adjust[size_t(i)]; }),
          adjust_high([&](int i) { return t.adjust[size_t(i)] >> 8; }),
          frequency_low([&](int i) { return t.frequency[size_t(i)]; }),
          frequency_high([&](int i) { return t.frequency[size_t(i)] >> 8; }),
          shift_out(_mm256_set1_epi8(char(t.first - 1))) {}
};

// 32 lanes: x[k] holds lanes 4k to 4k+3 and 16+4k to 16+4k+3.
struct DenseLanes {
    __m256i x[4];
    LACONIC_INLINE void load(const uint32_t* lane) {
        for (int k = 0; k < 4; k++)
            x[k] = pair(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lane + 4 * k)),
                        _mm_loadu_si128(reinterpret_cast<const __m128i*>(lane + 16 + 4 * k)));
    }
    LACONIC_INLINE void save(uint32_t* lane) const {
        for (int k = 0; k < 4; k++) {
            _mm_storeu_si128(reinterpret_cast<__m128i*>(lane + 4 * k), _mm256_castsi256_si128(x[k]));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(lane + 16 + 4 * k), _mm256_extracti128_si256(x[k], 1));
        }
    }
};

template <int Bits>
LACONIC_INLINE void decode32(const DenseTables<Bits>& t, DenseLanes& s, const uint8_t*& p, uint8_t* out) {
    const __m256i zero = _mm256_setzero_si256(), slots = _mm256_set1_epi32(4095);
    const __m256i y0 = _mm256_packus_epi32(_mm256_and_si256(s.x[0], slots), _mm256_and_si256(s.x[1], slots));
    const __m256i y1 = _mm256_packus_epi32(_mm256_and_si256(s.x[2], slots), _mm256_and_si256(s.x[3], slots));
    const __m256i inside = _mm256_set1_epi16((1 << (12 - Bits)) - 1);
    const __m256i o0 = _mm256_and_si256(y0, inside), o1 = _mm256_and_si256(y1, inside);
    const __m256i offset = _mm256_packus_epi16(o0, o1);
    const __m256i bucket = _mm256_packus_epi16(_mm256_srli_epi16(y0, 12 - Bits), _mm256_srli_epi16(y1, 12 - Bits));
    const Index<Bits> at(bucket);
    const __m256i is_alias = _mm256_cmpeq_epi8(_mm256_subs_epu8(find(t.own, at), offset), zero);
    const __m256i symbol = _mm256_blendv_epi8(bucket, find(t.alias, at), is_alias);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_add_epi8(symbol, t.shift_out));
    const __m256i low = _mm256_and_si256(find(t.adjust_low, at), is_alias);
    const __m256i high = _mm256_and_si256(find(t.adjust_high, at), is_alias);
    const __m256i r0 = _mm256_add_epi16(o0, _mm256_unpacklo_epi8(low, high));
    const __m256i r1 = _mm256_add_epi16(o1, _mm256_unpackhi_epi8(low, high));
    const Index<Bits> of(symbol);
    const __m256i f_low = find(t.frequency_low, of), f_high = find(t.frequency_high, of);
    const __m256i f0 = _mm256_unpacklo_epi8(f_low, f_high), f1 = _mm256_unpackhi_epi8(f_low, f_high);
    const auto step = [](__m256i x, __m256i f, __m256i rank) {
        return _mm256_add_epi32(_mm256_mullo_epi32(_mm256_srli_epi32(x, 12), f), rank);
    };
    __m256i x[4] = {step(s.x[0], _mm256_unpacklo_epi16(f0, zero), _mm256_unpacklo_epi16(r0, zero)),
                    step(s.x[1], _mm256_unpackhi_epi16(f0, zero), _mm256_unpackhi_epi16(r0, zero)),
                    step(s.x[2], _mm256_unpacklo_epi16(f1, zero), _mm256_unpacklo_epi16(r1, zero)),
                    step(s.x[3], _mm256_unpackhi_epi16(f1, zero), _mm256_unpackhi_epi16(r1, zero))};
    __m256i short_of[4];
    for (int k = 0; k < 4; k++) short_of[k] = _mm256_cmpeq_epi32(_mm256_srli_epi32(x[k], 16), zero);
    const uint32_t need = uint32_t(_mm256_movemask_epi8(_mm256_packs_epi16(
        _mm256_packs_epi32(short_of[0], short_of[1]), _mm256_packs_epi32(short_of[2], short_of[3]))));
    const uint8_t* p1 = p + 2 * _mm_popcnt_u32(need & 0xff);
    const uint8_t* p2 = p + 2 * _mm_popcnt_u32(need & 0xffff);
    const uint8_t* p3 = p + 2 * _mm_popcnt_u32(need & 0xffffff);
    const auto take = [](const uint8_t* q, uint32_t mask) {
        return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q)), pattern(expansion.words, mask));
    };
    const __m256i u0 = pair(take(p, need), take(p2, need >> 16));
    const __m256i u1 = pair(take(p1, need >> 8), take(p3, need >> 24));
    p += 2 * _mm_popcnt_u32(need);
    const __m256i units[4] = {_mm256_unpacklo_epi16(u0, zero), _mm256_unpackhi_epi16(u0, zero),
                              _mm256_unpacklo_epi16(u1, zero), _mm256_unpackhi_epi16(u1, zero)};
    for (int k = 0; k < 4; k++)
        s.x[k] = _mm256_blendv_epi8(x[k], _mm256_or_si256(_mm256_slli_epi32(x[k], 16), units[k]), short_of[k]);
}

template <int Bits>
void dense_steps_of(const Table& table, uint32_t* state, size_t steps, const uint8_t*& units, uint8_t* out) {
    const DenseTables<Bits> t(table);
    const uint8_t* p = units;
    DenseLanes a, b;
    a.load(state);
    b.load(state + 32);
    for (size_t i = 0; i < steps; i++, out += 64) {
        decode32(t, a, p, out);
        decode32(t, b, p, out + 32);
    }
    a.save(state);
    b.save(state + 32);
    units = p;
}

void dense_steps(const Table& t, uint32_t* state, size_t&, size_t steps, const uint8_t*& p, uint8_t* out) {
    switch (t.bucket_bits) {  // one bank of 64 lanes: it never turns
        case 5: return dense_steps_of<5>(t, state, steps, p, out);
        case 6: return dense_steps_of<6>(t, state, steps, p, out);
        case 7: return dense_steps_of<7>(t, state, steps, p, out);
        default: return dense_steps_of<8>(t, state, steps, p, out);
    }
}

// --- escapes -------------------------------------------------------------------------------------------------------

size_t count_in(const uint8_t* symbols, size_t n, uint8_t wanted) {
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

const uint8_t* patch(uint8_t* symbols, size_t n, uint8_t mark, const uint8_t* tail) {
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

// Eight fields of `bits` <= 25 each stand in `bits` bytes: every 128-bit half takes four of them by a byte shuffle.
constexpr int kMostField = 25;

struct FieldPlan {
    alignas(32) uint8_t from[32]{};
    alignas(32) uint32_t by[8]{};
    constexpr explicit FieldPlan(int bits = 0) {
        for (int k = 0; k < 8; k++) {
            const int bit = k < 4 ? k * bits : k * bits - 8 * (bits / 2);
            for (int b = 0; b < 4; b++) from[4 * k + b] = uint8_t(bit / 8 + b);
            by[k] = uint32_t(bit % 8);
        }
    }
};

struct FieldPlans {
    FieldPlan of[kMostField + 1];
    constexpr FieldPlans() {
        for (int bits = 0; bits <= kMostField; bits++) of[bits] = FieldPlan(bits);
    }
};
constexpr FieldPlans plans;

struct Fields {
    __m256i pick, shift, mask;
    size_t stride, half;  // bytes of eight fields; where the second four begin
    LACONIC_INLINE explicit Fields(int bits)
        : pick(_mm256_load_si256(reinterpret_cast<const __m256i*>(plans.of[bits].from))),
          shift(_mm256_load_si256(reinterpret_cast<const __m256i*>(plans.of[bits].by))),
          mask(_mm256_set1_epi32(int((1u << bits) - 1))), stride(size_t(bits)), half(size_t(bits) / 2) {}
    LACONIC_INLINE __m256i load(const uint8_t* raw) const {
        const __m256i v = pair(_mm_loadu_si128(reinterpret_cast<const __m128i*>(raw)),
                               _mm_loadu_si128(reinterpret_cast<const __m128i*>(raw + half)));
        return _mm256_and_si256(_mm256_srlv_epi32(_mm256_shuffle_epi8(v, pick), shift), mask);
    }
};

LACONIC_INLINE __m128i count(int n) { return _mm_cvtsi32_si128(n); }

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
            const auto deal8 = [&](int k) { return int64_t(_pdep_u64(load64(raw + k * packed), deal)); };
            const __m256i field = _mm256_sll_epi16(_mm256_set_epi64x(deal8(3), deal8(2), deal8(1), deal8(0)), drop);
            v = _mm256_or_si256(v, _mm256_and_si256(field, low));
            if (is_float) v = _mm256_or_si256(v, _mm256_and_si256(_mm256_sll_epi16(field, to_sign), top));
        }
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_xor_si256(v, flip));
    }
    return i;
}

size_t merge(const SplitRule& rule, int width, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out) {
    if (rule.packed() > kMostField) return 0;
    switch (width) {
        case 1: return merge8(rule, symbols, raw, n, out);
        case 2: return merge16(rule, symbols, raw, n, out);
        case 4: return merge32(rule, symbols, raw, n, out);
        default: return 0;
    }
}

LACONIC_INLINE __m256i round_to_bf16(__m256 v) {  // bfloat16 in the lower half of each lane
    const __m256i u = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i even = _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    const __m256i nan = _mm256_or_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(even, nan, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
}

size_t uniform(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n, uint8_t* out) {
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

// Adds, per level, how far its members lie inside; eight lanes, as the portable code has them.
struct LevelSums {
    __m256 sum[3];
    __m256i found[3];
    LACONIC_INLINE void add(__m256i k, __m256 distance) {
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

void round_block(const float* v, size_t n, float inverse, const Thresholds& t, uint32_t* counts, Inside& inside,
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

}  // namespace

const Kernels* avx2_kernels() {
    static const Kernels kernels{"avx2", fast_steps, dense_steps, count_in, patch, merge, uniform, round_block};
    return cpu_has_avx2() ? &kernels : nullptr;
}

}  // namespace laconic
