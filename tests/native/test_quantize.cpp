// The quantiser against a plain one: the same indices, and offsets that are the same but for the order of sums. All
// kernels must give the same bits. Buffers are allocated to the byte: a sanitiser sees what runs further.
#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <numeric>

#include "checks.hpp"
#include "rans/rans.hpp"
#include "round/quantize.hpp"

namespace {

using namespace taut;
using namespace checks;

struct Case {
    std::string name;
    std::vector<float> values;
    size_t row_length;
    float step = 1, lambda = 0;
    size_t rows() const { return (values.size() + row_length - 1) / row_length; }
};

struct Rounded {
    std::vector<int32_t> indices;
    std::array<float, 3> offsets{};
};

// --- the plain quantiser -------------------------------------------------------------------------------------------

constexpr size_t kLast = kLevels - 1;

// Rows in order of their mean magnitude, cut into classes of equal size; one class for every 8192 values, at most 16.
std::vector<size_t> classes_of_rows(const Case& c) {
    std::vector<double> mean(c.rows());
    std::vector<size_t> order(c.rows()), of(c.rows());
    for (size_t r = 0; r < c.rows(); r++) {
        const size_t begin = r * c.row_length, end = std::min(begin + c.row_length, c.values.size());
        for (size_t i = begin; i < end; i++) mean[r] += std::fabs(double(c.values[i]));
        mean[r] /= double(end - begin);
    }
    std::iota(order.begin(), order.end(), size_t(0));
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return mean[a] < mean[b]; });
    const size_t classes = std::clamp<size_t>(std::min(c.values.size() / 8192, c.rows()), 1, 16);
    for (size_t i = 0; i < order.size(); i++) of[order[i]] = i * classes / c.rows();
    return of;
}

// Bits of a magnitude, by how often it came up; those of kLast and beyond are counted together.
std::array<float, kLevels> bits_of(const std::array<uint64_t, kLevels>& counts) {
    const uint64_t all = std::accumulate(counts.begin(), counts.end(), uint64_t(0));
    std::array<float, kLevels> bits{};
    for (size_t k = 0; k < kLevels; k++)
        bits[k] = float(log2_of(2 * all + 64) - log2_of(2 * counts[k] + 1)) + (k ? 1.0f : 0.0f);
    bits[kLast] += 6;
    return bits;
}

float level(int32_t k, const std::array<float, 3>& offsets) {
    return k == 0 ? 0 : float(k) - offsets[size_t(std::min(k, 3)) - 1];
}

// Where k begins: there k and k - 1 cost the same; at most a quarter above k and three below. Far out: half below.
float beginning(int32_t k, const std::array<float, 3>& offsets, const std::array<float, kLevels>& bits, float lambda) {
    if (k >= int32_t(kLast)) return float(k) - 0.5f;
    const float upper = level(k, offsets), lower = level(k - 1, offsets);
    const float where = (upper + lower) / 2 + lambda * (bits[size_t(k)] - bits[size_t(k) - 1]) / (2 * (upper - lower));
    return float(k) + std::clamp(where - float(k), -0.75f, 0.25f);
}

Rounded plainly(const Case& c) {
    const std::vector<size_t> of_row = c.values.empty() ? std::vector<size_t>{} : classes_of_rows(c);
    Rounded result{std::vector<int32_t>(c.values.size()), {}};
    std::array<std::array<float, kLevels>, 16> bits{};
    for (int round = 0; round < 3; round++) {
        std::array<std::array<uint64_t, kLevels>, 16> counts{};
        std::array<double, 3> inward{}, members{};
        for (size_t i = 0; i < c.values.size(); i++) {
            const size_t of = of_row[i / c.row_length];
            const float u = std::min(std::fabs(c.values[i] * (1.0f / c.step)), 1e9f);
            int32_t k = int32_t(u + 0.75f);
            if (k > 0 && u < beginning(k, result.offsets, bits[of], round ? c.lambda : 0)) k--;
            counts[of][std::min(size_t(k), kLast)]++;
            result.indices[i] = c.values[i] < 0 ? -k : k;
            if (k == 0) continue;
            inward[size_t(std::min(k, 3)) - 1] += double(k) - double(u);
            members[size_t(std::min(k, 3)) - 1]++;
        }
        for (size_t l = 0; l < 3; l++)
            result.offsets[l] = members[l] > 0 ? std::clamp(float(inward[l] / members[l]), -0.5f, 0.5f) : 0;
        for (size_t of = 0; of < 16; of++) bits[of] = bits_of(counts[of]);
    }
    return result;
}

// --- against it ----------------------------------------------------------------------------------------------------

Rounded run(const Case& c, const Kernels& kernels) {
    Rounded result{std::vector<int32_t>(c.values.size(), 77), {}};
    result.offsets =
        quantize(c.values.data(), c.values.size(), c.row_length, c.step, c.lambda, result.indices.data(), kernels);
    return result;
}

void test(const Case& c) {
    const Rounded expected = plainly(c), portable = run(c, portable_kernels());
    check(portable.indices == expected.indices, c.name + ": indices");
    for (size_t l = 0; l < 3; l++)
        check(std::fabs(portable.offsets[l] - expected.offsets[l]) < 1e-5f, c.name + ": offsets");
    for (const Kernels* k : all_kernels()) {
        const Rounded other = run(c, *k);
        check(other.indices == portable.indices, c.name + ": indices of " + k->name);
        check(!std::memcmp(&other.offsets, &portable.offsets, sizeof other.offsets), c.name + ": offsets of " + k->name);
    }
}

// Rows of scales that are far apart, so that their order does not hang on the order of sums.
Case weights(Random& random, size_t rows, size_t row_length, size_t missing, float step, float lambda) {
    Case c{std::to_string(rows) + " x " + std::to_string(row_length) + " - " + std::to_string(missing), {}, row_length,
           step, lambda};
    for (size_t r = 0; r < rows; r++) {
        const float scale = 1 + float((r * 7) % rows) / 2;
        for (size_t i = 0; i < row_length; i++) c.values.push_back(random.bell() * scale);
    }
    c.values.resize(c.values.size() - missing);
    return c;
}

void test_shapes() {
    Random random(1);
    test({"nothing", {}, 5, 1, 0});
    const std::array<std::array<size_t, 3>, 14> shapes{{{1, 1, 0}, {1, 7, 0}, {1, 8, 0}, {1, 9, 0}, {1, 255, 0},
                                                       {1, 256, 0}, {1, 257, 0}, {1, 30000, 0}, {500, 1, 0}, {3, 513, 511},
                                                       {2, 16, 15}, {11, 19, 4}, {3, 8200, 0}, {200, 1000, 3}}};
    for (const auto& [rows, row_length, missing] : shapes)
        for (float lambda : {0.0f, 0.02f, 0.3f})
            for (float step : {0.4f, 3.0f}) test(weights(random, rows, row_length, missing, step, lambda));
}

void test_values() {
    test({"zeros", std::vector<float>(300, 0.0f), 100, 1, 0.1f});
    test({"zeros of both signs", {0.0f, -0.0f, 0.0f, -0.0f, 1.0f, -1.0f}, 3, 1, 0});
    test({"denormals", {1e-45f, -1e-45f, 1e-40f, -FLT_MIN, 0}, 5, 1, 0.1f});
    test({"steps as small as the denormals", {FLT_MIN, -2 * FLT_MIN, 1e-39f, -1e-45f, 0}, 5, FLT_MIN, 0});
    test({"huge", {1e30f, -1e30f, 3e30f, 0, 2.4e30f}, 5, 1e30f, 0});
    test({"beyond all indices", {FLT_MAX, -FLT_MAX, 2e9f, -2e9f, 1e9f, 1.0f, -1.0f}, 7, 1, 0.1f});
    test({"an overflow when divided", {FLT_MAX, -FLT_MAX, 1.0f}, 3, FLT_MIN, 0.1f});
    Case far{"magnitudes around the last that is counted", {}, 64, 1, 0.05f};
    for (int i = -320; i < 320; i++) far.values.push_back(float(i) / 4);
    test(far);
    Case halves{"ties", {}, 100, 1, 0};
    for (int i = -50; i < 50; i++) halves.values.push_back(float(i) + 0.5f);
    test(halves);
}

// What is known without any quantiser.
void test_known() {
    const Rounded r = run({"", {0.2f, -0.2f, 2.0f, -2.0f, 5.0f, -7.0f}, 6, 1, 0}, portable_kernels());
    check(r.indices == std::vector<int32_t>({0, 0, 2, -2, 5, -7}), "known indices");
    check(r.offsets == std::array<float, 3>{0, 0, 0}, "known offsets");
    const Rounded far = run({"", {FLT_MAX, -FLT_MAX}, 2, 1, 0}, portable_kernels());
    check(far.indices == std::vector<int32_t>({1000000000, -1000000000}), "indices end at 10^9");
    // All ones lie a tenth inside of level 1, all twos a fifth, all others at a hundredth outside.
    const Rounded inside = run({"", {0.9f, -0.9f, 1.8f, 4.01f, -5.01f}, 5, 1, 0}, portable_kernels());
    for (size_t l = 0; l < 3; l++)
        check(std::fabs(inside.offsets[l] - std::array{0.1f, 0.2f, -0.01f}[l]) < 1e-6f, "known centroids");
}

}  // namespace

int main() {
    test_known();
    test_shapes();
    test_values();
    return result("quantize");
}
