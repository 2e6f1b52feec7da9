// What a processor-specific file offers to encoders. A kernel decides no byte: it only gets to the same ones sooner.
#pragma once
#include "kernels.hpp"

namespace taut {

// A fast table turned round, by local symbol: what 32 lanes look up with byte shuffles. A local symbol without a slot
// has the escape's entries.
struct FastLookup {
    int bucket_bits = 6;
    uint8_t first = 0;          // byte of local symbol 1
    bool escapes = false;       // whether the escape has slots; then it alone starts at 0
    alignas(16) uint8_t frequency[64]{}, start[64]{};
    alignas(16) uint8_t reciprocal_low[64]{}, reciprocal_high[64]{};  // bytes of min(2^16 / frequency, 2^16 - 1)
    alignas(16) uint8_t slot_of[256]{};                               // [start + rank] -> slot
};

// The 128 states of the fast coder, by byte: a renormalised state is its upper byte, and a quotient becomes it.
struct FastStates {
    alignas(32) uint8_t low[128], high[128];
};

// Where an encoder, which runs backwards, put its last unit and its last escaped symbol.
struct BackwardOutput {
    uint8_t* units;  // 64 bytes before the space that the symbols can need are writable
    uint8_t* tail;
};

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
    // Code whole steps, numbers `first` .. first + steps - 1 of the chunk, from the last to the first.
    void (*fast_steps)(const FastLookup&, FastStates&, size_t first, size_t steps, const uint8_t* symbols,
                       BackwardOutput&);
};

const EncodeKernels& best_encode_kernels();
std::vector<const EncodeKernels*> all_encode_kernels();  // what this processor can run, portable first
const EncodeKernels* avx2_encode_kernels();

}  // namespace taut
