// Sums of a basis' rows on any processor: by vectors of four floats, which most of them and WebAssembly have.
#include <cstring>

#include "simd/numbers.hpp"

namespace taut {
namespace {

// What simd/numbers.hpp asks for to combine rows.
struct AnyNumbers {
#if defined(__GNUC__)
    using Four = float __attribute__((vector_size(16)));
#else
    struct Four {
        float at[4];
        friend Four operator+(Four a, const Four& b) {
            for (int k = 0; k < 4; k++) a.at[k] += b.at[k];
            return a;
        }
        friend Four operator*(Four a, const Four& b) {
            for (int k = 0; k < 4; k++) a.at[k] *= b.at[k];
            return a;
        }
    };
#endif
    struct Floats {
        Four at[4];
    };
    static TAUT_INLINE Floats load_floats(const float* p) {
        Floats v;
        std::memcpy(&v, p, sizeof v);
        return v;
    }
    static TAUT_INLINE Floats floats(float v) {
        const float all[4] = {v, v, v, v};
        Four four;
        std::memcpy(&four, all, sizeof four);
        return {{four, four, four, four}};
    }
    static TAUT_INLINE Floats plus(const Floats& a, const Floats& b) {
        return {{a.at[0] + b.at[0], a.at[1] + b.at[1], a.at[2] + b.at[2], a.at[3] + b.at[3]}};
    }
    static TAUT_INLINE Floats times(const Floats& a, const Floats& b) {
        return {{a.at[0] * b.at[0], a.at[1] * b.at[1], a.at[2] * b.at[2], a.at[3] * b.at[3]}};
    }
    template <Output output>
    static TAUT_INLINE void put(const Floats& v, uint8_t* out) {
        std::memcpy(out, &v, sizeof v);
    }
};

}  // namespace

void combine_from(size_t from, const float* coefficients, const uint32_t* which, size_t used, const float* basis,
                  size_t columns, float* out) {
    size_t j = from;
    for (; j + 32 <= columns; j += 32)
        wide::combine_at<AnyNumbers, 2>(coefficients, which, used, basis + j, columns, out + j);
    for (; j < columns; j++) {
        out[j] = 0;
        for (size_t i = 0; i < used; i++) out[j] += coefficients[which[i]] * basis[size_t(which[i]) * columns + j];
    }
}

}  // namespace taut
