// Measures the symbol decoders (bench/coding/speed.py).
#pragma once
#include "array.hpp"

namespace taut {

struct CoreRate {
    double seconds;  // per symbol, the best of the repeats
    double entropy;  // bits per symbol
    double coded;    // bits per symbol, states included
};

// 2^17 Gaussian symbols of this standard deviation, decoded `repeats` times from cache: the plain loop, or that of a
// matrix with a trellis.
CoreRate core_rate(const Kernels& kernels, bool dense, double deviation, int repeats, bool trellis);

}  // namespace taut
