// Which decoders this processor can run.
#include "array.hpp"

namespace laconic {

#if LACONIC_AVX2
const Kernels* avx2_kernels();
#endif
#if LACONIC_AVX512
const Kernels* avx512_kernels();
#endif

std::vector<const Kernels*> all_kernels() {
    static const Kernels portable{"portable", nullptr, nullptr};
    std::vector<const Kernels*> all{&portable};
#if LACONIC_AVX2
    if (const Kernels* k = avx2_kernels()) all.push_back(k);
#endif
#if LACONIC_AVX512
    if (const Kernels* k = avx512_kernels()) all.push_back(k);
#endif
    return all;
}

const Kernels& best_kernels() {
    static const Kernels* best = all_kernels().back();
    return *best;
}

}  // namespace laconic
