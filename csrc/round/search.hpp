// One row of a tile, written once for every instruction set: `Vec` is eight float lanes, one per trellis state.
// Everything is in an unnamed namespace, so that each processor's file keeps its own copy.
#pragma once
#include <cmath>

#include "matrix/matrix.hpp"
#include "round/tile.hpp"

namespace taut {
namespace {

constexpr float kNever = 1e30f;
constexpr float kLargestEven = 126.f;
constexpr size_t kEager = 16;  // columns whose targets follow every choice; those beyond follow all of these at once

// Every state is entered from two: from `first` by an even index if !odd_first, and from `second` by the other parity.
// This is kNextState turned round.
struct Entry {
    int32_t first[kStates] = {0, 2, 0, 2, 3, 1, 3, 1};
    int32_t second[kStates] = {4, 6, 4, 6, 7, 5, 7, 5};
    int32_t odd_first[kStates] = {0, 0, -1, -1, -1, -1, 0, 0};
    int32_t odd_quantiser[kStates] = {0, -1, 0, -1, 0, -1, 0, -1};
    float one_if_odd[kStates] = {0, 1, 0, 1, 0, 1, 0, 1};
    int32_t same[kStates] = {0, 1, 2, 3, 4, 5, 6, 7};
};
constexpr Entry kEntry{};

TAUT_INLINE float offset_of(const RoundSpec& s, float magnitude) {
    return magnitude == 0 ? 0.f : s.offsets[size_t(magnitude < 3 ? magnitude : 3) - 1];
}

TAUT_INLINE float bits_of(const std::array<float, 4>& at, float magnitude) {
    const float beyond = magnitude - 1;
    return magnitude == 0 ? at[0] : at[1] + beyond * (at[2] + beyond * at[3]);
}

// What the columns of row `i` of a tile have of their own.
inline void begin_row(Tile& t, size_t i) {
    const RoundSpec& s = *t.spec;
    const size_t row = t.row->first + i, last = s.curves.size() - 1;
    const float step = s.row_steps[row], weight = s.row_weights[row];
    for (size_t k = 0; k < t.width; k++) {
        t.steps[k] = step * s.column_scales[t.begin + k];
        t.inverses[k] = 1.f / t.steps[k];
        t.weights[k] = weight * s.column_weights[t.begin + k];
    }
    for (size_t k = 0; k < t.width; k++) {
        const size_t c = size_t(s.row_class[row]) + s.column_class[t.begin + k];
        t.curves[k] = s.curves.data() + (c < last ? c : last);
    }
}

// The Viterbi search along one row of a tile. Survivors hold the targets t of the columns to come.
template <class Vec>
class Search {
    using Mask = typename Vec::Mask;
    using Lanes = typename Vec::Lanes;

public:
    void begin(Tile& tile, size_t i) {
        t_ = &tile;
        i_ = i;
        wanted_ = tile.wanted + i * kTileColumns;
        const float* before = tile.feedback + i * kTileColumns;
        for (size_t k = 0; k < tile.width; k++) Vec(wanted_[k] + before[k]).store(tile.survivors.targets + k * kStates);
        for (int c = 0; c < kStates; c++) cost_[c] = kNever;
        cost_[tile.row->states[i]] = 0;
    }

    size_t width() const { return t_->width; }

    TAUT_INLINE void step(size_t k, size_t eager_end) {
        Survivors& v = t_->survivors;
        const RoundSpec& s = *t_->spec;
        const Lanes first = Vec::lanes(kEntry.first), second = Vec::lanes(kEntry.second);
        const Mask odd_first = Vec::mask(kEntry.odd_first);
        const Vec u = Vec::load(v.targets + k * kStates) * Vec(t_->inverses[k]);
        const Vec a = Vec::abs(u);
        // Magnitude of the level nearest to a, then that of each parity: levels are 2 q, or 2 q - 1.
        const Vec q = (a + Vec::load(kEntry.one_if_odd)) * Vec(0.5f);
        // Beyond 126 an index is an exception, which counts as odd.
        const Vec even_q = Vec::least(Vec::round(q * Vec(0.5f)) * Vec(2.f), Vec(kLargestEven));
        const Vec odd_q = Vec::most(Vec::round((q - Vec(1.f)) * Vec(0.5f)) * Vec(2.f) + Vec(1.f), Vec(1.f));
        const Candidate even = choose<false>(a, even_q, s, k), odd = choose<true>(a, odd_q, s, k);
        const Vec cost = Vec::load(cost_), even_cost = cost + even.cost, odd_cost = cost + odd.cost;
        // Of the two ways into each state the cheaper one survives.
        const Vec cost1 = Vec::select(odd_first, odd_cost.permute(first), even_cost.permute(first));
        const Vec cost2 = Vec::select(odd_first, even_cost.permute(second), odd_cost.permute(second));
        const Mask use2 = cost2 < cost1;
        Vec::select(use2, cost2, cost1).store(cost_);
        const Lanes parent = Vec::select_lanes(use2, second, first);
        const Mask by_odd = Vec::differ(use2, odd_first);
        const Vec sign = u.permute(parent);
        const auto survive = [&](Vec e, Vec o) {
            return Vec::copy_sign(Vec::select(by_odd, o.permute(parent), e.permute(parent)), sign);
        };
        const Vec level = survive(even.level, odd.level);
        survive(even.magnitude, odd.magnitude).store(v.choices + k * kStates);
        level.store(v.levels + k * kStates);
        Vec::store_lanes(parent, v.parents + k * kStates);
        if (s.columns_factor == nullptr) return;
        const Vec missed = Vec(wanted_[k]) - level * Vec(t_->steps[k]);
        missed.store(v.missed + k * kStates);
        const float* factor = t_->factor + k * kTileColumns;
        for (size_t l = k + 1; l < eager_end; l++) {
            float* target = v.targets + l * kStates;
            (Vec::load(target).permute(parent) + missed * Vec(factor[l])).store(target);
        }
    }

    // What the survivors missed at columns `from` to `to` goes to the targets beyond, along each one's own path.
    void pass_on(size_t from, size_t to) {
        if (t_->spec->columns_factor == nullptr || to >= t_->width) return;
        Survivors& v = t_->survivors;
        Vec missed[kEager];
        Lanes path = Vec::lanes(kEntry.same);
        for (size_t k = to; k-- > from;) {
            missed[k - from] = Vec::load(v.missed + k * kStates).permute(path);
            path = Vec::permute_lanes(Vec::lanes(v.parents + k * kStates), path);
        }
        size_t l = to;
        for (; l + 8 <= t_->width; l += 8) pass_on_to<8>(missed, path, from, to, l);
        for (; l < t_->width; l++) pass_on_to<1>(missed, path, from, to, l);
    }

    // The best way back through the row.
    void end() {
        const Survivors& v = t_->survivors;
        int best = 0;
        for (int c = 1; c < kStates; c++)
            if (cost_[c] < cost_[best]) best = c;
        t_->row->states[i_] = uint8_t(best);
        for (size_t k = t_->width; k-- > 0;) {
            const size_t at = k * kStates + size_t(best);
            t_->row_indices[k] = int32_t(v.choices[at]);
            t_->row_levels[k] = v.levels[at];
            best = v.parents[at];
        }
    }

private:
    struct Candidate {
        Vec magnitude, level, cost;
    };

    // One parity's best magnitude: the nearest, or the next one towards zero if its bits make up for it.
    template <bool kOdd>
    TAUT_INLINE Candidate choose(Vec a, Vec nearest, const RoundSpec& s, size_t k) const {
        const Vec closer = Vec::most(nearest - Vec(2.f), Vec(kOdd ? 1.f : 0.f));
        const Vec far_level = level_at<kOdd>(nearest, s), near_level = level_at<kOdd>(closer, s);
        Vec far_cost = price(a - far_level, k), near_cost = price(a - near_level, k);
        if (s.lambda > 0) {
            far_cost = far_cost + Vec(s.lambda) * bits_at<kOdd>(nearest, *t_->curves[k]);
            near_cost = near_cost + Vec(s.lambda) * bits_at<kOdd>(closer, *t_->curves[k]);
        }
        const Mask take = near_cost < far_cost;
        return {Vec::select(take, closer, nearest), Vec::select(take, near_level, far_level),
                Vec::select(take, near_cost, far_cost)};
    }

    TAUT_INLINE Vec price(Vec distance, size_t k) const { return distance * distance * Vec(t_->weights[k]); }

    template <bool kOdd>
    static TAUT_INLINE Vec level_at(Vec q, const RoundSpec& s) {
        const Vec zero(0.f), one_if_odd = Vec::load(kEntry.one_if_odd);
        const Vec level = q + q - (kOdd ? one_if_odd : Vec::select(zero < q, one_if_odd, zero));
        if (s.offsets[0] == 0 && s.offsets[1] == 0 && s.offsets[2] == 0) return level;
        const Vec beyond = Vec::select(q < Vec(2.5f), Vec(s.offsets[1]), Vec(s.offsets[2]));
        return level - Vec::select(q < Vec(0.5f), zero, Vec::select(q < Vec(1.5f), Vec(s.offsets[0]), beyond));
    }

    template <bool kOdd>
    static TAUT_INLINE Vec bits_at(Vec q, const RateCurve& curve) {
        const Mask odd_quantiser = Vec::mask(kEntry.odd_quantiser);
        const auto pick = [&](int k) { return Vec::select(odd_quantiser, Vec(curve.at[1][k]), Vec(curve.at[0][k])); };
        const Vec beyond = q - Vec(1.f);
        const Vec bits = pick(1) + beyond * (pick(2) + beyond * pick(3));
        return kOdd ? bits : Vec::select(q < Vec(0.5f), pick(0), bits);
    }

    template <int kMany>
    TAUT_INLINE void pass_on_to(const Vec* missed, Lanes path, size_t from, size_t to, size_t l) {
        float* target = t_->survivors.targets + l * kStates;
        const float* factor = t_->factor + from * kTileColumns + l;
        Vec sums[kMany];
        for (int j = 0; j < kMany; j++) sums[j] = Vec::load(target + j * kStates).permute(path);
        for (size_t k = 0; k < to - from; k++, factor += kTileColumns)
            for (int j = 0; j < kMany; j++) sums[j] = sums[j] + missed[k] * Vec(factor[j]);
        for (int j = 0; j < kMany; j++) sums[j].store(target + j * kStates);
    }

    Tile* t_ = nullptr;
    size_t i_ = 0;
    const float* wanted_ = nullptr;
    float cost_[kStates];
};

// Without a trellis: each weight goes to the cheaper of the two levels around it.
inline void round_plainly(Tile& t, size_t i) {
    const RoundSpec& s = *t.spec;
    const float* wanted = t.wanted + i * kTileColumns;
    const float* before = t.feedback + i * kTileColumns;
    float* target = t.survivors.targets;
    for (size_t k = 0; k < t.width; k++) target[k] = wanted[k] + before[k];
    for (size_t k = 0; k < t.width; k++) {
        const std::array<float, 4>& bits = t.curves[k]->at[0];
        const float a = std::fabs(target[k] / t.steps[k]), weight = t.weights[k];
        const float upper = std::floor(a) + 1, lower = std::floor(a);
        const auto price = [&](float q) {
            const float distance = a - (q - offset_of(s, q));
            return distance * distance * weight + (s.lambda > 0 ? s.lambda * bits_of(bits, q) : 0.f);
        };
        const float q = price(upper) < price(lower) ? upper : lower;
        const float level = q - offset_of(s, q);
        t.row_indices[k] = int32_t(target[k] < 0 ? -q : q);
        t.row_levels[k] = target[k] < 0 ? -level : level;
        if (s.columns_factor == nullptr) continue;
        const float missed = wanted[k] - t.row_levels[k] * t.steps[k];
        const float* factor = t.factor + k * kTileColumns;
        for (size_t l = k + 1; l < t.width; l++) target[l] += missed * factor[l];
    }
}

}  // namespace
}  // namespace taut
