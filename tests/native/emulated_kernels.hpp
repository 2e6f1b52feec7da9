// The AVX-512 kernels compiled for any processor, beside the real ones and under other names. Where SIMDe is absent
// there are none.
#pragma once
#include "simd/simd.hpp"

#if !defined(TAUT_NO_EMULATION) && __has_include(<simde/x86/avx512.h>)

#include "avx512_emulation.hpp"

namespace taut {
bool can_emulate();
const Kernels* emulated_kernels();
}  // namespace taut

#define TAUT_EMULATE_AVX512
#define avx512_kernels emulated_kernels
#define avx512_merge emulated_merge
#define avx512_uniform emulated_uniform
#define avx512_matrix_fast emulated_matrix_fast
#define avx512_matrix_dense emulated_matrix_dense
#define avx512_matrix_row emulated_matrix_row
#define avx512_combine emulated_combine
#define cpu_has_avx512 can_emulate
#include "../../csrc/simd/avx512.cpp"
#include "../../csrc/simd/avx512_matrix.cpp"
#include "../../csrc/simd/avx512_merge.cpp"
#undef avx512_kernels
#undef avx512_merge
#undef avx512_uniform
#undef avx512_matrix_fast
#undef avx512_matrix_dense
#undef avx512_matrix_row
#undef avx512_combine
#undef cpu_has_avx512

namespace taut {
bool can_emulate() { return true; }
}  // namespace taut

#else

namespace taut {
inline const Kernels* emulated_kernels() { return nullptr; }
}  // namespace taut

#endif
