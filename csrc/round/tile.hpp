// A tile: some rows of 128 columns, and the memory that its rounding takes.
#pragma once
#include <memory>
#include <vector>

#include "round/round.hpp"

namespace taut {

constexpr size_t kTileColumns = 128;  // a row's search is settled where they end
constexpr size_t kTileRows = 128;     // at most
constexpr size_t kStrip = 8;          // rows of the left operand of a product that lie together, column by column
constexpr size_t kSpan = 32;          // columns of the right operand that lie together, row by row
constexpr size_t kDepth = 256;        // rows of the right operand that are packed at a time
constexpr int kStates = 8;            // of the trellis

// Tiles side by side: what those to the right need of those to the left.
struct TileRow {
    size_t first = 0, count = 0;  // rows of the matrix
    size_t strips = 0;            // of kStrip rows
    std::vector<float> missed;    // w' - v: strips x columns x kStrip; empty without a columns' factor
    std::vector<float> shares;    // rows' factor: strips x (rows up to the last one here) x kStrip; empty without
    std::vector<uint8_t> states;  // of the trellis, by row
};

// What a search carries from column to column: eight numbers a column, one for each state.
struct Survivors {
    float targets[kTileColumns * kStates];
    float choices[kTileColumns * kStates];
    float levels[kTileColumns * kStates];
    float missed[kTileColumns * kStates];
    int32_t parents[kTileColumns * kStates];
};

struct Tile {
    const RoundSpec* spec = nullptr;
    TileRow* row = nullptr;
    int16_t* indices = nullptr;  // of the whole matrix
    size_t begin = 0, width = 0;  // columns
    std::vector<LargeIndex> large;

    float wanted[kTileRows * kTileColumns];              // w'
    float feedback[kTileRows * kTileColumns];            // sum over the columns to the left of A_kj (w' - v)_ik
    float factor[kTileColumns * kTileColumns];           // A of these columns
    float errors[kStrip * kTileColumns];                 // of the last kStrip rows, as packed
    // Of one row:
    float steps[kTileColumns], inverses[kTileColumns], weights[kTileColumns];
    const RateCurve* curves[kTileColumns];
    float row_levels[kTileColumns];
    int32_t row_indices[kTileColumns];
    Survivors survivors;
};

// What a thread works with.
struct Workspace {
    std::vector<std::unique_ptr<Tile>> tiles;
    std::vector<float> packed = std::vector<float>(kDepth * kTileColumns);
};

// A row's indices go to the matrix, those of its first column to `at`.
void store_indices(Tile& tile, size_t at);

// The same for every instruction set, which has a file each.
void avx2_round_tiles(Workspace& space, size_t count);
void avx512_round_tiles(Workspace& space, size_t count);

}  // namespace taut
