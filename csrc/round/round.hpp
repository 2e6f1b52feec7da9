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
//
// Both sums go from the first k to the last, each product rounded before it is added: so the result is the same for
// any size of tiles, any number of threads and any instruction set.
//
//   wavefront.hpp  the order of the tiles: each waits for those above and to the left of it
//   tile.hpp       a tile's memory, and products of matrices that make good what was lost outside of it
//   search.hpp     one row of a tile: the trellis search, or level by level
//   tiles.hpp      some tiles at once, by an instruction set's registers (portable.hpp, wide.hpp)
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
    float* errors = nullptr;               // room for rows x columns, needed with rows_factor; may be `values` itself
    const float* row_steps = nullptr;      // distance of levels in (i, j): row_steps[i] * column_scales[j]
    const float* column_scales = nullptr;
    const float* row_weights = nullptr;    // what a squared error of one step costs: row_weights[i] * column_weights[j]
    const float* column_weights = nullptr;
    const float* columns_factor = nullptr;  // A, columns x columns, above the diagonal; null: no feedback along rows
    const float* rows_factor = nullptr;     // B, rows x rows, above the diagonal; null: rows are independent
    std::array<float, 3> offsets{};         // as in a coded matrix
    float lambda = 0;                       // squared steps per bit
    const uint8_t* row_class = nullptr;     // curve of (i, j): min(row_class[i] + column_class[j], curves - 1)
    const uint8_t* column_class = nullptr;
    std::vector<RateCurve> curves;
    bool trellis = false;
    int threads = 1;  // the result is the same with any
};

struct LargeIndex {
    size_t at;
    int32_t index;
};

// Indices of the coded matrix, rows x columns. Returns those that 16 bits do not hold, in order of their places, where
// `indices` has zeros.
std::vector<LargeIndex> round_matrix(const RoundSpec& spec, int16_t* indices, const Kernels& kernels);

// Which rate curve a weight has: min(row_class[i] + column_class[j], curves - 1).
struct CurveClasses {
    const uint8_t* row_class = nullptr;
    const uint8_t* column_class = nullptr;
    size_t curves = 1;
};

// How often each magnitude occurs, added to counts[curve][quantiser][min(magnitude, kCounted - 1)]: what prices are
// made of. Without a trellis all is the first quantiser's.
constexpr size_t kCounted = 24;
void count_magnitudes(const int16_t* indices, size_t rows, size_t columns, const CurveClasses& classes, bool trellis,
                      int64_t* counts);

// What turns indices into numbers: (level - offset) * row_steps[i] * column_scales[j], each product rounded.
struct LevelSpec {
    const float* row_steps = nullptr;
    const float* column_scales = nullptr;
    std::array<float, 3> offsets{};
    bool trellis = false;
};

// Index is int8_t, int16_t or int32_t.
template <class Index>
void decode_indices(const Index* indices, size_t rows, size_t columns, const LevelSpec& spec, float* decoded);

}  // namespace taut
