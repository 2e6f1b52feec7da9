// A basis from its bytes, and rows of values from rows of coefficients.
#include "matrix/basis.hpp"

#include <cfloat>
#include <cmath>

#include "array/values.hpp"
#include "simd/numbers.hpp"

namespace taut {

namespace {

// What simd/numbers.hpp asks for, of any compiler: vectors of four floats, which most processors and WebAssembly have.
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

Status read_basis(const Vec<uint8_t>& coded, uint64_t columns, const Kernels& kernels, Memory& memory, Vec<float>& basis) {
    ByteReader in(coded.data(), coded.size());
    const uint64_t size = in.varint();
    const uint8_t* data = in.take(size);
    TAUT_TRY(in.status());
    ByteReader header(data, size);
    ArrayHeader h(memory);
    TAUT_TRY(read_geometry(header, h));
    const bool square = h.row_length == columns && h.count == columns * columns && h.chunk_count() == 1;
    TAUT_REQUIRE(h.kind == Kind::matrix && square, "array header: a basis that is no square matrix of these columns");
    TAUT_TRY(read_matrix_fields(header, h));
    TAUT_REQUIRE(h.output == Output::f32 && h.matrix.basis.empty(), "array header: a basis of other numbers than float32");
    MatrixDecoder decoder(memory);
    TAUT_TRY(decoder.open(h, kernels));
    TAUT_HAVE(basis.try_resize_raw(h.count));
    const size_t left = in.left();
    TAUT_TRY(decoder.decode_chunk(h, kernels, 0, {in.take(left), left}, reinterpret_cast<uint8_t*>(basis.data())));
    for (float v : basis) TAUT_REQUIRE(std::isfinite(v), "array header: an infinite basis");
    return {};
}

Status Combination::open(size_t columns) {
    TAUT_HAVE(which_.try_resize_raw(columns) && sum_.try_resize_raw(columns));
    return {};
}

Status Combination::put(const Kernels& kernels, const float* coefficients, const float* basis, Output output, uint8_t* out) {
    const size_t columns = sum_.size();
    size_t used = 0;
    for (size_t k = 0; k < columns; k++) {
        which_[used] = uint32_t(k);
        used += coefficients[k] != 0;
    }
    float* const sum = sum_.data();
    const uint32_t* which = which_.data();
    size_t j = kernels.combine ? kernels.combine(coefficients, which, used, basis, columns, sum) : 0;
    for (; j + 32 <= columns; j += 32)
        wide::combine_at<AnyNumbers, 2>(coefficients, which, used, basis + j, columns, sum + j);
    for (; j < columns; j++) {
        sum[j] = 0;
        for (size_t i = 0; i < used; i++) sum[j] += coefficients[which[i]] * basis[size_t(which[i]) * columns + j];
    }
    for (size_t k = 0; k < columns; k++) {
        TAUT_REQUIRE(std::fabs(sum[k]) <= FLT_MAX, "a value of a basis is infinite");
        store(output, sum[k], out, k);
    }
    return {};
}

}  // namespace taut
