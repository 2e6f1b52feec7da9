// AVX-512 decoders: 64 lanes at a time.
//
// A lookup in 64 entries is one byte permutation, which ignores the bits of an index that it has no use for: shifts may
// leave a neighbour's bits there.
#include "simd/avx512.hpp"

namespace taut {
namespace {

// --- fast: 16-bit states -------------------------------------------------------------------------------------------

// By slot / 4, whatever the number of buckets. Both answers wait in tables of their own: looking up the frequency of a
// symbol that was looked up first would make the chain from state to state longer.
struct FastTables {
    __m512i limit;  // the first slot that is not the own symbol's; 255 is one too few, but then both are the same
    __m512i own_byte, alias_byte, own_frequency, alias_frequency, adjust;
    __m512i inside;
    TAUT_INLINE explicit FastTables(const Table& t) {
        const auto shift = [](__m512i v, int by) {  // of bytes below 64
            return _mm512_and_si512(_mm512_sll_epi16(v, _mm_cvtsi32_si128(by)), bytes(0xff << by));
        };
        const __m512i bucket = _mm512_and_si512(
            _mm512_srl_epi16(byte_numbers(), _mm_cvtsi32_si128(6 - t.bucket_bits)), bytes((1 << t.bucket_bits) - 1));
        const __m512i start = shift(bucket, 8 - t.bucket_bits), frequency = narrow(t.frequency.data());
        const __m512i alias = _mm512_permutexvar_epi8(bucket, load(t.alias.data()));
        limit = _mm512_adds_epu8(start, _mm512_permutexvar_epi8(bucket, narrow(t.own.data())));
        own_byte = _mm512_add_epi8(bucket, bytes(t.first - 1));
        alias_byte = _mm512_add_epi8(alias, bytes(t.first - 1));
        own_frequency = _mm512_permutexvar_epi8(bucket, frequency);
        alias_frequency = _mm512_permutexvar_epi8(alias, frequency);
        adjust = _mm512_sub_epi8(_mm512_permutexvar_epi8(bucket, narrow(t.adjust.data())), start);
        inside = bytes((1 << (8 - t.bucket_bits)) - 1);
    }
};

TAUT_INLINE void decode64(const FastTables& t, Fast512& x, const uint8_t*& p, uint8_t* out) {
    const __m512i at = _mm512_srli_epi16(x.low, 2);
    const __mmask64 alias = _mm512_cmpge_epu8_mask(x.low, _mm512_permutexvar_epi8(at, t.limit));
    const auto either = [&](__m512i own, __m512i other) {
        return _mm512_mask_permutexvar_epi8(_mm512_permutexvar_epi8(at, own), alias, at, other);
    };
    store(out, either(t.own_byte, t.alias_byte));
    const __m512i f = either(t.own_frequency, t.alias_frequency);
    const __m512i rank = _mm512_mask_add_epi8(_mm512_and_si512(x.low, t.inside), alias, x.low,
                                              _mm512_permutexvar_epi8(at, t.adjust));
    x.advance(f, rank, ~uint64_t(0), p);
}

void fast_steps512(const Table& table, uint16_t* state, size_t& bank, size_t steps, const uint8_t*& units, uint8_t* out) {
    const FastTables t(table);
    const uint8_t* p = units;
    uint16_t *now = state + bank, *then = state + (bank + 64) % 128;
    Fast512 x, y;
    x.load_from(now);
    y.load_from(then);
    for (size_t left = steps / 2; left > 0; left--, out += 128) {
        decode64(t, x, p, out);
        decode64(t, y, p, out + 64);
    }
    if (steps % 2) decode64(t, x, p, out);
    x.save_to(now);
    y.save_to(then);
    bank = (bank + 64 * steps) % 128;
    units = p;
}

// --- dense: 32-bit states ------------------------------------------------------------------------------------------

template <int Bits>
struct ByteTable {
    static constexpr int parts = Bits <= 6 ? 1 : 1 << (Bits - 6);
    __m512i part[parts];

    template <class Get>
    TAUT_INLINE explicit ByteTable(Get get) {
        for (int k = 0; k < parts; k++) part[k] = get(64 * k);
        if (Bits == 5) part[0] = _mm512_permutexvar_epi8(_mm512_and_si512(byte_numbers(), bytes(31)), part[0]);
    }
    TAUT_INLINE __m512i operator[](__m512i i) const {
        if constexpr (Bits <= 6) return _mm512_permutexvar_epi8(i, part[0]);
        else if constexpr (Bits == 7) return _mm512_permutex2var_epi8(part[0], i, part[1]);
        else return _mm512_mask_blend_epi8(_mm512_movepi8_mask(i), _mm512_permutex2var_epi8(part[0], i, part[1]),
                                           _mm512_permutex2var_epi8(part[2], i, part[3]));
    }
};

// Frequencies are kept as f << 4, see Halves. They are looked up by symbol here: a second pair of tables would shorten
// the chain from state to state, but keep the one unit that permutes busier than that is worth.
template <int Bits>
struct DenseTables {
    ByteTable<Bits> own, alias, adjust_low, adjust_high, frequency_low, frequency_high;
    __m512i shift_out;
    TAUT_INLINE explicit DenseTables(const Table& t)
        : own([&](int i) { return narrow(t.own.data() + i); }),
          alias([&](int i) { return load(t.alias.data() + i); }),
          adjust_low([&](int i) { return narrow(t.adjust.data() + i); }),
          adjust_high([&](int i) { return shifted(t.adjust.data() + i, 8); }),
          frequency_low([&](int i) { return _mm512_and_si512(_mm512_slli_epi16(narrow(t.frequency.data() + i), 4),
                                                             bytes(0xf0)); }),
          frequency_high([&](int i) { return shifted(t.frequency.data() + i, 4); }),
          shift_out(bytes(t.first - 1)) {}

    static TAUT_INLINE __m512i shifted(const uint16_t* p, unsigned by) {
        return narrow(_mm512_srli_epi16(load(p), by), _mm512_srli_epi16(load(p + 32), by));
    }
};

template <int Bits>
TAUT_INLINE void decode64(const DenseTables<Bits>& t, Dense512& x, const uint8_t*& p, uint8_t* out) {
    const __m512i zero = _mm512_setzero_si512();
    const __m512i at = select(bytes(0xff << (Bits - 4)), _mm512_slli_epi16(x.plane1, Bits - 4),
                              _mm512_srli_epi16(x.plane0, 12 - Bits));
    const __m512i offset = _mm512_and_si512(x.plane0, bytes((1 << (12 - Bits)) - 1));
    const __mmask64 alias = _mm512_cmpge_epu8_mask(offset, t.own[at]);
    const __m512i symbol = _mm512_mask_mov_epi8(at, alias, t.alias[at]);
    store(out, _mm512_add_epi8(_mm512_and_si512(symbol, bytes((1 << Bits) - 1)), t.shift_out));
    const __m512i f0 = t.frequency_low[symbol], f1 = t.frequency_high[symbol];
    const __m512i adjust0 = _mm512_maskz_mov_epi8(alias, t.adjust_low[at]);
    const __m512i adjust1 = _mm512_maskz_mov_epi8(alias, t.adjust_high[at]);
    x.advance(_mm512_unpacklo_epi8(f0, f1), _mm512_unpackhi_epi8(f0, f1),
              _mm512_add_epi16(_mm512_unpacklo_epi8(offset, zero), _mm512_unpacklo_epi8(adjust0, adjust1)),
              _mm512_add_epi16(_mm512_unpackhi_epi8(offset, zero), _mm512_unpackhi_epi8(adjust0, adjust1)),
              ~uint64_t(0), p);
}

template <int Bits>
void dense_steps_of(const Table& table, uint32_t* state, size_t steps, const uint8_t*& units, uint8_t* out) {
    const DenseTables<Bits> t(table);
    const uint8_t* p = units;
    Dense512 x;
    x.load_from(state);
    for (size_t i = 0; i < steps; i++, out += 64) decode64(t, x, p, out);
    x.save_to(state);
    units = p;
}

void dense_steps512(const Table& t, uint32_t* state, size_t&, size_t steps, const uint8_t*& p, uint8_t* out) {
    switch (t.bucket_bits) {  // one bank of 64 lanes: it never turns
        case 5: return dense_steps_of<5>(t, state, steps, p, out);
        case 6: return dense_steps_of<6>(t, state, steps, p, out);
        case 7: return dense_steps_of<7>(t, state, steps, p, out);
        default: return dense_steps_of<8>(t, state, steps, p, out);
    }
}

// --- escapes -------------------------------------------------------------------------------------------------------

size_t count(const uint8_t* symbols, size_t n, uint8_t wanted) {
    const __m512i v = bytes(wanted);
    size_t found = 0, i = 0;
    for (; i + 64 <= n; i += 64) found += ones(_mm512_cmpeq_epi8_mask(load(symbols + i), v));
    const __mmask64 rest = first(n - i);
    return found + ones(_mm512_mask_cmpeq_epi8_mask(rest, _mm512_maskz_loadu_epi8(rest, symbols + i), v));
}

const uint8_t* patch(uint8_t* symbols, size_t n, uint8_t mark, const uint8_t* tail) {
    const __m512i v = bytes(mark);
    const auto patched = [&](__m512i s, __mmask64 found) {
        // The tail may end where memory does.
        const size_t taken = ones(found);
        const __mmask64 readable = taken == 64 ? ~uint64_t(0) : first(taken);
        const __m512i result = _mm512_mask_expand_epi8(s, found, _mm512_maskz_loadu_epi8(readable, tail));
        tail += taken;
        return result;
    };
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        const __m512i s = load(symbols + i);
        store(symbols + i, patched(s, _mm512_cmpeq_epi8_mask(s, v)));
    }
    const __mmask64 rest = first(n - i);
    const __m512i s = _mm512_maskz_loadu_epi8(rest, symbols + i);
    _mm512_mask_storeu_epi8(symbols + i, rest, patched(s, _mm512_mask_cmpeq_epi8_mask(rest, s, v)));
    return tail;
}

}  // namespace

const Kernels* avx512_kernels() {
    if (!cpu_has_avx512()) return nullptr;  // before anything that this file's instructions may be used for
    static constexpr Kernels kernels = [] {
        Kernels k{"avx512", fast_steps512, dense_steps512, count, patch, avx512_merge, avx512_uniform};
        k.matrix_fast = avx512_matrix_fast;
        k.matrix_dense = avx512_matrix_dense;
        k.matrix_row = avx512_matrix_row;
        k.combine = avx512_combine;
#if !defined(TAUT_EMULATE_AVX512)  // SIMDe lacks much of what those take
        k.delta_count = avx512_delta_count;
        k.delta_order = avx512_delta_order;
#if !TAUT_DECODE_ONLY  // libtaut, which is to be small, goes without
        k.delta_classes = avx512_delta_classes;
        k.delta_move = avx512_delta_move;
#endif
#endif
#if TAUT_AVX2
        // Its sums are defined in eight lanes, and every processor with AVX-512 has AVX2.
        k.round_block = TAUT_ROUND_BLOCK;
        k.transpose = avx2_transpose;
#endif
        return k;
    }();
    return &kernels;
}

}  // namespace taut
