// One block of columns, written once for every instruction set: `Vec` is eight float lanes, one per trellis state.
// Everything is in an unnamed namespace, so that each processor's file keeps its own copy.
#pragma once
#include <cmath>
#include <cstring>

#include "matrix/matrix.hpp"
#include "round/round.hpp"

namespace taut {

constexpr size_t kRoundColumns = 128;  // of a block; a row's search is settled where a block ends

// Some rows while they are rounded, one block of columns after the other. Rows count from `first` in these buffers.
struct RoundTask {
    size_t first = 0, last = 0;
    float* feedback = nullptr;    // rows x columns: sum over the finished blocks of A_kj (w' - v)_ik
    float* errors = nullptr;      // rows x columns: W - V; null where rows are independent
    float* missed = nullptr;      // rows x kRoundColumns: w' - v of this block
    uint8_t* states = nullptr;    // of the trellis, per row
    float* survivors = nullptr;   // kRoundColumns x 8: targets of the columns to come
    float* choices = nullptr;     // kRoundColumns x 8: index
    int32_t* parents = nullptr;   // kRoundColumns x 8: survivor that a survivor comes from
    int32_t* indices = nullptr;   // of the whole matrix
    float* decoded = nullptr;     // of the whole matrix, or null
};

// Rounds columns `begin` to `end` of the task's rows and passes their errors on to the columns behind.
void avx2_round_columns(const RoundSpec& spec, const RoundTask& task, size_t begin, size_t end);
namespace {

constexpr int kStates = 8;
constexpr float kNever = 1e30f;
constexpr float kLargestEven = 126.f;

// Every state is entered from two: from `first` by an even index if !odd_first, and from `second` by the other parity.
// This is kNextState turned round.
struct Entry {
    int32_t first[kStates] = {0, 2, 0, 2, 3, 1, 3, 1};
    int32_t second[kStates] = {4, 6, 4, 6, 7, 5, 7, 5};
    int32_t odd_first[kStates] = {0, 0, -1, -1, -1, -1, 0, 0};
};
constexpr Entry kEntry{};

TAUT_INLINE float offset_of(const RoundSpec& s, int64_t magnitude) {
    return magnitude == 0 ? 0.f : s.offsets[size_t(magnitude < 3 ? magnitude : 3) - 1];
}

TAUT_INLINE float bits_of(const std::array<float, 4>& at, float magnitude) {
    const float beyond = magnitude - 1;
    return magnitude == 0 ? at[0] : at[1] + beyond * (at[2] + beyond * at[3]);
}

TAUT_INLINE const RateCurve& curve_of(const RoundSpec& s, size_t i, size_t j) {
    const size_t c = size_t(s.row_class[i]) + s.column_class[j];
    return s.curves.data()[c < s.curves.size() ? c : s.curves.size() - 1];
}

// One parity's best magnitude: the nearest, or the next one towards zero if its bits make up for it.
template <class Vec>
struct Candidate {
    Vec magnitude, level, cost;

    TAUT_INLINE Candidate(Vec a, Vec nearest, Vec least, typename Vec::Mask odd_quantiser, const RoundSpec& s,
                             const RateCurve& curve, float weight) {
        const Vec closer = Vec::most(nearest - Vec(2.f), least);
        const Vec far_level = level_at(nearest, odd_quantiser, s), near_level = level_at(closer, odd_quantiser, s);
        Vec far_cost = price(a - far_level, weight), near_cost = price(a - near_level, weight);
        if (s.lambda > 0) {
            far_cost = far_cost + Vec(s.lambda) * bits_at(nearest, odd_quantiser, curve);
            near_cost = near_cost + Vec(s.lambda) * bits_at(closer, odd_quantiser, curve);
        }
        const typename Vec::Mask take = near_cost < far_cost;
        magnitude = Vec::select(take, closer, nearest);
        level = Vec::select(take, near_level, far_level);
        cost = Vec::select(take, near_cost, far_cost);
    }

    static TAUT_INLINE Vec price(Vec distance, float weight) { return distance * distance * Vec(weight); }

    static TAUT_INLINE Vec level_at(Vec q, typename Vec::Mask odd_quantiser, const RoundSpec& s) {
        const Vec zero(0.f), some = Vec::select(zero < q, Vec(1.f), zero);
        const Vec level = q + q - Vec::select(odd_quantiser, some, zero);
        const Vec beyond = Vec::select(q < Vec(2.5f), Vec(s.offsets[1]), Vec(s.offsets[2]));
        return level - Vec::select(q < Vec(0.5f), zero, Vec::select(q < Vec(1.5f), Vec(s.offsets[0]), beyond));
    }

    static TAUT_INLINE Vec bits_at(Vec q, typename Vec::Mask odd_quantiser, const RateCurve& curve) {
        const auto pick = [&](int k) { return Vec::select(odd_quantiser, Vec(curve.at[1][k]), Vec(curve.at[0][k])); };
        const Vec beyond = q - Vec(1.f);
        const Vec bits = pick(1) + beyond * (pick(2) + beyond * pick(3));
        return Vec::select(q < Vec(0.5f), pick(0), bits);
    }
};

// The Viterbi search along one row of a block. `wanted` are w'; survivors hold the targets t of the columns to come.
template <class Vec>
void search_trellis(const RoundSpec& s, const RoundTask& task, size_t i, size_t begin, size_t n, const float* wanted) {
    using Mask = typename Vec::Mask;
    using Lanes = typename Vec::Lanes;
    const Lanes first = Vec::lanes(kEntry.first), second = Vec::lanes(kEntry.second);
    const Mask odd_first = Vec::mask(kEntry.odd_first);
    constexpr int32_t alternate[kStates] = {0, -1, 0, -1, 0, -1, 0, -1};
    const Mask odd_quantiser = Vec::mask(alternate);
    const float* before = task.feedback + (i - task.first) * s.columns + begin;
    for (size_t k = 0; k < n; k++) Vec(wanted[k] + before[k]).store(task.survivors + k * kStates);
    float start[kStates];
    for (int c = 0; c < kStates; c++) start[c] = kNever;
    start[task.states[i - task.first]] = 0;
    Vec cost = Vec::load(start);
    for (size_t k = 0; k < n; k++) {
        const size_t j = begin + k;
        const float step = s.row_steps[i] * s.column_scales[j], weight = s.row_weights[i] * s.column_weights[j];
        const RateCurve& curve = curve_of(s, i, j);
        const Vec u = Vec::load(task.survivors + k * kStates) * Vec(1.f / step);
        const Vec a = Vec::abs(u);
        // Magnitude of the level nearest to a, then that of each parity: levels are 2 q, or 2 q - 1.
        const Vec q = Vec::select(odd_quantiser, a + Vec(1.f), a) * Vec(0.5f);
        // Beyond 126 an index is an exception, which counts as odd.
        const Vec even_q = Vec::least(Vec::round(q * Vec(0.5f)) * Vec(2.f), Vec(kLargestEven));
        const Vec odd_q = Vec::most(Vec::round((q - Vec(1.f)) * Vec(0.5f)) * Vec(2.f) + Vec(1.f), Vec(1.f));
        const Candidate<Vec> even(a, even_q, Vec(0.f), odd_quantiser, s, curve, weight);
        const Candidate<Vec> odd(a, odd_q, Vec(1.f), odd_quantiser, s, curve, weight);
        const Vec even_cost = cost + even.cost, odd_cost = cost + odd.cost;
        // Of the two ways into each state the cheaper one survives.
        const auto from_first = [&](Vec e, Vec o) { return Vec::select(odd_first, o.permute(first), e.permute(first)); };
        const auto from_second = [&](Vec e, Vec o) {
            return Vec::select(odd_first, e.permute(second), o.permute(second));
        };
        const Vec cost1 = from_first(even_cost, odd_cost), cost2 = from_second(even_cost, odd_cost);
        const Mask use2 = cost2 < cost1;
        cost = Vec::select(use2, cost2, cost1);
        const auto survive = [&](Vec e, Vec o) { return Vec::select(use2, from_second(e, o), from_first(e, o)); };
        const Vec magnitude = survive(even.magnitude, odd.magnitude), level = survive(even.level, odd.level);
        const Lanes parent = Vec::select_lanes(use2, second, first);
        const Vec sign = u.permute(parent);
        Vec::copy_sign(magnitude, sign).store(task.choices + k * kStates);
        Vec::store_lanes(parent, task.parents + k * kStates);
        if (s.columns_factor == nullptr) continue;
        const Vec missed = Vec(wanted[k]) - Vec::copy_sign(level, sign) * Vec(step);
        const float* factor = s.columns_factor + j * s.columns + begin;
        for (size_t l = k + 1; l < n; l++) {
            float* target = task.survivors + l * kStates;
            (Vec::load(target).permute(parent) + missed * Vec(factor[l])).store(target);
        }
    }
    float end[kStates];
    cost.store(end);
    int best = 0;
    for (int c = 1; c < kStates; c++)
        if (end[c] < end[best]) best = c;
    task.states[i - task.first] = uint8_t(best);
    for (size_t k = n; k-- > 0;) {
        task.indices[i * s.columns + begin + k] = int32_t(task.choices[k * kStates + size_t(best)]);
        best = task.parents[k * kStates + size_t(best)];
    }
}

// Without a trellis: each weight goes to the cheaper of the two levels around it.
inline void round_plainly(const RoundSpec& s, const RoundTask& task, size_t i, size_t begin, size_t n,
                          const float* wanted) {
    const float* before = task.feedback + (i - task.first) * s.columns + begin;
    float* target = task.survivors;
    for (size_t k = 0; k < n; k++) target[k] = wanted[k] + before[k];
    for (size_t k = 0; k < n; k++) {
        const size_t j = begin + k;
        const float step = s.row_steps[i] * s.column_scales[j], weight = s.row_weights[i] * s.column_weights[j];
        const std::array<float, 4>& bits = curve_of(s, i, j).at[0];
        const float a = std::fabs(target[k] / step);
        const float upper = std::floor(a) + 1, lower = std::floor(a);
        const auto price = [&](float q) {
            const float distance = a - (q - offset_of(s, int64_t(q)));
            return distance * distance * weight + (s.lambda > 0 ? s.lambda * bits_of(bits, q) : 0.f);
        };
        const float q = price(upper) < price(lower) ? upper : lower;
        task.indices[i * s.columns + j] = int32_t(target[k] < 0 ? -q : q);
        if (s.columns_factor == nullptr) continue;
        const float level = (q - offset_of(s, int64_t(q))) * step;
        const float missed = wanted[k] - (target[k] < 0 ? -level : level);
        const float* factor = s.columns_factor + j * s.columns + begin;
        for (size_t l = k + 1; l < n; l++) target[l] += missed * factor[l];
    }
}

// What the block's indices decode to, and what that leaves of W and of w'.
inline void settle(const RoundSpec& s, const RoundTask& task, size_t i, size_t begin, size_t n, const float* wanted,
                   uint8_t state) {
    for (size_t k = 0; k < n; k++) {
        const size_t at = i * s.columns + begin + k;
        const int32_t q = task.indices[at];
        const float level = float(level_of(q, s.trellis, state & 1));
        if (s.trellis) state = kNextState[state][q & 1];
        const float offset = offset_of(s, q < 0 ? -int64_t(q) : q);
        const float value = (level - (q < 0 ? -offset : offset)) * s.row_steps[i] * s.column_scales[begin + k];
        if (task.decoded) task.decoded[at] = value;
        if (task.errors) task.errors[(i - task.first) * s.columns + begin + k] = s.values[at] - value;
        task.missed[(i - task.first) * kRoundColumns + k] = wanted[k] - value;
    }
}

template <class Vec>
void round_columns(const RoundSpec& s, const RoundTask& task, size_t begin, size_t end) {
    const size_t n = end - begin, columns = s.columns;
    float wanted[kRoundColumns];
    for (size_t i = task.first; i < task.last; i++) {
        std::memcpy(wanted, s.values + i * columns + begin, n * sizeof(float));
        if (s.rows_factor)
            for (size_t r = task.first; r < i; r++) {
                const float share = s.rows_factor[i * s.rows + r];
                const float* error = task.errors + (r - task.first) * columns + begin;
                for (size_t k = 0; k < n; k++) wanted[k] += share * error[k];
            }
        const uint8_t state = task.states[i - task.first];
        if (s.trellis) search_trellis<Vec>(s, task, i, begin, n, wanted);
        else round_plainly(s, task, i, begin, n, wanted);
        settle(s, task, i, begin, n, wanted, state);
    }
    if (s.columns_factor == nullptr) return;
    for (size_t i = task.first; i < task.last; i++)
        for (size_t k = 0; k < n; k++) {
            const float missed = task.missed[(i - task.first) * kRoundColumns + k];
            const float* factor = s.columns_factor + (begin + k) * columns;
            float* feedback = task.feedback + (i - task.first) * columns;
            for (size_t l = end; l < columns; l++) feedback[l] += missed * factor[l];
        }
}

}  // namespace
}  // namespace taut
