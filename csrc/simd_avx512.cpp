// AVX-512 decoders: 64 lanes at a time.
//
// States are kept as planes: one register holds the same byte of all 64 states, in lane order. So a state's slot needs
// no packing, a lookup in 64 entries is one byte permutation, and handing out units is one masked expansion: every
// lane that has run short takes the next byte, the others keep theirs. A byte permutation ignores the bits of an index
// that it has no use for, so shifts may leave a neighbour's bits there.
#include "simd_avx512.hpp"

namespace laconic {
namespace {

// The lower bytes of 64 words.
LACONIC_INLINE __m512i narrow(__m512i v, __m512i w) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(v)), _mm512_cvtepi16_epi8(w), 1);
}
LACONIC_INLINE __m512i narrow(const uint16_t* p) { return narrow(load(p), load(p + 32)); }

// States as memory has them, 16 bytes to a piece: piece N * b + k is block b of v[k]. That is how the pack and unpack
// instructions count, so they turn planes into states and back.
template <int N>
LACONIC_INLINE void load_pieces(const void* from, __m512i (&v)[N]) {
    alignas(64) uint8_t pieces[N][4][16];
    for (int b = 0; b < 4; b++)
        for (int k = 0; k < N; k++) std::memcpy(pieces[k][b], static_cast<const uint8_t*>(from) + 16 * (N * b + k), 16);
    for (int k = 0; k < N; k++) v[k] = load(pieces[k]);
}
template <int N>
LACONIC_INLINE void save_pieces(const __m512i (&v)[N], void* to) {
    alignas(64) uint8_t pieces[N][4][16];
    for (int k = 0; k < N; k++) store(pieces[k], v[k]);
    for (int b = 0; b < 4; b++)
        for (int k = 0; k < N; k++) std::memcpy(static_cast<uint8_t*>(to) + 16 * (N * b + k), pieces[k][b], 16);
}

LACONIC_INLINE __m512i low_bytes(__m512i v, __m512i w) {
    return _mm512_packus_epi16(_mm512_and_si512(v, words(255)), _mm512_and_si512(w, words(255)));
}
LACONIC_INLINE __m512i high_bytes(__m512i v, __m512i w) {
    return _mm512_packus_epi16(_mm512_srli_epi16(v, 8), _mm512_srli_epi16(w, 8));
}

// --- fast: 16-bit states -------------------------------------------------------------------------------------------

// By slot / 4, whatever the number of buckets. Both answers wait in tables of their own: looking up the frequency of a
// symbol that was looked up first would make the chain from state to state longer.
struct FastTables {
    __m512i limit;  // the first slot that is not the own symbol's; 255 is one too few, but then both are the same
    __m512i own_byte, alias_byte, own_frequency, alias_frequency, adjust;
    __m512i inside;
    LACONIC_INLINE explicit FastTables(const Table& t) {
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

struct FastLanes {
    __m512i low, high;
    LACONIC_INLINE void load_from(const uint16_t* lane) {
        __m512i v[2];
        load_pieces(lane, v);
        low = low_bytes(v[0], v[1]);
        high = high_bytes(v[0], v[1]);
    }
    LACONIC_INLINE void save_to(uint16_t* lane) const {
        save_pieces({_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)}, lane);
    }
};

LACONIC_INLINE void decode64(const FastTables& t, FastLanes& x, const uint8_t*& p, uint8_t* out) {
    const __m512i even = words(0x00ff), odd = words(0xff00);
    const __m512i at = _mm512_srli_epi16(x.low, 2);
    const __mmask64 alias = _mm512_cmpge_epu8_mask(x.low, _mm512_permutexvar_epi8(at, t.limit));
    const auto either = [&](__m512i own, __m512i other) {
        return _mm512_mask_permutexvar_epi8(_mm512_permutexvar_epi8(at, own), alias, at, other);
    };
    store(out, either(t.own_byte, t.alias_byte));
    const __m512i f = either(t.own_frequency, t.alias_frequency);
    const __m512i rank = _mm512_mask_add_epi8(_mm512_and_si512(x.low, t.inside), alias, x.low,
                                              _mm512_permutexvar_epi8(at, t.adjust));
    // Bytes times bytes: even lanes as low halves, odd ones as high halves of words, whose product stands above 2^16.
    const __m512i a = _mm512_add_epi16(
        _mm512_mullo_epi16(_mm512_and_si512(x.high, even), _mm512_and_si512(f, even)), _mm512_and_si512(rank, even));
    const __m512i b = _mm512_add_epi16(
        _mm512_mulhi_epu16(_mm512_and_si512(x.high, odd), _mm512_and_si512(f, odd)), _mm512_srli_epi16(rank, 8));
    const __m512i low = select(even, a, _mm512_slli_epi16(b, 8));
    const __m512i high = select(even, _mm512_srli_epi16(a, 8), b);
    const __mmask64 need = _mm512_testn_epi8_mask(high, high);
    x.high = _mm512_mask_mov_epi8(high, need, low);
    x.low = _mm512_mask_expand_epi8(low, need, load_early(p));
    p += ones(need);
}

void fast_steps(const Table& table, uint16_t* state, size_t& bank, size_t steps, const uint8_t*& units, uint8_t* out) {
    const FastTables t(table);
    const uint8_t* p = units;
    uint16_t *now = state + bank, *then = state + (bank + 64) % 128;
    FastLanes x, y;
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
    LACONIC_INLINE explicit ByteTable(Get get) {
        for (int k = 0; k < parts; k++) part[k] = get(64 * k);
        if (Bits == 5) part[0] = _mm512_permutexvar_epi8(_mm512_and_si512(byte_numbers(), bytes(31)), part[0]);
    }
    LACONIC_INLINE __m512i operator[](__m512i i) const {
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
    LACONIC_INLINE explicit DenseTables(const Table& t)
        : own([&](int i) { return narrow(t.own.data() + i); }),
          alias([&](int i) { return load(t.alias.data() + i); }),
          adjust_low([&](int i) { return narrow(t.adjust.data() + i); }),
          adjust_high([&](int i) { return shifted(t.adjust.data() + i, 8); }),
          frequency_low([&](int i) { return _mm512_and_si512(_mm512_slli_epi16(narrow(t.frequency.data() + i), 4),
                                                             bytes(0xf0)); }),
          frequency_high([&](int i) { return shifted(t.frequency.data() + i, 4); }),
          shift_out(bytes(t.first - 1)) {}

    static LACONIC_INLINE __m512i shifted(const uint16_t* p, unsigned by) {
        return narrow(_mm512_srli_epi16(load(p), by), _mm512_srli_epi16(load(p + 32), by));
    }
};

// The lower two bytes as planes, the upper two as words in the order of the unpack instructions.
struct DenseLanes {
    __m512i plane0, plane1, upper[2];
    LACONIC_INLINE void load_from(const uint32_t* lane) {
        __m512i v[4], low[2];
        load_pieces(lane, v);
        for (int k = 0; k < 2; k++) {
            const __m512i a = v[2 * k], b = v[2 * k + 1], mask = _mm512_set1_epi32(0xffff);
            low[k] = _mm512_packus_epi32(_mm512_and_si512(a, mask), _mm512_and_si512(b, mask));
            upper[k] = _mm512_packus_epi32(_mm512_srli_epi32(a, 16), _mm512_srli_epi32(b, 16));
        }
        plane0 = low_bytes(low[0], low[1]);
        plane1 = high_bytes(low[0], low[1]);
    }
    LACONIC_INLINE void save_to(uint32_t* lane) const {
        const __m512i a = _mm512_unpacklo_epi8(plane0, plane1), b = _mm512_unpackhi_epi8(plane0, plane1);
        save_pieces({_mm512_unpacklo_epi16(a, upper[0]), _mm512_unpackhi_epi16(a, upper[0]),
                     _mm512_unpacklo_epi16(b, upper[1]), _mm512_unpackhi_epi16(b, upper[1])}, lane);
    }
};

// Half of x = f * (x >> 12) + rank in words, with x = upper << 16 | n << 12 | slot and f already multiplied by 16:
// f * upper + (f * n >> 16) + rank, of which the last two fit a word together, since rank < f.
struct Halves {
    __m512i low, high;
    LACONIC_INLINE Halves(__m512i f, __m512i upper, __m512i n, __m512i rank) {
        const __m512i rest = _mm512_add_epi16(_mm512_mulhi_epu16(f, n), rank);
        low = _mm512_add_epi16(_mm512_mullo_epi16(f, upper), rest);
        high = _mm512_mulhi_epu16(f, upper);
        high = _mm512_mask_sub_epi16(high, _mm512_cmplt_epu16_mask(low, rest), high, words(-1));  // the carry
    }
    LACONIC_INLINE __m512i next_upper() const {
        return _mm512_mask_mov_epi16(high, _mm512_testn_epi16_mask(high, high), low);
    }
};

template <int Bits>
LACONIC_INLINE void decode64(const DenseTables<Bits>& t, DenseLanes& x, const uint8_t*& p, uint8_t* out) {
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
    const __m512i n = _mm512_and_si512(x.plane1, bytes(0xf0));
    const Halves a(_mm512_unpacklo_epi8(f0, f1), x.upper[0], _mm512_unpacklo_epi8(zero, n),
                   _mm512_add_epi16(_mm512_unpacklo_epi8(offset, zero), _mm512_unpacklo_epi8(adjust0, adjust1)));
    const Halves b(_mm512_unpackhi_epi8(f0, f1), x.upper[1], _mm512_unpackhi_epi8(zero, n),
                   _mm512_add_epi16(_mm512_unpackhi_epi8(offset, zero), _mm512_unpackhi_epi8(adjust0, adjust1)));
    // Signed saturation turns no word but zero into zero.
    const __m512i any = _mm512_packs_epi16(a.high, b.high);
    const __mmask64 need = _mm512_testn_epi8_mask(any, any);
    const __m512i even = _mm512_slli_epi16(byte_numbers(), 1), odd = _mm512_or_si512(even, bytes(1));
    const __m512i u = load(p), v = load(p + 64);
    x.plane0 = _mm512_mask_expand_epi8(low_bytes(a.low, b.low), need, _mm512_permutex2var_epi8(u, even, v));
    x.plane1 = _mm512_mask_expand_epi8(high_bytes(a.low, b.low), need, _mm512_permutex2var_epi8(u, odd, v));
    x.upper[0] = a.next_upper();
    x.upper[1] = b.next_upper();
    p += 2 * ones(need);
}

template <int Bits>
void dense_steps_of(const Table& table, uint32_t* state, size_t steps, const uint8_t*& units, uint8_t* out) {
    const DenseTables<Bits> t(table);
    const uint8_t* p = units;
    DenseLanes x;
    x.load_from(state);
    for (size_t i = 0; i < steps; i++, out += 64) decode64(t, x, p, out);
    x.save_to(state);
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
    static const Kernels kernels = [] {
        Kernels k{"avx512", fast_steps, dense_steps, count, patch, avx512_merge, avx512_uniform};
#if LACONIC_AVX2
        // Its sums are defined in eight lanes, and every processor with AVX-512 has AVX2.
        if (const Kernels* narrower = avx2_kernels()) k.round_block = narrower->round_block;
#endif
        return k;
    }();
    return &kernels;
}

}  // namespace laconic
