// The rules by which values are put together, and symbols and raw bits to values, one row at a time. A row's raw bits start at a byte and at
// least sixteen bytes behind them are readable.
#pragma once
#include "array/array.hpp"

namespace taut {

// How the values of an array are put together; the same for all its rows.
struct SplitRule {
    Mode mode;
    int low;        // raw bits that a value has
    int drop;       // of which this many trailing ones are zero and absent in this row
    bool skip_zero;
    uint64_t base;
    int packed() const { return low - drop; }
};

// Indices to numbers: q * step + shift[clamp(q, -3, 3) + 3], both roundings in float32.
struct UniformRule {
    float step;
    std::array<float, 8> shift;
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

// The next entry of a chunk's exception list; behind the last are zeros, and ended() remembers them.
class Exceptions {
public:
    Exceptions(const uint8_t* data, size_t size) : next_(data), end_(data + size) {}
    template <class T>
    T take() {
        T value{};
        if (size_t(end_ - next_) < sizeof(T)) return ended_ = true, value;
        std::memcpy(&value, next_, sizeof value);
        next_ += sizeof value;
        return value;
    }
    bool used_up() const { return next_ == end_; }
    bool ended() const { return ended_; }

private:
    const uint8_t *next_, *end_;
    bool ended_ = false;
};

inline uint64_t field_at(const SplitRule& rule, const uint8_t* raw, size_t i) {
    const size_t bit = i * size_t(rule.packed());
    return (load64(raw + (bit >> 3)) >> (bit & 7) & ((uint64_t(1) << rule.packed()) - 1)) << rule.drop;
}

// Callers may give any address: values are stored without a claim to alignment.
template <class T>
void put(uint8_t* out, size_t i, T value) {
    std::memcpy(out + i * sizeof(T), &value, sizeof(T));
}

// Values `from` .. n of a row whose zeros carry raw bits too.
template <class T>
void merge_plain(SplitRule rule, const uint8_t* symbols, const uint8_t* raw, size_t from, size_t n,
                 Exceptions& exceptions, uint8_t* out) {
    // Bytes without raw bits, many at a time: a chunk has as many exceptions as are left for its rows.
    if (sizeof(T) == 1 && rule.low == 0 && rule.mode == Mode::unsigned_ && exceptions.used_up()) {
        const uint8_t lead = uint8_t(rule.base - 1);
        for (size_t i = from; i < n; i++) out[i] = symbols[i] ? uint8_t(symbols[i] + lead) : uint8_t(0);
        return;
    }
    for (size_t i = from; i < n; i++) {
        const uint8_t s = symbols[i];
        const uint64_t high = s == kException ? exceptions.take<T>() : s == 0 ? 0 : rule.base + s - 1;
        put<T>(out, i, join<T>(rule, high, field_at(rule, raw, i)));
    }
}

// A row whose zeros are bare: the fields of the others follow one another.
template <class T>
void merge_sparse(SplitRule rule, const uint8_t* symbols, const uint8_t* raw, size_t n, Exceptions& exceptions,
                  uint8_t* out) {
    size_t field = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t s = symbols[i];
        if (s == 0 || s == kMinusZero) {
            put<T>(out, i, s == 0 ? T(0) : T(T(1) << (sizeof(T) * 8 - 1)));
            continue;
        }
        const uint64_t high = s == kException ? exceptions.take<T>() : rule.base + s - 1;
        put<T>(out, i, join<T>(rule, high, field_at(rule, raw, field++)));
    }
}

// Values 0 .. n that a wide kernel has put together as if no symbol were an exception: sets those right.
template <class T>
void mend_exceptions(const SplitRule& rule, const uint8_t* symbols, const uint8_t* raw, size_t n,
                     Exceptions& exceptions, uint8_t* out) {
    for (const uint8_t* s = symbols; (s = static_cast<const uint8_t*>(
                                          std::memchr(s, kException, size_t(symbols + n - s)))) != nullptr;) {
        const size_t i = size_t(s - symbols);
        put<T>(out, i, join<T>(rule, exceptions.take<T>(), field_at(rule, raw, i)));
        if (++s == symbols + n) break;
    }
}

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

// What each symbol decodes to, 256 values of the output type: small enough for the first-level cache.
inline std::array<uint8_t, 256 * 8> level_table(const UniformRule& rule, Output output) {
    std::array<uint8_t, 256 * 8> levels{};
    for (int s = 0; s < 256; s++) store(output, reconstruct(rule, s - 128), levels.data(), size_t(s));
    return levels;
}

template <class T>
void look_up(const uint8_t* levels, const uint8_t* symbols, size_t n, uint8_t* out) {
    for (size_t i = 0; i < n; i++) std::memcpy(out + i * sizeof(T), levels + symbols[i] * sizeof(T), sizeof(T));
}

inline void look_up(int width, const uint8_t* levels, const uint8_t* symbols, size_t n, uint8_t* out) {
    switch (width) {
        case 2: return look_up<uint16_t>(levels, symbols, n, out);
        case 4: return look_up<uint32_t>(levels, symbols, n, out);
        default: return look_up<uint64_t>(levels, symbols, n, out);
    }
}

inline void mend_uniform(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n,
                         Exceptions& exceptions, uint8_t* out) {
    for (size_t i = 0; i < n; i++)
        if (symbols[i] == kException) store(output, reconstruct(rule, exceptions.take<int32_t>()), out, i);
}

}  // namespace taut
