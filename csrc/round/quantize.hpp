// The door of round/ to the quantiser: rate-distortion-optimised rounding to a uniform grid (docs/method.md, "Lossy, data-free").
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "simd/simd.hpp"

namespace taut {

// indices[i] minimises (values[i] / step - level(q))^2 + lambda * bits(q) over the two nearest levels, where bits(q)
// comes from the counts of the rows of like scale; two rounds, since levels and counts depend on the choice.
// `lambda` is in squared steps per bit. Values must be finite; step > 0.
// Returns the centroids: how far levels 1, 2 and 3+ lie towards zero, in steps.
std::array<float, 3> quantize(const float* values, uint64_t count, uint64_t row_length, float step, float lambda,
                              int32_t* indices, const Kernels& kernels);

// quantize of values that are not all at hand: passes over all of them in order, some whole rows at a time; in the last
// one, of the number kPasses - 1, indices are put.
class QuantizeStream {
public:
    static constexpr int kPasses = 4;  // rows' scales, plain rounding, and two rounds by prices
    QuantizeStream(uint64_t count, uint64_t row_length, float step, float lambda, const Kernels& kernels);
    ~QuantizeStream();
    int pass() const;
    void take(const float* values, uint64_t rows, int32_t* indices);
    std::array<float, 3> offsets() const;  // after the last pass

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace taut
