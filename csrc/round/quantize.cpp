#include "round/quantize.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "rans/rans.hpp"

namespace taut {
namespace {

constexpr int kClasses = 16;

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
    }
};

struct Rows {
    uint64_t count, length, number;
    uint64_t size(uint64_t r) const { return std::min(length, count - r * length); }
};

float mean_magnitude(const float* v, uint64_t n) {
    float sum[8] = {};
    for (uint64_t i = 0; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) sum[k] += std::fabs(v[i + uint64_t(k)]);
    for (uint64_t i = n & ~uint64_t(7); i < n; i++) sum[i & 7] += std::fabs(v[i]);
    return (((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]))) / float(n);
}

// Rows of like mean magnitude, sixteen classes of equal size.
std::vector<uint8_t> classify(const std::vector<float>& scale, const Rows& rows) {
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

}  // namespace

struct QuantizeStream::State {
    Rows rows;
    float inverse, lambda;
    decltype(Kernels::round_block) round_block;
    std::vector<float> scale;
    std::vector<uint8_t> class_of;
    std::vector<Class> next;
    std::vector<Thresholds> thresholds;
    Inside inside;
    std::array<float, 3> offsets{};
    int pass = 0;
    uint64_t done = 0;  // rows of this pass

    // The first round prices nothing: plain rounding gives the counts to begin with.
    void begin(const std::vector<Class>& classes) {
        thresholds.clear();
        for (const Class& c : classes) thresholds.push_back(make_thresholds(offsets, c, pass > 1 ? lambda : 0.0f));
        next.assign(kClasses, Class());
        inside = Inside();
    }

    void block(const float* values, size_t n, size_t c, int32_t* indices) {
        uint32_t count[kLevels] = {};
        round_block(values, n, inverse, thresholds[c], count, inside, indices);
        for (size_t l = 0; l < kLevels; l++) next[c].counts[l] += count[l];
        next[c].values += n;
    }

    void end() {
        done = 0;
        if (pass == 0) class_of = classify(scale, rows);
        std::vector<Class> classes = pass == 0 ? std::vector<Class>(kClasses) : std::move(next);
        if (pass++ > 0) {
            for (Class& c : classes) c.price();
            for (size_t k = 0; k < 3; k++)
                offsets[k] =
                    inside.members[k] > 0 ? std::clamp(float(inside.sum[k] / inside.members[k]), -0.5f, 0.5f) : 0;
        }
        begin(classes);
    }
};

QuantizeStream::QuantizeStream(uint64_t count, uint64_t row_length, float step, float lambda, const Kernels& kernels)
    : state_(new State{}) {
    state_->rows = {count, row_length, count / row_length + (count % row_length != 0)};
    state_->inverse = 1.0f / step;
    state_->lambda = lambda;
    state_->round_block = kernels.round_block ? kernels.round_block : round_block;
    state_->scale.resize(state_->rows.number);
}
QuantizeStream::~QuantizeStream() = default;

int QuantizeStream::pass() const { return state_->pass; }
std::array<float, 3> QuantizeStream::offsets() const { return state_->offsets; }

void QuantizeStream::take(const float* values, uint64_t rows, int32_t* indices) {
    State& s = *state_;
    const uint64_t first = s.done * s.rows.length;
    for (uint64_t r = s.done; r < s.done + rows; r++) {
        const uint64_t from = r * s.rows.length - first, size = s.rows.size(r);
        if (s.pass == 0) {
            s.scale[r] = mean_magnitude(values + from, size);
            continue;
        }
        int32_t* const out = s.pass == kPasses - 1 ? indices + from : nullptr;
        for (uint64_t at = 0; at < size; at += kRoundBlock)
            s.block(values + from + at, size_t(std::min<uint64_t>(kRoundBlock, size - at)), s.class_of[r],
                    out ? out + at : nullptr);
    }
    s.done += rows;
    if (s.done == s.rows.number) s.end();
}

std::array<float, 3> quantize(const float* values, uint64_t count, uint64_t row_length, float step, float lambda,
                              int32_t* indices, const Kernels& kernels) {
    if (count == 0) return {};
    QuantizeStream stream(count, row_length, step, lambda, kernels);
    for (int pass = 0; pass < QuantizeStream::kPasses; pass++)
        stream.take(values, count / row_length + (count % row_length != 0), indices);
    return stream.offsets();
}

}  // namespace taut
