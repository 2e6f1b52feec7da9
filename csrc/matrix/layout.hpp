// What encoder and decoder of matrices share: the order of rows, contexts, byte streams, tables.
#pragma once
#include <memory>

#include "base/bits.hpp"
#include "matrix/matrix.hpp"

namespace taut {

constexpr int kMaxClasses = 64;

constexpr uint8_t kRice = 4;  // byte stream type that only matrices have
constexpr int kMaxRice = 7, kMaxOnes = 32;
enum MatrixFlag : uint8_t { kTrellis = 1, kByteOffsets = 2, kFloatOffsets = 4, kRows = 8, kColumns = 16, kRowClasses = 32,
                      kColumnClasses = 64, kBasis = 128 };

inline uint8_t symbol_of(int32_t q) {
    const uint32_t s = uint32_t(q) + 128;
    return s < kException ? uint8_t(s) : kException;
}

// 2^((exponent - 128) / 2^fraction).
float exponent_scale(uint8_t exponent, int fraction);

// Rows of one chunk as they are coded: by class, each class cut into groups of as many rows as there are lanes.
struct RowGroup {
    uint8_t row_class;
    uint32_t begin, count;  // in `order`
};
struct RowOrder {
    explicit RowOrder(Memory& memory = usual_memory) : order(memory), groups(memory) {}
    Vec<uint32_t> order;  // rows of the chunk
    Vec<RowGroup> groups;
};
Status order_matrix_rows(const ArrayHeader& h, uint64_t first_row, uint64_t rows, RowOrder& result);

// The context of every column for rows of this class.
void contexts_of(const ArrayHeader& h, uint8_t row_class, uint8_t* context);

// Byte streams of matrices: as others, or Rice codes of distances from a middle, which suit a few dozen bytes.
std::vector<uint8_t> write_short(const std::vector<uint8_t>& bytes);
Status read_short(const uint8_t* data, size_t size, uint64_t count, Vec<uint8_t>& out);

// At most as many numbers as six bits count.
class Falls {
public:
    void push_back(int v) { all_[size_++ % all_.size()] = v; }
    size_t size() const { return size_; }
    int operator[](size_t k) const { return all_[k]; }
    const int* begin() const { return all_.data(); }
    const int* end() const { return all_.data() + size_; }

private:
    std::array<int, 64> all_{};
    size_t size_ = 0;
};

// A symmetric table: how far each magnitude's frequency lies below that of the middle.
struct Slopes {
    int unit = 0;           // falls count in 2^(-1 - unit) octaves
    int escape = -1;        // the escape's fall in quarters of an octave; -1: it has no slot
    Falls fall;             // of magnitudes 1, 2, ...
    int sixteenths(size_t k) const { return fall[k] * (8 >> unit); }
};

// One context's tables, one per quantiser: the same window of bytes, and at the end the same number of buckets.
struct ContextTables {
    std::vector<Table> tables;
    std::vector<Slopes> slopes;  // of each table, or none: then its frequencies are written
    double bits = 0;             // of the symbols they were made for, escapes and the tables' own
};
ContextTables make_context(const std::vector<Histogram>& counts, CoderTraits coder);
std::vector<uint8_t> write_contexts(const std::vector<ContextTables>& contexts);
Status read_contexts(BitReader& in, Vec<Table>& tables, size_t contexts, size_t quantisers, CoderTraits coder);

// All tables of a matrix get the buckets of the largest; aliases are built.
void finish_tables(Vec<Table>& tables, CoderTraits coder);

// Classes of rows and columns, the map and the tables.
struct MatrixContexts {
    std::vector<uint8_t> row_classes, column_classes, map;  // empty where there is one class
    size_t column_class_count = 1;
    std::vector<ContextTables> contexts;
    double bits = 0;  // of everything: symbols, tables, classes
};
// Contexts from two passes over the rows, which come in order, some at a time, and begin at `indices`.
class MatrixScan {
public:
    explicit MatrixScan(const ArrayHeader& h);
    ~MatrixScan();
    void sum(const int32_t* indices, size_t first, size_t rows);
    void count(const int32_t* indices, size_t first, size_t rows);
    MatrixContexts choose(const ArrayHeader& h) const;

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};
MatrixContexts choose_matrix_contexts(const ArrayHeader& h, const int32_t* indices);

}  // namespace taut
