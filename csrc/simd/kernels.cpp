// Which decoders this processor can run.
#include "simd/simd.hpp"

#if defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#endif

namespace taut {

#if (TAUT_AVX2 || TAUT_AVX512) && !defined(_MSC_VER)
bool cpu_has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}
bool cpu_has_avx512() {
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2");
}
#elif defined(_MSC_VER) && defined(_M_X64)
namespace {
// Leaf 7 tells what the processor has, XCR0 which registers the system saves.
bool leaf7(int reg, int bit) {
    int r[4];
    __cpuidex(r, 7, 0);
    return r[reg] >> bit & 1;
}
bool saved(unsigned long long mask) {
    int r[4];
    __cpuid(r, 1);
    return (r[2] >> 27 & 1) && (_xgetbv(0) & mask) == mask;
}
}  // namespace
bool cpu_has_avx2() { return saved(0x6) && leaf7(1, 5) && leaf7(1, 8); }
bool cpu_has_avx512() {
    return cpu_has_avx2() && saved(0xe6) && leaf7(1, 16) && leaf7(1, 17) && leaf7(1, 30) && leaf7(1, 31) &&
           leaf7(2, 1) && leaf7(2, 6);
}
#else
bool cpu_has_avx2() { return false; }
bool cpu_has_avx512() { return false; }
#endif

const Kernels& portable_kernels() {
    static constexpr Kernels kernels = [] {
        Kernels k;
        k.name = "portable";
        return k;
    }();
    return kernels;
}

size_t list_kernels(const Kernels* (&found)[kMostKernels]) {
    size_t n = 0;
    found[n++] = &portable_kernels();
#if TAUT_AVX2
    if (const Kernels* k = avx2_kernels()) found[n++] = k;
#endif
#if TAUT_AVX512
    if (const Kernels* k = avx512_kernels()) found[n++] = k;
#endif
    return n;
}

}  // namespace taut
