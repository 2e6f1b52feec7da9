// Values, classes and symbols (docs/coding.md, "Delta").
#pragma once
#include <algorithm>
#include <bit>

#include "array/array.hpp"

namespace taut {

constexpr int kDeltaClasses = 64;
constexpr uint8_t kUntouched = 0;  // a row or column whose values are the base's; other bytes are scales, less 1

// Ordered of T in the order of the numbers that they are, and back.
template <class T>
struct Ordered {
    static constexpr T kTop = T(T(1) << (8 * sizeof(T) - 1));
    Mode mode;
    T order(T u) const {
        if (mode == Mode::unsigned_) return u;
        if (mode == Mode::signed_) return T(u ^ kTop);
        return u & kTop ? T(~u) : T(u | kTop);
    }
    T word(T o) const {
        if (mode == Mode::unsigned_) return o;
        if (mode == Mode::signed_) return T(o ^ kTop);
        return o & kTop ? T(o ^ kTop) : T(~o);
    }
    bool negative(T u) const { return mode != Mode::unsigned_ && (u & kTop); }
};

// Magnitudes as symbols and raw bits: small ones are symbols, of others the symbol has the length and the bits that follow
// the first one. Widths to 4 bytes: 16 small ones and two bits; 8 bytes: 4 small ones and one bit.
template <class T>
struct Magnitudes {
    static constexpr int kSmallBits = sizeof(T) < 8 ? 4 : 2, kTopBits = sizeof(T) < 8 ? 2 : 1;
    static constexpr uint64_t kSmall = uint64_t(1) << kSmallBits;
    static constexpr int kSymbols = int(kSmall) + ((8 * int(sizeof(T)) - kSmallBits) << kTopBits);
    static int length(uint64_t m) { return 64 - std::countl_zero(m); }
    static int symbol(uint64_t m) {
        if (m < kSmall) return int(m);
        const int n = length(m);
        const int top = int(m >> (n - 1 - kTopBits)) & ((1 << kTopBits) - 1);
        return int(kSmall) + ((n - kSmallBits - 1) << kTopBits) + top;
    }
    static int raw_bits(int symbol) {
        return symbol < int(kSmall) ? 0 : ((symbol - int(kSmall)) >> kTopBits) + kSmallBits - kTopBits;
    }
    // Without the raw bits, which are its lowest ones.
    static uint64_t upper(int symbol) {
        if (symbol < int(kSmall)) return uint64_t(symbol);
        const uint64_t top = uint64_t(1) << kTopBits | uint64_t(symbol & ((1 << kTopBits) - 1));
        return top << raw_bits(symbol);
    }
};

// How many values are the base's before one that is not: numbers below 2^22.
using Gaps = Magnitudes<uint32_t>;

// The class of each value of a row: the length that its difference is expected to have, from the base's exponent.
template <class T>
struct Classes {
    explicit Classes(const ArrayHeader& h) : mode(h.mode), shift(h.delta.shift), origin(h.delta.origin) {}
    Mode mode;
    int shift;
    int64_t origin;
    int key(T u) const {
        using W = Ordered<T>;
        return mode == Mode::float_ ? int(T(u & T(~W::kTop)) >> shift) : 0;
    }
    uint8_t of(T u, int scale) const {  // the bytes of row and column together
        return uint8_t(std::clamp<int64_t>(origin + scale - 2 - key(u), 0, kDeltaClasses - 1));
    }
};

}  // namespace taut
