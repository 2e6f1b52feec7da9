// The model of adaptive arrays (docs/coding.md, "Adaptive"): one source for encoder and decoder.
//
// Every decision's log-odds are a sum of weights, one for each feature that holds (its row, its column, its
// neighbours ...). A weight is believed to be normal; after each bit a diagonal extended Kalman filter moves its mean
// and shrinks its variance (logistic regression by assumed-density filtering; Graepel et al. 2010, adPredictor, with a
// logistic link). Integers only: every platform decodes alike.
#pragma once
#include <algorithm>
#include <bit>

#include "adaptive/numbers.hpp"

namespace taut {

constexpr int kLogitSteps = 128, kLogitMost = 12;  // the squashing table: steps per unit, and its last unit
using Squash = std::array<uint16_t, 2 * kLogitSteps * kLogitMost + 1>;

// 2^16 / (1 + e^-x) for x = (i - 1536) / 128, by repeated multiplication with e^(-1/128) in integers.
constexpr Squash make_squash() {
    Squash table{};
    constexpr size_t middle = kLogitSteps * kLogitMost;
    uint64_t power = uint64_t(1) << 40;
    for (size_t i = 0; i <= middle; i++) {
        const uint32_t p = uint32_t((uint64_t(1) << 56) / ((uint64_t(1) << 40) + power));
        table[middle + i] = uint16_t(p < 65535 ? p : 65535);
        table[middle - i] = uint16_t(65536 - table[middle + i]);
        power = power * 16646655 >> 24;
    }
    return table;
}
inline constexpr Squash kSquash = make_squash();

// Mean (in 2^-24) and variance (in 2^-28) of what one feature adds to the log-odds.
struct Weight {
    int32_t mean = 0;
    uint32_t variance = 0;
};

constexpr int32_t kMostMean = 15 << 24;
constexpr uint32_t variance_of(double v) { return uint32_t(v * (1 << 28)); }

// Of the features of an array's decisions: what its options choose (two bits each: row, column, surroundings).
constexpr std::array<uint32_t, 4> kLineVariance{0, variance_of(1.0 / 16), variance_of(1.0 / 4), variance_of(1)};
constexpr std::array<uint32_t, 4> kNearVariance{0, variance_of(1.0 / 64), variance_of(1.0 / 16), variance_of(1.0 / 4)};
constexpr uint32_t kBiasVariance = variance_of(2), kTreeVariance = variance_of(1), kFlagVariance = variance_of(2),
                   kScaleVariance = variance_of(1.0 / 16), kSignVariance = variance_of(1.0 / 16);
constexpr uint32_t kLeastVariance = variance_of(1.0 / 512);  // so that weights can follow what drifts
constexpr size_t kMostKernel = 64;  // longer kernels' positions are not told apart

template <class Coder>
class AdaptiveModel {
public:
    // Where memory is lacking good() says so, and nothing else may be asked.
    AdaptiveModel(Coder& coder, const AdaptiveFields& fields, size_t columns, Memory& memory = usual_memory)
        : coder_(coder), f_(fields), column_(memory), step_column_(memory), sign_column_(memory), block_(memory),
          above_(memory), place_(memory) {
        const int nonzero = (f_.prior & 15) - 10, larger = (f_.prior >> 4) - 11;
        bias_ = {nonzero * (3 << 22), kBiasVariance};
        steps_.fill({larger * (3 << 22), kBiasVariance});
        near_.fill({0, kNearVariance[f_.near()]});
        kernel_.fill({0, kNearVariance[f_.near()]});
        step_near_.fill({0, kNearVariance[f_.near()]});
        step_scale_.fill({0, kScaleVariance});
        tree_.fill({0, kTreeVariance});
        sign_near_.fill({0, kSignVariance});
        flags_.fill({0, kFlagVariance});
        const Weight line{0, kLineVariance[f_.column()]};
        const size_t span = f_.period > 1 ? f_.period : kBlock;
        good_ = column_.try_assign(columns, line) && step_column_.try_assign(columns, line) &&
                sign_column_.try_assign(columns, {0, kSignVariance}) &&
                block_.try_assign((columns + span - 1) / span, {0, kNearVariance[f_.near()]}) &&
                above_.try_assign(columns + 2, 0) && place_.try_reserve(columns);
        for (uint32_t c = 0; good_ && c < columns; c++) {
            const uint32_t position = f_.period > 1 && f_.period <= kMostKernel ? c % f_.period : 0;
            good_ = place_.try_push({c, uint32_t(c / span), position});
        }
    }
    bool good() const { return good_; }

    // Which columns and rows hold nothing but zeros; `dead` says it (encoder) or is told it (decoder).
    template <class Flags>
    void columns(Flags& dead) {
        size_t before = 0;
        for (size_t c = 0; c < dead.size(); c++) {
            dead[c] = flag(before, dead[c]);
            before = (before << 1 | dead[c]) & 3;
        }
        size_t live = 0;
        for (size_t c = 0; c < dead.size(); c++)
            if (!dead[c]) place_[live++] = place_[c];
        place_.shrink(live);
    }
    bool row_is_dead(bool dead) {
        dead = flag(4 + rows_before_, dead);
        rows_before_ = (rows_before_ << 1 | dead) & 3;
        return dead;
    }

    // One row: `q` has a place for each column, which the decoder fills with zeros first.
    void row(int32_t* q) {
        Weight of_row{0, kLineVariance[f_.row()]}, steps_row = of_row, sign_row{0, kSignVariance};
        int left = 0, left2 = 0, corner = 0;  // the two values before, and the one above the first
        uint32_t history = 0, inside = 0, block = 0;  // nonzeros: of the last 16 values, and so far in this kernel
        bool none = f_.row_flags();        // a row that is not dead and empty so far
        for (size_t i = 0; i < place_.size(); i++) {
            const Place at = place_[i];
            if (at.block != block) inside = 0, block = at.block;
            const int up = above_[i + 1];
            const size_t near = size_t(most(left, 2) * 9 + most(left2, 2) * 3 + most(up, 2));
            const size_t around = f_.period > 1
                                      ? at.position * 5 + std::min(inside, 4u)
                                      : size_t(std::min(std::popcount(history & 0xffff), 7) * 3 + (corner != 0) +
                                               (above_[i + 2] != 0));
            int32_t value = 0;
            bool nonzero = true;
            int64_t logit = 0;
            if (!(none && i + 1 == place_.size()))
                nonzero = decide(std::array{&bias_, &of_row, &column_[at.column], &block_[at.block], &near_[near],
                                            &kernel_[around]}, q[at.column] != 0, &logit);
            if (nonzero) {
                value = magnitude(q[at.column], at.column, logit, steps_row,
                                  size_t(most(left, 3) * 4 + most(up, 3)));
                if (sign(q[at.column] < 0, at.column, sign_row, left, up)) value = int32_t(0u - uint32_t(value));
                q[at.column] = value;
                none = false;
            }
            history = history << 1 | nonzero;
            inside += nonzero;
            left2 = left;
            left = value < -3 ? -3 : value > 3 ? 3 : value;
            corner = up;
            above_[i + 1] = int8_t(left);
        }
    }

private:
    static constexpr size_t kBlock = 8;
    struct Place {
        uint32_t column, block, position;
    };

    Coder& coder_;
    const AdaptiveFields& f_;
    Weight bias_;
    std::array<Weight, 27> near_;
    std::array<Weight, 5 * kMostKernel> kernel_;
    std::array<Weight, 32> steps_;
    std::array<Weight, 48> step_near_;
    std::array<Weight, 32> step_scale_;
    std::array<Weight, 32 * 8> tree_;
    std::array<Weight, 9> sign_near_;
    std::array<Weight, 8> flags_;
    Vec<Weight> column_, step_column_, sign_column_, block_;
    Vec<int8_t> above_;           // by live column, one of padding on both sides
    Vec<Place> place_;            // of the live columns
    size_t rows_before_ = 0;
    bool good_ = false;

    static int most(int q, int limit) { return std::min(q < 0 ? -q : q, limit); }

    bool flag(size_t context, bool y) { return decide(std::array{&flags_[context]}, y, nullptr); }

    // |q|: the number of its bits in unary, then the bits below the first, of which three are modelled.
    int32_t magnitude(int32_t q, size_t column, int64_t logit, Weight& of_row, size_t near) {
        const uint32_t m = q < 0 ? 0u - uint32_t(q) : uint32_t(q);
        const int bits = int(std::bit_width(m | 1u)) - 1;
        const size_t scale = size_t(std::clamp<int64_t>((logit >> 23) + 8, 0, 15));
        int e = 0;
        for (; e < f_.largest; e++) {
            const size_t late = size_t(std::min(e, 2));
            if (!decide(std::array{&steps_[size_t(e)], &of_row, &step_column_[column],
                                   &step_scale_[scale * 2 + std::min<size_t>(late, 1)], &step_near_[late * 16 + near]},
                        bits > e, nullptr))
                break;
        }
        uint32_t value = 1;
        for (int b = e - 1; b >= 0; b--) {
            const bool y = m >> b & 1;
            value = value << 1 |
                    uint32_t(e - b <= 3 ? decide(std::array{&tree_[size_t(e) * 8 + (value & ((1u << (e - 1 - b)) - 1)) +
                                                                   ((size_t(1) << (e - 1 - b)) - 1)]}, y, nullptr)
                                        : coder_.bit(32768, y));
        }
        return int32_t(value);
    }

    bool sign(bool negative, size_t column, Weight& of_row, int left, int up) {
        if (!f_.signs) return coder_.bit(32768, negative);
        const size_t near = size_t(((left > 0) - (left < 0) + 1) * 3 + (up > 0) - (up < 0) + 1);
        return decide(std::array{&sign_near_[near], &sign_column_[column], &of_row}, negative, nullptr);
    }

    template <size_t n>
    bool decide(const std::array<Weight*, n>& features, bool y, int64_t* logit) {
        int64_t sum = 0;
        uint64_t spread = 0;
        for (const Weight* w : features) sum += w->mean, spread += w->variance;
        if (logit) *logit = sum;
        constexpr int64_t edge = int64_t(kLogitMost) << 24;
        const uint32_t p = kSquash[size_t((std::clamp(sum, -edge, edge) + edge + (1 << 16)) >> 17)];
        y = coder_.bit(p, y);
        const uint32_t steep = p * (65536 - p) >> 16;
        const uint32_t gain = ~0u / (65536 + uint32_t(steep * spread >> 28));
        const int64_t error = (int64_t(y ? 65536 - p : 0 - int64_t(p)) * gain) >> 16;
        const uint64_t known = uint64_t(steep) * gain >> 16;
        for (Weight* w : features) {
            const uint64_t v = w->variance;
            w->mean = int32_t(std::clamp<int64_t>(w->mean + (int64_t(v) * error >> 20), -kMostMean, kMostMean));
            const uint32_t less = uint32_t(v * (v * known >> 16) >> 28);
            w->variance = std::max(uint32_t(v) - less, std::min(uint32_t(v), kLeastVariance));
        }
        return y;
    }
};

}  // namespace taut
