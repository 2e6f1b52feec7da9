// AVX2 decoders: 32 lanes at a time, every table as 16-byte shuffles.
#include "simd/avx2.hpp"

namespace taut {

constinit const Expansion expansion;

const Kernels* avx2_kernels() {
    static constexpr Kernels kernels{"avx2",     wide::fast_steps<Avx2>, wide::dense_steps<Avx2>, avx2_count,
                                 avx2_patch, avx2_merge, avx2_uniform, TAUT_ROUND_BLOCK,
                                 avx2_matrix_fast, avx2_matrix_dense, avx2_transpose, avx2_matrix_row};
    return cpu_has_avx2() ? &kernels : nullptr;
}

}  // namespace taut
