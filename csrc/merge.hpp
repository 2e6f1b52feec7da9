// Symbols and raw bits to values, one row at a time: the portable kernels. A row's raw bits start at a byte and at
// least eight bytes behind them are readable.
#pragma once
#include <cmath>

#include "array.hpp"

namespace laconic {

// How the values of an array are put together; the same for all its rows.
struct SplitRule {
    Mode mode;
    int low;        // raw bits that a value has
    int drop;       // of which this many trailing ones are zero and absent in this row
    bool skip_zero;
    uint64_t base;
};

struct ExceptionList {
    const uint8_t* next;
    const uint8_t* end;
};

template <class T>
T join(const SplitRule& rule, uint64_t high, uint64_t raw) {
    constexpr int bits = int(sizeof(T)) * 8;
    if (rule.mode == Mode::float_) {
        const int mantissa = rule.low - 1;  // the raw field's top bit is the sign
        const uint64_t low = raw & ((uint64_t(1) << mantissa) - 1);
        return T((high << mantissa | low) | (raw >> mantissa & 1) << (bits - 1));
    }
    const uint64_t value = high << rule.low | raw;
    return T(rule.mode == Mode::signed_ ? value ^ uint64_t(1) << (bits - 1) : value);
}

// Returns the number of raw bytes used; throws when the exception list runs out.
template <class T>
size_t merge_row(const SplitRule& rule, const uint8_t* symbols, const uint8_t* raw, size_t n, ExceptionList& exceptions,
                 T* out) {
    const int packed = rule.low - rule.drop;
    const uint64_t mask = (uint64_t(1) << packed) - 1;
    size_t bit = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t s = symbols[i];
        if (s == 0 && rule.skip_zero) {
            out[i] = 0;
            continue;
        }
        const uint64_t field = (load64(raw + (bit >> 3)) >> (bit & 7) & mask) << rule.drop;
        bit += size_t(packed);
        uint64_t high = s == 0 ? 0 : rule.base + s - 1;
        if (s == kException) {
            if (size_t(exceptions.end - exceptions.next) < sizeof(T)) throw FormatError("exception list ends early");
            T value;
            std::memcpy(&value, exceptions.next, sizeof value);
            exceptions.next += sizeof value;
            high = value;
        }
        out[i] = join<T>(rule, high, field);
    }
    return (bit + 7) >> 3;
}

// Indices to numbers: q * step + shift[clamp(q, -3, 3) + 3], both roundings in float32.
struct UniformRule {
    float step;
    std::array<float, 8> shift;
};

inline UniformRule uniform_rule(const ArrayHeader& h) {
    UniformRule r{h.step, {}};
    for (int k = 1; k <= 3; k++) {
        const float by = h.offsets[size_t(k - 1)] * h.step;
        r.shift[size_t(3 + k)] = -by;
        r.shift[size_t(3 - k)] = by;
    }
    return r;
}

inline float reconstruct(const UniformRule& r, int32_t q) {
    const float level = float(q) * r.step;
    return level + r.shift[size_t((q < -3 ? -3 : q > 3 ? 3 : q) + 3)];
}

inline uint16_t to_bf16(float v) {
    uint32_t u;
    std::memcpy(&u, &v, 4);
    if ((u & 0x7fffffff) > 0x7f800000) return uint16_t(u >> 16 | 0x40);
    return uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

inline uint16_t to_f16(float v) {
    uint32_t u;
    std::memcpy(&u, &v, 4);
    const uint16_t sign = uint16_t(u >> 16 & 0x8000);
    u &= 0x7fffffff;
    if (u > 0x7f800000) return uint16_t(sign | 0x7e00);
    if (u >= 0x47800000) return uint16_t(sign | 0x7c00);  // 2^16 and up
    if (u < 0x38800000) {                                 // below 2^-14: multiples of 2^-24
        if (u < 0x33000000) return sign;
        const int shift = 126 - int(u >> 23);
        const uint32_t m = (u & 0x7fffff) | 0x800000;
        const uint32_t half = 1u << (shift - 1), rest = m & ((1u << shift) - 1);
        uint32_t q = m >> shift;
        if (rest > half || (rest == half && (q & 1))) q++;
        return uint16_t(sign | q);
    }
    const uint32_t rounded = u + 0xfff + (u >> 13 & 1);
    return uint16_t(sign | (rounded - 0x38000000) >> 13);  // a carry past 65504 gives infinity, as it should
}

inline void store(Output output, float v, uint8_t* out, size_t i) {
    switch (output) {
        case Output::f32: std::memcpy(out + 4 * i, &v, 4); break;
        case Output::f16: { const uint16_t u = to_f16(v); std::memcpy(out + 2 * i, &u, 2); break; }
        case Output::bf16: { const uint16_t u = to_bf16(v); std::memcpy(out + 2 * i, &u, 2); break; }
        case Output::f64: { const double d = v; std::memcpy(out + 8 * i, &d, 8); break; }
    }
}

inline void merge_uniform(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n,
                          ExceptionList& exceptions, uint8_t* out) {
    for (size_t i = 0; i < n; i++) {
        int32_t q = int32_t(symbols[i]) - 128;
        if (symbols[i] == kException) {
            if (exceptions.end - exceptions.next < 4) throw FormatError("exception list ends early");
            std::memcpy(&q, exceptions.next, 4);
            exceptions.next += 4;
        }
        store(output, reconstruct(rule, q), out, i);
    }
}

}  // namespace laconic
