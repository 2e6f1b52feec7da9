// What the NEON files share: 32 lanes at a time, in two registers for a byte each. Nothing here may be emitted as a shared
// function.
#pragma once
#if !defined(TAUT_EMULATE_NEON)  // tests/native/emulated_neon.hpp has an emulation in its place
#include <arm_neon.h>
#endif

#include "simd/fields.hpp"
#include "simd/numbers.hpp"
#include "simd/steps.hpp"

namespace taut {
namespace {

constexpr size_t kParts = 2;  // registers of a group

struct Bytes32 {
    uint8x16_t at[kParts];
};
template <class Each>
TAUT_INLINE Bytes32 by_part(Each each) {
    Bytes32 v;
    for (size_t k = 0; k < kParts; k++) v.at[k] = each(k);
    return v;
}

TAUT_INLINE uint8x16_t bytes_of(uint16x8_t v) { return vreinterpretq_u8_u16(v); }
TAUT_INLINE uint8x16_t bytes_of(uint32x4_t v) { return vreinterpretq_u8_u32(v); }
// The lower halves of two registers' lanes.
TAUT_INLINE uint16x8_t low_halves(uint32x4_t v, uint32x4_t w) {
    return vuzp1q_u16(vreinterpretq_u16_u32(v), vreinterpretq_u16_u32(w));
}
TAUT_INLINE uint8x16_t low_halves(uint16x8_t v, uint16x8_t w) { return vuzp1q_u8(bytes_of(v), bytes_of(w)); }

// How many of the lanes up to each are in the mask.
TAUT_INLINE uint8x16_t counted(uint8x16_t mask) {
    const uint8x16_t none = vdupq_n_u8(0);
    uint8x16_t n = vshrq_n_u8(mask, 7);
    n = vaddq_u8(n, vextq_u8(none, n, 15));
    n = vaddq_u8(n, vextq_u8(none, n, 14));
    n = vaddq_u8(n, vextq_u8(none, n, 12));
    return vaddq_u8(n, vextq_u8(none, n, 8));
}

// States are kept as planes: one register holds the same byte of 16 states, in lane order.
struct NeonFast {
    Bytes32 low, high;
    TAUT_INLINE void load_from(const uint16_t* lane) {
        for (size_t k = 0; k < kParts; k++) {
            const uint8x16_t v = bytes_of(vld1q_u16(lane + 16 * k)), w = bytes_of(vld1q_u16(lane + 16 * k + 8));
            low.at[k] = vuzp1q_u8(v, w);
            high.at[k] = vuzp2q_u8(v, w);
        }
    }
    TAUT_INLINE void save_to(uint16_t* lane) const {
        for (size_t k = 0; k < kParts; k++) {
            vst1q_u16(lane + 16 * k, vreinterpretq_u16_u8(vzip1q_u8(low.at[k], high.at[k])));
            vst1q_u16(lane + 16 * k + 8, vreinterpretq_u16_u8(vzip2q_u8(low.at[k], high.at[k])));
        }
    }
    TAUT_INLINE Bytes32 slot() const { return low; }
    // x = f * (x >> 8) + rank; then the lanes of `active` that have run short take the next units in order.
    TAUT_INLINE void advance(Bytes32 f, Bytes32 rank, const Bytes32& active, const uint8_t*& p) {
        for (size_t k = 0; k < kParts; k++) {
            const uint16x8_t y = vaddw_u8(vmull_u8(vget_low_u8(f.at[k]), vget_low_u8(high.at[k])), vget_low_u8(rank.at[k]));
            const uint16x8_t z = vaddw_high_u8(vmull_high_u8(f.at[k], high.at[k]), rank.at[k]);
            const uint8x16_t lower = vuzp1q_u8(bytes_of(y), bytes_of(z)), upper = vuzp2q_u8(bytes_of(y), bytes_of(z));
            const uint8x16_t need = vandq_u8(vceqzq_u8(upper), active.at[k]), count = counted(need);
            const uint8x16_t unit = vqtbl1q_u8(vld1q_u8(p), vsubq_u8(count, vdupq_n_u8(1)));
            low.at[k] = vbslq_u8(need, unit, lower);
            high.at[k] = vbslq_u8(need, lower, upper);
            p += vgetq_lane_u8(count, 15);
        }
    }
};

struct NeonDense {
    uint32x4_t x[4 * kParts];
    TAUT_INLINE void load_from(const uint32_t* lane) {
        for (size_t k = 0; k < 4 * kParts; k++) x[k] = vld1q_u32(lane + 4 * k);
    }
    TAUT_INLINE void save_to(uint32_t* lane) const {
        for (size_t k = 0; k < 4 * kParts; k++) vst1q_u32(lane + 4 * k, x[k]);
    }
    template <int Bits>
    TAUT_INLINE void slot(Bytes32& bucket, Bytes32& offset) const {
        for (size_t k = 0; k < kParts; k++) {
            const uint16x8_t y = low_halves(x[4 * k], x[4 * k + 1]), z = low_halves(x[4 * k + 2], x[4 * k + 3]);
            const uint8x16_t upper = low_halves(vshrq_n_u16(y, 12 - Bits), vshrq_n_u16(z, 12 - Bits));
            bucket.at[k] = vandq_u8(upper, vdupq_n_u8((1 << Bits) - 1));
            offset.at[k] = vandq_u8(low_halves(y, z), vdupq_n_u8((1 << (12 - Bits)) - 1));
        }
    }
    // x = f * (x >> 12) + offset + adjust, two bytes each of f and adjust; then `active` lanes take units as above.
    TAUT_INLINE void advance(const Bytes32 (&f)[2], const Bytes32 (&adjust)[2], Bytes32 offset, const Bytes32& active,
                             const uint8_t*& p) {
        const auto words = [](uint8x16_t low, uint8x16_t high, uint16x8_t (&to)[2]) {
            to[0] = vreinterpretq_u16_u8(vzip1q_u8(low, high));
            to[1] = vreinterpretq_u16_u8(vzip2q_u8(low, high));
        };
        const auto quad = [](const uint16x8_t (&v)[2], size_t j) {
            return vmovl_u16(j % 2 ? vget_high_u16(v[j / 2]) : vget_low_u16(v[j / 2]));
        };
        for (size_t k = 0; k < kParts; k++) {
            uint16x8_t by[2], rank[2], unit[2];
            words(f[0].at[k], f[1].at[k], by);
            words(adjust[0].at[k], adjust[1].at[k], rank);
            rank[0] = vaddw_u8(rank[0], vget_low_u8(offset.at[k]));
            rank[1] = vaddw_high_u8(rank[1], offset.at[k]);
            uint32x4_t y[4], few[4];
            for (size_t j = 0; j < 4; j++) {
                y[j] = vmlaq_u32(quad(rank, j), quad(by, j), vshrq_n_u32(x[4 * k + j], 12));
                few[j] = vcltq_u32(y[j], vdupq_n_u32(1 << 16));
            }
            const uint8x16_t need =
                vandq_u8(low_halves(low_halves(few[0], few[1]), low_halves(few[2], few[3])), active.at[k]);
            const uint8x16_t count = counted(need), odd = vsubq_u8(vshlq_n_u8(count, 1), vdupq_n_u8(1));
            const uint8x16x2_t next = {{vld1q_u8(p), vld1q_u8(p + 16)}};
            words(vqtbl2q_u8(next, vsubq_u8(odd, vdupq_n_u8(1))), vqtbl2q_u8(next, odd), unit);
            for (size_t j = 0; j < 4; j++)
                x[4 * k + j] = vbslq_u32(few[j], vorrq_u32(vshlq_n_u32(y[j], 16), quad(unit, j)), y[j]);
            p += 2 * size_t(vgetq_lane_u8(count, 15));
        }
    }
};

// What simd/steps.hpp asks for; a mask is all bits of a byte.
struct NeonLanes {
    static constexpr size_t kLanes = 16 * kParts;
    using Bytes = Bytes32;
    using Mask = Bytes32;
    using Active = Bytes32;
    using FastStates = NeonFast;
    using DenseStates = NeonDense;
    static TAUT_INLINE Active active(size_t n) {
        alignas(16) uint8_t lane[kLanes];
        for (size_t i = 0; i < kLanes; i++) lane[i] = i < n ? 255 : 0;
        return load(lane);
    }
    static TAUT_INLINE Bytes load(const void* p) {
        return by_part([&](size_t k) { return vld1q_u8(static_cast<const uint8_t*>(p) + 16 * k); });
    }
    static TAUT_INLINE void store(void* p, Bytes v) {
        for (size_t k = 0; k < kParts; k++) vst1q_u8(static_cast<uint8_t*>(p) + 16 * k, v.at[k]);
    }
    static TAUT_INLINE Bytes bytes(int v) { return by_part([&](size_t) { return vdupq_n_u8(uint8_t(v)); }); }
    static TAUT_INLINE Bytes add(Bytes a, Bytes b) { return by_part([&](size_t k) { return vaddq_u8(a.at[k], b.at[k]); }); }
    static TAUT_INLINE Bytes sub(Bytes a, Bytes b) { return by_part([&](size_t k) { return vsubq_u8(a.at[k], b.at[k]); }); }
    static TAUT_INLINE Bytes exclusive(Bytes a, Bytes b) {
        return by_part([&](size_t k) { return veorq_u8(a.at[k], b.at[k]); });
    }
    static TAUT_INLINE Bytes and_(Bytes a, Bytes b) { return by_part([&](size_t k) { return vandq_u8(a.at[k], b.at[k]); }); }
    static TAUT_INLINE Mask at_least(Bytes a, Bytes b) {
        return by_part([&](size_t k) { return vcgeq_u8(a.at[k], b.at[k]); });
    }
    static TAUT_INLINE Mask less(Bytes a, Bytes b) { return by_part([&](size_t k) { return vcltq_u8(a.at[k], b.at[k]); }); }
    static TAUT_INLINE Mask set_in(Bytes v, Bytes bits) {
        return by_part([&](size_t k) { return vtstq_u8(v.at[k], bits.at[k]); });
    }
    static TAUT_INLINE Bytes pick(Mask m, Bytes yes, Bytes no) {
        return by_part([&](size_t k) { return vbslq_u8(m.at[k], yes.at[k], no.at[k]); });
    }
    static TAUT_INLINE Bytes add_unless(Mask m, Bytes v, Bytes by) {
        return by_part([&](size_t k) { return vaddq_u8(v.at[k], vbicq_u8(by.at[k], m.at[k])); });
    }
    static TAUT_INLINE Bytes keep(Mask m, Bytes v) { return and_(m, v); }
    template <int from, int bits>
    static TAUT_INLINE Bytes field(Bytes v) {
        return by_part([&](size_t k) {
            uint8x16_t of = v.at[k];
            if constexpr (from > 0) of = vshrq_n_u8(of, from);
            return from + bits == 8 ? of : vandq_u8(of, vdupq_n_u8((1 << bits) - 1));
        });
    }
    static TAUT_INLINE Bytes rare(Mask m, const Active& active) { return and_(m, active); }
    static TAUT_INLINE bool any(Bytes rare) { return vmaxvq_u8(vorrq_u8(rare.at[0], rare.at[1])) != 0; }
    static TAUT_INLINE uint64_t lanes_of(Bytes rare) {
        uint8_t lane[kLanes];
        store(lane, rare);
        uint64_t mask = 0;
        for (size_t i = 0; i < kLanes; i++) mask |= uint64_t(lane[i] & 1) << i;
        return mask;
    }
    static TAUT_INLINE Bytes as_bytes(Mask m) { return m; }
    static TAUT_INLINE Bytes closer(Bytes q, Mask odd) {
        return by_part([&](size_t k) {
            const int8x16_t of = vreinterpretq_s8_u8(q.at[k]);
            const uint8x16_t by = vsubq_u8(vcgtzq_s8(of), vcltzq_s8(of));  // 255 or -1 of positive q, 1 of negative
            return vaddq_u8(vaddq_u8(q.at[k], q.at[k]), vandq_u8(by, odd.at[k]));
        });
    }
    static TAUT_INLINE Bytes next(Bytes i) {
        const uint8x16_t states = vld1q_u8(wide::kNextState);
        return by_part([&](size_t k) { return vqtbl1q_u8(states, i.at[k]); });
    }

    // A lookup in 64 bytes is one instruction, which leaves lanes alone whose index is beyond: those of the next 64 bytes
    // are put there by the next one. The quantiser is a bit of the index where that fits a byte.
    template <int Bits, bool Trellis>
    struct Index {
        static constexpr int bits = Bits + (Trellis && Bits < 8);
        Bytes32 at[4];
        Mask odd;
        TAUT_INLINE Index(Bytes i, Mask odd_) : odd(odd_) {
            at[0] = Trellis && Bits < 8 ? add(i, and_(odd, bytes((1 << Bits) & 255))) : i;
            for (int k = 1; k < 4; k++) at[k] = sub(at[0], bytes(64 * k));
        }
        TAUT_INLINE Bytes find(const uint8_t* t) const {
            return Trellis && Bits == 8 ? pick(odd, within(t + 256), within(t)) : within(t);
        }

    private:
        TAUT_INLINE Bytes within(const uint8_t* t) const {
            if constexpr (bits == 4) {
                const uint8x16_t table = vld1q_u8(t);
                return by_part([&](size_t k) { return vqtbl1q_u8(table, at[0].at[k]); });
            } else if constexpr (bits == 5) {
                const uint8x16x2_t table = {{vld1q_u8(t), vld1q_u8(t + 16)}};
                return by_part([&](size_t k) { return vqtbl2q_u8(table, at[0].at[k]); });
            } else {
                Bytes v = by_part([&](size_t k) { return vqtbl4q_u8(table_at(t), at[0].at[k]); });
                for (int j = 1; j < 1 << (bits - 6); j++) {
                    const uint8x16x4_t table = table_at(t + 64 * j);
                    v = by_part([&](size_t k) { return vqtbx4q_u8(v.at[k], table, at[j].at[k]); });
                }
                return v;
            }
        }
        static TAUT_INLINE uint8x16x4_t table_at(const uint8_t* t) {
            return {{vld1q_u8(t), vld1q_u8(t + 16), vld1q_u8(t + 32), vld1q_u8(t + 48)}};
        }
    };

    using Quarter = uint8x16_t;
    static TAUT_INLINE Quarter load16(const int8_t* p) { return vld1q_u8(reinterpret_cast<const uint8_t*>(p)); }
    static TAUT_INLINE void store16(int8_t* p, Quarter v) { vst1q_u8(reinterpret_cast<uint8_t*>(p), v); }
    static TAUT_INLINE void interleave(Quarter a, Quarter b, Quarter& low, Quarter& high) {
        low = vzip1q_u8(a, b);
        high = vzip2q_u8(a, b);
    }
};

// What simd/numbers.hpp asks for.
struct NeonNumbers {
    struct Ints {
        int32x4_t at[4];
    };
    struct Floats {
        float32x4_t at[4];
    };
    static TAUT_INLINE Ints indices(const uint8_t* symbols) {
        return widened(vreinterpretq_s8_u8(veorq_u8(vld1q_u8(symbols), vdupq_n_u8(0x80))));
    }
    static TAUT_INLINE Ints levels(const int8_t* levels) { return widened(vld1q_s8(levels)); }
    static TAUT_INLINE Ints clamp(Ints i, int most) {
        for (int32x4_t& v : i.at) v = vminq_s32(vmaxq_s32(v, vdupq_n_s32(-most)), vdupq_n_s32(most));
        return i;
    }
    static TAUT_INLINE Floats look_up(Floats table, Ints i) {
        const auto part = [&](size_t k) { return vreinterpretq_u8_f32(table.at[k]); };
        const uint8x16x4_t whole = {{part(0), part(1), part(2), part(3)}};
        return by_four([&](size_t k) {
            const uint32x4_t entry = vandq_u32(vreinterpretq_u32_s32(i.at[k]), vdupq_n_u32(15));
            const uint32x4_t at = vmlaq_u32(vdupq_n_u32(0x03020100), entry, vdupq_n_u32(0x04040404));
            return vreinterpretq_f32_u8(vqtbl4q_u8(whole, bytes_of(at)));
        });
    }
    static TAUT_INLINE Floats load_floats(const float* p) {
        return by_four([&](size_t k) { return vld1q_f32(p + 4 * k); });
    }
    static TAUT_INLINE Floats floats(float v) { return by_four([&](size_t) { return vdupq_n_f32(v); }); }
    static TAUT_INLINE Floats from_ints(Ints i) { return by_four([&](size_t k) { return vcvtq_f32_s32(i.at[k]); }); }
    static TAUT_INLINE Floats plus(Floats a, Floats b) {
        return by_four([&](size_t k) { return vaddq_f32(a.at[k], b.at[k]); });
    }
    static TAUT_INLINE Floats minus(Floats a, Floats b) {
        return by_four([&](size_t k) { return vsubq_f32(a.at[k], b.at[k]); });
    }
    static TAUT_INLINE Floats times(Floats a, Floats b) {
        return by_four([&](size_t k) { return vmulq_f32(a.at[k], b.at[k]); });
    }
    template <Output output>
    static TAUT_INLINE void put(Floats v, uint8_t* out) {
        for (size_t k = 0; k < 4; k++) {
            if constexpr (output == Output::f32) {
                vst1q_u8(out + 16 * k, vreinterpretq_u8_f32(v.at[k]));
            } else if constexpr (output == Output::f64) {
                vst1q_u8(out + 32 * k, vreinterpretq_u8_f64(vcvt_f64_f32(vget_low_f32(v.at[k]))));
                vst1q_u8(out + 32 * k + 16, vreinterpretq_u8_f64(vcvt_f64_f32(vget_high_f32(v.at[k]))));
            } else {
                const uint16x4_t u = output == Output::f16 ? to_f16x4(v.at[k]) : to_bf16x4(v.at[k]);
                vst1_u8(out + 8 * k, vreinterpret_u8_u16(u));
            }
        }
    }

private:
    template <class Each>
    static TAUT_INLINE Floats by_four(Each each) {
        return {{each(0), each(1), each(2), each(3)}};
    }
    static TAUT_INLINE Ints widened(int8x16_t v) {
        const int16x8_t low = vmovl_s8(vget_low_s8(v)), high = vmovl_s8(vget_high_s8(v));
        return {{vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)), vmovl_s16(vget_low_s16(high)),
                 vmovl_s16(vget_high_s16(high))}};
    }
    static TAUT_INLINE uint16x4_t to_bf16x4(float32x4_t v) {
        const uint32x4_t u = vreinterpretq_u32_f32(v), odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
        const uint32x4_t even = vaddq_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
        return vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), even, vorrq_u32(u, vdupq_n_u32(0x400000))), 16);
    }
    static TAUT_INLINE uint16x4_t to_f16x4(float32x4_t v) {
        // The conversion would keep a NaN's payload: it goes first.
        const uint32x4_t kept = vorrq_u32(vceqq_f32(v, v), vdupq_n_u32(0xffc00000u));
        const uint32x4_t plain = vandq_u32(vreinterpretq_u32_f32(v), kept);
        return vreinterpret_u16_f16(vcvt_f16_f32(vreinterpretq_f32_u32(plain)));
    }
};

}  // namespace

size_t neon_merge(const SplitRule& rule, int width, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out);
size_t neon_count(const uint8_t* symbols, size_t n, uint8_t wanted);
const uint8_t* neon_patch(uint8_t* symbols, size_t n, uint8_t mark, const uint8_t* tail);

}  // namespace taut
