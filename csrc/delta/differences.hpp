// What the values of some rows differ by from a base's; for the encoder alone.
#pragma once
#include <cstring>

#include "delta/rules.hpp"

namespace taut {

template <class T>
struct Differences {
    const uint8_t *values, *base;  // of the first of these rows
    Ordered<T> words;

    static T at(const uint8_t* from, uint64_t i) {
        T u;
        std::memcpy(&u, from + i * sizeof(T), sizeof u);
        return u;
    }
    T base_at(uint64_t i) const { return at(base, i); }
    bool differs(uint64_t i) const { return at(base, i) != at(values, i); }

    // Magnitude and sign of a difference; the sign says whether the value came nearer to zero.
    uint64_t magnitude(uint64_t i, bool& down) const {
        const T u = at(base, i), v = at(values, i);
        const T d = T(words.order(v) - words.order(u));
        const bool below = d & Ordered<T>::kTop;
        down = below != words.negative(u);
        return below ? T(T(0) - d) : d;
    }
    uint8_t symbol(uint64_t i, bool exclusive, uint64_t& found) const {
        using M = Magnitudes<T>;
        if (exclusive) {
            found = T(at(base, i) ^ at(values, i));
            return uint8_t(M::symbol(found));
        }
        bool down;
        found = magnitude(i, down);
        return found ? uint8_t(2 * M::symbol(found) + int(down)) : uint8_t(0);
    }
    static int raw_bits(uint8_t s, bool exclusive) {
        using M = Magnitudes<T>;
        return M::raw_bits(exclusive ? s : s >> 1);
    }
};

}  // namespace taut
