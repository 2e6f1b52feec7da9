// The door of matrix/: quantised matrices (docs/coding.md, "Matrix").
#pragma once
#include <memory>

#include "array/array.hpp"
#include "simd/simd.hpp"

namespace taut {

// Trellis coded quantisation (Marcellin and Fischer 1990; the eight states of JPEG 2000 part 2): the state's lowest bit
// names the quantiser, the symbol's lowest bit leads to the next state.
constexpr uint8_t kNextState[8][2] = {{0, 2}, {7, 5}, {1, 3}, {6, 4}, {2, 0}, {5, 7}, {3, 1}, {4, 6}};

// Reconstruction level of index q, in steps: quantiser 0 has the even ones, quantiser 1 the odd ones and zero.
constexpr int64_t level_of(int64_t q, bool trellis, int quantiser) {
    if (!trellis) return q;
    return 2 * q - (quantiser ? (q > 0) - (q < 0) : 0);
}

inline size_t lanes_of(CoderId coder) { return coder == CoderId::fast ? 128 : coder == CoderId::dense ? 64 : 4; }

// A quantised matrix: how its indices decode, and what is known of its rows and columns (docs/coding.md).
struct MatrixSpec {
    uint64_t columns = 1;
    float step = 0;
    std::array<float, 3> offsets{};
    Output output = Output::f32;
    MatrixFields fields;  // trellis, fractions and exponents; classes and map are chosen here
};
// Puts a coded matrix into a header, as the basis of the one that is to be coded.
void set_basis(MatrixSpec& spec, ConstBytes header, ConstBytes chunk);
Encoded encode_matrix(const int32_t* indices, uint64_t count, const MatrixSpec& spec, const EncodeOptions& options);
Encoded encode_matrix_with(CoderId coder, const int32_t* indices, uint64_t count, const MatrixSpec& spec,
                           const EncodeOptions& options);
// encode_matrix of rows that are not all at hand: three passes over them, in order, some whole rows at a time, in the
// third whole chunks; the header is known before the third.
class MatrixStream {
public:
    MatrixStream(uint64_t count, const MatrixSpec& spec, const EncodeOptions& options);
    ~MatrixStream();
    uint64_t chunk_rows() const;
    void sum(const int32_t* indices, uint64_t first, uint64_t rows);
    void count(const int32_t* indices, uint64_t first, uint64_t rows);
    std::vector<uint8_t> header();
    std::vector<std::vector<uint8_t>> code(const int32_t* indices, uint64_t first, uint64_t rows, int threads) const;

private:
    struct State;
    std::unique_ptr<State> state_;
};
double estimate_matrix(const int32_t* indices, uint64_t count, const MatrixSpec& spec, const EncodeOptions& options);

std::vector<uint8_t> write_matrix_header(const ArrayHeader& h);
Status read_matrix_fields(ByteReader& in, ArrayHeader& h);

// What the values of a row are multiplied by: the step and the row's exponent.
float matrix_row_scale(const ArrayHeader& h, uint64_t row);

// What is said where integers are asked for that 32 bits do not hold; their values are decoded all the same.
inline constexpr char kWideLevel[] = "a level of more than 32 bits";

// Decodes chunks of one array: units to symbols with a trellis state per lane, symbols to levels, levels to numbers. May
// be used by several threads at once.
class MatrixDecoder {
public:
    explicit MatrixDecoder(Memory& memory = usual_memory);
    ~MatrixDecoder();
    Status open(const ArrayHeader& h, const Kernels& kernels);
    // `out` takes the chunk's values, or its levels as int32, of those rows of the chunk that are not 0 in `rows`, of all
    // without it; without `out` symbols and levels are decoded, but nothing is put.
    Status decode_chunk(const ArrayHeader& h, const Kernels& kernels, uint64_t chunk, ConstBytes bytes, uint8_t* out,
                        Put put = Put::values, const uint8_t* rows = nullptr) const;
    float column_scale(uint64_t column) const { return column_scale_[column]; }
    const Vec<float>& basis() const { return basis_; }  // one row after the other; empty: rows are values themselves

private:
    Memory& memory_;
    Vec<float> column_scale_;
    MatrixLookup lookup_;
    Vec<uint32_t> slots_;  // by context, those of quantiser 1 behind those of quantiser 0; none where a wide decoder is
    Vec<float> basis_;

    Status decode(const ArrayHeader& h, Output output, const Kernels& kernels, uint64_t chunk, ConstBytes bytes,
                  uint8_t* out, Put put, const uint8_t* wanted) const;
};

}  // namespace taut
