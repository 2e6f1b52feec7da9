// What a processor-specific file offers to decoders and to the quantiser.
#pragma once
#include "array/values.hpp"

namespace taut {

// Quantiser (round/quantize.cpp): magnitudes below kLevels - 1 have counts of their own, the last stands for all beyond.
constexpr int kLevels = 64;
constexpr size_t kRoundBlock = 256;

// Magnitude k or k - 1? k from k + at[min(k, kLevels - 1)] steps on.
struct Thresholds {
    std::array<float, kLevels> at{};
};

// Per level 1, 2 and 3+: how far its members lie inside of it in all, in steps, and how many they are.
struct Inside {
    std::array<double, 3> sum{}, members{};
};

// Symbols of a matrix that need a second look: escapes, exceptions, levels that no byte holds (matrix/rare.hpp).
class RareSymbols;

// Settles those of the lanes in `mask`, of this column; `mark` is the byte of an escape, odd bytes of `quantisers`
// stand for quantiser 1.
using MeetRare = void(RareSymbols& rare, uint64_t mask, size_t first_lane, size_t column, uint8_t mark,
                      const uint8_t* quantisers, uint8_t* symbols);

// Columns of one group of rows to decode, row r in lane r.
struct MatrixColumns {
    const uint8_t* context;  // of each column
    size_t from, columns;    // the next column, and the first that is not decoded now
    size_t rows;
    uint8_t* trellis;        // state of each lane
    const uint8_t *p, *end;  // units
    int8_t* levels;          // [column][lane]
    RareSymbols* rare;
    MeetRare* meet_rare;
};

// Tables by context, as bytes that shuffles look up: `parts` of them follow each other, each 2^bucket_bits entries for
// quantiser 0 and as many for quantiser 1. Local symbols base .. base + limit - 1 are not rare (modulo 256).
struct MatrixLookup {
    struct Constants {
        uint8_t first, base, limit;
    };
    int bucket_bits = 4;
    bool trellis = false;
    size_t stride = 0;               // bytes of a context
    Vec<uint8_t> bytes;              // 64 more behind the last
    Vec<Constants> constants;
    explicit MatrixLookup(Memory& memory = usual_memory) : bytes(memory), constants(memory) {}
    const uint8_t* part(size_t context, size_t k) const {
        return bytes.data() + context * stride + (k << (bucket_bits + 1));
    }
};

constexpr size_t kMatrixBlock = 128;  // columns that are decoded and put together at a time

// Levels of a part of a row to numbers: (level - sign * offset[min(|level|, 7)]) * row_scale * column_scale.
struct MatrixRule {
    std::array<float, 8> offset;
    float row_scale;
    const float* column_scale;
};

// What symbols do to the words of a delta's base: turned round where `signs` and `flip` say, moved, and turned back;
// symbols say of negative ones the other direction (delta/apply.hpp).
struct DeltaRule {
    int width;
    bool exclusive;
    uint64_t signs, flip, negative;
};
constexpr int32_t kLargestKey = 1 << 20;  // of exponents that are larger; no offset comes near
// The class of a word of a delta's base: offset and the column's byte less its exponent, which mask and shift give, between 0
// and none - 1; `none` itself where the column's byte is 0 (delta/decode.cpp).
struct DeltaClasses {
    int width, shift;
    uint32_t mask;
    int32_t offset;
    uint8_t none;
};
// Symbols that lie by class, 64 spare bytes behind the last, and the classes that many values have; others may occur too.
struct DeltaOrder {
    const uint8_t* symbols;
    uint8_t classes[256];
    size_t often;
    uint8_t none;
};
struct DeltaBits {
    const uint8_t* data;
    size_t size;
};

// Null members fall back to the portable code. Wide loads run over the end of their input by at most 64 bytes, wide
// stores never over the end of a row; symbols have 64 spare bytes behind them.
struct Kernels {
    const char* name = "";
    DecodeFastSteps* fast_steps = nullptr;
    DecodeDenseSteps* dense_steps = nullptr;
    size_t (*count)(const uint8_t* symbols, size_t n, uint8_t wanted) = nullptr;
    // Put `tail` where `mark` stands in symbols[0 .. n); returns the end of the tail used.
    const uint8_t* (*patch)(uint8_t* symbols, size_t n, uint8_t mark, const uint8_t* tail) = nullptr;
    // Put the first values of a row together, exceptions and bare zeros aside; return how many, perhaps none.
    size_t (*merge)(const SplitRule&, int width, const uint8_t* symbols, const uint8_t* raw, size_t n, uint8_t* out) = nullptr;
    size_t (*uniform)(const UniformRule&, Output, const uint8_t* symbols, size_t n, uint8_t* out) = nullptr;
    // Round at most kRoundBlock values; adds to counts[kLevels] and to `inside`. indices may be null.
    void (*round_block)(const float* values, size_t n, float inverse_step, const Thresholds&, uint32_t* counts,
                        Inside& inside, int32_t* indices) = nullptr;
    // Decode columns while a unit for each of their rows is left; the states are the chunk's.
    void (*matrix_fast)(const MatrixLookup&, uint16_t* state, MatrixColumns&) = nullptr;
    void (*matrix_dense)(const MatrixLookup&, uint32_t* state, MatrixColumns&) = nullptr;
    // levels[column][lane] of kMatrixBlock columns to out[lane][column]; lanes are a multiple of 64.
    void (*transpose)(const int8_t* levels, size_t lanes, size_t rows, int8_t* out) = nullptr;
    // Put the first values of a row together; return how many, perhaps none.
    size_t (*matrix_row)(const MatrixRule&, Output, const int8_t* levels, size_t n, uint8_t* out) = nullptr;
    // Sum the rows of a basis that `which` numbers, each times its coefficient, in this order, each product rounded before
    // it is added; the first columns of it, and returns how many, perhaps none (matrix/basis.hpp).
    size_t (*combine)(const float* coefficients, const uint32_t* which, size_t used, const float* basis, size_t columns,
                      float* out) = nullptr;
    // The classes of the first values of a row; returns how many, perhaps none. Without `columns` there are no bytes to add.
    size_t (*delta_classes)(const DeltaClasses&, const uint8_t* base, const uint8_t* columns, size_t n, uint8_t* out) = nullptr;
    // Classes of a delta's values: add how many there are of each but `none` to `counts`; and put symbols, which lie by
    // class from at[class] on, in the order of the values, zero for a value of class `none`; `out` may be `of`.
    void (*delta_count)(const uint8_t* of, size_t n, uint8_t none, uint64_t* counts) = nullptr;
    void (*delta_order)(const uint8_t* of, size_t n, const DeltaOrder&, uint64_t* at, uint8_t* out) = nullptr;
    // Make the first values of a delta; return how many, perhaps none. `at` is the next raw bit.
    size_t (*delta_move)(const DeltaRule&, const DeltaBits&, const uint8_t* base, const uint8_t* symbols, size_t n,
                         uint64_t& at, uint8_t* out) = nullptr;
};

// What `combine` leaves: the columns `from` .. of the sum, on any processor.
void combine_from(size_t from, const float* coefficients, const uint32_t* which, size_t used, const float* basis,
                  size_t columns, float* out);

void avx2_round_block(const float* values, size_t n, float inverse_step, const Thresholds&, uint32_t* counts,
                      Inside& inside, int32_t* indices);
void avx2_transpose(const int8_t* levels, size_t lanes, size_t rows, int8_t* out);
#if TAUT_DECODE_ONLY
#define TAUT_ROUND_BLOCK nullptr
#else
#define TAUT_ROUND_BLOCK avx2_round_block
#endif

inline size_t count_bytes(const Kernels& kernels, const uint8_t* bytes, size_t n, uint8_t wanted) {
    if (kernels.count) return kernels.count(bytes, n, wanted);
    size_t found = 0;
    for (size_t i = 0; i < n; i++) found += bytes[i] == wanted;
    return found;
}

}  // namespace taut
