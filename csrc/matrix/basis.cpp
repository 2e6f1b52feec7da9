// A basis from its bytes, and rows of values from rows of coefficients.
#include "matrix/basis.hpp"

#include <cfloat>
#include <cmath>

#include "array/values.hpp"

namespace taut {

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
    const size_t done = kernels.combine ? kernels.combine(coefficients, which, used, basis, columns, sum) : 0;
    combine_from(done, coefficients, which, used, basis, columns, sum);
    for (size_t k = 0; k < columns; k++) {
        TAUT_REQUIRE(std::fabs(sum[k]) <= FLT_MAX, "a value of a basis is infinite");
        store(output, sum[k], out, k);
    }
    return {};
}

}  // namespace taut
