// Rate-distortion-optimised rounding to a uniform grid (docs/method.md, "Lossy, data-free").
#pragma once
#include <cstddef>
#include <cstdint>
#include <array>

namespace laconic {

struct Quantized {
    std::array<float, 3> offsets{};  // centroids: how far levels 1, 2 and 3+ lie towards zero, in steps
    double squared_error = 0;        // of the reconstruction, in the values' units
};

// indices[i] minimises (values[i] / step - level(q))^2 + lambda * bits(q) over the two nearest levels, where bits(q)
// comes from the counts of the rows of like scale; two rounds, since levels and counts depend on the choice.
// `lambda` is in squared steps per bit. Values must be finite; step > 0.
Quantized quantize(const float* values, uint64_t count, uint64_t row_length, float step, float lambda,
                   int32_t* indices);

}  // namespace laconic
