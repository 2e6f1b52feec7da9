// Symbols and raw bits of a delta, and what they make of the base's values.
#pragma once
#include <cstring>

#include "delta/rules.hpp"
#include "simd/simd.hpp"

namespace taut {

// Raw bits, which may end anywhere: a load near the end takes what there is.
class RawBits {
public:
    RawBits(const uint8_t* data, size_t size) : data_(data), bits_(uint64_t(size) * 8) {}
    uint64_t get(int bits) {  // at most 63
        const uint64_t byte = at_ >> 3;
        const int skip = int(at_ & 7);
        at_ += uint64_t(bits);
        uint64_t window;
        if ((byte + 9) * 8 <= bits_) {
            window = load64(data_ + byte) >> skip;
            if (skip + bits > 64) window |= uint64_t(data_[byte + 8]) << (64 - skip);
        } else {
            window = near_end(byte, skip);
        }
        return window & ((uint64_t(1) << bits) - 1);
    }
    // Whether so many are left, and eight bytes beyond them.
    bool holds(uint64_t bits) const { return at_ + bits + 64 <= bits_; }
    const uint8_t* data() const { return data_; }
    DeltaBits bytes() const { return {data_, size_t(bits_ / 8)}; }
    uint64_t place() const { return at_; }
    void go_to(uint64_t at) { at_ = at; }
    // At most 56, which one load holds.
    uint64_t few(int bits) {
        const uint64_t byte = at_ >> 3;
        if ((byte + 8) * 8 > bits_) return get(bits);
        const uint64_t window = load64(data_ + byte) >> (at_ & 7);
        at_ += uint64_t(bits);
        return window & ((uint64_t(1) << bits) - 1);
    }
    bool all_read() const { return at_ <= bits_ && bits_ - at_ < 8; }

private:
    const uint8_t* data_;
    uint64_t bits_, at_ = 0;

    uint64_t near_end(uint64_t byte, int skip) const {
        uint64_t window = 0;
        for (uint64_t i = 0; i < 9 && (byte + i) * 8 < bits_; i++) {
            const uint64_t value = data_[byte + i];
            const int64_t place = int64_t(8 * i) - skip;
            if (place < 64) window |= place >= 0 ? value << place : value >> -place;
        }
        return window;
    }
};

// What the symbols do to values: how many raw bits, the magnitude without them, and the sign.
template <class T>
class Apply {
public:
    Apply(const ArrayHeader& h, RawBits& raw)
        : mode_(h.mode), exclusive_(h.delta.exclusive), simple_(h.delta.exclusive ? 4 : 5), raw_(raw) {
        using M = Magnitudes<T>;
        for (int s = 0; s < 256; s++) {
            const int m = exclusive_ ? s : s >> 1;
            const bool valid = m < M::kSymbols;
            bits_[s] = valid ? uint8_t(M::raw_bits(m)) : uint8_t(0);
            upper_[s] = valid ? T(M::upper(m)) : T(0);
        }
        // The word flipped as its order has it: all bits where it is negative, or its first.
        signs_ = mode_ == Mode::float_ ? T(~T(0)) : T(0);
        flip_ = mode_ == Mode::unsigned_ ? T(0) : kTop;
        negative_ = mode_ == Mode::unsigned_ ? T(0) : T(1);
    }
    // Values that follow one another.
    void run(const Kernels& kernels, const uint8_t* base, const uint8_t* symbols, size_t n, uint8_t* out) {
        constexpr size_t step = 32;
        size_t j = 0;
        if (kernels.delta_move) {
            uint64_t at = raw_.place();
            j = kernels.delta_move({int(sizeof(T)), exclusive_, signs_, flip_, negative_}, raw_.bytes(), base, symbols, n, at, out);
            raw_.go_to(at);
        }
        for (; j + step <= n; j += step) {
            const uint8_t* const s = symbols + j;
            const uint64_t any = load64(s) | load64(s + 8) | load64(s + 16) | load64(s + 24);
            if (!any) {
                std::memmove(out + j * sizeof(T), base + j * sizeof(T), step * sizeof(T));
            } else if (sizeof(T) < 8 && !(any & 0x0101010101010101 * uint64_t(0xff << simple_ & 0xff))) {
                small_ones(base + j * sizeof(T), s, step, out + j * sizeof(T));
            } else if (sizeof(T) < 8 && raw_.holds(step * 32)) {
                exclusive_ ? large_ones<true>(base + j * sizeof(T), s, step, out + j * sizeof(T))
                           : large_ones<false>(base + j * sizeof(T), s, step, out + j * sizeof(T));
            } else {
                for (size_t k = j; k < j + step; k++) one(base, k, symbols[k], out);
            }
        }
        for (; j < n; j++) one(base, j, symbols[j], out);
    }
    void one(const uint8_t* base, size_t j, uint8_t s, uint8_t* out) {
        T u;
        std::memcpy(&u, base + j * sizeof(T), sizeof u);
        u = changed(u, T(upper_[s] + T(sizeof(T) < 8 ? raw_.few(bits_[s]) : raw_.get(bits_[s]))), s);
        std::memcpy(out + j * sizeof(T), &u, sizeof u);
    }

private:
    static constexpr T kTop = Ordered<T>::kTop;
    Mode mode_;
    bool exclusive_;
    int simple_;  // symbols below 2^this have no raw bits, and are the number or its double
    T signs_, flip_, negative_;
    RawBits& raw_;
    uint8_t bits_[256];
    T upper_[256];

    // Without a branch: signs are a coin toss.
    T changed(T u, T m, uint8_t s) const {
        return exclusive_ ? T(u ^ m) : moved(u, m, s, signs_, flip_, negative_);
    }
    static T moved(T u, T m, uint8_t s, T signs, T flip, T negative) {
        const T first = T(u >> (8 * sizeof(T) - 1));
        const T down = T(T(0) - T((s & 1) ^ (first & negative)));
        const T o = T(u ^ T(T(T(T(0) - first) & signs) | flip));
        const T there = T(o + T(T(m ^ down) - down));
        const T below = T(T(there >> (8 * sizeof(T) - 1)) - T(1));  // all ones where the first bit is clear
        return T(there ^ T(T(below & signs) | flip));
    }
    // With copies of what is known: the compiler cannot tell that no value is written over it.
    template <bool exclusive>
    void large_ones(const uint8_t* base, const uint8_t* symbols, size_t n, uint8_t* out) {
        const T signs = signs_, flip = flip_, negative = negative_;
        const uint8_t* const data = raw_.data();
        uint64_t at = raw_.place();
        for (size_t k = 0; k < n; k++) {
            T u;
            std::memcpy(&u, base + k * sizeof(T), sizeof u);
            const uint8_t s = symbols[k];
            const uint64_t window = load64(data + (at >> 3)) >> (at & 7);
            const int bits = bits_[s];
            const T m = T(upper_[s] + T(window & ((uint64_t(1) << bits) - 1)));
            at += uint64_t(bits);
            if constexpr (exclusive)
                u = T(u ^ m);
            else
                u = moved(u, m, s, signs, flip, negative);
            std::memcpy(out + k * sizeof(T), &u, sizeof u);
        }
        raw_.go_to(at);
    }
    void small_ones(const uint8_t* base, const uint8_t* symbols, size_t n, uint8_t* out) const {
        const T signs = signs_, flip = flip_, negative = negative_;
        T words[32];
        std::memcpy(words, base, n * sizeof(T));
        if (exclusive_)
            for (size_t k = 0; k < n; k++) words[k] = T(words[k] ^ T(symbols[k]));
        else
            for (size_t k = 0; k < n; k++)
                words[k] = moved(words[k], T(symbols[k] >> 1), symbols[k], signs, flip, negative);
        std::memcpy(out, words, n * sizeof(T));
    }
};

}  // namespace taut
