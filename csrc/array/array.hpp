// The door of array/: a coded array, which is a header that describes it and chunks that decode independently
// (docs/coding.md). What the kinds of array share, and no more: how each is coded stands in split/, matrix/, adaptive/, records/.
//
// values.hpp is a second door: inline code that puts values together, wanted by decoders alone.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "base/bytes.hpp"
#include "base/memory.hpp"
#include "rans/rans.hpp"

namespace taut {

enum class Kind : uint8_t {
    stored = 0, split = 1, uniform = 2, constant = 3, matrix = 4, adaptive = 5, records = 6, delta = 7
};
enum class CoderId : uint8_t { fast = 0, dense = 1, small = 2 };  // small: dense with four lanes
enum class Mode : uint8_t { unsigned_ = 0, float_ = 1, signed_ = 2 };
enum class Output : uint8_t { f32 = 0, f16 = 1, bf16 = 2, f64 = 3 };
constexpr int width_of(Output output) { return output == Output::f32 ? 4 : output == Output::f64 ? 8 : 2; }

constexpr uint8_t kSkipZero = 1;       // flag: +0 and -0 keep no raw bits
constexpr uint8_t kMinusZero = 254;    // symbol of -0 where zeros are bare: masks leave both zeros behind
constexpr uint8_t kException = 255;    // symbol whose upper part stands in the exception list
constexpr uint8_t kDropRow = 0x80;     // row byte: this row's values end in `drop` zero bits
constexpr int kMaxTables = 32;
constexpr uint64_t kMaxChunkValues = uint64_t(1) << 22;
constexpr int kMaxLow = 57;            // raw bits per value: a 64-bit load at any bit offset holds them

// What a matrix has beside the fields of other kinds; empty vectors stand for the usual case.
struct MatrixFields {
    explicit MatrixFields(Memory& memory = usual_memory)
        : row_exponents(memory), column_exponents(memory), row_classes(memory), column_classes(memory), map(memory),
          basis(memory), coded_tables(memory) {}
    bool trellis = false;
    uint8_t row_fraction = 0, column_fraction = 0;   // exponents count in 2^-fraction octaves
    Vec<uint8_t> row_exponents, column_exponents;  // one each; empty: all kNoExponent
    Vec<uint8_t> row_classes, column_classes;      // one each; empty: all zero
    Vec<uint8_t> map;                              // [row class][column class] -> context; empty: all zero
    size_t column_class_count = 1;
    Vec<uint8_t> basis;                            // as coded (matrix/basis.hpp); empty: rows are values themselves
    Vec<uint8_t> coded_tables;                     // what a writer puts for the tables
};
constexpr uint8_t kNoExponent = 128;

// What a decoder puts: values, or the grid's integers that they are made of, as int32.
enum class Put : uint8_t { values, integers };

// What an adaptive array has; the values' grid, and how its model begins.
struct AdaptiveFields {
    explicit AdaptiveFields(Memory& memory = usual_memory) : levels(memory), scales(memory), zeros(memory) {}
    uint32_t period = 1;          // columns of one kernel
    uint64_t group = 0;           // columns that share a scale; 0: a whole row
    int32_t low = 0;              // index of the first level
    Vec<float> levels;    // none: an index is its own level
    Vec<float> scales;    // by row and group; none: `step` for all
    Vec<int32_t> zeros;   // as many as scales, or none
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

// Where the bits of a symbol lie in a record: `width` bits of each symbol, in one byte of it. All places count in bits.
struct RecordPiece {
    uint16_t offset = 0;
    uint8_t width = 0;
    std::array<uint16_t, 6> stride{};  // of each loop
};

// A number of the record that a field's contexts follow from.
struct RecordTerm {
    uint8_t source = 0;    // the number of an earlier field, or kGroupNumber
    uint8_t function = 0;  // of its value (records/records.hpp)
    int32_t coefficient = 0;
};
constexpr uint8_t kGroupNumber = 255;

// Like symbols of a record: how they lie in it, what their contexts follow from, and how they are coded.
struct RecordField {
    uint8_t bits = 0, elements = 1;  // of an element; elements of a symbol
    uint8_t loops = 0, outer = 0;    // the first `outer` loops run over groups of symbols that share a context
    std::array<uint16_t, 6> counts{};
    uint8_t pieces = 0, terms = 0;
    std::array<RecordPiece, 8> piece{};
    std::array<RecordTerm, 8> term{};
    uint8_t shift = 0, buckets = 1;
    bool coded = false;
    int32_t base = 0;                // of the first bucket
    std::array<uint8_t, 64> map{};   // bucket -> context
    uint16_t first_table = 0, contexts = 0;

    size_t groups() const { return product(0, outer); }   // of a record
    size_t inner() const { return product(outer, loops); }  // symbols of a group
    size_t symbols() const { return product(0, loops); }
    int width() const { return bits * elements; }

private:
    size_t product(size_t from, size_t to) const {
        size_t n = 1;
        for (size_t i = from; i < to; i++) n *= counts[i];
        return n;
    }
};

// What an array of records has; its tables stand with those of other kinds.
struct RecordsFields {
    explicit RecordsFields(Memory& memory = usual_memory) : layout(memory), fields(memory) {}
    uint32_t record = 1;     // bytes of one
    Vec<uint8_t> layout;     // as it lies in the header; kept for writing alone
    Vec<RecordField> fields;
};

// How values differ from a base's (delta/).
struct DeltaFields {
    explicit DeltaFields(Memory& memory = usual_memory) : rows(memory), columns(memory) {}
    bool exclusive = false;       // the bits that differ; else the difference of the numbers that the words are
    bool sparse = false;          // the places that differ are coded, not every value; all below is unused
    uint8_t shift = 0;            // where a float's exponent begins
    int64_t origin = 0;           // of the classes
    Vec<uint8_t> rows, columns;   // scales, or untouched
};

struct ArrayHeader {
    explicit ArrayHeader(Memory& memory = usual_memory);
#if !TAUT_DECODE_ONLY
    ArrayHeader(const ArrayHeader&) = default;
#endif
    ArrayHeader(ArrayHeader&&) noexcept;
    ArrayHeader& operator=(ArrayHeader&&) noexcept;
    ~ArrayHeader();
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
    Vec<uint8_t> rows;             // one byte per row: table | kDropRow; empty: all zero
    Vec<Table> tables;             // matrix with trellis: two a context, one per quantiser
    uint64_t value = 0;                    // constant
    MatrixFields matrix;
    AdaptiveFields adaptive;
    RecordsFields records;
    DeltaFields delta;

    uint64_t row_count() const { return count / row_length + (count % row_length != 0); }
    uint64_t chunk_count() const {
        if (kind == Kind::constant || count == 0) return 0;
        return row_count() / chunk_rows + (row_count() % chunk_rows != 0);
    }
    CoderTraits traits() const { return coder == CoderId::fast ? kFast : kDense; }
    uint64_t output_bytes() const { return count * width; }
};

// A header of an array of more rows than this is read up to its geometry alone while the buffer that it decodes to is
// not known (codec/codec.hpp).
constexpr uint64_t kMaxLooseRows = uint64_t(1) << 24;

// What all headers begin with: magic, kind, width, count, rows and chunks. The rest belongs to the kind.
std::vector<uint8_t> begin_header(const ArrayHeader& header);
Status read_geometry(ByteReader& in, ArrayHeader& h);

struct Encoded {
    std::vector<uint8_t> header;
    std::vector<std::vector<uint8_t>> chunks;
};

struct EncodeOptions {
    bool max_effort = false;
    uint64_t row_length = 1;
    int threads = 1;
    bool few_lanes = false;  // as small as can be rather than fast to decode
};

}  // namespace taut
