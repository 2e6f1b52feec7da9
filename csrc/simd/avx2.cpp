// AVX2 decoders: 32 lanes at a time, every table in registers as 16-byte shuffles.
#include "simd/avx2.hpp"

namespace taut {

constinit const Expansion expansion;
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

template <int Level, int Bits>
TAUT_INLINE __m256i find(const Lookup<Bits>& t, const Index<Bits>& i, int from) {
    if constexpr (Level == 0) {
        return _mm256_shuffle_epi8(t.part[from], i.low);
    } else {
        return _mm256_blendv_epi8(find<Level - 1, Bits>(t, i, from),
                                  find<Level - 1, Bits>(t, i, from + (1 << (Level - 1))), i.steer[Level - 1]);
    }
}

template <int Bits>
TAUT_INLINE __m256i find(const Lookup<Bits>& t, const Index<Bits>& i) {
    return find<Bits - 4, Bits>(t, i, 0);
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

template <int Bits>
TAUT_INLINE void decode32(const FastTables<Bits>& t, Lanes32& x, const uint8_t*& p, uint8_t* out) {
    const __m256i byte = _mm256_set1_epi16(255);
    const __m256i slot = _mm256_packus_epi16(_mm256_and_si256(x.a, byte), _mm256_and_si256(x.b, byte));
    const __m256i bucket = _mm256_and_si256(_mm256_srli_epi16(slot, 8 - Bits), _mm256_set1_epi8((1 << Bits) - 1));
    const __m256i offset = _mm256_and_si256(slot, _mm256_set1_epi8((1 << (8 - Bits)) - 1));
    const Index<Bits> at(bucket);
    const __m256i is_own = _mm256_cmpgt_epi8(find(t.own, at), offset);
    const __m256i symbol = _mm256_blendv_epi8(find(t.alias, at), bucket, is_own);
    const __m256i rank = _mm256_add_epi8(offset, _mm256_andnot_si256(is_own, find(t.adjust, at)));
    const __m256i f = find(t.frequency, Index<Bits>(symbol));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_add_epi8(symbol, t.shift_out));
    x.advance(f, rank, ~0u, p);
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

template <int Bits>
TAUT_INLINE void decode32(const DenseTables<Bits>& t, DenseLanes& s, const uint8_t*& p, uint8_t* out) {
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
    s.advance(f0, f1, r0, r1, ~0u, p);
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

}  // namespace

const Kernels* avx2_kernels() {
    static constexpr Kernels kernels{"avx2",     fast_steps, dense_steps,  avx2_count,
                                 avx2_patch, avx2_merge, avx2_uniform, TAUT_ROUND_BLOCK,
                                 avx2_matrix_fast, avx2_matrix_dense, avx2_transpose, avx2_matrix_row};
    return cpu_has_avx2() ? &kernels : nullptr;
}

}  // namespace taut
