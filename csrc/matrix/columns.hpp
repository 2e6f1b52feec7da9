// Columns of a block of rows, by the coder that they were coded with.
#pragma once
#include "matrix/matrix.hpp"

namespace taut {

constexpr size_t kMostLanes = 128;

// The states of a chunk's lanes.
union LaneStates {
    std::array<uint16_t, 128> fast;
    std::array<uint32_t, 64> dense;
};

// What differs from coder to coder; all else of a chunk is decoded by one function.
struct ColumnLoops {
    size_t state_size;
    bool (*all)(const LaneStates& states, bool last);  // whether the first states are in range, or the last ones right
    Status (*columns)(const ArrayHeader& h, const Kernels& kernels, const MatrixLookup& lookup, const uint32_t* slots,
                      LaneStates& states, MatrixColumns& m);
};

const ColumnLoops& loops_of(CoderId coder);

}  // namespace taut
