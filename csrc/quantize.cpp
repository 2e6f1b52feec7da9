#include "quantize.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace laconic {
namespace {

constexpr int kLevels = 64;    // magnitudes with counts of their own; the last stands for all beyond
constexpr int kClasses = 16;
constexpr int kRounds = 2;
constexpr float kLargest = 1.0e9f;  // an index beyond has no int32; the step is absurd for such a value

struct Class {
    std::array<double, kLevels> counts{};
    std::array<float, kLevels> bits{};  // of a level of either sign, the sign's bit included
    uint64_t values = 0;

    void price() {
        for (int k = 0; k < kLevels; k++) {
            // Half a count for what was not seen keeps its price finite.
            const double n = counts[size_t(k)] + 0.5;
            bits[size_t(k)] = float(std::log2((double(values) + 32) / n)) + (k > 0 ? 1.0f : 0.0f);
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

int level_class(int32_t k) { return k < kLevels ? int(k) : kLevels - 1; }

class Rounder {
public:
    Rounder(const float* values, const Rows& rows, float step, float lambda)
        : values_(values), rows_(rows), inverse_(1.0f / step), step_(step), lambda_(lambda),
          class_of_(classify(values, rows)) {}

    Quantized run(int32_t* indices) {
        count_plain();
        Quantized result;
        for (int round = 0; round < kRounds; round++) {
            std::array<double, 3> inside{}, members{};
            std::vector<Class> next(classes_.size());
            for (uint64_t r = 0; r < rows_.number; r++) round_row(r, indices, next, inside, members);
            classes_ = std::move(next);
            for (Class& c : classes_) c.price();
            for (size_t k = 0; k < 3; k++)
                offsets_[k] = members[k] > 0 ? float(inside[k] / members[k]) : 0.0f;
        }
        result.offsets = offsets_;
        result.squared_error = error(indices);
        return result;
    }

private:
    const float* values_;
    Rows rows_;
    float inverse_, step_, lambda_;
    std::vector<uint8_t> class_of_;
    std::vector<Class> classes_ = std::vector<Class>(kClasses);
    std::array<float, 3> offsets_{};

    float scaled(uint64_t i) const { return std::min(std::fabs(values_[i] * inverse_), kLargest); }

    void count_plain() {
        for (uint64_t r = 0; r < rows_.number; r++) {
            Class& c = classes_[class_of_[r]];
            const uint64_t n = rows_.size(r), from = r * rows_.length;
            std::array<uint32_t, kLevels> counts{};
            for (uint64_t i = 0; i < n; i++) counts[size_t(level_class(int32_t(scaled(from + i) + 0.5f)))]++;
            for (size_t k = 0; k < kLevels; k++) c.counts[k] += counts[k];
            c.values += n;
        }
        for (Class& c : classes_) c.price();
    }

    // levels: k - offset; the level below wins where its bits outweigh its distance.
    void round_row(uint64_t r, int32_t* indices, std::vector<Class>& next, std::array<double, 3>& inside,
                   std::array<double, 3>& members) const {
        const Class& c = classes_[class_of_[r]];
        std::array<float, kLevels> level, price;
        for (int k = 0; k < kLevels; k++) {
            level[size_t(k)] = k == 0 ? 0.0f : float(k) - offsets_[size_t(std::min(k, 3) - 1)];
            price[size_t(k)] = lambda_ * c.bits[size_t(k)];
        }
        std::array<uint32_t, kLevels> counts{};
        std::array<float, kLevels> sums{};
        const uint64_t n = rows_.size(r), from = r * rows_.length;
        for (uint64_t i = 0; i < n; i++) {
            const float u = scaled(from + i);
            int32_t k = int32_t(u + 0.5f);
            if (k < kLevels - 1) {
                const int32_t below = k - (k > 0), above = k + 1;
                const float d = u - level[size_t(k)], e = u - level[size_t(below)], f = u - level[size_t(above)];
                const float cost = d * d + price[size_t(k)], lower = e * e + price[size_t(below)];
                const float upper = f * f + price[size_t(above)];  // an inward level can lie nearer
                k = lower < cost && lower <= upper ? below : upper < cost ? above : k;
            }
            indices[from + i] = values_[from + i] < 0 ? -k : k;
            const size_t l = size_t(level_class(k));
            counts[l]++;
            sums[l] += float(k) - u;
        }
        Class& to = next[class_of_[r]];
        to.values += n;
        for (size_t k = 0; k < kLevels; k++) {
            to.counts[k] += counts[k];
            if (k == 0) continue;
            inside[std::min<size_t>(k, 3) - 1] += double(sums[k]);
            members[std::min<size_t>(k, 3) - 1] += counts[k];
        }
    }

    double error(const int32_t* indices) const {
        std::array<float, 7> shift{};
        for (int k = 1; k <= 3; k++) {
            shift[size_t(3 + k)] = -(offsets_[size_t(k - 1)] * step_);
            shift[size_t(3 - k)] = offsets_[size_t(k - 1)] * step_;
        }
        double total = 0;
        for (uint64_t r = 0; r < rows_.number; r++) {
            const uint64_t n = rows_.size(r), from = r * rows_.length;
            float sum = 0;
            for (uint64_t i = from; i < from + n; i++) {
                const int32_t q = indices[i];
                const float level = float(q) * step_ + shift[size_t(std::clamp(q, -3, 3) + 3)];
                sum += (values_[i] - level) * (values_[i] - level);
            }
            total += double(sum);
        }
        return total;
    }
};

}  // namespace

Quantized quantize(const float* values, uint64_t count, uint64_t row_length, float step, float lambda,
                   int32_t* indices) {
    const Rows rows{count, row_length, count / row_length + (count % row_length != 0)};
    if (count == 0) return {};
    return Rounder(values, rows, step, lambda).run(indices);
}

}  // namespace laconic
