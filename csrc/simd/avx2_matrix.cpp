// AVX2 decoder of matrices, and levels to numbers.
#include "simd/avx2.hpp"

namespace taut {
namespace {

// Eight numbers of a row: (level - sign * offset) * row * column.
TAUT_INLINE __m256 amounts(const MatrixRule& rule, __m256 offset, __m256 row, const int8_t* levels, size_t i) {
    const __m256i level = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(levels + i)));
    const __m256i near = _mm256_min_epi32(_mm256_abs_epi32(level), _mm256_set1_epi32(7));
    const __m256 sign = _mm256_and_ps(_mm256_castsi256_ps(level), _mm256_set1_ps(-0.0f));
    const __m256 by = _mm256_xor_ps(_mm256_permutevar8x32_ps(offset, near), sign);
    const __m256 amount = _mm256_mul_ps(_mm256_sub_ps(_mm256_cvtepi32_ps(level), by), row);
    return _mm256_mul_ps(amount, _mm256_loadu_ps(rule.column_scale + i));
}

TAUT_INLINE __m256i to_bf16(__m256 v) {  // in the lower half of each lane; v is not a NaN
    const __m256i u = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
}

TAUT_INLINE __m256i to_f16(__m256 v) {  // as above
    const __m256i sign = _mm256_and_si256(_mm256_srli_epi32(_mm256_castps_si256(v), 16), _mm256_set1_epi32(0x8000));
    const __m256i u = _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(INT32_MAX));
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 13), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0xfff)));
    const __m256i normal = _mm256_srli_epi32(_mm256_sub_epi32(rounded, _mm256_set1_epi32(0x38000000)), 13);
    // Multiples of 2^-24: added to a half, whose last place that is, the sum is rounded as it should be.
    const __m256 half = _mm256_set1_ps(0.5f);
    const __m256i tiny = _mm256_sub_epi32(_mm256_castps_si256(_mm256_add_ps(_mm256_castsi256_ps(u), half)),
                                          _mm256_castps_si256(half));
    const __m256i is_tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x38800000), u);
    const __m256i some = _mm256_blendv_epi8(normal, tiny, is_tiny);
    return _mm256_or_si256(sign, _mm256_min_epi32(some, _mm256_set1_epi32(0x7c00)));
}

template <Output output>
size_t row_of(const MatrixRule& rule, const int8_t* levels, size_t n, uint8_t* out) {
    const __m256 offset = _mm256_loadu_ps(rule.offset.data()), row = _mm256_set1_ps(rule.row_scale);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256 v = amounts(rule, offset, row, levels, i), w = amounts(rule, offset, row, levels, i + 8);
        if constexpr (output == Output::f32) {
            _mm256_storeu_ps(reinterpret_cast<float*>(out + 4 * i), v);
            _mm256_storeu_ps(reinterpret_cast<float*>(out + 4 * i + 32), w);
        } else {
            const __m256i a = output == Output::f16 ? to_f16(v) : to_bf16(v);
            const __m256i b = output == Output::f16 ? to_f16(w) : to_bf16(w);
            Avx2::store(out + 2 * i, _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8));
        }
    }
    return i;
}

// Eight columns in each of `width` registers, as wide::combine_at has sixteen.
template <size_t width>
TAUT_INLINE void combine_at(const float* coefficients, const uint32_t* which, size_t used, const float* basis, size_t columns,
                            float* out) {
    __m256 sum[width];
    for (size_t k = 0; k < width; k++) sum[k] = _mm256_setzero_ps();
    for (size_t i = 0; i < used; i++) {
        const __m256 by = _mm256_set1_ps(coefficients[which[i]]);
        const float* row = basis + which[i] * columns;
        for (size_t k = 0; k < width; k++)
            sum[k] = _mm256_add_ps(sum[k], _mm256_mul_ps(by, _mm256_loadu_ps(row + 8 * k)));
    }
    for (size_t k = 0; k < width; k++) _mm256_storeu_ps(out + 8 * k, sum[k]);
}

}  // namespace

size_t avx2_combine(const float* coefficients, const uint32_t* which, size_t used, const float* basis, size_t columns,
                    float* out) {
    size_t j = 0;
    for (; j + 64 <= columns; j += 64) combine_at<8>(coefficients, which, used, basis + j, columns, out + j);
    return j;
}

void avx2_matrix_fast(const MatrixLookup& t, uint16_t* state, MatrixColumns& m) { wide::matrix_fast_of<Avx2>(t, state, m); }
void avx2_matrix_dense(const MatrixLookup& t, uint32_t* state, MatrixColumns& m) {
    wide::matrix_dense_of<Avx2>(t, state, m);
}
void avx2_transpose(const int8_t* levels, size_t lanes, size_t rows, int8_t* out) {
    wide::transpose_of<Avx2>(levels, lanes, rows, out);
}

size_t avx2_matrix_row(const MatrixRule& rule, Output output, const int8_t* levels, size_t n, uint8_t* out) {
    switch (output) {
        case Output::f32: return row_of<Output::f32>(rule, levels, n, out);
        case Output::f16: return row_of<Output::f16>(rule, levels, n, out);
        case Output::bf16: return row_of<Output::bf16>(rule, levels, n, out);
        default: return 0;
    }
}

}  // namespace taut
