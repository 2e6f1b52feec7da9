// What encoder and decoder of adaptive arrays share: numbers of a header, and how a model begins.
#pragma once
#include <cmath>

#include "adaptive/adaptive.hpp"

namespace taut {

inline uint64_t groups_of(const ArrayHeader& h) {
    const uint64_t group = h.adaptive.group ? h.adaptive.group : h.row_length;
    return h.row_length / group + (h.row_length % group != 0);
}

// Numbers of a header: rows of integers of 16 or 32 bits, as they are or less their middle and modelled.
enum Form : uint8_t { kHasLevels = 4, kHasScales = 8, kHasZeros = 16, kHasKernels = 32, kHasGroups = 64,
                      kHasHalves = 128 };

inline float from_f16(uint16_t u) {
    const int exponent = u >> 10 & 31, mantissa = u & 1023;
    const float v = exponent ? std::ldexp(float(mantissa + 1024), exponent - 25) : std::ldexp(float(mantissa), -24);
    return u >> 15 ? -v : v;
}

constexpr bool finite_half(uint32_t u) { return (u >> 10 & 31) != 31; }

constexpr uint8_t kAsTheyAre = 128;
void put_numbers(std::vector<uint8_t>& out, const Vec<int32_t>& numbers, size_t columns, int bits);
Status take_numbers(ByteReader& in, uint64_t rows, uint64_t columns, int bits, Vec<int32_t>& numbers);

// How often what a model begins with occurs.
struct IndexCounts {
    uint64_t nonzero = 0, larger = 0, live = 0;  // |q| > 0 and > 1; values in rows and columns that hold anything
    uint64_t bits = 0;                           // of all |q|
    bool dead_rows = false, dead_columns = false;
    uint32_t largest = 1;  // |q|
};
// Counts indices that come some rows at a time.
class IndexCounter {
public:
    explicit IndexCounter(size_t columns) : used_(columns) {}
    void add(const int32_t* indices, uint64_t rows);
    IndexCounts counts() const;

private:
    IndexCounts found_;
    std::vector<uint8_t> used_;
    uint64_t rows_ = 0, live_rows_ = 0;
};
IndexCounts count_indices(const int32_t* indices, uint64_t rows, size_t columns);
void set_prior(AdaptiveFields& a, const IndexCounts& c);

std::vector<uint8_t> encode_adaptive_rows(const AdaptiveFields& a, const int32_t* indices, uint64_t rows,
                                          size_t columns);

}  // namespace taut
