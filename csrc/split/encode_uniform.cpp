// Indices of a uniform quantiser to coded arrays.
#include "base/parallel.hpp"
#include "split/chunk.hpp"
#include "split/scan.hpp"
#include "split/split.hpp"

namespace taut {
namespace {

ArrayHeader uniform_header(uint64_t count, const EncodeOptions& options) {
    ArrayHeader h;
    h.kind = Kind::uniform;
    h.count = count;
    h.row_length = options.row_length;
    choose_geometry(h, options.max_effort);
    return h;
}

Contexts index_contexts(const ArrayHeader& h, const int32_t* indices) {
    const Layout layout{h.count, h.row_length, h.row_count()};
    const RowScan scan = scan_rows(IndexRows{indices}, layout, 128, true, best_encode_kernels());
    return choose_contexts(scan, h.traits(), most_classes(h));
}

}  // namespace

struct UniformStream::State {
    ArrayHeader header;
    Layout layout;
    RowScan scan;
    std::vector<uint8_t> class_of;
    std::vector<Counter> counters;
    RowTables tables{{}, nullptr};

    // Each row of a piece, by number, with its symbols.
    template <class Use>
    void each_row(uint64_t first, const int32_t* indices, uint64_t n, Use use) {
        std::vector<uint8_t> symbols(size_t(layout.row_length) + 64);
        const IndexRows rows{indices, first};
        for (uint64_t at = first; at < first + n; at += layout.row_length) {
            const uint64_t r = at / layout.row_length;
            rows.symbols(at, layout.length(r), symbols.data());
            use(r, symbols.data(), layout.length(r));
        }
    }
};

UniformStream::UniformStream(uint64_t count, float step, std::array<float, 3> offsets, Output output,
                             const EncodeOptions& options)
    : state_(new State) {
    ArrayHeader& h = state_->header = uniform_header(count, options);
    constexpr uint8_t widths[4] = {4, 2, 2, 8};
    h.output = output;
    h.width = widths[int(output)];
    h.step = step;
    h.offsets = offsets;
    state_->layout = {h.count, h.row_length, h.row_count()};
    state_->scan.key.resize(state_->layout.rows);
}
UniformStream::~UniformStream() = default;

uint64_t UniformStream::chunk_values() const { return state_->header.chunk_rows * state_->header.row_length; }

void UniformStream::scan(uint64_t first, const int32_t* indices, uint64_t n) {
    State& s = *state_;
    s.each_row(first, indices, n, [&](uint64_t r, const uint8_t* symbols, size_t length) {
        s.scan.key[r] = row_key(best_encode_kernels(), symbols, length, 128);
    });
}

void UniformStream::tally(uint64_t first, const int32_t* indices, uint64_t n) {
    State& s = *state_;
    if (s.class_of.empty()) {
        const int most = most_classes(s.header);
        s.class_of = first_classes(s.scan.key, most);
        s.counters.resize(size_t(std::min<uint64_t>(uint64_t(most), s.layout.rows)));
    }
    s.each_row(first, indices, n, [&](uint64_t r, const uint8_t* symbols, size_t length) {
        s.counters[s.class_of[r]].add(symbols, length);
    });
}

std::vector<uint8_t> UniformStream::header() {
    State& s = *state_;
    if (s.header.count == 0) {  // nothing to make a table of
        s.header.kind = Kind::constant;
        return write_split_header(s.header);
    }
    std::vector<Histogram> counts;
    for (Counter& c : s.counters) counts.push_back(c.take());
    Contexts contexts = choose_contexts(s.scan, counts, s.header.traits(), most_classes(s.header));
    s.header.tables = std::move(contexts.tables);
    s.header.rows = std::move(contexts.table_of);
    s.tables = make_tables(s.header);
    return write_split_header(s.header);
}

std::vector<std::vector<uint8_t>> UniformStream::code(uint64_t first, const int32_t* indices, uint64_t n,
                                                      int threads) const {
    const uint64_t each = chunk_values(), begin = first / each;
    std::vector<std::vector<uint8_t>> chunks((n + each - 1) / each);
    parallel_for(chunks.size(), threads, [&](size_t c) {
        chunks[c] = code_chunk(state_->header, state_->tables, IndexRows{indices, first}, begin + c,
                               best_encode_kernels());
    });
    return chunks;
}

Encoded encode_uniform(const int32_t* indices, uint64_t count, float step, std::array<float, 3> offsets, Output output,
                       const EncodeOptions& options) {
    UniformStream stream(count, step, offsets, output, options);
    if (count == 0) return {stream.header(), {}};
    stream.scan(0, indices, count);
    stream.tally(0, indices, count);
    std::vector<uint8_t> header = stream.header();
    return {std::move(header), stream.code(0, indices, count, options.threads)};
}

double estimate_uniform(const int32_t* indices, uint64_t count, const EncodeOptions& options) {
    const ArrayHeader h = uniform_header(count, options);
    double exceptions = 0;
    for (uint64_t i = 0; i < count; i++) exceptions += indices[i] < -127 || indices[i] > 126;
    return index_contexts(h, indices).bits / 8 + exceptions * 4 + 60 + 270.0 * double(h.chunk_count());
}

}  // namespace taut
