// The door of round/ to matrices: rounding with error feedback, by a trellis or level by level. quantize.hpp is the
// other one: rounding without feedback, by distortion and rate.
//
// What is lost at one weight is made good at those not rounded yet.
//
// The loss of an error E = W - V is tr(R E C E^T) with R = B diag(r) B^T and C = A diag(c) A^T, A and B unit upper
// triangular, so it is the sum of r_i c_j (B^T E A)_ij^2. Going through rows and columns in order, (i, j) has the error
// t_ij - v_ij of a target t_ij that is fixed by what was rounded before:
//     w'_ij = w_ij + sum_{k<i} B_ki e_kj,    t_ij = w'_ij + sum_{k<j} A_kj (w'_ik - v_ik)
// (optimal brain surgeon, Hassibi and Stork 1992; GPTQ, Frantar et al. 2022; both sides: YAQA, Tseng et al. 2025).
// With the trellis every survivor of the Viterbi search along a row carries targets of its own.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "simd/simd.hpp"

namespace taut {

// Bits of the magnitude k > 0 are about at[1] + (k - 1) (at[2] + (k - 1) at[3]), of zero at[0]; per quantiser.
struct RateCurve {
    std::array<std::array<float, 4>, 2> at{};
};

struct RoundSpec {
    size_t rows = 0, columns = 0;
    const float* values = nullptr;
    const float* row_steps = nullptr;      // distance of levels in (i, j): row_steps[i] * column_scales[j]
    const float* column_scales = nullptr;
    const float* row_weights = nullptr;    // what a squared error of one step costs: row_weights[i] * column_weights[j]
    const float* column_weights = nullptr;
    const float* columns_factor = nullptr;  // A, columns x columns, above the diagonal; null: no feedback along rows
    const float* rows_factor = nullptr;     // B^T, rows x rows, below the diagonal; null: rows are independent
    std::array<float, 3> offsets{};         // as in a coded matrix
    float lambda = 0;                       // squared steps per bit
    const uint8_t* row_class = nullptr;     // curve of (i, j): min(row_class[i] + column_class[j], curves - 1)
    const uint8_t* column_class = nullptr;
    std::vector<RateCurve> curves;
    bool trellis = false;
    int threads = 1;                        // used where rows are independent; the result is the same with any
};

// Indices of the coded matrix, rows x columns, and the numbers that they decode to, if `decoded` is not null.
void round_matrix(const RoundSpec& spec, int32_t* indices, float* decoded, const Kernels& kernels);

}  // namespace taut
