// What a processor-specific file offers to encoders. A kernel decides no byte: it only gets to the same ones sooner.
#pragma once
#include "simd/kernels.hpp"

namespace taut {

// Null members fall back to the portable code. Stores may run past the end of their output by at most 64 bytes,
// loads never past the end of their input.
struct EncodeKernels {
    const char* name;
    // Symbols of the first of n values (SplitRule without skip_zero); returns of how many, perhaps none.
    size_t (*symbols)(const SplitRule&, int width, const uint8_t* values, size_t n, uint8_t* out);
    // Fields of the first of n values as a bit stream; returns of how many: a multiple of eight.
    size_t (*pack)(const SplitRule&, int width, const uint8_t* values, size_t n, uint8_t* out);
    // The sum of |symbol - centre|.
    uint64_t (*distance)(const uint8_t* symbols, size_t n, uint8_t centre);
    EncodeFastSteps* fast_steps;
};

const EncodeKernels& best_encode_kernels();
std::vector<const EncodeKernels*> all_encode_kernels();  // what this processor can run, portable first
const EncodeKernels* avx2_encode_kernels();

}  // namespace taut
