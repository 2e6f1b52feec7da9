// NEON kernels around the decoder: escapes patched, symbols and raw bits put together.
#include <bit>

#include "simd/neon.hpp"

namespace taut {

// --- escapes -------------------------------------------------------------------------------------------------------

size_t neon_count(const uint8_t* symbols, size_t n, uint8_t wanted) {
    const uint8x16_t v = vdupq_n_u8(wanted);
    size_t all = 0, i = 0;
    while (i + 16 <= n) {
        const size_t stop = std::min(n - 15, i + 16 * 255);  // a byte counts to 255
        uint8x16_t found = vdupq_n_u8(0);
        for (; i < stop; i += 16) found = vsubq_u8(found, vceqq_u8(v, vld1q_u8(symbols + i)));
        all += vaddlvq_u8(found);
    }
    for (; i < n; i++) all += symbols[i] == wanted;
    return all;
}

const uint8_t* neon_patch(uint8_t* symbols, size_t n, uint8_t mark, const uint8_t* tail) {
    const uint8x16_t wanted = vdupq_n_u8(mark);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const uint16x8_t found = vreinterpretq_u16_u8(vceqq_u8(wanted, vld1q_u8(symbols + i)));
        // Four bits of each lane.
        uint64_t lanes = vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(found, 4)), 0) & 0x1111111111111111u;
        for (; lanes; lanes &= lanes - 1) symbols[i + size_t(std::countr_zero(lanes)) / 4] = *tail++;
    }
    for (; i < n; i++)
        if (symbols[i] == mark) symbols[i] = *tail++;
    return tail;
}

// --- values --------------------------------------------------------------------------------------------------------

namespace {

// The fields of sixteen values, in lanes of 32 bits.
struct Fields {
    uint8x16_t pick[2];
    int32x4_t shift[2];
    uint32x4_t mask;
    size_t stride, half;  // bytes of eight fields; where the second four begin
    TAUT_INLINE explicit Fields(int bits)
        : mask(vdupq_n_u32((1u << bits) - 1)), stride(size_t(bits)), half(size_t(bits) / 2) {
        for (int k = 0; k < 2; k++) {
            pick[k] = vld1q_u8(plans.of[bits].from + 16 * k);
            shift[k] = vnegq_s32(vreinterpretq_s32_u32(vld1q_u32(plans.of[bits].by + 4 * k)));
        }
    }
    TAUT_INLINE void load(const uint8_t* raw, uint32x4_t (&to)[4]) const {
        for (size_t k = 0; k < 4; k++) {
            const uint8x16_t v = vqtbl1q_u8(vld1q_u8(raw + k / 2 * stride + k % 2 * half), pick[k % 2]);
            to[k] = vandq_u32(vshlq_u32(vreinterpretq_u32_u8(v), shift[k % 2]), mask);
        }
    }
};

// Sixteen values in `count` registers, of `count` bytes each: how symbols and fields come there.
struct Words {
    using V = uint32x4_t;
    static constexpr size_t count = 4;
    static TAUT_INLINE V all(uint64_t v) { return vdupq_n_u32(uint32_t(v)); }
    static TAUT_INLINE V symbols(uint8x16_t s, size_t k) {
        const uint16x8_t half = k < 2 ? vmovl_u8(vget_low_u8(s)) : vmovl_u8(vget_high_u8(s));
        return vmovl_u16(k % 2 ? vget_high_u16(half) : vget_low_u16(half));
    }
    static TAUT_INLINE V fields(const uint32x4_t (&f)[4], size_t k) { return f[k]; }
    static TAUT_INLINE V shifted(V v, int by) { return vshlq_u32(v, vdupq_n_s32(by)); }
    static TAUT_INLINE V high(V s, V base) { return vandq_u32(vaddq_u32(s, base), vtstq_u32(s, s)); }
    static TAUT_INLINE V put_in(V v, V field, V mask) { return vorrq_u32(v, vandq_u32(field, mask)); }
    static TAUT_INLINE void store(uint8_t* out, V v, V flip) { vst1q_u8(out, bytes_of(veorq_u32(v, flip))); }
};
struct Halves {
    using V = uint16x8_t;
    static constexpr size_t count = 2;
    static TAUT_INLINE V all(uint64_t v) { return vdupq_n_u16(uint16_t(v)); }
    static TAUT_INLINE V symbols(uint8x16_t s, size_t k) { return vmovl_u8(k ? vget_high_u8(s) : vget_low_u8(s)); }
    static TAUT_INLINE V fields(const uint32x4_t (&f)[4], size_t k) { return low_halves(f[2 * k], f[2 * k + 1]); }
    static TAUT_INLINE V shifted(V v, int by) { return vshlq_u16(v, vdupq_n_s16(int16_t(by))); }
    static TAUT_INLINE V high(V s, V base) { return vandq_u16(vaddq_u16(s, base), vtstq_u16(s, s)); }
    static TAUT_INLINE V put_in(V v, V field, V mask) { return vorrq_u16(v, vandq_u16(field, mask)); }
    static TAUT_INLINE void store(uint8_t* out, V v, V flip) { vst1q_u8(out, bytes_of(veorq_u16(v, flip))); }
};
struct Singles {
    using V = uint8x16_t;
    static constexpr size_t count = 1;
    static TAUT_INLINE V all(uint64_t v) { return vdupq_n_u8(uint8_t(v)); }
    static TAUT_INLINE V symbols(uint8x16_t s, size_t) { return s; }
    static TAUT_INLINE V fields(const uint32x4_t (&f)[4], size_t) {
        return low_halves(low_halves(f[0], f[1]), low_halves(f[2], f[3]));
    }
    static TAUT_INLINE V shifted(V v, int by) { return vshlq_u8(v, vdupq_n_s8(int8_t(by))); }
    static TAUT_INLINE V high(V s, V base) { return vandq_u8(vaddq_u8(s, base), vtstq_u8(s, s)); }
    static TAUT_INLINE V put_in(V v, V field, V mask) { return vorrq_u8(v, vandq_u8(field, mask)); }
    static TAUT_INLINE void store(uint8_t* out, V v, V flip) { vst1q_u8(out, veorq_u8(v, flip)); }
};

template <class L>
size_t merge_of(const SplitRule& rule, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out) {
    constexpr int bits = 8 * int(L::count);
    const Fields fields(rule.packed());
    const bool is_float = rule.mode == Mode::float_;
    const int plain = is_float ? rule.low - 1 : rule.low;
    const auto base = L::all(rule.base - 1), low = L::all((uint64_t(1) << plain) - 1);
    const auto top = L::all(uint64_t(1) << (bits - 1)), flip = rule.mode == Mode::signed_ ? top : L::all(0);
    const auto sign = is_float ? top : L::all(0);
    size_t i = 0;
    for (; i + 16 <= n; i += 16, raw += 2 * fields.stride) {
        uint32x4_t f[4];
        fields.load(raw, f);
        const uint8x16_t s = vld1q_u8(symbols + i);
        for (size_t k = 0; k < L::count; k++, out += 16) {
            const auto field = L::shifted(L::fields(f, k), rule.drop);
            auto v = L::shifted(L::high(L::symbols(s, k), base), plain);
            v = L::put_in(v, field, low);
            L::store(out, L::put_in(v, L::shifted(field, bits - 1 - plain), sign), flip);
        }
    }
    return i;
}

}  // namespace

size_t neon_merge(const SplitRule& rule, int width, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out) {
    if (rule.packed() > kMostField) return 0;
    switch (width) {
        case 1: return merge_of<Singles>(rule, symbols, raw, n, out);
        case 2: return merge_of<Halves>(rule, symbols, raw, n, out);
        case 4: return merge_of<Words>(rule, symbols, raw, n, out);
        default: return 0;
    }
}

}  // namespace taut
