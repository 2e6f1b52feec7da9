// Which decoders this processor can run.
#include "simd/simd.hpp"

#if TAUT_AVX2 || TAUT_AVX512
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace taut {

#if TAUT_AVX2 || TAUT_AVX512
// Asked here and not of the compiler's own library, which brings 4 kB of names of processors.
namespace {

enum Register { eax, ebx, ecx, edx };

// A bit of what the processor says of itself; 0 of a leaf that it has not.
bool told(int leaf, Register in, int bit) {
#if defined(_MSC_VER)
    int r[4];
    __cpuid(r, 0);
    if (r[eax] < leaf) return false;
    __cpuidex(r, leaf, 0);
#else
    unsigned r[4];
    if (!__get_cpuid_count(unsigned(leaf), 0, &r[eax], &r[ebx], &r[ecx], &r[edx])) return false;
#endif
    return r[in] >> bit & 1;
}

// Whether the system saves these registers when it changes from one process to another (XCR0).
bool saved(unsigned mask) {
    if (!told(1, ecx, 27)) return false;
#if defined(_MSC_VER)
    const unsigned low = unsigned(_xgetbv(0));
#else
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
#endif
    return (low & mask) == mask;
}

#if defined(__APPLE__)
constexpr unsigned kWide = 0x6;  // macOS tells of the registers of AVX-512 once a process uses them
#else
constexpr unsigned kWide = 0xe6;
#endif

}  // namespace

bool cpu_has_avx2() { return saved(0x6) && told(1, ecx, 23) && told(7, ebx, 5) && told(7, ebx, 8); }
bool cpu_has_avx512() {
    if (!cpu_has_avx2() || !saved(kWide) || !told(7, ecx, 1) || !told(7, ecx, 6)) return false;
    for (int bit : {16, 17, 30, 31})
        if (!told(7, ebx, bit)) return false;
    return true;
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
#if TAUT_NEON
    found[n++] = neon_kernels();
#endif
#if TAUT_AVX2
    if (const Kernels* k = avx2_kernels()) found[n++] = k;
#endif
#if TAUT_AVX512
    if (const Kernels* k = avx512_kernels()) found[n++] = k;
#endif
    return n;
}

}  // namespace taut
