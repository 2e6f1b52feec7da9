// The door of round/ to the quantiser: rate-distortion-optimised rounding to a uniform grid (docs/method.md, "Lossy, data-free").
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "simd/simd.hpp"

namespace taut {

// indices[i] minimises (values[i] / step - level(q))^2 + lambda * bits(q) over the two nearest levels, where bits(q)
// comes from the counts of the rows of like scale; two rounds, since levels and counts depend on the choice.
// `lambda` is in squared steps per bit. Values must be finite; step > 0.
// Returns the centroids: how far levels 1, 2 and 3+ lie towards zero, in steps.
std::array<float, 3> quantize(const float* values, uint64_t count, uint64_t row_length, float step, float lambda,
                              int32_t* indices, const Kernels& kernels);

}  // namespace taut
