// NEON decoders: 32 lanes at a time, every table as lookups in 64 bytes. All processors of this architecture have them.
#include "simd/neon.hpp"

namespace taut {

const Kernels* neon_kernels() {
    static constexpr Kernels kernels = [] {
        Kernels k{"neon", wide::fast_steps<NeonLanes>, wide::dense_steps<NeonLanes>, neon_count, neon_patch, neon_merge,
                  wide::uniform_of<NeonNumbers>};
        k.matrix_fast = wide::matrix_fast_of<NeonLanes>;
        k.matrix_dense = wide::matrix_dense_of<NeonLanes>;
        k.transpose = wide::transpose_of<NeonLanes>;
        k.matrix_row = wide::matrix_row_of<NeonNumbers>;
        k.combine = wide::combine_of<NeonNumbers, 4>;
        return k;
    }();
    return &kernels;
}

}  // namespace taut
