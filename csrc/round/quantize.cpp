#include "round/quantize.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "rans/rans.hpp"

namespace taut {
namespace {

constexpr int kClasses = 16;
constexpr int kRounds = 2;     // after one of plain rounding

struct Class {
    std::array<double, kLevels> counts{};
    std::array<float, kLevels> bits{};  // of a level of either sign, the sign's bit included
    uint64_t values = 0;

    void price() {
        for (int k = 0; k < kLevels; k++) {
            // Half a count for what was not seen keeps its price finite.
            const double seen = log2_of(2 * uint64_t(counts[size_t(k)]) + 1), all = log2_of(2 * values + 64);
            bits[size_t(k)] = float(all - seen) + (k > 0 ? 1.0f : 0.0f);
        }
        // Far levels share one count; each is rarer than their sum by what a geometric tail suggests.
        bits[kLevels - 1] += 6;
    }
};

struct Rows {
    uint64_t count, length, number;
    uint64_t size(uint64_t r) const { return std::min(length, count - r * length); }
};

// Rows of like mean magnitude, sixteen classes of equal size.
std::vector<uint8_t> classify(const float* values, const Rows& rows) {
    std::vector<float> scale(rows.number);
    for (uint64_t r = 0; r < rows.number; r++) {
        const float* v = values + r * rows.length;
        const uint64_t n = rows.size(r);
        float sum[8] = {};
        for (uint64_t i = 0; i + 8 <= n; i += 8)
            for (int k = 0; k < 8; k++) sum[k] += std::fabs(v[i + uint64_t(k)]);
        for (uint64_t i = n & ~uint64_t(7); i < n; i++) sum[i & 7] += std::fabs(v[i]);
        scale[r] = (((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]))) / float(n);
    }
    std::vector<uint32_t> order(rows.number);
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return scale[a] < scale[b]; });
    std::vector<uint8_t> of(rows.number);
    // A class of fewer than some thousand values knows its prices badly.
    const uint64_t classes = std::clamp<uint64_t>(std::min(rows.count / 8192, rows.number), 1, kClasses);
    for (uint64_t i = 0; i < rows.number; i++) of[order[i]] = uint8_t(i * classes / rows.number);
    return of;
}

// Between levels k - 1 and k the choice falls at a threshold: where squared distance plus price are equal. It is kept
// relative to k; inward levels and prices move it, but not out of [-0.75, 0.25].
Thresholds make_thresholds(const std::array<float, 3>& offsets, const Class& c, float lambda) {
    Thresholds t;
    const auto level = [&](int k) { return k == 0 ? 0.0f : float(k) - offsets[size_t(std::min(k, 3) - 1)]; };
    for (int k = 1; k < kLevels - 1; k++) {
        const float gap = level(k) - level(k - 1), dearer = c.bits[size_t(k)] - c.bits[size_t(k) - 1];
        const float where = (level(k) + level(k - 1)) / 2 + lambda * dearer / (2 * gap);
        t.at[size_t(k)] = std::clamp(where - float(k), -0.75f, 0.25f);
    }
    t.at[0] = -1.0f;            // below zero there is nothing
    t.at[kLevels - 1] = -0.5f;  // far out: to the nearest
    return t;
}

// The portable Kernels::round_block. The sums run in eight lanes, as in the wide ones: all give the same bits.
void round_block(const float* v, size_t n, float inverse, const Thresholds& t, uint32_t* counts, Inside& inside,
                 int32_t* indices) {
    constexpr float largest = 1.0e9f;  // an index beyond has no int32; such a step is refused before
    constexpr int32_t last = kLevels - 1;
    alignas(32) float u[kRoundBlock];
    alignas(32) int32_t k[kRoundBlock];
    const size_t padded = (n + 7) & ~size_t(7);
    for (size_t i = 0; i < n; i++) {
        const float s = std::fabs(v[i] * inverse);
        u[i] = s < largest ? s : largest;
        k[i] = int32_t(u[i] + 0.75f);
    }
    for (size_t i = n; i < padded; i++) {
        u[i] = 0;
        k[i] = 0;
    }
    for (size_t i = 0; i < padded; i++) {
        const float at = float(k[i]) + t.at[size_t(k[i] < last ? k[i] : last)];
        k[i] -= u[i] < at ? 1 : 0;
    }
    float sums[3][8] = {};
    int32_t found[3][8] = {};
    for (size_t i = 0; i < padded; i += 8)
        for (size_t j = 0; j < 8; j++) {
            const int32_t q = k[i + j];
            const float d = float(q) - u[i + j];
            const int32_t is[3] = {q == 1, q == 2, q > 2};
            for (size_t l = 0; l < 3; l++) {
                sums[l][j] += d * float(is[l]);  // no branch: which level is a coin toss
                found[l][j] += is[l];
            }
        }
    for (size_t l = 0; l < 3; l++)
        for (size_t j = 0; j < 8; j++) {
            inside.sum[l] += double(sums[l][j]);
            inside.members[l] += double(found[l][j]);
        }
    uint32_t count[4][kLevels] = {};  // four, so that equal neighbours do not wait for each other
    for (size_t i = 0; i < padded; i += 4)
        for (size_t j = 0; j < 4; j++) count[j][size_t(k[i + j] < last ? k[i + j] : last)]++;
    for (size_t l = 0; l < size_t(kLevels); l++) counts[l] += count[0][l] + count[1][l] + count[2][l] + count[3][l];
    counts[0] -= uint32_t(padded - n);
    if (!indices) return;
    for (size_t i = 0; i < n; i++) indices[i] = v[i] < 0 ? -k[i] : k[i];
}

class Rounder {
public:
    Rounder(const float* values, const Rows& rows, float step, float lambda, const Kernels& kernels)
        : values_(values), rows_(rows), inverse_(1.0f / step), lambda_(lambda), class_of_(classify(values, rows)),
          round_block_(kernels.round_block ? kernels.round_block : round_block) {}

    std::array<float, 3> run(int32_t* indices) {
        std::array<float, 3> offsets{};
        std::vector<Class> classes(kClasses);
        for (int round = 0; round <= kRounds; round++) {
            // The first round prices nothing: plain rounding gives the counts to begin with.
            const float lambda = round == 0 ? 0.0f : lambda_;
            std::vector<Thresholds> thresholds;
            for (const Class& c : classes) thresholds.push_back(make_thresholds(offsets, c, lambda));
            std::vector<Class> next(kClasses);
            Inside inside;
            for (uint64_t r = 0; r < rows_.number; r++) {
                const size_t c = class_of_[r];
                for (uint64_t at = 0; at < rows_.size(r); at += kRoundBlock)
                    block(r * rows_.length + at, size_t(std::min<uint64_t>(kRoundBlock, rows_.size(r) - at)),
                          thresholds[c], next[c], inside, round == kRounds ? indices : nullptr);
            }
            classes = std::move(next);
            for (Class& c : classes) c.price();
            for (size_t k = 0; k < 3; k++)
                offsets[k] =
                    inside.members[k] > 0 ? std::clamp(float(inside.sum[k] / inside.members[k]), -0.5f, 0.5f) : 0;
        }
        return offsets;
    }

private:
    const float* values_;
    Rows rows_;
    float inverse_, lambda_;
    std::vector<uint8_t> class_of_;
    decltype(Kernels::round_block) round_block_;

    void block(uint64_t from, size_t n, const Thresholds& t, Class& counts, Inside& inside, int32_t* indices) const {
        uint32_t count[kLevels] = {};
        round_block_(values_ + from, n, inverse_, t, count, inside, indices ? indices + from : nullptr);
        for (size_t l = 0; l < kLevels; l++) counts.counts[l] += count[l];
        counts.values += n;
    }
};

}  // namespace

std::array<float, 3> quantize(const float* values, uint64_t count, uint64_t row_length, float step, float lambda,
                              int32_t* indices, const Kernels& kernels) {
    const Rows rows{count, row_length, count / row_length + (count % row_length != 0)};
    if (count == 0) return {};
    return Rounder(values, rows, step, lambda, kernels).run(indices);
}

}  // namespace taut
