// Many arrays decoded at once.
#pragma once
#include "array.hpp"

namespace taut {

// One array: its header, its chunks where they lie, and the buffer for its values.
struct DecodeJob {
    ConstBytes header;
    std::vector<ConstBytes> chunks;
    uint8_t* out;
    size_t out_size;
};

// Decodes all jobs; their headers and chunks form one queue for the threads. A FormatError names job and chunk.
void decode_arrays(const std::vector<DecodeJob>& jobs, int threads, const Kernels& kernels);

}  // namespace taut
