// The basis of a matrix (docs/coding.md, "Basis"): its levels stand for coefficients, and a row of values is the sum of the
// basis' rows, each times its coefficient. Rows that go the same ways take fewer bits so.
#pragma once
#include "matrix/matrix.hpp"

namespace taut {

constexpr uint64_t kMostBasis = 2048;  // columns

// A basis as it lies in a header, columns x columns numbers.
Status read_basis(const Vec<uint8_t>& coded, uint64_t columns, const Kernels& kernels, Memory& memory, Vec<float>& basis);

// Rows of values from rows of coefficients. May be used by one thread at a time.
class Combination {
public:
    explicit Combination(Memory& memory = usual_memory) : which_(memory), sum_(memory) {}
    Status open(size_t columns);
    // Puts a row of as many values as there are columns. Sums that are not finite are refused: processors differ in NaNs.
    Status put(const Kernels& kernels, const float* coefficients, const float* basis, Output output, uint8_t* out);

private:
    Vec<uint32_t> which_;  // coefficients that are not zero
    Vec<float> sum_;
};

}  // namespace taut
