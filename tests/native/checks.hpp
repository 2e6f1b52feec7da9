// What the tests of rounding and of threads share: a count of failures, and numbers that are the same everywhere.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace checks {

inline int failures = 0;

inline void check(bool good, const std::string& what) {
    if (good || ++failures > 20) return;
    std::printf("FAILED %s\n", what.c_str());
}

inline int result(const char* name) {
    std::printf("%s: %s\n", name, failures ? "FAILED" : "ok");
    return failures != 0;
}

// Knuth's MMIX generator. Not the distributions of <random>, which differ between libraries.
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint32_t bits() {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return uint32_t(state_ >> 32);
    }
    size_t below(size_t n) { return bits() % n; }
    float share() { return float(bits() >> 8) / float(1 << 24); }
    // A sum of uniforms: mean 0, deviation 1.
    float bell() {
        float sum = -6;
        for (int i = 0; i < 12; i++) sum += share();
        return sum;
    }

private:
    uint64_t state_;
};

inline std::vector<float> bells(Random& random, size_t n, float deviation = 1) {
    std::vector<float> v(n);
    for (float& x : v) x = random.bell() * deviation;
    return v;
}

}  // namespace checks
