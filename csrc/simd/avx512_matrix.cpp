// AVX-512 decoder of matrices, and levels to numbers.
#include "simd/avx512.hpp"

namespace taut {

void avx512_matrix_fast(const MatrixLookup& t, uint16_t* state, MatrixColumns& m) {
    wide::matrix_fast_of<Avx512>(t, state, m);
}
void avx512_matrix_dense(const MatrixLookup& t, uint32_t* state, MatrixColumns& m) {
    wide::matrix_dense_of<Avx512>(t, state, m);
}
size_t avx512_matrix_row(const MatrixRule& rule, Output output, const int8_t* levels, size_t n, uint8_t* out) {
    return wide::matrix_row_of<Avx512>(rule, output, levels, n, out);
}
size_t avx512_combine(const float* coefficients, const uint32_t* which, size_t used, const float* basis, size_t columns,
                      float* out) {
    return wide::combine_of<Avx512, 8>(coefficients, which, used, basis, columns, out);
}
size_t avx512_uniform(const UniformRule& rule, Output output, const uint8_t* symbols, size_t n, uint8_t* out) {
    return wide::uniform_of<Avx512>(rule, output, symbols, n, out);
}

}  // namespace taut
