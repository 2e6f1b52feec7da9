// Quantised matrices to coded arrays.
#include <algorithm>

#include "base/parallel.hpp"
#include "matrix/layout.hpp"

namespace taut {
namespace {

ArrayHeader matrix_header(CoderId coder, uint64_t count, const MatrixSpec& spec) {
    ArrayHeader h;
    h.kind = Kind::matrix;
    constexpr uint8_t widths[4] = {4, 2, 2, 8};
    h.output = spec.output;
    h.width = widths[int(spec.output)];
    h.step = spec.step;
    h.offsets = spec.offsets;
    h.matrix = spec.fields;
    h.count = count;
    h.row_length = spec.columns;
    const auto plain = [](const Vec<uint8_t>& e) {
        return std::all_of(e.begin(), e.end(), [](uint8_t v) { return v == kNoExponent; });
    };
    if (plain(h.matrix.row_exponents)) h.matrix.row_exponents.clear();
    if (plain(h.matrix.column_exponents)) h.matrix.column_exponents.clear();
    h.coder = coder;
    const uint64_t lanes = lanes_of(h.coder), wanted = (uint64_t(1) << 20) / h.row_length / lanes * lanes;
    h.chunk_rows = std::clamp<uint64_t>(wanted, lanes, std::max<uint64_t>(lanes, h.row_count()));
    h.chunk_rows = std::clamp<uint64_t>(h.chunk_rows, 1, std::min(h.row_count(), kMaxChunkValues / h.row_length));
    return h;
}

// Final states cost many lanes some 128 bytes, and a few rows leave most of them idle.
CoderId choose_coder(uint64_t count, uint64_t columns, const EncodeOptions& options) {
    if (count / columns < 32 || count < (options.max_effort ? 65536u : 16384u)) return CoderId::small;
    return options.max_effort || count < 49152 ? CoderId::dense : CoderId::fast;
}

void set_contexts(ArrayHeader& h, MatrixContexts contexts) {
    MatrixFields& m = h.matrix;
    m.row_classes = contexts.row_classes;
    m.column_classes = contexts.column_classes;
    m.map = contexts.map;
    m.column_class_count = contexts.column_class_count;
    m.coded_tables = write_contexts(contexts.contexts);
    for (const ContextTables& c : contexts.contexts)
        for (const Table& t : c.tables) h.tables.push_back(t);
    finish_tables(h.tables, h.traits());
}

// Symbols of a chunk in coded order, each with its table; its rows begin at `indices`.
struct Coded {
    std::vector<uint8_t> symbols, tables, exceptions;
    std::vector<uint32_t> group_rows;  // rows of each group
};

Coded order_symbols(const ArrayHeader& h, const int32_t* indices, uint64_t first_row, uint64_t rows) {
    const size_t columns = size_t(h.row_length), lanes = lanes_of(h.coder);
    const bool trellis = h.matrix.trellis;
    Coded c;
    c.symbols.resize(rows * columns);
    c.tables.resize(rows * columns);
    std::vector<uint8_t> contexts(columns);
    std::vector<const int32_t*> from(lanes);
    size_t at = 0;
    int row_class = -1;
    RowOrder in_order;
    if (order_matrix_rows(h, first_row, rows, in_order)) throw std::bad_alloc();
    for (const RowGroup& g : in_order.groups) {
        if (g.row_class != row_class) contexts_of(h, uint8_t(row_class = g.row_class), contexts.data());
        const size_t n = g.count;
        c.group_rows.push_back(uint32_t(n));
        for (size_t r = 0; r < n; r++) from[r] = indices + size_t(in_order.order[g.begin + r]) * columns;
        std::array<uint8_t, 128> state{};
        for (size_t j = 0; j < columns; j++)
            for (size_t r = 0; r < n; r++, at++) {
                const int32_t q = from[r][j];
                const uint8_t s = symbol_of(q);
                c.symbols[at] = s;
                c.tables[at] = uint8_t(trellis ? 2 * contexts[j] + (state[r] & 1) : contexts[j]);
                state[r] = kNextState[state[r]][s & 1];
                if (s == kException) put_raw(c.exceptions, q);
            }
    }
    return c;
}

// The decoder's steps backwards: the last group, its last column, its last row first.
template <class Coder>
std::vector<uint8_t> code_matrix(const ArrayHeader& h, const std::vector<EncodeTable>& tables, const Coded& c) {
    const size_t lanes = lanes_of(h.coder), columns = size_t(h.row_length), unit_size = sizeof(typename Coder::Unit);
    std::vector<uint8_t> units(c.symbols.size() * unit_size), tail(c.symbols.size());
    uint8_t *p = units.data() + units.size(), *t = tail.data() + tail.size();
    std::vector<uint32_t> state(lanes, Coder::low);
    size_t at = c.symbols.size();
    for (size_t g = c.group_rows.size(); g-- > 0;)
        for (size_t j = columns; j-- > 0;)
            for (size_t r = c.group_rows[g]; r-- > 0;) {
                at--;
                const EncodeTable& table = tables[c.tables[at]];
                const EncodeTable::Entry& e = table.entry[c.symbols[at]];
                uint32_t x = state[r];
                if (x >= e.limit) {
                    const typename Coder::Unit unit = typename Coder::Unit(x);
                    p -= unit_size;
                    std::memcpy(p, &unit, unit_size);
                    x >>= Coder::unit_bits;
                }
                const uint32_t q = uint32_t((x * e.reciprocal) >> reciprocal_bits<Coder>);
                state[r] = (q << Coder::prob_bits) + table.slot_of[e.start + x - q * e.frequency];
                if (table.escape_frequency && e.start == 0) *--t = c.symbols[at];
            }
    const std::vector<uint8_t> escaped(t, tail.data() + tail.size());
    std::vector<uint8_t> out, coded_tail;
    if (!escaped.empty()) coded_tail = write_bytes(escaped);
    const size_t coded_units = size_t(units.data() + units.size() - p);
    put_varint(out, coded_units);
    put_varint(out, coded_tail.size());
    put_varint(out, c.exceptions.size());
    if (!escaped.empty()) put_varint(out, escaped.size());
    out.insert(out.end(), p, p + coded_units);
    out.insert(out.end(), coded_tail.begin(), coded_tail.end());
    out.insert(out.end(), c.exceptions.begin(), c.exceptions.end());
    for (uint32_t x : state) put_raw(out, typename Coder::State(x));
    return out;
}

std::vector<EncodeTable> encode_tables(const ArrayHeader& h) {
    std::vector<EncodeTable> tables;
    const bool fast = h.coder == CoderId::fast;
    for (const Table& t : h.tables) tables.push_back(fast ? make_encode_table<Fast>(t) : make_encode_table<Dense>(t));
    return tables;
}

// The chunks of some rows from `first` on, which begin at `indices`.
std::vector<std::vector<uint8_t>> code_rows(const ArrayHeader& h, const std::vector<EncodeTable>& tables,
                                            const int32_t* indices, uint64_t first, uint64_t count, int threads) {
    std::vector<std::vector<uint8_t>> chunks((count + h.chunk_rows - 1) / h.chunk_rows);
    parallel_for(chunks.size(), threads, [&](size_t i) {
        const uint64_t at = i * h.chunk_rows, rows = std::min(h.chunk_rows, count - at);
        const Coded coded = order_symbols(h, indices + at * h.row_length, first + at, rows);
        const bool fast = h.coder == CoderId::fast;
        chunks[i] = fast ? code_matrix<Fast>(h, tables, coded) : code_matrix<Dense>(h, tables, coded);
    });
    return chunks;
}

}  // namespace

Encoded encode_matrix_with(CoderId coder, const int32_t* indices, uint64_t count, const MatrixSpec& spec,
                           const EncodeOptions& options) {
    ArrayHeader h = matrix_header(coder, count, spec);
    set_contexts(h, choose_matrix_contexts(h, indices));
    return {write_matrix_header(h), code_rows(h, encode_tables(h), indices, 0, h.row_count(), options.threads)};
}

struct MatrixStream::State {
    ArrayHeader header;
    MatrixScan scan;
    std::vector<EncodeTable> tables;
    explicit State(ArrayHeader h) : header(std::move(h)), scan(header) {}
};

MatrixStream::MatrixStream(uint64_t count, const MatrixSpec& spec, const EncodeOptions& options)
    : state_(new State(matrix_header(choose_coder(count, spec.columns, options), count, spec))) {}
MatrixStream::~MatrixStream() = default;

uint64_t MatrixStream::chunk_rows() const { return state_->header.chunk_rows; }

void MatrixStream::sum(const int32_t* indices, uint64_t first, uint64_t rows) {
    state_->scan.sum(indices, size_t(first), size_t(rows));
}

void MatrixStream::count(const int32_t* indices, uint64_t first, uint64_t rows) {
    state_->scan.count(indices, size_t(first), size_t(rows));
}

std::vector<uint8_t> MatrixStream::header() {
    set_contexts(state_->header, state_->scan.choose(state_->header));
    state_->tables = encode_tables(state_->header);
    return write_matrix_header(state_->header);
}

std::vector<std::vector<uint8_t>> MatrixStream::code(const int32_t* indices, uint64_t first, uint64_t rows,
                                                     int threads) const {
    return code_rows(state_->header, state_->tables, indices, first, rows, threads);
}

Encoded encode_matrix(const int32_t* indices, uint64_t count, const MatrixSpec& spec, const EncodeOptions& options) {
    return encode_matrix_with(choose_coder(count, spec.columns, options), indices, count, spec, options);
}

double estimate_matrix(const int32_t* indices, uint64_t count, const MatrixSpec& spec, const EncodeOptions& options) {
    ArrayHeader h = matrix_header(choose_coder(count, spec.columns, options), count, spec);
    MatrixContexts contexts = choose_matrix_contexts(h, indices);
    const double bits = contexts.bits - 8.0 * double(write_contexts(contexts.contexts).size());
    uint64_t exceptions = 0;
    for (uint64_t i = 0; i < count; i++) exceptions += uint32_t(indices[i]) + 128 >= kException;
    set_contexts(h, std::move(contexts));
    // A state ends with log2 of the low end more bits than it needed to begin with.
    const double lanes = double(std::min<uint64_t>(lanes_of(h.coder), h.row_count()));
    const double idle = double(lanes_of(h.coder)) - lanes, state = h.coder == CoderId::fast ? 2 : 4;
    const double per_chunk = 6 + state * (lanes / 2 + idle);
    return double(write_matrix_header(h).size()) + bits / 8 + 4 * double(exceptions) + per_chunk * double(h.chunk_count());
}

}  // namespace taut
