#include "round/round.hpp"

#include <algorithm>
#include <string_view>

#include "base/parallel.hpp"
#include "round/columns.hpp"

namespace taut {
namespace {

// Eight lanes for any processor.
struct Portable {
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

constexpr size_t kRowsAtOnce = 32;  // of independent rows: a task for a thread

void round_rows(const RoundSpec& spec, size_t first, size_t last, int32_t* indices, float* decoded, bool avx2) {
    const size_t rows = last - first;
    std::vector<float> feedback(rows * spec.columns), errors(spec.rows_factor ? rows * spec.columns : 0);
    std::vector<float> missed(rows * kRoundColumns), survivors(kRoundColumns * kStates), choices(survivors.size());
    std::vector<uint8_t> states(rows);
    std::vector<int32_t> parents(survivors.size());
    const RoundTask task{first,         last,           feedback.data(), spec.rows_factor ? errors.data() : nullptr,
                         missed.data(), states.data(),  survivors.data(), choices.data(),
                         parents.data(), indices,       decoded};
    for (size_t begin = 0; begin < spec.columns; begin += kRoundColumns) {
        const size_t end = std::min(spec.columns, begin + kRoundColumns);
#if TAUT_AVX2
        if (avx2) {
            avx2_round_columns(spec, task, begin, end);
            continue;
        }
#endif
        round_columns<Portable>(spec, task, begin, end);
    }
    (void)avx2;
}

}  // namespace

void round_matrix(const RoundSpec& spec, int32_t* indices, float* decoded, const Kernels& kernels) {
    const bool avx2 = std::string_view(kernels.name) != "portable";
    if (spec.rows_factor) return round_rows(spec, 0, spec.rows, indices, decoded, avx2);
    const size_t tasks = (spec.rows + kRowsAtOnce - 1) / kRowsAtOnce;
    parallel_for(tasks, spec.threads, [&](size_t t) {
        round_rows(spec, t * kRowsAtOnce, std::min(spec.rows, (t + 1) * kRowsAtOnce), indices, decoded, avx2);
    });
}

}  // namespace taut
