// Rounding a matrix with error feedback: what is lost at one weight is made good at those not rounded yet.
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

#include "array.hpp"

namespace taut {

constexpr size_t kRoundColumns = 128;  // of a block; a row's search is settled where a block ends

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

// Some rows while they are rounded, one block of columns after the other. Rows count from `first` in these buffers.
struct RoundTask {
    size_t first = 0, last = 0;
    float* feedback = nullptr;    // rows x columns: sum over the finished blocks of A_kj (w' - v)_ik
    float* errors = nullptr;      // rows x columns: W - V; null where rows are independent
    float* missed = nullptr;      // rows x kRoundColumns: w' - v of this block
    uint8_t* states = nullptr;    // of the trellis, per row
    float* survivors = nullptr;   // kRoundColumns x 8: targets of the columns to come
    float* choices = nullptr;     // kRoundColumns x 8: index
    int32_t* parents = nullptr;   // kRoundColumns x 8: survivor that a survivor comes from
    int32_t* indices = nullptr;   // of the whole matrix
    float* decoded = nullptr;     // of the whole matrix, or null
};

// Rounds columns `begin` to `end` of the task's rows and passes their errors on to the columns behind.
void avx2_round_columns(const RoundSpec& spec, const RoundTask& task, size_t begin, size_t end);

}  // namespace taut
