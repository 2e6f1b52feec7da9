// A basis from its bytes, and rows of values from rows of coefficients.
#include "matrix/basis.hpp"

#include <cfloat>
#include <cmath>

#include "array/values.hpp"

namespace taut {

namespace {

// As many columns at a time as compilers keep in registers, and then one after the other.
constexpr size_t kAtOnce = 32;

template <size_t width>
void sum_columns(const float* coefficients, const uint32_t* which, size_t used, const float* basis, size_t columns,
                 float* out) {
    float sum[width] = {};
    for (size_t i = 0; i < used; i++) {
        const float by = coefficients[which[i]];
        const float* row = basis + size_t(which[i]) * columns;
        for (size_t j = 0; j < width; j++) sum[j] += by * row[j];
    }
    std::memcpy(out, sum, sizeof sum);
}

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
    for (; j + kAtOnce <= columns; j += kAtOnce)
        sum_columns<kAtOnce>(coefficients, which, used, basis + j, columns, sum + j);
    for (; j < columns; j++) sum_columns<1>(coefficients, which, used, basis + j, columns, sum + j);
    bool finite = true;
    for (size_t k = 0; k < columns; k++) finite &= std::fabs(sum[k]) <= FLT_MAX;
    TAUT_REQUIRE(finite, "a value of a basis is infinite");
    if (output == Output::f32) std::memcpy(out, sum, columns * sizeof(float));
    else
        for (size_t k = 0; k < columns; k++) store(output, sum[k], out, k);
    return {};
}

}  // namespace taut
