// Every wide kernel that this processor runs, and AVX-512 emulated where it lacks it; how best_kernels() picks.
#include "emulated_kernels.hpp"
#include "kernel_checks.hpp"

namespace {

// A decoder that is wrong in one member only must not pass the check that best_kernels() makes.
void test_self_check() {
    for (const Kernels* k : all_kernels()) check(decodes_alike(*k, portable_kernels()), k->name, "self check");
    Kernels wrong = portable_kernels();
    wrong.count = [](const uint8_t*, size_t, uint8_t) { return size_t(0); };
    check(!decodes_alike(wrong, portable_kernels()), "wrong count", "self check");
    wrong = portable_kernels();
    wrong.merge = [](const SplitRule&, int, const uint8_t*, const uint8_t*, size_t n, uint8_t*) { return n; };
    check(!decodes_alike(wrong, portable_kernels()), "wrong merge", "self check");
    wrong = portable_kernels();
    wrong.uniform = [](const UniformRule&, Output, const uint8_t*, size_t n, uint8_t*) { return n; };
    check(!decodes_alike(wrong, portable_kernels()), "wrong uniform", "self check");
    wrong = portable_kernels();
    wrong.fast_steps = [](const Table&, uint16_t*, size_t&, size_t, const uint8_t*&, uint8_t*) {};
    check(!decodes_alike(wrong, portable_kernels()), "wrong fast steps", "self check");
    wrong = portable_kernels();
    wrong.dense_steps = [](const Table&, uint32_t*, size_t&, size_t, const uint8_t*&, uint8_t*) {};
    check(!decodes_alike(wrong, portable_kernels()), "wrong dense steps", "self check");
    wrong = portable_kernels();
    wrong.matrix_fast = [](const MatrixLookup&, uint16_t*, MatrixColumns& m) { m.from = m.columns; };
    check(!decodes_alike(wrong, portable_kernels()), "wrong fast matrix", "self check");
    wrong = portable_kernels();
    wrong.matrix_dense = [](const MatrixLookup&, uint32_t*, MatrixColumns& m) { m.from = m.columns; };
    check(!decodes_alike(wrong, portable_kernels()), "wrong dense matrix", "self check");
    wrong = portable_kernels();
    wrong.transpose = [](const int8_t*, size_t, size_t, int8_t*) {};
    check(!decodes_alike(wrong, portable_kernels()), "wrong transposition", "self check");
    wrong = portable_kernels();
    wrong.matrix_row = [](const MatrixRule&, Output, const int8_t*, size_t n, uint8_t*) { return n; };
    check(!decodes_alike(wrong, portable_kernels()), "wrong matrix row", "self check");
    wrong = portable_kernels();
    wrong.combine = [](const float*, const uint32_t*, size_t, const float*, size_t columns, float*) { return columns; };
    check(!decodes_alike(wrong, portable_kernels()), "wrong sums of a basis", "self check");
}

}  // namespace

int main() {
    test_self_check();
    bool native = false;
    for (const Kernels* k : all_kernels()) {
        native |= std::strcmp(k->name, "avx512") == 0;
        test_kernels(*k, k->name);
    }
    const Kernels* emulated = emulated_kernels();
    if (emulated) test_kernels(*emulated, "avx512 (emulated)");
    else std::printf("avx512 (emulated): skipped, SIMDe is not installed (libsimde-dev)\n");
    if (!native) std::printf("avx512: skipped, this processor lacks it\n");
    return failures ? 1 : 0;
}
