// What the processor-specific files share.
#pragma once
#include "kernels.hpp"

#if defined(_MSC_VER)
#define TAUT_INLINE __forceinline
#else
#define TAUT_INLINE inline __attribute__((always_inline))
#endif

namespace taut {

bool cpu_has_avx2();
bool cpu_has_avx512();  // F, BW, VL, DQ, VBMI and VBMI2

const Kernels* avx2_kernels();
const Kernels* avx512_kernels();

}  // namespace taut
