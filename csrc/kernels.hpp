// What a processor-specific file offers, and the rules by which values are put together.
#pragma once
#include "array.hpp"

namespace laconic {

// How the values of an array are put together; the same for all its rows.
struct SplitRule {
    Mode mode;
    int low;        // raw bits that a value has
    int drop;       // of which this many trailing ones are zero and absent in this row
    bool skip_zero;
    uint64_t base;
    int packed() const { return low - drop; }
};

// Indices to numbers: q * step + shift[clamp(q, -3, 3) + 3], both roundings in float32.
struct UniformRule {
    float step;
    std::array<float, 8> shift;
};

// Null members fall back to the portable code. Wide loads run over the end of their input by at most 64 bytes, wide
// stores never over the end of a row; symbols have 64 spare bytes behind them.
struct Kernels {
    const char* name;
    // Decode `steps` whole steps of one segment; a unit for each of their symbols is readable.
    void (*fast_steps)(const Table&, uint16_t* state, size_t& bank, size_t steps, const uint8_t*& p, uint8_t* out);
    void (*dense_steps)(const Table&, uint32_t* state, size_t& bank, size_t steps, const uint8_t*& p, uint8_t* out);
    size_t (*count)(const uint8_t* symbols, size_t n, uint8_t wanted);
    // Put `tail` where `mark` stands in symbols[0 .. n); returns the end of the tail used.
    const uint8_t* (*patch)(uint8_t* symbols, size_t n, uint8_t mark, const uint8_t* tail);
    // Put the first values of a row together, exceptions and bare zeros aside; return how many, perhaps none.
    size_t (*merge)(const SplitRule&, int width, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out);
    size_t (*uniform)(const UniformRule&, Output, const uint8_t* symbols, size_t n, uint8_t* out);
};

inline size_t count_bytes(const Kernels& kernels, const uint8_t* bytes, size_t n, uint8_t wanted) {
    if (kernels.count) return kernels.count(bytes, n, wanted);
    size_t found = 0;
    for (size_t i = 0; i < n; i++) found += bytes[i] == wanted;
    return found;
}

}  // namespace laconic
