// The NEON kernels compiled for any processor, under another name. Where SIMDe is absent there are none.
#pragma once
#include "simd/simd.hpp"

#if __has_include(<simde/arm/neon.h>)

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wignored-attributes"  // vectors as template arguments lose only their alignment
#endif
#define SIMDE_ENABLE_NATIVE_ALIASES
#define SIMDE_NO_INLINE  // a sanitiser would spend minutes on it inlined
#include <simde/arm/neon.h>

namespace taut {
const Kernels* emulated_neon();
}

#define TAUT_EMULATE_NEON
#define neon_kernels emulated_neon
#define neon_merge emulated_neon_merge
#define neon_count emulated_neon_count
#define neon_patch emulated_neon_patch
#include "../../csrc/simd/neon.cpp"
#include "../../csrc/simd/neon_values.cpp"
#undef neon_kernels
#undef neon_merge
#undef neon_count
#undef neon_patch

#else

namespace taut {
inline const Kernels* emulated_neon() { return nullptr; }
}  // namespace taut

#endif
