// Rows to chunks, for both kinds of array.
#pragma once
#include "split/rows.hpp"

namespace taut {

// Coder and chunks of an array whose count and row_length are set. Small arrays cannot pay for many lanes' final
// states, nor for the coarse table of the fast coder.
inline void choose_geometry(ArrayHeader& h, bool max_effort, bool few_lanes = false) {
    h.coder = h.count < 8192 || few_lanes     ? CoderId::small
              : max_effort || h.count < 49152 ? CoderId::dense
                                              : CoderId::fast;
    // A chunk's symbols should stay in the second-level cache while it is decoded, and its states (256 bytes) be a small
    // part of it: values of one byte are coded in fewer bytes, so more of them go together.
    const int more = h.kind == Kind::split && h.width == 1 ? 2 : 0;
    const uint64_t values = uint64_t(1) << ((h.coder == CoderId::fast ? 18 : 19) + more);
    h.chunk_rows = std::clamp<uint64_t>(values / h.row_length, 1, std::max<uint64_t>(1, h.row_count()));
}

// How many classes of rows are worth trying.
inline int most_classes(const ArrayHeader& h) {
    return h.row_count() > 1 ? int(std::clamp<uint64_t>(h.count / 8192, 1, 16)) : 1;
}

struct RowTables {
    std::vector<EncodeTable> tables;
    const Vec<uint8_t>* rows;
    size_t of(uint64_t row) const { return rows->empty() ? 0 : size_t((*rows)[row] & ~kDropRow); }
    bool drops(uint64_t row) const { return !rows->empty() && ((*rows)[row] & kDropRow); }
};

inline RowTables make_tables(const ArrayHeader& h) {
    RowTables t{{}, &h.rows};
    for (const Table& table : h.tables)
        t.tables.push_back(h.coder == CoderId::fast ? make_encode_table<Fast>(table) : make_encode_table<Dense>(table));
    return t;
}

// Appends bytes to a vector that has room for them.
inline void append(std::vector<uint8_t>& out, const uint8_t* bytes, size_t size) {
    out.insert(out.end(), bytes, bytes + size);
}

inline CodedRuns code_symbols(CoderId coder, const std::vector<SymbolRun>& runs, EncodeFastSteps* wide) {
    switch (coder) {
        case CoderId::fast: return code_runs<Fast, 128>(runs, wide);
        case CoderId::dense: return code_runs<Dense, 64>(runs);
        default: return code_runs<Dense, 4>(runs);
    }
}

// One chunk: its raw bits and exceptions lie in row order, its symbols are grouped by table.
template <class Rows>
std::vector<uint8_t> code_chunk(const ArrayHeader& h, const RowTables& tables, const Rows& rows, uint64_t chunk,
                                const EncodeKernels& kernels) {
    const Layout layout{h.count, h.row_length, h.row_count()};
    const uint64_t first = chunk * h.chunk_rows, last = std::min(first + h.chunk_rows, layout.rows);
    std::array<size_t, kMaxTables + 1> begin{};
    for (uint64_t r = first; r < last; r++) begin[tables.of(r) + 1] += layout.length(r);
    for (size_t t = 1; t <= kMaxTables; t++) begin[t] += begin[t - 1];
    static thread_local Scratch symbol_scratch, raw_scratch;
    static thread_local std::vector<uint8_t> exceptions;
    uint8_t* const symbols = symbol_scratch.at_least(begin[kMaxTables] + 64);
    uint8_t* const raw = raw_scratch.at_least((last - first) * (size_t(h.row_length) * h.low / 8 + 1) + 64);
    uint8_t* raw_end = raw;
    exceptions.clear();
    std::array<size_t, kMaxTables + 1> at = begin;
    for (uint64_t r = first; r < last; r++) {
        const uint64_t from = r * h.row_length;
        const size_t n = layout.length(r);
        uint8_t* const of_row = symbols + at[tables.of(r)];
        at[tables.of(r)] += n;
        rows.symbols(from, n, of_row);
        raw_end = rows.pack(from, n, tables.drops(r) ? h.drop : 0, raw_end);
        const uint8_t *s = of_row, *const end = of_row + n;
        while ((s = static_cast<const uint8_t*>(std::memchr(s, kException, size_t(end - s)))) != nullptr)
            rows.exception(from + size_t(s++ - of_row), exceptions);
    }
    std::vector<SymbolRun> runs;
    for (size_t t = 0; t < tables.tables.size(); t++)
        runs.push_back({&tables.tables[t], symbols + begin[t], begin[t + 1] - begin[t]});
    const CodedRuns coded = code_symbols(h.coder, runs, kernels.fast_steps);
    std::vector<uint8_t> tail;
    if (coded.tail_size) tail = write_bytes({coded.tail, coded.tail + coded.tail_size});
    std::vector<uint8_t> out;
    const size_t raw_size = size_t(raw_end - raw);
    out.reserve(30 + raw_size + coded.units_size + tail.size() + exceptions.size() + coded.states_size);
    put_varint(out, coded.units_size);
    put_varint(out, tail.size());
    put_varint(out, exceptions.size());
    append(out, raw, raw_size);
    append(out, coded.units, coded.units_size);
    append(out, tail.data(), tail.size());
    append(out, exceptions.data(), exceptions.size());
    append(out, coded.states.data(), coded.states_size);
    return out;
}

}  // namespace taut
