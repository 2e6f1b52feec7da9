// AVX2 decoders: 32 lanes at a time, every table as 16-byte shuffles.
#include "simd/avx2.hpp"

namespace taut {

constinit const Expansion expansion;

const Kernels* avx2_kernels() {
    static constexpr Kernels kernels = [] {
        Kernels k{"avx2", wide::fast_steps<Avx2>, wide::dense_steps<Avx2>, avx2_count, avx2_patch, avx2_merge, avx2_uniform};
        k.round_block = TAUT_ROUND_BLOCK;
        k.matrix_fast = avx2_matrix_fast;
        k.matrix_dense = avx2_matrix_dense;
        k.transpose = avx2_transpose;
        k.matrix_row = avx2_matrix_row;
        k.combine = avx2_combine;
#if !TAUT_DECODE_ONLY
        k.delta_classes = avx2_delta_classes;
        k.delta_move = avx2_delta_move;
#endif
        return k;
    }();
    return cpu_has_avx2() ? &kernels : nullptr;
}

}  // namespace taut
