// Eight lanes for any processor, in plain loops that compilers make instructions of.
#pragma once
#include <algorithm>
#include <cmath>

#include "round/tile.hpp"

namespace taut {
namespace {

struct Portable {
    static constexpr int kLanes = kStates;
    struct Lanes {
        int32_t at[kStates];
    };
    using Mask = Lanes;
    float at[kStates];

    Portable() = default;
    explicit Portable(float x) {
        for (float& lane : at) lane = x;
    }
    template <class Act>
    static Portable each(Act act) {
        Portable v;
        for (int c = 0; c < kStates; c++) v.at[c] = act(c);
        return v;
    }
    static Portable load(const float* p) {
        return each([&](int c) { return p[c]; });
    }
    void store(float* p) const { std::copy(at, at + kStates, p); }
    static Lanes lanes(const int32_t* p) {
        Lanes l;
        std::copy(p, p + kStates, l.at);
        return l;
    }
    static Mask mask(const int32_t* p) { return lanes(p); }
    static void store_lanes(const Lanes& l, int32_t* p) { std::copy(l.at, l.at + kStates, p); }
    static Portable select(const Mask& m, const Portable& a, const Portable& b) {
        return each([&](int c) { return m.at[c] ? a.at[c] : b.at[c]; });
    }
    static Lanes select_lanes(const Mask& m, const Lanes& a, const Lanes& b) {
        Lanes l;
        for (int c = 0; c < kStates; c++) l.at[c] = m.at[c] ? a.at[c] : b.at[c];
        return l;
    }
    static Lanes permute_lanes(const Lanes& l, const Lanes& from) {
        Lanes to;
        for (int c = 0; c < kStates; c++) to.at[c] = l.at[from.at[c]];
        return to;
    }
    static Mask differ(const Mask& a, const Mask& b) {
        Mask m;
        for (int c = 0; c < kStates; c++) m.at[c] = a.at[c] ^ b.at[c];
        return m;
    }
    static Portable most(const Portable& a, const Portable& b) {
        return each([&](int c) { return a.at[c] > b.at[c] ? a.at[c] : b.at[c]; });
    }
    static Portable least(const Portable& a, const Portable& b) {
        return each([&](int c) { return a.at[c] < b.at[c] ? a.at[c] : b.at[c]; });
    }
    static Portable abs(const Portable& a) {
        return each([&](int c) { return std::fabs(a.at[c]); });
    }
    static Portable round(const Portable& a) {
        return each([&](int c) { return std::nearbyint(a.at[c]); });
    }
    static Portable copy_sign(const Portable& a, const Portable& sign) {
        return each([&](int c) { return std::copysign(a.at[c], sign.at[c]); });
    }
    Portable permute(const Lanes& from) const {
        return each([&](int c) { return at[from.at[c]]; });
    }
    friend Portable operator+(const Portable& a, const Portable& b) {
        return each([&](int c) { return a.at[c] + b.at[c]; });
    }
    friend Portable operator-(const Portable& a, const Portable& b) {
        return each([&](int c) { return a.at[c] - b.at[c]; });
    }
    friend Portable operator*(const Portable& a, const Portable& b) {
        return each([&](int c) { return a.at[c] * b.at[c]; });
    }
    friend Mask operator<(const Portable& a, const Portable& b) {
        Mask m;
        for (int c = 0; c < kStates; c++) m.at[c] = a.at[c] < b.at[c] ? -1 : 0;
        return m;
    }
};

}  // namespace
}  // namespace taut
