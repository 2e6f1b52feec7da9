// Rows of values to symbols, raw bits and exceptions: what both kinds of array give their chunks.
#pragma once
#include <algorithm>

#include "simd/simd.hpp"

namespace taut {

struct Layout {
    uint64_t count, row_length, rows;
    size_t length(uint64_t r) const { return size_t(std::min(row_length, count - r * row_length)); }
};

inline uint64_t symbol_distance(const EncodeKernels& kernels, const uint8_t* symbols, size_t n, uint8_t centre) {
    if (kernels.distance) return kernels.distance(symbols, n, centre);
    uint32_t sum = 0;  // a row has at most 2^22 values of at most 255
    for (size_t i = 0; i < n; i++) sum += uint32_t(symbols[i] > centre ? symbols[i] - centre : centre - symbols[i]);
    return sum;
}

// Words of type T at any address: callers hand over bytes, of a mapped file perhaps, without a claim to alignment.
template <class T>
struct Words {
    const uint8_t* bytes;
    T operator[](size_t i) const {
        T word;
        std::memcpy(&word, bytes + i * sizeof(T), sizeof(T));
        return word;
    }
    Words operator+(size_t n) const { return {bytes + n * sizeof(T)}; }
};

template <class T>
Words<T> words_of(const std::vector<T>& v) {
    return {reinterpret_cast<const uint8_t*>(v.data())};
}

// Lossless: words of type T, split by one rule.
template <class T>
struct SplitRows {
    Words<T> values;
    SplitRule rule;  // without drop
    const EncodeKernels& kernels;
    uint64_t origin = 0;  // number of the first value that is at hand, where that is not the array's first

    static constexpr T top = T(T(1) << (sizeof(T) * 8 - 1));
    static T key(T u, Mode mode) {
        return mode == Mode::float_ ? T(u & T(~top)) : mode == Mode::signed_ ? T(u ^ top) : u;
    }
    int shift() const { return rule.mode == Mode::float_ ? rule.low - 1 : rule.low; }

    void symbols(uint64_t from, size_t n, uint8_t* out) const {
        const Words<T> v = values + (from - origin);
        size_t done = 0;
        if (kernels.symbols) done = kernels.symbols(rule, sizeof(T), v.bytes, n, out);
        const T first = T(rule.base);
        const int by = shift();
        for (size_t i = done; i < n; i++) {
            const T h = T(key(v[i], rule.mode) >> by);
            const T s = T(h - first + 1);  // wraps below the window
            out[i] = h >= first && s < kException ? uint8_t(s) : h == 0 ? 0 : kException;
        }
        if (!rule.skip_zero) return;
        // Both zeros are bare; what else has a zero upper part, or the symbol that -0 takes, is an exception.
        for (size_t i = 0; i < n; i++) {
            const bool taken = out[i] == kMinusZero || (out[i] == 0 && v[i] != 0);
            out[i] = v[i] == top ? kMinusZero : taken ? kException : out[i];
        }
    }

    // Raw bits of a row: at most n * low / 8 + 1 bytes, and 64 more are writable.
    uint8_t* pack(uint64_t from, size_t n, int drop, uint8_t* out) const {
        if (rule.low == drop) return out;
        const Words<T> v = values + (from - origin);
        if (!rule.skip_zero) return pack_fields(v, n, drop, out);
        static thread_local std::vector<T> kept;
        kept.resize(std::max(kept.size(), n));
        size_t m = 0;
        for (size_t i = 0; i < n; i++) {
            kept[m] = v[i];
            m += key(v[i], Mode::float_) != 0;
        }
        return pack_fields(words_of(kept), m, drop, out);
    }

    uint8_t* pack_fields(Words<T> v, size_t n, int drop, uint8_t* out) const {
        SplitRule dropped = rule;
        dropped.drop = drop;
        const int packed = rule.low - drop, plain = shift();
        size_t done = 0;
        if (kernels.pack) {
            done = kernels.pack(dropped, sizeof(T), v.bytes, n, out);
            out += done / 8 * size_t(packed);
        }
        const uint64_t mask = (uint64_t(1) << plain) - 1;
        uint64_t hold = 0;
        int fill = 0;
        for (size_t i = done; i < n; i++) {
            uint64_t field = uint64_t(v[i]) & mask;
            if (rule.mode == Mode::float_) field |= (uint64_t(v[i]) >> (sizeof(T) * 8 - 1)) << plain;
            field >>= drop;
            hold |= field << fill;
            fill += packed;
            if (fill < 64) continue;
            std::memcpy(out, &hold, 8);
            out += 8;
            fill -= 64;
            hold = fill ? field >> (packed - fill) : 0;
        }
        std::memcpy(out, &hold, 8);
        return out + (fill + 7) / 8;
    }

    void exception(uint64_t at, std::vector<uint8_t>& list) const {
        const T high = T(key(values[at - origin], rule.mode) >> shift());
        const auto* p = reinterpret_cast<const uint8_t*>(&high);
        list.insert(list.end(), p, p + sizeof high);
    }
};

// Indices of a uniform quantiser: no raw bits.
struct IndexRows {
    const int32_t* indices;
    uint64_t origin = 0;  // number of the first that is at hand

    void symbols(uint64_t from, size_t n, uint8_t* out) const {
        for (size_t i = 0; i < n; i++) {
            const uint32_t s = uint32_t(indices[from - origin + i]) + 128;
            out[i] = s - 1 < 254 ? uint8_t(s) : kException;
        }
    }
    uint8_t* pack(uint64_t, size_t, int, uint8_t* out) const { return out; }
    void exception(uint64_t at, std::vector<uint8_t>& list) const {
        const auto* p = reinterpret_cast<const uint8_t*>(indices + (at - origin));
        list.insert(list.end(), p, p + sizeof(int32_t));
    }
};

}  // namespace taut
