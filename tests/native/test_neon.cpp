// The NEON decoder on processors of another kind, emulated; on its own it is one of those that test_kernels.cpp tries.
#include "emulated_neon.hpp"
#include "kernel_checks.hpp"

int main() {
    if (const Kernels* emulated = emulated_neon()) test_kernels(*emulated, "neon (emulated)");
    else std::printf("neon (emulated): skipped, SIMDe is not installed (libsimde-dev)\n");
    return failures ? 1 : 0;
}
