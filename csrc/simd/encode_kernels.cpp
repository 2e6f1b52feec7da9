// Which encoders this processor can run.
#include "simd/simd.hpp"

namespace taut {

std::vector<const EncodeKernels*> all_encode_kernels() {
    static const EncodeKernels portable{"portable", nullptr, nullptr, nullptr, nullptr};
    std::vector<const EncodeKernels*> all{&portable};
#if TAUT_AVX2_ENCODE
    if (const EncodeKernels* k = avx2_encode_kernels()) all.push_back(k);
#endif
    return all;
}

const EncodeKernels& best_encode_kernels() {
    static const EncodeKernels* best = all_encode_kernels().back();
    return *best;
}

}  // namespace taut
