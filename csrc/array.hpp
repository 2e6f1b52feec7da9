// A coded array: a header that describes it and chunks that decode independently (docs/coding.md).
#pragma once
#include <memory>
#include <stdexcept>
#include <string>

#include "tables.hpp"

namespace taut {

// The bytes given are not what an encoder writes. Never leaves the core: the bindings translate it.
struct FormatError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Kernels;  // kernels.hpp
class MatrixDecoder;  // matrix_decode.hpp

enum class Kind : uint8_t { stored = 0, split = 1, uniform = 2, constant = 3, matrix = 4, adaptive = 5 };
enum class CoderId : uint8_t { fast = 0, dense = 1, small = 2 };  // small: dense with four lanes
enum class Mode : uint8_t { unsigned_ = 0, float_ = 1, signed_ = 2 };
enum class Output : uint8_t { f32 = 0, f16 = 1, bf16 = 2, f64 = 3 };

constexpr uint8_t kSkipZero = 1;       // flag: +0 and -0 keep no raw bits
constexpr uint8_t kMinusZero = 254;    // symbol of -0 where zeros are bare: masks leave both zeros behind
constexpr uint8_t kException = 255;    // symbol whose upper part stands in the exception list
constexpr uint8_t kDropRow = 0x80;     // row byte: this row's values end in `drop` zero bits
constexpr int kMaxTables = 32;
constexpr uint64_t kMaxChunkValues = uint64_t(1) << 22;
constexpr int kMaxLow = 57;            // raw bits per value: a 64-bit load at any bit offset holds them

// What a matrix has beside the fields of other kinds; empty vectors stand for the usual case.
struct MatrixFields {
    bool trellis = false;
    uint8_t row_fraction = 0, column_fraction = 0;   // exponents count in 2^-fraction octaves
    std::vector<uint8_t> row_exponents, column_exponents;  // one each; empty: all kNoExponent
    std::vector<uint8_t> row_classes, column_classes;      // one each; empty: all zero
    std::vector<uint8_t> map;                              // [row class][column class] -> context; empty: all zero
    size_t column_class_count = 1;
    std::vector<uint8_t> coded_tables;                     // what a writer puts for the tables
};
constexpr uint8_t kNoExponent = 128;

// What an adaptive array has; the values' grid, and how its model begins.
struct AdaptiveFields {
    uint32_t period = 1;          // columns of one kernel
    uint64_t group = 0;           // columns that share a scale; 0: a whole row
    int32_t low = 0;              // index of the first level
    std::vector<float> levels;    // none: an index is its own level
    std::vector<float> scales;    // by row and group; none: `step` for all
    std::vector<int32_t> zeros;   // as many as scales, or none
    uint8_t options = 0;          // kRowFlags and its like
    uint8_t prior = 0;            // log-odds of nonzero and of |q| > 1 to begin with
    uint8_t largest = 31;         // floor(log2 |q|) at most
    bool signs = false;           // whether signs are modelled

    bool row_flags() const { return options & 1; }
    bool column_flags() const { return options & 2; }
    int row() const { return options >> 2 & 3; }
    int column() const { return options >> 4 & 3; }
    int near() const { return options >> 6; }
};

struct ArrayHeader {
    Kind kind = Kind::stored;
    CoderId coder = CoderId::fast;
    uint8_t width = 1;   // bytes per value
    Mode mode = Mode::unsigned_;
    Output output = Output::f32;
    uint8_t low = 0;     // raw bits per value
    uint8_t drop = 0;    // of which this many are zero, and not stored, in rows marked kDropRow
    uint8_t flags = 0;
    uint64_t count = 0;
    uint64_t row_length = 1;
    uint64_t chunk_rows = 1;
    uint64_t base = 0;                     // split: upper part of symbol 1
    float step = 0;                        // uniform
    std::array<float, 3> offsets{};        // uniform: how far levels 1, 2 and 3+ sit inside, in steps
    std::vector<uint8_t> rows;             // one byte per row: table | kDropRow; empty: all zero
    std::vector<Table> tables;             // matrix with trellis: two a context, one per quantiser
    uint64_t value = 0;                    // constant
    MatrixFields matrix;
    AdaptiveFields adaptive;

    uint64_t row_count() const { return count / row_length + (count % row_length != 0); }
    uint64_t chunk_count() const {
        if (kind == Kind::constant || count == 0) return 0;
        return row_count() / chunk_rows + (row_count() % chunk_rows != 0);
    }
    CoderTraits traits() const { return coder == CoderId::fast ? kFast : kDense; }
    uint64_t output_bytes() const { return count * width; }
};

std::vector<uint8_t> write_header(const ArrayHeader& header);

// Reads a header of an array that decodes to `nbytes` bytes. A few bytes may claim any number of rows, each of which
// takes a byte here: only the caller's buffer bounds them. Where its size is not known yet (kAnySize) the header of an
// array of more than kMaxLooseRows rows is read up to its geometry alone.
constexpr uint64_t kAnySize = ~uint64_t(0), kMaxLooseRows = uint64_t(1) << 24;
ArrayHeader read_header(const uint8_t* data, size_t size, uint64_t nbytes = kAnySize);

// Small byte streams (rows' classes, escapes): raw, a run, or order-0 dense rANS, whichever is shortest.
std::vector<uint8_t> write_bytes(const std::vector<uint8_t>& bytes);
std::vector<uint8_t> read_bytes(const uint8_t* data, size_t size, uint64_t count, const Kernels& kernels);

struct ConstBytes {
    const uint8_t* data;
    size_t size;
};

// Decodes the chunks of one array; may be used by several threads at once.
class ArrayDecoder {
public:
    ArrayDecoder(ArrayHeader header, const Kernels& kernels);
    const ArrayHeader& header() const { return header_; }
    // `out` is the start of the whole array's output, header().output_bytes() long.
    void decode_chunk(uint64_t chunk, ConstBytes bytes, uint8_t* out) const;
    void fill_constant(uint8_t* out) const;

private:
    ArrayHeader header_;
    const Kernels& kernels_;
    std::vector<Slots> slots_;  // for kernels that lack a wide decoder
    std::shared_ptr<const MatrixDecoder> matrix_;
};

struct Encoded {
    std::vector<uint8_t> header;
    std::vector<std::vector<uint8_t>> chunks;
};

struct EncodeOptions {
    bool max_effort = false;
    uint64_t row_length = 1;
    int threads = 1;
};

Encoded encode_split(const uint8_t* values, uint64_t count, int width, Mode mode, int mantissa,
                     const EncodeOptions& options);
Encoded encode_uniform(const int32_t* indices, uint64_t count, float step, std::array<float, 3> offsets, Output output,
                       const EncodeOptions& options);
// What encode_uniform would write, estimated from its tables without coding (bytes).
double estimate_uniform(const int32_t* indices, uint64_t count, const EncodeOptions& options);

// A quantised matrix: how its indices decode, and what is known of its rows and columns (docs/coding.md).
struct MatrixSpec {
    uint64_t columns = 1;
    float step = 0;
    std::array<float, 3> offsets{};
    Output output = Output::f32;
    MatrixFields fields;  // trellis, fractions and exponents; classes and map are chosen here
};
Encoded encode_matrix(const int32_t* indices, uint64_t count, const MatrixSpec& spec, const EncodeOptions& options);
Encoded encode_matrix_with(CoderId coder, const int32_t* indices, uint64_t count, const MatrixSpec& spec,
                           const EncodeOptions& options);
double estimate_matrix(const int32_t* indices, uint64_t count, const MatrixSpec& spec, const EncodeOptions& options);

const Kernels& portable_kernels();
const Kernels& best_kernels();  // the widest that this processor runs and that decodes as the portable ones do
std::vector<const Kernels*> all_kernels();  // what this processor can run, portable first

}  // namespace taut
