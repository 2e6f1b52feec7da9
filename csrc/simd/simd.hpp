// The door of simd/: what wider instructions can do for decoders, encoders and the quantiser, and which of it this
// processor runs. Which decoder is trusted is decided above, where arrays can be decoded (codec/codec.hpp).
//
//   kernels.hpp           members that a processor-specific decoder may have
//   encode_kernels.hpp    those of an encoder
#pragma once
#include <vector>

#include "simd/encode_kernels.hpp"
#include "simd/kernels.hpp"

#if defined(_MSC_VER)
#define TAUT_INLINE __forceinline
#else
#define TAUT_INLINE inline __attribute__((always_inline))
#endif

namespace taut {

bool cpu_has_avx2();
bool cpu_has_avx512();  // F, BW, VL, DQ, VBMI and VBMI2

const Kernels& portable_kernels();
// What this processor can run, portable first; gives how many.
constexpr size_t kMostKernels = 3;
size_t list_kernels(const Kernels* (&found)[kMostKernels]);
inline std::vector<const Kernels*> all_kernels() {
    const Kernels* found[kMostKernels];
    return {found, found + list_kernels(found)};
}

// Null where the processor lacks what they need.
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();
const Kernels* neon_kernels();  // never null

}  // namespace taut
